# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs of a user's own puzzles."""

import dataclasses

from trm_jax.data.config import DataConfig
from trm_jax.data.csv_files import MAX_ALPHABET
from trm_jax.knobs import Rule, at_least, knob


@dataclasses.dataclass(frozen=True)
class GridData(DataConfig):
  """The source of puzzles and the form of their cells. A dataset folder needs only the source."""

  # A folder, local or gs://: with train.csv and test.csv (columns question,answer or source,question,answer,rating), or
  # a dataset folder as the reference's builders write it.
  source: str = knob("")
  # The characters of cells; the first is token 1, since token 0 is padding. CSV files need it. Tokens of a dataset
  # folder are shown with it, too; "": they are shown as digits and letters.
  alphabet: str = knob("", Rule(
      lambda text: len(set(text)) == len(text) <= MAX_ALPHABET and text.isprintable(),
      f"must be at most {MAX_ALPHABET} printable characters, none of them twice"))
  # Size of a puzzle. CSV files need both. Both 0: puzzles of a dataset folder are drawn as squares, or in one row.
  rows: int = knob(0, at_least(0))
  columns: int = knob(0, at_least(0))
