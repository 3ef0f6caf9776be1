# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Turns the answers to many versions of ARC's test inputs into a score and a submission.

It works like the reference's evaluator (evaluators/arc.py), except that each evaluation votes separately, and that no
test input is missing from the submission.
"""

from collections.abc import Iterator, Sequence
import dataclasses
from typing import Any

import numpy as np

from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles
from trm_jax.tasks import vote
from trm_jax.tasks.arc import grids

PASS_AT = (1, 2, 5, 10, 100, 1000)
# Number of attempts in a submission, and the attempt if there is no answer: the format requires a grid.
ATTEMPTS, _NO_ANSWER = 2, [[0, 0], [0, 0]]
# Numbers of versions that vote in the curve of votes, besides all; and the most sets of versions that it averages over.
_NUM_VOTES, _SETS = (1, 3, 10, 30, 100, 300), 8


@dataclasses.dataclass(frozen=True)
class Votes:
  """The result of a vote.

  Attributes:
    metrics: "pass@1" … "pass@1000": the right answer is among the first 1 … 1000. A task scores the share of its test
      inputs, and the metric is the mean over tasks, where one without an answer counts as 0. Tasks whose solutions are
      not known do not count; if none is known, there are no metrics.
    by_votes: rows by the number of versions that vote, as text: `num_puzzles`, the number of tasks that count, and
      "pass@1" and "pass@2", means over disjoint sets of that many versions. The last row is for all versions. Empty if
      `metrics` is.
    found: the answers to each of N examples, best first.
    submission: {task: [{"attempt_1": grid, "attempt_2": grid}, …]}, one for each test input.
    unanswered: "TASK, test input 1" and so on for test inputs without votes.
  """

  metrics: dict[str, float]
  by_votes: dict[str, dict[str, float]]
  found: list[list[vote.Candidate]]
  submission: dict[str, list[dict[str, Any]]]
  unanswered: list[str]


def count(puzzles: Puzzles, names: dict[int, str], examples: np.ndarray, versions: np.ndarray, answers: np.ndarray,
          q_halt: np.ndarray) -> Votes:
  """Counts votes. Answers are ordered by votes, then by the mean of sigmoid(q_halt), then by which came first.

  Equal test inputs of a task share their votes, as they do in the reference.

  Args:
    puzzles: the test set, N examples.
    names: of tasks, by the identifier of the original.
    examples: (J,) the example that each attempt is at.
    versions: (J,) the version of its task, from 0 for the original.
    answers: (J, S) tokens.
    q_halt: (J,) logits of halting.
  """
  groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
  numbers = puzzles.versions.numbers[puzzles.versions.starts[groups[examples]] + versions]
  undone = np.stack([grids.put_back(answer, int(number), answer)
                     for answer, number in zip(answers, numbers)]) if len(answers) else answers
  inputs = {}
  alike = np.array([inputs.setdefault((group, cells.tobytes()), example)
                    for example, (group, cells) in enumerate(zip(groups, puzzles.inputs))])
  order = np.argsort(alike[examples], kind="stable")
  borders = np.searchsorted(alike[examples][order], np.arange(len(puzzles) + 1))
  starts = [*puzzles.originals().tolist(), len(puzzles)]
  solved = [(start, end) for start, end in zip(starts, starts[1:])  # tasks whose solutions are known
            if (puzzles.labels[start:end] != IGNORE_LABEL).any(1).all()]

  def candidates(kept: np.ndarray) -> list[list[vote.Candidate]]:
    """The candidates of each example among the kept attempts, (J,) bool."""
    attempts = (order[borders[first] : borders[first + 1]] for first in alike)
    return [vote.candidates(undone[some], q_halt[some]) for some in (some[kept[some]] for some in attempts)]

  def passed(found: list[list[vote.Candidate]], at: Sequence[int]) -> list[float]:
    """pass@K for each K of `at`; [] if no solution is known."""
    shares = []
    for start, end in solved:
      solutions = np.maximum(puzzles.labels[start:end], 0)  # IGNORE_LABEL is padding
      ranks = [next((i for i, candidate in enumerate(some) if (candidate.answer == solution).all()), np.inf)
               for some, solution in zip(found[start:end], solutions)]
      shares.append([np.mean(np.array(ranks) < k) for k in at])
    return np.mean(shares, axis=0).tolist() if shares else []

  found = candidates(np.ones(len(examples), bool))
  submission, unanswered = {}, []
  for start, end in zip(starts, starts[1:]):
    task = names[int(puzzles.puzzle_identifiers[start])]
    unanswered += [f"{task}, test input {example - start + 1}" for example in range(start, end) if not found[example]]
    submission[task] = [submitted(some) for some in found[start:end]]
  by_votes = {}
  for number, sets in _sets(int(versions.max()) + 1 if solved and len(versions) else 0):
    shares = np.mean([passed(candidates(np.isin(versions, some)), (1, 2)) for some in sets], axis=0).tolist()
    by_votes[str(number)] = {"num_puzzles": len(solved)} | dict(zip(("pass@1", "pass@2"), shares))
  return Votes(dict(zip((f"pass@{k}" for k in PASS_AT), passed(found, PASS_AT))), by_votes, found, submission,
               unanswered)


def submitted(found: Sequence[vote.Candidate]) -> dict[str, Any]:
  """The attempts at a test input in the competition's format: the best answers, or the only one each time."""
  tried = [grids.crop(candidate.answer).tolist() for candidate in found[:ATTEMPTS]] or [_NO_ANSWER]
  return {f"attempt_{i + 1}": tried[min(i, len(tried) - 1)] for i in range(ATTEMPTS)}


def _sets(versions: int) -> Iterator[tuple[int, list[np.ndarray]]]:
  """Yields each number of votes and the disjoint sets of that many versions."""
  order = np.random.default_rng(0).permutation(versions)
  for number in (*(number for number in _NUM_VOTES if number < versions), *[versions] * (versions > 0)):
    yield number, [order[i * number : (i + 1) * number] for i in range(min(_SETS, versions // number))]
