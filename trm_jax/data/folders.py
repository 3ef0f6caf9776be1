# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads the folders of puzzles that people name, on a disk or in a bucket.

A folder has train.csv and test.csv (see csv_files.py), or it is a dataset folder (see reference_format.py). Files in a
bucket are copied to this machine and read here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
from typing import Any

from trm_jax.data import reference_format
from trm_jax.data.csv_files import Fault
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import OtherSizeError, UserError, explained
from trm_jax.runtime import buckets
from trm_jax.runtime import paths

_FLAG = "config.data.source"


@contextlib.contextmanager
def of_a_run(place: str, own_splits: bool, data: str | None, data_changes: Mapping[str, Any] | None) -> Iterator[None]:
  """Makes errors while the puzzles of a trained model are read say how to name them: it may come from another machine.

  Args:
    place: of the model.
    own_splits: of its task: whether its puzzles are generated.
    data, data_changes: --data and --set, which may name other puzzles than the run's.
  """
  try:
    yield
  except UserError as e:
    if own_splits or data is not None or "source" in (data_changes or {}):
      raise
    raise type(e)(f"{e}; {place} had its puzzles there, and --data=FOLDER says where they are now") from e


@contextlib.contextmanager
def of_a_model(size_fields: Sequence[str], one_size: str) -> Iterator[None]:
  """Makes errors about the size of puzzles, while those for a trained model are read, say whether it can take them.

  Args:
    size_fields: see Task.
    one_size: see ModelConfig.
  """
  try:
    yield
  except OtherSizeError as e:
    if not size_fields:
      advice = "the model takes no puzzles of other sizes, since their tokens are others, too"
    elif one_size:
      advice = f"the model takes no puzzles of other sizes: {one_size}"
    else:
      flags = " ".join(f"--set=data.{field}=…" for field in size_fields)
      advice = f"if the puzzles have another size than those of the model's run, state it by {flags}"
    raise UserError(f"{e}; {advice}") from e


def read(
    source: str, split: str, *, read_csv: Callable[[pathlib.Path], Puzzles], check_sizes: Callable[[Puzzles], None],
    usable: str, fault: Fault | None = None,
) -> Puzzles:
  """Reads and checks the puzzles of one split.

  Args:
    source: config.data.source, a folder.
    split: "train" or "test".
    read_csv: reads and checks a CSV file.
    check_sizes: raises UserError if the puzzles of a dataset folder are of another kind than the task's.
    usable: advice on what the source may be, for messages.
    fault: the rules of the task, if it has any, for the puzzles of a dataset folder.

  Raises:
    UserError: there is no such folder, it has no puzzles, or they are malformed or of another kind.
    TryAgain: the folder was written while it was read, or the bucket cannot be reached.
  """
  folder = dataset(source, split, usable)
  if folder is None:
    return read_csv(_csv_file(source, f"{split}.csv", usable))
  puzzles = reference_format.read_split(folder, split)
  check_sizes(puzzles)
  if fault and (found := fault(puzzles.inputs, puzzles.labels)):
    row, field, rule = found
    raise UserError(f"{reference_format.file_of(folder, split, field, row)}: {rule}; {reference_format.REBUILD}")
  return puzzles


def dataset(source: str, split: str, usable: str) -> pathlib.Path | None:
  """A local folder with a dataset folder's files of a split; None if the source is a folder of another kind.

  Args:
    source, split, usable: see `read`.

  Raises:
    UserError: there is no such folder, or it cannot be read.
  """
  folder = paths.user_path(source, _FLAG)
  if buckets.is_remote(folder):
    in_split = buckets.names(folder / split)
    return buckets.local_copy(folder / split, in_split).parent if "dataset.json" in in_split else None
  try:
    os.listdir(folder)
  except FileNotFoundError as e:
    raise UserError(f"{_FLAG} = {source!r}: no such folder; {usable}") from e
  except OSError as e:
    raise explained(f"{_FLAG} = {source!r}: cannot be read", e, usable) from e
  return pathlib.Path(folder) if reference_format.is_reference_folder(folder) else None


def stored(source: str, split: str) -> Stored | None:
  """The numbers of a split in a local dataset folder, from dataset.json and array headers; None for other folders."""
  if buckets.is_remote(source):
    return None
  folder = pathlib.Path(paths.user_path(source, _FLAG))
  if not folder.is_dir() or not reference_format.is_reference_folder(folder):
    return None
  return reference_format.stored(folder, split)


def local_file(path: str, flag: str) -> pathlib.Path:
  """A file that a person named by a flag; of one in a bucket a copy is made. Raises UserError if that cannot be."""
  file = paths.user_path(path, flag)
  if buckets.is_remote(file):
    return buckets.local_copy(file.parent, [file.name]) / file.name
  return pathlib.Path(file)


def _csv_file(source: str, name: str, usable: str) -> pathlib.Path:
  """A CSV file of a source that is no dataset folder."""
  folder = paths.user_path(source, _FLAG)
  if not buckets.is_remote(folder):
    return pathlib.Path(folder / name)
  if name not in buckets.names(folder):
    raise UserError(f"{_FLAG} = {source!r}: neither {name} nor {name.removesuffix('.csv')}/dataset.json is there; "
                    f"{usable}")
  return buckets.local_copy(folder, [name]) / name
