# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Evaluates a model's attempts at whole sets of puzzles against labels, at every supervision step."""

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
from trm_jax.tasks import vote
from trm_jax.training import losses
from trm_jax.training.attempts import Attempter


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Results of J attempts at N puzzles in M supervision steps: the same number for each puzzle, sorted by puzzle.

  After an attempt has ended, its values of further steps repeat the last ones.

  Attributes:
    answers: (J, S) uint8, after the last step; an answer to a version is in terms of that version.
    right_cells: (M, J) int32, number of counted cells that are right.
    by_rules: {headline: (M, J) bool, whether the answer is right}, if the task's headline counts answers that are right
      by the rules rather than equal to their labels; otherwise empty.
    counted_cells: (J,) int32, number of cells with a label; 0 for a version that a puzzle does not have.
    q_halt: (M, J) float32, logit of halting.
    losses: `lm_loss` and `q_halt_loss`, (J,) float32 each, of the last step (see losses.of_answers).
    steps: (J,) int32, supervision steps that each attempt made.
    row_steps: supervision steps that were computed, times rows, including rows without an attempt.
    versions: number of versions of each puzzle that were attempted.
    rollouts: number of attempts at each version.
    residuals: see Attempts; None if there is nothing to choose among.
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
  rollouts: int = 1
  residuals: np.ndarray | None = None

  @property
  def attempts(self) -> int:
    """Number of attempts at each puzzle."""
    return self.versions * self.rollouts

  @property
  def counted(self) -> np.ndarray:
    """Whether each attempt has a counted cell, (J,) bool."""
    return self.counted_cells > 0

  @property
  def exact(self) -> np.ndarray:
    """Whether every counted cell of each last answer is right, (J,) bool."""
    return self.right_cells[-1] == self.counted_cells

  @property
  def solved(self) -> np.ndarray:
    """Whether each last answer is right by the task's headline, (J,) bool."""
    return next((right[-1] for right in self.by_rules.values()), self.exact)

  def take(self, attempts: np.ndarray, answers: np.ndarray) -> "Evaluation":
    """Keeps one attempt at each puzzle, given their numbers, (N,), and their answers in terms of the puzzles."""
    return dataclasses.replace(
        self, answers=answers, right_cells=self.right_cells[:, attempts], counted_cells=self.counted_cells[attempts],
        by_rules={name: right[:, attempts] for name, right in self.by_rules.items()}, q_halt=self.q_halt[:, attempts],
        losses={name: values[attempts] for name, values in self.losses.items()}, steps=self.steps[attempts],
        versions=1, rollouts=1, residuals=None)

  def metrics(self) -> dict[str, Any]:
    """Means over the attempts that have a counted cell. Accuracies are shares in [0, 1].

    Returns:
      If no attempt has a counted cell, only num_puzzles, which is 0, and row_steps: there is no score. Otherwise
      num_puzzles, the number of attempts with a counted cell; exact_accuracy, accuracy (mean share of right cells), the
      share right by the rules, q_halt_accuracy, lm_loss and q_halt_loss after the last step; steps, the mean per
      puzzle; row_steps in all; `by_step`, the first three after each step.
    """
    counted, number = self.counted, self.counted.sum()
    if not number:
      return {"num_puzzles": 0, "row_steps": self.row_steps}
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
  """Words for the scores of an evaluation besides its headline, the share of puzzles solved; "" for most tasks.

  Args:
    metrics: Evaluation.metrics with what Task.score adds.
    task: of the puzzles.
  """
  return "".join(f", {name.replace('_', ' ')} {metrics[name]:.2%}"
                 for name in (*task.scores, "exact_accuracy") if name in metrics and name != task.headline)


def hardest_solved(answers: np.ndarray, labels: np.ndarray) -> int:
  """The puzzle whose first right answer came last, among those whose last answer is right; 0 if there is none.

  Args:
    answers: (M, N, S) of each supervision step.
    labels: (N, S) solutions, IGNORE_LABEL for cells that do not count.
  """
  right = are_right(answers, labels)
  return int(np.argmax(np.where(right[-1], right.argmax(axis=0), -1)))


def against_labels(outputs: Outputs, batch: Batch, loss_config: LossConfig, task: Task
                   ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
  """Measures attempts at puzzles whose labels are known; see attempts.Measure."""
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
    **kwargs: see Attempter.

  Attributes:
    attempter: makes the attempts.
  """

  def __init__(self, get_model: Callable[[Any], TRM], task: Task, *, loss_config: LossConfig = LossConfig(),
               versions: int = 0, rollouts: int = 1, **kwargs: Any):
    self._task, self._rollouts = task, rollouts
    # A task that stores versions chooses among them itself, in Task.score.
    self._chooses = (versions > 0 or rollouts > 1) and not task.stores_versions
    self.attempter = Attempter(
        get_model, task, versions=versions, rollouts=rollouts, residuals=self._chooses,
        measure=functools.partial(against_labels, loss_config=loss_config, task=task), **kwargs)

  def evaluate(
      self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None
  ) -> Evaluation:
    """Makes and evaluates all attempts at the puzzles; takes the arguments of Attempter.attempt."""
    made = self.attempter.attempt(source, puzzles, progress)
    measured = dict(made.measured)
    versions = len(made.steps) // (len(puzzles) * self._rollouts)
    counted_cells = np.repeat((puzzles.labels != IGNORE_LABEL).sum(1), versions)
    if puzzles.versions is not None:
      there = np.repeat(puzzles.num_versions, puzzles.examples_of_groups())
      counted_cells *= (np.arange(versions) < there[:, None]).reshape(-1)
    return Evaluation(
        answers=made.answers, right_cells=measured.pop("right_cells"),
        by_rules={name: measured.pop(name) for name in (self._task.headline,) if name in measured},
        counted_cells=np.repeat(counted_cells, self._rollouts), q_halt=made.q_halt, losses=measured, steps=made.steps,
        row_steps=made.row_steps, versions=versions, rollouts=self._rollouts, residuals=made.residuals)

  def choose(self, puzzles: Puzzles, evaluation: Evaluation, by: str = "count", *, first: int | None = None
             ) -> tuple[Evaluation, dict[str, dict[str, Any]]]:
    """Chooses one attempt at each puzzle, and computes the accuracy of every way to choose.

    Args:
      puzzles: that were evaluated.
      evaluation: of these puzzles.
      by: see vote.candidates.
      first: number of attempts at each puzzle, the first ones, to choose among; None for all.

    Returns:
      The Evaluation of the chosen attempts, and tables like those of Task.score: `by_choice` has the ways in which a
      model chooses by itself; `by_check` has "proof", if the task has rules, and "pass@J", which needs only one right
      attempt by labels or rules. No tables if no solution is known; the given Evaluation and no tables if there is
      nothing to choose among.
    """
    if not self._chooses:
      return evaluation, {}
    number = len(puzzles)
    attempts = np.arange(number * evaluation.attempts).reshape(number, -1)[:, :first]
    answers = self.attempter.put_back(puzzles, attempts.reshape(-1), evaluation.answers[attempts.reshape(-1)])
    answers = answers.reshape(*attempts.shape, -1)
    q_halt, residuals, counted, solved = (
        x[attempts] for x in (evaluation.q_halt[-1], evaluation.residuals[-1], evaluation.counted, evaluation.solved))
    proven = solved if evaluation.by_rules else self._task.solves(puzzles.inputs[:, None], answers)
    found = {way: vote.choose(answers, q_halt, by=way, residuals=residuals, solved=proven)
             for way in vote.BY if way != "proof" or proven is not None}
    every, counted = np.arange(number), counted[:, 0]

    chosen = evaluation.take(attempts[every, found[by]], answers[every, found[by]])
    if not counted.any():
      return chosen, {}

    def row(right):
      return {"num_puzzles": int(counted.sum()), self._task.headline: float(right[counted].mean())}

    rows = {way: row(solved[every, chosen]) for way, chosen in found.items()}
    proof = {"proof": rows.pop("proof")} if "proof" in rows else {}
    tables = {"by_choice": rows, "by_check": proof | {f"pass@{attempts.shape[1]}": row(solved.any(1))}}
    return chosen, tables
