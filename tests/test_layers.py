# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The parts of a block. That they are put together rightly is what test_model.py and the parity tests show."""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.model import config as model_config_lib
from trm_jax.model import flops
from trm_jax.model import kernels as kernels_lib
from trm_jax.model import layers
from trm_jax.model import TRMConfig


@pytest.mark.parametrize("size, width", [(512, 1536), (97, 512), (32, 256), (96, 256), (97 + 819, 2560)])
def test_swiglu_width(size, width):
  assert model_config_lib.swiglu_width(size, 4.0) == width


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


@pytest.mark.parametrize("subscripts, a, b", [
    ("FL,LBD->FBD", (6, 5), (5, 2, 3)),
    ("LF,FBD->LBD", (5, 6), (6, 2, 3)),
    ("XYD,DF->XYF", (4, 3, 5), (5, 2)),
    ("XYD,DF->XYF", (4, 3, 2), (2, 5)),
])
def test_product(subscripts, a, b):
  """As einsum, its gradients included, whichever operand is the bigger one; bfloat16 is summed in float32."""
  rng = np.random.default_rng(0)
  whole_a, whole_b = (jnp.bfloat16(rng.integers(-8, 9, shape)) for shape in (a, b))  # exact in bfloat16, sums included
  a, b = jnp.float32(rng.normal(size=a)), jnp.float32(rng.normal(size=b))
  expected, expected_vjp = jax.vjp(lambda a, b: jnp.einsum(subscripts, a, b), a, b)
  result, vjp = jax.vjp(lambda a, b: layers.product(subscripts, a, b), a, b)
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
  g = jnp.float32(rng.normal(size=result.shape))
  for gradient, right in zip(vjp(g), expected_vjp(g), strict=True):
    np.testing.assert_allclose(gradient, right, rtol=1e-5, atol=1e-5)

  def with_gradients(function):
    outputs, vjp = jax.vjp(functools.partial(function, subscripts), whole_a, whole_b)
    return outputs, *vjp(jnp.ones_like(outputs))

  for array, right in zip(with_gradients(layers.product), with_gradients(jnp.einsum), strict=True):
    assert array.dtype == jnp.bfloat16
    np.testing.assert_array_equal(array, right)
  ones = layers.product("XYD,DF->XYF", jnp.ones((1, 1, 600), jnp.bfloat16), jnp.ones((600, 1), jnp.bfloat16))
  assert ones.dtype == jnp.bfloat16 and ones.item() == 600  # summed in bfloat16 it would stop at 256


def test_gate_rounds_once():
  gate, up = (jnp.asarray(np.random.default_rng(i).normal(size=10_000), jnp.bfloat16) for i in range(2))
  exact = np.float64(gate) / (1 + np.exp(-np.float64(gate))) * np.float64(up)
  assert (layers._gated(gate, up, None) == jnp.asarray(exact, jnp.bfloat16)).mean() > 0.999


@pytest.mark.parametrize("token_axis", [None, 0, 1])
def test_inner_norm(token_axis):
  """down(sigmoid(gate) * norm(gate * up)) in place of down(silu(gate) * up): the norm is over the inner features."""
  mixes_tokens = token_axis is not None
  kind = functools.partial(layers.TokenSwiGLU, token_axis=token_axis) if mixes_tokens else layers.SwiGLU
  swiglu = kind(6, 4.0, inner_norm=True, kernels="xla", dtype=jnp.float32, rngs=nnx.Rngs(0))
  h = np.random.default_rng(0).normal(size=(6, 3, 2) if mixes_tokens else (2, 3, 6))
  gate_up, down = np.float64(swiglu.gate_up[...]), np.float64(swiglu.down[...])
  if mixes_tokens:  # one matrix product over positions, for every row and feature
    gate, up = np.einsum("gfl,lbd->gbdf", gate_up, h)
  else:
    gate, up = np.einsum("dgf,bld->gblf", gate_up, h)
  inner = gate * up
  inner = inner / np.sqrt((inner**2).mean(-1, keepdims=True) + 1e-5) / (1 + np.exp(-gate))
  expected = np.einsum("lf,bdf->lbd", down, inner) if mixes_tokens else inner @ down
  if token_axis:
    h, expected = (a.swapaxes(0, token_axis) for a in (h, expected))
  np.testing.assert_allclose(swiglu(jnp.float32(h)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixes_tokens", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_kernel_of_a_swiglu(mixes_tokens, dtype):
  """As XLA computes it, gradients included, though no size is a multiple of the kernel's blocks."""
  h = jnp.asarray(np.random.default_rng(0).normal(size=(9, 5, 34) if mixes_tokens else (5, 27, 34)), dtype)
  results = []
  for kernels in ("xla", "pallas"):
    rest = dict(inner_norm=False, kernels=kernels, dtype=dtype, rngs=nnx.Rngs(0))
    swiglu = layers.TokenSwiGLU(9, 4.0, token_axis=0, **rest) if mixes_tokens else layers.SwiGLU(34, 4.0, **rest)

    @nnx.jit
    def result_and_gradients(swiglu, h):
      def total(swiglu, h):
        result = layers.keep_products(swiglu)(h)
        return jnp.sum(result.astype(jnp.float32) ** 2), result

      gradients, result = nnx.grad(total, argnums=(0, 1), has_aux=True)(swiglu, h)
      return result, gradients

    results.append(jax.tree.leaves(result_and_gradients(swiglu, h)))
  step = 2e-6 if dtype == "float32" else 2**-7
  for ours, right in zip(*results[::-1], strict=True):
    ours, right = np.float32(ours), np.float32(right)
    np.testing.assert_allclose(ours, right, atol=step * np.abs(right).max())


def test_the_kernel_of_a_swiglu_is_made_for_gpus():
  """As far as that can be seen without one: it becomes a program in Triton's language."""
  h, weights = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in ((200, 512), (512, 1536)))
  products = jax.jit(functools.partial(kernels_lib.gated_products, lambda gate, up: gate * up))
  text = products.trace((h,), (weights, weights)).lower(lowering_platforms=("cuda",)).as_text()
  assert "triton" in text and "gated_products" in text


@pytest.mark.parametrize("mlp_t, kernels, kept", [
    # By hand, elements a row of 10 positions and 8 features: h, and of each of the 2 layers gate, up and down of both
    # parts. The mixer's width is 256, and so is the other's.
    (True, "xla", 10 * 8 + 2 * (2 * 256 * 8 + 10 * 8 + 2 * 10 * 256 + 10 * 8)),
    (True, "pallas", 10 * 8 + 2 * (256 * 8 + 10 * 8 + 10 * 256 + 10 * 8)),
    # q, k, v, what attention makes of them, and out.
    (False, "xla", 10 * 8 + 2 * (5 * 10 * 8 + 2 * 10 * 256 + 10 * 8)),
], ids=["mlp_t", "kernel", "attention"])
def test_only_products_are_kept_for_the_backward_pass(mlp_t, kernels, kept):
  config = TRMConfig(vocab_size=5, seq_len=8, hidden_size=8, num_heads=2, puzzle_emb_ndim=8, puzzle_emb_len=2,
                     mlp_t=mlp_t, kernels=kernels)
  assert flops.kept_elements(config) == (config.L_cycles + 1) * kept
  network = layers.Network(2, positions=10, hidden_size=8, num_heads=2, expansion=4.0, inner_norm=False, mlp_t=mlp_t,
                           token_axis=0, rope=not mlp_t, attention="xla", kernels=kernels, dtype="float32",
                           rngs=nnx.Rngs(0))
  rows = 7
  h = jnp.zeros((10, rows, 8) if mlp_t else (rows, 10, 8))
  backward = jax.eval_shape(lambda h: jax.vjp(lambda h: layers.keep_products(network)(h), h)[1], h)
  sizes = [leaf.size for leaf in jax.tree.leaves(backward)]
  weights = {leaf.size for leaf in jax.tree.leaves(nnx.state(network))}
  assert sum(size for size in sizes if size % rows == 0 and size not in weights) == rows * kept
