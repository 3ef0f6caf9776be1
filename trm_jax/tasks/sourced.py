# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A task whose puzzles are published at the hub, made from the seed, or stored in a folder."""

import dataclasses
import os
from typing import Self

import numpy as np

from trm_jax.data import folders
from trm_jax.data import hub
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import OtherSizeError
from trm_jax.tasks import task


class SourcedTask(task.Task):
  """A task whose config.data has `source`, and `tfds_dir` for the published puzzles.

  A folder, local or gs://, has train.csv and test.csv, or was written by the reference's dataset builder.

  Args:
    data: the task's knobs.
    published: the puzzles at the hub, which config.data.source names.
  """

  def __init__(self, data, published: hub.Published):
    super().__init__(data)
    self.published = published
    self._usable = ("use a folder with train.csv and test.csv, one written by the reference's dataset builder, "
                    f"'{published.source}' or 'generated'")

  # Methods that differ from task to task.

  @property
  def size_knobs(self) -> str:
    """The knobs of the puzzles' size with their values, such as "config.data.box = 3"."""
    raise NotImplementedError

  def read_csv(self, path: os.PathLike | str) -> Puzzles:
    """Reads and checks a CSV file. Raises UserError if it cannot be read, or a puzzle breaks a rule."""
    raise NotImplementedError

  def first_fault(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[int, str, str] | None:
    """The first puzzle that breaks the rules; see csv_files.Fault."""
    raise NotImplementedError

  # Methods that all these tasks share.

  def stored(self, split: str) -> Stored | None:
    source = self.data.source
    if self.own_splits:
      task.check_numbers(self.data)
      return None
    if source == self.published.source:
      return Stored(self.published.num_puzzles[split])
    return folders.stored(source, split)

  def shared(self, run: os.PathLike | str) -> Self:
    if self.data.source != self.published.source:
      return self
    return type(self)(dataclasses.replace(self.data, tfds_dir=self.published.shared(self.data.tfds_dir, run)))

  def read(self, split: str, progress: task.Progress | None = None) -> Puzzles:
    data = self.data
    if self.own_splits:
      return super().read(split, progress)
    if data.source == self.published.source:
      puzzles = self.published.read(self.published.local(data.tfds_dir, split), split)
      self._check_sizes(puzzles)
      return puzzles
    return folders.read(data.source, split, read_csv=self.read_csv, check_sizes=self._check_sizes, usable=self._usable,
                        fault=self.first_fault)

  def _check_sizes(self, puzzles: Puzzles) -> None:
    if (puzzles.seq_len, puzzles.vocab_size) != (self.seq_len, self.vocab_size):
      raise OtherSizeError(f"{self.data.source}: {puzzles.seq_len} cells and {puzzles.vocab_size} tokens, but "
                           f"{self.size_knobs} means {self.seq_len} and {self.vocab_size}")
