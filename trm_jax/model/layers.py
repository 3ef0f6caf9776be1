# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The post-norm block that Tiny Recursive Models apply over and over.

Axes are named by the letters of the table in docs/design.md. Here: B rows of a batch, S cells of a puzzle, P prefix
tokens, L = P + S positions, D features of a state, F inner features of a SwiGLU, H attention heads, K features of a
head, V tokens of the vocabulary.
"""

from collections.abc import Callable
import functools
import math
from typing import Any

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jax.typing import DTypeLike

from trm_jax.model.config import RMS_EPS, ROPE_THETA, swiglu_width


def truncated_normal(stddev: float):
  """Initializer: a normal distribution cut at two sigma and rescaled to have exactly this standard deviation."""
  # 0.8796… is the standard deviation of a unit normal that is cut at two sigma.
  return jax.nn.initializers.truncated_normal(stddev / 0.87962566103423978, lower=-2.0, upper=2.0)


def rms_norm(h: jax.Array, axis: int) -> jax.Array:
  """h / sqrt(mean(h^2) + 1e-5) along `axis`, without a learned scale; computed in float32, returned in h's dtype."""
  h_f32 = h.astype(jnp.float32)
  return (h_f32 * jax.lax.rsqrt(jnp.mean(jnp.square(h_f32), axis, keepdims=True) + RMS_EPS)).astype(h.dtype)


def scaled(factor: float, x: jax.Array) -> jax.Array:
  """factor * x in x's dtype: multiplied in float32 and rounded once, as PyTorch does it.

  JAX by itself would round the factor to x's dtype first: sqrt(512) = 22.627 would become 22.625 in bfloat16.
  """
  return (factor * x.astype(jnp.float32)).astype(x.dtype)


def precision(dtype: DTypeLike) -> jax.lax.Precision | None:
  """The precision that a product of operands of this dtype requests: full float32 if they are float32.

  By default a GPU may round float32 operands to the 10 bits of TF32, and a TPU to bfloat16.
  """
  return jax.lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None


_PRODUCT = "product"  # the name of results that are worth keeping for the backward pass


def product(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
  """jnp.einsum of two arrays of one dtype, summed in float32 and rounded to that dtype, as are its gradients.

  Its result is kept for the backward pass of a function under `keep_products`. Differentiable in reverse mode only.

  Args:
    subscripts: with an arrow; every letter appears in two of its three parts, once in each.
    a: its first axis should not be summed over, since XLA's CPU would then transpose it.
    b: of a's dtype.
  """
  return checkpoint_name(_product(subscripts, a, b), _PRODUCT)


def keep_products(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns the function changed so that its backward pass keeps only results of products and recomputes all else.

  Norms and gates are cheap: reading their stored results would cost more than computing them again.
  """
  return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(_PRODUCT))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(subscripts, a, b):
  if a.dtype != jnp.bfloat16:
    return jnp.einsum(subscripts, a, b, precision=precision(a.dtype))
  return _bfloat16_product(subscripts, a, b)


def _bfloat16_product(subscripts, a, b):
  # On a GPU cuBLAS would write float32 results to memory.
  return jax.lax.platform_dependent(a, b, cpu=functools.partial(_bfloat16_product_on_cpu, subscripts),
                                    default=functools.partial(jnp.einsum, subscripts))


def _bfloat16_product_on_cpu(subscripts, a, b):
  """XLA's CPU has fast bfloat16 products of matrices (X, Y) by (Y, Z) or (Z, Y), with results in float32.

  So every product that is one of matrices becomes such; of the two transposes that serve, the smaller is made. Others
  are left to einsum.
  """
  in_a, in_b, out = subscripts.replace("->", ",").split(",")
  summed = "".join(letter for letter in in_a if letter not in out)
  rows, columns = (letters.replace(summed, "") for letters in (in_a, in_b))
  if {in_a, in_b} - {rows + summed, summed + rows, columns + summed, summed + columns} or out != rows + columns:
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32).astype(a.dtype)
  sizes = dict(zip(in_a + in_b, a.shape + b.shape))
  X, Y, Z = (math.prod(sizes[letter] for letter in letters) for letters in (rows, summed, columns))
  a_T, b_T = in_a != rows + summed, in_b != summed + columns
  a, b = a.reshape((Y, X) if a_T else (X, Y)), b.reshape((Z, Y) if b_T else (Y, Z))
  # The barriers keep XLA from undoing the transposes.
  if a_T and (b_T or Z < X):
    b = b if b_T else jax.lax.optimization_barrier(b.T)
    result = jax.lax.optimization_barrier(jnp.dot(b, a, preferred_element_type=jnp.float32)).T
  else:
    a = jax.lax.optimization_barrier(a.T) if a_T else a
    result = jnp.einsum("XY,ZY->XZ" if b_T else "XY,YZ->XZ", a, b, preferred_element_type=jnp.float32)
  return result.astype(a.dtype).reshape(tuple(sizes[letter] for letter in out))


def _product_fwd(subscripts, a, b):
  return _product(subscripts, a, b), (a, b)


def _product_bwd(subscripts, operands, g):
  (a, b), (in_a, in_b, out) = operands, subscripts.replace("->", ",").split(",")
  return _gradient(f"{out},{in_b}->{in_a}", g, b), _gradient(f"{in_a},{out}->{in_b}", a, g)


_product.defvjp(_product_fwd, _product_bwd)


def _gradient(subscripts, a, b):
  """Computes a product, perhaps with its operands swapped: XLA's CPU transposes the first one if its first axis is
  summed over, and to transpose the smaller one costs less."""
  if a.dtype == jnp.bfloat16:
    return _bfloat16_product(subscripts, a, b)
  in_a, in_b, out = subscripts.replace("->", ",").split(",")
  if in_a[0] not in out and in_b[0] not in out and a.size > b.size:
    swapped = "".join(sorted(out, key=in_a.find))  # b's axes first
    return jnp.einsum(f"{swapped}->{out}", jnp.einsum(f"{in_b},{in_a}->{swapped}", b, a, precision=precision(a.dtype)))
  return jnp.einsum(subscripts, a, b, precision=precision(a.dtype))


def _sigmoid(x: jax.Array) -> jax.Array:
  """1 / (1 + exp(-x)) by the hyperbolic tangent, which a TPU has in hardware; an exact division takes many operations.

  The error is at most 1.7e-7 (measured on a CPU); that of the division is 0.9e-7.
  """
  return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _gated(gate: jax.Array, up: jax.Array, norm_axis: int | None) -> jax.Array:
  """silu(gate) * up in float32, rounded once; or, with a norm along an axis, sigmoid(gate) * rms_norm(gate * up)."""
  gate_f32, up_f32 = gate.astype(jnp.float32), up.astype(jnp.float32)
  if norm_axis is None:
    return (gate_f32 * _sigmoid(gate_f32) * up_f32).astype(gate.dtype)
  return (_sigmoid(gate_f32) * rms_norm(gate_f32 * up_f32, norm_axis)).astype(gate.dtype)


def _gated_products(lefts: tuple[jax.Array, ...], rights: tuple[jax.Array, ...]) -> jax.Array:
  """Computes both input products of a SwiGLU and its gate in one kernel. Its result is kept for the backward pass, in
  place of the two products."""
  from trm_jax.model import kernels  # pylint: disable=g-import-not-at-top  # Pallas takes a second

  gated = functools.partial(_gated, norm_axis=None)
  return checkpoint_name(kernels.gated_products(gated, lefts, rights), _PRODUCT)


class SwiGLU(nnx.Module):
  """down(silu(gate(h)) * up(h)) over the features of h (B, L, D) or (L, B, D); see `_gated` for inner_norm.

  gate_up is (D, 2, F) rather than (D, 2 F), so that devices can divide F and still hold the gate and the up of the same
  features. It makes two products, since with one einsum for both the backward pass on a CPU takes half as long again.
  """

  def __init__(self, hidden_size: int, expansion: float, *, inner_norm: bool, kernels: str, dtype: DTypeLike,
               rngs: nnx.Rngs):
    width = swiglu_width(hidden_size, expansion)
    self.kernels = kernels
    self.norm_axis = -1 if inner_norm else None
    self.dtype = dtype
    self.gate_up = nnx.Param(truncated_normal(hidden_size**-0.5)(rngs.params(), (hidden_size, 2, width), jnp.float32))
    self.down = nnx.Param(truncated_normal(width**-0.5)(rngs.params(), (width, hidden_size), jnp.float32))

  def __call__(self, h: jax.Array) -> jax.Array:
    gate_up, down = self.gate_up[...].astype(self.dtype), self.down[...].astype(self.dtype)
    if self.kernels == "pallas":
      gated = _gated_products((h.reshape(-1, h.shape[-1]),), (gate_up[:, 0], gate_up[:, 1]))
      gated = gated.reshape(*h.shape[:-1], -1)
    else:
      gated = _gated(*(product("XYD,DF->XYF", h, gate_up[:, i]) for i in range(2)), self.norm_axis)
    return product("XYF,FD->XYD", gated, down)


class TokenSwiGLU(nnx.Module):
  """A SwiGLU over the positions of h, (L, B, D) or (B, L, D).

  gate_up is (2, F, L) and down (L, F): with positions first, the products are plain matrix products without transposes.
  """

  def __init__(self, positions: int, expansion: float, *, token_axis: int, inner_norm: bool, kernels: str,
               dtype: DTypeLike, rngs: nnx.Rngs):
    width = swiglu_width(positions, expansion)
    self.kernels = kernels
    self.token_axis = token_axis
    self.norm_axis = token_axis if inner_norm else None
    self.dtype = dtype
    self.gate_up = nnx.Param(truncated_normal(positions**-0.5)(rngs.params(), (2, width, positions), jnp.float32))
    self.down = nnx.Param(truncated_normal(width**-0.5)(rngs.params(), (positions, width), jnp.float32))

  def __call__(self, h: jax.Array) -> jax.Array:
    gate_up, down = self.gate_up[...].astype(self.dtype), self.down[...].astype(self.dtype)
    shape, before, after = h.shape, "B"[:self.token_axis], "BD"[self.token_axis:]
    if self.token_axis == 0 and self.dtype == jnp.float32:  # XLA multiplies plain matrices faster on a CPU
      h, after = h.reshape(shape[0], -1), "X"
    if self.kernels == "pallas" and self.token_axis == 0:
      gated = _gated_products((gate_up[0], gate_up[1]), (h.reshape(shape[0], -1),)).reshape(-1, *h.shape[1:])
    else:
      gated = _gated(*(product(f"FL,{before}L{after}->{before}F{after}", gate_up[i], h) for i in range(2)),
                     self.norm_axis)
    return product(f"LF,{before}F{after}->{before}L{after}", down, gated).reshape(shape)


class Attention(nnx.Module):
  """Multi-head self-attention over all positions, not causal, without biases; q, k and v are in one array (D, 3, D),
  each with its heads one after another, so that devices can divide the heads."""

  def __init__(self, hidden_size: int, num_heads: int, *, rope: bool, implementation: str, dtype: DTypeLike,
               rngs: nnx.Rngs):
    self.num_heads = num_heads
    self.rope = rope
    self.implementation = implementation
    self.dtype = dtype
    init = truncated_normal(hidden_size**-0.5)
    self.qkv = nnx.Param(init(rngs.params(), (hidden_size, 3, hidden_size), jnp.float32))
    self.out = nnx.Param(init(rngs.params(), (hidden_size, hidden_size), jnp.float32))

  def __call__(self, h_BxLxD: jax.Array) -> jax.Array:
    B, L, D = h_BxLxD.shape
    qkv = self.qkv[...].astype(self.dtype)
    q, k, v = (product("BLD,DX->BLX", h_BxLxD, qkv[:, i]).reshape(B, L, self.num_heads, D // self.num_heads)
               for i in range(3))
    if self.rope:
      q, k = rotate(q), rotate(k)
    with jax.default_matmul_precision("highest" if precision(self.dtype) else None):  # it has no such argument
      mixed = jax.nn.dot_product_attention(q, k, v, implementation=self.implementation)  # scale 1/sqrt(K)
    mixed = checkpoint_name(mixed, _PRODUCT)
    return product("BLD,DX->BLX", mixed.reshape(B, L, D), self.out[...].astype(self.dtype))


def rotate(q_BxLxHxK: jax.Array) -> jax.Array:
  """Rotary position embedding, rotate-half convention: feature i is paired with feature i + K/2. In float32."""
  L, K = q_BxLxHxK.shape[1], q_BxLxHxK.shape[3]
  frequency = ROPE_THETA ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)
  angle = (jnp.arange(L, dtype=jnp.float32)[:, None] * frequency[None, :])[None, :, None, :]  # 1xLx1x(K/2)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  first, second = jnp.split(q_BxLxHxK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(q_BxLxHxK.dtype)


class Block(nnx.Module):
  """h <- rms(h + mix(h)); h <- rms(h + swiglu(h)).

  With attention, h is (B, L, D). With a mixer over tokens, axis L is the token_axis, and the mixer's norm is over L.
  """

  def __init__(
      self,
      *,
      positions: int,
      hidden_size: int,
      num_heads: int,
      expansion: float,
      inner_norm: bool,
      mlp_t: bool,
      token_axis: int,
      rope: bool,
      attention: str,
      kernels: str,
      dtype: DTypeLike,
      rngs: nnx.Rngs,
  ):
    swiglu = dict(inner_norm=inner_norm, kernels=kernels, dtype=dtype, rngs=rngs)
    if mlp_t:
      self.mix = TokenSwiGLU(positions, expansion, token_axis=token_axis, **swiglu)
    else:
      self.mix = Attention(hidden_size, num_heads, rope=rope, implementation=attention, dtype=dtype, rngs=rngs)
    self.mix_norm_axis = token_axis if mlp_t else -1
    self.mlp = SwiGLU(hidden_size, expansion, **swiglu)

  def __call__(self, h: jax.Array) -> jax.Array:
    h = rms_norm(h + self.mix(h), self.mix_norm_axis)
    return rms_norm(h + self.mlp(h), -1)


class Network(nnx.Module):
  """f of the paper: a stack of blocks; see Block for the layout of h."""

  def __init__(self, num_layers: int, *, rngs: nnx.Rngs, **block):
    self.layers = nnx.List([Block(rngs=rngs, **block) for _ in range(num_layers)])

  def __call__(self, h: jax.Array) -> jax.Array:
    for layer in self.layers:
      h = layer(h)
    return h
