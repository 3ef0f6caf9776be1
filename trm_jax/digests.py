# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Digests of arrays, computed on the devices that hold them, so that a checkpoint that was changed is noticed.

A digest depends on the values, the shape and the dtype of an array, and neither on how the array is laid out over
devices nor on the number of processes. It guards against accidents, not against forgery.
"""

import functools
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec as P
import jax.numpy as jnp
import numpy as np


def digests(tree: Any) -> dict[str, str]:
  """The digest of every array in a pytree. All processes of a job call it together.

  Args:
    tree: pytree of jax.Array of any dtype of 1, 2, 4 or 8 bytes; a leaf `...` is passed over.

  Returns:
    By the leaf's path: dtype, shape and 64 bits, e.g. {"params/q_head": "float32[512,2] 0f1e2d3c4b5a6978"}. A change
    of a single element changes the bits for certain; any other change goes unnoticed once in 2^64.
  """
  sums = {name: _compiled(_whole(x))(x) for name, x in _leaves(tree).items() if x is not ...}
  names = kinds(tree)
  return {name: f"{names[name]} {first:08x}{second:08x}" for name, (first, second) in jax.device_get(sums).items()}


def kinds(tree: Any) -> dict[str, str]:
  """What a digest begins with, dtype and shape, by the leaf's path; "" for a leaf `...`. Others may be abstract."""
  return {name: "" if x is ... else f"{x.dtype}[{','.join(map(str, x.shape))}]" for name, x in _leaves(tree).items()}


def _leaves(tree: Any) -> dict[str, Any]:
  return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree.leaves_with_path(tree)}


def _whole(x: jax.Array) -> NamedSharding | None:
  """The layout in which every process can read the sums of an array; None for an array on one device."""
  return NamedSharding(x.sharding.mesh, P()) if isinstance(x.sharding, NamedSharding) else None


@functools.cache
def _compiled(whole: NamedSharding | None):
  # Leaf by leaf, because most leaves of a state have the shape of another one, and compiling takes the time here.
  return jax.jit(_sums, out_shardings=whole)


def _sums(x: jax.Array) -> jax.Array:
  """(2,) uint32: sums over the elements of two hashes of an element's bits and its place in the array.

  Sums modulo 2^32 come out the same in any order. For a given place both hashes are bijections of the element's bits.
  """
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}")).astype(jnp.uint32)
  place = jnp.zeros(bits.shape, jnp.uint32)
  for axis, length in enumerate(bits.shape):
    place = place * np.uint32(length % 2**32) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
  first = _mix(bits ^ _mix(place + np.uint32(1)))
  second = _mix(first + np.uint32(0x9E3779B9))
  zero = np.uint32(0)
  # In one reduction, because in two the compiler stores the hashes in between, which takes as much memory as x.
  return jnp.stack(jax.lax.reduce(
      (first, second), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), tuple(range(bits.ndim))))


def _mix(x: jax.Array) -> jax.Array:
  """A bijection of uint32 in which every bit of the result depends on all bits: the last lines of MurmurHash3."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)
