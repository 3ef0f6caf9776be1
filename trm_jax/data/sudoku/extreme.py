# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku-Extreme from the Hugging Face hub (sapientinc/sudoku-extreme), prepared once by TFDS, read without TensorFlow.

3,831,994 puzzles to train on and 422,786 to test on. The revision is pinned and both files are checked against the
SHA-256 below before anything is prepared. The checksums were copied from the hub's own file pages (train.csv of that
revision; test.csv as shown for the same upload in imone/sudoku-hard-v2, the data set's former name) and agree with
other public projects that pin this revision. They are kept here rather than in TFDS's checksums.tsv because TFDS looks
them up by full url, so that a mirror would go unchecked.

TFDS is imported in functions only: it is slow to import and nothing else needs it. Tried with TFDS 4.9.10: preparing
and reading array_record files works without TensorFlow installed.
"""

import functools
import hashlib
import os
import pathlib

import numpy as np

from trm_jax import files
from trm_jax import lock
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.sudoku import csv_files
from trm_jax.errors import UserError, explained

BASE_URL = (
    "https://huggingface.co/datasets/sapientinc/sudoku-extreme/resolve/58942f96baeb572ca3127e2a9e9c70f330783d6b"
)
SHA256 = {
    "train": "64b46674db0148e0d73a16346dadeb2b1c00824d3fca3f85b2ae7037f6b4b38e",
    "test": "a2fd52aea23d331d5b4ee723c856236e838a9fb9a70e66f4e0e0cf26c338c6a8",
}

_BOX = 3
_CELLS = _BOX**4
# One record holds many puzzles: millions of tiny records would take minutes to read back.
_PUZZLES_PER_RECORD = 4096
_CONNECT_SECONDS = 20


def read_extreme(
    data_dir: str | os.PathLike, split: str, *, base_url: str = BASE_URL, sha256: dict[str, str] | None = None
) -> puzzles_lib.Puzzles:
  """Reads Sudoku-Extreme; the first call downloads both files (800 MB) and prepares them, showing progress.

  Args:
    data_dir: local folder for TFDS's prepared data sets and downloads. Of several processes on this machine one
      downloads and prepares, and the others wait for it.
    split: 'train' or 'test'.
    base_url: where train.csv and test.csv lie, for a mirror.
    sha256: checksums by split of what lies there; None for SHA256, those of the published files.

  Returns:
    Puzzles with ratings, the same arrays that csv_files.read_csv gives for the split's file.

  Raises:
    UserError: for another split, a server that cannot be reached, a file that is not the expected one, a data_dir
      that cannot be written, or one that holds data prepared from other files.
  """
  sha256 = SHA256 if sha256 is None else sha256
  if split not in sha256:
    raise UserError(f"Sudoku-Extreme has no split '{split}'; choose one of {', '.join(sha256)}")
  make_builder = functools.partial(
      builder_class(), data_dir=os.fspath(data_dir), file_format="array_record", base_url=base_url.rstrip("/"),
      sha256=sha256)
  builder = make_builder()
  if not builder.is_prepared():
    files.make_folder(pathlib.Path(data_dir), "config.data.tfds_dir")
    # Not needed to read: prepared data appear at once, and a folder that others have prepared may be read only.
    with lock.one_at_a_time(pathlib.Path(data_dir) / ".sudoku_extreme.lock", f"preparing Sudoku-Extreme in {data_dir}",
                            "set config.data.tfds_dir to a folder on a local disk"):
      builder = make_builder()  # which sees what another process has prepared meanwhile
      if not builder.is_prepared():
        try:
          builder.download_and_prepare()
        except OSError as e:
          raise explained(f"config.data.tfds_dir={data_dir}: Sudoku-Extreme cannot be prepared there", e,
                          "name another folder") from e
  if dict(builder.info.metadata) != sha256:
    raise UserError(
        f"{builder.data_path}: was prepared from files with other checksums than those asked for; delete that folder or"
        " choose another data folder"
    )
  records = builder.as_data_source(split=split)
  inputs = np.empty((len(records) * _PUZZLES_PER_RECORD, _CELLS), np.uint8)
  labels = np.empty_like(inputs, np.int8)
  ratings = np.empty(len(inputs), np.int32)
  n = 0
  for record in records:
    rows = slice(n, n + len(record["ratings"]))
    inputs[rows], labels[rows], ratings[rows] = record["inputs"], record["labels"], record["ratings"]
    n = rows.stop
  return puzzles_lib.one_group_each(inputs[:n], labels[:n], vocab_size=csv_files.vocab_size(_BOX), ratings=ratings[:n])


@functools.cache
def builder_class() -> type:
  """The TFDS builder `sudoku_extreme`, a class that takes base_url and sha256 (see read_extreme) beside TFDS's own.

  Raises:
    UserError: if tensorflow_datasets is not installed.
  """
  try:
    import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
  except ImportError as e:
    raise UserError(
        f"Sudoku-Extreme needs {e.name}, which is not installed; pip install tensorflow-datasets array_record, or"
        " point the config at a folder with train.csv and test.csv"
    ) from e

  class SudokuExtreme(tfds.core.GeneratorBasedBuilder):
    """Sudoku-Extreme, several thousand puzzles a record, in the order of the published files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The hub's revision 58942f96; records of 4096 puzzles."}
    # No checksums by url. Looking for their file also fails in TFDS 4.9.10 where importlib_resources is missing, which
    # it uses without depending on it.
    url_infos = None

    def __init__(self, *, base_url: str = BASE_URL, sha256: dict[str, str] | None = None, **kwargs):
      self._base_url = base_url
      self._sha256 = SHA256 if sha256 is None else sha256
      super().__init__(**kwargs)

    def _info(self):
      def array(shape, dtype):
        return tfds.features.Tensor(shape=(None, *shape), dtype=dtype, encoding=tfds.features.Encoding.BYTES)

      return tfds.core.DatasetInfo(
          builder=self,
          description="9x9 Sudoku puzzles with one solution each, most of them very hard.",
          homepage="https://huggingface.co/datasets/sapientinc/sudoku-extreme",
          features=tfds.features.FeaturesDict({
              "inputs": array((_CELLS,), np.uint8),
              "labels": array((_CELLS,), np.uint8),
              "ratings": array((), np.int32),
          }),
          disable_shuffling=True,
          metadata=tfds.core.MetadataDict(self._sha256),
      )

    def _split_generators(self, dl_manager):
      return {
          split: self._generate_examples(_download(dl_manager, f"{self._base_url}/{split}.csv", checksum))
          for split, checksum in self._sha256.items()
      }

    def _generate_examples(self, path):
      puzzles = csv_files.read_csv(path, box=_BOX)
      for i in range(0, len(puzzles), _PUZZLES_PER_RECORD):
        rows = slice(i, i + _PUZZLES_PER_RECORD)
        yield i, {
            "inputs": puzzles.inputs[rows],
            "labels": puzzles.labels[rows].astype(np.uint8),
            "ratings": puzzles.ratings[rows],
        }

  return SudokuExtreme


def _download(dl_manager, url: str, checksum: str) -> pathlib.Path:
  """Fetches a file, or finds it among the downloads, and checks it."""
  import requests  # pylint: disable=g-import-not-at-top
  import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top

  advice = "check the network, or download the file by hand and point the config at its folder"
  try:
    # TFDS goes on trying for minutes before it says that a server is down.
    requests.head(url, allow_redirects=True, timeout=_CONNECT_SECONDS).raise_for_status()
    path = dl_manager.download(url)
  except (requests.RequestException, tfds.download.DownloadError) as e:
    reason = str(e).splitlines()[0]
    raise UserError(f"{url}: cannot be downloaded ({reason}); {advice}") from e
  with path.open("rb") as f:
    actual = hashlib.file_digest(f, "sha256").hexdigest()
  if actual != checksum:
    # So that the next try downloads it again. TFDS refuses a download that differs from its note about an earlier one.
    path.unlink()
    path.with_name(path.name + ".INFO").unlink()
    raise UserError(f"{url}: the downloaded file has the SHA-256 {actual}, must have {checksum}; {advice}")
  return pathlib.Path(path)
