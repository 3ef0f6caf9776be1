# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a run will compute, from its config and the sizes that its source states: no puzzle is read, nothing is
compiled or measured."""

import dataclasses
import math

from trm_jax.config import Config, DataConfig, steps_between_evaluations
from trm_jax.data import reference_format
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.model import flops
from trm_jax.model.config import TRMConfig
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import program

_EXTREME_TRAIN, _EXTREME_TEST = 3_831_994, 422_786  # puzzles of Sudoku-Extreme


@dataclasses.dataclass(frozen=True)
class Data:
  """What is known or assumed of a run's puzzles; they are not read.

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
  """Sizes of a run's puzzles from its config, and from what a folder of the reference's builder says of itself.

  Raises:
    UserError: there are no such puzzles.
  """
  task, assumptions, stored = SudokuTask(data.box), [], 0
  num_test, num_train, num_validation = data.num_test or _EXTREME_TEST, data.num_train, data.num_validation
  if data.source == "generated":
    splits_lib.check_generated(data)
  elif data.source == "sudoku-extreme":
    num_train, num_validation = splits_lib.numbers(data, _EXTREME_TRAIN)
  elif folder := splits_lib.local_reference_folder(data.source):
    groups, examples = reference_format.stored_sizes(folder, "train")
    # Its builder stores as many versions of each puzzle.
    num_train, num_validation = splits_lib.numbers(data, groups, num_stored=examples // groups - 1)
    stored = min(data.num_aug, examples // groups - 1)
    num_test = data.num_test or reference_format.stored_sizes(folder, "test")[0]
  else:
    unsaid = [name for name in ("num_train", "num_test") if not getattr(data, name)]
    num_train = num_train or _EXTREME_TRAIN - num_validation
    assumptions.append(
        f"config.data.source = {data.source!r} is not read: taken to store no augmented versions"
        + (f", and for {' and '.join(f'config.data.{name} = 0' for name in unsaid)} to have as many puzzles as "
           "Sudoku-Extreme" if unsaid else ""))
  sizes = program.Sizes(num_train * (1 + max(0, stored)), num_train, task.seq_len, task.vocab_size,
                        num_puzzle_identifiers=1)
  return Data(sizes, num_watched=num_validation or min(splits_lib.WATCHED_TEST_PUZZLES, num_test), num_test=num_test,
              test_passes=2 if num_validation else 1, assumptions=assumptions)


def model_config(config: Config) -> TRMConfig:
  """The model with what its puzzles determine."""
  return dataclasses.replace(config.model, **assumed_data(config.data).sizes.of_model())


def total_steps(config: Config) -> int:
  """Optimizer steps of the whole run."""
  return config.steps or rows_lib.total_steps(
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
  steps = total_steps(config)
  evaluations = math.ceil(steps / steps_between_evaluations(config.eval_every, steps))
  watched = _passes_flops(config, batch_size, evaluations, assumed_data(config.data).num_watched)
  return watched + test_flops(config, batch_size)


def test_flops(config: Config, batch_size: int | None = None) -> int:
  """Of the evaluation on the test puzzles, at the end of a run. Arguments as of `evaluation_flops`."""
  data = assumed_data(config.data)
  return _passes_flops(config, batch_size, data.test_passes + (config.average_checkpoints > 0), data.num_test)


def _passes_flops(config: Config, batch_size: int | None, passes: int, num_puzzles: int) -> int:
  batch, model = batch_size or config.eval_batch_size, model_config(config)
  num_rows = passes * math.ceil(num_puzzles / batch) * batch
  return num_rows * model.halt_max_steps * flops.eval_step_flops(model)
