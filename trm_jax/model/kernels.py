# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A kernel of our own for NVIDIA GPUs: both input products of a SwiGLU and its gate in one pass over memory.

XLA writes the gate and the up of a SwiGLU to memory, and another of its kernels reads both to write silu(gate) * up.
Here they stay in registers. docs/performance.md has the bytes that this saves; it has not been timed on a GPU yet.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
import jax.numpy as jnp

Operands = tuple[jax.Array, ...]


class Tile(NamedTuple):
  """What one program of the grid computes, and how.

  Attributes:
    rows, columns: of the result.
    depth: that is summed over at a time.
    warps: of 32 threads each.
    stages: number of loads that are under way at once.
  """

  rows: int
  columns: int
  depth: int
  warps: int
  stages: int


# Two float32 sums of 128 x 64 take 64 of the 255 registers of each of 256 threads. Others: benchmarks.gated_products.
TILE = Tile(rows=128, columns=64, depth=32, warps=8, stages=3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def gated_products(gated: Callable[[jax.Array, jax.Array], jax.Array], lefts: Operands, rights: Operands,
                   tile: Tile = TILE) -> jax.Array:
  """gated(lefts[0] @ rights[0], lefts[-1] @ rights[-1]), each product summed in float32 and rounded to the dtype.

  The backward pass keeps only the operands and computes both products again. Differentiable in reverse mode only. Runs
  on one device; on a CPU it is interpreted, which is slow.

  Args:
    gated: combines two products element by element.
    lefts: one or two (X, Y), of 16 bits on a GPU.
    rights: one or two (Y, Z) of the same dtype.
    tile: of the grid; results do not depend on it, except for the order of their sums.

  Returns:
    (X, Z) of that dtype.
  """
  call = functools.partial(_call, gated, lefts, rights, tile)
  return jax.lax.platform_dependent(cpu=functools.partial(call, interpret=True), default=call)


def _call(gated, lefts, rights, tile, interpret=False):
  (X, Y), Z, dtype = lefts[0].shape, rights[0].shape[1], lefts[0].dtype

  def kernel(*refs):
    *operands, result = refs
    lefts_, rights_ = operands[:len(lefts)], operands[len(lefts):]
    rows = pl.program_id(0) * tile.rows + jnp.arange(tile.rows)
    columns = pl.program_id(1) * tile.columns + jnp.arange(tile.columns)

    def load(ref, first, second):  # zeros beyond the array's end, which add nothing to a sum
      mask = (first < ref.shape[0])[:, None] & (second < ref.shape[1])[None, :]
      return plgpu.load(ref.at[first[:, None], second[None, :]], mask=mask, other=0)

    def add(i, sums):
      depth = i * tile.depth + jnp.arange(tile.depth)
      left = [load(ref, rows, depth) for ref in lefts_]
      right = [load(ref, depth, columns) for ref in rights_]
      return [total + plgpu.dot(left[j], right[j]).astype(jnp.float32) for j, total in zip((0, -1), sums)]

    zero = jnp.zeros((tile.rows, tile.columns), jnp.float32)
    sums = jax.lax.fori_loop(0, pl.cdiv(Y, tile.depth), add, [zero, zero])
    mask = (rows < X)[:, None] & (columns < Z)[None, :]
    plgpu.store(result.at[rows[:, None], columns[None, :]], gated(*(s.astype(dtype) for s in sums)), mask=mask)

  return pl.pallas_call(
      kernel, out_shape=jax.ShapeDtypeStruct((X, Z), dtype), grid=(pl.cdiv(X, tile.rows), pl.cdiv(Z, tile.columns)),
      interpret=interpret, compiler_params=plgpu.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
      name="gated_products")(*lefts, *rights)


def _forward(gated, lefts, rights, tile):
  return gated_products(gated, lefts, rights, tile), (lefts, rights)


def _backward(gated, tile, operands, g):
  del tile  # by XLA

  def by_xla(lefts, rights):
    return gated(*(jnp.dot(lefts[i], rights[i]) for i in (0, -1)))

  return jax.vjp(by_xla, *operands)[1](g)


gated_products.defvjp(_forward, _backward)
