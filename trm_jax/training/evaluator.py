# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a model's attempts at whole sets of puzzles are worth, at every supervision step: compared with labels."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import LossConfig
from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles, are_right
from trm_jax.model.trm import TRM, Batch, Outputs
from trm_jax.tasks import Task
from trm_jax.training import losses
from trm_jax.training.attempts import Attempter


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a model made of N puzzles in each of M supervision steps: of each in V versions, one after another.

  Attributes:
    answers: (N * V, S) uint8, after the last step.
    right_cells: (M, N * V) int32, counted cells that are right. A puzzle that halted keeps what it had.
    by_rules: by the task's headline, where that counts what is right by the rules and not what equals its label:
      (M, N * V) bool, whether the answer is. A puzzle that halted keeps what it had.
    counted_cells: (N * V,) int32, cells with a label; 0 for a version that a puzzle does not have.
    q_halt: (M, N * V) float32, logit of halting. A puzzle that halted keeps what it had.
    losses: `lm_loss` and `q_halt_loss`, (N * V,) float32 each, of the last step (see losses.of_answers).
    steps: (N * V,) int32, supervision steps that each puzzle made.
    row_steps: supervision steps that were computed, times rows: those of rows without a puzzle too.
    versions: V, of each puzzle.
  """

  answers: np.ndarray
  right_cells: np.ndarray
  by_rules: dict[str, np.ndarray]
  counted_cells: np.ndarray
  q_halt: np.ndarray
  losses: dict[str, np.ndarray]
  steps: np.ndarray
  row_steps: int
  versions: int = 1

  @property
  def counted(self) -> np.ndarray:
    """(N * V,) bool, which puzzles have a counted cell."""
    return self.counted_cells > 0

  @property
  def exact(self) -> np.ndarray:
    """(N * V,) bool, whether every counted cell of the last answer is right."""
    return self.right_cells[-1] == self.counted_cells

  def metrics(self) -> dict[str, Any]:
    """Means over the puzzles, in all versions, that have a counted cell; accuracies are shares in [0, 1], 0
    where there is none.

    Returns:
      num_puzzles, those with a counted cell; exact_accuracy, accuracy (mean share of right cells), what is right by
      rules, q_halt_accuracy, lm_loss and q_halt_loss after the last step; steps that a puzzle made in the mean;
      row_steps, of all; `by_step`: the first three after each step.
    """
    counted, number = self.counted, max(1, self.counted.sum())
    exact = (self.right_cells == self.counted_cells)[:, counted]
    shares = {"exact_accuracy": exact, "accuracy": self.right_cells[:, counted] / self.counted_cells[counted],
              **{name: right[:, counted] for name, right in self.by_rules.items()}}
    by_step = {name: [float(share) for share in values.sum(1) / number] for name, values in shares.items()}
    return {
        "num_puzzles": int(counted.sum()),
        **{name: values[-1] for name, values in by_step.items()},
        "q_halt_accuracy": float(((self.q_halt[-1, counted] >= 0) == exact[-1]).sum() / number),
        **{name: float(values[counted].sum(dtype=np.float64) / number) for name, values in self.losses.items()},
        "steps": float(self.steps[counted].sum() / number),
        "row_steps": self.row_steps,
        "by_step": by_step,
    }


def more_in_words(metrics: dict[str, Any], task: Task) -> str:
  """What is reported of an evaluation besides its headline, the share of puzzles that are solved; "" for most tasks.

  Args:
    metrics: Evaluation.metrics with what Task.score adds.
    task: of the puzzles.
  """
  return "".join(f", {name.replace('_', ' ')} {metrics[name]:.2%}"
                 for name in (*task.scores, "exact_accuracy") if name in metrics and name != task.headline)


def hardest_solved(answers: np.ndarray, labels: np.ndarray) -> int:
  """Of the puzzles whose last answer is right, the one whose first right answer came last; 0 if there is none.

  Args:
    answers: (M, N, S) of each supervision step.
    labels: (N, S) solutions, IGNORE_LABEL where nothing is asked.
  """
  right = are_right(answers, labels)
  return int(np.argmax(np.where(right[-1], right.argmax(axis=0), -1)))


def against_labels(outputs: Outputs, batch: Batch, loss_config: LossConfig, task: Task
                   ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
  """What is measured of attempts at puzzles whose labels are known; see attempts.Measure."""
  _, right_cells = losses.count_right(outputs.logits, batch["labels"])
  each = {"right_cells": right_cells}
  if task.headline != "exact_accuracy":
    each[task.headline] = task.solves(batch["inputs"], jnp.argmax(outputs.logits, -1))
  return losses.of_answers(outputs, batch["labels"], loss_config), each


class Evaluator:
  """A compiled evaluation, for any parameters of one model and any number of puzzles up to `max_puzzles`.

  Args:
    get_model, task, mesh, batch_size, max_puzzles: see Attempter.
    loss_config: how cells are scored.
    halting: a puzzle is done when its attempt has settled (see attempts.STOPS); otherwise after halt_max_steps steps.

  Attributes:
    attempter: what makes the attempts.
  """

  def __init__(self, get_model: Callable[[Any], TRM], task: Task, *, loss_config: LossConfig = LossConfig(),
               halting: bool = False, **kwargs: Any):
    self.attempter = Attempter(get_model, task, stop="settled" if halting else "steps",
                               measure=functools.partial(against_labels, loss_config=loss_config, task=task), **kwargs)
    self._headline = task.headline

  def evaluate(
      self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None
  ) -> Evaluation:
    """Evaluates every version of every puzzle once; arguments as of Attempter.attempt."""
    made = self.attempter.attempt(source, puzzles, progress)
    measured = dict(made.measured)
    versions = len(made.steps) // len(puzzles)
    counted_cells = np.repeat((puzzles.labels != IGNORE_LABEL).sum(1), versions)
    if puzzles.versions is not None:
      there = np.repeat(puzzles.num_versions, puzzles.examples_of_groups())
      counted_cells *= (np.arange(versions) < there[:, None]).reshape(-1)
    return Evaluation(
        answers=made.answers, right_cells=measured.pop("right_cells"),
        by_rules={name: measured.pop(name) for name in (self._headline,) if name in measured},
        counted_cells=counted_cells, q_halt=made.q_halt, losses=measured, steps=made.steps,
        row_steps=made.row_steps, versions=versions)
