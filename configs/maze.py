# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Maze runs: `--config=configs/maze.py:NAME`; NAME `help` lists them all.

    python -m trm_jax.main --config=configs/maze.py:quickstart --workdir=runs/maze

All knobs, their units and rules are in trm_jax/config.py, for config.model in trm_jax/model/config.py, and for
config.data in trm_jax/tasks/maze/config.py. "The paper" is arXiv:2510.04871; its figure is the % of Maze-Hard's 1,000
test mazes with every cell right, after training on 1,000 others.
"""

from trm_jax import config as config_lib


def baseline():
  """The reference's Maze-Hard run: attention, T=3 n=4, batch 768, 65,104 steps (the paper: 85.3 %).

  Hardware: four L40S for less than 24 hours in the paper; a TPU v4-64 here.
  Result: unmeasured.
  """
  config = config_lib.default_config("maze")
  config.model.update(mlp_t=False, pos_encodings="rope", L_cycles=4)
  return config


def quickstart():
  """Generated mazes of 9x9 cells and a small model, which is not tuned yet.

  Hardware: two CPU cores.
  Result: unmeasured, as is the time; shorter runs learned next to nothing (docs/results.md).
  """
  config = config_lib.small_config("maze", 128)
  config.data.update(source="generated", rows=9, columns=9, min_path=8, num_train=20_000, num_validation=256,
                     num_test=1_024, num_aug=-1)
  config.update(steps=1_500, batch_size=64)
  return config


CONFIGS = {f.__name__: f for f in (baseline, quickstart)}
SWEEPS = {}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, {})
