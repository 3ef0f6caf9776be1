# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Published puzzles through TFDS, against a server on this machine that serves small files of the same form."""

import contextlib
import dataclasses
import email.utils
import functools
import hashlib
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from trm_jax.data import hub
from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import download
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import extreme
from trm_jax.tasks.sudoku import generate

pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")


@pytest.fixture(name="gate")
def _gate():
  """While it is not set, the mirror answers no GET request."""
  gate = threading.Event()
  gate.set()
  yield gate
  gate.set()


@pytest.fixture(name="failures")
def _failures(monkeypatch):
  """What the mirror answers to its next GET requests instead of the file: a status and headers, "reset" for half of the
  file and a broken connection, "cut" for half of it. The pauses between tries are short."""
  monkeypatch.setattr(download, "_PAUSES", (0.01, 0.02, 0.04))
  return []


@pytest.fixture(name="mirror")
def _mirror(tmp_path, gate, failures):
  """Serves two small CSV files. Yields (their folder, Sudoku-Extreme as it is published there, paths of the GET
  requests so far)."""
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
      gate.wait()
      if not failures:
        with contextlib.suppress(ConnectionError):  # of a client that the test has killed
          super().do_GET()
      elif (failure := failures.pop(0)) in ("reset", "cut"):
        content = (folder / self.path[1:]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        if failure == "reset":  # closing with nothing left to wait for
          self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
      else:
        status, headers = failure
        self.send_response(status)
        for name, value in headers.items():
          self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
      pass

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
  thread.start()
  yield folder, dataclasses.replace(
      extreme.SUDOKU_EXTREME, base_url=f"http://127.0.0.1:{server.server_port}", sha256=sha256), requests
  server.shutdown()
  thread.join()
  server.server_close()


def _assert_same(a, b):
  for name in ("inputs", "labels", "ratings", "puzzle_identifiers", "group_starts"):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
  assert (a.vocab_size, a.num_puzzle_identifiers) == (b.vocab_size, b.num_puzzle_identifiers)


def test_same_arrays_as_the_csv_files_and_one_download(mirror, tmp_path, monkeypatch):
  # Several records, the last of them not full.
  monkeypatch.setattr(hub, "_PUZZLES_PER_RECORD", 4)
  folder, published, requests = mirror
  for _ in range(2):
    for split in ("train", "test"):
      puzzles = published.read(tmp_path / "data", split)
      _assert_same(puzzles, csv_files.read_csv(folder / f"{split}.csv"))
  assert sorted(requests) == ["/test.csv", "/train.csv"]
  assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("failed", [
    [(503, {}), (503, {})],
    [(429, {"Retry-After": "0"}), (500, {}), (504, {})],
    ["reset"],
    ["cut"],
])
def test_failures_of_the_network_pass(mirror, failures, tmp_path, capsys, failed):
  folder, published, requests = mirror
  failures.extend(failed)
  puzzles = published.read(tmp_path / "data", "train")
  _assert_same(puzzles, csv_files.read_csv(folder / "train.csv"))
  assert len(requests) == 2 + len(failed)
  said = [line for line in capsys.readouterr().out.splitlines() if "trying again" in line]
  assert len(said) == len(failed)
  assert all(line.startswith(f"{published.base_url}/train.csv: cannot be downloaded now (") for line in said)


def test_a_server_says_how_long_to_wait(mirror, failures, tmp_path, monkeypatch):
  _, published, _ = mirror
  pauses = []
  monkeypatch.setattr(download.time, "sleep", pauses.append)
  date = email.utils.formatdate(time.time() + 60, usegmt=True)
  failures.extend((429, {"Retry-After": value}) for value in ("7", date, "soon"))
  published.read(tmp_path / "data", "train")
  assert pauses[0] == 7 and 50 < pauses[1] <= 60 and pauses[2] < 1


@pytest.mark.parametrize("failed, reason", [
    ([(503, {})] * 4, "503 Service Unavailable"),
    ([(429, {"Retry-After": "86400"})], "429 Too Many Requests"),  # nobody waits for a day
    (["reset"] * 4, "Connection (broken|reset)"),
])
def test_a_network_that_goes_on_failing_is_tried_again_by_another_start(mirror, failures, tmp_path, failed, reason):
  _, published, requests = mirror
  failures.extend(failed)
  message = rf"^{published.base_url}/train.csv: cannot be downloaded \(.*{reason}.*\); check the network"
  with pytest.raises(TryAgain, match=message):
    published.read(tmp_path / "data", "train")
  assert len(requests) == len(failed)
  assert not list((tmp_path / "data").rglob("*.tmp"))


def test_a_server_that_stops_sending_has_failed(mirror, gate, tmp_path, monkeypatch):
  _, published, _ = mirror
  monkeypatch.setattr(download, "_SILENT_SECONDS", 0.1)
  gate.clear()
  with pytest.raises(TryAgain, match="cannot be downloaded .*Read timed out"):
    published.read(tmp_path / "data", "train")


def test_one_of_several_processes_prepares_and_the_others_wait(mirror, gate, tmp_path):
  folder, published, requests = mirror
  code = f"""
import dataclasses
from trm_jax.tasks.sudoku import extreme
published = dataclasses.replace(
    extreme.SUDOKU_EXTREME, base_url={published.base_url!r}, sha256={published.sha256!r})
print(published.read({os.fspath(tmp_path / "data")!r}, "train").digest())
"""
  gate.clear()
  outputs = [tmp_path / f"{i}.out" for i in range(4)]
  with contextlib.ExitStack() as exits:
    processes = [exits.enter_context(subprocess.Popen(
        [sys.executable, "-c", code], stdout=exits.enter_context(output.open("w")))) for output in outputs]
    exits.callback(gate.set)
    line = f"waiting for another process, which is preparing Sudoku-Extreme in {tmp_path / 'data'}\n"
    while sum(output.read_text() == line for output in outputs) < 3 or not requests:
      assert [process.poll() for process in processes] == [None] * 4 and len(requests) <= 1
      time.sleep(0.05)
    gate.set()
    assert [process.wait() for process in processes] == [0] * 4
  digest = csv_files.read_csv(folder / "train.csv").digest()
  assert sorted(output.read_text().splitlines()[-1] for output in outputs) == [digest] * 4
  assert sum(line in output.read_text() for output in outputs) == 3
  assert sorted(requests) == ["/test.csv", "/train.csv"]


def test_prepared_data_need_not_be_writable(mirror, tmp_path, as_nobody_special):
  _, published, _ = mirror
  expected = published.read(tmp_path / "data", "test")
  (tmp_path / "data" / ".sudoku_extreme.lock").unlink()
  (tmp_path / "data").chmod(0o555)
  with as_nobody_special():
    _assert_same(published.read(tmp_path / "data", "test"), expected)
  assert not (tmp_path / "data" / ".sudoku_extreme.lock").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, as_nobody_special):
  (tmp_path / "data").mkdir(mode=0o555)
  message = r"^config.data.tfds_dir=.*: cannot write here \(Permission denied"
  with as_nobody_special(), pytest.raises(UserError, match=message):
    extreme.SUDOKU_EXTREME.read(tmp_path / "data", "test")


def test_changed_file_is_refused_then_downloaded_anew(mirror, tmp_path):
  folder, published, requests = mirror
  path = folder / "train.csv"
  good = path.read_bytes()
  path.write_bytes(good.replace(b"generated", b"generateD", 1))
  message = rf"^{published.base_url}/train.csv: the downloaded file has the SHA-256 .*{published.sha256['train']}.*$"
  with pytest.raises(UserError, match=message):
    published.read(tmp_path / "data", "train")
  path.write_bytes(good)
  puzzles = published.read(tmp_path / "data", "train")
  _assert_same(puzzles, csv_files.read_csv(path))
  assert requests.count("/train.csv") == 2


def test_data_prepared_from_other_files_is_refused(mirror, tmp_path):
  _, published, _ = mirror
  published.read(tmp_path / "data", "test")
  with pytest.raises(UserError, match="prepared from files with other checksums"):
    extreme.SUDOKU_EXTREME.read(tmp_path / "data", "test")


def test_missing_file_names_the_url(mirror, tmp_path):
  folder, published, requests = mirror
  (folder / "test.csv").unlink()
  with pytest.raises(UserError, match=rf"^{published.base_url}/test.csv: cannot be downloaded .*404.*$") as e:
    published.read(tmp_path / "data", "test")
  assert e.value.status == 2 and requests.count("/test.csv") == 1


def test_server_down_names_the_url(tmp_path, failures):
  with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
    url = f"http://127.0.0.1:{server.server_port}"
  with pytest.raises(TryAgain, match=rf"^{url}/train.csv: cannot be downloaded .*Connection refused.*$") as e:
    dataclasses.replace(extreme.SUDOKU_EXTREME, base_url=url).read(tmp_path / "data", "train")
  assert "\n" not in str(e.value)


def test_unknown_split_names_the_splits(tmp_path):
  with pytest.raises(UserError, match="no split 'validation'; choose one of train, test"):
    extreme.SUDOKU_EXTREME.read(tmp_path, "validation")


def test_importing_the_module_does_not_import_tfds():
  code = "import sys, trm_jax.data.hub; sys.exit('tensorflow_datasets' in sys.modules)"
  subprocess.run([sys.executable, "-c", code], check=True)
