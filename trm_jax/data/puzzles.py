# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The arrays every task hands to the trainer, whatever they were read or generated from."""

from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

# A cell whose label is this is neither trained on nor counted (the reference's value).
IGNORE_LABEL = -100
# Rows looked at together: bounds scratch memory.
_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Puzzles:
  """One split of a task. N examples of S cells, in G groups.

  A group is one original puzzle with whatever augmented versions of it are stored; its examples lie next to each
  other. An epoch takes each group once. Without stored augmentations every example is its own group.

  Attributes:
    inputs: (N, S) uint8, tokens; 0 is padding.
    labels: (N, S) int8, tokens, or IGNORE_LABEL.
    puzzle_identifiers: (N,) int32, the row of the prefix table.
    group_starts: (G + 1,) int32, group g holds the examples group_starts[g]:group_starts[g + 1].
    vocab_size: number of tokens, padding included.
    num_puzzle_identifiers: rows of the prefix table.
    ratings: (N,) int32 difficulty (Sudoku-Extreme: backtracks of the tdoku solver), or None where the data has none.
  """

  inputs: np.ndarray
  labels: np.ndarray
  puzzle_identifiers: np.ndarray
  group_starts: np.ndarray
  vocab_size: int
  num_puzzle_identifiers: int
  ratings: np.ndarray | None = None

  def __post_init__(self):
    n, s = self.inputs.shape
    assert self.inputs.dtype == np.uint8, self.inputs.dtype
    assert self.labels.dtype == np.int8 and self.labels.shape == (n, s), (self.labels.dtype, self.labels.shape)
    assert self.puzzle_identifiers.dtype == np.int32 and self.puzzle_identifiers.shape == (n,)
    assert self.group_starts.dtype == np.int32 and self.group_starts[0] == 0 and self.group_starts[-1] == n
    assert self.ratings is None or (self.ratings.dtype == np.int32 and self.ratings.shape == (n,))

  def __len__(self) -> int:
    """Number of examples."""
    return self.inputs.shape[0]

  @property
  def seq_len(self) -> int:
    """Cells of one puzzle, S."""
    return self.inputs.shape[1]

  @property
  def num_groups(self) -> int:
    """Original puzzles, G."""
    return self.group_starts.shape[0] - 1

  def digest(self) -> str:
    """SHA-256, in hexadecimal, of what a model is trained and tested on: inputs, labels, identifiers and groups."""
    sha256 = hashlib.sha256()
    for array in (self.inputs, self.labels, self.puzzle_identifiers, self.group_starts):
      # The shapes keep cells from moving between two arrays unseen. The order of bytes is the same on every machine.
      sha256.update(f"{array.shape} {array.dtype.name};".encode())
      for i in range(0, len(array), _ROWS):
        rows = array[i : i + _ROWS]
        sha256.update(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")))
    return sha256.hexdigest()

  def take_groups(self, groups: np.ndarray) -> "Puzzles":
    """The given groups, in the given order.

    Args:
      groups: (K,) integers in [0, num_groups).

    Returns:
      Puzzles of K groups.
    """
    return self._take(self.group_starts[groups], np.diff(self.group_starts)[groups])

  def first_versions(self, number: int) -> "Puzzles":
    """Of each group its first examples, without the augmented versions stored behind them; all, if it has no more."""
    sizes = np.diff(self.group_starts)
    return self if sizes.max() <= number else self._take(self.group_starts[:-1], np.minimum(sizes, number))

  def kin(self) -> np.ndarray:
    """(G,) int64: for each group the first one that has an equal puzzle, perhaps by way of other groups."""
    first, = first_alike([self.inputs])
    groups = np.repeat(np.arange(self.num_groups), np.diff(self.group_starts))
    a, b = groups, groups[first]
    a, b = a[a != b], b[a != b]
    kin = np.arange(self.num_groups)
    while (kin[a] != kin[b]).any():
      lower = np.minimum(kin[a], kin[b])
      np.minimum.at(kin, a, lower)
      np.minimum.at(kin, b, lower)
    return kin

  def _take(self, starts: np.ndarray, sizes: np.ndarray) -> "Puzzles":
    """Groups that begin at these examples and are so large."""
    new_starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    rows = np.repeat(starts - new_starts[:-1], sizes) + np.arange(new_starts[-1])
    return dataclasses.replace(
        self,
        inputs=self.inputs[rows],
        labels=self.labels[rows],
        puzzle_identifiers=self.puzzle_identifiers[rows],
        group_starts=new_starts,
        ratings=None if self.ratings is None else self.ratings[rows],
    )


def one_group_each(
    inputs: np.ndarray, labels: np.ndarray, *, vocab_size: int, ratings: np.ndarray | None = None
) -> Puzzles:
  """Puzzles without stored augmentations that all share prefix row 0 (Sudoku, mazes).

  Args:
    inputs: (N, S) uint8 tokens.
    labels: (N, S) int8 tokens.
    vocab_size: number of tokens, padding included.
    ratings: (N,) int32 or None.
  """
  n = inputs.shape[0]
  return Puzzles(
      inputs=inputs,
      labels=labels,
      puzzle_identifiers=np.zeros(n, np.int32),
      group_starts=np.arange(n + 1, dtype=np.int32),
      vocab_size=vocab_size,
      num_puzzle_identifiers=1,
      ratings=ratings,
  )


def first_alike(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
  """For each row of several tables the first row that equals it, in the tables laid one below the other.

  Takes memory for some numbers a row, not for copies of the rows; half a second for a million rows of 81 cells.

  Args:
    tables: (N_i, S) uint8 each.

  Returns:
    For each table (N_i,) int64: row numbers, counted through all tables. A row without an earlier twin has its own.
  """
  borders = np.cumsum([0, *map(len, tables)])
  hashes = np.concatenate([_hashes(table) for table in tables])
  first = np.arange(len(hashes))
  in_order = np.sort(hashes)
  shared = in_order[1:][in_order[1:] == in_order[:-1]]
  if not len(shared):
    return np.split(first, borders[1:-1])

  def cells(numbers):
    rows = np.empty((len(numbers), tables[0].shape[1]), np.uint8)
    for table, start, end in zip(tables, borders, borders[1:]):
      inside = (start <= numbers) & (numbers < end)
      rows[inside] = table[numbers[inside] - start]
    return rows

  # Equal rows have equal hashes. Of rows with equal hashes the cells are compared with the first of them.
  pending = np.flatnonzero(np.isin(hashes, shared))
  pending = pending[np.argsort(hashes[pending], kind="stable")]
  while len(pending):
    starts = np.flatnonzero(np.diff(hashes[pending], prepend=~hashes[pending[:1]]))
    heads = np.repeat(pending[starts], np.diff(starts, append=len(pending)))
    equal = np.concatenate([
        (cells(pending[i : i + _ROWS]) == cells(heads[i : i + _ROWS])).all(1) for i in range(0, len(pending), _ROWS)])
    first[pending[equal]] = heads[equal]
    pending = pending[~equal]
  return np.split(first, borders[1:-1])


def _hashes(rows: np.ndarray) -> np.ndarray:
  """(N,) uint64 of (N, S) uint8."""
  n, s = rows.shape
  hashes = np.zeros(n, np.uint64)
  words = np.zeros((_ROWS, -(-s // 8) * 8), np.uint8)
  for i in range(0, n, _ROWS):
    part, result = rows[i : i + _ROWS], hashes[i : i + _ROWS]
    words[: len(part), :s] = part
    for word in words[: len(part)].view(np.uint64).T:
      result ^= word
      result *= np.uint64(0x9E3779B97F4A7C15)
      result ^= result >> np.uint64(29)
  return hashes
