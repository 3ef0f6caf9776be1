# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Every knob of a run, declared once: its name, type, default, unit and rule.

`configs/*.py` start from `default_config()`, change a few values and return a ConfigDict, which --config.x=y edits;
`parse` turns the result into the typed, checked `Config` that the code reads.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import difflib
import re
import types
import typing
from typing import Any

import ml_collections
import numpy as np

from trm_jax import errors
from trm_jax.errors import UserError
from trm_jax.model.config import TRMConfig

# These TRMConfig fields are facts of the data.
_FROM_DATA = ("vocab_size", "seq_len", "num_puzzle_identifiers")

# Knobs that were added since the first version, by their names in `flatten`, with what configs that were saved before
# are taken to have: mostly their default on that day, which stays here if the default changes. tests/test_config.py
# asks for an entry.
_ADDED: dict[str, Any] = {}

# What may change between a checkpoint and the run that goes on from it: how often and on what to report, not what is
# trained.
FREE_ON_RESUME = (
    "name", "data.tfds_dir", "data.num_test", "eval_every", "eval_batch_size", "eval_halting", "checkpoint_every",
    "checkpoint_minutes", "log_every", "micro_batches", "model_devices", "model.attention", "average_checkpoints",
    "profile_steps", "profile_from", "wandb",
)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where puzzles come from and how many of them are used."""

  # "sudoku-extreme": downloaded once by TFDS; "generated": made from the seed; otherwise a folder, local or gs://, with
  # train.csv and test.csv in Sudoku-Extreme's format, or one written by the reference's dataset builder.
  source: str = "sudoku-extreme"
  box: int = 3  # side of a box: 3 for 9x9 boards, 2 for 4x4
  num_train: int = 1000  # training puzzles, drawn from the source by the seed; 0: all that validation leaves
  # Held out of the training source, to watch and choose by; 0: none. Nor are any held out of a folder that stores
  # augmented versions of just num_train puzzles: a training set as the reference builds it.
  num_validation: int = 1024
  num_test: int = 0  # of the test set, drawn by the seed; 0: all
  num_clues: int = 30  # of a generated puzzle
  # Fixed augmented versions a puzzle, besides itself; 0: none; -1: a fresh one every time. Of a source that stores
  # augmented versions, the first ones of these.
  num_aug: int = 1000
  seed: int = 0  # of subsampling and generation
  # Where "sudoku-extreme" is kept. In gs:// a run puts it there, and later ones take it from there; so do several
  # processes whose run is kept in gs://, in a folder beside it.
  tfds_dir: str = "~/tensorflow_datasets"


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How parameters follow gradients."""

  name: str = "adam_atan2"  # adam_atan2 (the reference's), adamw, or muon (the networks' matrices; adamw for the rest)
  learning_rate: float = 1e-4  # peak, after the warmup
  base_batch_size: int = 0  # both rates grow linearly with batch_size over this; 0: they are as they are
  weight_decay: float = 1.0  # decoupled, on every trained parameter
  clip_norm: float = 0.0  # gradients longer than that, all parameters together, are cut to it; 0: none are
  b1: float = 0.9  # decay of the first moment, in [0, 1); Muon's own momentum is 0.95
  b2: float = 0.95  # decay of the second moment, in [0, 1)
  warmup_steps: int = 2000  # linear, from 0
  lr_min_ratio: float = 1.0  # the cosine's end over its peak; 1: constant
  prefix_learning_rate: float = 1e-4  # of the sign-SGD that trains the prefix table
  prefix_weight_decay: float = 1.0  # likewise, on the rows in use
  ema_rate: float = 0.999  # of the parameters that evaluation uses; 0: the parameters themselves


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """What is added to the reference's loss."""

  step_decay: float = 1.0  # a row's loss counts step_decay^(s - 1) at its supervision step s; in (0, 1]
  halt_cost: float = 0.0  # of each supervision step that a row is expected to make still


@dataclasses.dataclass(frozen=True)
class Config:
  """One run."""

  name: str = ""  # of the named config this came from
  model: TRMConfig = TRMConfig(vocab_size=1, seq_len=1)  # the data fills in what it determines
  data: DataConfig = DataConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  loss: LossConfig = LossConfig()
  seed: int = 0  # of parameters, batches and exploration
  batch_size: int = 768  # global; divisible by the devices along `data` times micro_batches
  micro_batches: int = 1  # parts of a batch that go through the network one after the other, to save memory
  model_devices: int = 1  # devices that share the matrices (mesh axis `model`); the batch is split over all / this many
  epochs: int = 50_000  # passes over the training puzzles; 0 where `steps` says how long
  steps: int = 0  # optimizer steps; 0: floor(epochs * puzzles / batch_size)
  # Cycles while training: "0:1x2,0.3:2x4,0.6:3x6" is H_cycles x L_cycles = 1 x 2 at first, 2 x 4 from 30 % of the steps
  # on, 3 x 6 from 60 % on; the last are the model's, with which it is evaluated throughout. "": the model's all along.
  depth_schedule: str = ""
  log_every: int = 100  # steps between training records; the devices make them on their own, in one call
  eval_every: int = 0  # steps between evaluations; 0: a tenth of the run
  eval_batch_size: int = 1024  # global; rounded up to a multiple of the number of devices
  eval_halting: bool = False  # puzzles end once sure and settled, others take their rows; or all steps for each
  checkpoint_every: int = 2500  # steps; evaluations, the end and an interruption save one, too
  checkpoint_minutes: float = 15.0  # likewise, at the latest that long after the last one; 0: never because of time
  average_checkpoints: int = 0  # at the end the mean of so many last checkpoints is tested, too; 0: it is not
  profile_steps: int = 0  # traced by JAX's profiler, into WORKDIR/tensorboard (docs/performance.md); 0: none
  profile_from: int = 10  # steps made before those; a run that goes on from there or later traces nothing
  wandb: str = ""  # project at Weights & Biases that gets the records, too; "": none


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stretch of a run with the same depth. Attributes: start, share of the steps after which it begins; its cycles."""

  start: float
  H_cycles: int
  L_cycles: int


def stages(depth_schedule: str, model: TRMConfig) -> tuple[Stage, ...]:
  """The stages of config.depth_schedule, in order; one where there is no schedule.

  Args:
    depth_schedule: see Config.
    model: what it ends with.

  Raises:
    UserError: it is not written like that, does not begin at 0, does not rise, or does not end with the model's cycles.
  """
  last = (model.H_cycles, model.L_cycles)
  if not depth_schedule:
    return (Stage(0.0, *last),)
  what = f"config.depth_schedule = {depth_schedule!r}: "
  found = []
  for part in depth_schedule.split(","):
    match = re.fullmatch(r"\s*(\d*\.?\d+):([1-9]\d*)x([1-9]\d*)\s*", part)
    if not match:
      raise UserError(f"{what}{part.strip()!r} is not START:H_CYCLESxL_CYCLES, such as 0.3:2x4")
    found.append(Stage(float(match[1]), int(match[2]), int(match[3])))
  starts = [stage.start for stage in found]
  if starts[0] != 0 or starts[-1] >= 1 or any(a >= b for a, b in zip(starts, starts[1:])):
    raise UserError(f"{what}the starts must begin at 0, rise, and stay below 1")
  if (found[-1].H_cycles, found[-1].L_cycles) != last:
    raise UserError(f"{what}the last must be config.model.H_cycles x L_cycles = {last[0]}x{last[1]}")
  return tuple(found)


def steps_between_evaluations(eval_every: int, total_steps: int) -> int:
  """config.eval_every, or a tenth of the run where that is 0."""
  return eval_every or max(1, total_steps // 10)


def default_config() -> ml_collections.ConfigDict:
  """All knobs with their defaults: the reference's Sudoku-Extreme settings."""
  return ml_collections.ConfigDict(to_dict(Config()))


def to_dict(config: Config) -> dict[str, Any]:
  """Plain nested dict of the knobs, as in config.json. What the data determines is not a knob."""
  values = dataclasses.asdict(config)
  for name in _FROM_DATA:
    del values["model"][name]
  return values


def flatten(values: dict[str, Any]) -> dict[str, Any]:
  """{"model": {"dtype": …}} -> {"model.dtype": …}."""
  flat = {}
  for name, value in values.items():
    if isinstance(value, dict):
      flat.update({f"{name}.{inner}": v for inner, v in flatten(value).items()})
    else:
      flat[name] = value
  return flat


def completed(saved: dict[str, Any]) -> dict[str, Any]:
  """A saved config, nested as in `to_dict`, with the knobs that have been added since it was written."""
  saved = {name: dict(value) if isinstance(value, dict) else value for name, value in saved.items()}
  for path, value in _ADDED.items():
    *groups, name = path.split(".")
    place = saved
    for group in groups:
      place = place.setdefault(group, {})
    if isinstance(place, dict):  # otherwise `parse` says what is wrong
      place.setdefault(name, value)
  return saved


def differences(run: dict[str, Any], checkpoint: dict[str, Any]) -> list[str]:
  """Knobs that matter to training and differ, as "name: checkpoint's value -> run's value"; both are saved configs."""
  run, checkpoint = flatten(completed(run)), flatten(completed(checkpoint))
  return [
      f"{name}: {checkpoint.get(name, 'absent')!r} -> {run.get(name, 'absent')!r}"
      for name in sorted(run.keys() | checkpoint.keys())
      if name not in FREE_ON_RESUME and run.get(name) != checkpoint.get(name)
  ]


def check_field(path: str) -> None:
  """Raises UserError unless there is a knob, or a group of them, of this name, e.g. "model.dtype"."""
  where, known = "", to_dict(Config())
  for name in path.split("."):
    if not isinstance(known, dict):
      raise UserError(f"config.{path}: no such field; config.{where.rstrip('.')} is a value, not a group of fields")
    if name not in known:
      raise _no_such_field(where, name, known)
    where, known = f"{where}{name}.", known[name]


def _no_such_field(where: str, name: str, known: Iterable[str]) -> UserError:
  close = difflib.get_close_matches(name, known, 1)
  hint = f"did you mean {where}{close[0]}?" if close else f"known are {', '.join(sorted(known))}"
  return UserError(f"config.{where}{name}: no such field; {hint}")


def _build(cls, values: Any, where: str):
  """A dataclass from a dict, every field present, known and of its type."""
  if not isinstance(values, dict):
    raise UserError(f"config.{where.rstrip('.')} = {values!r}: must be a group of fields")
  types_by_name = typing.get_type_hints(cls)
  fields = {f.name: types_by_name[f.name] for f in dataclasses.fields(cls)}
  if cls is TRMConfig:
    fields = {name: kind for name, kind in fields.items() if name not in _FROM_DATA}
  for name in values:
    if name not in fields:
      raise _no_such_field(where, name, fields)
  typed = {}
  for name, kind in fields.items():
    if name not in values:
      raise UserError(f"config.{where}{name} is missing")
    value = values[name]
    if dataclasses.is_dataclass(kind):
      typed[name] = _build(kind, value, f"{where}{name}.")
      continue
    if type(value) in (int, float):
      errors.check_number(f"config.{where}{name}", value)
    if kind is float and type(value) is int:
      value = float(value)
    if type(value) is not kind:
      raise UserError(f"config.{where}{name} = {value!r}: must be of type {kind.__name__}, not {type(value).__name__}")
    typed[name] = value
  if cls is TRMConfig:
    typed.update(vocab_size=1, seq_len=1)
  return cls(**typed)


def parse(config: ml_collections.ConfigDict | dict[str, Any]) -> Config:
  """The typed, checked view of a config.

  Raises:
    UserError: an unknown field, a value of another type, or a combination that cannot be run; the message names the
      field, its value, the rule and the alternatives.
  """
  if isinstance(config, ml_collections.ConfigDict):
    config = config.to_dict()
  if not isinstance(config, dict):
    raise UserError(f"the config is {config!r}, must be a ConfigDict, such as config.default_config() makes")
  parsed = _build(Config, config, "")
  _check(parsed)
  return parsed


def parse_saved(config: Any, place: str) -> Config:
  """`parse`, of a config that this or an older version of the library has saved.

  Args:
    config: nested as in `to_dict`; knobs that were added since may be missing.
    place: where it was saved, for the message.

  Raises:
    UserError: it is not such a config, or has a knob that this version does not know.
  """
  if not isinstance(config, dict):
    raise UserError(f"{place}: holds no config")
  known = flatten(to_dict(Config()))
  unknown = [name for name in flatten(config)
             if name not in known and not any(other.startswith(f"{name}.") for other in known)]
  if unknown:
    raise UserError(f"{place}: config.{unknown[0]} is not known to this version of trm_jax; use the version that wrote "
                    "it")
  try:
    return parse(completed(config))
  except UserError as e:
    raise UserError(f"{place}: {e}") from e


def _check(config: Config) -> None:
  flat = flatten(dataclasses.asdict(config))

  def require(name: str, holds: types.FunctionType, rule: str):
    if not holds(flat[name]):
      raise UserError(f"config.{name} = {flat[name]!r}: {rule}")

  for name in ("batch_size", "micro_batches", "model_devices", "log_every", "eval_batch_size", "checkpoint_every",
               "profile_from"):
    require(name, lambda v: v >= 1, "must be at least 1")
  for name in ("epochs", "steps", "eval_every", "data.num_train", "data.num_validation", "data.num_test",
               "optimizer.warmup_steps", "optimizer.base_batch_size", "seed", "data.seed", "average_checkpoints",
               "profile_steps"):
    require(name, lambda v: v >= 0, "must not be negative")
  for name in ("optimizer.learning_rate", "optimizer.weight_decay", "optimizer.prefix_learning_rate",
               "optimizer.prefix_weight_decay", "optimizer.clip_norm", "loss.halt_cost", "checkpoint_minutes"):
    require(name, lambda v: v >= 0, "must not be negative")
  for name in ("optimizer.b1", "optimizer.b2", "optimizer.ema_rate"):
    require(name, lambda v: 0 <= v < 1 and np.float32(v) < 1, "must lie in [0, 1), as a number of 32 bits, too")
  require("optimizer.lr_min_ratio", lambda v: 0 <= v <= 1, "must lie in [0, 1]")
  require("optimizer.name", lambda v: v in ("adam_atan2", "adamw", "muon"), "must be adam_atan2, adamw or muon")
  require("loss.step_decay", lambda v: 0 < v <= 1, "must lie in (0, 1]")
  require("model_devices", lambda v: config.model.mlp_t or config.model.num_heads % v == 0,
          f"must divide config.model.num_heads = {config.model.num_heads}: devices share whole heads")
  require("data.box", lambda v: v in (2, 3), "must be 3 (9x9 boards) or 2 (4x4)")
  require("data.num_aug", lambda v: v >= -1, "must be -1 (fresh ones), 0 (none) or a number of versions")
  if (config.epochs > 0) == (config.steps > 0):
    raise UserError(f"config.epochs = {config.epochs}, config.steps = {config.steps}: exactly one of them says how "
                    "long to train; set the other to 0")
  stages(config.depth_schedule, config.model)


def parse_change(text: str) -> tuple[str, Any]:
  """What --set=FIELD=VALUE says: "model.mlp_t=False" -> ("model.mlp_t", False).

  Raises:
    UserError: it says nothing.
  """
  field, equals, value = text.partition("=")
  if not equals:
    raise UserError(f"--set={text}: must be FIELD=VALUE, e.g. model.mlp_t=False")
  try:
    return field, ast.literal_eval(value)
  except (SyntaxError, ValueError):  # a name needs no quotes
    return field, value


def change(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> None:
  """Sets fields by their names in `flatten`; what is wrong with their values, `parse` says.

  Raises:
    UserError: there is no such field.
  """
  for field in changes:
    check_field(field)
  with config.ignore_type():
    config.update_from_flattened_dict(changes)


def from_argument(
    argument: str | None,
    configs: Mapping[str, Callable[[], ml_collections.ConfigDict]],
    options: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> ml_collections.ConfigDict:
  """The config that `FILE.py:NAME[,OPTION…]` asks for.

  Args:
    argument: what follows the colon.
    configs: name -> function that makes it; the first line of its docstring says what it is.
    options: name -> function that changes a config in place; documented likewise.
    groups: heading -> names of configs, the way in which `help` lists them; None for one list.

  Raises:
    UserError: an unknown name or option.
    SystemExit: after `help`, which lists them all.
  """

  def listing(heading, functions):
    width = max(map(len, functions))
    lines = [f"  {name:<{width}}  {f.__doc__.splitlines()[0]}" for name, f in functions.items()]
    return "\n".join([heading, *lines])

  name, *chosen = (argument or "").split(",")
  if name == "help":
    for heading, names in (groups or {"configs:": configs}).items():
      print(listing(heading, {name: configs[name] for name in names}))
    print(listing("options, after a comma:", options))
    raise SystemExit(0)
  if name not in configs:
    close = difflib.get_close_matches(name, configs, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"config name {name!r} is not known; {hint}help lists all {len(configs)}")
  config = configs[name]()
  config.name = ",".join([name, *chosen])
  for option in chosen:
    if option not in options:
      raise UserError(f"config option {option!r} is not known; known are {', '.join(options)} (help describes them)")
    options[option](config)
  return config
