# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku-Extreme through TFDS, against a server on this machine that serves small files of the same form."""

import functools
import hashlib
import http.server
import subprocess
import sys
import threading

import numpy as np
import pytest

from trm_jax.data.sudoku import csv_files
from trm_jax.data.sudoku import extreme
from trm_jax.data.sudoku import generate
from trm_jax.errors import UserError

pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")


@pytest.fixture(name="mirror")
def _mirror(tmp_path):
  """Serves two small CSV files. Yields (their folder, url, checksums, paths of the GET requests so far)."""
  folder = tmp_path / "mirror"
  folder.mkdir()
  splits = generate.generate_splits(box=3, num_train=9, num_validation=0, num_test=4, num_clues=50, seed=0)
  sha256 = {}
  for split in ("train", "test"):
    path = folder / f"{split}.csv"
    csv_files.write_csv(path, splits[split], source="generated")
    sha256[split] = hashlib.sha256(path.read_bytes()).hexdigest()
  requests = []

  class Handler(http.server.SimpleHTTPRequestHandler):

    def do_GET(self):
      requests.append(self.path)
      super().do_GET()

    def log_message(self, *args):
      pass

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
  thread.start()
  yield folder, f"http://127.0.0.1:{server.server_port}", sha256, requests
  server.shutdown()
  thread.join()
  server.server_close()


def _assert_same(a, b):
  for name in ("inputs", "labels", "ratings", "puzzle_identifiers", "group_starts"):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
  assert (a.vocab_size, a.num_puzzle_identifiers) == (b.vocab_size, b.num_puzzle_identifiers)


def test_same_arrays_as_the_csv_files_and_one_download(mirror, tmp_path, monkeypatch):
  # Several records, the last of them not full.
  monkeypatch.setattr(extreme, "_PUZZLES_PER_RECORD", 4)
  folder, url, sha256, requests = mirror
  for _ in range(2):
    for split in ("train", "test"):
      puzzles = extreme.read_extreme(tmp_path / "data", split, base_url=url, sha256=sha256)
      _assert_same(puzzles, csv_files.read_csv(folder / f"{split}.csv"))
  assert sorted(requests) == ["/test.csv", "/train.csv"]
  assert "tensorflow" not in sys.modules


def test_changed_file_is_refused_then_downloaded_anew(mirror, tmp_path):
  folder, url, sha256, requests = mirror
  path = folder / "train.csv"
  good = path.read_bytes()
  path.write_bytes(good.replace(b"generated", b"generateD", 1))
  with pytest.raises(UserError, match=rf"^{url}/train.csv: the downloaded file has the SHA-256 .*{sha256['train']}.*$"):
    extreme.read_extreme(tmp_path / "data", "train", base_url=url, sha256=sha256)
  path.write_bytes(good)
  puzzles = extreme.read_extreme(tmp_path / "data", "train", base_url=url, sha256=sha256)
  _assert_same(puzzles, csv_files.read_csv(path))
  assert requests.count("/train.csv") == 2


def test_data_prepared_from_other_files_is_refused(mirror, tmp_path):
  _, url, sha256, _ = mirror
  extreme.read_extreme(tmp_path / "data", "test", base_url=url, sha256=sha256)
  with pytest.raises(UserError, match="prepared from files with other checksums"):
    extreme.read_extreme(tmp_path / "data", "test")


def test_missing_file_names_the_url(mirror, tmp_path):
  folder, url, sha256, _ = mirror
  (folder / "test.csv").unlink()
  with pytest.raises(UserError, match=rf"^{url}/test.csv: cannot be downloaded .*404.*$"):
    extreme.read_extreme(tmp_path / "data", "test", base_url=url, sha256=sha256)


def test_server_down_names_the_url(tmp_path):
  with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
    url = f"http://127.0.0.1:{server.server_port}"
  with pytest.raises(UserError, match=rf"^{url}/train.csv: cannot be downloaded .*$") as e:
    extreme.read_extreme(tmp_path / "data", "train", base_url=url)
  assert "\n" not in str(e.value)


def test_unknown_split_names_the_splits(tmp_path):
  with pytest.raises(UserError, match="no split 'validation'; choose one of train, test"):
    extreme.read_extreme(tmp_path, "validation")


def test_importing_the_module_does_not_import_tfds():
  code = "import sys, trm_jax.data.sudoku.extreme; sys.exit('tensorflow_datasets' in sys.modules)"
  subprocess.run([sys.executable, "-c", code], check=True)
