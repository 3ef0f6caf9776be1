# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Digests of arrays, computed on the devices that hold them, by which a change to a checkpoint is noticed.

A digest depends on the values, the shape and the dtype of an array, but neither on its layout over devices nor on the
number of processes. It guards against accidents, not against forgery.
"""

import functools
import types
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np


# Parts of at most this many bytes are hashed on the host, which takes a millisecond and compiles nothing.
_SMALL = 1 << 18


def digests(tree: Any) -> dict[str, str]:
  """The digest of every array in a pytree. All processes of a job that hold a part of it call this together.

  Each device reads the large parts that it holds, and one exchange adds up the sums of all processes: many collectives
  at once, one for each array, were seen to hang jobs on CPUs.

  Args:
    tree: pytree of jax.Array of any dtype of 1, 2, 4 or 8 bytes.

  Returns:
    Dtype, shape and 64 bits by the leaf's path, e.g. {"params/q_head": "float32[512,2] 0f1e2d3c4b5a6978"}. A change
    of a single element always changes the bits; any other change goes unnoticed with a chance of 1 in 2^64.
  """
  arrays = _leaves(tree)
  parts = [(i, x.shape, _start(shard.index), shard.data, shard.data.nbytes <= _SMALL) for i, x in enumerate(
      arrays.values()) for shard in x.addressable_shards if not shard.replica_id]
  found = jax.device_get([part if small else _sums_on_device(part, start, shape=shape)
                          for _, shape, start, part, small in parts])
  sums = np.zeros((len(arrays), 2), np.uint32)
  for (i, shape, start, _, small), values in zip(parts, found):
    sums[i] += _sums_on_host(values, start, shape) if small else values
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


def _hashes(numpy: types.ModuleType, bits: Any, start: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
  """Two hashes of each element, uint32. They depend on an element's bits and its place in the array.

  For a given place both are bijections of the bits. Their sums modulo 2^32 do not depend on the order of the elements.

  Args:
    numpy: the module of the arrays, NumPy's or JAX's.
    bits: a part of the array, uint32; for elements of 8 bytes with another axis, of their halves.
    start: (ndim,) uint32, index of its first element.
    shape: of the whole array.
  """
  place = numpy.zeros(bits.shape, numpy.uint32)
  for axis, length in enumerate(bits.shape):
    whole, first = (shape[axis], start[axis]) if axis < len(shape) else (length, np.uint32(0))
    along = numpy.arange(length, dtype=numpy.uint32).reshape([-1 if i == axis else 1 for i in range(bits.ndim)])
    place = place * np.uint32(whole % 2**32) + along + first
  first = _mix(bits ^ _mix(place + np.uint32(1)))
  return first, _mix(first + np.uint32(0x9E3779B9))


def _word(dtype: np.dtype) -> np.dtype:
  """The unsigned integers as which elements are hashed: of their size, or two for 8 bytes."""
  return np.dtype(f"uint{8 * min(dtype.itemsize, 4)}")


def _sums_on_host(x: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """The same as `_sums_on_device`, of a small part."""
  x = np.ascontiguousarray(x).reshape(x.shape)  # the first makes a number an array of one
  bits = (x[..., None] if x.dtype.itemsize > 4 else x).view(_word(x.dtype)).astype(np.uint32)
  with np.errstate(over="ignore"):  # NumPy warns of numbers, but not of arrays
    return np.array([hashes.sum(dtype=np.uint32) for hashes in _hashes(np, bits, start, shape)])


# Compiled leaf by leaf, because most leaves share their shape with another one, and compiling takes most of the time.
@functools.partial(jax.jit, static_argnames="shape")
def _sums_on_device(x: jax.Array, start: jax.Array, *, shape: tuple[int, ...]) -> jax.Array:
  """Sums of both hashes over all elements of a part, (2,) uint32; see `_hashes`."""
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  bits, zero = jax.lax.bitcast_convert_type(x, _word(x.dtype)).astype(jnp.uint32), np.uint32(0)
  # One reduction, because for two the compiler would store the hashes, which takes as much memory as x.
  return jnp.stack(jax.lax.reduce(
      _hashes(jnp, bits, start, shape), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]),
      tuple(range(bits.ndim))))


def _mix(x: Any) -> Any:
  """A bijection of uint32 in which every bit of the result depends on all bits: the last lines of MurmurHash3."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)
