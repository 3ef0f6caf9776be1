# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Finds out what the shapes of the reference's parameters do not show: cycles, heads, positions, steps and the task."""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any

import yaml

from trm_jax import config as config_lib
from trm_jax import errors
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.interop import state_dict
from trm_jax.model.config import ModelConfig, TRMConfig
from trm_jax.runtime import files

# Files beside the weights: the reference's config, and the config of a folder that export.py has made.
BESIDE = REFERENCE_CONFIG, OUR_CONFIG = "all_config.yaml", "config.json"

# The models in the reference's README, with its own names. "forward_dtype" comes from the file.
_SUDOKU_MLP = {
    "hidden_size": 512, "num_heads": 8, "expansion": 4, "H_layers": 0, "L_layers": 2, "H_cycles": 3, "L_cycles": 6,
    "mlp_t": True, "pos_encodings": "none", "puzzle_emb_ndim": 512, "puzzle_emb_len": 16, "halt_max_steps": 16,
    "halt_exploration_prob": 0.1, "no_ACT_continue": True,
}
_SUDOKU_ATTENTION = _SUDOKU_MLP | {"mlp_t": False, "pos_encodings": "rope"}
_FOUR_CYCLES = _SUDOKU_ATTENTION | {"L_cycles": 4}
# Name -> task, arch.
PRESETS = {"sudoku_mlp": ("sudoku", _SUDOKU_MLP), "sudoku_attention": ("sudoku", _SUDOKU_ATTENTION),
           "maze": ("maze", _FOUR_CYCLES), "arc": ("arc", _FOUR_CYCLES)}
_TOKENS = "model.inner.embed_tokens.embedding_weight"
_NOT_SHOWN = "H_cycles, L_cycles, num_heads, pos_encodings, puzzle_emb_len and halt_max_steps"

# Numbers of tokens and cells of a model -> the task and data that it was trained on: config.task, config.data.
_TASKS = {(11, 81): ("sudoku", {}), (6, 16): ("sudoku", {"source": "generated", "box": 2}), (6, 900): ("maze", {}),
          (12, 900): ("arc", {})}


@dataclasses.dataclass(frozen=True)
class Arch:
  """The complete config of a model, and the run that trained it, as far as that is known.

  Attributes:
    model: config of the model.
    config: of the run.
    step: of the run, if anything states it besides the name of the file.
  """

  model: TRMConfig
  config: Config
  step: int | None = None


def find(source: str, state: Mapping[str, Any], beside: Mapping[str, pathlib.Path], name: str | None) -> Arch:
  """Finds the model that parameters belong to.

  Args:
    source: of the parameters, for messages.
    state: the result of plain_names.
    beside: the files of BESIDE that are beside the weights, by name.
    name: of a preset, or path of a file like REFERENCE_CONFIG; None: a file beside the weights.

  Raises:
    UserError: nothing states what shapes do not show, or the statement does not fit the shapes.
  """
  if name in PRESETS:
    return _preset(source, state, name)
  if name is None and OUR_CONFIG in beside:
    saved = files.read_json(beside[OUR_CONFIG])
    if "trm_jax" in saved:
      return _of_saved(source, state, saved, f"{beside[OUR_CONFIG]}")
  if name is None and REFERENCE_CONFIG not in beside:
    fitting = [preset for preset in PRESETS if not _problem(state, preset)]
    raise UserError(f"{source}: no {REFERENCE_CONFIG} lies beside it, and the shapes do not show {_NOT_SHOWN}; "
                    "import it by python -m trm_jax.interop import with "
                    + (f"--arch={' or --arch='.join(fitting)}, whose shapes these are, if it is the reference's"
                       if fitting else f"--arch=FILE like {REFERENCE_CONFIG}, or --config: the shapes are none of the "
                       f"reference's own models ({', '.join(PRESETS)})"))
  path = beside[REFERENCE_CONFIG] if name is None else pathlib.Path(name)
  if name is not None and not path.is_file():
    raise UserError(f"--arch={name}: no such file, and no such preset; use one of {', '.join(PRESETS)}")
  return _of_reference(source, state, _read_yaml(path), f"{path}")


def of_config(config: Config, source: str, state: Mapping[str, Any]) -> Arch:
  """The model of a config of ours; only the size of the prefix table comes from the parameters.

  Args:
    config: of the run.
    source, state: see `find`.

  Raises:
    UserError: the parameters are not those of its model.
  """
  task = tasks.of(config.task, config.data)
  table = state.get("model.inner.puzzle_emb.weights")
  model = config.model.sized(vocab_size=task.vocab_size, seq_len=task.seq_len,
                             num_puzzle_identifiers=1 if table is None else max([1, *table.shape[:1]]))
  _check(source, state, model, "its config.json or --config")
  return Arch(model, config)


def _of_saved(source: str, state: Mapping[str, Any], saved: Mapping[str, Any], path: str) -> Arch:
  """The model of a folder that export.py has made."""
  content, step = saved["trm_jax"], saved.get("step")
  if isinstance(content, dict) and (task := content.get("task", "sudoku")) not in tasks.known():
    # Otherwise its module would be imported, which may be a file that came with the weights.
    raise UserError(f"{path}: its task {str(task)[:100]!r} is not one of trm_jax, and no module that a file names is "
                    "run; if you have that task, give --config=FILE.py:NAME, a config of it")
  if step is not None and (type(step) is not int or not 0 <= step < 1 << 31):
    raise UserError(f"{path}: step is not a number of optimizer steps; correct it or leave it out")
  return dataclasses.replace(of_config(config_lib.parse_saved(content, path), source, state), step=step)


def _preset(source: str, state: Mapping[str, Any], name: str) -> Arch:
  if problem := _problem(state, name):
    fitting = [preset for preset in PRESETS if not _problem(state, preset)]
    raise UserError(f"{source}: not --arch={name}: {problem}" + f"; {' and '.join(fitting)} would fit" * bool(fitting))
  task, arch = PRESETS[name]
  model = _model(state, arch)
  return Arch(model, _config(model, task, {}))


def _problem(state: Mapping[str, Any], name: str) -> str:
  """Why parameters are not those of a preset; "" if they may be."""
  task, arch = PRESETS[name]
  try:
    model = _model(state, arch)
  except UserError as e:
    return str(e)
  if _TASKS.get((model.vocab_size, model.seq_len)) != (task, {}):
    return f"it knows {model.vocab_size} tokens and {model.seq_len} cells, which are not those of {task}"
  return state_dict.misfit(state, model)


def _model(state: Mapping[str, Any], arch: Mapping[str, Any]) -> TRMConfig:
  """The reference's model of these parameters.

  As in the reference, products have the dtype of the initial states that are loaded, whatever the arch says.
  """
  if _TOKENS not in state:
    raise UserError(f"not the parameters of a model of the reference's: {_TOKENS} is missing")
  initial = [str(value.dtype).rpartition(".")[2] for name, value in state.items() if name.endswith("_init")]
  arch = dict(arch) | ({"forward_dtype": initial[0]} if initial else {})
  if "seq_len" not in arch and not arch.get("mlp_t") and arch.get("pos_encodings") != "learned":
    # With rotary or no positions, no shape shows the number of cells: it comes from the task.
    shape = state[_TOKENS].shape
    cells = [cells for vocab_size, cells in _TASKS if [vocab_size] == [*shape[:1]]]
    if not cells:
      raise UserError("the shapes do not show how many cells a puzzle has, and no known task has token embeddings of "
                      f"the shape {tuple(shape)}; add seq_len to the arch")
    arch["seq_len"] = max(cells)
  return TRMConfig.from_reference(arch, state=state)


def _of_reference(source: str, state: Mapping[str, Any], content: Mapping[str, Any], path: str) -> Arch:
  arch = content.get("arch", content)
  if not isinstance(arch, dict):
    raise UserError(f"{path}: arch is not a mapping; give the reference's {REFERENCE_CONFIG}")
  try:
    model = _model(state, arch)
  except UserError as e:
    raise UserError(f"{path}: {e}") from e
  _check(source, state, model, path)
  size = model.vocab_size, model.seq_len
  if size not in _TASKS:
    raise UserError(f"{source}: no known task has puzzles of {size[1]} cells and {size[0]} tokens; give "
                    "--config=FILE.py:NAME, a config of its task (docs/your_own_puzzles.md)")
  return Arch(model, _config(model, *_TASKS[size]))


def _check(source: str, state: Mapping[str, Any], model: TRMConfig, path: str) -> None:
  if problem := state_dict.misfit(state, model):
    raise UserError(f"{source}: does not fit {path}: {problem}; give the config that it was trained with")


def _config(model: TRMConfig, task: str, data: Mapping[str, Any]) -> Config:
  """The config of a run with this model; its knobs of training are defaults, since those are not known."""
  config = config_lib.default_config(task)
  config.data.update(data)
  config.model.update({field.name: getattr(model, field.name) for field in dataclasses.fields(ModelConfig)})
  return config_lib.parse(config)


def _read_yaml(path: pathlib.Path) -> Mapping[str, Any]:
  text = files.read_bytes(path)
  try:
    content = yaml.safe_load(text)
  except Exception as e:  # YAML's errors, and those of odd values: thousands of brackets, an impossible date
    raise UserError(f"{path}: not YAML ({errors.in_one_line(e)[:300]})") from e
  if not isinstance(content, dict):
    raise UserError(f"{os.fspath(path)}: not the reference's {REFERENCE_CONFIG}, which is a mapping")
  return content
