# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Begins a run with the weights of a checkpoint: config.init_from.

The run's step, its optimizers' moments and its rows of the batch are new. Rows of the prefix table are carried over if
both runs know that they have the same meaning.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax import config as config_lib
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.model.config import ModelConfig, TRMConfig
from trm_jax.runtime import digests
from trm_jax.tasks import Task
from trm_jax.training import checkpoint
from trm_jax.training import identity
from trm_jax.training import program
from trm_jax.training.train_step import TrainState

# The number of rows that are carried over at once; it limits scratch memory.
_ROWS = 1 << 13


def begin(config: Config, task: Task, made: program.Program, state: TrainState, rows: str | None
          ) -> tuple[TrainState, str]:
  """Puts the weights of config.init_from into a new run's state. All processes of a job call this together.

  Args:
    config: of the run.
    task: of its puzzles.
    made: its program.
    state: with new weights; must not be used any more.
    rows: see identity.rows_digest; of the task.

  Returns:
    The state, and words that say what was carried over.

  Raises:
    UserError: there is no such checkpoint, it is damaged, or its model has other sizes; or its rows have names, and the
      puzzles that it was trained on, from which the names come, are gone.
  """
  what = f"config.init_from = {config.init_from!r}"
  directory, step = checkpoint.find(config.init_from, "config.init_from")
  with contextlib.closing(checkpoint.Checkpoints(directory, read_only=True)) as checkpoints:
    step = checkpoint.step_of(checkpoints, step, what)
    run = checkpoints.read_run(step)
    before = config_lib.parse_saved(run["config"], f"{directory / str(step)}")
    made_before = program.model_config(before, made.mesh, **run["data"])
    _, there = program.weights_layout(made_before, made.mesh)
    _check_sizes(what, made.model_config, made_before, there, state)
    params = "ema" if "ema" in checkpoints.fields(step) else "params"
    read = checkpoints.restore_parts(step, {params: there["params"], "initial": there["initial"]})
    ema = None if state.ema is None else jax.tree.map(jnp.copy, read[params])
    state = state.replace(params=read[params], ema=ema, initial=read["initial"])
    said = f"begins with the {'averaged ' * (params == 'ema')}weights of step {step:,} of {config.init_from}"
    if not state.prefix_table:
      return state, said
    num_rows, before_rows = made.model_config.num_puzzle_identifiers, run["data"]["num_puzzle_identifiers"]
    shapes = [table["puzzle_emb"].shape if table else None for table in (there["prefix_table"], state.prefix_table)]
    if shapes[0] is None or shapes[0][1] != shapes[1][1]:
      return state, f"{said}; it has no prefix table of this width: all {num_rows:,} rows begin at zero"

    def old_table():
      return checkpoints.restore_parts(step, {"prefix_table": there["prefix_table"]})["prefix_table"]["puzzle_emb"]

    if run.get("rows") == rows and num_rows == before_rows:
      state = state.replace(prefix_table={})  # so that the devices need not hold two tables
      table, carried = old_table(), num_rows
    else:
      here, from_ = _pairs(what, task, before, rows, run.get("rows"))
      table = _carried(old_table(), before_rows, state.prefix_table["puzzle_emb"], here, from_,
                       mean=config.init_rows == "mean")
      carried = len(here)
    others = f", the others begin {'at zero' if config.init_rows == 'zero' else 'with the mean of its rows'}"
    said += f"; {carried:,} of {num_rows:,} rows of the prefix table are taken from it{others * (carried < num_rows)}"
    return state.replace(prefix_table={"puzzle_emb": table}), said


def _check_sizes(what: str, ours: TRMConfig, theirs: TRMConfig, there: dict[str, Any], state: TrainState) -> None:
  """Raises UserError unless the weights there, except for the table, have the sizes of those of the state."""
  shapes, wanted = (digests.kinds({"params": params, "initial": initial}) for params, initial in (
      (there["params"], there["initial"]), (state.params, state.initial)))
  different = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
  if different:
    named = {"seq_len": "cells", "vocab_size": "tokens"} | {
        field.name: f"model.{field.name} =" for field in dataclasses.fields(ModelConfig)}
    causes = [f"{called} {getattr(theirs, name)!r} there and {getattr(ours, name)!r} here"
              for name, called in named.items() if getattr(theirs, name) != getattr(ours, name)]
    raise UserError(
        f"{what}: its model has other sizes: {different[0]} is {shapes.get(different[0], 'nothing')} there and "
        f"{wanted.get(different[0], 'nothing')} here ({', '.join(causes)}); give this run the same config.model and "
        "puzzles of the same size and tokens")


def _pairs(what: str, task: Task, before: Config, rows: str | None, before_rows: str | None
           ) -> tuple[np.ndarray, np.ndarray]:
  """Rows of the task's table and rows of the earlier table that have the same meaning: (K,) int32 each."""
  if rows is None or before_rows is None:
    return np.zeros(0, np.int32), np.zeros(0, np.int32)
  needed = f"{what}: to carry rows of its prefix table over by name, the puzzles that it was trained on are needed"
  try:
    there = tasks.of(before.task, before.data).row_names()
  except UserError as e:
    raise UserError(f"{needed} at {before.data.source!r}, where that run had them; put them there, or a symbolic link "
                    f"to them ({e})") from e
  if there is None or identity.names_digest(there) != before_rows:
    raise UserError(f"{needed}, and {before.data.source} does not give the same any more; put them back")
  return _same(task.row_names(), there)


def _same(here: Sequence[str], there: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Positions of the names that are in both, except "": (K,) int32 each."""
  places = {name: i for i, name in enumerate(there) if name}
  pairs = [(i, places[name]) for i, name in enumerate(here) if name in places]
  here, there = np.array(pairs, np.int32).reshape(-1, 2).T
  return here, there


def _carried(old: jax.Array, used: int, new: jax.Array, here: np.ndarray, there: np.ndarray, *, mean: bool
             ) -> jax.Array:
  """Copies rows of the old table to the new one. No device holds more than its share of both, and some rows.

  Args:
    old: (rows, E); the first `used` rows belong to puzzles, the others are zero.
    used: see old.
    new: (other rows, E), zero; is donated.
    here, there: (K,) rows of new and of old.
    mean: whether the other rows become the mean of the old ones instead of staying zero.
  """
  layout = new.sharding
  if mean:
    fill = jax.jit(lambda old, new: jnp.broadcast_to(old.sum(0) / used, new.shape), donate_argnums=1,
                   out_shardings=layout)
    new = fill(old, new)
  move = jax.jit(lambda new, old, here, there: new.at[here].set(old[there]), donate_argnums=0, out_shardings=layout)
  for start in range(0, len(here), _ROWS):
    # The last part is padded by repetition, so that all parts use one program.
    part = np.resize(np.arange(start, min(start + _ROWS, len(here))), min(_ROWS, len(here)))
    new = move(new, old, here[part], there[part])
  return new
