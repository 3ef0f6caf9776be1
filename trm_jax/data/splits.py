# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From `config.data` to the puzzles of a run."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

from etils import epath
import jax
import numpy as np

from trm_jax.config import DataConfig
from trm_jax.data import puzzles as puzzles_lib, reference_format
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError, explained
from trm_jax.runtime import buckets
from trm_jax.runtime import distributed
from trm_jax.runtime import paths
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import extreme
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.task import SudokuTask

# How many test puzzles to watch where nothing is held out for validation.
WATCHED_TEST_PUZZLES = 1024

# The file that TFDS's folder of a data set has once it is prepared.
_PREPARED = "dataset_info.json"

_USABLE = ("use a folder with train.csv and test.csv, one written by the reference's dataset builder, "
           "'sudoku-extreme' or 'generated'")


@dataclasses.dataclass(frozen=True)
class Splits:
  """The puzzles of a run.

  Attributes:
    task: what the trainer knows of the task.
    train: to train on.
    validation: held out of the training source, to watch and to choose checkpoints by; None where there is none.
    test: to report.
    all_unseen: whether the test puzzles are all different, and none of them is trained on.
    notes: lines for the user: what the source decides against the config, warnings.
  """

  task: SudokuTask
  train: Puzzles
  validation: Puzzles | None
  test: Puzzles
  all_unseen: bool
  notes: tuple[str, ...] = ()

  @property
  def watched(self) -> tuple[str, Puzzles]:
    """Name and puzzles to evaluate while training: validation, or else a part of test, by which nothing is chosen."""
    if self.validation is not None:
      return "validation", self.validation
    order = np.random.default_rng(0).permutation(self.test.num_groups)
    return "test", self.test.take_groups(order[:WATCHED_TEST_PUZZLES])

  @property
  def test_puzzle(self) -> str:
    """What a test puzzle may be called."""
    return "unseen puzzle" if self.all_unseen else "test puzzle"

  @property
  def summary(self) -> str:
    """How many there are."""
    stored = len(self.train) - self.train.num_groups
    return (f"{self.train.num_groups:,} to train on{f' with {stored:,} stored augmentations' * (stored > 0)}, "
            f"{len(self.validation or ()):,} for validation, {len(self.test):,} for the test")


def local_reference_folder(source: str) -> pathlib.Path | None:
  """The folder of the reference's format that a source is, if it is one on this machine."""
  if source in ("generated", "sudoku-extreme") or buckets.is_remote(source):
    return None
  folder = pathlib.Path(paths.user_path(source, "config.data.source"))
  return folder if folder.is_dir() and reference_format.is_reference_folder(folder) else None


def _read(task: SudokuTask, split: str, data: DataConfig) -> Puzzles:
  """All puzzles of one split of a source that is not generated; checked."""
  if data.source == "sudoku-extreme":
    folder = paths.user_path(data.tfds_dir, "config.data.tfds_dir")
    puzzles = extreme.read_extreme(_copy_prepared(folder, split) if buckets.is_remote(folder) else folder, split)
    _check_task(task, puzzles, data.source)
    return puzzles
  folder, csv = paths.user_path(data.source, "config.data.source"), f"{split}.csv"
  if buckets.is_remote(folder):
    in_split = buckets.names(folder / split)
    if "dataset.json" in in_split:
      return _read_reference(task, buckets.local_copy(folder / split, in_split).parent, split, data.source)
    if csv not in buckets.names(folder):
      raise UserError(
          f"config.data.source = {data.source!r}: neither {csv} nor {split}/dataset.json is there; {_USABLE}")
    return csv_files.read_csv(buckets.local_copy(folder, [csv]) / csv, box=data.box)
  try:
    os.listdir(folder)
  except FileNotFoundError as e:
    raise UserError(f"config.data.source = {data.source!r}: no such folder; {_USABLE}") from e
  except OSError as e:
    raise explained(f"config.data.source = {data.source!r}: cannot be read", e, _USABLE) from e
  if reference_format.is_reference_folder(folder):
    return _read_reference(task, pathlib.Path(folder), split, data.source)
  return csv_files.read_csv(folder / csv, box=data.box)


def _read_reference(task: SudokuTask, folder: pathlib.Path, split: str, source: str) -> Puzzles:
  """One split of a folder of the reference's format, with the rules of Sudoku checked, as they are in a CSV file."""
  puzzles = reference_format.read_split(folder, split)
  _check_task(task, puzzles, source)
  if fault := csv_files.first_fault(puzzles.inputs, puzzles.labels, box=task.box):
    row, field, rule = fault
    raise UserError(f"{reference_format.file_of(folder, split, field, row)}: {rule}; {reference_format.REBUILD}")
  return puzzles


def shared(data: DataConfig, run: os.PathLike | str) -> DataConfig:
  """Makes sure that one process alone downloads and prepares Sudoku-Extreme; to be called by all of a job together.

  The others take its copy from a bucket: from config.data.tfds_dir, or from a folder beside the run where several
  processes keep their run in a bucket. A new slice finds it there, too. Without a bucket nothing is to be done:
  processes that share config.data.tfds_dir wait for each other there, and hosts that do not, prepare for themselves.

  Args:
    data: config.data.
    run: folder of the run that the puzzles are for.

  Returns:
    `data`, with the folder that they are to be read from.

  Raises:
    UserError: in all processes, where the one cannot prepare or copy them.
  """
  if data.source != "sudoku-extreme":
    return data
  folder, local = paths.user_path(data.tfds_dir, "config.data.tfds_dir"), data.tfds_dir
  if buckets.is_remote(folder):
    local = DataConfig.tfds_dir
  elif jax.process_count() > 1 and buckets.is_remote(run):
    folder = paths.beside(run, "tensorflow_datasets")
  else:
    return data

  def provide():
    where = _prepared_in(folder)
    if distributed.is_main() and _PREPARED not in buckets.names(where):
      made = extreme.prepared(paths.user_path(local, "config.data.tfds_dir"))
      buckets.publish(pathlib.Path(made.data_path), where, last=_PREPARED)

  distributed.together(provide)
  return dataclasses.replace(data, tfds_dir=os.fspath(folder))


def _prepared_in(folder: epath.Path) -> epath.Path:
  """Where TFDS has Sudoku-Extreme in one of its folders."""
  builder = extreme.builder_class()
  return folder / builder.name / str(builder.VERSION)


def _copy_prepared(folder: epath.Path, split: str) -> pathlib.Path:
  """A local folder for TFDS, with what a bucket's has of one split of Sudoku-Extreme."""
  where = _prepared_in(folder)
  needed = [name for name in buckets.names(where) if name.endswith(".json") or f"-{split}." in name]
  if _PREPARED not in needed:
    raise UserError(f"config.data.tfds_dir={folder}: has no {where.relative_to(folder)}, prepared; a training run with "
                    "this config.data.tfds_dir puts it there")
  return buckets.local_copy(where, needed).parents[1]


def _shuffled(num_groups: int, data: DataConfig, stream: int) -> np.ndarray:
  """A permutation of the groups that the data's seed alone determines."""
  return np.random.default_rng((data.seed, stream)).permutation(num_groups)


def load_test(data: DataConfig) -> tuple[SudokuTask, Puzzles]:
  """The task and the test puzzles alone (see `load`)."""
  if data.source == "generated":
    splits = load(data)
    return splits.task, splits.test
  task = SudokuTask(data.box)
  test = _read(task, "test", data)
  if data.num_test > test.num_groups:
    raise UserError(f"config.data.num_test = {data.num_test}: {data.source} has {test.num_groups} test puzzles; set "
                    "config.data.num_test = 0 for all of them")
  if data.num_test:
    test = test.take_groups(_shuffled(test.num_groups, data, 1)[: data.num_test])
  # Augmented versions that the source stores are for training: each original is evaluated once.
  return task, test.first_versions(1)


def check_generated(data: DataConfig) -> None:
  """Raises UserError unless it says how many puzzles to generate."""
  for name in ("num_train", "num_test"):
    if not getattr(data, name):
      raise UserError(f"config.data.{name} = 0: means all, but 'generated' puzzles have no end; say how many")


def numbers(data: DataConfig, available: int, num_stored: int = 0) -> tuple[int, int]:
  """Training and validation puzzles of a run.

  Args:
    data: config.data.
    available: training puzzles that the source has.
    num_stored: augmented versions that it stores of a puzzle.

  Raises:
    UserError: these are too few, or the augmentations are other ones than config.data asks for.
  """
  if num_stored and not 0 <= data.num_aug <= num_stored:
    raise UserError(f"config.data.num_aug = {data.num_aug}: {data.source} stores {num_stored} augmented versions of a "
                    f"puzzle, to which none are added; set config.data.num_aug = {num_stored}, or less for the first "
                    "of them, or 0 for none")
  if num_stored and data.num_train == available:
    # A training set that was built beforehand, as the reference's is: it has no puzzles to hold out.
    return available, 0
  number = data.num_train or available - data.num_validation
  if number < 1 or number + data.num_validation > available:
    changes = [f"config.data.{name} = {value}" for name, value, possible in (
        ("num_train", available - data.num_validation, available > data.num_validation),
        ("num_validation", available - data.num_train, 0 < data.num_train <= available)) if possible]
    raise UserError(
        f"config.data.num_train = {data.num_train} and num_validation = {data.num_validation}: {data.source} has "
        f"{available} training puzzles for both; set "
        f"{' or '.join(changes) or 'both to 0, to train on all of them'}")
  return number, data.num_validation


def load(data: DataConfig, progress: Callable[[int, int], None] | None = None) -> Splits:
  """The puzzles of a run: the same for the same `config.data`, whatever the source holds them in.

  Args:
    data: config.data.
    progress: called with puzzles made and puzzles wanted while they are generated.

  Raises:
    UserError: the source is missing, malformed or too small, or does not fit the config.
  """
  if data.source == "generated":
    check_generated(data)
    made = generate.generate_splits(
        box=data.box, num_train=data.num_train, num_validation=data.num_validation, num_test=data.num_test,
        num_clues=data.num_clues, seed=data.seed, progress=progress)
    validation = made["validation"] if data.num_validation else None
    return _splits(data, SudokuTask(data.box), made["train"], validation, made["test"], [])
  task, test = load_test(data)
  source = _read(task, "train", data)
  if test.num_puzzle_identifiers > source.num_puzzle_identifiers:
    raise UserError(f"{data.source}: the test puzzles have {test.num_puzzle_identifiers} puzzle identifiers, the "
                    f"training puzzles {source.num_puzzle_identifiers}; a model knows those that it was trained on")
  num_stored = int(np.diff(source.group_starts).max()) - 1
  num_train, num_validation = numbers(data, source.num_groups, num_stored)
  order, notes = _shuffled(source.num_groups, data, 0), []
  if num_validation < data.num_validation:
    notes.append(f"config.data.num_train = {num_train} takes all puzzles of {data.source}: none are held out "
                 f"for validation (config.data.num_validation = {data.num_validation}), test puzzles are watched, and "
                 "no checkpoint is chosen by them")
  train, validation = _apart(data, source, order, num_train, num_validation)
  if len(train) < num_train:
    notes.append(f"warning: {num_train - len(train):,} puzzles of {data.source} are not trained on, because validation "
                 "has equal ones")
  train = source.take_groups(train)
  if num_stored:
    train = train.first_versions(data.num_aug + 1)
  validation = source.take_groups(validation).first_versions(1) if num_validation else None
  return _splits(data, task, train, validation, test, notes)


def _apart(data: DataConfig, source: Puzzles, order: np.ndarray, num_train: int,
           num_validation: int) -> tuple[np.ndarray, np.ndarray]:
  """The groups to train on and those to hold out, in a given order; equal puzzles are never in both.

  Where config.data says how many puzzles to train on, these come first, and validation has none of them; otherwise
  validation comes first.
  """
  train, rest = order[:num_train], order[num_train:]
  if num_validation:
    kin = source.kin()
    if data.num_train:
      rest = rest[~np.isin(kin[rest], kin[train])]
    else:
      train = train[~np.isin(kin[train], kin[rest])]
    if len(rest) < num_validation or not len(train):
      raise UserError(f"config.data.num_train = {data.num_train} and num_validation = {num_validation}: "
                      f"{data.source} repeats puzzles; without those that are equal, {len(train)} are left to train "
                      f"on and {len(rest)} for validation; lower config.data.num_validation")
  return train, rest[:num_validation]


def _splits(data: DataConfig, task: SudokuTask, train: Puzzles, validation: Puzzles | None, test: Puzzles,
            notes: list[str]) -> Splits:
  """Looks for puzzles that are equal, and adds what a user should know of them to the notes."""
  held_out = test.inputs[:0] if validation is None else validation.inputs
  in_train, _, in_test = puzzles_lib.first_alike([train.inputs, held_out, test.inputs])
  trained = int((in_test < len(train)).sum())
  watched = int((in_test < len(train) + len(held_out)).sum()) - trained
  repeated = len(test) - len(np.unique(in_test))
  repeated_train = train.num_groups - len(np.unique(in_train[train.group_starts[:-1]]))
  counts = [f"{number:,} of {total:,} {what}" for number, total, what in (
      (trained, len(test), "test puzzles are trained on"),
      (watched, len(test), "test puzzles are used for validation"),
      (repeated, len(test), "test puzzles repeat others of the test"),
      (repeated_train, train.num_groups, "training puzzles repeat others of them")) if number]
  if counts:
    notes.append(f"warning: {', '.join(counts)} (compared is every cell of the puzzles as they are stored, not of what "
                 "config.data.num_aug makes of them)")
  # The 288 grids are 2 up to symmetry.
  everything = data.box == 2 and data.num_aug != 0 and len(train) == train.num_groups
  if everything:
    notes.append(f"warning: config.data.num_aug = {data.num_aug} makes the 4x4 grids of the test out of those to train "
                 "on; set config.data.num_aug = 0 to test on grids that are new to the model")
  return Splits(task, train, validation, test, all_unseen=not (trained or repeated or everything), notes=tuple(notes))


def _check_task(task: SudokuTask, puzzles: Puzzles, source: str) -> None:
  if (puzzles.seq_len, puzzles.vocab_size) != (task.seq_len, task.vocab_size):
    raise UserError(f"{source}: {puzzles.seq_len} cells and {puzzles.vocab_size} tokens, but config.data.box = "
                    f"{task.box} means {task.seq_len} and {task.vocab_size}")
