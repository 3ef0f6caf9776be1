# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a run will compute, from its config alone: nothing is read, compiled or measured."""

import dataclasses
import math

from trm_jax import flops
from trm_jax import program
from trm_jax.config import Config, DataConfig
from trm_jax.data import batches
from trm_jax.data import load
from trm_jax.data.sudoku.task import SudokuTask
from trm_jax.model import TRMConfig

_EXTREME_TRAIN, _EXTREME_TEST = 3_831_994, 422_786  # puzzles of Sudoku-Extreme


@dataclasses.dataclass(frozen=True)
class Data:
  """What is assumed of a run's puzzles; they are not read.

  Attributes:
    sizes: of the training puzzles.
    num_watched: puzzles of an evaluation while training.
    num_test: puzzles of the test set.
    test_passes: evaluations of it: of the last checkpoint, and of the best on validation where there is one.
    assumptions: what a reader should know.
  """

  sizes: program.Sizes
  num_watched: int
  num_test: int
  test_passes: int
  assumptions: list[str]


def assumed_data(data: DataConfig) -> Data:
  """Sizes of a run's puzzles from its config alone.

  Raises:
    UserError: there are no such puzzles.
  """
  task, assumptions = SudokuTask(data.box), []
  if data.source == "generated":
    load.check_generated(data)
  elif data.source != "sudoku-extreme":
    unsaid = [name for name in ("num_train", "num_test") if not getattr(data, name)]
    assumptions.append(
        f"config.data.source = {data.source!r} is not read: taken to store no augmented versions"
        + (f", and for {' and '.join(f'config.data.{name} = 0' for name in unsaid)} to have as many puzzles as "
           "Sudoku-Extreme" if unsaid else ""))
  if data.source == "sudoku-extreme":
    num_train = load.num_train(data, _EXTREME_TRAIN)
  else:
    num_train = data.num_train or _EXTREME_TRAIN - data.num_validation
  num_test = data.num_test or _EXTREME_TEST
  return Data(program.Sizes(num_train, num_train, task.seq_len, task.vocab_size, num_puzzle_identifiers=1),
              num_watched=data.num_validation or min(load.WATCHED_TEST_PUZZLES, num_test), num_test=num_test,
              test_passes=2 if data.num_validation else 1, assumptions=assumptions)


def model_config(config: Config) -> TRMConfig:
  """The model with what its puzzles determine."""
  return dataclasses.replace(config.model, **assumed_data(config.data).sizes.of_model())


def total_steps(config: Config) -> int:
  """Optimizer steps of the whole run."""
  return config.steps or batches.total_steps(
      config.epochs, assumed_data(config.data).sizes.num_groups, config.batch_size)


def training_flops(config: Config) -> int:
  """Of all training steps of a run."""
  steps = total_steps(config)
  return flops.training_flops(program.stage_models(config, model_config(config), steps), config.batch_size, steps)


def evaluation_flops(config: Config, batch_size: int | None = None) -> int:
  """Of all evaluations of a run.

  Args:
    config: the run.
    batch_size: puzzles at once; None for the config's.
  """
  batch, data, steps = batch_size or config.eval_batch_size, assumed_data(config.data), total_steps(config)
  num_batches = (math.ceil(steps / (config.eval_every or max(1, steps // 10))) * math.ceil(data.num_watched / batch)
                 + (data.test_passes + (config.average_checkpoints > 0)) * math.ceil(data.num_test / batch))
  model = model_config(config)
  return num_batches * batch * model.halt_max_steps * flops.eval_step_flops(model)
