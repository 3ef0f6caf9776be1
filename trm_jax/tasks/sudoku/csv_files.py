# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads and writes Sudoku puzzles in Sudoku-Extreme's CSV format; see data/csv_files.py.

'.' is a blank; the rating is the number of backtracks of the tdoku solver. Neither the published files nor samples of
them write a blank as '0', so '0' is a foreign character here.
"""

import functools
import os

from trm_jax.data import csv_files
from trm_jax.data.puzzles import Puzzles
from trm_jax.tasks.sudoku import rules

_ALPHABET = ".123456789"


def read_csv(path: str | os.PathLike, *, box: int = 3) -> Puzzles:
  """Reads a file of Sudokus and checks each of them, including the rules.

  Args:
    path: the file.
    box: side of a box; grids are box**2 x box**2.

  Returns:
    Puzzles with N >= 1 and S = box**4, in the order of the file.

  Raises:
    UserError, TryAgain: see data/csv_files.py.
  """
  n = box * box
  return csv_files.read_csv(path, shape=(n, n), alphabet=_ALPHABET[: n + 1], answers=_ALPHABET[1 : n + 1],
                            fault=functools.partial(rules.first_fault, box=box))


def write_csv(path: str | os.PathLike, puzzles: Puzzles, *, source: str) -> None:
  """Writes Sudokus so that read_csv, and the reference's builder, can read them; see data/csv_files.py."""
  csv_files.write_csv(path, puzzles, alphabet=_ALPHABET, source=source)
