# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads puzzles in CSV files on the Hugging Face hub, downloaded once, prepared by TFDS, read without TensorFlow.

The revision is pinned, and every file is checked against its SHA-256 before anything is prepared. The checksums are
kept with each data set rather than in TFDS's checksums.tsv, because TFDS looks them up by full url, so that a mirror
would go unchecked.

TFDS is imported only in functions: it is slow to import and nothing else needs it. Tried with TFDS 4.9.10: preparing
and reading array_record files works without TensorFlow installed.

Axes: N puzzles, S cells.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import os
import pathlib
from typing import Any

from etils import epath
import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError, explained
from trm_jax.runtime import buckets
from trm_jax.runtime import download
from trm_jax.runtime import files
from trm_jax.runtime import lock
from trm_jax.runtime import paths

TFDS_DIR = "~/tensorflow_datasets"  # where TFDS keeps what it prepares, unless config.data.tfds_dir says otherwise

# TFDS's folder of a data set has this file once the data set is prepared.
_PREPARED = "dataset_info.json"
_VERSION = "1.0.0"
# One record holds many puzzles: millions of tiny records would take minutes to read back.
_PUZZLES_PER_RECORD = 4096
_BY_HAND = "download train.csv and test.csv by hand and point config.data.source at their folder"


@dataclasses.dataclass(frozen=True)
class Published:
  """A published set of puzzles: one CSV file per split, without stored augmentations.

  Attributes:
    name: of the TFDS data set, such as "sudoku_extreme".
    title: for people.
    description: a sentence that describes the puzzles.
    homepage: the page about them.
    base_url: address of the folder of SPLIT.csv, pinned to a revision; another one for a mirror.
    sha256: of the files, by split.
    num_puzzles: by split.
    seq_len: S.
    vocab_size: number of tokens, padding included.
    read_csv: reads a file and returns its checked puzzles, with ratings.
  """

  name: str
  title: str
  description: str
  homepage: str
  base_url: str
  sha256: Mapping[str, str]
  num_puzzles: Mapping[str, int]
  seq_len: int
  vocab_size: int
  read_csv: Callable[[pathlib.Path], puzzles_lib.Puzzles]

  @property
  def source(self) -> str:
    """The name in config.data.source."""
    return self.name.replace("_", "-")

  def read(self, data_dir: str | os.PathLike, split: str) -> puzzles_lib.Puzzles:
    """Reads a split; the first call downloads all files and prepares them, showing progress.

    Args:
      data_dir: see `prepared`.
      split: "train" or "test".

    Returns:
      Puzzles with ratings, the same arrays that `read_csv` gives for the split's file.

    Raises:
      UserError: for another split; and see `prepared`.
    """
    if split not in self.sha256:
      raise UserError(f"{self.title} has no split '{split}'; choose one of {', '.join(self.sha256)}")
    records = self.prepared(data_dir).as_data_source(split=split)
    inputs = np.empty((len(records) * _PUZZLES_PER_RECORD, self.seq_len), np.uint8)
    labels = np.empty_like(inputs, np.int8)
    ratings = np.empty(len(inputs), np.int32)
    n = 0
    for record in records:
      rows = slice(n, n + len(record["ratings"]))
      inputs[rows], labels[rows], ratings[rows] = record["inputs"], record["labels"], record["ratings"]
      n = rows.stop
    return puzzles_lib.one_group_each(inputs[:n], labels[:n], vocab_size=self.vocab_size, ratings=ratings[:n])

  def shared(self, tfds_dir: str, run: os.PathLike | str) -> str:
    """Makes sure that only one process downloads and prepares the puzzles; all processes of a job call this together.

    The others take its copy from a bucket: from tfds_dir or, if several processes keep their run in a bucket, from a
    folder beside the run. A new slice finds it there, too. Without a bucket there is nothing to do: processes that
    share tfds_dir wait for each other there, and hosts that do not share it prepare the puzzles for themselves.

    Args:
      tfds_dir: config.data.tfds_dir.
      run: folder of the run that the puzzles are for.

    Returns:
      The folder to read them from.

    Raises:
      UserError: raised in all processes if that one cannot prepare or copy them.
    """
    import jax  # pylint: disable=g-import-not-at-top

    from trm_jax.runtime import distributed  # pylint: disable=g-import-not-at-top

    folder, local_folder = paths.user_path(tfds_dir, "config.data.tfds_dir"), tfds_dir
    if buckets.is_remote(folder):
      local_folder = TFDS_DIR
    elif jax.process_count() > 1 and buckets.is_remote(run):
      folder = paths.beside(run, "tensorflow_datasets")
    else:
      return tfds_dir

    def provide():
      where = self._prepared_in(folder)
      if distributed.is_main() and _PREPARED not in buckets.names(where):
        made = self.prepared(paths.user_path(local_folder, "config.data.tfds_dir"))
        buckets.publish(pathlib.Path(made.data_path), where, last=_PREPARED)

    distributed.together(provide)
    return os.fspath(folder)

  def local(self, tfds_dir: str, split: str) -> os.PathLike | str:
    """A local folder for TFDS with the files of a split that `read` needs.

    Args:
      tfds_dir: config.data.tfds_dir; a folder in a bucket is copied.
      split: "train" or "test".

    Raises:
      UserError: the folder in the bucket has no data, or cannot be read.
    """
    folder = paths.user_path(tfds_dir, "config.data.tfds_dir")
    return self._copy_prepared(folder, split) if buckets.is_remote(folder) else folder

  def _prepared_in(self, folder: epath.Path) -> epath.Path:
    """The place of the puzzles in one of TFDS's folders."""
    return folder / self.name / _VERSION

  def _copy_prepared(self, folder: epath.Path, split: str) -> pathlib.Path:
    """A local folder for TFDS, with one split copied from a bucket."""
    where = self._prepared_in(folder)
    needed = [name for name in buckets.names(where) if name.endswith(".json") or f"-{split}." in name]
    if _PREPARED not in needed:
      raise UserError(f"config.data.tfds_dir={folder}: has no prepared {where.relative_to(folder)}; a training run "
                      "with this config.data.tfds_dir puts it there")
    return buckets.local_copy(where, needed).parents[1]

  def prepared(self, data_dir: str | os.PathLike) -> Any:
    """The TFDS builder, after its data have been downloaded and prepared if necessary.

    Args:
      data_dir: local folder for TFDS's prepared data sets and downloads. If several processes share it, one downloads
        and prepares, and the others wait.

    Returns:
      The builder; its `data_path` is the folder of the prepared files.

    Raises:
      UserError: a file is missing on the server or is not the expected one, data_dir cannot be written, or it holds
        data prepared from other files.
      TryAgain: the server cannot be reached or fails, for minutes.
    """
    make_builder = functools.partial(
        _builder_class(self), data_dir=os.fspath(data_dir), file_format="array_record")
    builder = make_builder()
    if not builder.is_prepared():
      files.make_folder(pathlib.Path(data_dir), "config.data.tfds_dir")
      # Reading needs no lock: prepared data appear atomically, and a folder that others have prepared may be read-only.
      with lock.one_at_a_time(pathlib.Path(data_dir) / f".{self.name}.lock", f"preparing {self.title} in {data_dir}",
                              "set config.data.tfds_dir to a folder on a local disk"):
        builder = make_builder()  # which sees what another process has prepared meanwhile
        if not builder.is_prepared():
          try:
            builder.download_and_prepare()
          except OSError as e:
            raise explained(f"config.data.tfds_dir={data_dir}: {self.title} cannot be prepared there", e,
                            "name another folder") from e
    if dict(builder.info.metadata) != dict(self.sha256):
      raise UserError(
          f"{builder.data_path}: was prepared from files with other checksums than expected; delete that folder"
          " or choose another data folder")
    return builder


def _builder_class(published: Published) -> type:
  """The TFDS builder of a published set.

  Raises:
    UserError: if tensorflow_datasets is not installed.
  """
  try:
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
  except ImportError as e:
    raise UserError(
        f"{published.title} needs {e.name}, which is not installed; pip install tensorflow-datasets array_record, or"
        " point the config at a folder with train.csv and test.csv"
    ) from e

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stores several thousand puzzles per record, in the order of the published files."""

    name = published.name
    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: f"Records of {_PUZZLES_PER_RECORD} puzzles."}
    # No checksums by url. Looking for their file would also fail in TFDS 4.9.10 if importlib_resources is missing,
    # which it uses without depending on it.
    url_infos = None

    def _info(self):
      def array(shape, dtype):
        return tfds.features.Tensor(shape=(None, *shape), dtype=dtype, encoding=tfds.features.Encoding.BYTES)

      return tfds.core.DatasetInfo(
          builder=self,
          description=published.description,
          homepage=published.homepage,
          features=tfds.features.FeaturesDict({
              "inputs": array((published.seq_len,), np.uint8),
              "labels": array((published.seq_len,), np.uint8),
              "ratings": array((), np.int32),
          }),
          disable_shuffling=True,
          metadata=tfds.core.MetadataDict(published.sha256),
      )

    def _split_generators(self, dl_manager):
      downloads = pathlib.Path(dl_manager.download_dir)
      # TFDS's own downloader waits forever for a server that stops sending, and gives up at the first 429 or broken
      # connection.
      return {split: self._generate_examples(download.file(
          downloads / f"{published.name}-{checksum}.csv", f"{published.base_url.rstrip('/')}/{split}.csv", checksum,
          _BY_HAND))
              for split, checksum in published.sha256.items()}

    def _generate_examples(self, path):
      puzzles = published.read_csv(path)
      for i in range(0, len(puzzles), _PUZZLES_PER_RECORD):
        rows = slice(i, i + _PUZZLES_PER_RECORD)
        yield i, {
            "inputs": puzzles.inputs[rows],
            "labels": puzzles.labels[rows].astype(np.uint8),
            "ratings": puzzles.ratings[rows],
        }

  return Builder
