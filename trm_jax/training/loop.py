# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes a training run from start to end.

Every process of a job runs this and reaches restores, steps, evaluations and saves in the same order: all of them are
collective. Small files are written to `Workdir.local`, which only the main process keeps.
"""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import time
from typing import Any
import zlib

from clu import parameter_overview
import jax
from jax.experimental import multihost_utils
import numpy as np

import trm_jax
from trm_jax import boards
from trm_jax import config as config_lib
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles, Sizes
from trm_jax.errors import UserError
from trm_jax.runtime import console
from trm_jax.runtime import distributed
from trm_jax.runtime import exit_status
from trm_jax.runtime import files
from trm_jax.runtime import paths
from trm_jax.runtime import sharding
from trm_jax.runtime.signals import Signals
from trm_jax.runtime.workdir import Workdir
from trm_jax.tasks import Task
from trm_jax.tasks.task import Shown
from trm_jax.training import attempts
from trm_jax.training import curves
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training import identity
from trm_jax.training import metrics_log
from trm_jax.training import program
from trm_jax.training import train_log
from trm_jax.training import wandb_log
from trm_jax.training import warm_start
from trm_jax.training.checkpoint import Checkpoints, keep_last
from trm_jax.training.schedule import Schedule
from trm_jax.training.train_step import TrainState

# Seconds of work in a call: long enough to hide the host, short enough to stop soon after SIGTERM.
_CALL_SECONDS = 2.0
# The time that the watchdog allows, besides --peer_timeout_s, for compiling on a slow host; for reading puzzles, which
# TFDS downloads and prepares the first time; and for the work of the main process alone at the end: compiling for one
# device, drawing, copying to a bucket.
_COMPILE_SECONDS, _READ_SECONDS, _REPORT_SECONDS = 600.0, 3600.0, 1800.0
# The number of watched puzzles drawn at each evaluation; and of test puzzles from which one is drawn at the end.
_DRAWN, _SOLVED = 4, 64


class _Stop(Exception):
  """All processes have agreed to stop here."""


@dataclasses.dataclass
class Position:
  """The progress of a run.

  Attributes:
    step: number of optimizer steps made.
    saved: step of the newest checkpoint; 0 if there is none.
    evaluated: the last step that was evaluated; 0 if there is none.
    saved_at: the time.monotonic() at which the newest checkpoint was saved, or else the run was started.
  """

  step: int = 0
  saved: int = 0
  evaluated: int = 0
  saved_at: float = dataclasses.field(default_factory=time.monotonic)


class SafePoint:
  """A point where the run may stop: all processes agree whether to stop, how long calls are, and whether to save.

  Args:
    mesh: of the job.
    position: of the run.
    save_minutes: see config.save.minutes.
    signals: the signals that tell this process to stop.
    watchdog: is told that the run makes progress.

  Attributes:
    position, signals: as given.
    agreement: of all processes on these decisions.
  """

  def __init__(self, mesh: jax.sharding.Mesh, position: Position, save_minutes: float, signals: Signals,
               watchdog: distributed.Watchdog):
    self.position, self.signals = position, signals
    self._save_minutes, self._watchdog = save_minutes, watchdog
    self.agreement = distributed.Agreement(mesh, 3)

  def __call__(self, doing: str, step_seconds: float) -> tuple[int, bool]:
    """Exchanges the decisions, and returns those of the call before.

    Args:
      doing: the run's current activity, for the watchdog.
      step_seconds: duration of an optimizer step; 0 if it is not known yet.

    Returns:
      Number of steps of the next call; whether to save.

    Raises:
      _Stop: one of the processes was told to stop.
    """
    position, call_steps, save = self.position, 0, 0
    if distributed.is_main():  # its clock decides
      if step_seconds:
        call_steps = int(_CALL_SECONDS / step_seconds)
      if self._save_minutes and time.monotonic() - position.saved_at > 60 * self._save_minutes:
        save = position.saved + 1  # names the newest checkpoint: by the time of the agreement there may be a newer one
    stop, call_steps, save = self.agreement.exchange([int(self.signals.received is not None), call_steps, save])
    self._watchdog.alive(f"{doing}, after step {position.step:,}")
    if stop:
      raise _Stop
    return max(1, call_steps), save == position.saved + 1 and position.step > position.saved


def run(config: Config, path: os.PathLike | str, *, peer_timeout_s: float = 600.0) -> dict[str, Any]:
  """Trains to the end, from the newest checkpoint in `path` if it has one.

  Args:
    config: of the run.
    path: folder of the run, local or gs://BUCKET/FOLDER; made if it does not exist. It gets config.json, metrics.jsonl,
      tensorboard/, checkpoints/, and at the end results.json, learning_curve.png, solved.png and the task's
      answer_file.
    peer_timeout_s: if there are several processes, one that makes no progress for this long ends with PEER_LOST.

  Returns:
    The contents of results.json.

  Raises:
    UserError: a problem that a person can fix; checkpoints that were saved stay.
    exit_status.Interrupted: a process received SIGTERM, SIGHUP or Ctrl-C; all have saved the same step.
  """
  paths.check_checkpoints_can_be_kept(path, "--workdir")
  if jax.config.jax_enable_x64:
    raise UserError("jax_enable_x64 is on: this library computes in 32 bits; turn it off by "
                    "jax.config.update('jax_enable_x64', False)")
  mesh = sharding.make_mesh(model=config.compute.model_devices)
  # The stack closes everything that is open, however the run ends; no signal interrupts that.
  with Signals(announces=distributed.is_main()) as signals, contextlib.ExitStack() as exits:
    # Another process may own the folder.
    workdir = distributed.together(lambda: exits.enter_context(Workdir(path, main=distributed.is_main())))
    watchdog = exits.enter_context(contextlib.closing(distributed.Watchdog(
        peer_timeout_s if jax.process_count() > 1 else None)))
    distributed.say(f"this run is kept in {workdir.path}")
    distributed.check_shared(workdir.path, "--workdir")

    # Puzzles and programs, and a check that the folder belongs to this run.
    program.check_fits(config, mesh)  # before puzzles are read or made, which may take minutes
    if config.log.wandb:
      wandb_log.require_wandb(config.log.wandb)
    watchdog.alive("reading puzzles", extra_s=_READ_SECONDS)
    task = tasks.of(config.task, config.data).shared(workdir.path)
    splits = _load(task)
    watchdog.alive("comparing puzzles")
    made = program.Program(config, task, Sizes.of(splits.train), mesh)
    schedule = Schedule.of(config, made.total_steps, [stage.start for stage in made.stages])
    saved_run = _identity(config, task, made, splits)
    # All processes check together, so that nothing is written there before all have looked.
    if distributed.together(lambda: identity.state(saved_run, workdir.path)) == "finished":
      distributed.say(f"this run is finished: its {made.total_steps:,} steps are done; results are in "
                      f"{workdir.path / 'results.json'}")
      return metrics_log.read_results(workdir.local / "results.json")

    # The state, from the newest checkpoint or new. It is never built before its layout is known.
    checkpoints = exits.enter_context(contextlib.closing(Checkpoints(workdir.checkpoints, keep=keep_last(config))))
    seed = np.uint32(config.seed)
    source = rows_lib.to_device(rows_lib.Source.of(task.arrays(splits.train), splits.train), sharding.replicated(mesh))
    state, position, seconds = _restore_or_init(checkpoints, config, task, made, saved_run, seed, source)
    _describe_run(workdir, made, saved_run)

    # Compile the step, and open the records.
    def compile_stage() -> tuple[int, Any, float]:
      """Compiles the stage of the next step. Returns its index, its program, and the seconds that this took."""
      watchdog.alive("compiling", extra_s=_COMPILE_SECONDS)
      start, number = time.perf_counter(), made.stage_at(position.step)
      compiled = made.compile_steps(number)
      watchdog.alive("taking the first step")
      return number, compiled, time.perf_counter() - start

    stage, steps, compile_s = compile_stage()
    watched_name, watched = splits.watched
    evaluator = made.evaluator(max(len(watched), len(splits.test)))
    if watched_name == "test" and position.step == made.total_steps:
      position.evaluated = 0  # its record cannot be told from that of the final test, so both are made again
    remade = ((f"{watched_name}/",) if position.evaluated != position.step else ()) + (
        ("test",) if position.step == made.total_steps else ())
    log = exits.enter_context(contextlib.closing(_open_log(config, workdir, position.step, remade)))
    exits.enter_context(_not_finite_is_explained(log, checkpoints))
    log.write({"step": position.step, "compile_s": round(compile_s, 2)})
    records = train_log.Records(log, config, mesh.size, made.total_steps, made.train_flops, seconds)
    distributed.say(_headline(made, splits, compile_s))
    safe_point = SafePoint(mesh, position, config.save.minutes, signals, watchdog)

    def save() -> None:
      """Starts to write a checkpoint, after the records of its step are in place."""
      workdir.sync()
      watchdog.alive(f"saving step {position.step:,}")
      checkpoints.save(position.step, state, saved_run | {"train_seconds": round(records.seconds, 1)})
      position.saved, position.saved_at = position.step, time.monotonic()

    def evaluate() -> None:
      """Evaluates on the watched puzzles, and notes the accuracy if it may serve to choose a checkpoint."""
      evaluation = evaluator.evaluate(
          state, watched, lambda done, total: safe_point("evaluating", records.step_seconds))
      metrics = evaluation.metrics() | task.score(watched, evaluation)
      log.write({"step": position.step} | {f"{watched_name}/{key}": value for key, value in metrics.items()})
      if distributed.is_main():  # pictures of the other processes are not kept
        few, originals = slice(_DRAWN), slice(0, _DRAWN * evaluation.versions, evaluation.versions)
        log.image(f"{watched_name}/answers", boards.answers_picture(
            task, watched.inputs[few], evaluation.answers[originals], watched.labels[few],
            evaluation.q_halt[-1, originals],
            [task.shown_after(watched, evaluation, i) for i in range(len(watched.inputs[few]))]),
                  position.step)
      distributed.say(f"{train_log.at(position.step, made.total_steps)}  {watched_name}: "
                      f"{_solved(metrics, config, task, len(watched))}")
      workdir.sync()  # A noted evaluation is not repeated, so its record must be in place before.
      checkpoints.add_evaluation(
          position.step, metrics.get(task.headline) if watched_name == "validation" else None)
      position.evaluated = position.step

    few = splits.test.take_groups(np.arange(min(splits.test.num_groups, _SOLVED)))
    answer_files: list[str] = []  # the names of those that are written

    def test(tested: TrainState, what: str, which: str = "") -> tuple[dict[str, Any], list[list[Shown]]]:
      """Evaluates on the test set and prints the result. Returns the metrics, and for each of a few puzzles what its
      picture shows."""
      progress = console.Progress(f"test, {what}")

      def each_batch(done, total):
        progress(done, total)
        safe_point("testing", records.step_seconds)

      evaluation = evaluator.evaluate(tested, splits.test, each_batch)
      metrics = evaluation.metrics() | task.score(splits.test, evaluation)
      if (name := tasks.answer_file(config.task, which)) is not None:
        files.write_json(workdir.local / name, task.answers(splits.test, evaluation), indent=None)
        answer_files.append(name)
      progress.done(f"answered {metrics_log.WITHOUT_SCORE}" if not metrics["num_puzzles"] else
                    f"{metrics[task.headline]:.2%} of {metrics['num_puzzles']:,} {splits.test_puzzle}s solved, "
                    f"{metrics['accuracy']:.2%} of cells right{_steps_a_puzzle(metrics, config)}"
                    f"{evaluator_lib.more_in_words(metrics, task)}")
      return metrics, [task.shown_after(splits.test, evaluation, i) for i in range(len(few))]

    signals.hold()  # from here on there is something to save
    trace = exits.enter_context(_Trace(schedule.traced, workdir))
    if schedule.is_behind_trace(position.step):
      distributed.say(f"no step is traced: config.log.profile_from = {schedule.traced.start}, but {position.step:,} "
                      "steps are done already")
      schedule = dataclasses.replace(schedule, traced=range(0))
    told_how_long, call_steps, save_now = False, 1, False
    try:
      # Steps, evaluations and saves, to the last step.
      while True:
        # A resumed run may have been stopped before the evaluation or the save that is due at the step it begins with.
        evaluate_now = position.step > position.evaluated and schedule.evaluates(position.step)
        if evaluate_now or save_now and position.step not in schedule.traced or (
            schedule.saves(position.step) and position.step > position.saved):
          records.flush()  # a step that was not finite must be noticed before its state is saved
          if evaluate_now:
            evaluate()
          if position.step > position.saved:
            save()
          records.resume()
        if position.step == made.total_steps:
          break
        if made.stage_at(position.step) != stage:  # another depth, the same state
          records.flush()
          stage, steps, compile_s = compile_stage()
          log.write({"step": position.step, "compile_s": round(compile_s, 2)})
          model = made.stages[stage].model_config
          distributed.say(f"{train_log.at(position.step, made.total_steps)}  from here on H_cycles = {model.H_cycles}, "
                          f"L_cycles = {model.L_cycles}; compiled in {compile_s:.1f} s")
          records.resume()
        end = schedule.end_of_call(position.step, call_steps)
        if schedule.traced and position.step == schedule.traced.start:
          records.flush()
          # A save's threads do not belong to these steps, and the profiler has crashed when stopped while they ran.
          checkpoints.wait()
          trace.start(state)
          records.resume()
        state, metrics = steps(state, np.int32(end - position.step), seed, source)
        records.called(end, end - position.step, metrics)
        position.step = end
        if schedule.traced and position.step == schedule.traced.stop:
          records.flush()
          watchdog.alive("writing the trace")
          trace.end(state)
          records.resume()
        call_steps, save_now = safe_point("training", records.step_seconds)
        if records.step_seconds and not told_how_long:
          told_how_long = True
          distributed.say(f"about {console.duration(records.seconds_left(position.step))} to go")

      # Test accuracy of the last checkpoint, of a mean of checkpoints, and of the best on validation; pictures.
      checkpoints.wait()
      tested, after = test(state, "last checkpoint")
      results = {"step": made.total_steps, "test": tested, "train_seconds": round(records.seconds, 1)}
      if num := min(config.save.average, len(checkpoints.steps())):
        mean = made.trainer.with_params(state, checkpoints.mean_params(num, made.state.params))
        results["test_average"] = {"num_checkpoints": num} | test(
            mean, f"mean of the last {num} checkpoints", "average")[0]
      solving = made.solver(len(few)).attempt(state, few)
      best = checkpoints.best_step()
      if best is not None and best != made.total_steps:
        state = None  # so that the devices need not hold two prefix tables
        results["test_best"] = {"step": best} | test(
            checkpoints.restore(best, made.state), f"best on validation, step {best:,}", "best")[0]
      for name in ("test", "test_best", "test_average"):
        if name in results:
          log.write({"step": made.total_steps} | {f"{name}/{key}": value for key, value in results[name].items()})
      for _ in range(2):  # so that all learn of a process that was told to stop before this point
        safe_point("reporting", records.step_seconds)
      watchdog.alive("reporting", extra_s=_REPORT_SECONDS)
      with signals.released():  # everything is saved: no signal needs to wait for the pictures
        if distributed.is_main():
          _pictures(few, solving, after, task, splits.test_puzzle, workdir.local, config.name)
      files.write_json(workdir.local / "results.json", results)
      workdir.sync()
      # All processes leave together: JAX ends the job if the others do not follow the first one within a minute.
      multihost_utils.sync_global_devices("reported")
      distributed.say(_what_is_where(workdir, results, answer_files))
      return results
    except _Stop:
      start = time.perf_counter()
      records.flush()
      if position.step != position.saved:
        save()
      checkpoints.wait()
      distributed.say(f"stopped at step {position.step:,}, saved in {time.perf_counter() - start:.1f} s; the same "
                      f"command with --workdir={workdir.path} goes on from there")
      # The signal may have gone to another process.
      raise exit_status.Interrupted(signals.status or exit_status.PREEMPTED) from None


def _load(task: Task) -> splits_lib.Splits:
  """Reads or makes the puzzles, and prints what a person should know about them."""
  progress = console.Progress(f"{task.data.source} puzzles")
  splits = splits_lib.load(task, progress)
  progress.done(splits.summary)
  for note in splits.notes:
    distributed.say(note)
  return splits


def _identity(config: Config, task: Task, made: program.Program, splits: splits_lib.Splits) -> dict[str, Any]:
  """The values that identify this run and are saved with it. Raises UserError if they differ between processes."""
  saved_run = {"config": config_lib.to_dict(config), "data": Sizes.of(splits.train).of_model(),
               "total_steps": made.total_steps}
  distributed.check_same("config", lambda: _fingerprint(saved_run))
  distributed.check_same(
      "version of trm_jax", lambda: files.fingerprint(pathlib.Path(trm_jax.__file__).parent, "*.py"))
  saved_run |= {"puzzles": identity.digests(splits), "rows": identity.rows_digest(task)}
  distributed.check_same("set of puzzles", lambda: _fingerprint(saved_run["puzzles"]))
  return saved_run


def _fingerprint(value: Any) -> int:
  """32 bits that depend on a JSON value."""
  return zlib.crc32(json.dumps(value).encode())


def _restore_or_init(checkpoints: Checkpoints, config: Config, task: Task, made: program.Program,
                     saved_run: dict[str, Any], seed: np.uint32, source: rows_lib.Source
                     ) -> tuple[TrainState, Position, float]:
  """Returns the state of the newest checkpoint or, if there is none, the state before the first step; its position; and
  the seconds that its steps have taken."""
  latest = checkpoints.latest_step()
  if latest is None:
    state = made.init(seed, source)
    if config.init_from:
      state, note = warm_start.begin(config, task, made, state, saved_run["rows"])
      distributed.say(note)
    return state, Position(), 0.0
  before = checkpoints.read_run(latest)
  identity.check_same(saved_run, before, str(checkpoints.directory))
  state = checkpoints.restore(latest, made.state)
  distributed.say(f"going on from the checkpoint of step {latest:,}")
  return (state, Position(latest, latest, latest if checkpoints.evaluated(latest) else 0), before["train_seconds"])


def _describe_run(workdir: Workdir, made: program.Program, saved_run: dict[str, Any]) -> None:
  """Writes config.json and parameters.txt."""
  files.write_json(workdir.local / "config.json", {
      **saved_run,
      "num_params": made.num_params,
      "environment": {
          "trm_jax": trm_jax.__version__, "jax": jax.__version__, "python": platform.python_version(),
          "devices": f"{made.mesh.size} x {made.mesh.devices.flat[0].device_kind}",
          "processes": jax.process_count(),
      },
  })
  workdir.sync()  # before anything else, since config.json says which run the other files belong to
  files.replace_text(
      workdir.local / "parameters.txt",
      parameter_overview.get_parameter_overview(made.state.params, include_stats=False) + "\n")


def _open_log(config: Config, workdir: Workdir, step: int, remade: tuple[str, ...]) -> metrics_log.MetricsLog:
  """Opens the log with the records up to a step, without those of that step that the run repeats: see MetricsLog."""
  knobs, mirrors = config_lib.to_dict(config), []
  if config.log.wandb and distributed.is_main():
    mirrors.append(wandb_log.WandbLog(
        config.log.wandb, workdir.local, name="/".join(workdir.path.parts[-2:]), config=knobs))
  return metrics_log.MetricsLog(
      workdir.local, resume_step=step, remade=remade, knobs=config_lib.flatten(knobs),
      headline=tasks.headline(config.task), mirrors=mirrors)


@contextlib.contextmanager
def _not_finite_is_explained(log: metrics_log.MetricsLog, checkpoints: Checkpoints) -> Iterator[None]:
  """Turns a loss or gradient that is not finite into a record, and a message that names the last good checkpoint and
  what to do."""
  try:
    yield
  except train_log.NotFinite as e:
    log.write({"step": e.step, "failed": "the loss or its gradient is not finite"})
    last = checkpoints.latest_step()
    raise UserError(
        f"the loss or its gradient is not finite at step {e.step:,}; the last good checkpoint is "
        f"{'missing' if last is None else f'of step {last:,} in {checkpoints.directory}'}; "
        "lower config.optimizer.learning_rate, or look at the data") from None


class _Trace(contextlib.ExitStack):
  """A part of the run that JAX's profiler traces. Leaving it ends the trace, however the run ends.

  Args:
    steps: the steps that are traced, counted from 0.
    workdir: of the run.
  """

  def __init__(self, steps: range, workdir: Workdir):
    super().__init__()
    self._steps, self._workdir = steps, workdir

  def start(self, state: TrainState) -> None:
    """Starts to record the work of the devices and of this process, once the state is computed."""
    jax.block_until_ready(state)
    if distributed.is_main():
      self.enter_context(jax.profiler.trace(self._workdir.local / "tensorboard"))

  def end(self, state: TrainState) -> None:
    """Ends the trace once the state is computed, and prints where the trace is."""
    jax.block_until_ready(state)
    self.close()
    distributed.say(
        f"{len(self._steps)} steps after step {self._steps.start:,} are traced; to look at them: pip install xprof && "
        f"xprof --logdir={self._workdir.path / 'tensorboard'} (more in docs/performance.md)")


def _headline(made: program.Program, splits: splits_lib.Splits, compile_s: float) -> str:
  """Describes the run in one line."""
  processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
  return (f"{made.model_config} {made.num_params:,} parameters | {made.mesh.size} x "
          f"{made.mesh.devices.flat[0].device_kind}{processes}, mesh {dict(made.mesh.shape)} | {made.task.name}, "
          f"{splits.train.num_groups:,} puzzles | {made.total_steps:,} steps of {made.config.batch_size} | compiled in "
          f"{compile_s:.1f} s")


def _solved(metrics: dict[str, Any], config: Config, task: Task, number: int) -> str:
  """Describes an evaluation in words."""
  if not metrics["num_puzzles"]:
    return f"{number:,} puzzles answered {metrics_log.WITHOUT_SCORE}"
  return (f"{metrics[task.headline]:.1%} of {number:,} puzzles solved, {metrics['accuracy']:.1%} of cells, halting "
          f"right for {metrics['q_halt_accuracy']:.1%}{_steps_a_puzzle(metrics, config)}"
          f"{evaluator_lib.more_in_words(metrics, task)}")


def _steps_a_puzzle(metrics: dict[str, Any], config: Config) -> str:
  return f", {metrics['steps']:.2f} steps a puzzle" if config.eval.stop != "steps" else ""


def _what_is_where(workdir: Workdir, results: dict[str, Any], answer_files: Sequence[str]) -> str:
  """Describes the folder of a run that has ended, and suggests next commands. `answer_files` are the names of the
  task's files in it."""
  tables = [name.removeprefix("by_") for name in results["test"] if name.startswith("by_") and name != "by_step"]
  what = (f"test accuracy, by {' and by '.join(['supervision step', *tables])}" if results["test"]["num_puzzles"] else
          f"the test, {metrics_log.WITHOUT_SCORE}")
  answers = "".join(f"  {name:<18}  the answers to the test puzzles\n" for name in answer_files)
  return f"""
{workdir.path}/
  results.json        {what}
{answers}\
  learning_curve.png  solved.png
  metrics.jsonl       tensorboard/       config.json       parameters.txt       checkpoints/
next:
  python -m trm_jax.solve --checkpoint={workdir.path} --num=3 --trace   # watch it solve more puzzles, or your own
  python -m trm_jax.main --mode=eval --checkpoint={workdir.path}        # evaluate it, on other data with --data=FOLDER
"""


def _pictures(few: Puzzles, made: attempts.Attempts, after: list[list[Shown]], task: Task, puzzle: str,
              folder: os.PathLike, name: str) -> None:
  """Draws the learning curve and, out of a few puzzles (`puzzle` is their name), the one that took the model longest to
  solve."""
  curves.learning_curve(folder / "learning_curve.png", metrics_log.read_metrics(folder / "metrics.jsonl"), title=name,
                        headline=task.headline)
  i = evaluator_lib.hardest_solved(made.answers, few.labels)
  solving = task, few.inputs[i], made.answers[:, i], puzzles_lib.known(few.labels[i]), made.q_halt[:, i]
  print(f"\none {puzzle}, supervision step by supervision step:\n")
  print(boards.solving_text(*solving))
  boards.solving_picture(folder / "solved.png", *solving, task.shown_before(few, i), after[i])
