# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The mesh, and the one table of what is laid out how on it."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from trm_jax.errors import UserError

# What a training state and its surroundings are made of -> layout.
LAYOUT = {
    "step": P(),  # ()
    "params": P(),  # every matrix whole on every device
    "prefix_table": P(),  # (num_puzzle_identifiers, puzzle_emb_ndim)
    "initial": P(),  # H_init, L_init (D,)
    "opt_state": P(),  # like params, and counters
    "prefix_opt_state": P(),  # counters
    "carry": P("data"),  # every leaf starts with the batch axis
    "batch": P("data"),  # (B, …)
    "puzzles": P(),  # the whole data set, a few bytes a cell
}


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
  """A mesh of all devices (or the given ones) along `data`, with Auto axes."""
  return Mesh(np.asarray(jax.devices() if devices is None else devices), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def along_data(mesh: Mesh) -> NamedSharding:
  """Leading axis split over `data`."""
  return NamedSharding(mesh, P("data"))


def state_shardings(mesh: Mesh, state: Any) -> Any:
  """Shardings for every leaf of a TrainState (or its abstract form), by the table above.

  Args:
    mesh: from `make_mesh`.
    state: a dataclass whose fields are named in LAYOUT.
  """
  return type(state)(**{
      name: jax.tree.map(lambda _, layout=LAYOUT[name]: NamedSharding(mesh, layout), value)
      for name, value in vars(state).items()
  })


def check_batch(name: str, batch_size: int, mesh: Mesh) -> None:
  """Raises UserError unless the batch can be split over the mesh."""
  if batch_size % mesh.size:
    below = batch_size // mesh.size * mesh.size
    raise UserError(f"config.{name} = {batch_size}: must be divisible by the {mesh.size} devices; "
                    f"use {' or '.join(str(n) for n in (below, below + mesh.size) if n)}")
