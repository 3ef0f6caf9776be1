# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From `config.data` to the puzzles of a run."""

from collections.abc import Callable
import dataclasses
import pathlib

from etils import epath
import numpy as np

from trm_jax import storage
from trm_jax.config import DataConfig
from trm_jax.data import reference_format
from trm_jax.data.puzzles import Puzzles, originals
from trm_jax.data.sudoku import csv_files
from trm_jax.data.sudoku import extreme
from trm_jax.data.sudoku import generate
from trm_jax.data.sudoku.task import SudokuTask
from trm_jax.errors import UserError

# How many test puzzles to watch where nothing is held out for validation.
WATCHED_TEST_PUZZLES = 1024


@dataclasses.dataclass(frozen=True)
class Splits:
  """The puzzles of a run.

  Attributes:
    task: what the trainer knows of the task.
    train: to train on.
    validation: held out of the training source, to watch and to choose checkpoints by; None where there is none.
    test: to report.
  """

  task: SudokuTask
  train: Puzzles
  validation: Puzzles | None
  test: Puzzles

  @property
  def watched(self) -> tuple[str, Puzzles]:
    """Name and puzzles to evaluate while training: validation, or else a part of test, by which nothing is chosen."""
    if self.validation is not None:
      return "validation", self.validation
    order = np.random.default_rng(0).permutation(self.test.num_groups)
    return "test", self.test.take_groups(order[:WATCHED_TEST_PUZZLES])


def _read(source: str, split: str, data: DataConfig) -> Puzzles:
  """All puzzles of one split of a source that is not generated."""
  if source == "sudoku-extreme":
    folder = storage.user_path(data.tfds_dir, "config.data.tfds_dir")
    return extreme.read_extreme(_copy_prepared(folder, split) if storage.is_remote(folder) else folder, split)
  folder, csv = storage.user_path(source, "config.data.source"), f"{split}.csv"
  usable = ("use a folder with train.csv and test.csv, one written by the reference's dataset builder, "
            "'sudoku-extreme' or 'generated'")
  if storage.is_remote(folder):
    in_split = storage.names(folder / split)
    if "dataset.json" in in_split:
      return reference_format.read_split(storage.local_copy(folder / split, in_split).parent, split)
    if csv not in storage.names(folder):
      raise UserError(f"config.data.source = {source!r}: neither {csv} nor {split}/dataset.json is there; {usable}")
    return csv_files.read_csv(storage.local_copy(folder, [csv]) / csv, box=data.box)
  if not folder.is_dir():
    raise UserError(f"config.data.source = {source!r}: no such folder; {usable}")
  if reference_format.is_reference_folder(folder):
    return reference_format.read_split(folder, split)
  return csv_files.read_csv(folder / csv, box=data.box)


def _copy_prepared(folder: epath.Path, split: str) -> pathlib.Path:
  """A local folder for TFDS, with what a bucket's has of one split of Sudoku-Extreme."""
  builder = extreme.builder_class()
  where = pathlib.PurePath(builder.name, str(builder.VERSION))
  needed = [name for name in storage.names(folder / where) if name.endswith(".json") or f"-{split}." in name]
  if "dataset_info.json" not in needed:
    raise UserError(f"config.data.tfds_dir={folder}: has no {where}, prepared; load the puzzles once with a local "
                    f"folder and copy its {builder.name} there")
  return storage.local_copy(folder / where, needed).parents[1]


def _shuffled(num_groups: int, data: DataConfig, stream: int) -> np.ndarray:
  """A permutation of the groups that the data's seed alone determines."""
  return np.random.default_rng((data.seed, stream)).permutation(num_groups)


def load_test(data: DataConfig) -> tuple[SudokuTask, Puzzles]:
  """The task and the test puzzles alone (see `load`)."""
  if data.source == "generated":
    splits = load(data)
    return splits.task, splits.test
  task = SudokuTask(data.box)
  test = _read(data.source, "test", data)
  _check_task(task, test, data.source)
  if data.num_test > test.num_groups:
    raise UserError(f"config.data.num_test = {data.num_test}: {data.source} has {test.num_groups} test puzzles")
  if data.num_test:
    test = test.take_groups(_shuffled(test.num_groups, data, 1)[: data.num_test])
  return task, test


def check_generated(data: DataConfig) -> None:
  """Raises UserError unless it says how many puzzles to generate."""
  for name in ("num_train", "num_test"):
    if not getattr(data, name):
      raise UserError(f"config.data.{name} = 0: means all, but 'generated' puzzles have no end; say how many")


def num_train(data: DataConfig, available: int) -> int:
  """Training puzzles of a run, of those that a source has. Raises UserError if these are too few."""
  number = data.num_train or available - data.num_validation
  if number < 1 or number + data.num_validation > available:
    raise UserError(f"config.data.num_train = {data.num_train} and num_validation = {data.num_validation}: "
                    f"{data.source} has {available} training puzzles for both; lower one of them")
  return number


def load(data: DataConfig, progress: Callable[[int, int], None] | None = None) -> Splits:
  """The puzzles of a run: the same for the same `config.data`, whatever the source holds them in.

  Args:
    data: config.data.
    progress: called with puzzles made and puzzles wanted while they are generated.

  Raises:
    UserError: the source is missing, malformed or too small.
  """
  if data.source == "generated":
    check_generated(data)
    made = generate.generate_splits(
        box=data.box, num_train=data.num_train, num_validation=data.num_validation, num_test=data.num_test,
        num_clues=data.num_clues, seed=data.seed, progress=progress)
    validation = made["validation"] if data.num_validation else None
    return Splits(SudokuTask(data.box), made["train"], validation, made["test"])
  task, test = load_test(data)
  source = _read(data.source, "train", data)
  _check_task(task, source, data.source)
  n = num_train(data, source.num_groups)
  order = _shuffled(source.num_groups, data, 0)
  train = source.take_groups(order[:n])
  # Augmented versions that the source stores are for training: each original is evaluated once.
  validation = originals(source.take_groups(order[n : n + data.num_validation]))
  return Splits(task, train, validation if data.num_validation else None, test)


def _check_task(task: SudokuTask, puzzles: Puzzles, source: str) -> None:
  if (puzzles.seq_len, puzzles.vocab_size) != (task.seq_len, task.vocab_size):
    raise UserError(f"{source}: {puzzles.seq_len} cells and {puzzles.vocab_size} tokens, but config.data.box = "
                    f"{task.box} means {task.seq_len} and {task.vocab_size}")
