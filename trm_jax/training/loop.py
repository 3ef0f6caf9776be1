# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A training run from start to end: data, state, steps, evaluations, checkpoints, pictures.

Every process of a job runs all of it and comes to the same places in the same order, for restoring, steps, evaluations
and saves are made together. Small files are written to `Workdir.local`, which is kept of the main process only.
"""

from collections.abc import Sequence
import contextlib
import json
import os
import pathlib
import platform
import socket
import time
from typing import Any, NoReturn
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
from trm_jax.training import attempts
from trm_jax.training import checkpoint
from trm_jax.training import curves
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training import identity
from trm_jax.training import metrics_log
from trm_jax.training import program
from trm_jax.training import train_log
from trm_jax.training import train_step
from trm_jax.training import wandb_log

# A call of that many seconds keeps the host out of the devices' way, and yet the run stops soon when it is told to.
_CALL_SECONDS = 2.0
# No process waits so long for a program, but a slow host may take so long to compile one.
_COMPILE_SECONDS = 600.0
# Likewise of its puzzles: the first time, TFDS downloads and prepares millions.
_READ_SECONDS = 3600.0
# What process 0 does alone at the end: compiling for one device, drawing, copying to a bucket.
_REPORT_SECONDS = 1800.0
# Of the watched puzzles, the first so many are drawn at each evaluation.
_DRAWN = 4


class _Stop(Exception):
  """All processes have agreed to stop here."""


def run(config: Config, path: os.PathLike | str, *, peer_timeout_s: float = 600.0) -> dict[str, Any]:
  """Trains to the end, from the newest checkpoint in `path` if it has one.

  Args:
    config: the run.
    path: folder of the run, gs://BUCKET/FOLDER too; made if it does not exist. Gets config.json, metrics.jsonl,
      tensorboard/, checkpoints/, and at the end results.json, learning_curve.png and solved.png.
    peer_timeout_s: of several processes, one in which nothing moves for so long ends with status PEER_LOST.

  Returns:
    What results.json holds.

  Raises:
    UserError: something a person can mend; state that was saved stays.
    exit_status.Interrupted: SIGTERM, SIGHUP or Ctrl-C in any process; all have saved the same step.
  """
  paths.check_checkpoints_can_be_kept(path, "--workdir")
  if jax.config.jax_enable_x64:
    raise UserError("jax_enable_x64 is on: this library computes in 32 bits; turn it off by "
                    "jax.config.update('jax_enable_x64', False)")
  mesh = sharding.make_mesh(model=config.compute.model_devices)
  # The stack closes what is open, however the run ends, and that is not cut short by a signal.
  with Signals(announces=distributed.is_main()) as signals, contextlib.ExitStack() as exits:
    # Another process may own the folder.
    workdir = distributed.together(lambda: exits.enter_context(Workdir(path, main=distributed.is_main())))
    watchdog = exits.enter_context(contextlib.closing(distributed.Watchdog(
        peer_timeout_s if jax.process_count() > 1 else None)))
    distributed.say(f"this run is kept in {workdir.path}")
    _check_shared(workdir)
    return _Run(config, workdir, mesh, watchdog, signals, exits).run()


class _Run:
  """The parts of a run, in the order in which `run` goes through them, and what they share.

  Attributes:
    step: optimizer steps made.
    saved: step of the newest checkpoint, 0 if there is none.
    evaluated: the last step that was evaluated, 0 before.
  """

  def __init__(self, config: Config, workdir: Workdir, mesh: jax.sharding.Mesh, watchdog: distributed.Watchdog,
               signals: Signals, exits: contextlib.ExitStack):
    self.config, self.workdir, self.mesh, self.watchdog, self.exits = config, workdir, mesh, watchdog, exits
    self.signals = signals
    program.check_fits(config, mesh)  # before puzzles are read or made, which may take minutes
    if config.log.wandb:
      wandb_log.require_wandb(config.log.wandb)
    watchdog.alive("reading puzzles", extra_s=_READ_SECONDS)
    self.task = tasks.of(config.task, config.data).shared(workdir.path)
    self.splits = _load(self.task)
    watchdog.alive("comparing puzzles")
    sizes = Sizes.of(self.splits.train)
    self.program = program.Program(config, self.task, sizes, mesh)
    self.total_steps = self.program.total_steps
    self.eval_every = config_lib.steps_between_evaluations(config.eval.every, self.total_steps)
    self.saved_run = {
        "config": config_lib.to_dict(config), "data": sizes.of_model(), "total_steps": self.total_steps}
    distributed.check_same("config", lambda: _fingerprint(self.saved_run))
    distributed.check_same(
        "version of trm_jax", lambda: files.fingerprint(pathlib.Path(trm_jax.__file__).parent, "*.py"))
    self.saved_run["puzzles"] = identity.digests(self.splits)
    distributed.check_same("set of puzzles", lambda: _fingerprint(self.saved_run["puzzles"]))
    # Together: nothing is written there before all have looked.
    self.found = distributed.together(lambda: identity.state(self.saved_run, workdir.path))
    self.seed = np.uint32(config.seed)
    self.source = rows_lib.to_device(
        rows_lib.Source.of(self.task.arrays(self.splits.train), self.splits.train), sharding.replicated(mesh))
    self.agreement = distributed.Agreement(mesh, 3)
    self.traced = _steps_to_trace(
        config, self.eval_every, self.total_steps, [stage.start for stage in self.program.stages])

  def run(self) -> dict[str, Any]:
    """All of it."""
    if self.found == "finished":
      results = "results.json"
      distributed.say(f"this run is finished: its {self.total_steps:,} steps are made; results are in "
                      f"{self.workdir.path / results}")
      return metrics_log.read_results(self.workdir.local / results)
    self.restore_or_init()
    self.describe()
    self.compile()
    self.signals.hold()  # from here on there is something to save
    self.trace = self.exits.enter_context(contextlib.ExitStack())
    try:
      try:
        self.take_steps()
        return self.report()
      except _Stop:
        self.save_and_stop()
    except train_log.NotFinite as e:
      self.log.write({"step": e.step, "failed": "the loss or its gradient is not finite"})
      last = self.checkpoints.latest_step()
      raise UserError(
          f"the loss or its gradient is not finite at step {e.step:,}; the last good checkpoint is "
          f"{'missing' if last is None else f'of step {last:,} in {self.checkpoints.directory}'}; "
          "lower config.optimizer.learning_rate, or look at the data") from None

  def restore_or_init(self) -> None:
    """The state: from the newest checkpoint, or new. Never built before its layout is known."""
    self.checkpoints = self.exits.enter_context(contextlib.closing(checkpoint.Checkpoints(
        self.workdir.checkpoints, keep=checkpoint.keep_last(self.config))))
    latest = self.checkpoints.latest_step()
    if latest is None:
      self.state = self.program.init(self.seed, self.source)
      self.step = self.saved = self.evaluated = 0
      self.seconds = 0.0
    else:
      saved_run = self.checkpoints.read_run(latest)
      identity.check_same(self.saved_run, saved_run, str(self.checkpoints.directory))
      self.state = self.checkpoints.restore(latest, self.program.state)
      self.step = self.saved = latest
      self.evaluated = latest if self.checkpoints.evaluated(latest) else 0
      self.seconds = saved_run["train_seconds"]
      distributed.say(f"going on from the checkpoint of step {latest:,}")
    self.saved_at = time.monotonic()

  def describe(self) -> None:
    """config.json and parameters.txt."""
    files.write_json(self.workdir.local / "config.json", {
        **self.saved_run,
        "num_params": self.program.num_params,
        "environment": {
            "trm_jax": trm_jax.__version__, "jax": jax.__version__, "python": platform.python_version(),
            "devices": f"{self.mesh.size} x {self.mesh.devices.flat[0].device_kind}",
            "processes": jax.process_count(),
        },
    })
    self.workdir.sync()  # before anything else: it says whose the other files are
    files.replace_text(
        self.workdir.local / "parameters.txt",
        parameter_overview.get_parameter_overview(self.program.state.params, include_stats=False) + "\n")

  def compile_stage(self) -> float:
    """The program that makes the next step; returns the seconds it took."""
    self.watchdog.alive("compiling", extra_s=_COMPILE_SECONDS)
    start = time.perf_counter()
    self.stage = self.program.stage_at(self.step)
    self.steps = self.program.compile_steps(self.stage)
    seconds = time.perf_counter() - start
    self.watchdog.alive("taking the first step")
    return seconds

  def next_stage(self) -> None:
    """Goes on with another depth; the state is the same."""
    self.records.flush()
    seconds = self.compile_stage()
    self.log.write({"step": self.step, "compile_s": round(seconds, 2)})
    model = self.program.stages[self.stage].model_config
    distributed.say(f"{train_log.at(self.step, self.total_steps)}  from here on H_cycles = {model.H_cycles}, "
                    f"L_cycles = {model.L_cycles}; compiled in {seconds:.1f} s")
    self.records.resume()

  def compile(self) -> None:
    """The step, and what is needed around it."""
    seconds = self.compile_stage()
    self.watched_name, self.watched = self.splits.watched
    self.evaluator = self.program.evaluator(max(len(self.watched), len(self.splits.test)))
    knobs = self.saved_run["config"]
    mirrors = []
    if self.config.log.wandb and distributed.is_main():
      mirrors.append(wandb_log.WandbLog(
          self.config.log.wandb, self.workdir.local, name="/".join(self.workdir.path.parts[-2:]), config=knobs))
    self.log = self.exits.enter_context(contextlib.closing(metrics_log.MetricsLog(
        self.workdir.local, resume_step=self.step,
        remade=("test",) if self.evaluated == self.step else ("test", f"{self.watched_name}/"),
        knobs=config_lib.flatten(knobs), mirrors=mirrors)))
    self.log.write({"step": self.step, "compile_s": round(seconds, 2)})
    self.records = train_log.Records(
        self.log, self.config, self.mesh.size, self.total_steps, self.program.train_flops, self.seconds)
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    distributed.say(
        f"{_describe(self.program.model_config)} {self.program.num_params:,} parameters | {self.mesh.size} x "
        f"{self.mesh.devices.flat[0].device_kind}{processes}, mesh {dict(self.mesh.shape)} | {self.task.name}, "
        f"{self.splits.train.num_groups:,} puzzles | {self.total_steps:,} steps of {self.config.batch_size} | compiled "
        f"in {seconds:.1f} s")

  def save_and_stop(self) -> NoReturn:
    """What all processes do where they have agreed to."""
    start = time.perf_counter()
    self.records.flush()
    if self.step != self.saved:
      self.save()
    self.checkpoints.wait()
    distributed.say(f"stopped at step {self.step:,}, saved in {time.perf_counter() - start:.1f} s; the same command "
                    f"with --workdir={self.workdir.path} goes on from there")
    # Another process may be the one that was told.
    raise exit_status.Interrupted(self.signals.status or exit_status.PREEMPTED) from None

  def start_trace(self) -> None:
    """Has JAX's profiler record what the devices and this process do from now on."""
    self.records.flush()
    jax.block_until_ready(self.state)
    if distributed.is_main():
      self.trace.enter_context(jax.profiler.trace(self.workdir.local / "tensorboard"))
    self.records.resume()

  def end_trace(self) -> None:
    """Ends the record when the steps that have been dispatched are made, and says where it is."""
    self.records.flush()
    jax.block_until_ready(self.state)
    self.watchdog.alive("writing the trace")
    self.trace.close()
    self.records.resume()
    folder = self.workdir.path / "tensorboard"
    distributed.say(f"{len(self.traced)} steps after step {self.traced.start:,} are traced; to look at them: "
                    f"pip install xprof && xprof --logdir={folder} (more in docs/performance.md)")

  def take_steps(self) -> None:
    """Steps, evaluations and saves, to the last step."""
    told_how_long = False
    if self.traced and self.step >= self.traced.start:
      distributed.say(f"no step is traced: config.log.profile_from = {self.traced.start}, and {self.step:,} are made "
                      "already")
      self.traced = range(0)
    call_steps, save_now = 1, False
    while True:
      # A resumed run may have been stopped before the evaluation or the save that is due at its first step.
      evaluate_now = self.step > self.evaluated and (
          self.step % self.eval_every == 0 or self.step == self.total_steps)
      if evaluate_now or save_now and self.step not in self.traced or (
          self.step % self.config.save.every == 0 and self.step > self.saved):
        self.records.flush()  # a step that was not finite must be known before its state is saved
        if evaluate_now:
          self.evaluate()
        if self.step > self.saved:
          self.save()
        self.records.resume()
      if self.step == self.total_steps:
        return
      if self.program.stage_at(self.step) != self.stage:
        self.next_stage()
      end = min(
          self.step + call_steps,
          *((self.step // every + 1) * every
            for every in (self.config.log.every, self.eval_every, self.config.save.every)),
          *(border for border in (self.traced.start, self.traced.stop, *(s.start for s in self.program.stages))
            if border > self.step),
          self.total_steps)
      if self.traced and self.step == self.traced.start:
        self.start_trace()
      self.state, metrics = self.steps(self.state, np.int32(end - self.step), self.seed, self.source)
      self.records.called(end, end - self.step, metrics)
      self.step = end
      if self.traced and self.step == self.traced.stop:
        self.end_trace()
      call_steps, save_now = self.safe_point("training")
      if self.records.step_seconds and not told_how_long:
        told_how_long = True
        distributed.say(f"about {console.duration(self.records.seconds_left(self.step))} to go")

  def safe_point(self, doing: str) -> tuple[int, bool]:
    """Where the run may be stopped: all processes agree whether it is, how long calls are, whether it is time to save.

    Returns:
      Steps of the next call; whether to save.

    Raises:
      _Stop: one of the processes was told to.
    """
    call_steps = save = 0
    if distributed.is_main():  # its clock decides
      if self.records.step_seconds:
        call_steps = int(_CALL_SECONDS / self.records.step_seconds)
      minutes = self.config.save.minutes
      if minutes and time.monotonic() - self.saved_at > 60 * minutes:
        save = self.saved + 1  # says since when, for by the time that it is agreed on there may be a newer one
    stop, call_steps, save = self.agreement.exchange([int(self.signals.received is not None), call_steps, save])
    self.watchdog.alive(f"{doing}, after step {self.step:,}")
    if stop:
      raise _Stop
    return max(1, call_steps), save == self.saved + 1 and self.step > self.saved

  def evaluate(self) -> None:
    """Evaluates on the watched puzzles and notes the accuracy, if it is one by which a checkpoint may be chosen."""
    evaluation = self.evaluator.evaluate(
        self.state, self.watched, lambda done, total: self.safe_point("evaluating"))
    metrics = evaluation.metrics() | self.task.score(self.watched, evaluation)
    name = self.watched_name
    self.log.write({"step": self.step} | {f"{name}/{key}": value for key, value in metrics.items()})
    if distributed.is_main():  # nobody sees what the others draw
      few = slice(_DRAWN)
      self.log.image(f"{name}/answers", boards.answers_picture(
          self.task, self.watched.inputs[few], evaluation.answers[few], self.watched.labels[few],
          evaluation.q_halt[-1, few]), self.step)
    distributed.say(
        f"{train_log.at(self.step, self.total_steps)}  {name}: {metrics['exact_accuracy']:.1%} of "
        f"{len(self.watched):,} puzzles solved, {metrics['accuracy']:.1%} of cells, halting right for "
        f"{metrics['q_halt_accuracy']:.1%}{self._steps_a_puzzle(metrics)}")
    self.workdir.sync()  # An evaluation that is noted is not made again, so its record must be in place before.
    self.checkpoints.add_evaluation(self.step, metrics[self.task.headline] if name == "validation" else None)
    self.evaluated = self.step

  def save(self) -> None:
    """Starts writing a checkpoint; the records of its step are in place before it is."""
    self.workdir.sync()
    self.watchdog.alive(f"saving step {self.step:,}")
    self.checkpoints.save(
        self.step, self.state, self.saved_run | {"train_seconds": round(self.records.seconds, 1)})
    self.saved, self.saved_at = self.step, time.monotonic()

  def report(self) -> dict[str, Any]:
    """Test accuracy of the last checkpoint and of the one that was best on validation; pictures; what is where."""
    self.checkpoints.wait()
    results = {"step": self.total_steps, "test": self.test(self.state, "last checkpoint"),
               "train_seconds": round(self.records.seconds, 1)}
    best = self.checkpoints.best_step()
    if best is not None and best != self.total_steps:
      best_state = self.checkpoints.restore(best, self.program.state)
      results["test_best"] = {"step": best} | self.test(best_state, f"best on validation, step {best:,}")
    num = min(self.config.save.average, len(self.checkpoints.steps()))
    if num:
      mean = self.program.trainer.with_params(
          self.state, self.checkpoints.mean_params(num, self.program.state.params))
      results["test_average"] = {"num_checkpoints": num} | self.test(mean, f"mean of the last {num} checkpoints")
    for name in ("test", "test_best", "test_average"):
      if name in results:
        self.log.write({"step": self.total_steps} | {f"{name}/{key}": value for key, value in results[name].items()})
    for _ in range(2):  # whoever was told to stop until now, all hear of it
      self.safe_point("reporting")
    # Drawing takes one process and one device.
    model = jax.jit(lambda state: self.program.trainer.model(state, averaged=True),
                    out_shardings=sharding.replicated(self.mesh))(self.state)
    self.watchdog.alive("reporting", extra_s=_REPORT_SECONDS)
    with self.signals.released():  # all is saved: nobody need wait for the pictures
      if distributed.is_main():
        _pictures(jax.device_get(model), self.task, self.splits, self.workdir.local, self.config.name)
    files.write_json(self.workdir.local / "results.json", results)
    self.workdir.sync()
    tables = [name.removeprefix("by_") for name in results["test"] if name.startswith("by_") and name != "by_step"]
    # Together: JAX gives processes that have left a minute to be followed by the others, then ends all.
    multihost_utils.sync_global_devices("reported")
    distributed.say(f"""
{self.workdir.path}/
  results.json        test accuracy, by {' and by '.join(['supervision step', *tables])}
  learning_curve.png  solved.png
  metrics.jsonl       tensorboard/       config.json       parameters.txt       checkpoints/
next:
  python -m trm_jax.solve --checkpoint={self.workdir.path} --num=3      # watch it solve more puzzles, or your own
  python -m trm_jax.main --mode=eval --checkpoint={self.workdir.path}   # evaluate it, on other data with --data=FOLDER
""")
    return results

  def test(self, state: train_step.TrainState, what: str) -> dict[str, Any]:
    """Evaluates on the test set and says so."""
    progress = console.Progress(f"test, {what}")

    def each_batch(done, total):
      progress(done, total)
      self.safe_point("testing")

    evaluation = self.evaluator.evaluate(state, self.splits.test, each_batch)
    metrics = evaluation.metrics() | self.task.score(self.splits.test, evaluation)
    progress.done(f"{metrics['exact_accuracy']:.2%} of {metrics['num_puzzles']:,} {self.splits.test_puzzle}s solved, "
                  f"{metrics['accuracy']:.2%} of cells right{self._steps_a_puzzle(metrics)}")
    return metrics

  def _steps_a_puzzle(self, metrics: dict[str, Any]) -> str:
    return f", {metrics['steps']:.2f} steps a puzzle" if self.config.eval.halting else ""


def _load(task: Task) -> splits_lib.Splits:
  progress = console.Progress(f"{task.data.source} puzzles")
  splits = splits_lib.load(task, progress)
  progress.done(splits.summary)
  for note in splits.notes:
    distributed.say(note)
  return splits


def _steps_to_trace(config: Config, eval_every: int, total_steps: int, stage_starts: Sequence[int]) -> range:
  """Numbers of the steps, counted from 0, that the profiler traces.

  Raises:
    UserError: they are not all made, or not in one go.
  """
  if not config.log.profile_steps:
    return range(0)
  first, stop = config.log.profile_from, config.log.profile_from + config.log.profile_steps
  what = f"config.log.profile_steps = {config.log.profile_steps}, config.log.profile_from = {first}: "
  if stop > total_steps:
    raise UserError(f"{what}the run has only {total_steps:,} steps")
  for name, every in (("eval.every", eval_every), ("save.every", config.save.every)):
    border = (first // every + 1) * every
    if border < stop:
      raise UserError(f"{what}step {border:,} ends with an evaluation or a save (config.{name} = {every}), which must "
                      "not lie among them; trace fewer, or begin elsewhere")
  for border in stage_starts:
    if first < border < stop:
      raise UserError(f"{what}config.depth_schedule begins a stage after step {border:,}, which must not lie among "
                      "them; trace fewer, or begin elsewhere")
  return range(first, stop)


def _fingerprint(value: Any) -> int:
  """Of what JSON can hold, 32 bits."""
  return zlib.crc32(json.dumps(value).encode())


def _check_shared(workdir: Workdir) -> None:
  """Makes sure that all processes mean the same folder: each of them writes its part of a checkpoint."""
  if jax.process_count() == 1:
    return
  token = int.from_bytes(os.urandom(4), "little")
  note = workdir.path / f".job-{int(multihost_utils.broadcast_one_to_all(np.uint32(token))):08x}"
  if distributed.is_main():
    note.write_text(socket.gethostname())
  multihost_utils.sync_global_devices("note written")
  seen = multihost_utils.process_allgather(np.int32(note.exists()))
  if distributed.is_main():
    note.unlink()
  blind = np.flatnonzero(seen == 0)
  if blind.size:
    raise UserError(f"--workdir={workdir.path}: {distributed.names(blind)} does not see there what process 0 writes; "
                    "name a folder that all hosts share, or gs://BUCKET/FOLDER")


def _describe(model: train_step.TRMConfig) -> str:
  words = ["TRM", "mlp" if model.mlp_t else "attention"]
  if model.recursion == "none":
    words.append("no recursion")
  else:
    words += [model.recursion] * (model.recursion != "two_z") + [f"T={model.H_cycles} n={model.L_cycles}"]
    words += ["one-step gradient"] * (model.gradient == "one_step")
  layers = f"({model.L_layers}+{model.H_layers})" if model.H_layers else model.L_layers
  return " ".join([*words, f"{layers}x{model.hidden_size}", model.dtype])


def _pictures(model: train_step.TRM, task: Task, splits: splits_lib.Splits, folder: os.PathLike, name: str) -> None:
  """The learning curve, and the test puzzle of a few that took the model longest to solve."""
  curves.learning_curve(folder / "learning_curve.png", metrics_log.read_metrics(folder / "metrics.jsonl"), title=name)
  few: Puzzles = splits.test.take_groups(np.arange(min(splits.test.num_groups, 64)))
  attempt = attempts.every_answer(model, task, few)
  i = evaluator_lib.hardest_solved(attempt.answers, few.labels)
  print(f"\none {splits.test_puzzle}, supervision step by supervision step:\n")
  print(boards.solving_text(task, few.inputs[i], attempt.answers[:, i], few.labels[i], attempt.q_halt[:, i]))
  boards.solving_picture(folder / "solved.png", task, few.inputs[i], attempt.answers[:, i], few.labels[i],
                       attempt.q_halt[:, i])
