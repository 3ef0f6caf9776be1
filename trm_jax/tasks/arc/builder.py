# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Builds ARC's data set like the reference's builder from the same files and seed, but makes only the original grids.

The random draws of a thousand versions take seconds. They are kept in a file in this machine's cache, whose name
depends on the contents of the JSON files and the settings.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import hashlib
import json
import pathlib
from typing import Any
import zipfile
import zlib

from etils import epath
import numpy as np

from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles, Versions
from trm_jax.errors import Damaged, UserError, in_one_line
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.tasks.arc import draws as draws_lib
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc import json_files
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.json_files import Pair

# Increased whenever the same files and settings lead to other numbers.
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class DataSet:
  """Both splits, and the names of their tasks.

  Attributes:
    splits: "train" and "test", each with a group per task.
    names: of tasks, by the identifier of the original.
  """

  splits: dict[str, Puzzles]
  names: dict[int, str]


@dataclasses.dataclass(frozen=True)
class _Task:
  """A task of a subset. Attributes: name; pairs; in_test_set, whether the subset is the test set."""

  name: str
  pairs: list[Pair]
  in_test_set: bool

  def of_split(self, split: str) -> list[Pair]:
    """Its pairs in "train" or "test": test pairs of the test set are in "test", all others in "train"."""
    return [pair for pair in self.pairs if (self.in_test_set and pair.is_test) == (split == "test")]


@dataclasses.dataclass(frozen=True)
class _Draws:
  """The random draws.

  Attributes:
    order: (T,) int32, the order of the tasks, as indices into that of the files.
    starts: (T + 1,) int32, the first version of each task.
    numbers: (W,) int32, the versions, see grids.
    moves: int16, of the training pairs of every version, see grids.remade.
  """

  order: np.ndarray
  starts: np.ndarray
  numbers: np.ndarray
  moves: np.ndarray

  def digest(self) -> str:
    sha256 = hashlib.sha256()
    for array in dataclasses.astuple(self):
      sha256.update(f"{array.shape} {array.dtype.str};".encode())
      sha256.update(np.ascontiguousarray(array))
    return sha256.hexdigest()


def read(folder: epath.Path, names: Sequence[str], data: ArcData) -> dict[str, dict[str, list[Pair]]]:
  """Reads the subsets of JSON files that the knobs name: {subset: {task: pairs}}. On canvases smaller than ARC's it
  leaves out the tasks that do not fit, and says how many.

  Args:
    folder: holds the files.
    names: of the files in the folder.
    data: the knobs.

  Raises:
    UserError: a file, task or grid breaks a rule, or no task of the test set fits on the canvases.
  """
  subsets = data.subsets.split(",")
  if data.test_set not in subsets:
    raise UserError(f"config.data.test_set = {data.test_set!r}: must be one of config.data.subsets = {data.subsets!r}")
  read = {subset: json_files.read(folder, subset, names) for subset in subsets}
  fitting = {subset: {name: pairs for name, pairs in tasks.items() if _largest_side(pairs) <= data.side}
             for subset, tasks in read.items()}
  total, left = (sum(map(len, of.values())) for of in (read, fitting))
  if not fitting[data.test_set]:
    raise UserError(f"config.data.side = {data.side}: each task of {folder}'s {data.test_set} has a grid with more "
                    "rows or columns; raise it")
  if left < total:
    console.warn(f"{total - left:,} of {total:,} tasks in {folder} have a grid with more than config.data.side = "
                 f"{data.side} rows or columns and are left out")
  return fitting


def _largest_side(pairs: Sequence[Pair]) -> int:
  return max(side for pair in pairs for grid in (pair.input, pair.output) for side in grid.shape)


def build(subsets: Mapping[str, Mapping[str, list[Pair]]], test_set: str, data: ArcData,
          progress: Callable[[int, int], None] | None = None) -> DataSet:
  """Builds the data set of tasks.

  Args:
    subsets: see `read`.
    test_set: the subset whose test inputs are the test set.
    data: the knobs.
    progress: called with the number of tasks whose versions are drawn, and their total.

  Raises:
    UserError: the kept draws are damaged.
  """
  if data.seed >= 2**32:
    raise UserError(f"config.data.seed = {data.seed}: must be below 2^32, the limit of the reference's generator")
  tasks = [[_Task(name, pairs, subset == test_set) for name, pairs in some.items()] for subset, some in subsets.items()]
  kept = files.cache_folder() / "arc" / f"{_digest(tasks, data)[:32]}.npz"
  if kept.exists():
    draws = _read(kept)
  else:
    draws = _draw(tasks, data, progress)
    _write(kept, draws)
  tasks = [task for subset in tasks for task in subset]
  return _data_set([tasks[i] for i in draws.order], draws, data.side)


def _digest(tasks: list[list[_Task]], data: ArcData) -> str:
  """SHA-256 of all that the draws depend on."""
  sha256 = hashlib.sha256(json.dumps([_FORMAT, data.num_aug, data.seed, data.side]).encode())
  for subset in tasks:
    sha256.update(f"{len(subset)};".encode())
    for task in subset:
      for pair in task.pairs:
        about = [task.name, task.in_test_set, pair.is_test, pair.input.shape, pair.output.shape]
        sha256.update(json.dumps(about).encode() + pair.input.tobytes() + pair.output.tobytes())
  return sha256.hexdigest()


def _draw(tasks: list[list[_Task]], data: ArcData, progress: Callable[[int, int], None] | None) -> _Draws:
  """Makes the draws, in the reference's order."""
  rng = np.random.RandomState(data.seed)
  order, in_order, versions = [], [], []
  total = sum(map(len, tasks))
  for subset in tasks:
    first = len(order)
    for i in draws_lib.shuffled(rng, range(len(subset))):
      order.append(first + i)
      in_order.append(subset[i])
      versions.append(draws_lib.versions(rng, _grids(subset[i].pairs), data.num_aug))
      if progress:
        progress(len(order), total)
  draw = draws_lib.Moves(rng, data.side)
  moves = [draw.of(_grids(task.of_split("train")), some) for task, some in zip(in_order, versions)]
  return _Draws(np.array(order, np.int32), _starts([len(some) for some in versions]), np.concatenate(versions),
                np.concatenate(moves))


def _grids(pairs: list[Pair]) -> list[tuple[np.ndarray, np.ndarray]]:
  return [(pair.input, pair.output) for pair in pairs]


def _starts(sizes: Sequence[int]) -> np.ndarray:
  return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def _write(path: pathlib.Path, draws: _Draws) -> None:
  """Saves the draws and their digest."""
  files.make_folder(path.parent, "XDG_CACHE_HOME")
  with files.replacing(path) as file:
    np.savez(file, digest=draws.digest(), **dataclasses.asdict(draws))


def _read(path: pathlib.Path) -> _Draws:
  """Reads the draws that `_write` saved. Raises Damaged if they have changed."""
  again = "delete it, and the same command makes it again"
  try:
    with files.reading(path, again) as file, np.load(file, allow_pickle=False) as archive:
      draws = _Draws(**{field.name: archive[field.name] for field in dataclasses.fields(_Draws)})
      digest = str(archive["digest"])
  except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as e:
    if isinstance(e, UserError):
      raise
    raise Damaged(f"{path}: is cut off or changed ({in_one_line(e)}); {again}") from e
  if draws.digest() != digest:
    raise Damaged(f"{path}: is changed: its digest is not the one that was written with it; {again}")
  return draws


def _data_set(tasks: list[_Task], draws: _Draws, side: int) -> DataSet:
  """Makes both splits from tasks in the order of the draws, on canvases of this side."""
  identifiers = _identifiers([task.name for task in tasks], draws)
  names = {int(identifiers[start]): task.name for task, start in zip(tasks, draws.starts)}
  every = np.arange(len(tasks))
  splits = {"train": _split("train", tasks, every, identifiers, draws, draws.moves, side)}
  in_test = np.flatnonzero([task.in_test_set for task in tasks])
  splits["test"] = _split("test", [tasks[i] for i in in_test], in_test, identifiers, draws, None, side)
  return DataSet(splits, names)


def _identifiers(names: list[str], draws: _Draws) -> np.ndarray:
  """An identifier 1, 2, … for each version, (W,) int32. If several subsets have a task, equal versions share one."""
  identifiers = np.arange(1, len(draws.numbers) + 1, dtype=np.int32)
  if len(set(names)) < len(names):
    first = {}
    keys = [(name, number) for name, start, end in zip(names, draws.starts, draws.starts[1:])
            for number in draws.numbers[start:end].tolist()]
    identifiers = np.array([first.setdefault(key, len(first) + 1) for key in keys], np.int32)
  return identifiers


def _split(split: str, tasks: list[_Task], places: np.ndarray, identifiers: np.ndarray, draws: _Draws,
           moves: np.ndarray | None, side: int) -> Puzzles:
  """Makes a split of tasks; `places` are their positions among the tasks of the draws."""
  pairs = [pair for task in tasks for pair in task.of_split(split)]
  sizes = np.array([len(task.of_split(split)) for task in tasks])
  numbers = np.diff(draws.starts)[places]
  starts = _starts(numbers)
  rows = np.repeat(draws.starts[places] - starts[:-1], numbers) + np.arange(starts[-1])
  versions = Versions(starts, identifiers[rows], draws.numbers[rows],
                      np.zeros((numbers * sizes).sum(), np.int16) if moves is None else moves)
  return of_pairs(pairs, side, sizes=sizes, versions=versions, num_puzzle_identifiers=int(identifiers.max()) + 1)


def of_pairs(pairs: Sequence[Pair], side: int, **others: Any) -> Puzzles:
  """Makes Puzzles of pairs on canvases of this side; `others` are arguments of `puzzles_of`."""
  return puzzles_of(
      inputs=np.stack([grids.canvas(pair.input, side=side) for pair in pairs]),
      outputs=np.stack([grids.canvas(pair.output, side=side) * np.uint8(pair.known) for pair in pairs]), **others)


def puzzles_of(*, inputs: np.ndarray, outputs: np.ndarray, sizes: np.ndarray, versions: Versions,
               num_puzzle_identifiers: int) -> Puzzles:
  """Makes Puzzles of originals and their versions.

  Args:
    inputs: (N, S) uint8 canvases.
    outputs: (N, S) uint8 canvases; empty if the output is not known.
    sizes: (G,) number of examples of each task.
    versions: of the tasks.
    num_puzzle_identifiers: number of rows of the prefix table.
  """
  originals = versions.identifiers[versions.starts[:-1]]
  return Puzzles(
      inputs=inputs, labels=np.where(outputs > 0, outputs.astype(np.int8), np.int8(IGNORE_LABEL)),
      puzzle_identifiers=np.repeat(originals, sizes), group_starts=np.arange(len(sizes) + 1, dtype=np.int32),
      puzzle_starts=_starts(sizes), vocab_size=grids.VOCAB_SIZE, num_puzzle_identifiers=num_puzzle_identifiers,
      versions=versions)
