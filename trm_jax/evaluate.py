# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Evaluation on whole sets of puzzles, at every supervision step."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np

from trm_jax import losses
from trm_jax import sharding
from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles
from trm_jax.model import TRM

# Lower ends of the rating buckets that are reported apart. Sudoku-Extreme's rating counts the backtracks of a solver.
RATING_BUCKETS = (0, 1, 10, 30, 100)


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a model made of N puzzles in each of T supervision steps.

  Attributes:
    answers: (N, S) uint8, after the last step.
    right_cells: (T, N) int32, counted cells that are right.
    counted_cells: (N,) int32, cells with a label.
    q_halt: (T, N) float32, logit of halting.
    ratings: (N,) int32 or None.
  """

  answers: np.ndarray
  right_cells: np.ndarray
  counted_cells: np.ndarray
  q_halt: np.ndarray
  ratings: np.ndarray | None

  def metrics(self) -> dict[str, Any]:
    """Shares in [0, 1], each over the N puzzles that have a counted cell.

    Returns:
      exact_accuracy, accuracy (mean share of right cells) and q_halt_accuracy after the last step; `by_step`: the
      first two after each step; `by_rating` where there are ratings: buckets with their size and exact accuracy.
    """
    counted = self.counted_cells > 0
    exact = (self.right_cells == self.counted_cells)[:, counted]
    cells = self.right_cells[:, counted] / self.counted_cells[counted]
    metrics = {
        "num_puzzles": int(counted.sum()),
        "exact_accuracy": float(exact[-1].mean()),
        "accuracy": float(cells[-1].mean()),
        "q_halt_accuracy": float(((self.q_halt[-1, counted] >= 0) == exact[-1]).mean()),
        "by_step": {
            "exact_accuracy": [float(e) for e in exact.mean(1)],
            "accuracy": [float(c) for c in cells.mean(1)],
        },
    }
    if self.ratings is not None:
      bucket = np.searchsorted(RATING_BUCKETS, self.ratings[counted], side="right") - 1
      ends = [*(f"{low}-{high - 1}" if high > low + 1 else f"{low}"
                for low, high in zip(RATING_BUCKETS, RATING_BUCKETS[1:])), f"{RATING_BUCKETS[-1]}+"]
      metrics["by_rating"] = {
          name: {"num_puzzles": int((bucket == i).sum()), "exact_accuracy": float(exact[-1, bucket == i].mean())}
          for i, name in enumerate(ends) if (bucket == i).any()
      }
    return metrics


def solve_batch(model: TRM, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Answers of every supervision step, from a fresh start. Jittable.

  Args:
    model: TRM.
    batch: inputs (B, S), labels (B, S), puzzle_identifiers (B,).

  Returns:
    answers (T, B, S) uint8, number of right cells (T, B) int32, q_halt (T, B) float32; T = halt_max_steps.
  """

  def step(carry, _):
    carry, outputs = model(carry, batch)
    _, right = losses.count_right(outputs.logits, batch["labels"])
    return carry, (outputs.logits.argmax(-1).astype("uint8"), right, outputs.q_halt)

  return jax.lax.scan(step, model.initial_carry(batch), length=model.config.halt_max_steps)[1]


@dataclasses.dataclass(frozen=True)
class Attempt:
  """What a model made of N puzzles in T supervision steps.

  Attributes:
    answers: (T, N, S) uint8.
    q_halt: (T, N) float32, logit of "every cell is right".
  """

  answers: np.ndarray
  q_halt: np.ndarray

  def hardest_solved(self, labels: np.ndarray) -> int:
    """Of the puzzles whose last answer is right, the one whose first right answer came last; 0 if there is none.

    Args:
      labels: (N, S) solutions.
    """
    right = (self.answers == labels.astype(np.uint8)).all(-1)
    return int(np.argmax(np.where(right[-1], right.argmax(axis=0), -1)))


def attempt(model: TRM, inputs: np.ndarray, puzzle_identifiers: np.ndarray) -> Attempt:
  """Solves puzzles together.

  Args:
    model: TRM.
    inputs: (N, S) tokens.
    puzzle_identifiers: (N,).
  """
  batch = {
      "inputs": inputs.astype(np.int32),
      "labels": inputs.astype(np.int32),  # not known, and not looked at
      "puzzle_identifiers": puzzle_identifiers.astype(np.int32),
  }
  answers, _, q_halt = jax.jit(solve_batch)(model, batch)
  return Attempt(np.asarray(answers), np.asarray(q_halt))


class Evaluator:
  """A compiled evaluation, for any number of puzzles and any parameters of one model.

  Args:
    get_model: from whatever `evaluate` is given to a TRM; runs under jit.
    mesh: batches are split over its `data` axis; its devices may belong to several processes, each of which has all
      puzzles and gets all results.
    batch_size: B, rounded up to a multiple of the devices along `data`.

  Attributes:
    solve: (what get_model takes, batch of B rows) -> answers of the last step, and the rest of `solve_batch`; jitted.
  """

  def __init__(self, get_model: Callable[[Any], TRM], *, mesh: Mesh, batch_size: int):
    devices = mesh.shape[sharding.DATA]
    self.batch_size = -(-batch_size // devices) * devices
    self._along_data = sharding.along_data(mesh)

    def run(source, batch):
      answers, right, q_halt = solve_batch(get_model(source), batch)
      return answers[-1], right, q_halt

    self.solve = jax.jit(run, out_shardings=sharding.replicated(mesh))

  def evaluate(
      self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None
  ) -> Evaluation:
    """Evaluates every puzzle once.

    The last batch is filled up with copies of its first puzzle, which are cut off again before anything is counted.

    Args:
      source: what `get_model` takes.
      puzzles: of the model's sizes.
      progress: called with the number of puzzles done and their total.
    """
    results = []
    for start in range(0, len(puzzles), self.batch_size):
      rows = np.arange(start, min(start + self.batch_size, len(puzzles)))
      padded = np.concatenate([rows, np.full(self.batch_size - len(rows), start)])
      batch = {
          "inputs": puzzles.inputs[padded].astype(np.int32),
          "labels": puzzles.labels[padded].astype(np.int32),
          "puzzle_identifiers": puzzles.puzzle_identifiers[padded],
      }
      answers, right, q_halt = jax.device_get(self.solve(source, sharding.put(batch, self._along_data)))
      results.append((answers[: len(rows)], right[:, : len(rows)], q_halt[:, : len(rows)]))
      if progress:
        progress(int(rows[-1]) + 1, len(puzzles))
    answers, right, q_halt = zip(*results)
    return Evaluation(
        answers=np.concatenate(answers),
        right_cells=np.concatenate(right, axis=1),
        counted_cells=(puzzles.labels != IGNORE_LABEL).sum(1),
        q_halt=np.concatenate(q_halt, axis=1),
        ratings=puzzles.ratings,
    )
