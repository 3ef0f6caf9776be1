# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads ARC's data sets as the reference's builder writes them: gigabytes of grids, of which only the originals are
kept, with the numbers that make each version from them."""

from collections.abc import Sequence
import dataclasses
import pathlib

import numpy as np

from trm_jax.data import reference_format
from trm_jax.data.puzzles import Puzzles, Versions
from trm_jax.data.reference_format import REBUILD
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.tasks.arc import builder
from trm_jax.tasks.arc import grids

# Number of rows that are compared at once; it limits scratch memory.
_ROWS = 1 << 11


def read(folders: Sequence[pathlib.Path]) -> builder.DataSet:
  """Reads both splits of one or several data sets. Every grid is made again and compared with the stored one.

  Groups of all folders follow one another, as in the reference. The rows of the prefix table belong to names: names
  keep the numbers of the first folder, and those that only later folders have are numbered on. The reference takes the
  numbers as they are, so if two folders have different names, it gives different puzzles one row. A task that several
  test sets have is tested once, in the versions of the first of these folders, with the test inputs of all.

  Args:
    folders: each holds train/, test/ and identifiers.json.

  Raises:
    UserError: a file is missing or malformed, or holds what the reference's builder does not write for ARC.
  """
  rows: dict[str, int] = {}
  parts = {"train": [], "test": []}
  for folder in folders:
    names, splits = _folder(folder)
    numbers = np.array([rows.setdefault(name, len(rows)) for name in names], np.int32)
    for split, puzzles in splits.items():
      parts[split].append(dataclasses.replace(puzzles, versions=dataclasses.replace(
          puzzles.versions, identifiers=numbers[puzzles.versions.identifiers])))
  splits = {"train": _joined(parts["train"], len(rows)), "test": _joined(_each_once(parts["test"]), len(rows))}
  names = list(rows)
  originals = np.concatenate([puzzles.puzzle_identifiers for puzzles in splits.values()])
  return builder.DataSet(splits, {int(i): names[i] for i in np.unique(originals)})


def _joined(parts: Sequence[Puzzles], num_puzzle_identifiers: int) -> Puzzles:
  """The groups of several splits, one after another."""
  versions = [part.versions for part in parts]
  return builder.puzzles_of(
      inputs=np.concatenate([part.inputs for part in parts]),
      outputs=np.concatenate([np.maximum(part.labels, 0).astype(np.uint8) for part in parts]),
      sizes=np.concatenate([part.examples_of_groups() for part in parts]),
      versions=Versions(np.concatenate([[0], np.cumsum(np.concatenate([part.num_versions for part in parts]))]).astype(
          np.int32), *(np.concatenate([getattr(some, name) for some in versions])
                       for name in ("identifiers", "numbers", "moves"))),
      num_puzzle_identifiers=num_puzzle_identifiers)


def _each_once(parts: Sequence[Puzzles]) -> list[Puzzles]:
  """Groups of one task each, in order, without repeated tasks: the first group of a task gets the test inputs that only
  its later groups have."""
  groups: dict[int, list[Puzzles]] = {}
  for part in parts:
    originals = part.versions.identifiers[part.versions.starts[:-1]].tolist()
    for group, original in enumerate(originals):
      groups.setdefault(original, []).append(part.take_groups(np.array([group])))
  return [same[0] if len(same) == 1 else _with_inputs_of(*same) for same in groups.values()]


def _with_inputs_of(first: Puzzles, *others: Puzzles) -> Puzzles:
  """A task with its test inputs, and after them those that only other groups of the task have."""
  inputs, labels = list(first.inputs), list(first.labels)
  for other in others:
    known = {cells.tobytes() for cells in inputs}
    new = [i for i, cells in enumerate(other.inputs) if cells.tobytes() not in known]
    inputs += list(other.inputs[new])
    labels += list(other.labels[new])
  moves = np.zeros(len(inputs) * len(first.versions.numbers), np.int16)  # test inputs stay at the top left
  return builder.puzzles_of(
      inputs=np.stack(inputs), outputs=np.maximum(np.stack(labels), 0).astype(np.uint8), sizes=np.array([len(inputs)]),
      versions=dataclasses.replace(first.versions, moves=moves), num_puzzle_identifiers=first.num_puzzle_identifiers)


def _folder(folder: pathlib.Path) -> tuple[list[str], dict[str, Puzzles]]:
  """The names of a folder's identifiers, and its splits."""
  path = folder / "identifiers.json"
  names = files.read_json(path, list)
  parsed = [grids.parse(name) if isinstance(name, str) else None for name in names]
  if None in parsed:
    at = parsed.index(None)
    raise UserError(f"{path}: name {at + 1} is {names[at]!r}, must be TASK or TASK|||tTRANSFORM|||COLOURS; {REBUILD}")
  if len(set(names)) < len(names):
    raise UserError(f"{path}: has a name twice, each must be another; {REBUILD}")
  return names, {split: _split(folder, split, parsed) for split in ("train", "test")}


def _split(folder: pathlib.Path, split: str, parsed: list[tuple[str, int]]) -> Puzzles:
  """Reads a split as Puzzles."""
  place = folder / split
  meta = reference_format.read_metadata(place / "dataset.json")
  if (meta["seq_len"], meta["vocab_size"]) != (grids.SIDE**2, grids.VOCAB_SIZE):
    raise UserError(f"{place / 'dataset.json'}: {meta['seq_len']} cells and {meta['vocab_size']} tokens, but ARC has "
                    f"{grids.SIDE**2} and {grids.VOCAB_SIZE}; name a data set of ARC")
  if meta["num_puzzle_identifiers"] != len(parsed):
    raise UserError(f"{folder / 'identifiers.json'}: has {len(parsed)} names, but num_puzzle_identifiers in "
                    f"{split}/dataset.json is {meta['num_puzzle_identifiers']}; {REBUILD}")
  inputs, outputs, sizes, numbers, identifiers, moves = [], [], [], [], [], []
  for name in meta["sets"]:
    with reference_format.open_set(place, name, meta) as opened:
      made_by = _versions(opened, parsed, place / f"{name}__puzzle_identifiers.npy")
      originals = _originals_and_moves(opened, made_by, place / name)
      sizes.append(np.diff(opened.puzzle_starts)[opened.group_starts[:-1]])
      numbers.append(np.diff(opened.group_starts))
      identifiers.append(opened.identifiers)
      for parts, part in zip((inputs, outputs, moves), originals):
        parts.append(part)
  numbers, identifiers = np.concatenate(numbers), np.concatenate(identifiers).astype(np.int32)
  versions = Versions(
      np.concatenate([[0], np.cumsum(numbers)]).astype(np.int32), identifiers,
      np.array([number for _, number in parsed], np.int32)[identifiers], np.concatenate(moves))
  return builder.puzzles_of(inputs=np.concatenate(inputs), outputs=np.concatenate(outputs), sizes=np.concatenate(sizes),
                            versions=versions, num_puzzle_identifiers=len(parsed))


def _versions(opened: reference_format.Set, parsed: list[tuple[str, int]], path: pathlib.Path) -> np.ndarray:
  """The version of each puzzle, (puzzles,) int32. Raises UserError unless each group is a task in several versions."""
  tasks, numbers = zip(*(parsed[i] for i in opened.identifiers.tolist()))
  sizes, numbers = np.diff(opened.puzzle_starts), np.array(numbers, np.int32)
  for group, (start, end) in enumerate(zip(opened.group_starts, opened.group_starts[1:])):
    if numbers[start] != grids.ORIGINAL or len(set(tasks[start:end])) > 1 or (sizes[start:end] != sizes[start]).any():
      raise UserError(f"{path}: group {group} must be a task as it is and then in other versions, each with as many "
                      f"pairs; {REBUILD}")
  return numbers


def _originals_and_moves(opened: reference_format.Set, numbers: np.ndarray, where: pathlib.Path
                         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Inputs and outputs, (originals, S) uint8, at the top left of canvases; and moves of all examples, (N,) int16."""
  sizes, versions = np.diff(opened.puzzle_starts), np.diff(opened.group_starts)
  of_groups = sizes[opened.group_starts[:-1]]
  # For each example: its puzzle, whether that is an original, and the original that it is made from.
  puzzle = np.repeat(np.arange(len(sizes)), sizes)
  is_first = np.repeat(np.isin(np.arange(len(sizes)), opened.group_starts), sizes)
  begins = np.cumsum(of_groups) - of_groups
  original = (np.repeat(np.repeat(begins, versions), sizes) + np.arange(opened.num_examples)
              - opened.puzzle_starts[puzzle])
  originals = [[None] * of_groups.sum() for _ in range(2)]  # grids of inputs and of outputs
  moves = np.zeros(opened.num_examples, np.int16)
  for start, stored in zip(range(0, opened.num_examples, _ROWS), opened.cells(_ROWS)):
    rows = slice(start, start + len(stored[0]))
    stored = stored[0], np.maximum(stored[1], 0).astype(np.uint8)
    moves[rows] = (stored[0] >= grids.FIRST_COLOUR).argmax(1)  # the first cell of the grid, counted from the corner
    for at in np.flatnonzero(is_first[rows]):
      for known, cells in zip(originals, stored):
        known[original[start + at]] = _grid(cells[at], int(moves[start + at]))
    for known, cells, field in zip(originals, stored, ("inputs", "labels")):
      # Row by row this takes half the time of grids.remade for all rows together.
      made = np.stack([grids.canvas(grids.apply(known[grid], number), *divmod(move, grids.SIDE)) for grid, number, move
                       in zip(original[rows].tolist(), numbers[puzzle[rows]].tolist(), moves[rows].tolist())])
      if (made != cells).any():
        at = int((made != cells).any(1).argmax())
        raise UserError(f"{where}__{field}.npy, row {start + at}: is not the version of the task that its name in "
                        f"identifiers.json stands for; {REBUILD}")
  return *(np.stack([grids.canvas(grid) for grid in known]) for known in originals), moves


def _grid(cells: np.ndarray, move: int) -> np.ndarray:
  """The grid on a canvas, moved back to the top left."""
  row, column = divmod(move, grids.SIDE)
  moved = np.zeros((grids.SIDE, grids.SIDE), np.uint8)
  moved[: grids.SIDE - row, : grids.SIDE - column] = cells.reshape(grids.SIDE, grids.SIDE)[row:, column:]
  return grids.crop(moved)
