# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Chooses among several attempts at a puzzle.

Axes: J attempts, S cells.
"""

import dataclasses

import numpy as np

from trm_jax.errors import UserError
from trm_jax.tasks.task import Task

BY = ("count", "halting", "convergence", "proof")


@dataclasses.dataclass(frozen=True)
class Candidate:
  """An answer that some of the attempts gave.

  Attributes:
    answer: (S,) tokens.
    count: number of attempts that gave it.
    probability: the mean over these of sigmoid(q_halt), the model's belief that the answer is right, summed in their
      order.
    attempt: number of the surest of these attempts.
    proven: whether it is right by the rules; None if there are none.
  """

  answer: np.ndarray
  count: int
  probability: float
  attempt: int
  proven: bool | None = None


def candidates(answers: np.ndarray, q_halt: np.ndarray, *, by: str = "count",
               residuals: np.ndarray | None = None, solved: np.ndarray | None = None) -> list[Candidate]:
  """The different answers of attempts at one puzzle, best first; among equally good ones, the earliest comes first.

  Args:
    answers: (J, S) tokens, each mapped back to the stored puzzle (see Task.undo).
    q_halt: (J,) logit of halting of each.
    by: the order. "count": the most frequent first, and among equals the most probable, as the reference does for ARC;
      "halting": that of the surest attempt first; "convergence": that of the attempt whose state moved least; "proof":
      those that are right by the rules, then the others, in the order of "count".
    residuals: (J,) how far the state of each moved in its last step; needed for "convergence".
    solved: (J,) bool, whether each answer is right by the rules; needed for "proof".

  Raises:
    ValueError: there is no such order, or its argument is missing.
  """
  if by not in BY:
    raise ValueError(f"by = {by!r}: must be one of {', '.join(BY)}")
  name, needed = {"proof": ("solved", solved), "convergence": ("residuals", residuals)}.get(by, ("q_halt", q_halt))
  if needed is None:
    raise ValueError(f"by = {by!r}: needs {name}")
  attempts_at = {}
  for attempt, answer in enumerate(answers):
    attempts_at.setdefault(answer.tobytes(), []).append(attempt)
  belief = np.exp(-np.logaddexp(0, -np.asarray(q_halt, np.float64))).tolist()  # sigmoid, of any logit
  found = [Candidate(answers[some[0]], len(some), sum(belief[i] for i in some) / len(some),
                     some[int(np.argmax(q_halt[some]))], None if solved is None else bool(solved[some].any()))
           for some in attempts_at.values()]

  def rank(candidate):
    if by == "halting":
      return (q_halt[candidate.attempt],)
    if by == "convergence":
      return (-min(residuals[i] for i in attempts_at[candidate.answer.tobytes()]),)
    return (bool(candidate.proven) if by == "proof" else False, candidate.count, candidate.probability)

  return sorted(found, key=rank, reverse=True)


def candidates_of_each(answers: np.ndarray, q_halt: np.ndarray, *, by: str = "count",
                       residuals: np.ndarray | None = None, solved: np.ndarray | None = None,
                       attempts: np.ndarray | None = None) -> list[list[Candidate]]:
  """Returns the `candidates` of each of N puzzles.

  Args:
    answers: (N, J, S) tokens.
    q_halt: (N, J) logits.
    by: see `candidates`.
    residuals, solved: (N, J), see `candidates`.
    attempts: (N,) int, from 1 to J: the first attempts that count; None: all.
  """
  found = []
  for i, number in enumerate(np.full(len(answers), answers.shape[1]) if attempts is None else attempts):
    kept = {name: None if values is None else values[i, :number]
            for name, values in (("residuals", residuals), ("solved", solved))}
    found.append(candidates(answers[i, :number], q_halt[i, :number], by=by, **kept))
  return found


def choose(answers: np.ndarray, q_halt: np.ndarray, *, by: str = "count", residuals: np.ndarray | None = None,
           solved: np.ndarray | None = None) -> np.ndarray:
  """Chooses an attempt at each of N puzzles: the surest one that gave the first of its `candidates`.

  Args:
    answers: (N, J, S) tokens.
    q_halt: (N, J) logits.
    by: see `candidates`.
    residuals, solved: (N, J), see `candidates`.

  Returns:
    (N,) int, numbers below J.
  """
  found = candidates_of_each(answers, q_halt, by=by, residuals=residuals, solved=solved)
  return np.array([some[0].attempt for some in found], int)


def check(by: str, task: Task, attempts: int) -> None:
  """Raises UserError if `attempts` attempts at a puzzle of the task cannot be chosen among in this way."""
  if by not in BY:
    raise UserError(f"choose = {by!r}: must be one of {', '.join(BY)}")
  if by == "proof" and not task.checked:
    raise UserError(f"choose = 'proof': {task.name} has no rules that tell whether an answer is right")
  if by != "count" and attempts == 1:
    raise UserError(f"choose = {by!r}: there is only one attempt at each puzzle; add rollouts or versions, or leave it "
                    "out")
