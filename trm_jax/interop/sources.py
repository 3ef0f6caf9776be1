# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads a model that was trained elsewhere, from a file, a folder, or a hub."""

import dataclasses
import pathlib
import re

from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.interop import archs
from trm_jax.interop import hub
from trm_jax.interop import reference_files
from trm_jax.interop import state_dict
from trm_jax.model.trm import TRM


@dataclasses.dataclass(frozen=True)
class Imported:
  """A model that was trained elsewhere.

  Attributes:
    model: with its parameters.
    config: of the run that trained it, as far as that is known.
    step: number of optimizer steps that it was trained for, from config.json or the file's name; 0 if neither has it.
  """

  model: TRM
  config: Config
  step: int


def read(source: str, *, arch: str | None = None, config: Config | None = None) -> Imported:
  """Reads a model with the reference's parameters.

  Args:
    source: a file of the reference or of safetensors, a folder with one, or hf://OWNER/REPO/FILE[@REVISION]. A file
      beside it describes the model: all_config.yaml, or config.json in a folder that was exported here.
    arch: a name in archs.PRESETS or the path of such a YAML file, in place of the file beside the weights.
    config: of a run of ours with this model, in place of both.

  Raises:
    UserError: there is no such source, it cannot be reached or read, or it is of another model.
  """
  if hub.is_address(source):
    path, beside = hub.download(source, archs.BESIDE)
  else:
    path = _in_folder(pathlib.Path(source).expanduser())
    beside = {name: path.parent / name for name in archs.BESIDE if (path.parent / name).is_file()}
  state = state_dict.plain_names(reference_files.read_reference_file(path))
  if config is None:
    found = archs.find(source, state, beside, arch)
  else:  # the config describes the model, but these weights come from another run than the one that it names
    found = archs.of_config(dataclasses.replace(config, name=""), source, state)
  numbers = re.findall(r"step_(\d+)", path.name)
  step = found.step if found.step is not None else int(numbers[-1]) if numbers else 0
  return Imported(state_dict.from_reference(state, found.model), found.config, step)


def _in_folder(path: pathlib.Path) -> pathlib.Path:
  """The file with weights in a folder; a path that is not a folder is returned unchanged."""
  if not path.is_dir():
    return path
  named = [file for file in sorted(path.iterdir()) if file.is_file() and (
      file.suffix in (".safetensors", ".pt", ".pth", ".bin") or re.search(r"step_\d+$", file.name)
      or file.name == "checkpoint")]
  if len(named) != 1:
    what = ", ".join(file.name for file in named[:5]) if named else "none that is called step_… or ends in .safetensors"
    raise UserError(f"{path}: has {len(named)} files with weights ({what}); name the file itself")
  return named[0]
