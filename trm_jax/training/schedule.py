# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Decides when a run evaluates, saves, records and traces."""

from collections.abc import Sequence
import dataclasses

from trm_jax.config import Config, steps_between_evaluations
from trm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The optimizer steps after which each activity is due.

  Attributes:
    total_steps: of the run.
    eval_every, save_every, log_every: number of steps between two evaluations, saves and records.
    stage_starts: the step after which each stage of config.depth_schedule begins.
    traced: numbers of the steps, counted from 0, that the profiler traces.
  """

  total_steps: int
  eval_every: int
  save_every: int
  log_every: int
  stage_starts: tuple[int, ...] = (0,)
  traced: range = range(0)

  @classmethod
  def of(cls, config: Config, total_steps: int, stage_starts: Sequence[int]) -> "Schedule":
    """Makes the schedule of a run.

    Raises:
      UserError: the run does not make all steps to be traced, or not without interruption.
    """
    log = config.log
    traced = range(log.profile_from, log.profile_from + log.profile_steps) if log.profile_steps else range(0)
    schedule = cls(total_steps, steps_between_evaluations(config.eval.every, total_steps), config.save.every, log.every,
                   tuple(stage_starts), traced)
    what = f"config.log.profile_steps = {log.profile_steps}, config.log.profile_from = {log.profile_from}: "
    if traced and traced.stop > total_steps:
      raise UserError(f"{what}the run has only {total_steps:,} steps")
    for name, every in (("eval.every", schedule.eval_every), ("save.every", schedule.save_every)):
      border = (traced.start // every + 1) * every
      if traced and border < traced.stop:
        raise UserError(f"{what}step {border:,} ends with an evaluation or a save (config.{name}: every {every} "
                        "steps), which must not lie between traced steps; trace fewer, or begin elsewhere")
    for border in stage_starts:
      if traced and traced.start < border < traced.stop:
        raise UserError(f"{what}config.depth_schedule begins a stage after step {border:,}, which must not lie between "
                        "traced steps; trace fewer, or begin elsewhere")
    return schedule

  def evaluates(self, step: int) -> bool:
    """Whether an evaluation is due after `step` steps."""
    return step % self.eval_every == 0 or step == self.total_steps

  def saves(self, step: int) -> bool:
    """Whether a save is due, apart from those at evaluations."""
    return step % self.save_every == 0

  def is_behind_trace(self, step: int) -> bool:
    """Whether the first `step` steps include the first one to be traced, so that a run cannot trace them all."""
    return bool(self.traced) and step > self.traced.start

  def end_of_call(self, step: int, call_steps: int) -> int:
    """The step after which a call must end if it begins after `step` steps and would make `call_steps`."""
    regular = ((step // every + 1) * every for every in (self.log_every, self.eval_every, self.save_every))
    once = (border for border in (self.traced.start, self.traced.stop, *self.stage_starts) if border > step)
    return min(step + call_steps, *regular, *once, self.total_steps)
