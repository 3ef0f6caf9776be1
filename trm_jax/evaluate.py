# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Implements `--mode=eval`: evaluates any checkpoint on any puzzles of its task."""

from collections.abc import Mapping
import contextlib
import dataclasses
import json
import pathlib
from typing import Any

import jax

from trm_jax import tasks
from trm_jax import weights
from trm_jax.data import folders
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import OtherSizeError, UserError
from trm_jax.runtime import console
from trm_jax.runtime import distributed
from trm_jax.runtime import files
from trm_jax.runtime import sharding
from trm_jax.tasks import Task
from trm_jax.tasks import vote
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training import identity
from trm_jax.training import metrics_log
from trm_jax.training.evaluator import Evaluator


def changes_for(source: str | None, data_changes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
  """The changes of config.data for `weights.load`: sizes belong to the puzzles of the source, if one is named.

  Raises:
    UserError: both name a source.
  """
  if source is None or not data_changes:
    return data_changes
  if "source" in data_changes:
    raise UserError(f"--data={source} and --set=data.source={data_changes['source']}: both name puzzles; leave one out")
  return {"source": source, **data_changes}


def task_of(loaded: weights.Weights, source: str | None, versions: int | None = None,
            data_changes: Mapping[str, Any] | None = None) -> Task:
  """The task of a checkpoint with other puzzles, or another number of votes, than its run had. Arguments: see `run`."""
  data = loaded.config.data
  if source is not None:
    # All puzzles of the source, unless a number was given, except generated ones, which are endless.
    num_test = data.num_test if "num_test" in (data_changes or {}) else 0
    data = dataclasses.replace(data, source=source, num_test=num_test)
    if tasks.of(loaded.config.task, data).own_splits:
      data = dataclasses.replace(data, num_test=loaded.config.data.num_test or 1000)
  if versions is not None and hasattr(data, "num_votes"):
    data = dataclasses.replace(data, num_votes=versions)
  return tasks.of(loaded.config.task, data).shared(loaded.folder)


def load_test(loaded: weights.Weights, task: Task) -> Puzzles:
  """The test puzzles of a task, for a checkpoint of that task.

  Raises:
    UserError: they cannot be read, or do not fit the model.
  """
  source, model = task.data.source, loaded.model.config
  with folders.of_a_model(task.size_fields, model.one_size):
    puzzles = splits_lib.load_test(task, console.Progress(f"{source} puzzles"))  # generating may take minutes
    sizes, known = (puzzles.seq_len, puzzles.vocab_size), (model.seq_len, model.vocab_size)
    if sizes != known:
      kind = OtherSizeError if sizes[1] == known[1] else UserError
      raise kind(f"{source}: {sizes[0]} cells and {sizes[1]} tokens, the model has {known[0]} and {known[1]}")
  identity.check_rows(task, loaded.rows, str(loaded.folder))
  if puzzles.num_puzzle_identifiers > model.num_puzzle_identifiers:
    raise UserError(f"{source}: {puzzles.num_puzzle_identifiers} puzzle identifiers, the model has "
                    f"{model.num_puzzle_identifiers}")
  return puzzles


def run(path: str, source: str | None, *, batch_size: int | None = None, average: int = 0, steps: int | None = None,
        stop: str | None = None, versions: int | None = None, rollouts: int = 1, noise: float = 0.0,
        choose: str | None = None, data_changes: Mapping[str, Any] | None = None, out: str | None = None,
        peer_timeout_s: float = 600.0) -> dict[str, Any]:
  """Evaluates on the whole test split, prints tables, and returns the metrics (see Evaluation.metrics).

  If there are several attempts at each puzzle, metrics are those of the chosen attempts, with `attempts`, `passes` (the
  mean steps of all attempts at a puzzle) and the tables of Evaluator.choose.

  Args:
    path: of the checkpoint (see checkpoint.find).
    source: of the puzzles (see config.data.source); None for those of the checkpoint's own run.
    batch_size, stop: see config.eval; None: as the run was configured.
    average, data_changes: see weights.load.
    steps, rollouts, noise: see Attempter.
    versions: see Attempter; if the task has votes, this is its num_votes, and None means as the run was configured.
    choose: see vote.candidates; None means "count".
    out: a local folder for the task's answer_file, such as ARC's submission.json.
    peer_timeout_s: see loop.run.

  Raises:
    UserError: there is no such checkpoint or data, the data do not fit the model, or attempts cannot be made or chosen
      in this way; or the task has no answer_file, or `out` cannot be written.
  """
  mesh = sharding.make_mesh()
  loaded = weights.load(path, mesh, average=average, data_changes=changes_for(source, data_changes))
  config, task = loaded.config, task_of(loaded, source, versions, data_changes)
  if task.stores_versions:
    if versions is not None and versions > task.num_votes:
      raise UserError(f"--versions={versions}: the run has only {task.data.num_aug} augmented versions of each task "
                      "(config.data.num_aug)")
    versions = task.num_votes
    if choose is not None:
      raise UserError(f"--choose={choose}: {task.name} counts votes in its own way; leave it out")
  if out is not None:
    if task.answer_file is None:
      raise UserError(f"--out={out}: {task.name} has no file of answers to write; leave it out")
    if not out or "://" in out:
      raise UserError(f"--out={out}: must be a folder of this machine")
    files.make_folder(pathlib.Path(out).expanduser(), "--out")
  vote.check(choose or "count", task, (1 + (versions or 0)) * rollouts)
  with folders.of_a_run(path, task.own_splits, source, data_changes):
    puzzles, model = load_test(loaded, task), loaded.model
  what = f"mean of {average} checkpoints" if average else f"step {loaded.step:,}"
  progress = console.Progress(f"{what} on {len(puzzles):,} puzzles of {task.data.source}")
  stop = stop or config.eval.stop
  evaluator = Evaluator(
      lambda model: model, task, mesh=mesh, batch_size=batch_size or config.eval.batch_size, max_puzzles=len(puzzles),
      loss_config=config.loss, steps=steps, stop=stop, versions=versions or 0, rollouts=rollouts, noise=noise)
  with contextlib.closing(distributed.Watchdog(peer_timeout_s if jax.process_count() > 1 else None)) as watchdog:

    def each_batch(done, total):
      progress(done, total)
      watchdog.alive("evaluating")

    evaluation = evaluator.evaluate(model, puzzles, each_batch)
    chosen, tables = evaluator.choose(puzzles, evaluation, choose or "count")
    metrics = chosen.metrics() | task.score(puzzles, chosen) | tables
    if out is not None and distributed.is_main():
      files.write_json(pathlib.Path(out).expanduser() / task.answer_file, task.answers(puzzles, chosen), indent=None)
    if tables:
      metrics |= {"attempts": evaluation.attempts, "passes": float(evaluation.steps.sum() / len(puzzles))}
  if not metrics["num_puzzles"]:
    progress.done(f"answered {metrics_log.WITHOUT_SCORE}")
    return metrics
  progress.done(f"{metrics[task.headline]:.2%} solved, {metrics['accuracy']:.2%} of cells right, halting right for "
                f"{metrics['q_halt_accuracy']:.2%}, lm_loss {metrics['lm_loss']:.4g}, q_halt_loss "
                f"{metrics['q_halt_loss']:.4g}" + f", {metrics['steps']:.2f} steps a puzzle" * (stop != "steps")
                + (f", {metrics['attempts']:,} attempts and {metrics['passes']:,.1f} passes a puzzle" if tables else "")
                + evaluator_lib.more_in_words(metrics, task))
  if not distributed.is_main():
    return metrics
  print("supervision step   solved    cells")
  by_step = metrics["by_step"]
  for step, (solved, cells) in enumerate(zip(by_step[task.headline], by_step["accuracy"]), 1):
    print(f"{step:>16}  {solved:7.2%}  {cells:7.2%}")
  for name, table in metrics.items():
    if name.startswith("by_") and name != "by_step":
      shares = [share for share in next(iter(table.values())) if share != "num_puzzles"]
      titles = ["solved" if share == task.headline else share.replace("_", " ") for share in shares]
      print(f"{name.removeprefix('by_').replace('_', ' '):>16}", *(f" {title:>7}" for title in (*titles, "puzzles")))
      for row, values in table.items():
        print(f"{row:>16}", *(f" {values[share]:7.2%}" for share in shares), f" {values['num_puzzles']:>7,}")
  print(json.dumps({"step": loaded.step, **metrics}))
  return metrics
