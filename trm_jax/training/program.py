# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Compiles the programs of a run from its config and the sizes of its data; nothing is allocated or read."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh
import jax.numpy as jnp

from trm_jax import config as config_lib
from trm_jax.config import Config
from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.model.config import TRMConfig
from trm_jax.model.trm import InitialState, PrefixTable, abstract
from trm_jax.runtime import sharding
from trm_jax.tasks import Task
from trm_jax.training.attempts import Attempter
from trm_jax.training.evaluator import Evaluator
from trm_jax.training.train_step import Trainer

# The fields of a TrainState that hold weights, with the kinds of the model's variables that they contain.
WEIGHTS = {"params": nnx.Param, "prefix_table": PrefixTable, "initial": InitialState}
_SEED = jax.ShapeDtypeStruct((), jnp.uint32)


def check_fits(config: Config, mesh: Mesh) -> None:
  """Raises UserError unless the batch can be split over the mesh and into micro-batches, and the devices support the
  model's options."""
  data, model = (mesh.shape[name] for name in (sharding.DATA, sharding.MODEL))
  parts = data * config.compute.micro_batches
  if config.batch_size % parts:
    below = config.batch_size // parts * parts
    what = f"{mesh.size} devices" + f" / config.compute.model_devices = {model}" * (model > 1)
    what += f" times config.compute.micro_batches = {config.compute.micro_batches}" * (config.compute.micro_batches > 1)
    raise UserError(f"config.batch_size = {config.batch_size}: must be divisible by the {what}; "
                    f"use {' or '.join(str(n) for n in (below, below + parts) if n)}")
  platform = mesh.devices.flat[0].platform
  if config.model.dtype == "float16" and not config.model.mlp_t and platform == "cpu":
    raise UserError("config.model.dtype = 'float16': JAX's attention does not support it on a CPU; use bfloat16 or "
                    "float32")
  if config.compute.attention == "cudnn":
    if config.model.mlp_t:
      raise UserError("config.compute.attention = 'cudnn': a model with config.model.mlp_t = True has no attention; "
                      "leave it out")
    if not sharding.on_gpus(mesh):
      raise UserError(f"config.compute.attention = 'cudnn': needs NVIDIA GPUs, not {platform}; use xla")
  if config.compute.kernels == "pallas" and not (sharding.on_gpus(mesh) and mesh.size == 1):
    raise UserError(f"config.compute.kernels = 'pallas': needs one NVIDIA GPU, not {mesh.size} x {platform}; use xla")


def model_config(config: Config, mesh: Mesh, **sizes: int) -> TRMConfig:
  """The config of the run's model, with the options that suit the devices of a mesh.

  Args:
    sizes: sizes that the puzzles determine; see data.puzzles.Sizes.of_model.
  """
  on_gpus = sharding.on_gpus(mesh)
  return config.model.sized(attention=config.compute.attention if on_gpus else "xla",
                            kernels=config.compute.kernels if on_gpus and mesh.size == 1 else "xla",
                            positions_first=mesh.devices.flat[0].platform != "tpu", **sizes)


def weights_layout(model: TRMConfig, mesh: Mesh) -> tuple[Any, dict[str, Any]]:
  """The shapes of a model's weights and their layout on a mesh; nothing is allocated.

  Returns:
    nnx's graph of the model, and its abstract weights with shardings, by field of TrainState and in the order in which
    nnx.merge takes them; empty for a field that this model does not have.
  """
  graphdef, variables = abstract(model)
  shapes = dict(zip(WEIGHTS, map(nnx.to_pure_dict, nnx.split_state(variables, *WEIGHTS.values()))))
  return graphdef, sharding.abstract(shapes, sharding.state_shardings(mesh, shapes))


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of a run whose steps are made by one program.

  Attributes:
    start: number of steps made before it.
    model_config: TRMConfig, with this stage's cycles.
    steps: (state, number of steps () int32, seed () uint32, source) -> (state, metrics), jitted; donates the state. See
      Trainer.steps.
  """

  start: int
  model_config: TRMConfig
  steps: Callable[..., Any]


class Program:
  """The computations of a run, on a mesh of real devices or of described ones (see preflight/check.py).

  The seed and the puzzles are arguments of its functions, so that runs that differ in nothing else compile the same
  programs and share them in the compilation cache.

  Args:
    config: of the run.
    task: of its puzzles.
    sizes: of its training puzzles.
    mesh: from sharding.make_mesh.

  Attributes:
    config, task, mesh: as given.
    model_config: TRMConfig of the last stage and of every evaluation.
    trainer: Trainer of the last stage.
    stages: of config.depth_schedule; at least one.
    total_steps: of the whole run.
    state: abstract TrainState with shardings.
    source: abstract rows.Source with shardings, from which batches are drawn.
    init: (seed () uint32, source) -> TrainState, jitted.

  Raises:
    UserError: the batch cannot be split over the mesh, or the run is too long or empty.
  """

  def __init__(self, config: Config, task: Task, sizes: Sizes, mesh: Mesh):
    check_fits(config, mesh)
    self.config, self.task, self.mesh = config, task, mesh
    self.model_config = model_config(config, mesh, **sizes.of_model())
    self.total_steps = config.steps or sizes.total_steps(config.epochs, config.batch_size)
    rows_lib.check_positions(self.total_steps, config.batch_size)

    def keys(seed):
      """Random keys of the parameters, the batches and exploration."""
      return jax.random.split(jax.random.key(seed), 3)

    def make_batch(data_key, source, step):
      batch = rows_lib.sample_batch(source, task.row, data_key, step, batch_size=config.batch_size,
                                    num_aug=config.data.num_aug)
      return jax.lax.with_sharding_constraint(batch, sharding.along_data(mesh))

    def init(seed, source):
      param_key, data_key, _ = keys(seed)
      return self.trainer.init(param_key, make_batch(data_key, source, jnp.int32(0)))

    def steps(trainer, state, num_steps, seed, source):
      _, data_key, explore_key = keys(seed)
      return trainer.steps(state, num_steps, functools.partial(make_batch, data_key, source), explore_key)

    stages = config_lib.stage_models(config.depth_schedule, self.model_config, self.total_steps)
    trainers = [
        Trainer(model, config.optimizer, mesh=mesh, batch_size=config.batch_size, total_steps=self.total_steps,
                loss_config=config.loss, micro_batches=config.compute.micro_batches, record_every=config.log.every)
        for _, model in stages]
    self.trainer = trainers[-1]
    whole = sharding.replicated(mesh)
    blank = sizes.blank_puzzles()
    self.source = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
                               rows_lib.Source.of(task.arrays(blank), blank))
    shapes = jax.eval_shape(init, _SEED, self.source)
    layout = sharding.state_shardings(mesh, shapes)  # known before anything is allocated
    self.state = sharding.abstract(shapes, layout)
    self.init = jax.jit(init, out_shardings=layout)
    self.stages = tuple(
        Stage(start, model,
              jax.jit(functools.partial(steps, trainer), donate_argnums=0, out_shardings=(layout, whole)))
        for (start, model), trainer in zip(stages, trainers))

  @property
  def num_params(self) -> int:
    """Number of trained parameters, without the prefix table."""
    return sum(x.size for x in jax.tree.leaves(self.state.params))

  def stage_at(self, step: int) -> int:
    """Index of the stage that makes the next step after `step` steps; after the last step, that of the last stage."""
    return max(i for i, stage in enumerate(self.stages) if stage.start <= step)

  def train_flops(self, step: int) -> int:
    """FLOPs of the first `step` steps on all devices together, as flops.py counts them."""
    return flops.training_flops([(s.start, s.model_config) for s in self.stages], self.config.batch_size, step)

  def compile_steps(self, stage: int = -1) -> Any:
    """Compiles `steps` of a stage. The number of steps in a call and the seed are data, so once per stage is enough."""
    return self.stages[stage].steps.lower(
        self.state, jax.ShapeDtypeStruct((), jnp.int32), _SEED, self.source).compile()

  def evaluator(self, max_puzzles: int) -> Evaluator:
    """Makes an Evaluator of the averaged parameters of a state.

    Args:
      max_puzzles: number of puzzles in the largest set that is evaluated.
    """
    return Evaluator(
        lambda state: self.trainer.model(state, averaged=True), self.task, mesh=self.mesh,
        batch_size=self.config.eval.batch_size, max_puzzles=max_puzzles,
        loss_config=self.config.loss, stop=self.config.eval.stop, versions=self.task.num_votes)

  def solver(self, max_puzzles: int) -> Attempter:
    """Makes an Attempter that uses a state's averaged parameters and keeps the answers of all supervision steps.

    Args:
      max_puzzles: number of puzzles that are attempted.
    """
    return Attempter(
        lambda state: self.trainer.model(state, averaged=True), self.task, mesh=self.mesh,
        batch_size=min(self.config.eval.batch_size, max_puzzles), max_puzzles=max_puzzles, keep="all")
