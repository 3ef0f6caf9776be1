# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The tiny run of the tests: generated 4x4 puzzles and a model that compiles in seconds.

Tests that change nothing which is compiled can share its programs (see programs.py).
"""

import pathlib
from typing import Any

import ml_collections

from trm_jax import config as config_lib

GOLDEN_ARC = pathlib.Path(__file__).parent / "golden_arc"
FIELDS = {
    "name": "tiny", "epochs": 0, "steps": 4, "batch_size": 8, "eval.batch_size": 8,
    "data.source": "generated", "data.box": 2, "data.num_train": 16, "data.num_validation": 8, "data.num_test": 8,
    "data.num_clues": 8, "data.num_aug": 0,
    "model.hidden_size": 8, "model.num_heads": 2, "model.L_layers": 1, "model.H_cycles": 1, "model.L_cycles": 1,
    "model.puzzle_emb_ndim": 8, "model.puzzle_emb_len": 1, "model.halt_max_steps": 2, "model.dtype": "float32",
}


def values(**fields: Any) -> ml_collections.ConfigDict:
  """The tiny run with some fields changed; "__" stands for a dot."""
  made = config_lib.default_config()
  config_lib.change(made, FIELDS | {name.replace("__", "."): value for name, value in fields.items()})
  return made


def config(**fields: Any) -> config_lib.Config:
  """The same, checked."""
  return config_lib.parse(values(**fields))


def maze(**fields: Any) -> config_lib.Config:
  """The same model, with attention, on generated mazes of 4 x 5 cells."""
  made = config_lib.default_config("maze")
  sizes = {name: value for name, value in FIELDS.items() if not name.startswith("data.")}
  config_lib.change(made, sizes | {
      "data.source": "generated", "data.rows": 4, "data.columns": 5, "data.min_path": 3, "data.num_train": 8,
      "data.num_validation": 0, "data.num_test": 8, "model.mlp_t": False, "model.pos_encodings": "rope"}
                    | {name.replace("__", "."): value for name, value in fields.items()})
  return config_lib.parse(made)


def arc(**fields: Any) -> config_lib.Config:
  """The same model, with attention, on the ARC tasks of golden_arc/. A second head would double the time that its 916 x
  916 scores take."""
  made = config_lib.default_config("arc")
  sizes = {name: value for name, value in FIELDS.items() if not name.startswith("data.")}
  config_lib.change(made, sizes | {
      "data.source": str(GOLDEN_ARC / "json"), "data.num_aug": 12, "model.mlp_t": False, "model.pos_encodings": "rope",
      "model.num_heads": 1}
                    | {name.replace("__", "."): value for name, value in fields.items()})
  return config_lib.parse(made)
