# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Symmetries of puzzles as data: a permutation of the cells and a permutation of the token values.

The augmentations of Sudoku (rows, columns, digits) and of mazes (turns and reflections) are of this kind. As data they
work under jit and vmap, and have an inverse, which maps an answer back to the original puzzle.

Axes: S cells of the puzzle, V vocabulary.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.data import puzzles

# Turns and reflections of a board in the reference's order (dataset/common.py); the first one changes nothing.
_TURNS = (lambda board: board, np.rot90, lambda board: np.rot90(board, 2), lambda board: np.rot90(board, 3), np.fliplr,
          np.flipud, np.transpose, lambda board: np.fliplr(np.rot90(board)))


@flax.struct.dataclass
class Symmetry:
  """The symmetry that takes tokens t to values[t[cells]].

  Attributes:
    cells: (S,) int32, a permutation: the cell that each cell takes its token from.
    values: (V,) int32, a permutation: the token that each token becomes.
  """

  cells: jax.Array
  values: jax.Array


def identity(seq_len: int, vocab_size: int) -> Symmetry:
  """The symmetry that changes nothing."""
  return Symmetry(cells=jnp.arange(seq_len, dtype=jnp.int32), values=jnp.arange(vocab_size, dtype=jnp.int32))


def turns(shape: tuple[int, int]) -> np.ndarray:
  """The ways to turn and reflect a board of rows x columns cells, as `cells` of symmetries, (8, S) int32.

  A board that is not square has only those that keep its shape, (4, S): the identity, the turn by 180 degrees, and the
  two reflections at the middle.
  """
  numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
  return np.stack([image.reshape(-1) for turn in _TURNS if (image := turn(numbers)).shape == shape])


def unless_original(version: jax.Array, symmetry: Symmetry) -> Symmetry:
  """The symmetry, or for version 0, () int32, the one that changes nothing."""
  original = identity(symmetry.cells.size, symmetry.values.size)
  return jax.tree.map(lambda a, b: jnp.where(version == 0, a, b), original, symmetry)


def apply(symmetry: Symmetry, tokens: jax.Array) -> jax.Array:
  """Transforms one puzzle, or its labels.

  Args:
    symmetry: cells (S,), values (V,).
    tokens: (S,) integers in [0, V), or IGNORE_LABEL, which moves with its cell and keeps its value; or floats, which
      also move and keep their values.

  Returns:
    (S,) int32, or floats.
  """
  tokens = jnp.asarray(tokens)
  if jnp.issubdtype(tokens.dtype, jnp.floating):
    return tokens[symmetry.cells]
  moved = tokens.astype(jnp.int32)[symmetry.cells]
  ignored = moved == puzzles.IGNORE_LABEL
  return jnp.where(ignored, puzzles.IGNORE_LABEL, symmetry.values[jnp.where(ignored, 0, moved)])


def inverse(symmetry: Symmetry) -> Symmetry:
  """The symmetry that undoes this one: apply(inverse(s), apply(s, t)) == t."""
  return jax.tree.map(lambda p: jnp.zeros_like(p).at[p].set(jnp.arange(p.size, dtype=p.dtype)), symmetry)
