# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads ARC's tasks from the published files: …_{subset}_challenges.json and …_{subset}_solutions.json."""

import dataclasses
from typing import Any

from etils import epath
import numpy as np

from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.tasks.arc import grids

# The reference's stand-in for an unknown solution of a test input.
_UNKNOWN = [[0]]


@dataclasses.dataclass(frozen=True)
class Pair:
  """An input and its output, (R, C) uint8 colours each.

  Attributes:
    input, output: the grids.
    is_test: whether it is a test pair.
    known: whether the output is a solution rather than a stand-in for an unpublished one.
  """

  input: np.ndarray
  output: np.ndarray
  is_test: bool
  known: bool = True


def read(folder: epath.Path, subset: str, names: list[str]) -> dict[str, list[Pair]]:
  """Reads the tasks of a subset and their pairs, all in the order of the file.

  Args:
    folder: holds the files.
    subset: such as "training".
    names: of the files in the folder.

  Raises:
    UserError: the challenges are missing or in several files, or a file, task or grid breaks a rule; the message names
      file, task and rule.
  """
  challenges = _file(folder, subset, "challenges", names)
  if challenges is None:
    raise UserError(f"{folder}: has no …_{subset}_challenges.json, which config.data.subsets asks for; name subsets "
                    "whose files are there, or put it there")
  solutions = _file(folder, subset, "solutions", names)
  tasks = files.read_json(challenges)
  if not tasks:
    raise UserError(f"{challenges}: has no tasks")
  solved = {} if solutions is None else files.read_json(solutions)
  if solutions is not None:
    for before, missing, after in (("no solutions", tasks.keys() - solved.keys(), ""),
                                   ("solutions", solved.keys() - tasks.keys(), f", which {challenges.name} has not")):
      if missing:
        raise UserError(f"{solutions}: has {before} of task {min(missing)}{after}; use the two files of one release")
  for task, outputs in solved.items():
    if not isinstance(outputs, list):
      raise UserError(f"{solutions}, task {task}: must be a list of grids")
  return {task: _pairs(f"{challenges}, task {task}", kinds, f"{solutions}, task {task}", solved.get(task), grids.SIDE)
          for task, kinds in tasks.items()}


def read_file(path: epath.PathLike, side: int) -> dict[str, list[Pair]]:
  """Reads the tasks of one file, which has one task, named after the file, or several by their names.

  Args:
    path: of the file.
    side: of the canvas that each grid must fit on.

  Raises:
    UserError: see `read`.
  """
  value = files.read_json(path)
  is_one = any(isinstance(value.get(kind), list) for kind in ("train", "test"))
  tasks = {epath.Path(path).stem: value} if is_one else value
  if not tasks:
    raise UserError(f"{path}: has no tasks")
  return of_json(tasks, str(path), side)


def of_json(tasks: dict[str, Any], where: str, side: int) -> dict[str, list[Pair]]:
  """The pairs of tasks, given as in a file, by the tasks' names. `where` says for messages where the tasks come from;
  for `side` see `read_file`, for errors `read`."""
  return {task: _pairs(f"{where}, task {task}", kinds, "", None, side) for task, kinds in tasks.items()}


def _file(folder: epath.Path, subset: str, kind: str, names: list[str]) -> epath.Path | None:
  found = [name for name in names if name.endswith(f"_{subset}_{kind}.json")]
  if len(found) > 1:
    raise UserError(f"{folder}: {' and '.join(sorted(found))} are both {kind} of the subset {subset}; keep one of them")
  return folder / found[0] if found else None


def _pairs(where: str, kinds: Any, where_solved: str, solutions: list[Any] | None, side: int) -> list[Pair]:
  """The pairs of a task. `solutions` are the outputs of its test inputs; None if there is no file of them."""
  if not isinstance(kinds, dict) or kinds.keys() != {"train", "test"}:
    raise UserError(f"{where}: must have 'train' and 'test' and nothing else, as a task of ARC has")
  for kind, examples in kinds.items():
    if not isinstance(examples, list) or not examples:
      raise UserError(f"{where}: '{kind}' must be a list of at least one pair")
  if solutions is not None and len(solutions) != len(kinds["test"]):
    raise UserError(f"{where_solved}: has {len(solutions)} solutions of {len(kinds['test'])} test inputs; use the two "
                    "files of one release")
  pairs = []
  for kind, examples in kinds.items():
    for i, example in enumerate(examples):
      place = f"{where}, {kind} pair {i + 1}"
      fields = example.keys() if isinstance(example, dict) else set()
      if missing := [name for name in ("input", "output")[: 1 if kind == "test" else 2] if name not in fields]:
        raise UserError(f"{place}: has no {missing[0]!r}")
      output, known = example.get("output", _UNKNOWN), "output" in fields
      place_of_output = f"{place}, output"
      if kind == "test" and solutions is not None:
        output, known, place_of_output = solutions[i], True, f"{where_solved}, solution {i + 1}"
      pairs.append(Pair(_grid(example["input"], f"{place}, input", side), _grid(output, place_of_output, side),
                        kind == "test", known))
  return pairs


def _grid(rows: Any, where: str, side: int) -> np.ndarray:
  """A grid, (R, C) uint8. Raises UserError unless it has 1 to `side` rows of equally many colours."""
  if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
    raise UserError(f"{where}: is not a grid; must be a list of rows, each a list of colours")
  sizes = sorted({len(row) for row in rows})
  if len(sizes) > 1:
    raise UserError(f"{where}: is ragged, with rows of {' and '.join(map(str, sizes))} cells; all must be equally long")
  if not 1 <= len(rows) <= side or not 1 <= sizes[0] <= side:
    raise UserError(f"{where}: has {len(rows)} rows of {sum(sizes)} cells; must have 1 to {side} of 1 to {side}")
  try:
    grid = np.array([list(bytes(row)) for row in rows], np.uint8)  # bytes() takes integers from 0 to 255 only
  except (TypeError, ValueError):
    grid = np.array([[255]])
  if grid.max() > 9 or any(bool in map(type, row) for row in rows):  # bytes() takes True for 1
    foreign = next(cell for row in rows for cell in row if type(cell) is not int or not 0 <= cell <= 9)
    raise UserError(f"{where}: has the colour {foreign!r}; colours are the integers 0 to 9")
  return grid
