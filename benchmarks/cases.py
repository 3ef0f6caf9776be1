# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The configs to measure, by batch and dtype, on random puzzles: time does not depend on their content."""

import itertools
import os
import time
from typing import Any

from absl import flags
import jax
from jax.experimental import topologies
from jax.sharding import Mesh
import numpy as np

from benchmarks import measure
from configs import sudoku
from trm_jax import config as config_lib
from trm_jax import study
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import Puzzles, Sizes
from trm_jax.errors import UserError
from trm_jax.runtime import chips
from trm_jax.runtime import sharding
from trm_jax.training import program

_NAME = flags.DEFINE_multi_string("name", ["quickstart"], "NAME[,OPTION…] of configs/sudoku.py, or "
                                  "FILE.py:NAME[,OPTION…]; repeat for several.")
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE of all of them, e.g. model.mlp_t=False; repeat for several.")
_BATCH = flags.DEFINE_multi_integer("batch", [], "Examples per batch, on all devices; repeat for several; default: the "
                                    "config's.", lower_bound=1)
_DTYPE = flags.DEFINE_multi_enum("dtype", [], ["float32", "bfloat16"], "Dtype of matrix products; repeat for several; "
                                 "default: the config's.")
_SEQ_LEN = flags.DEFINE_integer("seq_len", None, "Cells: 900 for a maze or ARC grid; default: the Sudoku's. Without "
                                "augmentation.", lower_bound=1)

# An H100 SXM, by NVIDIA's data sheet and the limits of compute capability 9.0 in the CUDA programming guide.
_H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 10 patch: 0 }
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  memory_bandwidth: 3350000000000 device_memory_size: 85899345920 l2_cache_size: 52428800
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
}
"""
_H100_BANDWIDTH = 3.35e12


def described(topology: str) -> tuple[list[jax.Device], float]:
  """Descriptions of devices, for which programs can be compiled but not run, and the bytes/s of the memory of each.

  Args:
    topology: h100, or a TPU slice such as v4:2x4x4.

  Raises:
    UserError: the compiler for them is not installed, or there is no such slice.
  """
  if topology != "h100":
    tpu_slice = chips.Slice.parse(topology)
    return list(tpu_slice.devices()), tpu_slice.chip.hbm_bandwidth
  os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # no driver is needed
  # Nothing can be timed in order to choose between kernels, so all products are cuBLAS's, unless flags say otherwise.
  os.environ["XLA_FLAGS"] = ("--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false "
                             f"{os.environ.get('XLA_FLAGS', '')}")
  try:
    found = topologies.get_topology_desc(platform="cuda", topology="1x1x1", target_config=_H100)
  except NotImplementedError as e:
    raise UserError('--topology=h100: the compiler for NVIDIA GPUs is not installed: pip install -e ".[cuda12]"') from e
  return list(found.devices), _H100_BANDWIDTH


def configs(batch_field: str = "batch_size") -> list[Config]:
  """Every named config with every batch and dtype.

  Args:
    batch_field: the knob that --batch sets.
  """
  found = []
  for name, batch, dtype in itertools.product(_NAME.value, _BATCH.value or [None], _DTYPE.value or [None]):
    path, _, name = name.rpartition(":")
    values = study.File.load(path).get_config(name) if path else sudoku.get_config(name)
    changes = dict(map(config_lib.parse_change, _SET.value))
    if batch:
      changes[batch_field] = batch
    if dtype:
      changes["model.dtype"] = dtype
    if _SEQ_LEN.value:
      changes["data.num_aug"] = 0  # the symmetries are those of a Sudoku
    config_lib.change(values, changes)
    found.append(config_lib.parse(values))
  return found


def label(config: Config, batch: int) -> dict[str, Any]:
  """The first cells of the task's row."""
  return {"config": config.name, "batch": batch, "dtype": config.model.dtype}


def make_puzzles(config: Config, number: int) -> Puzzles:
  """Random tokens."""
  task, rng = tasks.of(config.task, config.data), np.random.default_rng(0)
  shape = 2, number, _SEQ_LEN.value or task.seq_len
  inputs, labels = rng.integers(1, task.vocab_size, shape)
  return puzzles_lib.one_group_each(inputs.astype(np.uint8), labels.astype(np.int8), vocab_size=task.vocab_size)


def make_program(config: Config, mesh: Mesh) -> tuple[program.Program, Puzzles]:
  """A run's program on a mesh of real or described devices, and its random puzzles."""
  puzzles = make_puzzles(config, config.data.num_train or 1000)
  return program.Program(config, tasks.of(config.task, config.data), Sizes.of(puzzles), mesh), puzzles


class TrainStep:
  """A run's compiled training step and its arguments.

  Attributes:
    config: Config.
    program: Program.
    task: of the config.
    source: the puzzles that batches are drawn from.
    state: TrainState after the steps made so far.
    compiled: the step.
    compile_s: seconds that compiling took.
    num_steps: number of steps in a call.
  """

  def __init__(self, config: Config, num_steps: int | None = None):
    self.config = config
    mesh = sharding.make_mesh(model=config.compute.model_devices)
    self.program, puzzles = make_program(config, mesh)
    self.task = self.program.task
    self.source = rows_lib.to_device(rows_lib.Source.of(self.task.arrays(puzzles), puzzles), sharding.replicated(mesh))
    start = time.perf_counter()
    self.compiled = self.program.compile_steps()
    self.compile_s = time.perf_counter() - start
    self.state = self.program.init(np.uint32(config.seed), self.source)
    self.num_steps = 1
    self.num_steps = num_steps or measure.calls_a_second(self)

  def __call__(self) -> None:
    """Makes the steps and waits for them."""
    self.state, metrics = self.compiled(
        self.state, np.int32(self.num_steps), np.uint32(self.config.seed), self.source)
    jax.block_until_ready(metrics)
