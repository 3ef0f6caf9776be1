# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC-AGI runs: `--config=configs/arc.py:NAME`; NAME `help` lists them all.

    python -m trm_jax.main --config=configs/arc.py:arc1 --workdir=runs/arc1 --config.data.source=FOLDER

FOLDER contains the published JSON files, …_SUBSET_challenges.json and …_SUBSET_solutions.json; they give the same
identifiers as in the reference. All knobs, their units and rules are in trm_jax/config.py, for config.model in
trm_jax/model/config.py, and for config.data in trm_jax/tasks/arc/config.py. "The paper" is arXiv:2510.04871; its
figures are the % of test inputs solved by one of two attempts (pass@2).
"""

from trm_jax import config as config_lib


def arc1():
  """The reference's ARC-AGI-1 run: attention, T=3 n=4, batch 768, 1,000 augmentations (the paper: 44.6 %).

  Hardware: about three days of four H100 in the reference.
  Result: unmeasured.
  """
  config = config_lib.default_config("arc")
  config.model.update(mlp_t=False, pos_encodings="rope", L_cycles=4)
  config.optimizer.update(prefix_learning_rate=1e-2, weight_decay=0.1, prefix_weight_decay=0.1)
  config.epochs = 100_000
  return config


def arc2():
  """The reference's ARC-AGI-2 run: like arc1, on the tasks of ARC-AGI-2 and concept (the paper: 7.8 %).

  Hardware: about three days of four H100 in the reference.
  Result: unmeasured.
  """
  config = arc1()
  config.data.update(subsets="training2,evaluation2,concept", test_set="evaluation2")
  return config


def quickstart():
  """Small tasks made from the seed, learned within minutes on a laptop: training, votes, submission, pictures.

  Hardware: two CPU cores.
  Result: 90, 100, 100 % pass@1 of 20 test inputs, three seeds (docs/results.md).
  """
  config = config_lib.small_config("arc", 64)
  config.data.update(source="generated", side=5, num_train=5, num_test=5, num_aug=7, num_votes=7, seed=0)
  config.model.update(L_layers=1, L_cycles=1, halt_max_steps=4)
  # A row of the prefix table is in only a few batches, in which it must learn its version.
  config.optimizer.update(name="muon", weight_decay=0.3, muon_weight_decay=0.02, prefix_learning_rate=5e-2,
                          warmup_steps=30)
  config.update(steps=1_300, batch_size=48)
  return config


def small():
  """ARC-AGI-1's tasks whose grids have at most 8x8 cells, and a small model: the path of arc1 on a laptop.

  Command: python -m trm_jax.main --config=configs/arc.py:small --config.data.source=FOLDER
  Hardware: two CPU cores.
  Result: docs/results.md, one run, seed 0.
  """
  config = quickstart()
  config.data.update(source="data/arc", side=8, num_train=0, num_test=0, num_aug=7, num_votes=7, seed=42)
  config.model.update(hidden_size=128, puzzle_emb_ndim=128)
  config.update(steps=4_000)
  return config


CONFIGS = {f.__name__: f for f in (arc1, arc2, quickstart, small)}
SWEEPS = {}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, {})
