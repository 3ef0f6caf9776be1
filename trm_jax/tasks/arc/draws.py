# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Repeats the random draws of the reference's builder (dataset/build_arc_dataset.py), in its order, number by number.

They decide which versions of a task exist, and so which row of the prefix table belongs to which version: a trained
table is worthless under other draws. NumPy's legacy generator (RandomState) never changes its numbers. Here it draws
for thousands of trials at once: one `randint` of an array of bounds takes as many numbers from the stream as that many
single calls, and `permutation` of nine things takes as many as eight of these.

The leading axis of most arrays is that of the trials.
"""

from collections.abc import Iterator, Sequence
import itertools

import numpy as np

from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc.grids import SIDE

# Number of trials for each wanted version; if they do not suffice, the task has fewer.
_TRIALS = 5
# Bounds of a trial's draws: the transform, then the swaps that shuffle the nine colours, from the last one on.
_BOUNDS = np.array([8, 9, 8, 7, 6, 5, 4, 3, 2])
# Numbers of 32 bits that are taken from the generator at once.
_BLOCK = 1 << 16


def shuffled(rng: np.random.RandomState, items: Sequence) -> list:
  """The items in the order of numpy.random.shuffle."""
  items = list(items)
  rng.shuffle(items)
  return items


def versions(rng: np.random.RandomState, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_aug: int) -> np.ndarray:
  """Finds the versions of a task: the original, and up to num_aug others, in the order of their discovery.

  A trial finds at most one new version, so it is safe to make as many trials at once as versions are missing.

  Args:
    rng: must draw nothing else meanwhile.
    pairs: of (R, C) uint8 colours.
    num_aug: number of versions wanted.

  Returns:
    (versions,) int32, see grids.
  """
  hashes = _Hashes(pairs)
  found, seen = [np.array([grids.ORIGINAL], np.int32)], hashes(np.zeros(1, int), np.arange(1, 10)[None])
  missing, trials_left = num_aug, _TRIALS * num_aug
  while missing and trials_left:
    number = min(missing, trials_left)
    trials_left -= number
    transforms, nine = _trials(rng, number)
    made = hashes(transforms, nine)
    _, first = np.unique(made, return_index=True)
    first.sort()
    new = first[~np.isin(made[first], seen)]
    seen = np.concatenate([seen, made[new]])
    found.append((transforms[new] * 10**8 + nine[new, :8] @ 10 ** np.arange(7, -1, -1)).astype(np.int32))
    missing -= len(new)
  return np.concatenate(found)


def _trials(rng: np.random.RandomState, number: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws (trials,) transforms, and (trials, 9) new colours of the colours 1 … 9."""
  drawn = rng.randint(0, np.tile(_BOUNDS, (number, 1)))
  nine, trial = np.tile(np.arange(1, 10), (number, 1)), np.arange(number)
  for last, other in zip(range(8, 0, -1), drawn[:, 1:].T):
    nine[trial, last], nine[trial, other] = nine[trial, other], nine[trial, last]
  return drawn[:, 0], nine


class _Hashes:
  """Hashes the multiset of a task's pairs in any version to 64 bits, without making a grid; equal multisets are equal.

  A grid's hash is the sum, over its cells, of a random number of the place times a random number of the colour. So the
  sum over places is computed once for each transform and colour, and a permutation of colours costs ten products. The
  probability that two different ones of a task's 5,000 trials have the same hash is 10^-11.

  Args:
    pairs: see `versions`.
  """

  _PLACES, _COLOURS, _SIZES = np.split(
      np.random.default_rng(0).integers(0, 2**64, SIDE**2 + 10 + (SIDE + 1) ** 2, np.uint64), [SIDE**2, SIDE**2 + 10])

  def __init__(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]):
    flat = [grid for pair in pairs for grid in pair]
    turned = [grids.turned(grid, transform) for transform in range(8) for grid in flat]
    where, places = [], []
    for number, grid in enumerate(turned):
      where.append(number * 10 + grid.reshape(-1).astype(np.int64))
      places.append((np.arange(grid.shape[0])[:, None] * SIDE + np.arange(grid.shape[1])).reshape(-1))
    sums = np.zeros(len(turned) * 10, np.uint64)
    np.add.at(sums, np.concatenate(where), self._PLACES[np.concatenate(places)])
    sizes = self._SIZES[[grid.shape[0] * (SIDE + 1) + grid.shape[1] for grid in turned]]
    self._sums, self._sizes = sums.reshape(8, len(flat), 10), sizes.reshape(8, len(flat))

  def __call__(self, transforms: np.ndarray, nine: np.ndarray) -> np.ndarray:
    """The hashes, (trials,) uint64, for (trials,) transforms and (trials, 9) new colours of 1 … 9."""
    colours = self._COLOURS[np.concatenate([np.zeros((len(nine), 1), int), nine], axis=1)]
    result = np.zeros(len(nine), np.uint64)
    for transform in range(8):
      these = transforms == transform
      of_grids = colours[these] @ self._sums[transform].T + self._sizes[transform]
      of_pairs = _mix(of_grids[:, ::2] + _mix(of_grids[:, 1::2]))
      result[these] = of_pairs.sum(1, dtype=np.uint64)
    return result


def _mix(x: np.ndarray) -> np.ndarray:
  """A bijection of uint64 in which each bit of the result depends on all bits: the last lines of SplitMix64."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


class Moves:
  """Draws the positions of training grids on their canvases. One random pair of each version is not moved.

  Args:
    rng: must draw nothing else from here on.
    side: of the canvases.
  """

  def __init__(self, rng: np.random.RandomState, side: int):
    self._side = side

    def words() -> Iterator[list[int]]:
      while True:
        yield rng.randint(0, 2**32, _BLOCK, np.uint32).tolist()

    self._next = itertools.chain.from_iterable(words()).__next__

  def of(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], versions: np.ndarray) -> np.ndarray:
    """Makes the next draws, for all versions of a task.

    Args:
      pairs: their number in the original.
      versions: of the task, in the order in which they were made.

    Returns:
      (versions * pairs,) int16: side * row + column at which the grids of a pair begin, version by version.
    """
    room = [tuple(self._side - max(a, b) for a, b in zip(input_.shape, output.shape)) for input_, output in pairs]
    bounds = [[(rows, _mask(rows), columns, _mask(columns)) for rows, columns in turned]
              for turned in (room, [sizes[::-1] for sizes in room])]
    last, mask, following = len(pairs) - 1, _mask(len(pairs) - 1), self._next
    moves = []
    # This is the inner loop of the whole build. A draw of the legacy generator takes the low bits of the next 32-bit
    # number whose low bits do not exceed the bound; if the bound is 0, nothing is drawn.
    for swaps in grids.SWAPS[versions // 10**8].tolist():
      fixed = 0
      if mask:
        fixed = following() & mask
        while fixed > last:
          fixed = following() & mask
      for pair, (rows, row_mask, columns, column_mask) in enumerate(bounds[swaps]):
        row = column = 0
        if pair != fixed:
          if row_mask:
            row = following() & row_mask
            while row > rows:
              row = following() & row_mask
          if column_mask:
            column = following() & column_mask
            while column > columns:
              column = following() & column_mask
        moves.append(row * self._side + column)
    return np.array(moves, np.int16)


def _mask(bound: int) -> int:
  """The low bits that a number up to this bound needs."""
  return (1 << bound.bit_length()) - 1
