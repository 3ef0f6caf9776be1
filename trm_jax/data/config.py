# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of puzzles that every task has."""

import dataclasses

from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The source of puzzles and the numbers of them that are used. A task adds knobs and sets defaults of its own."""

  source: str = knob("")  # what the task knows by name, or a folder, local or gs://
  num_train: int = knob(0, at_least(0))  # training puzzles, drawn from the source by the seed; 0: all that are left
  # Held out of the training source, to watch and choose by; 0: none. None are held out either of a folder that stores
  # augmented versions of exactly num_train puzzles: a training set as the reference builds it.
  num_validation: int = knob(0, at_least(0))
  num_test: int = knob(0, at_least(0), free=True)  # of the test set, drawn by the seed; 0: all
  # Fixed augmented versions of a puzzle besides itself; 0: none; -1: a fresh one every time. Where the source stores
  # augmented versions, these are the augmentations, and the first num_aug of them are used.
  num_aug: int = knob(0, Rule(lambda number: number >= -1,
                              "must be -1 (fresh ones), 0 (none) or a number of versions"))
  seed: int = knob(0, at_least(0))  # of subsampling and generation
