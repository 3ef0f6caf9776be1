# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of puzzles of one's own."""

import dataclasses

from trm_jax.data.config import DataConfig
from trm_jax.data.csv_files import MAX_ALPHABET
from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class GridData(DataConfig):
  """Where puzzles come from, and what their cells are. Of a dataset folder the source says all there is to say."""

  # A folder, local or gs://: with train.csv and test.csv (columns question,answer or source,question,answer,rating), or
  # a dataset folder as the reference's builders write it.
  source: str = knob("")
  # The characters of cells; the first is token 1, for token 0 is padding. CSV files need it. The tokens of a dataset
  # folder are written with it, too; "": they are numbers, and are drawn as digits and letters.
  alphabet: str = knob("", Rule(
      lambda text: len(set(text)) == len(text) <= MAX_ALPHABET and text.isprintable(),
      f"must be printable characters, none of them twice, {MAX_ALPHABET} at the most"))
  # Of a puzzle. CSV files need both. Both 0: those of a dataset folder are drawn as squares, or in one row.
  rows: int = knob(0, at_least(0))
  columns: int = knob(0, at_least(0))
