# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Draws random symmetries of Sudoku on the device."""

import jax
import jax.numpy as jnp

from trm_jax.tasks.sudoku.rules import FIRST_DIGIT
from trm_jax.tasks.symmetry import Symmetry


def sample_symmetry(key: jax.Array, box: int) -> Symmetry:
  """Draws a uniformly random symmetry of Sudoku, like the reference's builder (dataset/build_sudoku_dataset.py).

  Digits are permuted, the board is transposed with probability 1/2, and bands, rows within a band, stacks and columns
  within a stack get a random order.

  Args:
    key: one random key. Runs under jit and vmap.
    box: cells along a box's side.

  Returns:
    Symmetry of (S,) cells and (V,) values; padding and blank keep their value.
  """
  side = box * box
  # One draw serves everything: vmapped over a batch, a draw costs more than the arithmetic on it.
  bits = jax.random.bits(key, (1 + side + 2 * (box + side),))
  flip, bits = bits[0] >> 31, bits[1:]
  digits, row_bits, column_bits = jnp.split(bits, (side, side + box + side))
  cells = _lines(row_bits, box)[:, None] * side + _lines(column_bits, box)[None, :]
  cells = jnp.where(flip == 1, cells.T, cells).reshape(-1)
  values = jnp.concatenate([jnp.arange(FIRST_DIGIT), FIRST_DIGIT + _order(digits)])
  return Symmetry(cells=cells.astype(jnp.int32), values=values.astype(jnp.int32))


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
  """The old row of each new row, (box**2,): bands in random order, rows in random order within their band."""
  bands, within = _order(bits[:box]), _order(bits[box:].reshape(box, box))
  return (bands[:, None] * box + within).reshape(-1)
