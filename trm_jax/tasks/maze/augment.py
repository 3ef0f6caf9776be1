# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Turns and reflects mazes on the device."""

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.tasks.maze import rules
from trm_jax.tasks.symmetry import Symmetry

# The transforms in the reference's order (dataset/common.py); the first one changes nothing.
_IMAGES = (lambda board: board, np.rot90, lambda board: np.rot90(board, 2), lambda board: np.rot90(board, 3), np.fliplr,
           np.flipud, np.transpose, lambda board: np.fliplr(np.rot90(board)))


def cells(shape: tuple[int, int]) -> np.ndarray:
  """For each transform, the cell that each cell takes its token from, (8, S) int32.

  A board that is not square has only the transforms that keep its shape, (4, S): the identity, the turn by 180 degrees,
  and the two reflections at the middle.
  """
  numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
  return np.stack([image.reshape(-1) for transform in _IMAGES if (image := transform(numbers)).shape == shape])


def symmetry(number: jax.Array, shape: tuple[int, int]) -> Symmetry:
  """The transform with a number, () int32, modulo the number of transforms. Runs under jit and vmap."""
  table = cells(shape)
  return Symmetry(cells=jnp.asarray(table)[number % len(table)], values=jnp.arange(rules.VOCAB_SIZE, dtype=jnp.int32))
