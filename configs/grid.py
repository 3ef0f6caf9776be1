# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
r"""Puzzles of your own: `--config=configs/grid.py:NAME[,OPTION] --config.data.source=FOLDER`; NAME `help` lists them.

    python -m trm_jax.main --config=configs/grid.py:quickstart --config.data.source=FOLDER      # a dataset folder
    python -m trm_jax.main --config=configs/grid.py:quickstart --config.data.source=FOLDER \
      --config.data.alphabet=.1234 --config.data.rows=4 --config.data.columns=4                # train.csv and test.csv

docs/your_own_puzzles.md describes the folder. The knobs of config.data are in trm_jax/tasks/grid/config.py, all others
in trm_jax/config.py.
"""

from trm_jax import config as config_lib


def baseline():
  """The paper's model and its 65,104 steps, for a GPU or TPU; its token MLP suits up to about 100 cells."""
  config = config_lib.default_config("grid")
  config.update(epochs=0, steps=65_104)
  return config


def quickstart():
  """A small model and 500 steps, minutes on a laptop: a first look at what a model learns from your puzzles."""
  config = config_lib.small_config("grid", 64)
  config.update(steps=500, batch_size=32)
  return config


def attention(config):
  """Mixes tokens by attention, for puzzles of more cells; the paper does so for mazes of 900 cells."""
  config.model.update(mlp_t=False, pos_encodings="rope")


CONFIGS = {f.__name__: f for f in (baseline, quickstart)}
SWEEPS = {}
OPTIONS = {"attention": attention}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, OPTIONS)
