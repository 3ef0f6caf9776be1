# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Which of several attempts at a puzzle to believe.

Axes: J attempts, S cells.
"""

import dataclasses

import numpy as np

BY = ("count", "halting", "proof")


@dataclasses.dataclass(frozen=True)
class Candidate:
  """An answer that some of the attempts came to.

  Attributes:
    answer: (S,) tokens.
    count: attempts that came to it.
    probability: the mean over these of sigmoid(q_halt), the model's belief that the answer is right, summed up in their
      order.
    proven: whether it is right by the rules; None where there are none.
  """

  answer: np.ndarray
  count: int
  probability: float
  proven: bool | None = None


def candidates(answers: np.ndarray, q_halt: np.ndarray, *, by: str = "count",
               solved: np.ndarray | None = None) -> list[Candidate]:
  """The different answers of attempts at one puzzle, the one to believe first; of equal ones, the one that came first.

  Args:
    answers: (J, S) tokens, each put back on the puzzle as it is stored (see Task.undo).
    q_halt: (J,) logit of halting of each.
    by: "count": the most frequent, of equally frequent ones the most probable, as the reference does for ARC;
      "halting": the most probable; "proof": those that are right by the rules, in the order of "count".
    solved: (J,) bool, which answers are right by the rules; needed for "proof".

  Raises:
    ValueError: there is no such way to choose, or it lacks what it needs.
  """
  if by not in BY:
    raise ValueError(f"by = {by!r}: must be one of {', '.join(BY)}")
  if by == "proof" and solved is None:
    raise ValueError("by = 'proof': needs solved")
  attempts_at = {}
  for attempt, answer in enumerate(answers):
    attempts_at.setdefault(answer.tobytes(), []).append(attempt)
  belief = np.exp(-np.logaddexp(0, -np.asarray(q_halt, np.float64))).tolist()  # sigmoid, of any logit
  found = [Candidate(answers[some[0]], len(some), sum(belief[i] for i in some) / len(some),
                     None if solved is None else bool(solved[some].any()))
           for some in attempts_at.values()]

  def rank(candidate):
    if by == "halting":
      return (candidate.probability,)
    return (bool(candidate.proven) if by == "proof" else False, candidate.count, candidate.probability)

  return sorted(found, key=rank, reverse=True)
