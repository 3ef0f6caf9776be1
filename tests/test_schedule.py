# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""When things are due, against a count of every step."""

import pytest
import tiny

from trm_jax.errors import UserError
from trm_jax.training.schedule import Schedule


def _schedule(total_steps=100, stage_starts=(0,), **fields):
  return Schedule.of(tiny.config(steps=total_steps, **fields), total_steps, stage_starts)


def _borders(schedule, call_steps, start=0):
  """The steps at which the calls of a run end."""
  ends = [start]
  while ends[-1] < schedule.total_steps:
    ends.append(schedule.end_of_call(ends[-1], call_steps))
  return ends


@pytest.mark.parametrize("call_steps", [1, 4, 7, 1000])
@pytest.mark.parametrize("start", [0, 23])
def test_calls_end_where_something_is_due_and_are_no_longer_than_asked(call_steps, start):
  schedule = _schedule(eval__every=30, save__every=25, log__every=8, log__profile_from=61, log__profile_steps=3,
                       stage_starts=(0, 37))
  ends = _borders(schedule, call_steps, start)
  due = {*range(30, 101, 30), *range(25, 101, 25), *range(8, 101, 8), 61, 64, 37, 100}
  assert {step for step in due if step > start} <= set(ends)
  lengths = [b - a for a, b in zip(ends, ends[1:])]
  assert min(lengths) >= 1 and max(lengths) <= call_steps
  if call_steps == 1000:  # nowhere else
    assert set(ends) == {step for step in due if step > start} | {start}


def test_a_run_that_goes_on_at_the_first_traced_step_traces_it():
  schedule = _schedule(log__profile_from=61, log__profile_steps=3)
  assert [step for step in range(100) if schedule.is_behind_trace(step)] == list(range(62, 100))
  assert not any(map(_schedule().is_behind_trace, range(100)))


def test_what_is_due_at_a_step():
  schedule = _schedule(eval__every=30, save__every=25)
  assert [step for step in range(1, 101) if schedule.evaluates(step)] == [30, 60, 90, 100]
  assert [step for step in range(1, 101) if schedule.saves(step)] == [25, 50, 75, 100]
  assert [step for step in range(1, 96) if _schedule(95).evaluates(step)] == [*range(9, 96, 9), 95]  # a tenth


@pytest.mark.parametrize("fields, message", [
    ({"log__profile_from": 98}, "the run has only 100 steps"),
    ({"log__profile_from": 28, "eval__every": 30}, r"step 30 ends with .*config.eval.every: every 30 steps"),
    ({"log__profile_from": 23, "save__every": 25}, r"step 25 ends with .*config.save.every: every 25 steps"),
    ({"log__profile_from": 35, "stage_starts": (0, 37)}, r"begins a stage after step 37"),
])
def test_steps_that_cannot_be_traced_in_one_go(fields, message):
  regular = {"log__profile_steps": 3, "eval__every": 100, "save__every": 100}
  with pytest.raises(UserError, match=message):
    _schedule(**regular | fields)
  # Those that end, or begin, where something else does.
  for start in (27, 30):
    assert _schedule(**regular | {"eval__every": 30, "log__profile_from": start}).traced == range(start, start + 3)
