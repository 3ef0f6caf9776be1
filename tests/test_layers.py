# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The parts of a block. That they are put together rightly is what test_model.py and the parity tests show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax import layers


@pytest.mark.parametrize("size, width", [(512, 1536), (97, 512), (32, 256), (96, 256), (97 + 819, 2560)])
def test_swiglu_width(size, width):
  assert layers.swiglu_width(size, 4.0) == width


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rms_norm(axis):
  # Small enough for epsilon to matter: its square is a tenth of 1e-5.
  h = 1e-3 * np.random.default_rng(0).normal(size=(3, 4, 5))
  expected = h / np.sqrt((h**2).mean(axis, keepdims=True) + 1e-5)
  np.testing.assert_allclose(layers.rms_norm(jnp.float32(h), axis), expected, rtol=1e-5)


def test_rms_norm_computes_in_float32():
  """bfloat16 comes out as float64 would have it, rounded once. Rounding in between shifts a third of the elements."""
  h = jnp.asarray(np.random.default_rng(0).normal(size=(100, 64)), jnp.bfloat16)
  h_f64 = np.float64(h)
  expected = jnp.asarray(h_f64 / np.sqrt((h_f64**2).mean(-1, keepdims=True) + 1e-5), jnp.bfloat16)
  normed = layers.rms_norm(h, -1)
  assert normed.dtype == jnp.bfloat16
  assert (normed == expected).mean() > 0.999


@pytest.mark.parametrize("stddev", [1.0, 0.05])
def test_truncated_normal(stddev):
  """Cut at two sigma of the normal, then rescaled so that the result has the standard deviation asked for."""
  x = np.asarray(layers.truncated_normal(stddev)(jax.random.key(0), (400, 1000), jnp.float32), np.float64)
  assert x.std() == pytest.approx(stddev, rel=0.01)
  assert abs(x.mean()) < 0.01 * stddev
  assert np.abs(x).max() == pytest.approx(2 * stddev / 0.8796, rel=0.001)


def test_rotate():
  """Features i and i + K/2, as a complex number, turn by position * 10000^(-2i/K)."""
  B, L, N, K = 2, 7, 3, 10
  q = np.random.default_rng(0).normal(size=(B, L, N, K))
  frequency = 10000.0 ** (-2 * np.arange(K // 2) / K)
  turned = (q[..., :K // 2] + 1j * q[..., K // 2:]) * np.exp(1j * np.arange(L)[:, None, None] * frequency)
  np.testing.assert_allclose(
      layers.rotate(jnp.float32(q)), np.concatenate([turned.real, turned.imag], -1), rtol=1e-4, atol=1e-5)
  assert layers.rotate(jnp.bfloat16(q)).dtype == jnp.bfloat16
