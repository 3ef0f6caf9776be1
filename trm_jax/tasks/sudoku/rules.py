# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The rules of Sudoku, and its tokens: 0 padding, 1 blank, 2 … n + 1 the digits 1 … n, as the reference has them.

A grid has n x n cells, S in all, in boxes of box x box cells, n = box * box.
"""

import numpy as np

BLANK = 1
FIRST_DIGIT = 2  # the token of the digit 1

# Number of puzzles that are checked at once; it limits scratch memory.
_ROWS = 1 << 16


def vocab_size(box: int) -> int:
  """Number of tokens: padding, blank and the digits of a grid of box x box boxes."""
  return box * box + 2


def units(box: int) -> np.ndarray:
  """The cells of each row, then of each column, then of each box, (3 n, n) int."""
  n = box * box
  rows = np.arange(n * n).reshape(n, n)
  boxes = rows.reshape(box, box, box, box).swapaxes(1, 2).reshape(n, n)
  return np.concatenate([rows, rows.T, boxes])


def first_fault(inputs: np.ndarray, labels: np.ndarray, *, box: int) -> tuple[int, str, str] | None:
  """Finds the first puzzle that breaks a rule of Sudoku, or whose answer does.

  Args:
    inputs: (N, box**4) tokens of any integer type.
    labels: (N, box**4) tokens of any integer type.
    box: side of a box.

  Returns:
    Its row, "inputs" or "labels", and the rule with the place where it is broken; None if all are right.
  """
  n = box * box
  for i in range(0, len(inputs), _ROWS):
    puzzles, answers = inputs[i : i + _ROWS], labels[i : i + _ROWS]
    rules = (
        ((puzzles < BLANK) | (puzzles > BLANK + n), "inputs",
         f"the puzzle has the token {{puzzle}} in {{where}}; must be {BLANK} (a blank) or one of "
         f"{BLANK + 1}-{BLANK + n} (the digits 1-{n})"),
        ((answers <= BLANK) | (answers > BLANK + n), "labels",
         f"the answer has no digit in {{where}}; must have one of 1-{n} in every cell"),
        ((puzzles != BLANK) & (puzzles != answers), "labels",
         "the answer contradicts the puzzle in {where}: the clue is {clue}, the answer {digit}; every clue must stay"))
    faulty = ~valid_grids(answers, box=box)
    for broken, _, _ in rules:
      faulty |= broken.any(1)
    if not faulty.any():
      continue
    row = int(np.argmax(faulty))
    for broken, field, text in rules:
      if broken[row].any():
        at = int(np.argmax(broken[row]))
        puzzle, answer = int(puzzles[row, at]), int(answers[row, at])
        return i + row, field, text.format(where=f"row {at // n + 1}, column {at % n + 1}", puzzle=puzzle,
                                           clue=puzzle - BLANK, digit=answer - BLANK)
    return i + row, "labels", f"the answer is not a Sudoku grid; each row, column and box must hold 1-{n} once"
  return None


def valid_grids(grids: np.ndarray, *, box: int) -> np.ndarray:
  """Whether grids have every digit once in every row, column and box.

  Args:
    grids: (…, S) tokens of any integer type, of NumPy or JAX.
    box: side of a box.

  Returns:
    (…) bool, of the same library.
  """
  n = box * box
  member = np.zeros((n * n, 3 * n), np.float32)
  member[units(box).T, np.arange(3 * n)] = 1
  # n powers of two below 2**n add up to 2**n - 1 only if each occurs once; float32 is exact for these sums.
  bit = np.zeros(256, np.float32)
  bit[BLANK + 1 : BLANK + 1 + n] = 2.0 ** np.arange(n)
  xp = grids.__array_namespace__()
  return (xp.asarray(bit)[grids.astype(np.uint8)] @ member == 2**n - 1).all(-1)


def keep_clues(inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
  """Whether answers leave all clues of their puzzles unchanged.

  Args:
    inputs: (…, S) integer tokens.
    answers: (…, S) integer tokens, whose leading axes broadcast with those of inputs.

  Returns:
    (…) bool.
  """
  return ((inputs == answers) | (inputs < FIRST_DIGIT)).all(-1)


def repeated_clue(inputs: np.ndarray, *, box: int) -> str | None:
  """Finds a clue that contradicts the rules: "5 in row 1" if that clue is there twice, None if there is none.

  Args:
    inputs: (S,) integer tokens.
    box: side of a box.
  """
  n = box * box
  for i, unit in enumerate(np.asarray(inputs)[units(box)].tolist()):  # a hundred times faster than NumPy for 9 numbers
    clues = [token for token in unit if token >= FIRST_DIGIT]
    if len(set(clues)) < len(clues):
      twin = min(token for token in clues if clues.count(token) > 1)
      return f"{twin - BLANK} in {('row', 'column', 'box')[i // n]} {i % n + 1}"
  return None
