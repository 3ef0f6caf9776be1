# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Programs that the runs of a test file share: a tiny run spends most of its time on compiling."""

import contextlib
import dataclasses
import functools

import pytest

from trm_jax.training import program

# What a run's programs do not depend on, as test_program.py shows.
NOT_COMPILED = dict(name="", seed=0, eval_every=0, checkpoint_every=2500, checkpoint_minutes=15.0,
                    average_checkpoints=0, profile_steps=0, profile_from=10, wandb="")


@contextlib.contextmanager
def shared():
  """Runs whose configs differ in nothing that is compiled get the same Program. Its jitted functions keep what they
  have compiled, so each is compiled once."""
  made = functools.cache(program.Program)

  def make(config, *args):
    config = dataclasses.replace(config, **NOT_COMPILED, data=dataclasses.replace(config.data, seed=0))
    return made(config, *args)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(program.Program, "evaluator", functools.cache(program.Program.evaluator))
    patch.setattr(program, "Program", make)
    yield
