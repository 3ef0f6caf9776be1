# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of puzzles that every task has."""

import dataclasses

from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The source of puzzles and the numbers of them that are used. A task adds knobs and sets defaults of its own."""

  source: str = knob("")  # a name that the task knows, or a folder, local or gs://
  num_train: int = knob(0, at_least(0))  # training puzzles, drawn from the source by the seed; 0: all that are left
  # Puzzles held out of the training source, to be watched and to choose checkpoints by; 0: none. A folder that stores
  # augmented versions of exactly num_train puzzles, a training set as the reference builds it, holds out none either.
  num_validation: int = knob(0, at_least(0))
  num_test: int = knob(0, at_least(0), free=True)  # test puzzles, drawn by the seed; 0: all
  # Fixed augmented versions of a puzzle besides itself; 0: none; -1: a fresh one every time. If the source stores
  # augmented versions, the first num_aug of those are used.
  num_aug: int = knob(0, Rule(lambda number: number >= -1,
                              "must be -1 (fresh ones), 0 (none) or a number of versions"))
  seed: int = knob(0, at_least(0))  # seed of subsampling and generation
