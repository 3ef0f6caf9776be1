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
import typing
from typing import Any, ClassVar

import ml_collections

from trm_jax import errors
from trm_jax import knobs
from trm_jax import tasks
from trm_jax.data.config import DataConfig
from trm_jax.errors import UserError
from trm_jax.knobs import DECAY, SHARE, WEIGHT, at_least, knob, one_of
from trm_jax.model.config import ModelConfig, TRMConfig

# Old names of knobs and their names today, as in `flatten`, so that configs of earlier versions can be read.
# tests/test_config.py requires an entry for each knob that is added, moved or renamed.
_MOVED = {
    "eval_every": "eval.every", "eval_batch_size": "eval.batch_size",
    "eval_halting": "eval.halting",  # see `completed`
    "checkpoint_every": "save.every", "checkpoint_minutes": "save.minutes", "average_checkpoints": "save.average",
    "log_every": "log.every", "profile_steps": "log.profile_steps", "profile_from": "log.profile_from",
    "wandb": "log.wandb", "micro_batches": "compute.micro_batches", "model_devices": "compute.model_devices",
    "model.attention": "compute.attention",
}
# Added knobs and the values that configs saved before are assumed to have: mostly the default at that time, which stays
# here if the default changes.
_ADDED: dict[str, Any] = {
    "task": "sudoku", "model.inner_norm": False,
    "optimizer.muon_learning_rate": 0.02, "optimizer.muon_weight_decay": 0.005, "optimizer.muon_momentum": 0.95,
    "optimizer.ema_start": 0, "optimizer.train": "all", "init_from": "", "init_rows": "zero",
    "compute.kernels": "xla",
    "loss.cells": "stablemax", "loss.label_smoothing": 0.0, "loss.halting_weight": 0.5,
}
# The same for the knobs of config.data, by config.task.
_ADDED_DATA: dict[str, dict[str, Any]] = {"sudoku": {"data.max_clues": 0}, "arc": {"data.side": 30}}


# Rules by which an attempt at a puzzle may end before its last supervision step. steps: it never does; settled: the
# halting head is sure (q_halt > 0), and the answer is that of the step before; converged: the answer is that of the
# step before; still: the state z_H hardly changes; proven: the answer is right by the rules of the task.
STOPS = ("steps", "settled", "converged", "still", "proven")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The optimizer, its rates, and the average of parameters."""

  name: str = knob("adam_atan2", one_of("adam_atan2", "adamw", "muon"))  # muon: for matrices; adamw for the rest
  # Trained parameters. prefix: only the prefix table; all else stays bit for bit as in init_from, without an average.
  train: str = knob("all", one_of("all", "prefix"))
  learning_rate: float = knob(1e-4, at_least(0))  # peak, after the warmup
  base_batch_size: int = knob(0, at_least(0))  # all rates are multiplied by batch_size / this; 0: by 1
  weight_decay: float = knob(1.0, at_least(0))  # decoupled, on every trained parameter
  clip_norm: float = knob(0.0, at_least(0))  # limit on the norm of all gradients together; 0: none
  b1: float = knob(0.9, DECAY)  # decay of the first moment
  b2: float = knob(0.95, DECAY)  # decay of the second moment
  warmup_steps: int = knob(2000, at_least(0))  # steps of the linear rise from 0
  lr_min_ratio: float = knob(1.0, SHARE)  # end of the cosine / its peak; 1: constant rate
  prefix_learning_rate: float = knob(1e-4, at_least(0))  # rate of the sign-SGD that trains the prefix table
  prefix_weight_decay: float = knob(1.0, at_least(0))  # decay of the rows in use
  muon_learning_rate: float = knob(0.02, at_least(0))  # rate of the networks' matrices, if name is muon
  muon_weight_decay: float = knob(0.005, at_least(0))  # decoupled, times that rate
  muon_momentum: float = knob(0.95, DECAY)  # Nesterov momentum of the same matrices
  ema_rate: float = knob(0.999, DECAY)  # decay of the average that evaluation uses; 0: no average
  ema_start: int = knob(0, at_least(0))  # steps at the start in which the average equals the parameters


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """The loss of a row's supervision step. Defaults: the reference's loss."""

  cells: str = knob("stablemax", one_of("stablemax", "softmax"))  # function from a cell's logits to probabilities
  label_smoothing: float = knob(0.0, SHARE)  # share of a cell's target that goes to all tokens equally
  halting_weight: float = knob(0.5, at_least(0))  # weight of the halting head's losses
  step_decay: float = knob(1.0, WEIGHT)  # weight step_decay^(s - 1) of a row's loss at its supervision step s
  halt_cost: float = knob(0.0, at_least(0))  # cost of each further supervision step that a row is expected to make


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """When and how puzzles are evaluated."""

  FREE: ClassVar[bool] = True

  every: int = knob(0, at_least(0))  # steps between evaluations; 0: a tenth of the run
  batch_size: int = knob(1024, at_least(1))  # puzzles on all devices together; rounded up to a multiple of the devices
  stop: str = knob("steps", one_of(*STOPS))  # rule of STOPS; a puzzle that ends leaves its row to another


@dataclasses.dataclass(frozen=True)
class SaveConfig:
  """When checkpoints are saved, besides at evaluations, at the end, and when the run is told to stop."""

  FREE: ClassVar[bool] = True

  every: int = knob(2500, at_least(1))  # steps
  minutes: float = knob(15.0, at_least(0))  # most minutes between checkpoints; 0: no limit
  average: int = knob(0, at_least(0))  # also test the mean of the last N checkpoints; 0: do not


@dataclasses.dataclass(frozen=True)
class LogConfig:
  """What is recorded of a run."""

  FREE: ClassVar[bool] = True

  every: int = knob(100, at_least(1))  # steps between training records; the devices make them on their own, in one call
  profile_steps: int = knob(0, at_least(0))  # steps that JAX's profiler traces (docs/performance.md); 0: none
  profile_from: int = knob(10, at_least(1))  # untraced steps before; a run resumed after them traces nothing
  wandb: str = knob("")  # project at Weights & Biases that gets the records, too; "": none


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
  """How a step is computed; results differ only by rounding."""

  FREE: ClassVar[bool] = True

  micro_batches: int = knob(1, at_least(1))  # parts of a batch that are computed one after another, to save memory
  model_devices: int = knob(1, at_least(1))  # devices that share the matrices (mesh axis `model`); the rest share rows
  attention: str = knob("xla", one_of("xla", "cudnn"))  # its implementation; cudnn: fused, NVIDIA GPUs, 16 bits
  kernels: str = knob("xla", one_of("xla", "pallas"))  # code of SwiGLUs; pallas: fused, one NVIDIA GPU, 16 bits


@dataclasses.dataclass(frozen=True)
class Config:
  """One run."""

  name: str = knob("", free=True)  # name of the config that this comes from
  task: str = knob("sudoku")  # a folder of trm_jax/tasks, or a module of your own (docs/your_own_puzzles.md)
  data: DataConfig = dataclasses.field(default_factory=lambda: tasks.data_config("sudoku")())  # the task's own knobs
  model: ModelConfig = ModelConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  loss: LossConfig = LossConfig()
  eval: EvalConfig = EvalConfig()
  save: SaveConfig = SaveConfig()
  log: LogConfig = LogConfig()
  compute: ComputeConfig = ComputeConfig()
  seed: int = knob(0, at_least(0))  # seed of parameters, batches and exploration
  batch_size: int = knob(768, at_least(1))  # rows, which devices and micro-batches share out evenly
  epochs: int = knob(50_000, at_least(0))  # passes over the training puzzles; 0 if `steps` is given
  steps: int = knob(0, at_least(0))  # optimizer steps; 0: floor(epochs * puzzles / batch_size)
  # A run, or one of its checkpoints, whose weights this run begins with (averaged ones if there are any). Its model
  # must have the same sizes. Rows of the prefix table are kept, by name if the task names them. "": new weights.
  init_from: str = knob("")
  init_rows: str = knob("zero", one_of("zero", "mean"))  # initial value of other rows; mean: that of init_from's rows
  # Cycles while training: "0:1x2,0.3:2x4,0.6:3x6" is H_cycles x L_cycles = 1 x 2 at first, 2 x 4 from 30 % of the steps
  # on, 3 x 6 from 60 % on. The last must be the model's, and every evaluation uses them. "": the model's all along.
  depth_schedule: str = knob("")


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of a run with one depth. Attributes: start, the share of the steps after which it begins; its cycles."""

  start: float
  H_cycles: int
  L_cycles: int


def stages(depth_schedule: str, model: ModelConfig) -> tuple[Stage, ...]:
  """The stages of config.depth_schedule, in order; a single one if there is no schedule.

  Args:
    depth_schedule: see Config.
    model: must have the cycles of the last stage.

  Raises:
    UserError: the schedule has another form, does not begin at 0 and rise, or does not end with the model's cycles.
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
    raise UserError(f"{what}the last stage must have config.model.H_cycles x L_cycles = {last[0]}x{last[1]}")
  return tuple(found)


def stage_models(depth_schedule: str, model_config: TRMConfig, total_steps: int) -> list[tuple[int, TRMConfig]]:
  """Returns, for each stage of a run, the step after which it begins and its model.

  Args:
    depth_schedule: see Config.
    model_config: of the last stage.
    total_steps: of the run.
  """
  return [(round(stage.start * total_steps),
           dataclasses.replace(model_config, H_cycles=stage.H_cycles, L_cycles=stage.L_cycles))
          for stage in stages(depth_schedule, model_config)]


def steps_between_evaluations(every: int, total_steps: int) -> int:
  """config.eval.every, or a tenth of the run if that is 0."""
  return every or max(1, total_steps // 10)


def default_config(task: str = "sudoku") -> ml_collections.ConfigDict:
  """All knobs with their defaults, which are those of the reference's run on Sudoku-Extreme, and the task's own.

  Raises:
    UserError: there is no such task.
  """
  return ml_collections.ConfigDict(to_dict(Config(task=task, data=tasks.data_config(task)())))


def small_config(task: str, hidden_size: int) -> ml_collections.ConfigDict:
  """A small model that a laptop trains within minutes, with settings for some thousand steps.

  Args:
    task: config.task.
    hidden_size: of the model.

  Raises:
    UserError: there is no such task.
  """
  config = default_config(task)
  config.model.update(hidden_size=hidden_size, H_cycles=2, L_cycles=2, puzzle_emb_ndim=hidden_size, puzzle_emb_len=1,
                      halt_max_steps=8, dtype="float32")
  small_run(config)
  config.log.every = 50
  return config


def small_run(config: ml_collections.ConfigDict) -> None:
  """Sets what suits some thousand steps of a small model: higher rate, shorter warmup and average; no length yet."""
  config.optimizer.update(learning_rate=1e-3, weight_decay=0.1, prefix_learning_rate=1e-3, prefix_weight_decay=0.1,
                          warmup_steps=100, lr_min_ratio=0.1, ema_rate=0.99)
  config.epochs = 0
  config.eval.batch_size = 256


# The changes of configs/sudoku.py:fast, in parts that an ablation removes one by one. Source: code/sudoku/x182m.py of
# github.com/jvdillon/sic (arXiv:2601.19085) and the code that it builds on.
FAST_PARTS = {
    "muon": {"optimizer.name": "muon", "optimizer.clip_norm": 1.0},
    "softmax": {"loss.cells": "softmax"},
    "smoothing": {"loss.label_smoothing": 0.2},
    "light_halting": {"loss.halting_weight": 0.05},
    "cosine": {"optimizer.warmup_steps": 0, "optimizer.lr_min_ratio": 0.0},
    "late_ema": {"optimizer.ema_rate": 0.9, "optimizer.ema_start": 5_000},
    "depth": {"model.H_cycles": 6, "model.L_cycles": 9},
    "inner_norm": {"model.inner_norm": True},
    "one_prefix_token": {"model.puzzle_emb_len": 1},
    "fresh_augmentation": {"data.num_aug": -1},
}


def together(*parts: Mapping[str, Any]) -> dict[str, Any]:
  """The changes of several parts; later ones win."""
  return {field: value for changes in parts for field, value in changes.items()}


def rates(learning_rate: float) -> dict[str, float]:
  """The changes that give the network and the prefix table this learning rate."""
  return {"optimizer.learning_rate": learning_rate, "optimizer.prefix_learning_rate": learning_rate}


def small_fast_parts(steps: int) -> dict[str, dict[str, Any]]:
  """FAST_PARTS for a `small_config`, which has one prefix token already.

  T=3 n=3 stands for the deeper recursion. The average begins after three fifths of the run, and the parameters that
  Muon leaves to Adam have a rate of 1e-3. New symmetries in every epoch, the last part, are left out.

  Args:
    steps: of the run.
  """
  parts = {part: changes for part, changes in FAST_PARTS.items()
           if part not in ("one_prefix_token", "fresh_augmentation")}
  parts["muon"] = parts["muon"] | rates(1e-3)
  parts["late_ema"] = parts["late_ema"] | {"optimizer.ema_start": steps * 3 // 5}
  parts["depth"] = {"model.H_cycles": 3, "model.L_cycles": 3}
  return parts


def to_dict(config: Config) -> dict[str, Any]:
  """The knobs as a plain nested dict, as in config.json."""
  return dataclasses.asdict(config)


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
  """A saved config, nested as in `to_dict`, with today's names and the knobs that were added since."""
  known = flatten(saved)
  known = {_MOVED.get(path, path): value for path, value in known.items()}
  if "eval.halting" in known:
    known["eval.stop"] = "settled" if known.pop("eval.halting") else "steps"
  known = _ADDED | _ADDED_DATA.get(str(known.get("task", "sudoku")), {}) | known
  result: dict[str, Any] = {}
  for path, value in known.items():
    *groups, name = path.split(".")
    place = result
    for group in groups:
      place = place.setdefault(group, {})
      if not isinstance(place, dict):  # `parse` says what is wrong
        return saved
    place[name] = value
  return result


def free_on_resume(task: str) -> frozenset[str]:
  """The knobs that may change between a checkpoint and the run that goes on from it, by their names in `flatten`."""
  return knobs.free(Config) | knobs.free(tasks.data_config(task), "data.")


def differences(run: dict[str, Any], checkpoint: dict[str, Any]) -> list[str]:
  """Knobs of two saved configs that matter to training and differ: "name: checkpoint's value -> run's value"."""
  run, checkpoint = completed(run), completed(checkpoint)
  free = free_on_resume(run["task"])
  run, checkpoint = flatten(run), flatten(checkpoint)
  return [
      f"{name}: {checkpoint.get(name, 'absent')!r} -> {run.get(name, 'absent')!r}"
      for name in sorted(run.keys() | checkpoint.keys())
      if name not in free and run.get(name) != checkpoint.get(name)
  ]


def check_field(path: str, task: str | None = None) -> None:
  """Raises UserError unless there is a knob, or a group of them, of this name, e.g. "model.dtype".

  Args:
    path: the name.
    task: config.task; None if it is not known yet, so that config.data may have any knob.
  """
  where, known = "", to_dict(Config() if task is None else Config(task=task, data=tasks.data_config(task)()))
  for name in path.split("."):
    if not isinstance(known, dict):
      raise UserError(f"config.{path}: no such field; config.{where.rstrip('.')} is a value, not a group of fields")
    if name not in known:
      if where == "data." and task is None:
        return
      raise _no_such_field(where, name, known)
    where, known = f"{where}{name}.", known[name]


def _no_such_field(where: str, name: str, known: Iterable[str]) -> UserError:
  close = difflib.get_close_matches(name, known, 1)
  hint = f"did you mean {where}{close[0]}?" if close else f"use one of {', '.join(sorted(known))}"
  return UserError(f"config.{where}{name}: no such field; {hint}")


def _build(cls: type, values: Any, where: str) -> Any:
  """Builds a dataclass from a dict; every field must be present, known, of its type, and obey its rule."""
  if not isinstance(values, dict):
    raise UserError(f"config.{where.rstrip('.')} = {values!r}: must be a group of fields")
  kinds = {field.name: kind for field, kind in zip(dataclasses.fields(cls), _kinds(cls, values))}
  for name in values:
    if name not in kinds:
      raise _no_such_field(where, name, kinds)
  typed = {}
  for name, kind in kinds.items():
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
  built = cls(**typed)
  knobs.check(built, f"config.{where}")
  return built


def _kinds(cls: type, values: dict[str, Any]) -> list[type]:
  """The types of a dataclass's fields; that of config.data is its task's."""
  hints = typing.get_type_hints(cls)
  if cls is Config and isinstance(values.get("task"), str):
    hints["data"] = tasks.data_config(values["task"])
  return [hints[field.name] for field in dataclasses.fields(cls)]


def parse(config: ml_collections.ConfigDict | dict[str, Any]) -> Config:
  """The typed, checked view of a config.

  Raises:
    UserError: an unknown field, a value of another type, or a combination that cannot be run; the message names the
      field, its value, the rule and the alternatives.
  """
  if isinstance(config, ml_collections.ConfigDict):
    config = config.to_dict()
  if not isinstance(config, dict):
    raise UserError(f"the config is {config!r}, must be a ConfigDict, such as config.default_config() returns")
  parsed = _build(Config, config, "")
  _check(parsed)
  return parsed


def parse_saved(config: Any, place: str) -> Config:
  """`parse` for a config that this or an older version of the library has saved.

  Args:
    config: nested as in `to_dict`; knobs that were added since may be missing.
    place: where it was saved, for the message.

  Raises:
    UserError: it is not such a config, or has a knob that this version does not know.
  """
  if not isinstance(config, dict):
    raise UserError(f"{place}: holds no config")
  config = completed(config)
  try:
    known = flatten(to_dict(Config(data=tasks.data_config(config["task"])())))
    unknown = [name for name in flatten(config)
               if name not in known and not any(other.startswith(f"{name}.") for other in known)]
    if unknown:
      raise UserError(f"config.{unknown[0]} is not known to this version of trm_jax; use the version that wrote it")
    return parse(config)
  except UserError as e:
    raise UserError(f"{place}: {e}") from e


def _check(config: Config) -> None:
  """Checks the rules that involve several knobs."""
  model, compute = config.model, config.compute
  if not model.mlp_t and model.num_heads % compute.model_devices:
    raise UserError(f"config.compute.model_devices = {compute.model_devices}: must divide config.model.num_heads = "
                    f"{model.num_heads}, since a head is not split over devices")
  for name, value in (("attention", "cudnn"), ("kernels", "pallas")):
    if getattr(compute, name) == value and model.dtype == "float32":
      raise UserError(f"config.compute.{name} = {value!r}: needs config.model.dtype = bfloat16 or float16")
  if compute.kernels == "pallas" and model.inner_norm:
    raise UserError("config.compute.kernels = 'pallas': cannot compute config.model.inner_norm = True; set it to False")
  if (config.epochs > 0) == (config.steps > 0):
    raise UserError(f"config.epochs = {config.epochs}, config.steps = {config.steps}: exactly one of them must say "
                    "how long to train; set the other to 0")
  if config.optimizer.train == "prefix" and not model.puzzle_emb_ndim:
    raise UserError("config.optimizer.train = 'prefix': a model with config.model.puzzle_emb_ndim = 0 has no prefix")
  if config.init_rows != "zero" and not config.init_from:
    raise UserError(f"config.init_rows = {config.init_rows!r}: needs config.init_from, whose rows it averages")
  if config.eval.stop == "proven" and not tasks.has_rules(config.task):
    raise UserError(f"config.eval.stop = 'proven': puzzles of {config.task} have no rules that tell whether an answer "
                    "is right; choose steps, settled, converged or still")
  stages(config.depth_schedule, model)


def parse_change(text: str, example: str = "model.mlp_t=False") -> tuple[str, str]:
  """Parses the value of --set: "model.mlp_t=False" -> ("model.mlp_t", "False"), which `change` understands.

  Args:
    text: FIELD=VALUE.
    example: for the message.

  Raises:
    UserError: it is not FIELD=VALUE.
  """
  field, equals, value = text.partition("=")
  if not equals:
    raise UserError(f"--set={text}: must be FIELD=VALUE, e.g. {example}")
  return field, value


def change(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> None:
  """Sets fields by their names in `flatten`; `parse` checks their values later.

  Args:
    config: is changed.
    changes: values by field. Text is the value of a field of type str, and of another field it is how a person writes
      the value, such as "20".

  Raises:
    UserError: there is no such field.
  """
  typed = {}
  for field, value in changes.items():
    check_field(field, config.task)
    typed[field] = _value(value, field, config.task) if isinstance(value, str) else value
  with config.ignore_type():
    config.update_from_flattened_dict(typed)


def _value(text: str, field: str, task: str) -> Any:
  """The value that a text means as that of an existing field; the text itself if it means none."""
  kind: type = Config
  for name in field.split("."):
    kind = dict(zip((known.name for known in dataclasses.fields(kind)), _kinds(kind, {"task": task})))[name]
  if kind is str:
    return text
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


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
    options: name -> function that changes a config in place; the first line of its docstring says what it does.
    groups: heading -> names of configs, as `help` lists them; None for one list.

  Raises:
    UserError: an unknown name or option.
    SystemExit: after `help`, which lists them all.
  """

  def listing(heading, functions):
    width = max(map(len, functions), default=0)
    lines = [f"  {name:<{width}}  {f.__doc__.splitlines()[0]}" for name, f in functions.items()]
    return "\n".join([heading, *lines])

  name, *chosen = (argument or "").split(",")
  if name == "help":
    for heading, names in (groups or {"configs:": configs}).items():
      print(listing(heading, {name: configs[name] for name in names}))
    if options:
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
      raise UserError(f"config option {option!r} is not known; use one of {', '.join(options)} (help describes them)")
    options[option](config)
  return config
