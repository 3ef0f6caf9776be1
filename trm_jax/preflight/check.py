# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Compiles the programs of a run for a TPU slice that need not exist, and reports their memory, speed and cost."""

import collections
from collections.abc import Callable, Sequence
import dataclasses
import math
import re
import time
from typing import Any

import jax
import numpy as np

from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.preflight import hlo
from trm_jax.runtime import chips
from trm_jax.runtime import console
from trm_jax.runtime import sharding
from trm_jax.study import estimate
from trm_jax.training import checkpoint
from trm_jax.training import program


# The ways in which puzzles come to the hosts, by source.
_PUZZLES = {"sudoku-extreme": "800 MB from the hub, prepared once; minutes on a new slice",
            "maze-hard": "4 MB from the hub, prepared once",
            "generated": "made by every host at the start"}
_TRIES = 3  # the most programs that are compiled to find one that fits
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class DoesNotFit(Exception):
  """A program needs more memory than a chip has.

  Attributes:
    what: "training" or "evaluation".
    needed: bytes that the program takes on a chip; None if the compiler did not say.
    usable: bytes that a program can have there; None if the compiler did not say.
  """

  def __init__(self, what: str, needed: int | None, usable: int | None, message: str = ""):
    super().__init__(message)
    self.what, self.needed, self.usable = what, needed, usable

  @classmethod
  def from_compiler(cls, what: str, message: str) -> "DoesNotFit":
    """Makes the exception from the compiler's error."""
    sizes = re.search(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"
                      r"|Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm", message)
    needed, of_needed, usable, of_usable = [g for g in sizes.groups() if g is not None] if sizes else [None] * 4
    return cls(what, needed and int(float(needed) * _UNITS[of_needed]),
               usable and int(float(usable) * _UNITS[of_usable]), message.splitlines()[0])


@dataclasses.dataclass(frozen=True)
class Memory:
  """The memory of one chip, in bytes.

  Attributes:
    state: bytes of each part of the training state.
    data: bytes of the puzzles that batches are drawn from.
    padding: bytes that the chip's layout adds to the state and the data.
    training: temporary bytes of the training step.
    kept: the part of `training` that is kept for the backward pass, by the formula of flops.kept_elements.
    evaluation: temporary bytes of an evaluation, with its puzzles and results; they are never taken together with
      those of training.
    code: bytes of both programs.
    usable: bytes that a program can have.
    published: bytes that the chip has according to its data sheet.
  """

  state: dict[str, int]
  data: int
  padding: int
  training: int
  kept: int
  evaluation: int
  code: int
  usable: int
  published: int

  @property
  def total(self) -> int:
    """Bytes at the moment when the chip is fullest."""
    return (sum(self.state.values()) + self.data + self.padding + self.code + max(self.training, self.evaluation))


@dataclasses.dataclass(frozen=True)
class Speed:
  """The time of one optimizer step, in seconds.

  Attributes:
    matrix: time of the matrix products at the chip's peak rate.
    hbm: time to read and write the state and the results kept for the backward pass once, at the memory's peak rate.
    interconnect: time to send what each chip must send, at the peak rate of all its links.
    expected: time at the assumed utilization of the matrix units, or hbm or interconnect if longer.
    compiler: the sum of the TPU compiler's estimates for all operations; None if the chip's clock is unknown.
  """

  matrix: float
  hbm: float
  interconnect: float
  expected: float
  compiler: float | None

  @property
  def binding(self) -> str:
    """The part that limits the step's speed."""
    floors = {"matrix units": self.matrix, "memory": self.hbm, "interconnect": self.interconnect}
    return max(floors, key=floors.get)

  @property
  def floor(self) -> float:
    return max(self.matrix, self.hbm, self.interconnect)


@dataclasses.dataclass
class Answer:
  """The facts about a run before it starts, in bytes and seconds; None if the run does not fit.

  Attributes:
    config: name of the run's config.
    topology, accelerator_type, num_chips, num_hosts: of the slice.
    mesh: number of devices along each axis.
    fits: whether the run compiles and has enough memory.
    verdict: the same in one line, with figures.
    total_steps, batch_size, num_params: of the run.
    flops_per_example, flops_per_step: FLOPs of the matrix products in a training step.
    state_bytes: bytes of each part of the training state on one chip, without padding.
    checkpoint_bytes: size of one checkpoint, uncompressed.
    bucket_bytes: size of all checkpoints that a run keeps.
    advice: what to change if the run does not fit.
    assumptions: about the puzzles, if they could not be read.
    puzzles: how the puzzles come to the hosts.
    compile_seconds: time to compile the training step and an evaluation on this machine.
    memory, speed: see Memory and Speed.
    collectives: of one optimizer step: kind, devices, times and bytes (of one chip, all of a kind together).
    training_hours, evaluation_hours, price: of the whole run at the assumed utilization.
    test_hours: the part of evaluation_hours after the last step.
  """

  config: str
  topology: str
  accelerator_type: str
  num_chips: int
  num_hosts: int
  mesh: dict[str, int]
  total_steps: int
  batch_size: int
  num_params: int
  flops_per_example: int
  flops_per_step: int
  state_bytes: dict[str, int]
  checkpoint_bytes: int
  bucket_bytes: int
  assumptions: list[str]
  puzzles: str
  fits: bool = False
  verdict: str = ""
  advice: list[str] = dataclasses.field(default_factory=list)
  compile_seconds: float | None = None
  memory: Memory | None = None
  speed: Speed | None = None
  collectives: list[dict[str, Any]] | None = None
  training_hours: float | None = None
  evaluation_hours: float | None = None
  test_hours: float | None = None
  price: float | None = None

  def to_json(self) -> dict[str, Any]:
    values = dataclasses.asdict(self)
    if self.memory:
      values["memory"]["total"] = self.memory.total
    if self.speed:
      values["speed"] |= {"floor": self.speed.floor, "binding": self.speed.binding}
    return values


class _Run:
  """The programs of a run on described devices."""

  def __init__(self, config: Config, tpu_slice: chips.Slice, devices: Sequence[jax.Device]):
    self.config, self.slice, self.devices = config, tpu_slice, devices
    self.data = estimate.assumed_data(config)
    mesh = sharding.make_mesh(list(devices), model=config.compute.model_devices)
    self.program = program.Program(config, tasks.of(config.task, config.data), self.data.sizes, mesh)
    self.attempter = self.program.evaluator(max(self.data.num_watched, self.data.num_test)).attempter

  def compile_training(self) -> Any:
    return _compiled("training", self.program.compile_steps)

  def compile_evaluation(self) -> Any:
    arguments = self.attempter.arguments(self.program.state)
    return _compiled("evaluation", lambda: self.attempter.call.lower(*arguments).compile())

  def evaluation_bytes(self) -> int:
    """Bytes of an evaluation's puzzles, rows and results on one chip."""
    _, *rest = self.attempter.arguments(self.program.state)
    return sum(_bytes_on_chip(x) for x in jax.tree.leaves(rest))

  def state_bytes(self) -> dict[str, int]:
    """Bytes of each part of the state on one chip, without padding."""
    names = {"params": "parameters", "ema": "average", "opt_state": "optimizer", "prefix_table": "prefix table",
             "carry": "carry"}
    parts = collections.Counter()
    for path, x in jax.tree.leaves_with_path(self.program.state):
      parts[names.get(path[0].name, "other")] += _bytes_on_chip(x)
    return dict(parts)

  def kept_bytes(self) -> int:
    """Bytes kept on a chip for the backward pass, if devices along `model` share all of them."""
    model = self.program.model_config
    parts = self.program.mesh.size * self.config.compute.micro_batches
    return self.config.batch_size * flops.kept_elements(model) * np.dtype(model.dtype).itemsize // parts

  def data_bytes(self) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.program.source))


def _bytes_on_chip(x: jax.ShapeDtypeStruct) -> int:
  return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def _compiled(what: str, compile_: Callable[[], Any]) -> Any:
  try:
    return compile_()
  except jax.errors.JaxRuntimeError as e:
    if "RESOURCE_EXHAUSTED" in str(e):
      raise DoesNotFit.from_compiler(what, str(e)) from e
    raise


def check(config: Config, tpu_slice: chips.Slice, devices: Sequence[jax.Device], *, utilization: float,
          price_per_chip_hour: float | None = None) -> Answer:
  """Compiles a run's programs for a slice and reports whether they fit, how long the run takes and what it costs.

  Args:
    config: the run.
    tpu_slice: to run it on.
    devices: of the slice, to compile for.
    utilization: share of the peak matrix rate, for the run's time.
    price_per_chip_hour: in any currency.

  Raises:
    UserError: these devices cannot make the run, whatever their memory.
  """
  run = _Run(config, tpu_slice, devices)
  model = run.program.model_config
  checkpoint_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.program.state))
  answer = Answer(
      config=config.name, topology=tpu_slice.name, accelerator_type=tpu_slice.accelerator_type,
      num_chips=tpu_slice.num_chips, num_hosts=tpu_slice.num_hosts, mesh=dict(run.program.mesh.shape),
      total_steps=run.program.total_steps, batch_size=config.batch_size, num_params=run.program.num_params,
      flops_per_example=flops.train_step_flops(model),
      flops_per_step=flops.train_step_flops(model) * config.batch_size,
      state_bytes=run.state_bytes(), checkpoint_bytes=checkpoint_bytes,
      bucket_bytes=(checkpoint.keep_last(config) + 1) * checkpoint_bytes, assumptions=run.data.assumptions,
      puzzles=_PUZZLES.get(config.data.source, f"read from {config.data.source} at the start"))
  training = None
  try:
    start = time.perf_counter()
    training, evaluation = run.compile_training(), run.compile_evaluation()
    answer.compile_seconds = round(time.perf_counter() - start, 1)
  except DoesNotFit as e:
    answer.verdict = f"does NOT fit: {_shortage(e, tpu_slice)}"
    answer.advice = _advice(run, e, training)
    return answer
  except jax.errors.JaxRuntimeError as e:
    answer.verdict = f"does NOT compile: {str(e).splitlines()[0]}"
    return answer

  text = training.as_text()
  answer.memory = memory = _memory(run, training, evaluation)
  collectives = hlo.collectives(text)
  answer.collectives = summary(collectives)
  answer.speed = speed = _speed(run, memory, collectives, text, answer.flops_per_step, utilization)
  # Only the last stage of a depth schedule was compiled; the others are less deep.
  full_steps = run.program.train_flops(run.program.total_steps) / answer.flops_per_step
  answer.training_hours = full_steps * speed.expected / 3600
  flops_per_hour = 3600 * tpu_slice.num_chips * tpu_slice.chip.peak_flops * utilization
  answer.evaluation_hours = estimate.evaluation_flops(config, run.attempter.batch_size) / flops_per_hour
  answer.test_hours = estimate.test_flops(config, run.attempter.batch_size) / flops_per_hour
  if price_per_chip_hour is not None:
    answer.price = (answer.training_hours + answer.evaluation_hours) * tpu_slice.num_chips * price_per_chip_hour
  answer.fits = memory.total <= memory.usable
  answer.verdict = (f"{'fits' if answer.fits else 'does NOT fit'}: {console.size(memory.total)} of "
                    f"{console.size(memory.usable)} a chip")
  if not answer.fits:
    what = "training" if memory.training > memory.evaluation else "evaluation"
    answer.advice = _advice(run, DoesNotFit(what, memory.total, memory.usable), training)
  return answer


def _memory(run: _Run, training: Any, evaluation: Any) -> Memory:
  train, test, chip = training.memory_analysis(), evaluation.memory_analysis(), run.slice.chip
  state, data = run.state_bytes(), run.data_bytes()
  return Memory(
      state=state, data=data,
      padding=max(0, train.argument_size_in_bytes - sum(state.values()) - data),
      training=train.temp_size_in_bytes + train.output_size_in_bytes - train.alias_size_in_bytes,
      kept=run.kept_bytes(),
      evaluation=test.temp_size_in_bytes + run.evaluation_bytes(),
      code=train.generated_code_size_in_bytes + test.generated_code_size_in_bytes,
      usable=chip.usable_bytes, published=chip.hbm_bytes)


def _speed(run: _Run, memory: Memory, collectives: list[hlo.Collective], text: str, step_flops: int,
           utilization: float) -> Speed:
  chip = run.slice.chip
  matrix = step_flops / run.slice.num_chips / chip.peak_flops
  moved = sum(memory.state.values()) + memory.padding + run.config.compute.micro_batches * memory.kept
  hbm = 2 * moved / chip.hbm_bandwidth
  interconnect = sum(c.sent_bytes for c in collectives) / chip.ici_bandwidth
  compiler = chip.clock and hlo.estimated_cycles(text) / chip.clock
  return Speed(matrix, hbm, interconnect, max(matrix / utilization, hbm, interconnect), compiler)


def summary(collectives: list[hlo.Collective]) -> list[dict[str, Any]]:
  """Sums collectives of the same kind and number of devices; those that move the most bytes come first."""
  alike = collections.defaultdict(lambda: np.zeros(2, np.int64))
  for c in collectives:
    alike[c.kind, c.group_size] += (c.times, c.times * c.bytes)
  rows = [{"kind": kind, "devices": devices, "times": int(times), "bytes": int(of_all)}
          for (kind, devices), (times, of_all) in alike.items()]
  return sorted(rows, key=lambda row: -row["bytes"])


def _shortage(error: DoesNotFit, tpu_slice: chips.Slice) -> str:
  if error.needed is None:
    return f"{error.what}: {error}"
  return (f"{error.what} needs {console.size(error.needed)} a chip, {tpu_slice.generation} has "
          f"{console.size(error.usable)}")


def _advice(run: _Run, error: DoesNotFit, training: Any | None) -> list[str]:
  """Names what takes the memory and what to change; each proposal says whether it was compiled or estimated.

  Args:
    run: the run that does not fit.
    error: the reason.
    training: its compiled training step, if that fits.
  """
  config, data_devices = run.config, run.program.mesh.shape[sharding.DATA]
  resident = run.state_bytes() | {"training data": run.data_bytes()}
  resident_bytes, usable = sum(resident.values()), run.slice.chip.usable_bytes
  # The factor by which the rest has to shrink.
  excess = (error.needed - resident_bytes) / max(1, usable - resident_bytes) if error.needed else 2

  if error.what == "evaluation":
    rows = run.attempter.batch_size // data_devices
    advice = [f"to blame: {rows:,} puzzles at once on each chip"]
    for smaller in (int(rows / excess / 2**i) * data_devices for i in range(_TRIES)):
      if smaller and _fits(run, training, eval={"batch_size": smaller}):
        return [*advice, f"compiled, and fits: --config.eval.batch_size={smaller}"]
    return [*advice, "lower config.eval.batch_size"]

  if resident_bytes > usable / 2:
    largest = sorted(resident.items(), key=lambda item: -item[1])[:3]
    advice = [f"to blame: {console.size(resident_bytes)} that stay on each chip: "
              f"{', '.join(f'{name} {console.size(size)}' for name, size in largest)}"]
    for devices in (config.compute.model_devices * 2**i for i in range(1, _TRIES + 1)):
      if _fits(run, compute={"model_devices": devices}):
        return [*advice, f"compiled, and fits: --config.compute.model_devices={devices}"]
    return [*advice, "more chips with a larger config.compute.model_devices, a smaller model, or fewer training "
            "puzzles"]

  rows, parts = config.batch_size // data_devices, config.compute.micro_batches
  blame = (f"to blame: what {rows // parts:,} examples at once on each chip keep for the backward pass, "
           f"{console.size(run.kept_bytes())}")
  less = [m for m in range(parts + 1, rows + 1) if rows % m == 0 and m >= parts * excess]
  advice = [blame]
  for micro_batches in less[:_TRIES]:
    if _fits(run, compute={"micro_batches": micro_batches}):
      advice = [blame,
                f"compiled, and fits: --config.compute.micro_batches={micro_batches} (the same step, one part of the "
                "batch after the other)"]
      break
  multiple = data_devices * parts
  if smaller := int(config.batch_size / excess) // multiple * multiple:
    advice.append(f"estimated: --config.batch_size={smaller}, or {math.ceil(excess)} times as many chips")
  return advice


def _fits(run: _Run, training: Any | None = None, **changes: dict[str, int]) -> bool:
  """Whether a run fits with some knobs changed.

  Args:
    run: the run.
    training: its compiled training step, if these knobs do not change it.
    **changes: by group of the config, the fields that change.
  """
  try:
    config = dataclasses.replace(run.config, **{
        group: dataclasses.replace(getattr(run.config, group), **fields) for group, fields in changes.items()})
    changed = _Run(config, run.slice, run.devices)
    training, evaluation = training or changed.compile_training(), changed.compile_evaluation()
  except (DoesNotFit, UserError, jax.errors.JaxRuntimeError):  # then the change is not suggested
    return False
  return _memory(changed, training, evaluation).total <= run.slice.chip.usable_bytes
