# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The mesh, and the one table of how arrays are laid out on it."""

import fnmatch
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from trm_jax.errors import UserError

DATA, MODEL = "data", "model"

# The layout of each leaf of a TrainState, by the first pattern that its path matches. The paths of optimizer states and
# averages are those of their parameters behind a prefix. Letters: see docs/design.md.
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
  """Makes a mesh of all devices (or the given ones), with Auto axes `data` and `model`.

  Neighbours along `model` are neighbours in `devices`, so that they share a host if `model` divides the host's number
  of devices.

  Args:
    devices: None for all devices.
    model: number of devices along `model`; must divide the number of all.

  Raises:
    UserError: it does not divide that number.
  """
  devices = np.asarray(jax.devices() if devices is None else devices)
  if devices.size % model:
    raise UserError(f"config.compute.model_devices = {model}: must divide the {devices.size} devices")
  return Mesh(devices.reshape(-1, model), (DATA, MODEL))


def on_gpus(mesh: Mesh) -> bool:
  """Whether the devices of a mesh are GPUs."""
  return mesh.devices.flat[0].platform in ("gpu", "cuda")


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of an array that every device has whole."""
  return NamedSharding(mesh, P())


def along_data(mesh: Mesh) -> NamedSharding:
  """The sharding of an array whose leading axis is split over `data`."""
  return NamedSharding(mesh, P(DATA))


def put(value: Any, sharding: NamedSharding) -> Any:
  """Puts arrays that every process has whole on the devices of all processes, without communication.

  Args:
    value: pytree of NumPy arrays, the same in every process.
    sharding: of every array.
  """
  return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), value)


def spec(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> P:
  """The layout of a leaf by LAYOUT, without the mesh axes that do not divide the leaf (e.g. a table of one row).

  Args:
    path: of the leaf, e.g. "params/lm_head".
    shape: of the leaf.
    mesh: with axes `data` and `model`.

  Raises:
    KeyError: LAYOUT has no pattern for it.
  """
  layout = next((layout for pattern, layout in LAYOUT if fnmatch.fnmatchcase(path, pattern)), None)
  if layout is None:
    raise KeyError(f"{path}: no layout in sharding.LAYOUT")

  def size(names) -> int:
    return math.prod(mesh.shape[name] for name in ((names,) if isinstance(names, str) else names or ()))

  return P(*(None if length % size(names) else names for length, names in zip(shape, layout)))


def state_shardings(mesh: Mesh | AbstractMesh, state: Any) -> Any:
  """The sharding of every leaf of a TrainState (or its abstract form), by the table above."""
  return jax.tree.map_with_path(
      lambda path, x: NamedSharding(mesh, spec(jax.tree_util.keystr(path, simple=True, separator="/"), x.shape, mesh)),
      state)


def abstract(state: Any, shardings: Any) -> Any:
  """Shapes and dtypes of a state, with these shardings."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)


def describe(mesh: Mesh | AbstractMesh, state: Any) -> str:
  """Describes every leaf on a line: path, dtype, shape, layout, bytes per device."""
  rows = []
  for path, x in jax.tree.leaves_with_path(state):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    sharding = NamedSharding(mesh, spec(name, x.shape, mesh))
    rows.append((name, f"{x.dtype}{list(x.shape)}", str(tuple(sharding.spec)),
                 f"{math.prod(sharding.shard_shape(x.shape)) * x.dtype.itemsize:,} B"))
  widths = [max(map(len, column)) for column in zip(*rows)]
  return "".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}\n" for a, b, c, d in rows)
