# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of ARC's puzzles."""

import dataclasses

from trm_jax.data.config import DataConfig
from trm_jax.knobs import Rule, at_least, knob
from trm_jax.tasks.arc.grids import SIDE


@dataclasses.dataclass(frozen=True)
class ArcData(DataConfig):
  """Where ARC's tasks come from. Defaults: the reference's ARC-AGI-1."""

  # A folder, local or gs://, with …_SUBSET_challenges.json and …_SUBSET_solutions.json as they are published, or one
  # written by the reference's dataset builder. generated: small tasks made of the seed (see generate.py), num_train of
  # them to be trained on whole, and num_test whose test inputs are the test.
  source: str = knob("data/arc")
  # Of JSON files: the subsets, in the order in which the random draws go through them, and the one whose test inputs
  # are the test. Solutions may be missing of the test set: it is answered without a score then.
  subsets: str = knob("training,evaluation,concept", Rule(
      lambda text: all(text.split(",")) and len(set(text.split(","))) == len(text.split(",")),
      "must be names of subsets, each once, with commas between them"))
  test_set: str = knob("evaluation")
  side: int = knob(SIDE, Rule(lambda side: 4 <= side <= SIDE, f"must lie in [4, {SIDE}]"))  # of canvases, in cells
  num_aug: int = knob(1000, at_least(0))  # versions of a task besides itself, each with a row of the prefix table
  # Augmented versions of a test input that are answered besides itself, for the vote; at most num_aug.
  num_votes: int = knob(1000, at_least(0), free=True)
  seed: int = knob(42, at_least(0))  # of the versions, and so of what each row of the prefix table stands for
