# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Digests of arrays: what changes them, and what does not."""

import jax
from jax.sharding import NamedSharding, PartitionSpec as P
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.runtime import digests
from trm_jax.runtime import sharding

SHAPE = (8, 6)


def numbers(dtype):
  """An array of many different values."""
  return np.random.default_rng(0).integers(-100, 100, SHAPE).astype(jnp.dtype(dtype))


@pytest.fixture(autouse=True, params=["host", "device"])
def _hashed_by(request, monkeypatch):
  if request.param == "device":
    monkeypatch.setattr(digests, "_SMALL", -1)


def digest(x):
  [found] = digests.digests({"x": jnp.asarray(x)}).values()
  return found


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "bfloat16", "float16", "int32", "float32"])
def test_every_bit_of_every_element_counts(dtype):
  whole = numbers(dtype)
  bits = [0] if dtype == "bool" else range(8 * whole.dtype.itemsize)
  seen = {digest(whole)}
  for place in (0, 1, 17, whole.size - 1):
    for bit in bits:
      flipped = whole.copy()
      flipped.reshape(-1).view(f"u{whole.dtype.itemsize}")[place] ^= 1 << bit
      seen.add(digest(flipped))
  assert len(seen) == 1 + 4 * len(bits)


def test_changes_that_a_plain_sum_would_miss():
  whole = numbers("float32")
  negated, swapped = whole.copy(), whole.copy()
  negated[[0, 3], 1] *= -1
  swapped[[2, 5]] = whole[[5, 2]]
  other = [negated, swapped, whole.T, whole.reshape(-1), whole.view(np.int32), np.zeros(SHAPE, np.float32),
           np.zeros((6, 8), np.float32)]
  assert len({digest(x) for x in (whole, *other)}) == 1 + len(other)


def test_the_layout_does_not_count():
  tree = {"table": numbers("float32"), "rows": numbers("uint8"), "step": np.int32(7), "empty": np.zeros((0, 3))}
  expected = digests.digests(jax.tree.map(jnp.asarray, tree))
  assert expected["empty"].startswith("float32[0,3] ") and expected["step"].startswith("int32[] ")
  for model, axes in ((1, P("data")), (2, P("data", "model"))):
    mesh = sharding.make_mesh(model=model)
    layouts = {name: axes if name in ("table", "rows") else P() for name in tree}
    placed = {name: jax.device_put(x, NamedSharding(mesh, layouts[name])) for name, x in tree.items()}
    assert digests.digests(placed) == expected


@pytest.mark.parametrize("x, expected", [
    (np.arange(6, dtype=np.float32).reshape(2, 3), "float32[2,3] 1c25c1de4fa0077e"),
    (np.arange(4, dtype=np.int8), "int8[4] 65fda7db9ae00a6d"),
    (np.array([[True], [False]]), "bool[2,1] f3632610a49ee713"),
    (np.float32(7), "float32[] b8853656880fc9fb"),
])
def test_it_stays_what_it_was(x, expected):
  """Otherwise checkpoints would be called damaged. The same on the host and on a device."""
  assert digest(x) == expected
