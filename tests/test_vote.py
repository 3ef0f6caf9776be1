# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Choosing among attempts: by their number, by the halting head, by proof."""

import numpy as np
import pytest

from trm_jax.data.config import DataConfig
from trm_jax.errors import UserError
from trm_jax.tasks import Task
from trm_jax.tasks import vote

# Three times a, believed a little; twice b, believed; once c, believed most.
ANSWERS = np.array([[1, 1], [1, 1], [2, 2], [1, 1], [2, 2], [3, 3]], np.uint8)
Q_HALT = np.array([-2.0, -1.0, 1.0, 0.0, 2.0, 3.0], np.float32)


def _chosen(**kwargs):
  return [candidate.answer[0] for candidate in vote.candidates(ANSWERS, Q_HALT, **kwargs)]


def test_the_most_frequent_answer_comes_first():
  assert _chosen() == [1, 2, 3]
  [first, second, _] = vote.candidates(ANSWERS, Q_HALT)
  assert (first.count, second.count, first.proven) == (3, 2, None)
  assert second.probability == pytest.approx(np.mean(1 / (1 + np.exp([-1.0, -2.0]))))


def test_of_equally_frequent_answers_the_more_probable_one():
  found = vote.candidates(ANSWERS[[0, 2]], Q_HALT[[0, 2]])
  assert [candidate.answer[0] for candidate in found] == [2, 1]
  # The mean of probabilities, not the probability of the mean logit.
  found = vote.candidates(ANSWERS[[0, 0, 2, 2]], np.array([-9.0, 9.0, 0.1, 0.1]))
  assert [candidate.answer[0] for candidate in found] == [2, 1]


def test_of_equally_probable_answers_the_first_one():
  for order in ([0, 2], [2, 0], [5, 2, 0, 4]):
    found = vote.candidates(ANSWERS[order], np.zeros(len(order)))
    expected = [2, 3, 1] if len(order) == 4 else ANSWERS[order][:, 0].tolist()
    assert [candidate.answer[0] for candidate in found] == expected


def test_by_the_halting_head_and_by_proof():
  assert _chosen(by="halting") == [3, 2, 1]
  solved = (ANSWERS == 2).all(-1)
  assert _chosen(by="proof", solved=solved) == [2, 1, 3]
  assert [c.proven for c in vote.candidates(ANSWERS, Q_HALT, by="proof", solved=solved)] == [True, False, False]
  with pytest.raises(ValueError, match="needs solved"):
    _chosen(by="proof")
  with pytest.raises(ValueError, match="must be one of count, halting, convergence, proof"):
    _chosen(by="luck")


def test_by_the_surest_attempt_and_not_by_the_mean():
  found = vote.candidates(ANSWERS[[0, 0, 2]], np.array([-9.0, 2.0, 1.0]), by="halting")
  assert [candidate.answer[0] for candidate in found] == [1, 2] and found[0].probability < found[1].probability
  assert [candidate.attempt for candidate in found] == [1, 2]


def test_by_the_state_that_moved_least():
  assert _chosen(by="convergence", residuals=np.array([0.9, 0.2, 0.3, 0.8, 0.1, 0.5])) == [2, 1, 3]
  with pytest.raises(ValueError, match="needs residuals"):
    _chosen(by="convergence")


def test_an_attempt_at_each_puzzle_is_chosen():
  answers, q_halt = np.stack([ANSWERS, ANSWERS[::-1]]), np.stack([Q_HALT, Q_HALT[::-1]])
  assert vote.choose(answers, q_halt).tolist() == [3, 2]  # of three a, the surest
  assert vote.choose(answers, q_halt, by="halting").tolist() == [5, 0]
  solved = np.array([[False] * 4 + [True] * 2, [False] * 6])
  assert vote.choose(answers, q_halt, by="proof", solved=solved).tolist() == [4, 2]  # nothing proven: as by count
  residuals = np.array([[2, 2, 2, 2, 2, 1], [2, 1, 2, 2, 2, 2]])
  assert vote.choose(answers, q_halt, by="convergence", residuals=residuals).tolist() == [5, 1]


def test_ways_that_there_are_not():
  plain = Task(DataConfig())
  plain.name = "plain"
  for by, message in (("luck", "^choose = 'luck': must be one of count, halting, convergence, proof$"),
                      ("proof", "^choose = 'proof': plain has no rules that tell whether an answer is right$")):
    with pytest.raises(UserError, match=message):
      vote.check(by, plain, 2)
  with pytest.raises(UserError, match="^choose = 'halting': there is only one attempt at each puzzle; add rollouts"):
    vote.check("halting", plain, 1)
  vote.check("halting", plain, 2)
  vote.check("count", plain, 1)
