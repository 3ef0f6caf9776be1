# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The rules of mazes, and their tokens: 0 padding, 1 … 5 the characters of "# SGo", as the reference has them.

A way goes from cell to cell in four directions, never through a wall ("#"). An answer is the maze with cells marked
("o") that lead from the start ("S") to the goal ("G"). It is a **valid path** if only free cells are marked and the
marks, S and G form one line: each mark has exactly two neighbours on it, S and G have one, and no other cell is marked.
It is a **shortest path** if no way takes fewer moves. A maze may have several shortest paths, and all of them are
right. None of them touches itself, since it could be shortened there; a longer path that does is not valid here,
because marks that touch do not show the order of the moves.

All functions work on any number of mazes at once, as arrays of NumPy, or of JAX and then under jit.

Axes: R rows, C columns, S = R C cells.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

CHARACTERS = "# SGo"  # of the tokens from 1 on
WALL, FREE, START, GOAL, PATH = range(1, 6)
VOCAB_SIZE = 6

Array = Any  # an array of NumPy or JAX

# Number of mazes that are checked at once; it limits scratch memory.
_ROWS = 1 << 12


def valid_paths(inputs: Array, answers: Array, shape: tuple[int, int]) -> Array:
  """Whether answers are valid paths.

  Args:
    inputs: (…, S) integer tokens of mazes with one start and one goal.
    answers: (…, S) integer tokens, whose leading axes broadcast with those of inputs.
    shape: (R, C).

  Returns:
    (…) bool.
  """
  kept = ((answers == inputs) | ((answers == PATH) & (inputs == FREE))).all(-1)
  # The shortest way over the marks passes all of them: there are neither branches nor rings, and no two parts touch.
  line = _board((answers >= START) & kept[..., None], shape)
  return kept & (_moves(answers, line, shape) == path_moves(answers))


def shortest_paths(inputs: Array, answers: Array, shape: tuple[int, int]) -> Array:
  """Whether answers are shortest paths. Arguments and result are those of `valid_paths`."""
  return valid_paths(inputs, answers, shape) & (path_moves(answers) == fewest_moves(inputs, shape))


def path_moves(answers: Array) -> Array:
  """Number of moves from start to goal over the cells that are marked in answers, (…, S) tokens: (…) int32."""
  return (answers == PATH).sum(-1, dtype=np.int32) + 1


def fewest_moves(inputs: Array, shape: tuple[int, int]) -> Array:
  """Number of moves of a shortest path through mazes, (…, S) tokens: (…) int32; -1 if there is no way."""
  return _moves(inputs, _board(inputs >= FREE, shape), shape)


def _moves(tokens: Array, ground: Array, shape: tuple[int, int]) -> Array:
  """The least number of moves from start to goal.

  Args:
    tokens: (…, S), with starts and goals.
    ground: boards of bool, the cells that a way may use; see `_board`.
    shape: (R, C).

  Returns:
    (…) int32; -1 if there is no way.
  """
  start, goal = (_board(tokens == token, shape) for token in (START, GOAL))

  def spread(state):
    reached, moves, going = state
    up, down, left, right = _sides(reached, shape)
    further = reached | (ground & (up | down | left | right))
    return (further, moves + going.astype(np.int32),
            (further != reached).any(0) & ~(further & goal).any(0))

  xp = tokens.__array_namespace__()
  reached, moves, _ = _while(xp, lambda state: state[2].any(), spread, (
      start & ground, xp.zeros(tokens.shape[:-1], np.int32), xp.ones(tokens.shape[:-1], bool)))
  return xp.where((reached & goal).any(0), moves, -1)


def _board(cells: Array, shape: tuple[int, int]) -> Array:
  """Adds an edge of False around (…, S) bool and puts cells first: ((R + 2) (C + 2), …)."""
  xp = cells.__array_namespace__()
  padded = xp.pad(cells.reshape(*cells.shape[:-1], *shape), [(0, 0)] * (cells.ndim - 1) + [(1, 1), (1, 1)])
  # With the mazes last, a step from cell to cell is one move of memory: several times faster on a CPU.
  return xp.moveaxis(padded.reshape(*cells.shape[:-1], -1), -1, 0).copy()


def _sides(board: Array, shape: tuple[int, int]) -> tuple[Array, ...]:
  """The values below, above, right and left of each cell of boards with an edge of False; those of the edge are
  meaningless."""
  xp, width = board.__array_namespace__(), shape[1] + 2
  return tuple(xp.roll(board, step, 0) for step in (-width, width, -1, 1))


def _while(xp: Any, condition: Callable[[Any], Array], step: Callable[[Any], Any], state: Any) -> Any:
  """Repeats the step while the condition holds, and returns the state."""
  if xp is np:
    while condition(state):
      state = step(state)
    return state
  import jax  # pylint: disable=g-import-not-at-top

  return jax.lax.while_loop(condition, step, state)


def first_fault(inputs: np.ndarray, labels: np.ndarray, shape: tuple[int, int]) -> tuple[int, str, str] | None:
  """Finds the first maze that breaks a rule, or whose answer does.

  Args:
    inputs: (N, S) tokens of any integer type.
    labels: (N, S) tokens of any integer type.
    shape: (R, C).

  Returns:
    Its row, "inputs" or "labels", and the rule with the place where it is broken; None if all are right.
  """
  for i in range(0, len(inputs), _ROWS):
    mazes, answers = inputs[i : i + _ROWS], labels[i : i + _ROWS]
    right = shortest_paths(mazes, answers, shape) & ((mazes >= WALL) & (mazes <= GOAL)).all(-1)
    for token in (START, GOAL):
      right &= (mazes == token).sum(-1) == 1
    if not right.all():
      row = int(np.argmin(right))
      fault = fault_of_maze(mazes[row], shape)
      return i + row, *(("inputs", fault) if fault else ("labels", _fault_of_answer(mazes[row], answers[row], shape)))
  return None


def fault_of_maze(maze: np.ndarray, shape: tuple[int, int]) -> str | None:
  """The rule that a maze, (S,) tokens, breaks, and where; None if it breaks none."""
  foreign = np.flatnonzero((maze < WALL) | (maze > GOAL))
  if len(foreign):
    return (f"the maze has {_name(maze[foreign[0]])} in {_place(foreign[0], shape)}; must be one of "
            f"{', '.join(map(repr, CHARACTERS[:GOAL]))}")
  for token, what in ((START, "start"), (GOAL, "goal")):
    cells = np.flatnonzero(maze == token)
    if len(cells) != 1:
      where = f" ({_place(cells[0], shape)}, and {_place(cells[1], shape)})" if len(cells) else ""
      return f"the maze has {len(cells) or 'no'} {_name(token)}{where}; must have exactly one, the {what}"
  if fewest_moves(maze, shape) < 0:
    return "no way leads from 'S' to 'G'; there must be one"
  return None


def _fault_of_answer(maze: np.ndarray, answer: np.ndarray, shape: tuple[int, int]) -> str:
  """The rule that an answer to a correct maze breaks, (S,) tokens each."""
  changed = np.flatnonzero((answer != maze) & ((answer != PATH) | (maze != FREE)))
  if len(changed):
    at = changed[0]
    return (f"the answer has {_name(answer[at])} in {_place(at, shape)}, the maze {_name(maze[at])}; walls, start and "
            "goal must stay, and only free cells may become 'o'")
  if not valid_paths(maze, answer, shape):
    line = answer >= START
    sides = sum(side.astype(int) for side in _sides(_board(line, shape), shape))
    neighbours = sides.reshape(shape[0] + 2, -1)[1:-1, 1:-1].reshape(-1)
    wanted = np.where(answer == PATH, 2, 1)
    ends = np.flatnonzero(line & (neighbours != wanted))
    if not len(ends):
      return "the answer has marks besides the path from 'S' to 'G'; all 'o' must be on it"
    at = ends[0]
    return (f"the answer is no path from 'S' to 'G': {_name(answer[at])} in {_place(at, shape)} touches "
            f"{neighbours[at]} of its cells, must touch {wanted[at]}")
  return (f"the answer's path takes {path_moves(answer)} moves, the shortest {fewest_moves(maze, shape)}; must be a "
          "shortest path")


def _name(token: int) -> str:
  """A token for people."""
  return repr(CHARACTERS[token - 1]) if WALL <= token <= PATH else f"the token {token}"


def _place(cell: int, shape: tuple[int, int]) -> str:
  return f"row {cell // shape[1] + 1}, column {cell % shape[1] + 1}"
