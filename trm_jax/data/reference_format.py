# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Dataset folders written by the reference's builders: <folder>/<split>/dataset.json and <set>__*.npy.

For each set: inputs and labels (N, S) of any integer type; puzzle_indices (puzzles + 1,), at which example each puzzle
starts; group_indices (groups + 1,), at which puzzle each group starts; puzzle_identifiers (puzzles,).
"""

import json
import math
import os
import pathlib

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError

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
_REBUILD = "write the folder anew with the reference's builder"
# Labels are int8.
_MAX_VOCAB = 128
# Rows converted at once: bounds scratch memory.
_ROWS = 1 << 16


def is_reference_folder(path: str | os.PathLike) -> bool:
  """Whether some split of the reference's format lies in the folder."""
  return any(pathlib.Path(path).glob("*/dataset.json"))


def read_split(folder: str | os.PathLike, split: str) -> puzzles_lib.Puzzles:
  """Reads one split, its sets one after another.

  A stored group becomes one group here; the identifier of a puzzle becomes that of each of its examples; labels equal
  to ignore_label_id become IGNORE_LABEL.

  Args:
    folder: holds the splits' folders.
    split: 'train' or 'test', the name of a split's folder.

  Returns:
    Puzzles without ratings, which the format does not store.

  Raises:
    UserError: naming file and rule, if dataset.json or an array is missing, malformed, or does not fit the others.
  """
  place = pathlib.Path(folder) / split
  meta = _read_metadata(place / "dataset.json")
  sets = [_read_set(place, name, meta) for name in meta["sets"]]
  inputs, labels, identifiers, starts = (list(x) for x in zip(*sets))
  offsets = np.cumsum([0] + [len(x) for x in inputs])
  num_groups = sum(len(s) - 1 for s in starts)
  if meta["total_groups"] != num_groups:
    raise UserError(
        f"{place / 'dataset.json'}: total_groups is {meta['total_groups']}, but the sets have {num_groups}; {_REBUILD}"
    )
  group_starts = [s[:-1] + offset for s, offset in zip(starts, offsets)] + [offsets[-1:]]
  return puzzles_lib.Puzzles(
      inputs=_concatenate(inputs),
      labels=_concatenate(labels),
      puzzle_identifiers=_concatenate(identifiers),
      group_starts=np.concatenate(group_starts).astype(np.int32),
      vocab_size=meta["vocab_size"],
      num_puzzle_identifiers=meta["num_puzzle_identifiers"],
  )


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
  # The usual single set is not copied.
  return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _is_int(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _read_metadata(path: pathlib.Path) -> dict:
  """dataset.json, every key of it checked by itself."""
  try:
    meta = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as e:
    raise UserError(f"{path}: no such file; a dataset folder of the reference has one in each split's folder") from e
  except OSError as e:
    raise UserError(f"{path}: cannot be read: {e.strerror}") from e
  except ValueError as e:  # bad JSON or bad UTF-8
    raise UserError(f"{path}: is not JSON: {e}; {_REBUILD}") from e
  if not isinstance(meta, dict):
    raise UserError(f"{path}: must be a JSON object; {_REBUILD}")
  for key in (*_COUNTS, "ignore_label_id", "mean_puzzle_examples", "sets"):
    if key not in meta:
      raise UserError(f"{path}: the key '{key}' is missing; {_REBUILD}")
  for key in _COUNTS:
    if not _is_int(meta[key]) or meta[key] < 0:
      raise UserError(f"{path}: {key} is {meta[key]!r}, must be an integer of 0 or more; {_REBUILD}")
  ignored, sets, mean = meta["ignore_label_id"], meta["sets"], meta["mean_puzzle_examples"]
  if ignored is not None and not _is_int(ignored):
    raise UserError(f"{path}: ignore_label_id is {ignored!r}, must be an integer or null; {_REBUILD}")
  if not _is_int(mean) and not isinstance(mean, float):
    raise UserError(f"{path}: mean_puzzle_examples is {mean!r}, must be a number; {_REBUILD}")
  if (
      not isinstance(sets, list)
      or not sets
      or not all(isinstance(s, str) and s and pathlib.PurePath(s).name == s for s in sets)
  ):
    raise UserError(f"{path}: sets is {sets!r}, must be a list of the names before '__inputs.npy'; {_REBUILD}")
  if meta["pad_id"] != 0:
    raise UserError(f"{path}: pad_id is {meta['pad_id']}, must be 0, the token that this library takes for padding")
  if not 1 <= meta["vocab_size"] <= _MAX_VOCAB:
    raise UserError(f"{path}: vocab_size is {meta['vocab_size']}, must be from 1 to {_MAX_VOCAB}")
  return meta


def _load(path: pathlib.Path, ndim: int) -> np.ndarray:
  """The array of a file, mapped, not read."""
  try:
    array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
  except FileNotFoundError as e:
    raise UserError(f"{path}: no such file, but the 'sets' of dataset.json ask for it; {_REBUILD}") from e
  except (OSError, ValueError, EOFError) as e:
    reason = str(e).splitlines()[0] if str(e) else type(e).__name__
    raise UserError(f"{path}: is truncated or not a plain .npy array ({reason}); {_REBUILD}") from e
  if array.dtype.kind not in "iu" or array.ndim != ndim:
    raise UserError(
        f"{path}: is {array.dtype} of shape {array.shape}, must be an integer array with {ndim} axes; {_REBUILD}"
    )
  return array


def _read_set(place: pathlib.Path, name: str, meta: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """One set: (N, S) uint8 inputs, (N, S) int8 labels, (N,) int32 identifiers, (groups + 1,) int64 group starts."""
  paths = {field: place / f"{name}__{field}.npy" for field in _FIELDS}
  arrays = {field: _load(path, 2 if field in ("inputs", "labels") else 1) for field, path in paths.items()}
  for field in ("inputs", "labels"):
    if arrays[field].shape[1] != meta["seq_len"]:
      raise UserError(
          f"{paths[field]}: has rows of {arrays[field].shape[1]} cells, but seq_len in dataset.json is"
          f" {meta['seq_len']}; {_REBUILD}"
      )
  n = arrays["inputs"].shape[0]
  if arrays["labels"].shape[0] != n:
    raise UserError(f"{paths['labels']}: has {arrays['labels'].shape[0]} rows, the inputs {n}; {_REBUILD}")
  num_puzzles = arrays["puzzle_identifiers"].shape[0]
  puzzle_starts = _offsets(arrays["puzzle_indices"], paths["puzzle_indices"], n, "examples")
  group_puzzles = _offsets(arrays["group_indices"], paths["group_indices"], num_puzzles, "puzzles")
  if len(puzzle_starts) != num_puzzles + 1:
    raise UserError(
        f"{paths['puzzle_indices']}: has {len(puzzle_starts)} entries, must have one more than the {num_puzzles}"
        f" puzzles of {paths['puzzle_identifiers'].name}; {_REBUILD}"
    )
  group_starts = puzzle_starts[group_puzzles]
  if (np.diff(group_starts) == 0).any():
    g = int(np.argmin(np.diff(group_starts)))
    raise UserError(f"{paths['group_indices']}: group {g} has no examples, every group must have one; {_REBUILD}")
  # The reference's Sudoku and maze builders write the number of groups for total_puzzles, its ARC builder of puzzles.
  # Across several sets neither can be checked here.
  if len(meta["sets"]) == 1:
    dataset = place / "dataset.json"
    if meta["total_puzzles"] not in (num_puzzles, len(group_starts) - 1):
      raise UserError(
          f"{dataset}: total_puzzles is {meta['total_puzzles']}, but there are {num_puzzles} puzzles in"
          f" {len(group_starts) - 1} groups; {_REBUILD}"
      )
    if not math.isclose(meta["mean_puzzle_examples"], n / num_puzzles, rel_tol=1e-6):
      raise UserError(
          f"{dataset}: mean_puzzle_examples is {meta['mean_puzzle_examples']}, but there are {n} examples of"
          f" {num_puzzles} puzzles; {_REBUILD}"
      )

  identifiers = np.asarray(arrays["puzzle_identifiers"])
  _check_range(identifiers, paths["puzzle_identifiers"], meta["num_puzzle_identifiers"], "num_puzzle_identifiers")
  inputs, labels = np.empty((n, meta["seq_len"]), np.uint8), np.empty((n, meta["seq_len"]), np.int8)
  for i in range(0, n, _ROWS):
    rows = slice(i, i + _ROWS)
    stored = np.asarray(arrays["inputs"][rows])
    _check_range(stored, paths["inputs"], meta["vocab_size"], "vocab_size", first=i)
    inputs[rows] = stored
    stored = np.asarray(arrays["labels"][rows])
    ignored = stored == meta["ignore_label_id"]  # all False for None
    stored = np.where(ignored, stored.dtype.type(0), stored)
    _check_range(stored, paths["labels"], meta["vocab_size"], "vocab_size", first=i)
    labels[rows] = stored
    labels[rows][ignored] = puzzles_lib.IGNORE_LABEL
  return inputs, labels, np.repeat(identifiers, np.diff(puzzle_starts)).astype(np.int32), group_starts


def _offsets(array: np.ndarray, path: pathlib.Path, length: int, of: str) -> np.ndarray:
  """Checked (K + 1,) int64 offsets into something of that length."""
  array = np.asarray(array, np.int64)
  if len(array) < 2 or array[0] != 0 or array[-1] != length or (np.diff(array) < 0).any():
    raise UserError(
        f"{path}: must rise from 0 to the {length} {of} without falling, has {len(array)} entries from"
        f" {array[:1].tolist()} to {array[-1:].tolist()}; {_REBUILD}"
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
      f" dataset.json); {_REBUILD}"
  )
