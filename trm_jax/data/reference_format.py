# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Dataset folders written by the reference's builders: <folder>/<split>/dataset.json and <set>__*.npy.

For each set: inputs and labels (N, S) of any integer type; puzzle_indices (puzzles + 1,), the example at which
each puzzle starts; group_indices (groups + 1,), the puzzle at which each group starts; puzzle_identifiers (puzzles,).
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import math
import os
import pathlib
from typing import BinaryIO

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import Damaged, UserError, explained, in_one_line
from trm_jax.runtime import files

_FIELDS = ("inputs", "labels", "puzzle_indices", "group_indices", "puzzle_identifiers")
_COUNTS = (
    "pad_id",
    "blank_identifier_id",
    "vocab_size",
    "seq_len",
    "num_puzzle_identifiers",
    "total_groups",
    "total_puzzles",
)
REBUILD = "rebuild the folder with the reference's builder"
# Labels are int8; identifiers and numbers of examples are int32.
_MAX_VOCAB = 128
_MAX_COUNT = 2**31 - 1
# Number of rows converted at once; it limits scratch memory.
_ROWS = 1 << 16


def is_reference_folder(folder: pathlib.Path) -> bool:
  """Whether a folder contains a split in the reference's format.

  Raises:
    UserError: the folder cannot be read.
  """
  try:
    # `glob` and `exists` would treat a path that cannot be read as missing.
    with os.scandir(folder) as entries:
      return any("dataset.json" in os.listdir(entry) for entry in entries if entry.is_dir())
  except OSError as e:
    raise explained(f"{folder}: cannot be read", e) from e


def stored(folder: pathlib.Path, split: str) -> puzzles_lib.Stored:
  """The numbers of a split, from only its dataset.json and the headers of its arrays.

  Raises:
    UserError: as in `read_split`, as far as these show.
  """
  place = folder / split
  meta = read_metadata(place / "dataset.json")
  groups, examples = meta["total_groups"], sum(_set_sizes(place, meta).values())
  puzzles = round(examples / meta["mean_puzzle_examples"]) if meta["mean_puzzle_examples"] > 0 else examples
  # Its builders store the same number of versions of each puzzle.
  return puzzles_lib.Stored(groups, max(0, puzzles // groups - 1), examples / max(1, puzzles))


def sizes(folder: pathlib.Path, split: str) -> dict[str, int]:
  """The sizes that a model depends on, from dataset.json: vocab_size, seq_len and num_puzzle_identifiers.

  Raises:
    UserError: dataset.json is missing or malformed.
  """
  meta = read_metadata(folder / split / "dataset.json")
  return {name: meta[name] for name in ("vocab_size", "seq_len", "num_puzzle_identifiers")}


def _set_sizes(place: pathlib.Path, meta: dict) -> dict[str, int]:
  """Number of examples of each set."""
  sizes = {}
  for name in meta["sets"]:
    with _open(place / f"{name}__inputs.npy", 2) as array:
      sizes[name] = array.shape[0]
  return sizes


def file_of(folder: pathlib.Path, split: str, field: str, row: int) -> str:
  """The file, and the row in it, that the "inputs" or "labels" of an example were read from."""
  place = folder / split
  for name, size in _set_sizes(place, read_metadata(place / "dataset.json")).items():
    if row < size:
      return f"{place / name}__{field}.npy, row {row}"
    row -= size
  raise AssertionError(row)


def read_split(folder: pathlib.Path, split: str) -> puzzles_lib.Puzzles:
  """Reads one split, its sets one after another.

  Groups and puzzles are kept as stored. Each example gets the identifier of its puzzle. Labels equal to ignore_label_id
  become IGNORE_LABEL.

  Args:
    folder: contains the splits' folders.
    split: 'train' or 'test', the name of a split's folder.

  Returns:
    Puzzles without ratings, which the format does not store.

  Raises:
    UserError: dataset.json or an array is missing, malformed, or does not fit the others; the message names file and
      rule.
  """
  place = folder / split
  meta = read_metadata(place / "dataset.json")
  num_examples = sum(_set_sizes(place, meta).values())
  if num_examples > _MAX_COUNT:
    raise UserError(f"{place}: has {num_examples} examples, must have {_MAX_COUNT} at the most; build fewer")
  sets = [_read_set(place, name, meta) for name in meta["sets"]]
  inputs, labels, identifiers, puzzle_starts, group_starts = (list(x) for x in zip(*sets))
  num_groups = sum(len(s) - 1 for s in group_starts)
  if meta["total_groups"] != num_groups:
    raise UserError(
        f"{place / 'dataset.json'}: total_groups is {meta['total_groups']}, but the sets have {num_groups}; {REBUILD}"
    )
  puzzle_starts = _joined(puzzle_starts)
  return puzzles_lib.Puzzles(
      inputs=_concatenate(inputs),
      labels=_concatenate(labels),
      puzzle_identifiers=_concatenate(identifiers),
      group_starts=_joined(group_starts),
      puzzle_starts=None if len(puzzle_starts) == num_examples + 1 else puzzle_starts,
      vocab_size=meta["vocab_size"],
      num_puzzle_identifiers=meta["num_puzzle_identifiers"],
  )


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
  # The usual single set is not copied.
  return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _joined(starts: list[np.ndarray]) -> np.ndarray:
  """Joins the starts of parts in several sets into int32 starts in the concatenated sets."""
  offsets = np.cumsum([0, *(s[-1] for s in starts)])
  return np.concatenate([*(s[:-1] + offset for s, offset in zip(starts, offsets)), offsets[-1:]]).astype(np.int32)


def _is_int(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def read_metadata(path: pathlib.Path) -> dict:
  """Reads dataset.json and checks each key by itself. Raises UserError."""
  try:
    meta = files.read_json(path)
  except Damaged as e:
    raise UserError(f"{e}; {REBUILD}") from e
  for key in (*_COUNTS, "ignore_label_id", "mean_puzzle_examples", "sets"):
    if key not in meta:
      raise UserError(f"{path}: the key '{key}' is missing; {REBUILD}")
  for key in _COUNTS:
    if not _is_int(meta[key]) or meta[key] < 0:
      raise UserError(f"{path}: {key} is {meta[key]!r}, must be an integer of 0 or more; {REBUILD}")
  ignored, sets, mean = meta["ignore_label_id"], meta["sets"], meta["mean_puzzle_examples"]
  if ignored is not None and not _is_int(ignored):
    raise UserError(f"{path}: ignore_label_id is {ignored!r}, must be an integer or null; {REBUILD}")
  if not _is_int(mean) and not isinstance(mean, float):
    raise UserError(f"{path}: mean_puzzle_examples is {mean!r}, must be a number; {REBUILD}")
  if (
      not isinstance(sets, list)
      or not sets
      or not all(isinstance(s, str) and s and pathlib.PurePath(s).name == s for s in sets)
  ):
    raise UserError(f"{path}: sets is {sets!r}, must be a list of the names before '__inputs.npy'; {REBUILD}")
  if len(set(sets)) < len(sets):
    raise UserError(f"{path}: sets is {sets!r}, must name each set once; {REBUILD}")
  if meta["pad_id"] != 0:
    raise UserError(f"{path}: pad_id is {meta['pad_id']}, must be 0, the token that this library uses for padding")
  if not 1 <= meta["vocab_size"] <= _MAX_VOCAB:
    raise UserError(f"{path}: vocab_size is {meta['vocab_size']}, must be from 1 to {_MAX_VOCAB}")
  for key in ("num_puzzle_identifiers", "total_groups"):
    if not 1 <= meta[key] <= _MAX_COUNT:
      raise UserError(f"{path}: {key} is {meta[key]}, must be from 1 to {_MAX_COUNT}; {REBUILD}")
  return meta


@dataclasses.dataclass(frozen=True)
class _Array:
  """An array in an open file, read piece by piece.

  Attributes:
    path: of the file.
    file: opened, at the first number.
    dtype: integer.
    shape: one or two axes.
    columns_first: the order in which two axes are stored.
  """

  path: pathlib.Path
  file: BinaryIO
  dtype: np.dtype
  shape: tuple[int, ...]
  columns_first: bool

  def pieces(self, rows: int) -> Iterator[np.ndarray]:
    """Yields all rows in pieces of up to `rows` rows; may be called only once."""
    if self.columns_first:
      whole = self._numbers(math.prod(self.shape)).reshape(self.shape[::-1]).T
    for i in range(0, self.shape[0], rows):
      number = min(rows, self.shape[0] - i)
      if self.columns_first:
        yield whole[i : i + number]
      else:
        yield self._numbers(number * math.prod(self.shape[1:])).reshape(number, *self.shape[1:])

  def whole(self) -> np.ndarray:
    """The whole array; may be called only once."""
    return next(self.pieces(max(1, self.shape[0])), np.empty(self.shape, self.dtype))

  def _numbers(self, count: int) -> np.ndarray:
    numbers = np.fromfile(self.file, self.dtype, count)
    if len(numbers) < count:
      raise UserError(f"{self.path}: is truncated; {REBUILD}")
    return numbers


@contextlib.contextmanager
def _open(path: pathlib.Path, ndim: int) -> Iterator[_Array]:
  """Reads and checks the header of an .npy file; its array can be read within the context."""
  with files.reading(path, f"but the 'sets' of dataset.json ask for it; {REBUILD}") as file:
    try:
      version = np.lib.format.read_magic(file)
      read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
      shape, columns_first, dtype = read_header[version](file)
    except OSError:
      raise
    except Exception as e:  # the header is Python, and its parsers may raise anything
      raise UserError(f"{path}: is truncated or not a plain .npy array ({in_one_line(e)}); {REBUILD}") from e
    if dtype.kind not in "iu" or len(shape) != ndim:
      raise UserError(
          f"{path}: is {dtype} of shape {shape}, must be an integer array with {ndim} axes; {REBUILD}"
      )
    size, stored = math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
    if stored != size:
      what = "is truncated" if stored < size else "has data after its array"
      raise UserError(f"{path}: {what} ({stored} bytes for {size}, of {dtype} of shape {shape}); {REBUILD}")
    yield _Array(path, file, dtype, shape, columns_first and ndim > 1)


@dataclasses.dataclass(frozen=True)
class Set:
  """A set of a split in open files, whose cells are not read yet.

  Attributes:
    num_examples: N.
    identifiers: (puzzles,) integers.
    puzzle_starts: (puzzles + 1,) int64, the example at which each puzzle starts.
    group_starts: (groups + 1,) int64, the puzzle at which each group starts.
  """

  num_examples: int
  identifiers: np.ndarray
  puzzle_starts: np.ndarray
  group_starts: np.ndarray
  _arrays: dict[str, _Array]
  _meta: dict

  def cells(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields checked (rows, S) uint8 inputs and (rows, S) int8 labels, part by part; may be called only once.

    Raises:
      UserError: a value is out of range, or a file is truncated.
    """
    inputs, labels = self._arrays["inputs"], self._arrays["labels"]
    for i, stored_inputs, stored_labels in zip(
        range(0, self.num_examples, rows), inputs.pieces(rows), labels.pieces(rows)):
      _check_range(stored_inputs, inputs.path, self._meta["vocab_size"], "vocab_size", first=i)
      ignored = stored_labels == self._meta["ignore_label_id"]  # all False for None
      stored_labels = np.where(ignored, stored_labels.dtype.type(0), stored_labels)
      _check_range(stored_labels, labels.path, self._meta["vocab_size"], "vocab_size", first=i)
      stored_labels = stored_labels.astype(np.int8)
      stored_labels[ignored] = puzzles_lib.IGNORE_LABEL
      yield stored_inputs.astype(np.uint8), stored_labels


@contextlib.contextmanager
def open_set(place: pathlib.Path, name: str, meta: dict) -> Iterator[Set]:
  """Opens a set and checks all of it except its cells.

  Args:
    place: folder of the split.
    name: of the set.
    meta: see `read_metadata`.

  Raises:
    UserError: an array is missing, malformed, or does not fit the others.
  """
  paths = {field: place / f"{name}__{field}.npy" for field in _FIELDS}
  with contextlib.ExitStack() as exits:
    arrays = {field: exits.enter_context(_open(path, 2 if field in ("inputs", "labels") else 1))
              for field, path in paths.items()}
    yield _checked(arrays, place / "dataset.json", meta)


def _read_set(place: pathlib.Path, name: str, meta: dict) -> tuple[np.ndarray, ...]:
  """Reads one set: (N, S) uint8 inputs, (N, S) int8 labels, (N,) int32 identifiers; (puzzles + 1,) int64, the example
  at which each puzzle starts; (groups + 1,) int64, the puzzle at which each group starts."""
  with open_set(place, name, meta) as opened:
    n = opened.num_examples
    inputs, labels = np.empty((n, meta["seq_len"]), np.uint8), np.empty((n, meta["seq_len"]), np.int8)
    for i, (some_inputs, some_labels) in zip(range(0, n, _ROWS), opened.cells(_ROWS)):
      inputs[i : i + _ROWS], labels[i : i + _ROWS] = some_inputs, some_labels
    identifiers = np.repeat(opened.identifiers, np.diff(opened.puzzle_starts)).astype(np.int32)
    return inputs, labels, identifiers, opened.puzzle_starts, opened.group_starts


def _checked(arrays: dict[str, _Array], dataset: pathlib.Path, meta: dict) -> Set:
  """Checks open arrays against each other and returns their set."""
  paths = {field: array.path for field, array in arrays.items()}
  for field in ("inputs", "labels"):
    if arrays[field].shape[1] != meta["seq_len"]:
      raise UserError(
          f"{paths[field]}: has rows of {arrays[field].shape[1]} cells, but seq_len in dataset.json is"
          f" {meta['seq_len']}; {REBUILD}"
      )
  n = arrays["inputs"].shape[0]
  if arrays["labels"].shape[0] != n:
    raise UserError(f"{paths['labels']}: has {arrays['labels'].shape[0]} rows, the inputs {n}; {REBUILD}")
  num_puzzles = arrays["puzzle_identifiers"].shape[0]
  puzzle_starts = _offsets(arrays["puzzle_indices"], n, "examples")
  group_puzzles = _offsets(arrays["group_indices"], num_puzzles, "puzzles")
  if len(puzzle_starts) != num_puzzles + 1:
    raise UserError(
        f"{paths['puzzle_indices']}: has {len(puzzle_starts)} entries, must have one more than the {num_puzzles}"
        f" puzzles of {paths['puzzle_identifiers'].name}; {REBUILD}"
    )
  group_starts = puzzle_starts[group_puzzles]
  if (np.diff(group_starts) == 0).any():
    g = int(np.argmin(np.diff(group_starts)))
    raise UserError(f"{paths['group_indices']}: group {g} has no examples, every group must have one; {REBUILD}")
  # As total_puzzles the reference's Sudoku and maze builders write the number of groups, and its ARC builder that of
  # puzzles. Across several sets neither can be checked here.
  if len(meta["sets"]) == 1:
    if meta["total_puzzles"] not in (num_puzzles, len(group_starts) - 1):
      raise UserError(
          f"{dataset}: total_puzzles is {meta['total_puzzles']}, but there are {num_puzzles} puzzles in"
          f" {len(group_starts) - 1} groups; {REBUILD}"
      )
    if not math.isclose(meta["mean_puzzle_examples"], n / num_puzzles, rel_tol=1e-6):
      raise UserError(
          f"{dataset}: mean_puzzle_examples is {meta['mean_puzzle_examples']}, but there are {n} examples of"
          f" {num_puzzles} puzzles; {REBUILD}"
      )

  identifiers = arrays["puzzle_identifiers"].whole()
  _check_range(identifiers, paths["puzzle_identifiers"], meta["num_puzzle_identifiers"], "num_puzzle_identifiers")
  return Set(n, identifiers, puzzle_starts, group_puzzles, arrays, meta)


def _offsets(stored: _Array, length: int, of: str) -> np.ndarray:
  """Reads and checks int64 offsets of parts of `length` examples or puzzles."""
  array = stored.whole().astype(np.int64)
  if len(array) < 2 or array[0] != 0 or array[-1] != length or (np.diff(array) < 0).any():
    raise UserError(
        f"{stored.path}: must rise from 0 to {length}, the number of {of}, but has {len(array)} entries from"
        f" {array[:1].tolist()} to {array[-1:].tolist()}; {REBUILD}"
    )
  return array


def _check_range(array: np.ndarray, path: pathlib.Path, size: int, key: str, first: int = 0) -> None:
  """Raises UserError unless all values lie in [0, size)."""
  if array.min() >= 0 and array.max() < size:
    return
  at = np.argwhere((array < 0) | (array >= size))[0]
  value = array[tuple(at)]
  raise UserError(
      f"{path}, row {first + at[0]}: the value {value} is out of range, must be from 0 to {size - 1} ({key} in"
      f" dataset.json); {REBUILD}"
  )
