# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Turns and reflects mazes on the device."""

import jax
import jax.numpy as jnp

from trm_jax.tasks import symmetry as symmetry_lib
from trm_jax.tasks.maze import rules
from trm_jax.tasks.symmetry import Symmetry


def symmetry(number: jax.Array, shape: tuple[int, int]) -> Symmetry:
  """The transform with a number, () int32, modulo the number of transforms. Runs under jit and vmap."""
  table = symmetry_lib.turns(shape)
  return Symmetry(cells=jnp.asarray(table)[number % len(table)], values=jnp.arange(rules.VOCAB_SIZE, dtype=jnp.int32))
