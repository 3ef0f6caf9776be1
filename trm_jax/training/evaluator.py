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
from trm_jax.tasks import vote
from trm_jax.training import losses
from trm_jax.training.attempts import Attempter


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a model made of N puzzles in each of M supervision steps: J attempts, one puzzle's behind another's, as many
  at each.

  Attributes:
    answers: (J, S) uint8, after the last step; of a version in that version.
    right_cells: (M, J) int32, counted cells that are right. An attempt that ended keeps what it had.
    by_rules: by the task's headline, where that counts what is right by the rules and not what equals its label:
      (M, J) bool, whether the answer is. An attempt that ended keeps what it had.
    counted_cells: (J,) int32, cells with a label; 0 for a version that a puzzle does not have.
    q_halt: (M, J) float32, logit of halting. An attempt that ended keeps what it had.
    losses: `lm_loss` and `q_halt_loss`, (J,) float32 each, of the last step (see losses.of_answers).
    steps: (J,) int32, supervision steps that each attempt made.
    row_steps: supervision steps that were computed, times rows: those of rows without an attempt too.
    versions: of each puzzle that were attempted.
    rollouts: of each version.
    residuals: see Attempts; None where there is nothing to choose among.
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
    """At each puzzle."""
    return self.versions * self.rollouts

  @property
  def counted(self) -> np.ndarray:
    """(J,) bool, which attempts have a counted cell."""
    return self.counted_cells > 0

  @property
  def exact(self) -> np.ndarray:
    """(J,) bool, whether every counted cell of the last answer is right."""
    return self.right_cells[-1] == self.counted_cells

  @property
  def solved(self) -> np.ndarray:
    """(J,) bool, whether the last answer is right as the task's headline has it."""
    return next((right[-1] for right in self.by_rules.values()), self.exact)

  def take(self, attempts: np.ndarray, answers: np.ndarray) -> "Evaluation":
    """One attempt at each puzzle: those of these numbers, (N,), and their answers as they are of the puzzles."""
    return dataclasses.replace(
        self, answers=answers, right_cells=self.right_cells[:, attempts], counted_cells=self.counted_cells[attempts],
        by_rules={name: right[:, attempts] for name, right in self.by_rules.items()}, q_halt=self.q_halt[:, attempts],
        losses={name: values[attempts] for name, values in self.losses.items()}, steps=self.steps[attempts],
        versions=1, rollouts=1, residuals=None)

  def metrics(self) -> dict[str, Any]:
    """Means over the attempts that have a counted cell; accuracies are shares in [0, 1], 0 where there is none.

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
    **kwargs: see Attempter.

  Attributes:
    attempter: what makes the attempts.
  """

  def __init__(self, get_model: Callable[[Any], TRM], task: Task, *, loss_config: LossConfig = LossConfig(),
               versions: int = 0, rollouts: int = 1, **kwargs: Any):
    self._task, self._rollouts = task, rollouts
    # Whose versions are stored chooses by itself, in Task.score.
    self._chooses = (versions > 0 or rollouts > 1) and not task.stores_versions
    self.attempter = Attempter(
        get_model, task, versions=versions, rollouts=rollouts, residuals=self._chooses,
        measure=functools.partial(against_labels, loss_config=loss_config, task=task), **kwargs)

  def evaluate(
      self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None
  ) -> Evaluation:
    """Evaluates every attempt at every puzzle; arguments as of Attempter.attempt."""
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
    """Of several attempts at each puzzle those to believe, and what every way to choose them is worth.

    Args:
      puzzles: that were evaluated.
      evaluation: of them.
      by: see vote.candidates.
      first: among how many of the attempts at each puzzle; None for all.

    Returns:
      The Evaluation of the chosen attempts, and tables as of Task.score: `by_choice` has the ways in which a model
      chooses by itself; `by_check` has "proof" by the rules, where the task has them, and "pass@J", for which at least
      one attempt has to be right, as labels or rules say. Evaluation and no tables where there is nothing to choose
      among.
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

    def row(right):
      share = right[counted].sum() / max(1, counted.sum())
      return {"num_puzzles": int(counted.sum()), self._task.headline: float(share)}

    rows = {way: row(solved[every, chosen]) for way, chosen in found.items()}
    proof = {"proof": rows.pop("proof")} if "proof" in rows else {}
    tables = {"by_choice": rows, "by_check": proof | {f"pass@{attempts.shape[1]}": row(solved.any(1))}}
    return evaluation.take(attempts[every, found[by]], answers[every, found[by]]), tables
