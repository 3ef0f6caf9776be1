# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles on a grid without known rules or symmetries."""

import functools
import math
import os

import numpy as np

from trm_jax.data import csv_files
from trm_jax.data import folders
from trm_jax.data import reference_format
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import OtherSizeError, UserError
from trm_jax.tasks import task
from trm_jax.tasks.grid.config import GridData

_USABLE = "use a folder with train.csv and test.csv, or a dataset folder as the reference's builders write it"
_KNOBS = "config.data.alphabet, config.data.rows and config.data.columns"
_NEEDED = f"CSV files need {_KNOBS}; state all three"


class GridTask(task.Task):
  """Puzzles of one's own.

  Their size comes from the knobs, or else from the dataset.json of their folder, which is read on first use. A task
  that adds `new_puzzle` can also generate puzzles.

  Args:
    data: its knobs.

  Raises:
    UserError: the knobs contradict each other; properties with sizes also raise it if the folder is missing, is not a
      dataset folder, or contradicts the knobs.
  """

  size_fields = "rows", "columns"

  def __init__(self, data: GridData):
    super().__init__(data)
    if (data.rows > 0) != (data.columns > 0):
      raise UserError(f"config.data.rows = {data.rows}, config.data.columns = {data.columns}: state both, or neither")
    self._stated = bool(data.alphabet and data.rows)

  # Sizes.

  @functools.cached_property
  def _dataset(self) -> dict[str, int] | None:
    """Sizes in the dataset.json of the source; None if it is a folder of CSV files, or they are generated."""
    if self.own_splits:
      return None
    for split in ("train", "test"):  # an evaluation needs only the second
      folder = folders.dataset(self.data.source, split, _USABLE)
      if folder and (folder / split / "dataset.json").exists():
        return reference_format.sizes(folder, split)
    return None

  @functools.cached_property
  def _sizes(self) -> tuple[int, int]:
    """S and V."""
    data = self.data
    stated = data.rows * data.columns, 1 + len(data.alphabet)
    if self._stated:
      return stated
    if self.own_splits:
      raise UserError(f"config.data.source = {data.source!r}: needs {_KNOBS}; state all three")
    if self._dataset is None:
      raise UserError(f"{data.source}: has no dataset.json in train/ or test/, and {_NEEDED}")
    sizes = self._dataset["seq_len"], self._dataset["vocab_size"]
    if data.rows and stated[0] != sizes[0]:
      raise UserError(f"config.data.rows = {data.rows}, config.data.columns = {data.columns}: {data.source} has "
                      f"puzzles of {sizes[0]} cells")
    if data.alphabet and stated[1] != sizes[1]:
      raise UserError(f"config.data.alphabet = {data.alphabet!r}: has {len(data.alphabet)} characters, but "
                      f"{data.source} has {sizes[1]} tokens, padding among them; it needs {sizes[1] - 1}")
    return sizes

  @property
  def seq_len(self) -> int:
    return self._sizes[0]

  @property
  def vocab_size(self) -> int:
    return self._sizes[1]

  @property
  def num_puzzle_identifiers(self) -> int:
    return self._dataset["num_puzzle_identifiers"] if self._dataset else 1

  @functools.cached_property
  def shape(self) -> tuple[int, int]:
    """Rows and columns of a drawn board."""
    side = math.isqrt(self.seq_len)
    if self.data.rows:
      return self.data.rows, self.data.columns
    return (side, side) if side**2 == self.seq_len else (1, self.seq_len)

  @property
  def name(self) -> str:
    return "grid-{}x{}".format(*self.shape)

  # Puzzles.

  def stored(self, split: str) -> Stored | None:
    return None if self.own_splits else folders.stored(self.data.source, split)

  def read(self, split: str, progress: task.Progress | None = None) -> Puzzles:
    if self.own_splits:
      return super().read(split, progress)
    return folders.read(self.data.source, split, read_csv=self._read_csv, check_sizes=self._check_sizes, usable=_USABLE)

  def _read_csv(self, path: os.PathLike) -> Puzzles:
    if not self._stated:
      raise UserError(f"{path}: {_NEEDED}")
    return csv_files.read_csv(path, shape=self.shape, alphabet=self.data.alphabet)

  def _check_sizes(self, puzzles: Puzzles) -> None:
    if (puzzles.seq_len, puzzles.vocab_size) != self._sizes:
      said = f"{_KNOBS} mean" if self._stated else "its other split has"
      kind = OtherSizeError if puzzles.vocab_size == self.vocab_size else UserError
      raise kind(f"{self.data.source}: {puzzles.seq_len} cells and {puzzles.vocab_size} tokens, padding among "
                 f"them, but {said} {self.seq_len} and {self.vocab_size}")

  def tokens(self, text: str) -> np.ndarray:
    """Reads a puzzle row by row, with or without line ends, in characters of the alphabet; without an alphabet, token
    by token with blanks between them."""
    alphabet = self.data.alphabet
    if not alphabet:
      return super().tokens(text)
    cells = self.characters(text)
    if foreign := sorted(set(cells) - set(alphabet)):
      raise UserError(f"{task.shortened(text)}: {''.join(foreign)!r} is not in the alphabet, {alphabet!r}")
    return np.array([1 + alphabet.index(character) for character in cells], np.uint8)

  def text(self, tokens: np.ndarray) -> str:
    return "".join(map(self.cell_text, tokens)) if self.data.alphabet else super().text(tokens)

  @property
  def editor(self) -> task.Editor | None:
    return task.Editor(range(1, self.vocab_size)) if self.data.alphabet else None

  # Drawing.

  def board(self, tokens: np.ndarray) -> task.Board:
    del tokens  # all boards look alike
    return task.Board(np.arange(self.seq_len).reshape(self.shape), self.shape)

  def cell_text(self, token: int) -> str:
    alphabet = self.data.alphabet
    if not alphabet:
      return super().cell_text(token)
    padding = next(character for character in map(chr, (32, 95, *range(33, 400))) if character not in alphabet)
    return (padding + alphabet)[token]
