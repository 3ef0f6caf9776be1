# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC's grids, their canvases, and the versions of a task: one of eight transforms and a permutation of the colours.

A canvas has 30 x 30 cells, or config.data.side squared, row by row: 0 is padding, 1 end marks, 2 … 11 the colours
0 … 9. A grid is at its top left, or moved down and to the right; a row and a column of end marks follow it where they
fit.

A version is a number, TRANSFORM * 10^8 + the eight digits that the colours 1 … 8 become; colour 9 becomes the remaining
one, and 0, which is black, stays. The transforms are the reference's: 0 identity, 1 to 3 rotation by 90, 180, 270
degrees counter-clockwise, 4 left-right flip, 5 up-down flip, 6 transposition, 7 left-right flip of the rotation by 90
degrees. Colours are mapped first, but the order makes no difference.
"""

import functools
import math
import re
from typing import Any

import numpy as np

Array = Any  # of NumPy or JAX

SIDE = 30  # of the canvases of ARC, and the largest possible
END, FIRST_COLOUR = 1, 2
VOCAB_SIZE = FIRST_COLOUR + 10

ORIGINAL = 12345678
# The cell from which each transform takes cell (r, c) of its result, in a grid of R rows and C columns: (c, r) if it
# swaps rows and columns, otherwise (r, c); then the row is counted from below, or the column from the right, if set.
SWAPS = np.array([0, 1, 0, 1, 0, 0, 1, 1], bool)
FROM_BELOW = np.array([0, 0, 1, 1, 0, 1, 0, 1], bool)
FROM_RIGHT = np.array([0, 1, 1, 0, 1, 0, 0, 1], bool)

_INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)


def turned(grid: np.ndarray, transform: int) -> np.ndarray:
  """Applies one of the eight transforms to (R, C) cells."""
  grid = grid[:: -1 if FROM_BELOW[transform] else 1, :: -1 if FROM_RIGHT[transform] else 1]
  return grid.T if SWAPS[transform] else grid


@functools.lru_cache(maxsize=16)  # the pairs of a version come one after another
def colours(version: int) -> np.ndarray:
  """The new colour of each colour, (10,) uint8."""
  eight = [int(digit) for digit in f"{version % 10**8:08d}"]
  return np.array([0, *eight, 45 - sum(eight)], np.uint8)


def apply(grid: np.ndarray, version: int) -> np.ndarray:
  """Makes a version of a grid of colours, (R, C) uint8."""
  return turned(colours(version)[grid], version // 10**8)


def undo(grid: np.ndarray, version: int) -> np.ndarray:
  """Recovers the original grid: undo(apply(grid, version), version) == grid."""
  return turned(np.argsort(colours(version)).astype(np.uint8)[grid], _INVERSE[version // 10**8])


def names(task: str, versions: np.ndarray) -> list[str]:
  """The reference's names of versions, (W,) int32, of a task."""
  eight = versions % 10**8
  nine = 45 - (eight[:, None] // 10 ** np.arange(8) % 10).sum(1)
  return [task if (transform, eight, nine) == (0, ORIGINAL, 9) else f"{task}|||t{transform}|||0{eight:08d}{nine}"
          for transform, eight, nine in zip((versions // 10**8).tolist(), eight.tolist(), nine.tolist())]


_NAME = re.compile(r"(.+)\|\|\|t([0-7])\|\|\|0([1-9]{9})", re.DOTALL)


def parse(name: str) -> tuple[str, int] | None:
  """Task and version of a name made by `names`; None if there is no such version."""
  if "|||" not in name:
    return name, ORIGINAL
  match = _NAME.fullmatch(name)
  return (match[1], int(match[2]) * 10**8 + int(match[3][:8])) if match and len(set(match[3])) == 9 else None


def canvas(grid: np.ndarray, row: int = 0, column: int = 0, *, side: int = SIDE) -> np.ndarray:
  """Puts a grid of colours, (R, C), on a canvas, with its first cell at `row`, `column`: (side^2,) uint8 tokens."""
  made = np.zeros((side, side), np.uint8)
  bottom, right = row + grid.shape[0], column + grid.shape[1]
  made[row:bottom, column:right] = grid + FIRST_COLOUR
  made[bottom : bottom + 1, column:right] = END
  made[row:bottom, right : right + 1] = END
  return made.reshape(-1)


def remade(canvases: Array, versions: Array, moves: Array, padding: int) -> Array:
  """Makes other versions of canvases and moves them: canvas(apply(grid, version), row, column) for each.

  Args:
    canvases: (…, S) integer tokens, with grids at the top left; a canvas without one stays empty. An array of NumPy, or
      of JAX and then maybe under jit.
    versions: (…) int32; like moves, of the same library.
    moves: (…) int32, side * row + column.
    padding: the value of cells outside of grid and end marks.

  Returns:
    (…, S) int32.
  """
  xp, side = versions.__array_namespace__(), math.isqrt(canvases.shape[-1])

  def of_cells(values):  # (…) -> (…, 1, 1)
    return values[..., None, None]

  cells = canvases.astype(xp.int32)
  is_colour = cells.reshape(*versions.shape, side, side) >= FIRST_COLOUR
  rows, columns = is_colour[..., :, 0].sum(-1), is_colour[..., 0, :].sum(-1)
  transform = versions // 10**8
  swaps, below, right = (xp.asarray(table)[transform] for table in (SWAPS, FROM_BELOW, FROM_RIGHT))
  bottom, end = of_cells(xp.where(swaps, columns, rows)), of_cells(xp.where(swaps, rows, columns))
  # The place of each cell of the canvas in the new grid, and the cell of the old grid that it comes from.
  place = xp.arange(side, dtype=xp.int32)
  row, column = place[:, None] - of_cells(moves // side), place[None, :] - of_cells(moves % side)
  from_row = xp.where(of_cells(swaps), column, row)
  from_column = xp.where(of_cells(swaps), row, column)
  from_row = xp.where(of_cells(below), of_cells(rows) - 1 - from_row, from_row)
  from_column = xp.where(of_cells(right), of_cells(columns) - 1 - from_column, from_column)
  in_rows, in_columns = (row >= 0) & (row < bottom), (column >= 0) & (column < end)
  whence = xp.clip(from_row * side + from_column, 0, side**2 - 1)
  old = xp.take_along_axis(cells, whence.reshape(*versions.shape, side**2), -1)

  eight = versions[..., None] // 10 ** xp.arange(7, -1, -1, dtype=xp.int32) % 10
  unchanged = xp.zeros_like(eight[..., :3]) + xp.arange(3, dtype=xp.int32)  # padding, end, black
  values = xp.concatenate([unchanged, eight + FIRST_COLOUR, 45 - eight.sum(-1)[..., None] + FIRST_COLOUR], axis=-1)
  new = xp.take_along_axis(values, xp.clip(old, 0, VOCAB_SIZE - 1), -1).reshape(*versions.shape, side, side)
  is_end = ((row == bottom) & in_columns) | ((column == end) & in_rows)
  made = xp.where(in_rows & in_columns, new, xp.where(is_end, END, padding))
  return made.reshape(*versions.shape, side**2).astype(xp.int32)


def crop(tokens: np.ndarray) -> np.ndarray:
  """The largest rectangle at the top left of a canvas that holds colours only, as the reference finds it.

  Args:
    tokens: (S,), of an answer, in which any token may be anywhere.

  Returns:
    (R, C) uint8 colours; of equally large rectangles, the one with the fewest rows; (0, 0) if there is none.
  """
  side = math.isqrt(np.size(tokens))
  cells = np.asarray(tokens).reshape(side, side)
  # Number of columns, from the left, that have only colours in each row and all rows above it.
  columns = np.minimum.accumulate(np.logical_and.accumulate(cells >= FIRST_COLOUR, axis=1).sum(1))
  areas = columns * np.arange(1, side + 1)
  rows = int(np.argmax(areas))
  size = (rows + 1, columns[rows]) if areas[rows] else (0, 0)
  return (cells[: size[0], : size[1]] - FIRST_COLOUR).astype(np.uint8)


def put_back(cells: np.ndarray, version: int, answer: np.ndarray) -> np.ndarray:
  """Maps cells of an answer to a version back to the original. What lies outside of the answer's grid is lost.

  Args:
    cells: (S,), the answer itself, or floats, which move with its grid and are 0 elsewhere.
    version: that was answered.
    answer: (S,) tokens, in which any token may be anywhere.
  """
  grid, side = crop(answer), math.isqrt(np.size(answer))
  if cells.dtype.kind != "f":
    return canvas(undo(grid, version), side=side)
  moved = turned(cells.reshape(side, side)[: grid.shape[0], : grid.shape[1]], _INVERSE[version // 10**8])
  made = np.zeros((side, side), cells.dtype)
  made[: moved.shape[0], : moved.shape[1]] = moved
  return made.reshape(-1)
