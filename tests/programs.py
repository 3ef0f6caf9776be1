# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Programs that the runs of a test file share: a tiny run spends most of its time on compiling."""

import contextlib
import functools

import pytest

from trm_jax import config as config_lib
from trm_jax.config import Config
from trm_jax.training import program

# What a run's programs do not depend on, as test_program.py shows.
_DEFAULTS = config_lib.flatten(config_lib.to_dict(Config()))
NOT_COMPILED = {name: _DEFAULTS[name] for name in (
    "name", "seed", "init_from", "init_rows", "eval.every", "save.every", "save.minutes", "save.average",
    "log.profile_steps", "log.profile_from", "log.wandb")}


@contextlib.contextmanager
def shared():
  """Runs whose configs differ in nothing that is compiled get the same Program. Its jitted functions keep what they
  have compiled, so each is compiled once."""
  made = {}

  def make(config, task, *args):
    values = config_lib.default_config(config.task)
    config_lib.change(values, config_lib.flatten(config_lib.to_dict(config)) | NOT_COMPILED | {"data.seed": 0})
    key = config_lib.parse(values), *args
    if key not in made:
      made[key] = program_lib(key[0], task, *args)
    return made[key]

  program_lib = program.Program

  with pytest.MonkeyPatch.context() as patch:
    for method in "evaluator", "solver":
      patch.setattr(program.Program, method, functools.cache(getattr(program.Program, method)))
    patch.setattr(program, "Program", make)
    yield
