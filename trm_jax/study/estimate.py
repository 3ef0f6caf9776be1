# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Estimates the work of a run from its config and the sizes that its source states: no puzzle is read, and nothing is
compiled or measured."""

import dataclasses
import math

from trm_jax import tasks
from trm_jax.config import Config, stage_models, steps_between_evaluations
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Sizes, Stored
from trm_jax.model import flops
from trm_jax.model.config import TRMConfig
# Assumed numbers of puzzles of a source that does not state them: about those of Sudoku-Extreme.
_TRAIN, _TEST = 4_000_000, 400_000


@dataclasses.dataclass(frozen=True)
class Data:
  """Facts and assumptions about a run's puzzles, which are not read.

  Attributes:
    sizes: of the training puzzles.
    num_watched: puzzles of an evaluation while training.
    num_test: puzzles of the test set.
    test_passes: evaluations on the test set: of the last checkpoint and, if there is validation, of the best one.
    assumptions: sentences that a reader should know.
  """

  sizes: Sizes
  num_watched: int
  num_test: int
  test_passes: int
  assumptions: list[str]


def assumed_data(config: Config) -> Data:
  """Returns the sizes of a run's puzzles, from its config and from what their source states.

  Raises:
    UserError: there are no such puzzles.
  """
  task, data, assumptions = tasks.of(config.task, config.data), config.data, []
  training, test = task.stored("train"), task.stored("test")
  num_train, num_validation, num_test = data.num_train, data.num_validation, data.num_test
  if training:
    num_train, num_validation = splits_lib.numbers(data, training)
  if test:
    num_test = num_test or test.num_groups
  if not training and not task.own_splits:
    unsaid = [f"{number:,} for config.data.{name} = 0" for name, number in (
        ("num_train", _TRAIN), ("num_test", _TEST)) if not getattr(data, name)]
    num_train, num_test = num_train or _TRAIN - num_validation, num_test or _TEST
    assumptions.append(f"config.data.source = {data.source!r} is not read; assumed to store no augmented versions"
                       + (f", and to have {' and '.join(unsaid)} puzzles" if unsaid else ""))
  if task.stores_versions:  # only the puzzles themselves tell how many there are
    splits = splits_lib.load(task)
    return Data(Sizes.of(splits.train), num_watched=len(splits.watched[1]), num_test=len(splits.test),
                test_passes=2 if num_validation else 1, assumptions=assumptions)
  stored = training or Stored(num_train)
  num_puzzles = num_train * (1 + max(0, min(data.num_aug, stored.num_versions)))
  sizes = Sizes(round(num_puzzles * stored.num_examples), num_puzzles, num_train, task.seq_len, task.vocab_size,
                task.num_puzzle_identifiers)
  return Data(sizes, num_watched=num_validation or min(splits_lib.WATCHED_TEST_PUZZLES, num_test), num_test=num_test,
              test_passes=2 if num_validation else 1, assumptions=assumptions)


def model_config(config: Config) -> TRMConfig:
  """The model's config, completed with the sizes that its puzzles determine."""
  return config.model.sized(attention=config.compute.attention, **assumed_data(config).sizes.of_model())


def total_steps(config: Config) -> int:
  """Number of optimizer steps of the whole run."""
  return config.steps or assumed_data(config).sizes.total_steps(config.epochs, config.batch_size)


def training_flops(config: Config) -> int:
  """FLOPs of all training steps of a run."""
  steps = total_steps(config)
  stages = stage_models(config.depth_schedule, model_config(config), steps)
  return flops.training_flops(stages, config.batch_size, steps)


def evaluation_flops(config: Config, batch_size: int | None = None) -> int:
  """FLOPs of all evaluations of a run.

  Args:
    config: the run.
    batch_size: number of puzzles at once; None for the config's.
  """
  steps = total_steps(config)
  evaluations = math.ceil(steps / steps_between_evaluations(config.eval.every, steps))
  versions = min(1 + tasks.of(config.task, config.data).num_votes, splits_lib.WATCHED_VERSIONS)
  watched = _passes_flops(config, batch_size, evaluations, assumed_data(config).num_watched * versions)
  return watched + test_flops(config, batch_size)


def test_flops(config: Config, batch_size: int | None = None) -> int:
  """FLOPs of the evaluation on the test puzzles at the end of a run. Takes the arguments of `evaluation_flops`."""
  data = assumed_data(config)
  return _passes_flops(config, batch_size, data.test_passes + (config.save.average > 0),
                       data.num_test * (1 + tasks.of(config.task, config.data).num_votes))


def _passes_flops(config: Config, batch_size: int | None, passes: int, num_attempts: int) -> int:
  batch, model = batch_size or config.eval.batch_size, model_config(config)
  num_rows = passes * math.ceil(num_attempts / batch) * batch
  return num_rows * model.halt_max_steps * flops.eval_step_flops(model)
