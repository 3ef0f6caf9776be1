# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The post-norm block that Tiny Recursive Models apply over and over.

Letters for axes, used in names and einsums throughout the library:
  B batch     S cells of the puzzle     P prefix tokens     L = P + S positions
  D hidden    F inner width of SwiGLU   N heads             K head dimension     V vocabulary
"""

import math

from flax import nnx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

ROPE_THETA = 10000.0
RMS_EPS = 1e-5


def truncated_normal(stddev: float):
  """Initializer: a normal cut at two sigma and rescaled so that the result has exactly this standard deviation."""
  # 0.8796… is the standard deviation of a unit normal that is cut at two sigma.
  return jax.nn.initializers.truncated_normal(stddev / 0.87962566103423978, lower=-2.0, upper=2.0)


def rms_norm(h: jax.Array, axis: int) -> jax.Array:
  """h / sqrt(mean(h^2) + 1e-5) along `axis`, without a learned scale; computed in float32, returned in h's dtype."""
  h_f32 = h.astype(jnp.float32)
  return (h_f32 * jax.lax.rsqrt(jnp.mean(jnp.square(h_f32), axis, keepdims=True) + RMS_EPS)).astype(h.dtype)


def swiglu_width(size: int, expansion: float) -> int:
  """Inner width of a SwiGLU over `size` features: 2/3 of expansion * size, rounded up to a multiple of 256."""
  return math.ceil(round(expansion * size * 2 / 3) / 256) * 256


class SwiGLU(nnx.Module):
  """down(silu(gate(h)) * up(h)) over the first or the last axis of h, with gate and up in one array, gate first.

  Over the first axis h is (L, B, D), so that mixing tokens is one matrix product without a transpose on either side;
  over the last it is (…, D). gate_up is (size, 2, F) and not (size, 2 F), so that devices can share out F and still
  hold the gate and the up of the same features. Two products, not one: in one einsum over both the backward pass on a
  CPU takes half as long again.
  """

  def __init__(self, size: int, expansion: float, *, axis: int, dtype: DTypeLike, rngs: nnx.Rngs):
    width = swiglu_width(size, expansion)
    self.axis = axis
    self.dtype = dtype
    self.gate_up = nnx.Param(truncated_normal(size**-0.5)(rngs.params(), (size, 2, width), jnp.float32))
    self.down = nnx.Param(truncated_normal(width**-0.5)(rngs.params(), (width, size), jnp.float32))

  def __call__(self, h: jax.Array) -> jax.Array:
    gate_up, down = self.gate_up[...].astype(self.dtype), self.down[...].astype(self.dtype)
    if self.axis == 0:
      h_LxX = h.reshape(h.shape[0], -1)  # a plain matrix: XLA's CPU backward is twice as fast on it as on (L, B, D)
      gate, up = (jnp.einsum("LF,LX->FX", gate_up[:, i], h_LxX) for i in range(2))
      return jnp.einsum("FL,FX->LX", down, jax.nn.silu(gate) * up).reshape(h.shape)
    gate, up = (jnp.einsum("XYD,DF->XYF", h, gate_up[:, i]) for i in range(2))
    return jnp.einsum("XYF,FD->XYD", jax.nn.silu(gate) * up, down)


class Attention(nnx.Module):
  """Multi-head self-attention over all positions, not causal, no biases; q, k and v in one array (D, 3, D), each with
  its heads one after the other, so that devices can share out the heads."""

  def __init__(self, hidden_size: int, num_heads: int, *, rope: bool, dtype: DTypeLike, rngs: nnx.Rngs):
    self.num_heads = num_heads
    self.rope = rope
    self.dtype = dtype
    init = truncated_normal(hidden_size**-0.5)
    self.qkv = nnx.Param(init(rngs.params(), (hidden_size, 3, hidden_size), jnp.float32))
    self.out = nnx.Param(init(rngs.params(), (hidden_size, hidden_size), jnp.float32))

  def __call__(self, h_BxLxD: jax.Array) -> jax.Array:
    B, L, D = h_BxLxD.shape
    qkv = self.qkv[...].astype(self.dtype)
    q, k, v = (jnp.einsum("BLD,DE->BLE", h_BxLxD, qkv[:, i]).reshape(B, L, self.num_heads, D // self.num_heads)
               for i in range(3))
    if self.rope:
      q, k = rotate(q), rotate(k)
    mixed = jax.nn.dot_product_attention(q, k, v)  # scale 1/sqrt(K)
    return jnp.einsum("BLD,DE->BLE", mixed.reshape(B, L, D), self.out[...].astype(self.dtype))


def rotate(q_BxLxNxK: jax.Array) -> jax.Array:
  """Rotary position embedding, rotate-half convention: feature i is paired with feature i + K/2. In float32."""
  L, K = q_BxLxNxK.shape[1], q_BxLxNxK.shape[3]
  frequency = ROPE_THETA ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)
  angle = (jnp.arange(L, dtype=jnp.float32)[:, None] * frequency[None, :])[None, :, None, :]  # 1xLx1x(K/2)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  first, second = jnp.split(q_BxLxNxK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(q_BxLxNxK.dtype)


class Block(nnx.Module):
  """h <- rms(h + mix(h)); h <- rms(h + swiglu(h)).

  With attention h is (B, L, D). With a mixer over tokens it is (L, B, D), and the mixer's norm is over L as well.
  """

  def __init__(
      self,
      *,
      positions: int,
      hidden_size: int,
      num_heads: int,
      expansion: float,
      mlp_t: bool,
      rope: bool,
      dtype: DTypeLike,
      rngs: nnx.Rngs,
  ):
    if mlp_t:
      self.mix = SwiGLU(positions, expansion, axis=0, dtype=dtype, rngs=rngs)
    else:
      self.mix = Attention(hidden_size, num_heads, rope=rope, dtype=dtype, rngs=rngs)
    self.mix_norm_axis = 0 if mlp_t else -1
    self.mlp = SwiGLU(hidden_size, expansion, axis=-1, dtype=dtype, rngs=rngs)

  def __call__(self, h: jax.Array) -> jax.Array:
    h = rms_norm(h + self.mix(h), self.mix_norm_axis)
    return rms_norm(h + self.mlp(h), -1)


class Network(nnx.Module):
  """f of the paper: a stack of blocks, which says how h is laid out."""

  def __init__(self, num_layers: int, *, rngs: nnx.Rngs, **block):
    self.layers = nnx.List([Block(rngs=rngs, **block) for _ in range(num_layers)])

  def __call__(self, h: jax.Array) -> jax.Array:
    for layer in self.layers:
      h = layer(h)
    return h
