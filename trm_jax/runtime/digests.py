# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Digests of arrays, computed on the devices that hold them, by which a change to a checkpoint is noticed.

A digest depends on the values, the shape and the dtype of an array, but neither on its layout over devices nor on the
number of processes. It guards against accidents, not against forgery.
"""

import functools
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np


def digests(tree: Any) -> dict[str, str]:
  """The digest of every array in a pytree. All processes of a job that hold a part of it call this together.

  Each device reads the part that it holds, and one exchange adds up the sums of all processes: many collectives at
  once, one for each array, were seen to hang jobs on CPUs.

  Args:
    tree: pytree of jax.Array of any dtype of 1, 2, 4 or 8 bytes.

  Returns:
    Dtype, shape and 64 bits by the leaf's path, e.g. {"params/q_head": "float32[512,2] 0f1e2d3c4b5a6978"}. A change
    of a single element always changes the bits; any other change goes unnoticed with a chance of 1 in 2^64.
  """
  arrays = _leaves(tree)
  parts = jax.device_get([
      [_sums(shard.data, _start(shard.index), shape=x.shape) for shard in x.addressable_shards if not shard.replica_id]
      for x in arrays.values()])
  sums = np.array([np.sum([np.zeros(2, np.uint32), *part], 0, np.uint32) for part in parts], np.uint32).reshape(-1, 2)
  elsewhere = np.array([not x.is_fully_addressable for x in arrays.values()], bool)
  if elsewhere.any():
    everyones = np.asarray(multihost_utils.process_allgather(sums)).astype(np.uint32)
    sums[elsewhere] = everyones.sum(0, dtype=np.uint32)[elsewhere]
  names = kinds(tree)
  return {name: f"{names[name]} {first:08x}{second:08x}" for name, (first, second) in zip(arrays, sums.tolist())}


def kinds(tree: Any) -> dict[str, str]:
  """The beginning of each digest, dtype and shape, by the leaf's path. Leaves may be abstract."""
  return {name: f"{x.dtype}[{','.join(map(str, x.shape))}]" for name, x in _leaves(tree).items()}


def _leaves(tree: Any) -> dict[str, Any]:
  return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree.leaves_with_path(tree)}


def _start(index: tuple[slice, ...]) -> np.ndarray:
  """The index of a part's first element in the array, (ndim,) uint32."""
  return np.array([axis.start or 0 for axis in index], np.uint32)


# Compiled leaf by leaf, because most leaves share their shape with another one, and compiling takes most of the time.
@functools.partial(jax.jit, static_argnames="shape")
def _sums(x: jax.Array, start: jax.Array, *, shape: tuple[int, ...]) -> jax.Array:
  """Sums of two hashes over all elements, (2,) uint32. A hash depends on an element's bits and its place in the array.

  Sums modulo 2^32 do not depend on the order. For a given place both hashes are bijections of the element's bits.

  Args:
    x: a part of the array.
    start: (ndim,) uint32, index of its first element.
    shape: of the whole array.
  """
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}")).astype(jnp.uint32)
  place = jnp.zeros(bits.shape, jnp.uint32)
  for axis, length in enumerate(bits.shape):
    # The cast may have added the last axis of `bits`, for the two halves of 8 bytes.
    whole, first = (shape[axis], start[axis]) if axis < len(shape) else (length, np.uint32(0))
    place = place * np.uint32(whole % 2**32) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis) + first
  first = _mix(bits ^ _mix(place + np.uint32(1)))
  second = _mix(first + np.uint32(0x9E3779B9))
  zero = np.uint32(0)
  # One reduction, because for two the compiler would store the hashes, which takes as much memory as x.
  return jnp.stack(jax.lax.reduce(
      (first, second), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), tuple(range(bits.ndim))))


def _mix(x: jax.Array) -> jax.Array:
  """A bijection of uint32 in which every bit of the result depends on all bits: the last lines of MurmurHash3."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)
