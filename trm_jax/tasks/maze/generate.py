# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Generates mazes of any size with exactly one shortest path.

A passage is dug from a random cell, on and on to a neighbour that touches no other part of it, with backtracking where
there is none: a maze without loops, whose passages need no grid of odd size. Then some walls between two passages are
opened, so that there are ways of different lengths. Start and goal are two cells whose shortest path is long enough and
unique.

Axes: R rows, C columns, S = R C cells.
"""

from collections.abc import Callable
import itertools

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError
from trm_jax.tasks.maze import rules

SPLITS = ("train", "validation", "test")

# Number of mazes in a row without a path of that length, or equal to earlier ones, after which the search is given up.
_TRIES = 1_000


def generate_splits(
    *,
    rows: int,
    columns: int,
    num_train: int,
    num_validation: int,
    num_test: int,
    min_path: int,
    loops: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, puzzles_lib.Puzzles]:
  """Generates mazes in three splits. No two mazes, in one split or several, are equal, even if turned or reflected.

  The same arguments give the same mazes (with the same NumPy random streams). Unless two happen to be equal, the size
  of one split does not change the mazes of another.

  Args:
    rows, columns: R, C.
    num_train, num_validation, num_test: numbers of mazes, 0 or more.
    min_path: the least number of moves of the shortest path.
    loops: share of the walls between two passages that are opened, from 0, a maze without loops, to 1.
    seed: 0 or more.
    progress: called now and then with (mazes done, mazes in all).

  Returns:
    "train", "validation" and "test": Puzzles with S = R C, no ratings.

  Raises:
    UserError: there are no such mazes, or hardly any, or fewer than are asked for.
  """
  sizes = dict(zip(SPLITS, (num_train, num_validation, num_test)))
  total, done, taken, result = sum(sizes.values()), 0, set(), {}
  for stream, (split, size) in enumerate(sizes.items()):
    rng = np.random.default_rng([seed, stream])
    inputs, labels = np.empty((size, rows * columns), np.uint8), np.empty((size, rows * columns), np.int8)
    made = tries = 0
    while made < size:
      if tries == _TRIES:
        raise UserError(f"none of {_TRIES:,} successive mazes of {rows} x {columns} cells was new and had a single "
                        f"shortest path of at least {min_path} moves, after {done} of {total}; lower "
                        "config.data.min_path or the number of mazes, or enlarge config.data.rows and columns")
      tries += 1
      found = _maze(rng, rows, columns, min_path, loops)
      if found is None or (look := _look(found[0].reshape(rows, columns))) in taken:
        continue
      taken.add(look)
      inputs[made], labels[made] = found
      tries, made, done = 0, made + 1, done + 1
      if progress and (done % 100 == 0 or done == total):
        progress(done, total)
    result[split] = puzzles_lib.one_group_each(inputs, labels, vocab_size=rules.VOCAB_SIZE)
  return result


def _look(maze: np.ndarray) -> bytes:
  """A key that a maze, (R, C), shares with its turned and reflected versions and with no other maze."""
  turned = [np.rot90(maze, turns) for turns in range(4)]
  return min(f"{image.shape}".encode() + image.tobytes() for image in (*turned, *(image.T for image in turned)))


def _maze(rng: np.random.Generator, rows: int, columns: int, min_path: int, loops: float
          ) -> tuple[np.ndarray, np.ndarray] | None:
  """Makes a maze and its answer, (S,) tokens each; returns None if the dug maze has no such path."""
  # Cells are numbered through a board with an edge all round, which is never dug into: no step leads out of the board.
  board = np.arange((rows + 2) * (columns + 2)).reshape(rows + 2, columns + 2)
  cells = board[1:-1, 1:-1].reshape(-1)
  steps = (-(columns + 2), columns + 2, -1, 1)
  passage = _dig(rng, cells, board.size, steps)
  _open_walls(rng, cells, passage, steps, loops)
  free = np.flatnonzero(passage)
  start = int(free[rng.integers(len(free))])
  moves, goals = _ways(passage, steps, start, min_path)
  if not goals:  # from an end of the maze, perhaps
    start = int(np.argmax(moves))
    moves, goals = _ways(passage, steps, start, min_path)
  if not goals:
    return None
  at = goals[rng.integers(len(goals))]
  maze = np.where(passage, rules.FREE, rules.WALL)
  maze[[start, at]] = rules.START, rules.GOAL
  answer = maze.copy()
  while moves[at] > 1:
    at = next(at + step for step in steps if moves[at + step] == moves[at] - 1)
    answer[at] = rules.PATH
  return maze[cells], answer[cells]


def _dig(rng: np.random.Generator, cells: np.ndarray, number: int, steps: tuple[int, ...]) -> list[bool]:
  """Digs the passages of a maze without loops.

  Args:
    rng: of this split.
    cells: (S,) cells that may become passages, of a board of `number` cells.
    number: see `cells`.
    steps: numbers to add to a cell to go up, down, left, right.

  Returns:
    Whether each of the board's cells is a passage.
  """
  orders = list(itertools.permutations(steps))
  order = rng.integers(len(orders), size=number).tolist()
  up, down, left, right = steps
  passage, inside = [False] * number, [False] * number
  for cell in cells.tolist():
    inside[cell] = True
  trail = [int(rng.choice(cells))]
  passage[trail[0]] = True
  while trail:
    for step in orders[order[trail[-1]]]:
      ahead = trail[-1] + step
      if inside[ahead] and not passage[ahead] and (
          passage[ahead + up] + passage[ahead + down] + passage[ahead + left] + passage[ahead + right] == 1):
        passage[ahead] = True
        trail.append(ahead)
        break
    else:
      trail.pop()
  return passage


def _open_walls(rng: np.random.Generator, cells: np.ndarray, passage: list[bool], steps: tuple[int, ...], loops: float
                ) -> None:
  """Opens some of the walls that have a passage on two opposite sides and none on the others."""
  up, down, left, right = steps

  def parts(cell):
    sides = passage[cell + up], passage[cell + down], passage[cell + left], passage[cell + right]
    return not passage[cell] and sides in ((True, True, False, False), (False, False, True, True))

  walls = [cell for cell in cells.tolist() if parts(cell)]
  for i in rng.permutation(len(walls))[: round(loops * len(walls))]:
    if parts(walls[i]):  # still, after what was opened before
      passage[walls[i]] = True


def _ways(passage: list[bool], steps: tuple[int, ...], start: int, min_path: int) -> tuple[list[int], list[int]]:
  """Computes distances from a start, and the possible goals.

  Returns:
    The moves from the start to each cell, -1 if there is no way; the cells that have a single shortest path from the
    start and are at least `min_path` moves away.
  """
  moves, several = [-1] * len(passage), [False] * len(passage)
  moves[start] = 0
  front, goals = [start], []
  for distance in itertools.count(1):
    reached = []
    for cell in front:
      for step in steps:
        ahead = cell + step
        if passage[ahead] and moves[ahead] < 0:
          moves[ahead] = distance
          several[ahead] = several[cell]
          reached.append(ahead)
        elif moves[ahead] == distance:
          several[ahead] = True
    if not reached:
      return moves, goals
    if distance >= min_path:
      goals += [cell for cell in reached if not several[cell]]
    front = reached
