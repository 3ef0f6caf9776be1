# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The arrays that every task passes to the trainer, however they were read or generated."""

from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

from trm_jax.errors import UserError

# A cell whose label is this is neither trained on nor counted (the reference's value).
IGNORE_LABEL = -100
# Number of rows that are processed at once; it limits scratch memory.
_ROWS = 1 << 16


def are_right(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Whether all cells of answers that have a label equal it.

  Args:
    answers: (…, S) integer tokens.
    labels: (…, S) integer tokens or IGNORE_LABEL; the leading axes broadcast.

  Returns:
    (…) bool.
  """
  return ((answers == labels) | (labels == IGNORE_LABEL)).all(-1)


def known(labels: np.ndarray) -> np.ndarray | None:
  """The labels of one puzzle, (S,) tokens or IGNORE_LABEL; None if no cell has one, since nothing can be compared."""
  return labels if (labels != IGNORE_LABEL).any() else None


@dataclasses.dataclass(frozen=True, eq=False)
class Versions:
  """Versions that are stored as numbers that make them from the original, not as cells: W of them, each of one group.

  The versions of a group are adjacent, and the original comes first.

  Attributes:
    starts: (G + 1,) int32, group g has the versions starts[g]:starts[g + 1].
    identifiers: (W,) int32, the row of the prefix table.
    numbers: (W,) int32, from which the task makes a version.
    moves: int16, further numbers for each example of a version: version by version, in the order of the group's
      examples.
  """

  starts: np.ndarray
  identifiers: np.ndarray
  numbers: np.ndarray
  moves: np.ndarray

  def take(self, groups: np.ndarray, sizes: np.ndarray, examples: np.ndarray) -> "Versions":
    """Takes the first versions of some groups.

    Args:
      groups: integers in [0, G).
      sizes: number of versions to take of each of these groups.
      examples: (G,), number of examples of each group.
    """
    rows, starts = _ranges(self.starts[groups], sizes)
    moves, _ = _ranges(self.example_starts(examples)[groups], sizes * examples[groups])
    return Versions(starts, self.identifiers[rows], self.numbers[rows], self.moves[moves])

  def padded(self, groups: int, number: int) -> "Versions":
    """Adds `groups` groups of one version and one example each, in arrays for `number` versions and examples."""
    starts = np.concatenate([self.starts, self.starts[-1] + np.arange(1, groups + 1)]).astype(np.int32)
    return Versions(starts, *(np.resize(array, number) for array in (self.identifiers, self.numbers, self.moves)))

  def example_starts(self, examples: np.ndarray) -> np.ndarray:
    """The beginning of each group's `moves`, (G + 1,) int32. For `examples` see `take`."""
    return np.concatenate([[0], np.cumsum(np.diff(self.starts) * examples)]).astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Puzzles:
  """One split of a task: N examples of S cells, in U puzzles, in G groups.

  A puzzle has one rule or solution: it is a board, or all pairs of an ARC task in one version. A group is one original
  puzzle with the augmented versions of it that are stored. Examples of a puzzle, and puzzles of a group, are adjacent,
  and the original comes first. An epoch takes the examples of one puzzle of each group.

  Attributes:
    inputs: (N, S) uint8, tokens; 0 is padding.
    labels: (N, S) int8, tokens, or IGNORE_LABEL.
    puzzle_identifiers: (N,) int32, the row of the prefix table.
    group_starts: (G + 1,) int32, group g holds the puzzles group_starts[g]:group_starts[g + 1].
    vocab_size: number of tokens, padding included.
    num_puzzle_identifiers: rows of the prefix table.
    ratings: (N,) int32 difficulty (Sudoku-Extreme: backtracks of the tdoku solver), or None if the data has none.
    puzzle_starts: (U + 1,) int32, puzzle p holds the examples puzzle_starts[p]:puzzle_starts[p + 1]; None if every
      example is a puzzle.
    versions: versions that are not stored as cells; then each group has one puzzle, the original. None for none.
  """

  inputs: np.ndarray
  labels: np.ndarray
  puzzle_identifiers: np.ndarray
  group_starts: np.ndarray
  vocab_size: int
  num_puzzle_identifiers: int
  ratings: np.ndarray | None = None
  puzzle_starts: np.ndarray | None = None
  versions: Versions | None = None

  def __post_init__(self):
    n, s = self.inputs.shape
    assert self.inputs.dtype == np.uint8, self.inputs.dtype
    assert self.labels.dtype == np.int8 and self.labels.shape == (n, s), (self.labels.dtype, self.labels.shape)
    assert self.puzzle_identifiers.dtype == np.int32 and self.puzzle_identifiers.shape == (n,)
    starts = self.puzzle_starts
    assert starts is None or (starts.dtype == np.int32 and starts[0] == 0 and starts[-1] == n)
    assert self.group_starts.dtype == np.int32 and self.group_starts[0] == 0
    assert self.group_starts[-1] == self.num_puzzles, (self.group_starts[-1], self.num_puzzles)
    assert self.versions is None or len(self.versions.starts) == self.num_groups + 1 == self.num_puzzles + 1
    assert self.ratings is None or (self.ratings.dtype == np.int32 and self.ratings.shape == (n,))

  def __len__(self) -> int:
    """Number of examples."""
    return self.inputs.shape[0]

  @property
  def seq_len(self) -> int:
    """Number of cells of one puzzle, S."""
    return self.inputs.shape[1]

  @property
  def num_puzzles(self) -> int:
    """Number of puzzles, including augmented versions that are stored as cells, U."""
    return len(self) if self.puzzle_starts is None else self.puzzle_starts.shape[0] - 1

  @property
  def num_groups(self) -> int:
    """Number of original puzzles, G."""
    return self.group_starts.shape[0] - 1

  def digest(self) -> str:
    """SHA-256, in hexadecimal, of the data that a model is trained and tested on: inputs, labels, identifiers, and
    their grouping."""
    sha256 = hashlib.sha256()
    starts = [] if self.puzzle_starts is None else [self.puzzle_starts]
    versions = [] if self.versions is None else dataclasses.astuple(self.versions)
    for array in (self.inputs, self.labels, self.puzzle_identifiers, self.group_starts, *starts, *versions):
      # The shapes make it notice cells that move between two arrays. The order of bytes is the same on every machine.
      sha256.update(f"{array.shape} {array.dtype.name};".encode())
      for i in range(0, len(array), _ROWS):
        rows = array[i : i + _ROWS]
        sha256.update(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")))
    return sha256.hexdigest()

  def take_groups(self, groups: np.ndarray) -> "Puzzles":
    """Takes the given groups, in the given order.

    Args:
      groups: integers in [0, num_groups), along one axis.

    Returns:
      Puzzles of these groups.
    """
    return self._take(groups, np.diff(self.group_starts)[groups], self.num_versions[groups])

  def first_versions(self, number: int) -> "Puzzles":
    """Takes the first `number` versions of each group, or all if it has fewer."""
    if self.num_versions.max() <= number:
      return self
    sizes = np.minimum(np.diff(self.group_starts), number)
    return self._take(np.arange(self.num_groups), sizes, np.minimum(self.num_versions, number))

  def padded(self, number: int, versions: int = 1) -> "Puzzles":
    """Pads to `number` examples by repeating the first one, each time as a group of its own. If versions are not stored
    as cells, there is space for `versions` versions of each."""
    if len(self) == number and not self.versions:
      return self
    more = np.zeros(number - len(self), np.int64)
    rows = np.concatenate([np.arange(len(self)), more])

    def longer(starts):
      return np.concatenate([starts, starts[-1] + np.arange(1, len(more) + 1)]).astype(np.int32)

    return dataclasses.replace(
        self, inputs=self.inputs[rows], labels=self.labels[rows], puzzle_identifiers=self.puzzle_identifiers[rows],
        group_starts=longer(self.group_starts),
        puzzle_starts=None if self.puzzle_starts is None else longer(self.puzzle_starts),
        ratings=None if self.ratings is None else self.ratings[rows],
        versions=self.versions and self.versions.padded(len(more), number * versions))

  @property
  def num_versions(self) -> np.ndarray:
    """Number of stored versions of each group, as cells or as numbers, including the original, (G,)."""
    return np.diff(self.group_starts if self.versions is None else self.versions.starts)

  def examples_of_groups(self) -> np.ndarray:
    """Number of examples of each group, over all its puzzles, (G,)."""
    return np.diff(self._examples(self.group_starts))

  def originals(self) -> np.ndarray:
    """The first example of each group, (G,) int32."""
    return self._examples(self.group_starts[:-1])

  def kin(self) -> np.ndarray:
    """For each group the first one with an equal puzzle, perhaps by way of other groups, (G,) int64."""
    first, = first_alike([self.inputs])
    groups = np.repeat(np.arange(self.num_groups), self.examples_of_groups())
    a, b = groups, groups[first]
    a, b = a[a != b], b[a != b]
    kin = np.arange(self.num_groups)
    while (kin[a] != kin[b]).any():
      lower = np.minimum(kin[a], kin[b])
      np.minimum.at(kin, a, lower)
      np.minimum.at(kin, b, lower)
    return kin

  def _examples(self, puzzles: np.ndarray) -> np.ndarray:
    """The first example of each puzzle; for the index after the last puzzle, the index after the last example."""
    return puzzles if self.puzzle_starts is None else self.puzzle_starts[puzzles]

  def _take(self, groups: np.ndarray, sizes: np.ndarray, num_versions: np.ndarray) -> "Puzzles":
    """Takes the first `sizes` puzzles of some groups, and the first `num_versions` of their versions."""
    puzzles, group_starts = _ranges(self.group_starts[groups], sizes)
    rows, puzzle_starts = puzzles, None
    if self.puzzle_starts is not None:
      rows, puzzle_starts = _ranges(self.puzzle_starts[puzzles], np.diff(self.puzzle_starts)[puzzles])
    return dataclasses.replace(
        self,
        inputs=self.inputs[rows],
        labels=self.labels[rows],
        puzzle_identifiers=self.puzzle_identifiers[rows],
        group_starts=group_starts,
        puzzle_starts=puzzle_starts,
        ratings=None if self.ratings is None else self.ratings[rows],
        versions=self.versions and self.versions.take(groups, num_versions, self.examples_of_groups()),
    )


@dataclasses.dataclass(frozen=True)
class Stored:
  """Numbers of a split in a source.

  Attributes:
    num_groups: number of original puzzles.
    num_versions: the most augmented versions of a puzzle that are stored.
    num_examples: mean number of examples of a puzzle.
  """

  num_groups: int
  num_versions: int = 0
  num_examples: float = 1.0

  @classmethod
  def of(cls, puzzles: Puzzles) -> "Stored":
    """The numbers of puzzles that have been read."""
    examples, versions = Sizes.of(puzzles).stored
    return cls(puzzles.num_groups, int(puzzles.num_versions.max()) - 1, examples / versions)


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The sizes of the training puzzles on which compiled programs depend.

  Attributes:
    num_examples: N, including augmentations that are stored as cells.
    num_puzzles: U, including the same.
    num_groups: G, original puzzles.
    seq_len: S.
    vocab_size: V.
    num_puzzle_identifiers: number of rows of the prefix table in use.
    num_versions: W, number of versions that are not stored as cells; 0 for none.
    num_version_examples: number of examples of all these together.
  """

  num_examples: int
  num_puzzles: int
  num_groups: int
  seq_len: int
  vocab_size: int
  num_puzzle_identifiers: int
  num_versions: int = 0
  num_version_examples: int = 0

  @classmethod
  def of(cls, puzzles: Puzzles) -> "Sizes":
    """The sizes of existing puzzles."""
    made = () if puzzles.versions is None else (
        int(puzzles.num_versions.sum()), int((puzzles.num_versions * puzzles.examples_of_groups()).sum()))
    return cls(len(puzzles), puzzles.num_puzzles, puzzles.num_groups, puzzles.seq_len, puzzles.vocab_size,
               puzzles.num_puzzle_identifiers, *made)

  @property
  def stored(self) -> tuple[int, int]:
    """Numbers of examples and puzzles, including augmentations in any form."""
    return (self.num_version_examples, self.num_versions) if self.num_versions else (
        self.num_examples, self.num_puzzles)

  def of_model(self) -> dict[str, int]:
    """The fields of TRMConfig that the data determines."""
    return {name: getattr(self, name) for name in ("vocab_size", "seq_len", "num_puzzle_identifiers")}

  def total_steps(self, epochs: int, batch_size: int) -> int:
    """Training steps of a run: floor(epochs * groups * mean examples of a puzzle / batch), as in the reference.

    Args:
      epochs: passes over the groups.
      batch_size: of all devices together.

    Raises:
      UserError: there is not even one step.
    """
    examples, puzzles = self.stored
    steps = epochs * self.num_groups * examples // (puzzles * batch_size)
    if steps == 0:
      raise UserError(f"epochs {epochs} of {self.num_groups} puzzles are less than one step of batch_size {batch_size};"
                      " raise epochs or lower batch_size")
    return steps

  def blank_puzzles(self) -> Puzzles:
    """Makes puzzles of these sizes without content, which need memory for a few numbers per group but not for cells."""
    cells = self.num_examples, self.seq_len
    return Puzzles(
        inputs=np.broadcast_to(np.uint8(0), cells), labels=np.broadcast_to(np.int8(0), cells),
        puzzle_identifiers=np.broadcast_to(np.int32(0), cells[:1]), vocab_size=self.vocab_size,
        group_starts=_even_starts(self.num_groups, self.num_puzzles),
        puzzle_starts=(None if self.num_puzzles == self.num_examples
                       else _even_starts(self.num_puzzles, self.num_examples)),
        num_puzzle_identifiers=self.num_puzzle_identifiers,
        versions=Versions(_even_starts(self.num_groups, self.num_versions), *(
            np.broadcast_to(kind(0), number) for kind, number in (
                (np.int32, self.num_versions), (np.int32, self.num_versions), (np.int16, self.num_version_examples)))
                          ) if self.num_versions else None)


def _even_starts(number: int, total: int) -> np.ndarray:
  """The beginnings of parts that divide `total` as evenly as possible, (number + 1,) int32."""
  return (np.arange(number + 1, dtype=np.int64) * total // number).astype(np.int32)


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Concatenates the ranges that begin at `starts`. Returns the numbers, and the index at which each range begins."""
  new_starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
  return np.repeat(starts - new_starts[:-1], sizes) + np.arange(new_starts[-1]), new_starts


def one_group_each(
    inputs: np.ndarray, labels: np.ndarray, *, vocab_size: int, ratings: np.ndarray | None = None
) -> Puzzles:
  """Makes puzzles without stored augmentations that all share prefix row 0 (Sudoku, mazes).

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
  """Finds, for each row of several tables, the first row that equals it, counting through all tables.

  This takes memory for some numbers per row, not for copies of rows, and half a second for a million rows of 81 cells.

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

  # Equal rows have equal hashes. Rows with equal hashes are compared with the first of them, cell by cell.
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
  """Hashes of rows, (N, S) uint8: (N,) uint64."""
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
