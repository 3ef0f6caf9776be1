# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of mazes."""

import dataclasses

from trm_jax.data import hub
from trm_jax.data.config import DataConfig
from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class MazeData(DataConfig):
  """The source of mazes and the numbers of them that are used. Defaults: the reference's, which trains on all of
  Maze-Hard's training mazes without augmentation."""

  # "maze-hard": downloaded once by TFDS; "generated": made from the seed; otherwise a folder, local or gs://,
  # with train.csv and test.csv in Maze-Hard's format, or one written by the reference's dataset builder.
  source: str = knob("maze-hard")
  num_train: int = knob(1000, at_least(0))  # mazes; 0: all that validation leaves
  # Augmented versions are rotations and reflections: 7 of a square maze, 3 of any other. See DataConfig.
  num_aug: int = knob(0, Rule(lambda number: -1 <= number <= 7,
                              "must be -1 (fresh ones), 0 (none) or a number of versions, at most 7"))
  rows: int = knob(30, at_least(2))
  columns: int = knob(30, at_least(2))
  min_path: int = knob(111, at_least(1))  # least moves of a generated maze's shortest path
  # Share of a generated maze's walls between two passages that are opened; 0: no loops, a single way.
  loops: float = knob(0.1, Rule(lambda share: 0 <= share <= 1, "must be from 0 to 1"))
  # Folder of the published mazes. If it is in gs://, a run puts them there, and later runs take them from there.
  # Several processes whose run is kept in gs:// do the same in a folder beside the run.
  tfds_dir: str = knob(hub.TFDS_DIR, free=True)
