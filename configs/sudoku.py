# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku runs: `--config=configs/sudoku.py:NAME[,OPTION…]`; NAME `help` lists them.

All knobs, their units and rules are in trm_jax/config.py and, for config.model, in TRMConfig of trm_jax/model.py.
"""

from trm_jax import config as config_lib


def baseline():
  """The reference's Sudoku-Extreme run: MLP over tokens, T=3 n=6, batch 768, 65,104 steps."""
  return config_lib.default_config()


def quickstart():
  """Generated 4x4 puzzles, learned within minutes on a laptop."""
  config = config_lib.default_config()
  config.data.update(source="generated", box=2, num_train=20_000, num_validation=512, num_test=1_024, num_clues=6,
                     num_aug=0)  # the 288 grids fall into two symmetry classes: augmented, none would be unseen
  config.model.update(hidden_size=64, H_cycles=2, L_cycles=2, puzzle_emb_ndim=64, puzzle_emb_len=1, halt_max_steps=8,
                      dtype="float32")
  _small_run(config)
  config.update(steps=450, batch_size=128, log_every=50)
  return config


def quickstart_9x9():
  """Generated 9x9 puzzles with many clues, half an hour on a laptop."""
  config = config_lib.default_config()
  config.data.update(source="generated", num_train=5_000, num_validation=256, num_test=1_000, num_clues=50, num_aug=-1)
  config.model.update(hidden_size=128, H_cycles=2, L_cycles=2, puzzle_emb_ndim=128, puzzle_emb_len=1, halt_max_steps=8,
                      dtype="float32")
  _small_run(config)
  config.update(steps=1_500, batch_size=32, log_every=50)
  return config


def _small_run(config):
  """What suits some thousand steps of a small model: a higher rate, a shorter warmup and memory."""
  config.optimizer.update(learning_rate=1e-3, weight_decay=0.1, prefix_learning_rate=1e-3, prefix_weight_decay=0.1,
                          warmup_steps=100, lr_min_ratio=0.1, ema_rate=0.99)
  config.update(epochs=0, eval_batch_size=256)


def laptop(config):
  """Shrinks a config's model and run to what two CPU cores train in about an hour."""
  config.data.update(num_validation=256, num_test=2_000)
  config.model.update(hidden_size=128, H_cycles=2, L_cycles=2, puzzle_emb_ndim=128, puzzle_emb_len=1, halt_max_steps=8,
                      dtype="float32")
  _small_run(config)
  config.update(steps=2_500, batch_size=32, log_every=50)


CONFIGS = {f.__name__: f for f in (baseline, quickstart, quickstart_9x9)}
OPTIONS = {f.__name__: f for f in (laptop,)}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, OPTIONS)
