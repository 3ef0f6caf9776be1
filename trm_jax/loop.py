# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A training run from start to end: data, state, steps, evaluations, checkpoints, pictures."""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import platform
import resource
import time
from typing import Any

from clu import parameter_overview
import jax
import jax.numpy as jnp
import numpy as np

import trm_jax
from trm_jax import checkpoint
from trm_jax import config as config_lib
from trm_jax import draw
from trm_jax import evaluate
from trm_jax import files
from trm_jax import flops
from trm_jax import logs
from trm_jax import sharding
from trm_jax import train
from trm_jax.config import Config
from trm_jax.data import batches
from trm_jax.data import load
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError

_FIRST_CALL = 10  # steps of the first call of a new run, which tells how long it will take


def model_config(config: Config, puzzles: Puzzles) -> train.TRMConfig:
  """The model of a run: its knobs and what the data determines."""
  return dataclasses.replace(config.model, vocab_size=puzzles.vocab_size, seq_len=puzzles.seq_len,
                             num_puzzle_identifiers=puzzles.num_puzzle_identifiers)


def run(config: Config, workdir: pathlib.Path) -> dict[str, Any]:
  """Trains to the end, from the newest checkpoint in `workdir` if it has one.

  Args:
    config: the run.
    workdir: made if it does not exist. Gets config.json, metrics.jsonl, tensorboard/, checkpoints/, and at the end
      results.json, learning_curve.png and solved.png.

  Returns:
    What results.json holds.

  Raises:
    UserError: something a person can mend; state that was saved stays.
  """
  files.make_folder(workdir, "--workdir")
  print(f"this run is kept in {workdir}", flush=True)
  with contextlib.ExitStack() as exits:  # closes what is open, however the run ends
    try:
      return _run(config, workdir, exits)
    except KeyboardInterrupt:
      print(f"\nstopped; the same command with --workdir={workdir} goes on from its newest checkpoint", flush=True)
      raise


def _run(config: Config, workdir: pathlib.Path, exits: contextlib.ExitStack) -> dict[str, Any]:
  mesh = sharding.make_mesh()
  sharding.check_batch("batch_size", config.batch_size, mesh)

  # Data.
  progress = logs.Progress(f"{config.data.source} puzzles")
  splits = load.load(config.data, progress)
  progress.done(f"{len(splits.train):,} to train on, {len(splits.validation or ()):,} for validation, "
                f"{len(splits.test):,} for the test")
  arrays = batches.to_device_arrays(splits.train, sharding.replicated(mesh))
  total_steps = config.steps or batches.total_steps(config.epochs, splits.train.num_groups, config.batch_size)
  batches.check_positions(total_steps, config.batch_size)

  # State: from the newest checkpoint, or new. Never built before its layout is known.
  model = model_config(config, splits.train)
  trainer = train.Trainer(model, config.optimizer, batch_size=config.batch_size, total_steps=total_steps)
  param_key, data_key, explore_key = jax.random.split(jax.random.key(config.seed), 3)

  def make_batch(arrays, step):
    batch = batches.sample_batch(arrays, splits.task.sample_symmetry, data_key, step, batch_size=config.batch_size,
                                 num_aug=config.data.num_aug)
    return jax.lax.with_sharding_constraint(batch, sharding.along_data(mesh))

  def init(arrays):
    return trainer.init(param_key, make_batch(arrays, jnp.int32(0)))

  shapes = jax.eval_shape(init, arrays)
  layout = sharding.state_shardings(mesh, shapes)
  saved_run = {
      "config": config_lib.to_dict(config),
      "data": {name: getattr(splits.train, name) for name in ("vocab_size", "seq_len", "num_puzzle_identifiers")},
      "total_steps": total_steps,
  }
  checkpoints = exits.enter_context(contextlib.closing(checkpoint.Checkpoints(workdir / "checkpoints")))
  start = checkpoints.latest_step()
  if start is None:
    state, start = jax.jit(init, out_shardings=layout)(arrays), 0
  else:
    _check_same_run(saved_run, checkpoints.read_run(start), workdir)
    state = checkpoints.restore(start, checkpoint.abstract(shapes, layout))
    print(f"going on from the checkpoint of step {start:,}", flush=True)
  num_params = sum(x.size for x in jax.tree.leaves(shapes.params))
  files.write_json(workdir / "config.json", {
      **saved_run,
      "num_params": num_params,
      "environment": {
          "trm_jax": trm_jax.__version__, "jax": jax.__version__, "python": platform.python_version(),
          "devices": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
      },
  })
  (workdir / "parameters.txt").write_text(
      parameter_overview.get_parameter_overview(shapes.params, include_stats=False) + "\n")
  results_path = workdir / "results.json"
  if start == total_steps and results_path.exists():
    print(f"this run is finished: its {total_steps:,} steps are made; results are in {results_path}", flush=True)
    return json.loads(results_path.read_text())

  # Compile. The number of steps of a call is data, so this happens once.
  step_fn = jax.jit(
      lambda state, num_steps, arrays: trainer.steps(
          state, num_steps, functools.partial(make_batch, arrays), explore_key),
      donate_argnums=0, out_shardings=(layout, sharding.replicated(mesh)))
  compile_start = time.perf_counter()
  step_fn = step_fn.lower(state, jax.ShapeDtypeStruct((), jnp.int32), arrays).compile()
  compile_seconds = time.perf_counter() - compile_start
  evaluator = evaluate.Evaluator(
      lambda state: trainer.model(state, averaged=True), mesh=mesh, batch_size=config.eval_batch_size)

  # The loop.
  log = exits.enter_context(contextlib.closing(logs.MetricsLog(workdir, resume_step=start)))
  reporter = _Reporter(log, config, model, mesh.size, total_steps=total_steps, checkpoints=checkpoints)
  watched_name, watched = splits.watched
  eval_every = config.eval_every or max(1, total_steps // 10)
  step = start
  while step < total_steps:
    first = step == start
    call_end = min(
        _FIRST_CALL if step == 0 else math.inf,
        *((step // every + 1) * every for every in (config.log_every, eval_every, config.checkpoint_every)),
        total_steps)
    state, sums = step_fn(state, np.int32(call_end - step), arrays)
    reporter.called(call_end, call_end - step, sums)
    step = call_end
    if first:
      seconds = reporter.flush() * (total_steps - step)
      print(f"{_describe(model)} {num_params:,} parameters | {mesh.size} x {mesh.devices.flat[0].device_kind}, mesh "
            f"{dict(mesh.shape)} | {splits.task.name}, {len(splits.train):,} puzzles | {total_steps:,} steps of "
            f"{config.batch_size} | compiled in {compile_seconds:.1f} s | about {logs.duration(seconds)} to go",
            flush=True)
      log.write({"step": step, "compile_s": round(compile_seconds, 2)})

    evaluate_now = step % eval_every == 0 or step == total_steps
    if evaluate_now or step % config.checkpoint_every == 0:
      # A step that was not finite must be known before its state is saved.
      reporter.flush()
      exact = None
      if evaluate_now:
        metrics = evaluator.evaluate(state, watched).metrics()
        log.write({"step": step} | {f"{watched_name}/{name}": value for name, value in metrics.items()})
        print(f"{_at(step, total_steps)}  {watched_name}: {metrics['exact_accuracy']:.1%} of {len(watched):,} puzzles "
              f"solved, {metrics['accuracy']:.1%} of cells, halting right for {metrics['q_halt_accuracy']:.1%}",
              flush=True)
        exact = metrics["exact_accuracy"] if watched_name == "validation" else None
      checkpoints.save(step, state, saved_run, exact_accuracy=exact)
      reporter.resume()
  checkpoints.wait()

  # Report on the test set: the last checkpoint, and the one that was best on validation.
  results = {"step": total_steps, "test": _test(evaluator, state, splits.test, "last checkpoint"),
             "train_seconds": round(reporter.seconds, 1)}
  best = checkpoints.best_step()
  if best is not None and best != total_steps:
    best_state = checkpoints.restore(best, checkpoint.abstract(shapes, layout))
    results["test_best"] = {"step": best} | _test(
        evaluator, best_state, splits.test, f"best on validation, step {best:,}")
  log.write({"step": total_steps} | {f"test/{name}": value for name, value in results["test"].items()})
  files.write_json(results_path, results)

  _pictures(trainer.model(state, averaged=True), splits, workdir, config.name)
  print(f"""
{workdir}/
  results.json        test accuracy, by supervision step{' and by rating' if splits.test.ratings is not None else ''}
  learning_curve.png  solved.png
  metrics.jsonl       tensorboard/       config.json       parameters.txt       checkpoints/
next:
  python -m trm_jax.solve --checkpoint={workdir} --num=3      # watch it solve more puzzles, or your own
  python -m trm_jax.main --mode=eval --checkpoint={workdir}   # evaluate it, on other data with --data=FOLDER
""", flush=True)
  return results


def _check_same_run(run: dict[str, Any], saved: dict[str, Any], workdir: pathlib.Path) -> None:
  different = config_lib.differences(run["config"], saved["config"])
  different += [f"{name} of the data: {saved['data'].get(name)!r} -> {value!r}"
                for name, value in run["data"].items() if saved["data"].get(name) != value]
  if not different and run["total_steps"] != saved["total_steps"]:
    different = [f"total steps: {saved['total_steps']} -> {run['total_steps']}"]
  if different:
    raise UserError(f"--workdir={workdir}: its checkpoints belong to another run; they differ in "
                    f"{'; '.join(different)}. Name another folder, or give the values it was started with")


def _describe(model: train.TRMConfig) -> str:
  return (f"TRM {'mlp' if model.mlp_t else 'attention'} T={model.H_cycles} n={model.L_cycles} "
          f"{model.L_layers}x{model.hidden_size} {model.dtype}")


def _at(step: int, total_steps: int) -> str:
  return f"{step:>{len(f'{total_steps:,}')},}/{total_steps:,}"


class _Reporter:
  """Training records: fetched from the devices one call late, so that these never wait for the host.

  Raises:
    UserError: from `called` and `flush`, when a loss or gradient was not finite.
  """

  def __init__(self, log: logs.MetricsLog, config: Config, model: train.TRMConfig, num_devices: int, *,
               total_steps: int, checkpoints: checkpoint.Checkpoints):
    self._log, self._batch_size, self._total_steps, self._checkpoints = log, config.batch_size, total_steps, checkpoints
    self._num_devices = num_devices
    self._flops = flops.train_step_flops(model)
    self._peak = flops.peak_flops(jax.devices()[0])
    self._pending = None
    self._steps_timed = 0
    self._start = time.perf_counter()
    self.seconds = 0.0  # spent on training steps
    self.resume()

  def resume(self) -> None:
    """Starts the clock, after something other than training."""
    self._clock = time.perf_counter()

  def called(self, step: int, num_steps: int, sums: train.Metrics) -> None:
    """A call has been dispatched: report the one before it."""
    pending, self._pending = self._pending, (step, num_steps, sums)
    if pending:
      self._report(*pending)

  def flush(self) -> float:
    """Reports the call in flight; returns the mean seconds a step so far."""
    pending, self._pending = self._pending, None
    if pending:
      self._report(*pending)
    return self.seconds / max(1, self._steps_timed)

  def _report(self, step: int, num_steps: int, sums: train.Metrics) -> None:
    sums = {name: value.item() for name, value in jax.device_get(sums).items()}
    now = time.perf_counter()
    elapsed, self._clock = now - self._clock, now
    self.seconds += elapsed
    self._steps_timed += num_steps
    if sums["bad_step"] >= 0:
      last = self._checkpoints.latest_step()
      raise UserError(
          f"the loss or its gradient is not finite at step {sums['bad_step']:,}; the last good checkpoint is "
          f"{'missing' if last is None else f'of step {last:,} in {self._checkpoints.directory}'}; "
          "lower config.optimizer.learning_rate, or look at the data")
    finished = max(sums["count"], 1)
    examples_per_s = num_steps * self._batch_size / elapsed
    record = {
        "step": step,
        "loss": sums["loss"] / num_steps,
        "grad_norm": sums["grad_norm"] / num_steps,
        "lr": sums["lr"] / num_steps,
        "examples_per_s": examples_per_s,
        "step_ms": elapsed / num_steps * 1000,
        "peak_memory_gib": _peak_memory_bytes() / 2**30,
        **{name: sums[name] / num_steps / self._batch_size
           for name in ("lm_loss", "q_halt_loss", "q_continue_loss") if name in sums},
        **{name: sums[name] / finished
           for name in ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps") if sums["count"]},
    }
    if self._peak:
      record["flop_utilization"] = examples_per_s * self._flops / self._num_devices / self._peak
    record = {f"train/{name}" if name != "step" else name: value for name, value in record.items()}
    self._log.write(record)
    if not sums["count"]:
      return  # No puzzle was finished in so few steps: nothing to show a person yet.
    # Of all that has passed, evaluations included.
    left = (now - self._start) / self._steps_timed * (self._total_steps - step)
    print(f"{_at(step, self._total_steps)}  loss {record['train/loss']:.3f}  cells {record['train/accuracy']:.1%}  "
          f"solved {record['train/exact_accuracy']:.1%}  halted after {record['train/steps']:.1f}  "
          f"{examples_per_s:,.0f} examples/s  {logs.duration(left)} left", flush=True)


def _peak_memory_bytes() -> float:
  """Of the fullest device; of the process where devices do not tell (CPU)."""
  stats = [device.memory_stats() for device in jax.local_devices()]
  if all(stats):
    return max(s["peak_bytes_in_use"] for s in stats)
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _test(evaluator: evaluate.Evaluator, state: train.TrainState, puzzles: Puzzles, what: str) -> dict[str, Any]:
  """Evaluates on the test set and says so."""
  progress = logs.Progress(f"test, {what}")
  metrics = evaluator.evaluate(state, puzzles, progress).metrics()
  progress.done(f"{metrics['exact_accuracy']:.2%} of {metrics['num_puzzles']:,} unseen puzzles solved, "
                f"{metrics['accuracy']:.2%} of cells right")
  return metrics


def _pictures(model: train.TRM, splits: load.Splits, workdir: pathlib.Path, name: str) -> None:
  """The learning curve, and the unseen puzzle of a few that took the model longest to solve."""
  records = logs.read_metrics(workdir / "metrics.jsonl")
  draw.learning_curve(workdir / "learning_curve.png", records, title=name)
  few = splits.test.take_groups(np.arange(min(splits.test.num_groups, 64)))
  attempt = evaluate.attempt(model, few.inputs, few.puzzle_identifiers)
  i = attempt.hardest_solved(few.labels)
  print("\nan unseen puzzle, supervision step by supervision step:\n")
  print(draw.solving_text(splits.task, few.inputs[i], attempt.answers[:, i], few.labels[i], attempt.q_halt[:, i]))
  draw.solving_picture(workdir / "solved.png", splits.task, few.inputs[i], attempt.answers[:, i], few.labels[i],
                       attempt.q_halt[:, i])
