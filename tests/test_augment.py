# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Symmetries as data: what they do to tokens, and their inverse."""

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.data import puzzles
from trm_jax.tasks import symmetry as symmetry_lib

S, V = 7, 5


def _symmetry(seed: int) -> symmetry_lib.Symmetry:
  rng = np.random.default_rng(seed)
  return symmetry_lib.Symmetry(
      cells=jnp.asarray(rng.permutation(S), jnp.int32), values=jnp.asarray(rng.permutation(V), jnp.int32)
  )


def test_apply_moves_cells_then_renames_values():
  symmetry = symmetry_lib.Symmetry(cells=jnp.array([2, 0, 1]), values=jnp.array([0, 2, 1]))
  np.testing.assert_array_equal(symmetry_lib.apply(symmetry, jnp.array([0, 1, 2], jnp.uint8)), [1, 0, 2])


def test_ignored_labels_move_with_their_cell_and_stay_ignored():
  symmetry = symmetry_lib.Symmetry(cells=jnp.array([2, 0, 1]), values=jnp.array([1, 2, 0]))
  labels = jnp.array([puzzles.IGNORE_LABEL, 1, 2], jnp.int8)
  moved = symmetry_lib.apply(symmetry, labels)
  np.testing.assert_array_equal(moved, [0, puzzles.IGNORE_LABEL, 2])
  assert moved.dtype == jnp.int32


def test_floats_move_with_their_cells():
  symmetry = symmetry_lib.Symmetry(cells=jnp.array([2, 0, 1]), values=jnp.array([1, 2, 0]))
  moved = symmetry_lib.apply(symmetry, jnp.array([0.5, 1.5, 0.25], jnp.float32))
  np.testing.assert_array_equal(moved, np.array([0.25, 0.5, 1.5], np.float32), strict=True)


def test_inverse_undoes_both_ways_under_jit_and_vmap():
  symmetries = jax.tree.map(lambda *x: jnp.stack(x), *[_symmetry(seed) for seed in range(6)])
  tokens = jnp.asarray(np.random.default_rng(9).integers(0, V, (6, S)), jnp.int32)

  @jax.jit
  @jax.vmap
  def there_and_back(symmetry, t):
    back = symmetry_lib.inverse(symmetry)
    apply = symmetry_lib.apply
    return apply(back, apply(symmetry, t)), apply(symmetry, apply(back, t))

  for result in there_and_back(symmetries, tokens):
    np.testing.assert_array_equal(result, tokens)
  assert (jax.vmap(symmetry_lib.apply)(symmetries, tokens) != tokens).any()


def test_identity_changes_nothing():
  tokens = jnp.array([4, 3, puzzles.IGNORE_LABEL, 1, 0, 0, 2])
  np.testing.assert_array_equal(symmetry_lib.apply(symmetry_lib.identity(S, V), tokens), tokens)
