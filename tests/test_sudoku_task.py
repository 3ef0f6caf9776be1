# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku's task object: its symmetries, its checker, its text."""

import itertools

import jax
import numpy as np
import pytest

from trm_jax.tasks import symmetry as symmetry_lib
from trm_jax.tasks.sudoku import augment
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask


def _pattern(box: int) -> np.ndarray:
  """(S,) tokens of the complete grid whose rows are shifts of one another."""
  side = box**2
  r, c = np.indices((side, side))
  return ((box * (r % box) + r // box + c) % side + rules.FIRST_DIGIT).reshape(-1)


def _puzzle(solution: np.ndarray, seed: int = 0) -> np.ndarray:
  hidden = np.random.default_rng(seed).random(solution.shape) < 0.5
  return np.where(hidden, rules.BLANK, solution)


def _without_pattern(box: int) -> np.ndarray:
  """(S,) a complete grid whose lines have lost their order, so that it forgives no wrong symmetry."""
  rng = np.random.default_rng(3)
  lines = [np.concatenate([box * band + rng.permutation(box) for band in rng.permutation(box)]) for _ in range(2)]
  return _pattern(box).reshape(box**2, box**2)[np.ix_(*lines)].reshape(-1)


@pytest.mark.parametrize("box", [2, 3])
def test_symmetries_keep_puzzles_valid_and_their_solutions_right(box):
  task = SudokuTask(SudokuData(box=box))
  solution = _without_pattern(box)
  puzzle = _puzzle(solution)
  assert task.solves(puzzle, solution)

  symmetries = jax.jit(jax.vmap(task.symmetry))(jax.random.split(jax.random.key(0), 300))
  together = jax.vmap(symmetry_lib.apply, (0, None))
  puzzles, solutions = np.asarray(together(symmetries, puzzle)), np.asarray(together(symmetries, solution))
  assert task.solves(puzzles, solutions).all()
  assert ((puzzles == rules.BLANK).sum(1) == (puzzle == rules.BLANK).sum()).all()
  assert len(np.unique(solutions, axis=0)) > 1
  np.testing.assert_array_equal(np.sort(symmetries.cells), np.tile(np.arange(task.seq_len), (300, 1)))
  np.testing.assert_array_equal(np.sort(symmetries.values), np.tile(np.arange(task.vocab_size), (300, 1)))
  np.testing.assert_array_equal(symmetries.values[:, :2], np.tile([0, 1], (300, 1)))


def test_every_symmetry_of_4x4_is_drawn_equally_often():
  task = SudokuTask(SudokuData(box=2))
  draws = 16384
  symmetries = jax.jit(jax.vmap(task.symmetry))(jax.random.split(jax.random.key(1), draws))
  # 2 (transpose) * 2 (bands) * 2**2 (rows in them) * 2 * 2**2 (columns) = 128 ways to move cells, 4! to rename digits.
  for array, count in ((symmetries.cells, 128), (symmetries.values, 24)):
    _, counts = np.unique(array, axis=0, return_counts=True)
    assert len(counts) == count
    expected = draws / count
    chi_squared = np.sum((counts - expected) ** 2 / expected)
    assert chi_squared < count + 5 * np.sqrt(2 * count)


def test_order_is_a_permutation_even_when_bits_are_equal():
  bits = np.array([[7, 7, 7], [2, 9, 2]], np.uint32)
  np.testing.assert_array_equal(augment._order(bits), [[0, 1, 2], [0, 2, 1]])


def test_checker_finds_each_kind_of_mistake():
  task = SudokuTask(SudokuData(box=2))
  solution = _pattern(2)
  blank = np.full(16, rules.BLANK)
  grid = solution.reshape(4, 4)

  rows_and_columns_only = np.array([[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]]).reshape(-1) + 1
  rows_only = np.repeat(grid[:1], 4, axis=0).reshape(-1)
  unfinished = np.where(np.arange(16) == 5, rules.BLANK, solution)
  padded = np.where(np.arange(16) == 5, 0, solution)
  columns_only = rows_only.reshape(4, 4).T.reshape(-1)
  answers = np.stack([solution, rows_and_columns_only, columns_only, rows_only, unfinished, padded])
  np.testing.assert_array_equal(task.solves(blank, answers), [True] + [False] * 5)

  other_clue = np.where(np.arange(16) == 3, solution % 4 + 2, blank)  # a digit, but not the answer's
  assert other_clue[3] != solution[3]
  assert not task.solves(other_clue, solution)


def test_checker_agrees_with_a_plain_loop():
  task = SudokuTask(SudokuData(box=2))
  rng = np.random.default_rng(0)
  answers = np.tile(_pattern(2), (200, 1))
  for answer in answers[20:]:
    i, j = rng.integers(0, 16, 2)
    answer[i], answer[j] = answer[j], answer[i]

  def valid(answer):
    grid = answer.reshape(4, 4).tolist()
    boxes = [[grid[r + a][c + b] for a in (0, 1) for b in (0, 1)] for r, c in itertools.product((0, 2), (0, 2))]
    return all(sorted(unit) == [2, 3, 4, 5] for unit in [*grid, *zip(*grid), *boxes])

  expected = [valid(answer) for answer in answers]
  assert 20 <= sum(expected) < 200
  np.testing.assert_array_equal(task.solves(np.full(16, 1), answers), expected)
  # Attempts under jit end by it.
  np.testing.assert_array_equal(jax.jit(task.solves)(np.full((1, 16), 1), answers), expected)


def test_undo_puts_an_answer_back():
  task = SudokuTask(SudokuData(box=2))
  solution = _without_pattern(2)
  arrays = {"inputs": _puzzle(solution)[None], "labels": solution[None], "puzzle_identifiers": np.zeros(1, np.int32)}
  row = jax.jit(lambda version, key: task.row(arrays, 0, version, key))
  for version in range(5):
    key = jax.random.key(version)
    answer = np.asarray(row(version, key)["labels"])
    assert (answer != solution).any() == (version > 0)
    np.testing.assert_array_equal(task.undo(answer, version, key), solution)


def test_text():
  task = SudokuTask(SudokuData(box=2))
  tokens = _puzzle(_pattern(2))
  assert task.text(np.where(np.arange(16) % 5 == 0, rules.BLANK, _pattern(2))) == ".2343.1223.1412."
  np.testing.assert_array_equal(task.parse(task.text(tokens)), tokens)


def test_sizes_and_names():
  task = SudokuTask(SudokuData(box=3))
  assert (task.name, task.seq_len, task.vocab_size) == ("sudoku-9x9", 81, 11)
