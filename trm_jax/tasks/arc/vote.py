# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From the answers to many versions of ARC's test inputs to a score and a submission.

As the reference's evaluator makes them (evaluators/arc.py), but that each evaluation votes by itself, and that no test
input is left out of the submission.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles
from trm_jax.tasks import vote
from trm_jax.tasks.arc import grids

PASS_AT = (1, 2, 5, 10, 100, 1000)
# Attempts of a submission, and what they are where there is no answer: the format asks for a grid.
_ATTEMPTS, _NO_ANSWER = 2, [[0, 0], [0, 0]]


@dataclasses.dataclass(frozen=True)
class Votes:
  """What a vote comes to.

  Attributes:
    metrics: "pass@1" … "pass@1000": the right answer is among the first 1 … 1000. A task scores the share of its test
      inputs, and the metric is the mean over tasks, those without an answer counting 0; tasks whose solutions are not
      known do not count, and there are no metrics where none is known.
    submission: {task: [{"attempt_1": grid, "attempt_2": grid}, …]}, one for each test input.
    unanswered: "TASK, test input 1" and so on, those that nobody has voted on.
  """

  metrics: dict[str, float]
  submission: dict[str, list[dict[str, Any]]]
  unanswered: list[str]


def count(puzzles: Puzzles, names: dict[int, str], examples: np.ndarray, versions: np.ndarray, answers: np.ndarray,
          q_halt: np.ndarray) -> Votes:
  """Counts votes: by their number, then by the mean of sigmoid(q_halt), then by which came first.

  Test inputs of one task that look alike share their votes, as they do in the reference.

  Args:
    puzzles: the test, N examples.
    names: by the identifier of an original, the name of the task.
    examples: (J,) the example that each attempt is at.
    versions: (J,) the version of its task, from 0 for the original.
    answers: (J, S) tokens.
    q_halt: (J,) logits of halting.
  """
  groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
  numbers = puzzles.versions.numbers[puzzles.versions.starts[groups[examples]] + versions]
  side = math.isqrt(puzzles.seq_len)
  undone = np.stack([grids.canvas(grids.undo(grids.crop(answer), int(number)), side=side)
                     for answer, number in zip(answers, numbers)]) if len(answers) else answers
  inputs = {}
  alike = np.array([inputs.setdefault((group, cells.tobytes()), example)
                    for example, (group, cells) in enumerate(zip(groups, puzzles.inputs))])
  order = np.argsort(alike[examples], kind="stable")
  borders = np.searchsorted(alike[examples][order], np.arange(len(puzzles) + 1))
  submission, unanswered, shares = {}, [], []
  starts = [*puzzles.originals().tolist(), len(puzzles)]
  for start, end in zip(starts, starts[1:]):
    task, ranks = names[int(puzzles.puzzle_identifiers[start])], []
    submission[task] = []
    for example in range(start, end):
      first = alike[example]
      attempts = order[borders[first] : borders[first + 1]]
      found = [candidate.answer for candidate in vote.candidates(undone[attempts], q_halt[attempts])]
      if not found:
        unanswered.append(f"{task}, test input {example - start + 1}")
      tried = [grids.crop(answer).tolist() for answer in found[:_ATTEMPTS]] or [_NO_ANSWER]
      submission[task].append({f"attempt_{i + 1}": tried[min(i, len(tried) - 1)] for i in range(_ATTEMPTS)})
      solution = np.maximum(puzzles.labels[example], 0)  # IGNORE_LABEL is padding
      ranks.append(next((i for i, answer in enumerate(found) if (answer == solution).all()), np.inf))
    if (puzzles.labels[start:end] != IGNORE_LABEL).any(1).all():
      shares.append([np.mean(np.array(ranks) < k) for k in PASS_AT])
  metrics = dict(zip((f"pass@{k}" for k in PASS_AT), np.mean(shares, axis=0).tolist())) if shares else {}
  return Votes(metrics, submission, unanswered)
