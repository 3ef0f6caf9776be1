# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku as a task: everything the trainer, the evaluation and the drawing know of it.

Tokens are those of docs/model.md: 0 padding, 1 blank, 2 … side + 1 the digits 1 … side. Another task has the same
public members.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax import errors
from trm_jax.tasks import symmetry as symmetry_lib

BLANK = 1
FIRST_DIGIT = 2  # the token of the digit 1

_SYMBOLS = " .123456789ABCDEFGHIJKLMNOP"  # by token; the digits past 9 are letters


@dataclasses.dataclass(frozen=True)
class SudokuTask:
  """Sudoku with boxes of box x box cells.

  Attributes:
    box: 2 (4x4), 3 (9x9), 4 (16x16) or 5 (25x25).

  Raises:
    UserError: there is no such Sudoku.
  """

  box: int

  def __post_init__(self):
    if self.box not in (2, 3, 4, 5):
      raise errors.UserError(f"Sudoku box {self.box!r} is not one of 2 (4x4), 3 (9x9), 4 (16x16), 5 (25x25)")

  @property
  def side(self) -> int:
    """Cells in a row."""
    return self.box**2

  @property
  def name(self) -> str:
    return f"sudoku-{self.side}x{self.side}"

  @property
  def seq_len(self) -> int:
    """Cells of one puzzle, S."""
    return self.side**2

  @property
  def vocab_size(self) -> int:
    """Number of tokens, padding and blank included."""
    return self.side + FIRST_DIGIT

  def sample_symmetry(self, key: jax.Array) -> symmetry_lib.Symmetry:
    """A uniformly random symmetry of Sudoku, as in docs/model.md ("Data").

    Digits are permuted, the board is transposed with probability 1/2, bands, rows within a band, stacks and columns
    within a stack come in a random order.

    Args:
      key: one random key. Runs under jit and vmap.

    Returns:
      Symmetry of (S,) cells and (V,) values; padding and blank keep their value.
    """
    box, side = self.box, self.side
    # One draw for everything: vmapped over a batch, a draw costs more than the arithmetic on it.
    bits = jax.random.bits(key, (1 + side + 2 * (box + side),))
    flip, bits = bits[0] >> 31, bits[1:]
    digits, row_bits, column_bits = jnp.split(bits, (side, side + box + side))
    cells = _lines(row_bits, box)[:, None] * side + _lines(column_bits, box)[None, :]
    cells = jnp.where(flip == 1, cells.T, cells).reshape(-1)
    values = jnp.concatenate([jnp.arange(FIRST_DIGIT), FIRST_DIGIT + _order(digits)])
    return symmetry_lib.Symmetry(cells=cells.astype(jnp.int32), values=values.astype(jnp.int32))

  def is_solution(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Which answers solve their puzzle: every digit once in each row, column and box, and every clue kept.

    Args:
      inputs: (..., S) integer tokens.
      answers: (..., S) integer tokens; its leading axes broadcast with those of inputs.

    Returns:
      (...) bool.
    """
    inputs, answers = np.asarray(inputs), np.asarray(answers)
    units = np.sort(self._units(answers), axis=-1)
    complete = (units == np.arange(FIRST_DIGIT, FIRST_DIGIT + self.side)).all((-1, -2))
    return complete & ((inputs == answers) | ~self.is_given(inputs)).all(-1)

  def repeated_clue(self, inputs: np.ndarray) -> str | None:
    """What contradicts the rules in a puzzle: "5 in row 1" if that clue is there twice, None if nothing does.

    Args:
      inputs: (S,) integer tokens.
    """
    for number, unit in enumerate(self._units(np.asarray(inputs))):
      clues, times = np.unique(unit[self.is_given(unit)], return_counts=True)
      if (times > 1).any():
        where = ("row", "column", "box")[number // self.side]
        return f"{self.cell_text(clues[times > 1][0])} in {where} {number % self.side + 1}"
    return None

  def _units(self, tokens: np.ndarray) -> np.ndarray:
    """(..., 3 side, side): the rows, columns and boxes of boards (..., S), boxes row by row."""
    box, side, batch = self.box, self.side, tokens.shape[:-1]
    rows = tokens.reshape(*batch, side, side)
    boxes = tokens.reshape(*batch, box, box, box, box).swapaxes(-2, -3).reshape(*batch, side, side)
    return np.concatenate([rows, rows.swapaxes(-1, -2), boxes], axis=-2)

  def text(self, tokens: np.ndarray) -> str:
    """A board for the terminal.

    Args:
      tokens: (S,) integer tokens.

    Returns:
      Lines joined by newlines, blanks as dots, boxes apart.
    """
    rows = np.asarray(tokens).reshape(self.side, self.box, self.box)
    lines = [" | ".join(" ".join(map(self.cell_text, part)) for part in row) for row in rows]
    rule = "+".join(["-" * (2 * self.box + 1)] * self.box)[1:-1]
    bands = ["\n".join(lines[i : i + self.box]) for i in range(0, self.side, self.box)]
    return f"\n{rule}\n".join(bands)

  # What drawing asks of a task (trm_jax.draw.Drawable).

  @property
  def grid_shape(self) -> tuple[int, int]:
    """Rows and columns of the board."""
    return self.side, self.side

  @property
  def block_shape(self) -> tuple[int, int]:
    """Rows and columns between two heavy lines."""
    return self.box, self.box

  def cell_text(self, token: int) -> str:
    """The one character that stands for a token."""
    return _SYMBOLS[token]

  def is_given(self, inputs: np.ndarray) -> np.ndarray:
    """Which cells the puzzle fixes: its clues.

    Args:
      inputs: (..., S) integer tokens.

    Returns:
      (..., S) bool.
    """
    return np.asarray(inputs) >= FIRST_DIGIT


def _order(bits: jax.Array) -> jax.Array:
  """Random permutations along the last axis, by rank: several times faster than a sort of so few elements under vmap.

  Args:
    bits: (..., n) random uint32.

  Returns:
    (..., n) int32, always a permutation: equal bits rank by their place.
  """
  mine, others = bits[..., :, None], bits[..., None, :]
  place = jnp.arange(bits.shape[-1])
  earlier = jnp.expand_dims(place[None, :] < place[:, None], range(bits.ndim - 1))
  return jnp.sum((others < mine) | ((others == mine) & earlier), axis=-1, dtype=jnp.int32)


def _lines(bits: jax.Array, box: int) -> jax.Array:
  """(box**2,) the old row of each new row: bands in random order, rows in random order within their band."""
  bands, within = _order(bits[:box]), _order(bits[box:].reshape(box, box))
  return (bands[:, None] * box + within).reshape(-1)
