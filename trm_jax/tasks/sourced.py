# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A task whose puzzles are published at the hub, are made from the seed, or lie in a folder."""

import dataclasses
import os
import pathlib
from typing import Self

from trm_jax.data import hub
from trm_jax.data import reference_format
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import UserError, explained
from trm_jax.runtime import buckets
from trm_jax.runtime import paths
from trm_jax.tasks import task


class SourcedTask(task.Task):
  """A task whose config.data has `source`, and `tfds_dir` for the published puzzles.

  A folder, local or gs://, has train.csv and test.csv, or is one that the reference's dataset builder has written.

  Args:
    data: the task's knobs.
    published: the puzzles at the hub, which config.data.source names.
  """

  def __init__(self, data, published: hub.Published):
    super().__init__(data)
    self.published = published
    self.own_splits = data.source == "generated"
    self._usable = ("use a folder with train.csv and test.csv, one written by the reference's dataset builder, "
                    f"'{published.source}' or 'generated'")
    self._made: dict[str, Puzzles] | None = None

  # What differs from task to task.

  @property
  def size_knobs(self) -> str:
    """The knobs that say how large the puzzles are, with their values, such as "config.data.box = 3"."""
    raise NotImplementedError

  def read_csv(self, path: os.PathLike | str) -> Puzzles:
    """The checked puzzles of a CSV file. Raises UserError if it cannot be read, or a puzzle breaks a rule."""
    raise NotImplementedError

  def first_fault(self, puzzles: Puzzles) -> tuple[int, str, str] | None:
    """The first example that breaks a rule: its row, "inputs" or "labels", and the rule; None if all are right."""
    raise NotImplementedError

  def generate(self, progress: task.Progress | None) -> dict[str, Puzzles]:
    """New puzzles for "train", "validation" and "test", as many as `data` says, none of them in two splits."""
    raise NotImplementedError

  # What does not.

  def stored(self, split: str) -> Stored | None:
    source = self.data.source
    if source == "generated":
      self._check_numbers()
      return None
    if source == self.published.source:
      return Stored(self.published.num_puzzles[split])
    if buckets.is_remote(source):
      return None
    folder = pathlib.Path(paths.user_path(source, "config.data.source"))
    if not folder.is_dir() or not reference_format.is_reference_folder(folder):
      return None
    return reference_format.stored(folder, split)

  def shared(self, run: os.PathLike | str) -> Self:
    if self.data.source != self.published.source:
      return self
    return type(self)(dataclasses.replace(self.data, tfds_dir=self.published.shared(self.data.tfds_dir, run)))

  def read(self, split: str, progress: task.Progress | None = None) -> Puzzles:
    data = self.data
    if data.source == "generated":
      self._check_numbers()
      if self._made is None:
        self._made = self.generate(progress)
      return self._made[split]
    if data.source == self.published.source:
      puzzles = self.published.read(self.published.local(data.tfds_dir, split), split)
      self._check_sizes(puzzles)
      return puzzles
    folder, csv = paths.user_path(data.source, "config.data.source"), f"{split}.csv"
    if buckets.is_remote(folder):
      in_split = buckets.names(folder / split)
      if "dataset.json" in in_split:
        return self._read_reference(buckets.local_copy(folder / split, in_split).parent, split)
      if csv not in buckets.names(folder):
        raise UserError(
            f"config.data.source = {data.source!r}: neither {csv} nor {split}/dataset.json is there; {self._usable}")
      return self.read_csv(buckets.local_copy(folder, [csv]) / csv)
    try:
      os.listdir(folder)
    except FileNotFoundError as e:
      raise UserError(f"config.data.source = {data.source!r}: no such folder; {self._usable}") from e
    except OSError as e:
      raise explained(f"config.data.source = {data.source!r}: cannot be read", e, self._usable) from e
    if reference_format.is_reference_folder(folder):
      return self._read_reference(pathlib.Path(folder), split)
    return self.read_csv(folder / csv)

  def read_file(self, path: str) -> Puzzles:
    file = paths.user_path(path, "--csv")
    if buckets.is_remote(file):
      file = buckets.local_copy(file.parent, [file.name]) / file.name
    return self.read_csv(file)

  def _read_reference(self, folder: pathlib.Path, split: str) -> Puzzles:
    """One split of a folder of the reference's format, with the task's rules checked, as they are in a CSV file."""
    puzzles = reference_format.read_split(folder, split)
    self._check_sizes(puzzles)
    if fault := self.first_fault(puzzles):
      row, field, rule = fault
      raise UserError(f"{reference_format.file_of(folder, split, field, row)}: {rule}; {reference_format.REBUILD}")
    return puzzles

  def _check_sizes(self, puzzles: Puzzles) -> None:
    if (puzzles.seq_len, puzzles.vocab_size) != (self.seq_len, self.vocab_size):
      raise UserError(f"{self.data.source}: {puzzles.seq_len} cells and {puzzles.vocab_size} tokens, but "
                      f"{self.size_knobs} means {self.seq_len} and {self.vocab_size}")

  def _check_numbers(self) -> None:
    """Raises UserError unless the knobs say how many puzzles to generate."""
    for name in ("num_train", "num_test"):
      if not getattr(self.data, name):
        raise UserError(f"config.data.{name} = 0: means all, but 'generated' puzzles have no end; say how many")
