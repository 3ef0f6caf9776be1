# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The Sudoku solver and the generator of puzzles with one solution."""

import itertools
import pathlib

import numpy as np
import pytest

from trm_jax.errors import UserError
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku import rules

REAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "sudoku"


def _splits(box=2, num_train=300, num_validation=50, num_test=60, num_clues=7, max_clues=0, seed=0, progress=None):
  return generate.generate_splits(
      box=box,
      num_train=num_train,
      num_validation=num_validation,
      num_test=num_test,
      num_clues=num_clues,
      max_clues=max_clues,
      seed=seed,
      progress=progress,
  )


@pytest.fixture(name="grids", scope="module")
def _grids():
  """(288, 16) tokens of all 4x4 grids, found by trying all rows."""
  rows = np.array(list(itertools.permutations(range(2, 6))))
  found = []
  for i, j in itertools.product(range(24), repeat=2):
    half = np.concatenate([np.broadcast_to(rows[[i, j]].reshape(8), (576, 8)), _pairs(rows)], axis=1)
    found.append(half[rules.valid_grids(half, box=2)])
  return np.concatenate(found)


def _pairs(rows):
  return np.concatenate([np.repeat(rows, 24, axis=0), np.tile(rows, (24, 1))], axis=1)


def test_counts_as_many_solutions_as_there_are(grids):
  assert len(grids) == 288
  assert generate.count_solutions(np.ones(16, int), box=2, limit=1000) == 288
  rng = np.random.default_rng(0)
  for _ in range(60):
    grid = grids[rng.integers(288)]
    puzzle = np.where(rng.random(16) < 0.35, grid, 1)
    expected = ((grids == puzzle) | (puzzle == 1)).all(1).sum()
    assert generate.count_solutions(puzzle, box=2, limit=1000) == expected
    assert generate.count_solutions(puzzle, box=2) == min(expected, 2)
    solution = generate.solve(puzzle, box=2)
    assert solution.dtype == np.uint8 and rules.valid_grids(solution[None], box=2)[0]
    assert ((solution == puzzle) | (puzzle == 1)).all()


@pytest.mark.parametrize("box, fewest, most", [(2, 5, 9), (3, 60, 64)])
def test_numbers_of_clues_are_mixed(box, fewest, most):
  made = _splits(box=box, num_train=100, num_validation=0, num_test=0, num_clues=fewest, max_clues=most)["train"]
  clues = (made.inputs != rules.BLANK).sum(1)
  numbers, times = np.unique(clues, return_counts=True)
  assert numbers.tolist() == list(range(fewest, most + 1)) and times.min() >= 8 and times.max() <= 36
  assert not (np.diff(clues) >= 0).all()  # in no order
  assert all(generate.count_solutions(p, box=box) == 1 for p in made.inputs)
  assert ((made.inputs == made.labels) | (made.inputs == rules.BLANK)).all()


def test_no_solution():
  twice = np.ones(16, int)
  twice[[0, 3]] = 2  # the same digit twice in a row
  assert generate.solve(twice, box=2) is None and generate.count_solutions(twice, box=2) == 0
  stuck = np.ones(16, int)
  stuck[[1, 2, 3, 4]] = [2, 3, 4, 5]  # nothing is left for the first cell, yet no rule is broken
  assert generate.solve(stuck, box=2) is None and generate.count_solutions(stuck, box=2) == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data/sudoku is not here")
def test_solves_the_hardest_real_puzzles():
  puzzles = csv_files.read_csv(REAL / "test.csv")
  hardest = np.argsort(-puzzles.ratings, kind="stable")[:5]
  for i in [*hardest, *np.flatnonzero((puzzles.inputs != 1).sum(1) == 17)[:5]]:
    np.testing.assert_array_equal(generate.solve(puzzles.inputs[i], box=3), puzzles.labels[i])
    assert generate.count_solutions(puzzles.inputs[i], box=3) == 1


@pytest.mark.parametrize(
    "box, sizes, num_clues",
    [(2, (300, 50, 60), 4), (2, (300, 50, 60), 7), (2, (50, 10, 10), 16), (3, (12, 4, 4), 45), (3, (2, 1, 1), 24)],
)
def test_puzzles_have_one_solution_and_splits_share_no_grid(box, sizes, num_clues):
  splits = _splits(box, *sizes, num_clues=num_clues)
  grids = []
  for (name, puzzles), expected, size in zip(splits.items(), generate.SPLITS, sizes):
    assert name == expected and len(puzzles) == puzzles.num_groups == size
    assert puzzles.seq_len == box**4 and puzzles.vocab_size == box * box + 2 and puzzles.ratings is None
    assert ((puzzles.inputs != 1).sum(1) == num_clues).all()
    assert rules.valid_grids(puzzles.labels, box=box).all()
    for puzzle, label in zip(puzzles.inputs[:100], puzzles.labels):
      assert generate.count_solutions(puzzle, box=box) == 1
      np.testing.assert_array_equal(generate.solve(puzzle, box=box), label)
    assert len(np.unique(puzzles.inputs, axis=0)) == size
    grids.append({label.tobytes() for label in puzzles.labels})
  assert not (grids[0] & grids[1] or grids[0] & grids[2] or grids[1] & grids[2])
  if box == 3:
    assert sum(map(len, grids)) == sum(sizes)


def test_small_grids_are_all_dealt_out():
  splits = _splits(num_train=5000, num_validation=2000, num_test=2000)
  grids = [len(np.unique(splits[name].labels, axis=0)) for name in generate.SPLITS]
  assert grids == [202, 43, 43]


@pytest.mark.parametrize("box, sizes, num_clues", [(2, (40, 10, 10), 7), (3, (3, 2, 2), 45)])
def test_same_seed_same_puzzles_whatever_the_other_sizes(box, sizes, num_clues):
  first, again = (_splits(box, *sizes, num_clues=num_clues, seed=5) for _ in range(2))
  fewer = _splits(box, 1, *sizes[1:], num_clues=num_clues, seed=5)
  other = _splits(box, *sizes, num_clues=num_clues, seed=6)
  for name in generate.SPLITS:
    np.testing.assert_array_equal(first[name].inputs, again[name].inputs)
    np.testing.assert_array_equal(first[name].labels, again[name].labels)
    assert (first[name].inputs != other[name].inputs).any()
  np.testing.assert_array_equal(first["test"].inputs, fewer["test"].inputs)


def test_large_grids_are_not_images_of_one_pattern():
  # For two rows of a grid: the cycle lengths of the permutation that sends the digits of one to those of the other.
  # Symmetries only reorder these, so a generator that shuffles one pattern would give the same ones every time.
  kinds = set()
  labels = _splits(3, 20, 0, 0, num_clues=60)["train"].labels.reshape(-1, 9, 9)
  for grid in labels:
    lines = [(g[a], g[b]) for g in (grid, grid.T) for a, b in itertools.combinations(range(9), 2)]
    kinds.add(tuple(sorted(_cycles(a, b) for a, b in lines)))
  assert len(kinds) == len(labels)


def test_large_grids_vary_beyond_their_diagonal():

  class SameDiagonal:
    permutation = staticmethod(np.arange)
    random = np.random.default_rng(0).random

  assert len({bytes(generate._random_grid(SameDiagonal())) for _ in range(20)}) == 20


def test_no_large_grid_is_used_twice(monkeypatch):
  random_grid = generate._random_grid
  monkeypatch.setattr(generate, "_random_grid", lambda rng: random_grid(np.random.default_rng(rng.integers(4))))
  splits = _splits(3, 2, 1, 1, num_clues=60)
  assert len({label.tobytes() for puzzles in splits.values() for label in puzzles.labels}) == 4


def _cycles(a, b):
  to, left, lengths = dict(zip(a.tolist(), b.tolist())), set(a.tolist()), []
  while left:
    d, length = next(iter(left)), 0
    while d in left:
      left.remove(d)
      d, length = to[d], length + 1
    lengths.append(length)
  return tuple(sorted(lengths))


def test_progress_reaches_the_end():
  calls = []
  _splits(3, 3, 2, 1, num_clues=60, progress=lambda done, total: calls.append((done, total)))
  assert calls[-1] == (6, 6) and [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(box=4), "box is 4, must be 2"),
        (dict(num_clues=3), "num_clues is 3, must be from 4 to 16 for 4x4"),
        (dict(num_clues=17), "num_clues is 17, must be from 4 to 16"),
        (dict(box=3, num_clues=23), "num_clues is 23, must be from 24 to 81 for 9x9"),
        (dict(num_clues=7, max_clues=6), "max_clues is 6, must be from num_clues = 7 to 16, or 0 for num_clues"),
        (dict(num_test=-1), "num_test is -1, must be 0 or more"),
        (dict(seed=-1), "seed is -1, must be 0 or more"),
        (dict(num_train=300, num_clues=16), "num_train is 300, but the 202 solution grids of this split have only 202"),
    ],
)
def test_impossible_wishes(change, message):
  with pytest.raises(UserError) as e:
    _splits(**change)
  assert message in str(e.value) and "\n" not in str(e.value)


def test_saved_puzzles_read_back(tmp_path):
  puzzles = _splits()["test"]
  csv_files.write_csv(tmp_path / "test.csv", puzzles, source="generated")
  read = csv_files.read_csv(tmp_path / "test.csv", box=2)
  np.testing.assert_array_equal(read.inputs, puzzles.inputs, strict=True)
  np.testing.assert_array_equal(read.labels, puzzles.labels, strict=True)
