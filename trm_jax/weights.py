# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The weights of a trained model, without the rest of the training state.

    from trm_jax import weights

    trained = weights.load("runs/baseline")     # a run, one of its checkpoints, or what `save` has written
    trained = weights.load("hf://OWNER/REPO/FILE")      # the reference's, imported into runs/ first
    trained = weights.load("builtin:sudoku")    # included in trm_jax: docs/evaluate.md
    carry, outputs = trained.model(carry, batch)

`load` reads only the parameters or their moving average, the prefix table and the initial states. It reads no optimizer
moments and no carry, and traces no training step.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import sys
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh
import ml_collections

from trm_jax import config as config_lib
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.interop import hub
from trm_jax.interop import sources
from trm_jax.model.trm import TRM
from trm_jax.runtime import paths
from trm_jax.runtime import sharding
from trm_jax.training import checkpoint
from trm_jax.training import program


@dataclasses.dataclass(frozen=True)
class Weights:
  """A trained model.

  Attributes:
    model: has averaged parameters if there is an average.
    config: of its run.
    step: of the checkpoint.
    folder: of the run.
    rows: digest of the puzzles that rows of the prefix table stand for (see identity.rows_digest); None if not known.
  """

  model: TRM
  config: Config
  step: int
  folder: os.PathLike
  rows: str | None

  @functools.cached_property  # the task keeps compiled programs
  def task(self) -> tasks.Task:
    """The task that it was trained on."""
    return tasks.of(self.config.task, self.config.data)


def load(path: str, mesh: Mesh | None = None, *, average: int = 0, data_changes: Mapping[str, Any] | None = None
         ) -> Weights:
  """Loads the weights of a checkpoint, whatever devices wrote it.

  Args:
    path: a run's folder (its newest checkpoint), or one checkpoint (see `checkpoint.find`); or an address at a hub
      (see `interop.hub`), from which the weights are imported into runs/ first, once.
    mesh: the devices to load onto, with the layout of training, which splits large arrays. None: the default device.
    average: if not 0, takes the mean of the parameters in the last `average` checkpoints, not their moving average.
    data_changes: field of config.data -> another value than the run had, for puzzles of another size, for instance.

  Raises:
    UserError: there is no checkpoint, it is damaged, or there are too few; or `average` is given for one checkpoint;
      or there is no such field of config.data, or the model cannot have puzzles of that size.
  """
  directory, step = checkpoint.find(os.fspath(_imported(path)) if hub.is_address(path) else path)
  if average and step is not None:
    raise UserError(f"--average={average}: needs a run's folder, not its checkpoint of step {step}")
  with contextlib.closing(checkpoint.Checkpoints(directory, read_only=True)) as checkpoints:
    step = checkpoint.step_of(checkpoints, step, f"--checkpoint={path}")
    run = checkpoints.read_run(step)
    config = config_lib.parse_saved(run["config"], f"{directory / str(step)}")
    mesh = sharding.make_mesh(jax.local_devices()[:1]) if mesh is None else mesh
    sizes = run["data"]
    if data_changes:
      config, sizes = _changed(config, sizes, data_changes)
    model_config = program.model_config(config, mesh, **sizes)
    graphdef, layout = program.weights_layout(model_config, mesh)
    wanted = {name: part for name, part in layout.items() if jax.tree.leaves(part)}
    params = wanted.pop("params")
    averaged = not average and "ema" in checkpoints.fields(step)
    read = checkpoints.restore_parts(step, wanted if average else wanted | {"ema" if averaged else "params": params})
    read["params"] = checkpoints.mean_params(average, params) if average else read.pop("ema" if averaged else "params")
  model = nnx.merge(graphdef, *(read.get(name, {}) for name in program.WEIGHTS))
  return Weights(model, config, step, directory.parent, run.get("rows"))


def _changed(config: Config, sizes: dict[str, int], changes: Mapping[str, Any]) -> tuple[Config, dict[str, int]]:
  """A run's config with other data, and the sizes of its model for them."""
  changed = ml_collections.ConfigDict(config_lib.to_dict(config))
  config_lib.change(changed, {f"data.{field}": value for field, value in changes.items()})
  config = config_lib.parse(changed)
  task, known = tasks.of(config.task, config.data), (sizes["seq_len"], sizes["vocab_size"])
  if task.vocab_size != known[1]:
    raise UserError(f"{task.name} has {task.vocab_size} tokens, the model {known[1]}: it cannot read such puzzles")
  if task.seq_len != known[0] and (why := config.model.one_size):
    raise UserError(f"{task.name} has {task.seq_len} cells, the model {known[0]}: {why}; only a model with "
                    "config.model.mlp_t = False and pos_encodings = 'rope' takes puzzles of other sizes")
  return config, sizes | {"seq_len": task.seq_len}


def save(model: TRM, config: Config, folder: os.PathLike | str, *, step: int = 0, rows: str | None = None) -> None:
  """Writes a model so that `load` can read it, for instance weights imported from elsewhere.

  Args:
    model: to be saved.
    config: of the run that trained it, as far as it is known; config.model and config.task matter.
    folder: becomes a run's folder, local or gs://; must have no checkpoint of that step.
    step: optimizer steps of the training.
    rows: see Weights.

  Raises:
    UserError: it cannot be written.
  """
  sizes = {name: getattr(model.config, name) for name in ("vocab_size", "seq_len", "num_puzzle_identifiers")}
  parts = {name: nnx.to_pure_dict(nnx.state(model, kind)) for name, kind in program.WEIGHTS.items()}
  folder = paths.user_path(folder, "folder of the weights")
  with contextlib.closing(checkpoint.Checkpoints(folder / "checkpoints")) as checkpoints:
    checkpoints.save(step, {name: part for name, part in parts.items() if part},
                     {"config": config_lib.to_dict(config), "data": sizes, "total_steps": step, "rows": rows})
    checkpoints.wait()


def import_reference(source: str, folder: os.PathLike | str, *, arch: str | None = None, config: Config | None = None
                     ) -> sources.Imported:
  """Writes weights that were trained elsewhere so that `load` can read them, and returns them.

  Args:
    source, arch, config: see `sources.read`.
    folder: see `save`; must have no checkpoint at all.

  Raises:
    UserError: they cannot be read or written, or the folder has checkpoints.
  """
  target = paths.user_path(folder, "--out")
  paths.check_checkpoints_can_be_kept(target, "--out")
  if _has_checkpoints(target):
    raise UserError(f"--out={folder}: holds checkpoints already, which are not overwritten; name another folder")
  read = sources.read(source, arch=arch, config=config)
  save(read.model, read.config, target, step=read.step)
  return read


def _has_checkpoints(folder: os.PathLike | str) -> bool:
  try:
    checkpoint.find(os.fspath(folder))
  except UserError:
    return False
  return True


def _imported(address: str) -> pathlib.Path:
  """The folder of the weights at a hub's address, imported if they are not there yet.

  Each commit has its own folder, so later weights of the same name go to another one.
  """
  if jax.process_count() > 1:
    raise UserError(f"--checkpoint={address}: several processes need a folder that they share; import it first: "
                    f"python -m trm_jax.interop import {address} --out=FOLDER")
  file, _ = hub.download(address)
  repo_and_file = address.removeprefix("hf://").partition("@")[0]
  folder = pathlib.Path("runs") / re.sub(r"[^\w.-]+", "-", f"{repo_and_file}-{hub.commit_of(file)[:12]}")
  if not _has_checkpoints(folder):
    import_reference(address, folder)
    print(f"{address}: imported into {folder}", file=sys.stderr)  # standard output may be JSON
  return folder
