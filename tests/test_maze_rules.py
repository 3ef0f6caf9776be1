# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Valid and shortest paths, against a slow walker; what is wrong with mazes and answers, in words."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import UserError
from trm_jax.tasks.maze import rules
from trm_jax.tasks.maze.config import MazeData
from trm_jax.tasks.maze.task import MazeTask

SHAPE = (4, 5)


def tokens(*rows: str) -> np.ndarray:
  """(S,) of a maze that is drawn."""
  return np.array([1 + rules.CHARACTERS.index(c) for c in "".join(rows)], np.uint8)


def _around(cell: int, shape: tuple[int, int]) -> list[int]:
  r, c = divmod(cell, shape[1])
  return [i * shape[1] + j for i, j in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
          if 0 <= i < shape[0] and 0 <= j < shape[1]]


def _distance(maze: np.ndarray, shape: tuple[int, int]) -> int:
  """Moves from start to goal, -1 without a way: breadth first, cell by cell."""
  start, goal = (int(np.argmax(maze == token)) for token in (rules.START, rules.GOAL))
  queue, seen = collections.deque([(start, 0)]), {start}
  while queue:
    cell, moves = queue.popleft()
    if cell == goal:
      return moves
    for ahead in set(_around(cell, shape)) - seen:
      if maze[ahead] != rules.WALL:
        seen.add(ahead)
        queue.append((ahead, moves + 1))
  return -1


def _walks(maze: np.ndarray, answer: np.ndarray, shape: tuple[int, int]) -> bool:
  """Whether marks lead from start to goal, walked cell by cell, each with one mark ahead and none left at the end."""
  if any(a != m and not (a == rules.PATH and m == rules.FREE) for m, a in zip(maze, answer)):
    return False
  line = {i for i, token in enumerate(answer) if token in (rules.START, rules.GOAL, rules.PATH)}
  at, behind, passed = int(np.argmax(answer == rules.START)), None, 1
  while answer[at] != rules.GOAL:
    ahead = [cell for cell in _around(at, shape) if cell in line and cell != behind]
    if len(ahead) != 1:
      return False
    at, behind, passed = ahead[0], at, passed + 1
    if passed > len(line):
      return False
  return passed == len(line) and len([cell for cell in _around(at, shape) if cell in line]) == 1


@pytest.fixture(name="random_answers", scope="module")
def _random_answers():
  """Mazes of 4x5 cells with 30 answers each: ways found by chance, and what small changes make of them."""
  rng = np.random.default_rng(0)
  mazes, answers = [], []
  for _ in range(120):
    maze = np.where(rng.random(20) < 0.3, rules.WALL, rules.FREE).astype(np.uint8)
    start, goal = rng.choice(20, 2, replace=False)
    maze[[start, goal]] = rules.START, rules.GOAL
    for _ in range(30):
      answer, at, ground = maze.copy(), start, (rules.FREE, rules.GOAL, *[rules.WALL] * (rng.random() < 0.2))
      for _ in range(20):  # a walk that does not turn back onto its marks if it can help it
        ahead = [cell for cell in _around(at, SHAPE) if answer[cell] in ground]
        if not ahead or answer[at] == rules.GOAL or goal in _around(at, SHAPE):
          break
        at = rng.choice(ahead)
        answer[at] = rules.PATH
      if rng.random() < 0.3:
        cell = rng.integers(20)
        answer[cell] = rng.choice([rules.WALL, rules.FREE, rules.PATH, rules.PATH, 0])
      mazes.append(maze)
      answers.append(answer)
  return np.stack(mazes), np.stack(answers)


def test_paths_are_those_of_a_slow_walker(random_answers):
  mazes, answers = random_answers
  valid = np.array([_walks(maze, answer, SHAPE) for maze, answer in zip(mazes, answers)])
  fewest = np.array([_distance(maze, SHAPE) for maze in mazes])
  shortest = valid & ((answers == rules.PATH).sum(1) + 1 == fewest)
  assert 200 < shortest.sum() < valid.sum() - 50 < len(mazes) - 500 and (fewest == -1).sum() > 100
  for xp, wrap in ((np, lambda f: f), (jnp, jax.jit)):
    a, b = xp.asarray(mazes), xp.asarray(answers)
    np.testing.assert_array_equal(wrap(lambda m: rules.fewest_moves(m, SHAPE))(a), fewest)
    np.testing.assert_array_equal(wrap(lambda m, a: rules.valid_paths(m, a, SHAPE))(a, b), valid)
    np.testing.assert_array_equal(wrap(lambda m, a: rules.shortest_paths(m, a, SHAPE))(a, b), shortest)


def test_a_ring_beside_the_path_is_left_over():
  maze = tokens("S G  ", "     ", "     ", "     ", "     ")
  path = tokens("SoG  ", "     ", "     ", "     ", "     ")
  ring = tokens("SoG  ", "     ", "ooo  ", "o o  ", "ooo  ")
  np.testing.assert_array_equal(rules.valid_paths(maze, np.stack([path, ring]), (5, 5)), [True, False])


def test_several_answers_may_be_right_and_leading_axes_broadcast():
  task = MazeTask(MazeData(rows=4, columns=5))
  maze = tokens("S    ", "  #  ", "    G", "     ")
  first, second = tokens("Soooo", "  # o", "    G", "     "), tokens("S    ", "o #  ", "ooooG", "     ")
  longer = tokens("S    ", "o #  ", "o   G", "ooooo")
  branch = tokens("Soooo", "  # o", "    G", "    o")
  touching = tokens("S    ", "oo#oo", " o oG", " ooo ")
  answers = np.stack([first, second, longer, branch, touching, maze])
  np.testing.assert_array_equal(task.solves(maze, answers), [True, True, False, False, False, False])
  np.testing.assert_array_equal(rules.valid_paths(maze, answers, SHAPE), [True, True, True, False, False, False])
  np.testing.assert_array_equal(task.solves(np.stack([maze, maze])[:, None], answers[None]).sum(1), [2, 2])


@pytest.mark.parametrize("rows, columns", [(1, 7), (7, 2)])
def test_narrow_boards(rows, columns):
  maze = np.full(rows * columns, rules.FREE, np.uint8)
  maze[[0, -1]] = rules.START, rules.GOAL
  assert rules.fewest_moves(maze, (rows, columns)) == rows + columns - 2
  maze[columns if columns == 2 else 3] = rules.WALL
  maze[3] = rules.WALL
  assert rules.fewest_moves(maze, (rows, columns)) == _distance(maze, (rows, columns))


def _edited(rows, **changes):
  """Tokens with cells changed, named by row and column such as r2c3."""
  board = tokens(*rows).copy()
  for place, token in changes.items():
    r, c = map(int, place[1:].split("c"))
    board[(r - 1) * 5 + c - 1] = token
  return board


GOOD = ("S  # ", "# #  ", "    G", " ##  ")
ANSWER = ("So # ", "#o#  ", " oooG", " ##  ")


@pytest.mark.parametrize("maze, answer, field, rule", [
    (_edited(GOOD, r1c1=2), ANSWER, "inputs", "the maze has no 'S'; must have exactly one, the start"),
    (_edited(GOOD, r4c5=4), ANSWER, "inputs",
     "the maze has 2 'G' (row 3, column 5, and row 4, column 5); must have exactly one, the goal"),
    (_edited(GOOD, r2c2=1), ANSWER, "inputs", "no way leads from 'S' to 'G'; there must be one"),
    (_edited(GOOD, r2c2=5), ANSWER, "inputs", "the maze has 'o' in row 2, column 2; must be one of '#', ' ', 'S', 'G'"),
    (_edited(GOOD, r2c2=0), ANSWER, "inputs", "the maze has the token 0 in row 2, column 2; must be one of"),
    (GOOD, _edited(ANSWER, r4c2=2), "labels",
     "the answer has ' ' in row 4, column 2, the maze '#'; walls, start and goal must stay, and only free cells may"),
    (GOOD, _edited(ANSWER, r1c1=5), "labels", "the answer has 'o' in row 1, column 1, the maze 'S'"),
    (GOOD, _edited(ANSWER, r3c3=2), "labels",
     "the answer is no path from 'S' to 'G': 'o' in row 3, column 2 touches 1 of its cells, must touch 2"),
    (GOOD, _edited(ANSWER, r1c3=5), "labels", "'o' in row 1, column 2 touches 3 of its cells, must touch 2"),
    (GOOD, GOOD, "labels", "'S' in row 1, column 1 touches 0 of its cells, must touch 1"),
])
def test_what_is_wrong_is_said(maze, answer, field, rule):
  maze, answer = (tokens(*board) if isinstance(board, tuple) else board for board in (maze, answer))
  good = tokens(*GOOD), tokens(*ANSWER)
  row, where, said = rules.first_fault(np.stack([good[0], maze, maze]), np.stack([good[1], answer, answer]), SHAPE)
  assert (row, where) == (1, field) and rule in said and "\n" not in said


def test_marks_besides_the_path_and_longer_paths_are_said():
  maze, ring = tokens("SG   ", "     ", "     ", "     "), tokens("SG   ", "  ooo", "  o o", "  ooo")
  assert rules.first_fault(maze[None], ring[None], SHAPE) == (
      0, "labels", "the answer has marks besides the path from 'S' to 'G'; all 'o' must be on it")
  maze, longer = tokens("S   G", "     ", "     ", "     "), tokens("S   G", "o   o", "ooooo", "     ")
  assert rules.first_fault(maze[None], longer[None], SHAPE) == (
      0, "labels", "the answer's path takes 8 moves, the shortest 4; must be a shortest path")


def test_faults_are_found_in_later_parts(monkeypatch):
  monkeypatch.setattr(rules, "_ROWS", 2)
  mazes, answers = np.stack([tokens(*GOOD)] * 5), np.stack([tokens(*ANSWER)] * 5)
  assert rules.first_fault(mazes, answers, SHAPE) is None
  answers[3] = tokens(*GOOD)
  assert rules.first_fault(mazes, answers, SHAPE)[:2] == (3, "labels")


def test_mazes_that_are_typed():
  task = MazeTask(MazeData(rows=4, columns=5))
  np.testing.assert_array_equal(task.parse("\n".join(GOOD)), tokens(*GOOD))
  assert task.text(task.parse("".join(GOOD))) == "".join(GOOD)
  assert task.text(task.parse("\r\n\n".join(GOOD) + "\n")) == "".join(GOOD)
  ragged = "\n".join([GOOD[0], GOOD[1] + GOOD[2][0], GOOD[2][1:], GOOD[3]])
  for text, message in (("S  G", "S  G: 4 characters, but maze-4x5 has 20 cells"),
                        (ragged, ": row 2 has 6 cells, but a row of maze-4x5 has 5"),
                        ("".join(GOOD[:2]) + "\n" + "".join(GOOD[2:]), ": row 1 has 10 cells, but a row of maze-4x5"),
                        ("".join(GOOD).replace("G", "?"), "'?' is none of the characters '# SG'"),
                        ("".join(GOOD).replace("G", " "), "the maze has no 'G'")):
    with pytest.raises(UserError) as e:
      task.parse(text)
    assert message in str(e.value) and "\n" not in str(e.value)
