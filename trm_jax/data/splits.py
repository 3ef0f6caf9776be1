# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Splits the puzzles of a source: those of a run to train on, those held out for validation, and the test."""

from collections.abc import Callable
import dataclasses
from typing import Protocol

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.config import DataConfig
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import UserError

# The number of test puzzles to watch if nothing is held out for validation.
WATCHED_TEST_PUZZLES = 1024
# If versions of a puzzle vote: the number of versions to watch, of correspondingly fewer puzzles.
WATCHED_VERSIONS = 16


class Source(Protocol):
  """The part of a task that reads its puzzles; see tasks/task.py."""

  data: DataConfig
  own_splits: bool

  def read(self, split: str, progress: Callable[[int, int], None] | None = None) -> Puzzles: ...

  def leak(self, train: Puzzles) -> str: ...


@dataclasses.dataclass(frozen=True)
class Splits:
  """The puzzles of a run.

  Attributes:
    train: puzzles to train on.
    validation: puzzles held out of the training source, to watch and to choose checkpoints by; None if there are none.
    test: puzzles to report on.
    all_unseen: whether the test puzzles are all different, and none of them is trained on.
    notes: lines for the user: warnings, and points where the source overrides the config.
  """

  train: Puzzles
  validation: Puzzles | None
  test: Puzzles
  all_unseen: bool
  notes: tuple[str, ...] = ()

  @property
  def watched(self) -> tuple[str, Puzzles]:
    """Name and puzzles of evaluations while training: validation, or else a part of test that serves no choice."""
    if self.validation is not None:
      return "validation", self.validation
    order = np.random.default_rng(0).permutation(self.test.num_groups)
    if self.test.versions is None:
      return "test", self.test.take_groups(order[:WATCHED_TEST_PUZZLES])
    few = order[: WATCHED_TEST_PUZZLES // WATCHED_VERSIONS]
    return "test", self.test.take_groups(few).first_versions(WATCHED_VERSIONS)

  @property
  def test_puzzle(self) -> str:
    """The name that a test puzzle deserves."""
    return "unseen puzzle" if self.all_unseen else "test puzzle"

  @property
  def summary(self) -> str:
    """The numbers of puzzles, in words."""
    stored = int(self.train.num_versions.sum()) - self.train.num_groups
    return (f"{self.train.num_groups:,} to train on{f' with {stored:,} stored augmentations' * (stored > 0)}, "
            f"{len(self.validation or ()):,} for validation, {len(self.test):,} for the test")


def _order(num_groups: int, data: DataConfig, stream: int) -> np.ndarray:
  """A permutation of the groups that the data's seed alone determines."""
  return np.random.default_rng((data.seed, stream)).permutation(num_groups)


def load_test(source: Source, progress: Callable[[int, int], None] | None = None) -> Puzzles:
  """The test puzzles alone; see `load`."""
  data, test = source.data, source.read("test", progress)
  if source.own_splits:
    return test
  if data.num_test > test.num_groups:
    raise UserError(f"config.data.num_test = {data.num_test}: {data.source} has {test.num_groups} test puzzles; set "
                    "config.data.num_test = 0 for all of them")
  if data.num_test:
    test = test.take_groups(_order(test.num_groups, data, 1)[: data.num_test])
  # Augmented versions that the source stores as cells are for training: each original is evaluated once.
  return test if test.versions else test.first_versions(1)


def numbers(data: DataConfig, stored: Stored) -> tuple[int, int]:
  """Numbers of training and validation puzzles of a run.

  Args:
    data: config.data.
    stored: numbers of the training puzzles that the source has.

  Raises:
    UserError: the source has too few, or other augmentations than config.data asks for.
  """
  available, num_versions = stored.num_groups, stored.num_versions
  if num_versions and not 0 <= data.num_aug <= num_versions:
    raise UserError(f"config.data.num_aug = {data.num_aug}: {data.source} stores {num_versions} augmented versions of "
                    f"each puzzle, and no others are added; set config.data.num_aug = {num_versions}, or less for the "
                    "first of them, or 0 for none")
  if num_versions and data.num_train == available:
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


def load(source: Source, progress: Callable[[int, int], None] | None = None) -> Splits:
  """Reads the puzzles of a run. They depend only on `config.data`, not on the format of the source.

  Args:
    source: the task.
    progress: called with puzzles made and puzzles wanted while they are generated.

  Raises:
    UserError: the source is missing, malformed or too small, or does not fit the config.
  """
  data = source.data
  if source.own_splits:
    validation = source.read("validation", progress) if data.num_validation else None
    return _splits(source, source.read("train", progress), validation, source.read("test", progress), [])
  test, training = load_test(source), source.read("train")
  if test.num_puzzle_identifiers > training.num_puzzle_identifiers:
    raise UserError(f"{data.source}: the test puzzles have {test.num_puzzle_identifiers} puzzle identifiers, the "
                    f"training puzzles {training.num_puzzle_identifiers}; "
                    "a model knows only the identifiers that it was trained on")
  stored = Stored.of(training)
  num_train, num_validation = numbers(data, stored)
  order, notes = _order(training.num_groups, data, 0), []
  if stored.num_versions and not data.num_aug:
    notes.append(f"{data.source} stores {stored.num_versions:,} augmented versions of each puzzle, but "
                 "config.data.num_aug = 0 uses none of them")
  if num_validation < data.num_validation:
    notes.append(f"config.data.num_train = {num_train} takes all puzzles of {data.source}: none are held out "
                 f"for validation (config.data.num_validation = {data.num_validation}); test puzzles are evaluated "
                 "during training instead, and no checkpoint is chosen by them")
  train, validation = _apart(data, training, order, num_train, num_validation)
  if len(train) < num_train:
    notes.append(f"warning: {num_train - len(train):,} puzzles of {data.source} are not trained on, because validation "
                 "has the same ones")
  train = training.take_groups(train)
  if stored.num_versions:
    train = train.first_versions(data.num_aug + 1)
  validation = training.take_groups(validation).first_versions(1) if num_validation else None
  return _splits(source, train, validation, test, notes)


def _apart(data: DataConfig, training: Puzzles, order: np.ndarray, num_train: int,
           num_validation: int) -> tuple[np.ndarray, np.ndarray]:
  """Chooses the groups to train on and those to hold out, in a given order; equal puzzles are never in both.

  If config.data states the number of training puzzles, these take precedence, and validation has none equal to them;
  otherwise validation takes precedence.
  """
  train, rest = order[:num_train], order[num_train:]
  if num_validation:
    kin = training.kin()
    if data.num_train:
      rest = rest[~np.isin(kin[rest], kin[train])]
    else:
      train = train[~np.isin(kin[train], kin[rest])]
    if len(rest) < num_validation or not len(train):
      raise UserError(f"config.data.num_train = {data.num_train} and num_validation = {num_validation}: "
                      f"{data.source} repeats puzzles; without the duplicates, {len(train)} are left to train "
                      f"on and {len(rest)} for validation; lower config.data.num_validation")
  return train, rest[:num_validation]


def _splits(source: Source, train: Puzzles, validation: Puzzles | None, test: Puzzles, notes: list[str]) -> Splits:
  """Looks for equal puzzles, and adds to the notes what a user should know about them."""
  held_out = test.inputs[:0] if validation is None else validation.inputs
  in_train, _, in_test = puzzles_lib.first_alike([train.inputs, held_out, test.inputs])
  trained = int((in_test < len(train)).sum())
  watched = int((in_test < len(train) + len(held_out)).sum()) - trained
  repeated = len(test) - len(np.unique(in_test))
  repeated_train = train.num_groups - len(np.unique(in_train[train.originals()]))
  counts = [f"{number:,} of {total:,} {what}" for number, total, what in (
      (trained, len(test), "test puzzles are trained on"),
      (watched, len(test), "test puzzles are used for validation"),
      (repeated, len(test), "test puzzles repeat other test puzzles"),
      (repeated_train, train.num_groups, "training puzzles repeat other training puzzles")) if number]
  if counts:
    notes.append(f"warning: {', '.join(counts)} (puzzles are compared as they are stored, cell by cell, without the "
                 "versions of config.data.num_aug)")
  leak = source.leak(train)
  if leak:
    notes.append(f"warning: {leak}")
  return Splits(train, validation, test, all_unseen=not (trained or repeated or leak), notes=tuple(notes))
