# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of Sudoku puzzles."""

import dataclasses

from trm_jax.data import hub
from trm_jax.data.config import DataConfig
from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class SudokuData(DataConfig):
  """The source of Sudokus and the numbers of them that are used. Defaults: the reference's Sudoku-Extreme."""

  # "sudoku-extreme": downloaded once by TFDS; "generated": made from the seed; otherwise a folder, local or gs://, with
  # train.csv and test.csv in Sudoku-Extreme's format, or one written by the reference's dataset builder.
  source: str = knob("sudoku-extreme")
  num_train: int = knob(1000, at_least(0))  # puzzles; 0: all that validation leaves
  num_validation: int = knob(1024, at_least(0))  # puzzles; see DataConfig
  num_aug: int = knob(1000, DataConfig.__dataclass_fields__["num_aug"].metadata["rule"])  # versions; see DataConfig
  box: int = knob(3, Rule(lambda box: box in (2, 3), "must be 3 (9x9 boards) or 2 (4x4)"))  # cells along a box's side
  num_clues: int = knob(30)  # clues of a generated puzzle; the fewest, if max_clues is not 0
  max_clues: int = knob(0, at_least(0))  # the most clues; all numbers between are equally likely. 0: num_clues
  # Folder of "sudoku-extreme". If it is in gs://, a run puts it there, and later runs take it from there. Several
  # processes whose run is kept in gs:// do the same in a folder beside the run.
  tfds_dir: str = knob(hub.TFDS_DIR, free=True)
