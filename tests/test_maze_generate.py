# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Generated mazes: one shortest path, splits that share nothing, the same from the same seed."""

import itertools

import numpy as np
import pytest

from trm_jax.errors import UserError
from trm_jax.tasks.maze import generate
from trm_jax.tasks.maze import rules


def _splits(rows=8, columns=8, num_train=40, num_validation=10, num_test=10, min_path=6, loops=0.2, seed=0,
            progress=None):
  return generate.generate_splits(
      rows=rows, columns=columns, num_train=num_train, num_validation=num_validation, num_test=num_test,
      min_path=min_path, loops=loops, seed=seed, progress=progress)


def _shortest_paths(maze: np.ndarray) -> list[frozenset]:
  """The cells of every shortest path of (R, C) tokens, by ways that grow by one cell at a time."""
  start, goal = (tuple(np.argwhere(maze == token)[0].tolist()) for token in (rules.START, rules.GOAL))
  ways, seen = [(start,)], {start}
  while ways:
    if found := [frozenset(way[1:-1]) for way in ways if way[-1] == goal]:
      return found
    longer = [(*way, (r, c)) for way in ways for r, c in (
        (way[-1][0] + dr, way[-1][1] + dc) for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)))
              if 0 <= r < maze.shape[0] and 0 <= c < maze.shape[1] and maze[r, c] != rules.WALL and (r, c) not in seen]
    seen |= {way[-1] for way in longer}
    ways = longer
  return []


@pytest.mark.parametrize("shape, min_path, loops", [
    ((30, 30), 111, 0.1), ((8, 8), 6, 0.0), ((9, 12), 10, 0.4), ((7, 3), 3, 1.0), ((2, 9), 4, 0.5)])
def test_exactly_one_shortest_path_is_marked(shape, min_path, loops):
  sizes = (6, 1, 1) if shape[0] > 20 or shape[0] == 2 else (40, 10, 10)
  splits = _splits(*shape, *sizes, min_path=min_path, loops=loops)
  for puzzles, size in zip(splits.values(), sizes):
    assert len(puzzles) == size and (puzzles.seq_len, puzzles.vocab_size) == (shape[0] * shape[1], 6)
    assert rules.first_fault(puzzles.inputs, puzzles.labels, shape) is None
    assert (rules.path_moves(puzzles.labels) >= min_path).all()
    for maze, label in zip(puzzles.inputs, puzzles.labels):
      [path] = _shortest_paths(maze.reshape(shape))
      marked = label.reshape(shape) == rules.PATH
      assert path == {tuple(cell) for cell in np.argwhere(marked).tolist()}


def test_loops_make_ways_besides_the_shortest():
  edges = []
  for loops in (0.0, 0.3):
    mazes = _splits(15, 15, 20, 0, 0, loops=loops)["train"].inputs.reshape(-1, 15, 15) >= rules.FREE
    between = (mazes[:, 1:] & mazes[:, :-1]).sum((1, 2)) + (mazes[:, :, 1:] & mazes[:, :, :-1]).sum((1, 2))
    edges.append(between - mazes.sum((1, 2)))
  assert (edges[0] == -1).all()  # trees
  assert (edges[1] >= 0).all() and edges[1].sum() > 30
  assert 0.5 < mazes.mean() < 0.7


def _images(maze: np.ndarray) -> set[bytes]:
  """Of an (R, C) maze, turned and reflected."""
  turned = [np.rot90(maze, turns) for turns in range(4)]
  return {image.tobytes() for image in itertools.chain(turned, map(np.fliplr, turned))}


def test_no_maze_comes_twice_turned_or_reflected_either():
  # 3x3 cells: so few that the random ones repeat all the time.
  mazes = [maze for puzzles in _splits(3, 3, 30, 10, 10, min_path=2).values() for maze in puzzles.inputs]
  assert len(mazes) == 50
  seen = set()
  for maze in mazes:
    images = _images(maze.reshape(3, 3))
    assert not images & seen
    seen |= images


def test_same_seed_same_mazes_whatever_the_other_sizes():
  first, again, fewer, other = (_splits(seed=5), _splits(seed=5), _splits(num_train=3, seed=5), _splits(seed=6))
  for name in generate.SPLITS:
    np.testing.assert_array_equal(first[name].inputs, again[name].inputs)
    np.testing.assert_array_equal(first[name].labels, again[name].labels)
    assert (first[name].inputs[0] != other[name].inputs[0]).any()
  np.testing.assert_array_equal(first["test"].inputs, fewer["test"].inputs)
  np.testing.assert_array_equal(first["train"].inputs[:3], fewer["train"].inputs)


def test_progress_reaches_the_end():
  calls = []
  _splits(num_train=150, progress=lambda done, total: calls.append((done, total)))
  assert calls == [(100, 170), (170, 170)]


@pytest.mark.parametrize("fields, done", [
    (dict(min_path=64), "0 of 60"), (dict(rows=2, columns=2, min_path=1), "of 60")])
def test_wishes_that_cannot_be_met_are_one_line(fields, done):
  with pytest.raises(UserError, match="^none of 1,000 successive mazes of .* cells was new and had a") as e:
    _splits(**fields)
  assert done in str(e.value) and "lower config.data.min_path" in str(e.value) and "\n" not in str(e.value)
