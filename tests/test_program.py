# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The programs of a run, and what the TPU compiler makes of them for a v4 slice of 32 chips."""

import dataclasses
import importlib.util
import math
import os
import pathlib
import tempfile

import jax
import programs
import pytest

from benchmarks import tpu_schedule
from trm_jax import config as config_lib
from trm_jax.config import OptimizerConfig
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.model import TRMConfig
from trm_jax.preflight import hlo
from trm_jax.runtime import chips
from trm_jax.runtime import sharding
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import program
from trm_jax.training import train_step

libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu (extra [tpu])")
SCHEDULES = tempfile.TemporaryDirectory(prefix="libtpu-")  # which libtpu is told when it is loaded
if importlib.util.find_spec("libtpu"):
  os.environ["LIBTPU_INIT_ARGS"] = tpu_schedule.libtpu_args(SCHEDULES.name)
SUDOKU = Sizes(num_examples=1000, num_puzzles=1000, num_groups=1000, seq_len=81, vocab_size=11,
               num_puzzle_identifiers=1)
BATCH = 1024
SMALL = {"model.hidden_size": 128, "model.puzzle_emb_ndim": 128}  # compiles sooner; what travels are the same things


def make_program(mesh, **changes):
  values = config_lib.default_config()
  values.update_from_flattened_dict({"batch_size": BATCH} | changes)
  return program.Program(config_lib.parse(values), SudokuTask(SudokuData(box=3)), SUDOKU, mesh)


def test_sizes_of_the_baseline():
  made = make_program(sharding.make_mesh())
  assert made.total_steps == 50_000 * 1000 // BATCH
  assert made.num_params == 5_028_866
  assert made.state.carry.z_H.shape == (BATCH, 97, 512) and made.state.carry.z_H.dtype == "bfloat16"
  assert made.source.arrays["inputs"].shape == (1000, 81)


@pytest.mark.parametrize("changes, message", [
    ({"batch_size": 20}, "config.batch_size = 20: must be divisible by the 8 devices; use 16 or 24"),
    ({"batch_size": 24, "compute.micro_batches": 2},
     "config.batch_size = 24: must be divisible by the 8 devices times config.compute.micro_batches = 2; use 16 or 32"),
])
def test_a_batch_that_cannot_be_split(changes, message):
  with pytest.raises(UserError) as e:
    make_program(sharding.make_mesh(), **changes)
  assert str(e.value) == message


def test_fused_kernels_need_their_device():
  with pytest.raises(UserError, match="config.compute.kernels = 'pallas': needs one NVIDIA GPU, not 8 x cpu; use xla"):
    make_program(sharding.make_mesh(), **{"compute.kernels": "pallas"})
  with pytest.raises(UserError, match="config.compute.kernels = 'pallas': needs config.model.dtype = bfloat16 or"):
    make_program(sharding.make_mesh(), **{"compute.kernels": "pallas", "model.dtype": "float32"})


def test_fused_attention_needs_its_devices():
  with pytest.raises(UserError, match="config.compute.attention = 'cudnn': needs NVIDIA GPUs, not cpu; use xla"):
    make_program(sharding.make_mesh(), **{"compute.attention": "cudnn", "model.mlp_t": False})
  with pytest.raises(UserError, match="'cudnn': a model with config.model.mlp_t = True has no attention; leave it out"):
    make_program(sharding.make_mesh(), **{"compute.attention": "cudnn"})


def test_cudnn_trains_on_an_even_number_of_positions():
  def trainer(prefix):
    model = TRMConfig(vocab_size=11, seq_len=81, mlp_t=False, attention="cudnn", puzzle_emb_len=prefix)
    return train_step.Trainer(model, OptimizerConfig(), mesh=sharding.make_mesh(), batch_size=8, total_steps=1)

  assert trainer(15).model_config.positions == 96
  with pytest.raises(UserError, match="an odd number of positions, and here they are 97, 16 of them the prefix"):
    trainer(16)


def test_a_batch_that_cannot_be_split_over_less_than_all_devices():
  with pytest.raises(UserError, match="by the 8 devices / config.compute.model_devices = 2; use 4 or 8"):
    make_program(sharding.make_mesh(model=2), **{"batch_size": 6, "compute.model_devices": 2})


def test_seeds_and_what_surrounds_the_steps_are_not_compiled_in():
  """Runs that differ in nothing else find each other's programs in the compilation cache; so do the runs in tests."""
  changed = {"name": "other", "seed": 7, "eval.every": 5, "save.every": 3, "save.minutes": 1.0, "save.average": 2,
             "init_from": "run", "init_rows": "mean", "log.profile_steps": 1, "log.profile_from": 4,
             "log.wandb": "project"}
  assert set(changed) == set(programs.NOT_COMPILED)
  tiny = {"batch_size": 8, "epochs": 0, "steps": 4, "model.hidden_size": 8, "model.num_heads": 2,
          "model.puzzle_emb_ndim": 8, "model.H_cycles": 1, "model.L_cycles": 1, "model.random_init": True}
  mesh = sharding.make_mesh(jax.devices()[:1])

  def texts(**changes):
    made = make_program(mesh, **tiny | changes)
    steps, number, seed = made.stages[0].steps, *(jax.ShapeDtypeStruct((), kind) for kind in ("int32", "uint32"))
    attempter = made.evaluator(16).attempter
    return [lowered.as_text() for lowered in (
        made.init.lower(seed, made.source), steps.lower(made.state, number, seed, made.source),
        attempter.call.lower(*attempter.arguments(made.state)))]

  assert texts(**changed, **{"data.seed": 3}) == texts()


@libtpu
@pytest.mark.parametrize("changes", [{}, SMALL | {"batch_size": 8192, "compute.micro_batches": 8}],
                         ids=["1024", "8 x 1024"])
def test_a_step_on_v4(changes):
  """What travels: one all-reduce of all gradients, in float32, with the metrics; the rows of the prefix table; nothing
  else. And, for the baseline, what the compiler has to do besides computing."""
  made = make_program(sharding.make_mesh(list(chips.Slice.parse("v4:2x4x4").devices())), **changes)
  batch = changes.get("batch_size", BATCH)
  before = set(pathlib.Path(SCHEDULES.name).iterdir())
  compiled = made.compile_steps()
  text = compiled.as_text()
  found = hlo.collectives(text)
  assert all(c.group_size == 32 and c.times == 1 for c in found), found
  all_reduces = [c for c in found if c.kind == "all-reduce"]
  gradients, = [c for c in all_reduces if c.bytes > 2**20]
  metrics_bytes = 4 * len(made.state.metrics)
  assert {array.text.partition("[")[0] for array in gradients.arrays} == {"f32"}
  assert 4 * made.num_params <= gradients.bytes <= 4 * made.num_params + metrics_bytes
  # The rows' gradients to where they are added up, their new values to where the table is, and whose they are.
  rows = 4 * batch * made.model_config.puzzle_emb_ndim
  assert [c.bytes for c in found if c.kind == "all-gather" and c.bytes >= rows] == [rows, rows]
  assert sum(c.bytes for c in found if c.bytes < rows and c is not gradients) <= 2 * 4 * batch
  assert {c.kind for c in found} == {"all-reduce", "all-gather"}
  if not changes:
    # Golden numbers: of states and activations none changes its layout between products; memory; the time that it
    # estimates (18.4 ms), and that its instructions take where memory keeps up (11.0 ms).
    assert not [(array, times) for array, times in hlo.relayouts(text) if array.bytes > 2**20]
    assert compiled.memory_analysis().temp_size_in_bytes < 1.0 * 2**30
    assert hlo.estimated_cycles(text) < 20e6
    found = tpu_schedule.computations(text, set(pathlib.Path(SCHEDULES.name).iterdir()) - before)
    assert 9e6 < sum(c.times * c.scheduled for c in found) < 11.9e6


@libtpu
def test_a_big_prefix_table_does_not_travel_on_v4():
  """Only the rows that a batch uses do, however many there are."""
  mesh = sharding.make_mesh(list(chips.Slice.parse("v4:2x4x4").devices()))
  values = config_lib.default_config()
  values.update_from_flattened_dict(SMALL | {"batch_size": BATCH})
  sizes = dataclasses.replace(SUDOKU, num_puzzle_identifiers=876_406)
  made = program.Program(config_lib.parse(values), SudokuTask(SudokuData(box=3)), sizes, mesh)
  table = made.state.prefix_table["puzzle_emb"]
  assert table.sharding.shard_shape(table.shape)[0] * 32 == table.shape[0] == 878_592
  found = hlo.collectives(made.compile_steps().as_text())
  assert max(c.bytes for c in found) < 4 * made.num_params + 4096
  assert sum(c.bytes for c in found) < 4 * made.num_params + 4 * 4 * BATCH * 128


@pytest.mark.parametrize("devices, dtype", [(1, "float16"), (6, "float32"), (8, "float32")])
def test_a_big_prefix_table_is_there_once(devices, dtype):
  """Neither a step nor an evaluation has an array besides it that grows with it, or moves it between devices."""
  rows, width, batch = 876_406, 512, 48
  mesh = sharding.make_mesh(jax.devices()[:devices])
  values = config_lib.default_config()
  values.update_from_flattened_dict({
      "batch_size": batch, "eval.batch_size": batch, "model.hidden_size": 64, "model.num_heads": 2, "model.L_layers": 1,
      "model.H_cycles": 1, "model.L_cycles": 1, "model.puzzle_emb_ndim": width, "model.puzzle_emb_len": 8,
      "model.halt_max_steps": 2, "model.dtype": dtype})
  sizes = dataclasses.replace(SUDOKU, num_puzzle_identifiers=rows)
  made = program.Program(config_lib.parse(values), SudokuTask(SudokuData(box=3)), sizes, mesh)
  share = 4 * width * rows // devices
  table = made.state.prefix_table["puzzle_emb"]
  assert 0 <= 4 * math.prod(table.sharding.shard_shape(table.shape)) - share < share / 100
  attempter = made.evaluator(batch).attempter
  steps, evaluation = made.compile_steps(), attempter.call.lower(*attempter.arguments(made.state)).compile()
  for compiled in steps, evaluation:
    memory = compiled.memory_analysis()
    assert share < memory.argument_size_in_bytes < 1.05 * share
    # The step's is written in place, in the memory of the one that it is given; an evaluation has none of its own.
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes < share / 2
    assert all(c.bytes <= max(4 * width * batch, 5 * made.num_params) for c in hlo.collectives(compiled.as_text()))
