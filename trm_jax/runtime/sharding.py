# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The mesh, and the one table of what is laid out how on it."""

import fnmatch
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from trm_jax.errors import UserError

DATA, MODEL = "data", "model"

# Which leaf of a TrainState is laid out how: the first pattern that its path matches. Optimizer states and averages
# have the paths of their parameters behind a prefix. Letters: see docs/design.md.
LAYOUT = (
    ("carry/*", P(DATA)),  # (B, …), every leaf starts with the batch axis
    ("prefix_table/puzzle_emb", P((DATA, MODEL))),  # (identifiers, E), rows over all devices
    ("*/mix/gate_up", P(None, MODEL)),  # (2, F, L)
    ("*/mix/down", P(None, MODEL)),  # (L, F)
    ("*/mlp/gate_up", P(None, None, MODEL)),  # (D, 2, F)
    ("*/mlp/down", P(MODEL)),  # (F, D)
    ("*/qkv", P(None, None, MODEL)),  # (D, 3, D), whole heads
    ("*/out", P(MODEL)),  # (D, D), whole heads
    ("*/embed_tokens", P()),  # (V, D)
    ("*/embed_pos", P()),  # (L, D)
    ("*/lm_head", P()),  # (D, V)
    ("*/q_head", P()),  # (D, 2)
    ("*/q_head_bias", P()),  # (2,)
    ("initial/*", P()),  # H_init (D,), L_init (D,) or (n, D)
    ("step", P()),  # ()
    ("metrics/*", P()),  # ()
    ("loss_scale/*", P()),  # ()
    ("*/count", P()),  # (), of optimizers
    ("*/ns_coeffs", P()),  # (3,), of Muon
)


def make_mesh(devices: list[jax.Device] | None = None, *, model: int = 1) -> Mesh:
  """A mesh of all devices (or the given ones), with Auto axes `data` and `model`.

  Neighbours along `model` are neighbours in `devices`, so that they are on one host wherever `model` divides its
  number of devices.

  Args:
    devices: None for all of them.
    model: devices along `model`; must divide their number.

  Raises:
    UserError: it does not.
  """
  devices = np.asarray(jax.devices() if devices is None else devices)
  if devices.size % model:
    raise UserError(f"config.compute.model_devices = {model}: must divide the {devices.size} devices")
  return Mesh(devices.reshape(-1, model), (DATA, MODEL))


def on_gpus(mesh: Mesh) -> bool:
  """Whether the devices of a mesh are GPUs."""
  return mesh.devices.flat[0].platform in ("gpu", "cuda")


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def along_data(mesh: Mesh) -> NamedSharding:
  """Leading axis split over `data`."""
  return NamedSharding(mesh, P(DATA))


def put(value: Any, sharding: NamedSharding) -> Any:
  """Arrays that every process has whole, on the devices of all of them. No process talks to another.

  Args:
    value: pytree of NumPy arrays, the same in every process.
    sharding: of every one of them.
  """
  return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), value)


def spec(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> P:
  """The layout of a leaf: LAYOUT's, without the axes that do not divide the leaf (a table of one row).

  Args:
    path: of the leaf, e.g. "params/lm_head".
    shape: of the leaf.
    mesh: with axes `data` and `model`.

  Raises:
    KeyError: LAYOUT does not know it.
  """
  layout = next((layout for pattern, layout in LAYOUT if fnmatch.fnmatchcase(path, pattern)), None)
  if layout is None:
    raise KeyError(f"{path}: no layout in sharding.LAYOUT")

  def size(names) -> int:
    return math.prod(mesh.shape[name] for name in ((names,) if isinstance(names, str) else names or ()))

  return P(*(None if length % size(names) else names for length, names in zip(shape, layout)))


def state_shardings(mesh: Mesh | AbstractMesh, state: Any) -> Any:
  """Shardings for every leaf of a TrainState (or its abstract form), by the table above."""
  return jax.tree.map_with_path(
      lambda path, x: NamedSharding(mesh, spec(jax.tree_util.keystr(path, simple=True, separator="/"), x.shape, mesh)),
      state)


def abstract(state: Any, shardings: Any) -> Any:
  """Shapes and dtypes of a state, to be restored with these shardings."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)


def describe(mesh: Mesh | AbstractMesh, state: Any) -> str:
  """One line a leaf: path, shape, dtype, layout, bytes a device."""
  rows = []
  for path, x in jax.tree.leaves_with_path(state):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    sharding = NamedSharding(mesh, spec(name, x.shape, mesh))
    rows.append((name, f"{x.dtype}{list(x.shape)}", str(tuple(sharding.spec)),
                 f"{math.prod(sharding.shard_shape(x.shape)) * x.dtype.itemsize:,} B"))
  widths = [max(map(len, column)) for column in zip(*rows)]
  return "".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}\n" for a, b, c, d in rows)
