# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A trained model for others: a folder for a hub, and programs that run without this library."""

import dataclasses
import functools
import importlib.util
import pathlib
from typing import Any

from flax import nnx
import jax
from jax import export as jax_export
import jax.numpy as jnp

from trm_jax import config as config_lib
from trm_jax import knobs
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.interop import archs
from trm_jax.interop import card
from trm_jax.interop import reference_files
from trm_jax.model.trm import TRM, Carry
from trm_jax.runtime import files

_PLATFORMS = ("cpu", "cuda", "tpu")
_MAX_TABLE = 1 << 28  # bytes of a prefix table that becomes a constant of a program


def hub_folder(model: TRM, config: Config, step: int, folder: pathlib.Path, results: dict[str, Any]) -> None:
  """Writes what is uploaded to a hub: model.safetensors, config.json, README.md.

  The parameters have the names of the reference's model that is not compiled. `python -m trm_jax.interop import` takes
  the folder back.

  Args:
    model: with the parameters to be published.
    config: of its run.
    step: optimizer steps that it was trained for.
    folder: to be filled; made if it does not exist.
    results: the run's results.json; {} where there is none.

  Raises:
    UserError: it cannot be written.
  """
  files.make_folder(folder, "--out")
  reference_files.write_reference_file(model, folder / "model.safetensors", compiled=False)
  # Where this machine keeps puzzles, and the like, is nobody else's business.
  data = type(config.data)()
  ours = {name: getattr(data, name) for name in knobs.free(type(data))}
  config = dataclasses.replace(config, data=dataclasses.replace(config.data, **ours))
  files.write_json(folder / archs.OUR_CONFIG, {"trm_jax": config_lib.to_dict(config), "step": step})
  files.replace_text(folder / "README.md", card.text(model, config, step, results))


def programs(model: TRM, folder: pathlib.Path) -> None:
  """Writes programs in StableHLO with the parameters in them, which JAX runs without this library.

  `solve` goes from puzzles to answers in all of halt_max_steps; `start` and `step` do it step by step, for whoever
  wants to watch or to stop. Any number of puzzles at a time. signature.json says what goes in and comes out.

  Args:
    model: any with a prefix table of at most 256 MiB.
    folder: to be filled; made if it does not exist.

  Raises:
    UserError: the table is too large, or they cannot be written.
  """
  config = model.config
  if config.prefix_table_rows * config.puzzle_emb_ndim * 4 > _MAX_TABLE:
    raise UserError(f"a prefix table of {config.num_puzzle_identifiers:,} rows is too large to be a constant of a "
                    "program; --format=hub and --format=reference take it")
  if not importlib.util.find_spec("flatbuffers"):
    raise UserError('--format=stablehlo: needs flatbuffers, which is not installed; pip install -e ".[hub]"')
  files.make_folder(folder, "--out")
  graphdef, state = nnx.split(model)

  def of_states(carry: Carry) -> dict[str, jax.Array]:
    return {name: z for name, z in (("z_H", carry.z_H), ("z_L", carry.z_L)) if z is not None}

  def start(inputs: jax.Array, puzzle_identifiers: jax.Array) -> dict[str, jax.Array]:
    batch = {"inputs": inputs, "puzzle_identifiers": puzzle_identifiers}
    made = nnx.merge(graphdef, state)
    return of_states(made.refill(made.initial_carry(batch), batch))

  def step(inputs: jax.Array, puzzle_identifiers: jax.Array, states: dict[str, jax.Array]) -> dict[str, Any]:
    batch = {"inputs": inputs, "puzzle_identifiers": puzzle_identifiers}
    none = jnp.zeros(inputs.shape[:1], jnp.int32)
    carry = Carry(z_H=states["z_H"], z_L=states.get("z_L"), steps=none, halted=none > 0, batch=batch)
    carry, outputs = nnx.merge(graphdef, state)(carry, batch)
    return {"logits": outputs.logits, "q_halt": outputs.q_halt, "states": of_states(carry)}

  def solve(inputs: jax.Array, puzzle_identifiers: jax.Array) -> dict[str, jax.Array]:
    again = functools.partial(step, inputs, puzzle_identifiers)
    first = again(start(inputs, puzzle_identifiers))
    last = jax.lax.fori_loop(1, config.halt_max_steps, lambda _, made: again(made["states"]), first)
    return {"answers": last["logits"].argmax(-1).astype(jnp.int32), "q_halt": last["q_halt"]}

  batch_size, = jax_export.symbolic_shape("batch_size")
  puzzles = (jax.ShapeDtypeStruct((batch_size, config.seq_len), jnp.int32),
             jax.ShapeDtypeStruct((batch_size,), jnp.int32))
  states = jax.eval_shape(start, *puzzles)
  signature = {}
  for name, function, arguments in (("start", start, puzzles), ("step", step, (*puzzles, states)),
                                    ("solve", solve, puzzles)):
    exported = jax_export.export(jax.jit(function), platforms=_PLATFORMS)(*arguments)
    with files.replacing(folder / f"{name}.stablehlo") as file:
      file.write(exported.serialize())
    signature[name] = {"arguments": _described(arguments), "result": _described(jax.eval_shape(function, *arguments))}
  files.write_json(folder / "signature.json", signature)


def _described(tree: Any) -> Any:
  return jax.tree.map(lambda x: f"{x.dtype}[{','.join(map(str, x.shape))}]", tree)
