# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Generates Sudoku puzzles with exactly one solution, 4x4 and 9x9, with a solver that makes sure of that.

The splits share no solution grid. Only for 9x9 does that survive augmentation: two random 9x9 grids are practically
never images of each other under digit permutation, transposition and shuffled bands, rows, stacks and columns. Of the
288 4x4 grids, however, only 2 differ up to these symmetries, so training on 4x4 puzzles must NOT be augmented if the
held-out grids are to stay unseen.
"""

from collections.abc import Callable, Iterator
import functools
import itertools

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.rules import BLANK

SPLITS = ("train", "validation", "test")

# 4x4: no puzzle with fewer clues has a single solution. 9x9: the fewest clues that random removal without backtracking
# reaches in a fair share of grids (17 is the mathematical limit, but needs a search of its own).
_MIN_CLUES = {2: 4, 3: 24}
# Shares of the 288 4x4 grids.
_SMALL_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def count_solutions(puzzle_tokens: np.ndarray, *, box: int, limit: int = 2, max_fills: int | None = None) -> int | None:
  """Counts the grids that solve a puzzle, up to a limit.

  Args:
    puzzle_tokens: (S,) integer tokens, 1 for a blank.
    box: side of a box.
    limit: number at which counting stops; 2 distinguishes "none", "one" and "more".
    max_fills: number of cells filled in, most of them in vain, after which to give up; None: never.

  Returns:
    min(limit, number of solutions); None if it was given up.
  """
  found = _solutions(_to_digits(puzzle_tokens), box, max_fills=max_fills)
  try:
    return sum(1 for _ in itertools.islice(found, limit))
  except _TooManyError:
    return None


def solve(puzzle_tokens: np.ndarray, *, box: int) -> np.ndarray | None:
  """A solution of a puzzle, the only one if it has just one.

  Args:
    puzzle_tokens: (S,) integer tokens, 1 for a blank.
    box: side of a box.

  Returns:
    (S,) uint8 tokens, or None if there is no solution.
  """
  digits = next(_solutions(_to_digits(puzzle_tokens), box), None)
  return None if digits is None else np.array(digits, np.uint8) + np.uint8(BLANK)


def generate_splits(
    *,
    box: int,
    num_train: int,
    num_validation: int,
    num_test: int,
    num_clues: int,
    max_clues: int = 0,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, puzzles_lib.Puzzles]:
  """Generates puzzles in three splits with disjoint solution grids; all puzzles of a split differ.

  The same arguments give the same puzzles (with the same numpy random streams), and the size of one split does not
  change the puzzles of another. 9x9: every puzzle has its own grid. Grids come from randomised backtracking: every
  grid can occur, not all equally often. 4x4: the 288 grids are dealt out 70/15/15 and a split's puzzles are drawn
  uniformly from all its puzzles with the same number of clues; see the module's docstring about augmentation.

  Args:
    box: 2 for 4x4, 3 for 9x9.
    num_train, num_validation, num_test: numbers of puzzles, 0 or more.
    num_clues: number of given cells of every puzzle; if max_clues is not 0, of the hardest.
    max_clues: number of given cells of the easiest; all numbers from num_clues on are equally likely. 0: num_clues.
    seed: 0 or more.
    progress: called now and then with (puzzles done, puzzles in all).

  Returns:
    'train', 'validation' and 'test': Puzzles with S = box**4, no ratings.

  Raises:
    UserError: for a value out of range, or more puzzles than there are.
  """
  if box not in _MIN_CLUES:
    raise UserError(f"box is {box}, must be 2 (4x4 puzzles) or 3 (9x9 puzzles)")
  cells = box**4
  if max_clues and not num_clues <= max_clues <= cells:
    raise UserError(f"max_clues is {max_clues}, must be from num_clues = {num_clues} to {cells}, or 0 for num_clues")
  if not _MIN_CLUES[box] <= num_clues <= cells:
    raise UserError(
        f"num_clues is {num_clues}, must be from {_MIN_CLUES[box]} to {cells} for {box * box}x{box * box} puzzles: with"
        " fewer clues the generator finds hardly any puzzle with exactly one solution"
    )
  sizes = dict(zip(SPLITS, (num_train, num_validation, num_test)))
  for split, size in sizes.items():
    if size < 0:
      raise UserError(f"num_{split} is {size}, must be 0 or more")
  if seed < 0:
    raise UserError(f"seed is {seed}, must be 0 or more")
  progress = progress or (lambda done, total: None)
  make = _small_split if box == 2 else _large_split
  result, taken, done = {}, set(), 0
  for i, (split, size) in enumerate(sizes.items()):
    report = functools.partial(_report, progress, done, sum(sizes.values()))
    rng = np.random.default_rng([seed, i])
    clues = rng.integers(num_clues, max_clues + 1, size) if max_clues > num_clues else np.full(size, num_clues)
    inputs, labels = make(split, clues, seed, rng, taken, report)
    done += size
    result[split] = puzzles_lib.one_group_each(
        inputs.astype(np.uint8), labels.astype(np.int8), vocab_size=rules.vocab_size(box)
    )
  return result


def _report(progress, before, total, done):
  progress(before + done, total)


def _to_digits(tokens: np.ndarray) -> list[int]:
  """(S,) tokens to a list with 0 for blanks."""
  assert np.min(tokens) >= BLANK, "padding has no place in a Sudoku"
  return [int(t) - BLANK for t in tokens]


@functools.cache
def _geometry(box: int) -> tuple[list[tuple[int, int, int]], list[list[int]]]:
  """For each cell its three units; for each unit its cells. Units: rows, then columns, then boxes."""
  n = box * box
  of_cell = [(c // n, n + c % n, 2 * n + c // n // box * box + c % n // box) for c in range(n * n)]
  of_unit = [[c for c in range(n * n) if u in of_cell[c]] for u in range(3 * n)]
  return of_cell, of_unit


class _TooManyError(Exception):
  """The allowed number of cells has been filled in."""


def _solutions(digits: list[int], box: int, order: list[list[int]] | None = None, max_fills: int | None = None
               ) -> Iterator[list[int]]:
  """Finds all solutions by backtracking on the most constrained cell, or on a digit with one place left in a unit.

  Args:
    digits: S digits, 0 for a blank. Not changed.
    box: side of a box.
    order: for each cell the order in which to try the n digit bits; rising if None.
    max_fills: see `count_solutions`.

  Yields:
    S digits.

  Raises:
    _TooManyError: a search needs more than max_fills.
  """
  n = box * box
  full = 2**n - 1
  of_cell, _ = _geometry(box)
  grid = list(digits)
  used = [0] * (3 * n)  # bit d - 1 of used[u]: digit d stands in unit u
  blanks = []
  for c, d in enumerate(grid):
    if d == 0:
      blanks.append(c)
      continue
    bit = 1 << (d - 1)
    for u in of_cell[c]:
      if used[u] & bit:
        return
      used[u] |= bit

  fills = itertools.count(1)

  def search():
    best, best_mask, best_count = None, 0, n + 1
    for i, c in enumerate(blanks):
      r, k, b = of_cell[c]
      mask = full & ~(used[r] | used[k] | used[b])
      count = mask.bit_count()
      if count < best_count:
        if count == 0:
          return
        best, best_mask, best_count = i, mask, count
        if count == 1:
          break
    if best is None:
      yield list(grid)
      return
    # If no cell is forced, a digit may still have only one place; looking for it keeps the hardest puzzles quick.
    choices = _single_place(grid, used, box) if best_count > 1 else None
    if choices is None:
      cell = blanks[best]
      bits = order[cell] if order else [1 << i for i in range(n)]
      choices = [(cell, bit) for bit in bits if best_mask & bit]
    for cell, bit in choices:
      if next(fills) == max_fills:
        raise _TooManyError
      r, k, b = of_cell[cell]
      blanks.remove(cell)
      used[r] |= bit
      used[k] |= bit
      used[b] |= bit
      grid[cell] = bit.bit_length()
      yield from search()
      grid[cell] = 0
      used[r] ^= bit
      used[k] ^= bit
      used[b] ^= bit
      blanks.append(cell)

  yield from search()


def _single_place(grid, used, box: int) -> list[tuple[int, int]] | None:
  """Finds a digit that has one place left in some unit.

  Args:
    grid: S digits, 0 for a blank.
    used: bits of the digits in each unit.
    box: side of a box.

  Returns:
    [(cell, digit bit)]; [] if some digit has no place in some unit, so that there is no solution; None if neither.
  """
  full = 2 ** (box * box) - 1
  of_cell, of_unit = _geometry(box)
  masks = [0] * len(grid)
  for c, d in enumerate(grid):
    if d == 0:
      r, k, b = of_cell[c]
      masks[c] = full & ~(used[r] | used[k] | used[b])
  found = None
  for u, cells in enumerate(of_unit):
    once = twice = 0
    for c in cells:
      twice |= once & masks[c]
      once |= masks[c]
    if once | used[u] != full:
      return []
    single = once & ~twice
    if single and found is None:
      bit = single & -single
      found = [(c, bit) for c in cells if masks[c] & bit]
  return found


def _small_split(split, clues, seed, rng, taken, report):
  """4x4: see generate_splits. Returns (puzzles, 16) inputs and labels, tokens, of the given numbers of clues."""
  del taken  # the deal below is disjoint by itself
  grids = _small_grids()
  deal = np.random.default_rng([seed, len(SPLITS)]).permutation(len(grids))
  bounds = np.round(np.cumsum([0.0, *_SMALL_SHARES.values()]) * len(grids)).astype(int)
  at = SPLITS.index(split)
  mine = np.sort(deal[bounds[at] : bounds[at + 1]])
  inputs, labels = np.empty((2, len(clues), 16), np.uint8)
  for num_clues in np.unique(clues):
    clue_sets = _clue_sets(num_clues)
    grid, clue_set = np.nonzero(_one_solution(num_clues)[mine])
    these = np.flatnonzero(clues == num_clues)
    if len(these) > len(grid):
      raise UserError(
          f"num_{split} is {len(clues)}, but the {len(mine)} solution grids of this split have only {len(grid)}"
          f" different 4x4 puzzles with {num_clues} clues; ask for fewer puzzles or another num_clues"
      )
    pick = rng.choice(len(grid), len(these), replace=False)
    labels[these] = grids[mine[grid[pick]]] + BLANK
    shown = clue_sets[clue_set[pick], None] >> np.arange(16) & 1
    inputs[these] = np.where(shown, labels[these], BLANK)
  report(len(clues))
  return inputs, labels


@functools.cache
def _small_grids() -> np.ndarray:
  """The digits of every 4x4 grid, (288, 16) int64."""
  return np.array(list(_solutions([0] * 16, 2)))


def _clue_sets(num_clues: int) -> np.ndarray:
  """Every choice of that many of 16 cells, as bits in int64."""
  sets = np.arange(2**16)
  return sets[np.bitwise_count(sets) == num_clues]


@functools.cache
def _one_solution(num_clues: int) -> np.ndarray:
  """Whether each choice of clues distinguishes each grid from all others, (288, choices) bool."""
  grids, sets = _small_grids(), _clue_sets(num_clues).astype(np.uint16)
  # Renaming the digits of a grid does not change which clues suffice: 12 cases instead of 288.
  rank = np.argsort(grids[:, :4], axis=1) + 1
  renamed = np.take_along_axis(rank, grids - 1, axis=1)
  _, first, case = np.unique(renamed, axis=0, return_index=True, return_inverse=True)
  unique = np.empty((len(first), len(sets)), bool)
  for i, g in enumerate(first):
    others = np.delete(grids, g, axis=0)
    differs = ((others != grids[g]) @ (1 << np.arange(16))).astype(np.uint16)
    unique[i] = (sets[:, None] & differs).all(1)
  return unique[case.reshape(-1)]


def _large_split(split, clues, seed, rng, taken, report):
  """9x9: see generate_splits. Returns (puzzles, 81) inputs and labels, tokens, of the given numbers of clues; adds its
  grids to `taken`."""
  del split, seed
  size = len(clues)
  inputs, labels = np.empty((size, 81), np.uint8), np.empty((size, 81), np.uint8)
  done = 0
  while done < size:
    grid = _random_grid(rng)
    puzzle = _dig(grid, clues[done], rng.permutation(81).tolist())
    if puzzle is None or bytes(grid) in taken:
      continue
    taken.add(bytes(grid))
    inputs[done], labels[done] = puzzle, grid
    done += 1
    if done % 100 == 0 or done == size:
      report(done)
  return inputs + BLANK, labels + BLANK


def _random_grid(rng: np.random.Generator) -> list[int]:
  """Makes a grid of 81 digits. The boxes of the diagonal do not constrain each other, so they are filled freely."""
  grid = np.zeros((9, 9), np.int64)
  for b in range(0, 9, 3):
    grid[b : b + 3, b : b + 3] = rng.permutation(9).reshape(3, 3) + 1
  order = (1 << rng.random((81, 9)).argsort(axis=1)).tolist()
  return next(_solutions(grid.reshape(-1).tolist(), 3, order))


def _dig(grid: list[int], num_clues: int, order: list[int]) -> list[int] | None:
  """Removes clues in the given order, except those without which there would be a second solution.

  Args:
    grid: 81 digits.
    num_clues: number of clues to leave.
    order: the 81 cells.

  Returns:
    81 digits, 0 for a blank; None if more clues are needed.
  """
  of_cell, of_unit = _geometry(3)
  peers = _peers()
  puzzle = list(grid)
  clues = 81
  for cell in order:
    if clues == num_clues:
      return puzzle
    digit = puzzle[cell]
    puzzle[cell] = 0
    # The cheap tests come first: if the clue follows at once from the others, there is still one solution.
    if len({puzzle[p] for p in peers[cell]} - {0}) == 8 or any(
        all(puzzle[c] or c == cell or any(puzzle[p] == digit for p in peers[c]) for c in of_unit[u])
        for u in of_cell[cell]
    ):
      clues -= 1
    elif sum(1 for _ in itertools.islice(_solutions(puzzle, 3), 2)) == 1:
      clues -= 1
    else:
      puzzle[cell] = digit
  return puzzle if clues == num_clues else None


@functools.cache
def _peers() -> list[list[int]]:
  """For each of 81 cells the 20 others that share a unit with it."""
  of_cell, of_unit = _geometry(3)
  return [sorted({p for u in of_cell[c] for p in of_unit[u]} - {c}) for c in range(81)]
