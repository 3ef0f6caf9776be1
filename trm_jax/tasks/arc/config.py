# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of ARC's puzzles."""

import dataclasses

from trm_jax.data.config import DataConfig
from trm_jax.knobs import Rule, at_least, knob
from trm_jax.tasks.arc.grids import SIDE


@dataclasses.dataclass(frozen=True)
class ArcData(DataConfig):
  """The source of ARC's tasks and the versions made of them. Defaults: the reference's ARC-AGI-1."""

  # A folder, local or gs://, with …_SUBSET_challenges.json and …_SUBSET_solutions.json as they are published, or one
  # written by the reference's dataset builder, or several such with commas between them. generated: small tasks made
  # from the seed (see generate.py): num_train tasks to train on, with all their pairs, and num_test tasks whose test
  # inputs are the test.
  source: str = knob("data/arc")
  # For JSON files: the subsets, in the order in which random draws go through them, and the subset whose test inputs
  # are the test. The test set may have no solutions: it is then answered without a score.
  subsets: str = knob("training,evaluation,concept", Rule(
      lambda text: all(name and name == name.strip() for name in text.split(",")) and (
          len(set(text.split(","))) == len(text.split(","))),
      "must be names of subsets, each once, with commas and no spaces between them"))
  test_set: str = knob("evaluation")
  # Rows and columns of a canvas. The tasks of JSON files that have a larger grid are left out.
  side: int = knob(SIDE, Rule(lambda side: 4 <= side <= SIDE, f"must lie in [4, {SIDE}]"))
  num_aug: int = knob(1000, at_least(0))  # augmented versions of a task, each with a row of the prefix table
  # Augmented versions of a test input that vote on its answer, besides the input itself; at most num_aug.
  num_votes: int = knob(1000, at_least(0), free=True)
  seed: int = knob(42, at_least(0))  # seed of the versions, and thus of the meaning of the prefix table's rows
