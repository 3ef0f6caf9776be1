# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Exports a trained model for others: a folder for a hub, and programs that run without this library."""

from collections.abc import Callable
import dataclasses
import importlib.util
import logging
import pathlib
import types
from typing import Any, NamedTuple

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
from trm_jax.model.trm import TRM, Carry, abstract
from trm_jax.runtime import files
from trm_jax.tasks import Task

_PLATFORMS = ("cpu", "cuda", "tpu")
_MAX_TABLE = 1 << 28  # bytes of a prefix table that becomes a constant of a program


def hub_folder(model: TRM, config: Config, step: int, folder: pathlib.Path, results: dict[str, Any]) -> None:
  """Writes a folder to be uploaded to a hub: model.safetensors, config.json, README.md.

  The parameters have the names of the reference's uncompiled model. `python -m trm_jax.interop import` reads the folder
  again.

  Args:
    model: with the parameters to be published.
    config: of its run.
    step: number of optimizer steps that it was trained for.
    folder: to be filled; made if it does not exist.
    results: the run's results.json; {} if there is none.

  Raises:
    UserError: the folder cannot be written.
  """
  files.make_folder(folder, "--out")
  reference_files.write_reference_file(model, folder / "model.safetensors", compiled=False)
  # Local settings, e.g. where this machine keeps puzzles, are private: they are replaced by defaults.
  data = type(config.data)()
  ours = {name: getattr(data, name) for name in knobs.free(type(data))}
  config = dataclasses.replace(config, data=dataclasses.replace(config.data, **ours),
                               init_from=config.init_from.rstrip("/").rpartition("/")[2])
  files.write_json(folder / archs.OUR_CONFIG, {"trm_jax": config_lib.to_dict(config), "step": step})
  files.replace_text(folder / "README.md", card.text(model, config, step, results))


class _Program(NamedTuple):
  """A function that contains the parameters.

  Attributes:
    function: of the arguments, in their order.
    arguments, results: shapes by name.
  """

  function: Callable[..., tuple[jax.Array, ...]]
  arguments: dict[str, jax.ShapeDtypeStruct]
  results: dict[str, jax.ShapeDtypeStruct]


def stablehlo(model: TRM, folder: pathlib.Path) -> None:
  """Writes programs in StableHLO, which JAX runs without this library, on any of _PLATFORMS.

  `solve` turns puzzles into answers in halt_max_steps steps; `start` and `step` do it step by step, for whoever wants
  to watch or to stop. All take any number of puzzles. signature.json describes their arguments and results.

  Args:
    model: any model with a prefix table of at most _MAX_TABLE bytes.
    folder: to be filled; made if it does not exist.

  Raises:
    UserError: the table is too large, a package is missing, or the programs cannot be written.
  """
  if not importlib.util.find_spec("flatbuffers"):
    raise UserError('--format=stablehlo: needs flatbuffers, which is not installed; pip install -e ".[hub]"')
  _write(_programs(model), folder, "stablehlo", lambda name, program: jax_export.export(
      jax.jit(program.function), platforms=_PLATFORMS)(*program.arguments.values()).serialize())


def onnx(model: TRM, folder: pathlib.Path) -> None:
  """Writes the programs of `stablehlo` in ONNX and float32, which its runtimes support on CPUs and in browsers."""
  _write_onnx(_programs(_wide(model)), folder, "--format=onnx")


def onnx_to_watch(model: TRM, task: Task, folder: pathlib.Path, flag: str) -> None:
  """Writes the ONNX programs for a person who watches: `start`, `step` and, if the task has rules, `rules`, which says
  whether answers to puzzles are proven right.

  Args:
    model: see `stablehlo`.
    task: that it was trained on.
    folder: to be filled; made if it does not exist.
    flag: the flag that asks for it, for messages.

  Raises:
    UserError: see `stablehlo`.
  """
  programs = _programs(_wide(model))
  puzzles = programs.pop("solve").arguments["inputs"]
  if task.checked:
    programs["rules"] = _Program(lambda *cells: (task.solves(*cells),), {"inputs": puzzles, "answers": puzzles},
                                 {"proven": jax.ShapeDtypeStruct(puzzles.shape[:1], bool)})
  _write_onnx(programs, folder, flag)


def _wide(model: TRM) -> TRM:
  wide = dataclasses.replace(model.config, dtype="float32", attention="xla")
  graphdef = abstract(wide)[0]
  return nnx.merge(graphdef, nnx.state(model))


def jax2onnx(flag: str) -> types.ModuleType:
  """The converter to ONNX. Raises UserError if it is missing or too old for this JAX; `flag` is for the message."""
  try:
    import jax2onnx as found  # pylint: disable=g-import-not-at-top
  except ImportError as e:
    raise UserError(f'{flag}: needs {e.name}, which is not installed; pip install -e ".[onnx]"') from e
  if jax.__version_info__ >= (0, 11):  # see setup.cfg
    raise UserError(f"{flag}: jax2onnx cannot convert what jax {jax.__version__} makes; install an earlier one: "
                    'pip install -e ".[onnx]"')
  return found


def _write_onnx(programs: dict[str, _Program], folder: pathlib.Path, flag: str) -> None:
  to_onnx = jax2onnx(flag).to_onnx
  # The first warns of types that the file does not need, the second of plugins for a library that is not used here.
  for name in ("onnx_ir.serde", "jax2onnx.plugins.plugin_system"):
    logging.getLogger(name).setLevel("ERROR")

  def converted(name: str, program: _Program) -> bytes:
    return to_onnx(
        program.function, list(program.arguments.values()), model_name=name, input_names=list(program.arguments),
        output_names=list(program.results)).SerializeToString()

  _write(programs, folder, "onnx", converted)


def _write(programs: dict[str, _Program], folder: pathlib.Path, suffix: str,
           converted: Callable[[str, _Program], bytes]) -> None:
  files.make_folder(folder, "--out")
  for name, program in programs.items():
    with files.replacing(folder / f"{name}.{suffix}") as file:
      file.write(converted(name, program))
  files.write_json(folder / "signature.json", {
      name: {"arguments": _described(program.arguments), "results": _described(program.results)}
      for name, program in programs.items()})


def _described(shapes: dict[str, jax.ShapeDtypeStruct]) -> dict[str, str]:
  return {name: f"{x.dtype}[{','.join(map(str, x.shape))}]" for name, x in shapes.items()}


def _programs(model: TRM) -> dict[str, _Program]:
  """The programs by name, for any number of puzzles."""
  config = model.config
  if config.prefix_table_rows * config.puzzle_emb_ndim * 4 > _MAX_TABLE:
    raise UserError(f"a prefix table of {config.num_puzzle_identifiers:,} rows is too large to be a constant of a "
                    "program; --format=hub and --format=reference take it")
  graphdef, state = nnx.split(model)
  names = ["z_H"] if config.latent_states is None else ["z_H", "z_L"]

  def states_of(carry: Carry) -> tuple[jax.Array, ...]:
    return tuple(getattr(carry, name) for name in names)

  def start(inputs: jax.Array, puzzle_identifiers: jax.Array) -> tuple[jax.Array, ...]:
    batch = {"inputs": inputs, "puzzle_identifiers": puzzle_identifiers}
    made = nnx.merge(graphdef, state)
    return states_of(made.refill(made.initial_carry(batch), batch))

  def step(inputs: jax.Array, puzzle_identifiers: jax.Array, *states: jax.Array) -> tuple[jax.Array, ...]:
    batch = {"inputs": inputs, "puzzle_identifiers": puzzle_identifiers}
    none = jnp.zeros(inputs.shape[:1], jnp.int32)
    carry = Carry(z_H=states[0], z_L=states[1] if states[1:] else None, steps=none, halted=none > 0, batch=batch)
    carry, outputs = nnx.merge(graphdef, state)(carry, batch)
    return outputs.logits, outputs.q_halt, *states_of(carry)

  def solve(inputs: jax.Array, puzzle_identifiers: jax.Array) -> tuple[jax.Array, ...]:
    puzzles = inputs, puzzle_identifiers  # part of the loop's state: jax2onnx supports no loop with outer variables
    made = step(*puzzles, *start(*puzzles))
    _, (logits, q_halt, *_) = jax.lax.fori_loop(
        1, config.halt_max_steps, lambda _, now: (now[0], step(*now[0], *now[1][2:])), (puzzles, made))
    return logits.argmax(-1).astype(jnp.int32), q_halt

  batch_size, = jax_export.symbolic_shape("batch_size")
  puzzles = {"inputs": jax.ShapeDtypeStruct((batch_size, config.seq_len), jnp.int32),
             "puzzle_identifiers": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}
  states = dict(zip(names, jax.eval_shape(start, **puzzles)))
  next_states, programs = [f"next_{name}" for name in names], {}
  for name, function, arguments, results in (
      ("start", start, puzzles, names), ("step", step, puzzles | states, ["logits", "q_halt", *next_states]),
      ("solve", solve, puzzles, ["answers", "q_halt"])):
    shapes = jax.eval_shape(function, *arguments.values())
    programs[name] = _Program(function, arguments, dict(zip(results, shapes)))
  return programs
