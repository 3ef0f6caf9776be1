# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Runs, checkpoints and puzzles in a bucket of an emulated Google Cloud Storage."""

import concurrent.futures
import dataclasses
import fcntl
import functools
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_load
from test_load import load, load_test

from trm_jax.errors import UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import paths
from trm_jax.runtime import sharding
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.tasks import grid
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import extreme
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import checkpoint
from trm_jax.training import metrics_log

pytest.importorskip("gcsfs", reason="gcsfs is not installed")
pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")

_DENIED = "someone@project.iam.gserviceaccount.com does not have storage.objects.create access to the object."


def _workdir(bucket, **kwargs):
  return workdir_lib.Workdir(f"gs://{bucket}/runs/a", **{"main": True, **kwargs})


def _written(server):
  """How many objects were asked to be written."""
  return sum(method in ("POST", "PUT") for method, _ in server.requests)


def _objects(server, bucket):
  """What a bucket holds, by name, but for the lock of runs/a."""
  return {name: content for name, content in server.objects(bucket).items() if name != "runs/a/.lock"}


def _refuse_writes(method, path):
  return None if method == "GET" else (403, _DENIED)


def _error(function, *args, **kwargs):
  """The one line of the UserError that a call raises."""
  with pytest.raises(UserError) as e:
    function(*args, **kwargs)
  assert "\n" not in str(e.value)
  return str(e.value)


@pytest.fixture(name="impatient")
def _impatient(monkeypatch):
  """gcsfs tries again at once where it would wait, half a minute in all."""
  import asyncio
  sleep = asyncio.sleep
  monkeypatch.setattr("gcsfs.retry.asyncio.sleep", lambda seconds: sleep(0))


# A run's folder.


def test_small_files_are_copied_when_they_have_changed(bucket, gcs_server):
  with _workdir(bucket) as workdir:
    assert str(workdir.path) == f"gs://{bucket}/runs/a"
    assert workdir.checkpoints == epath.Path(f"gs://{bucket}/runs/a/checkpoints")
    assert list(gcs_server.objects(bucket)) == ["runs/a/.lock"]  # no trace of the check
    (workdir.local / "metrics.jsonl").write_text("1\n")
    (workdir.local / "tensorboard").mkdir()
    (workdir.local / "tensorboard" / "events").write_bytes(b"\0\xff")
    (workdir.local / "results.json.tmp").write_text("half")
    assert list(gcs_server.objects(bucket)) == ["runs/a/.lock"]
    workdir.sync()
    first = {"runs/a/metrics.jsonl": b"1\n", "runs/a/tensorboard/events": b"\0\xff"}
    assert _objects(gcs_server, bucket) == first
    gcs_server.requests.clear()
    workdir.sync()
    assert gcs_server.requests == []
    with (workdir.local / "metrics.jsonl").open("a") as f:
      f.write("2\n")
    workdir.sync()
    assert _objects(gcs_server, bucket) == first | {"runs/a/metrics.jsonl": b"1\n2\n"}
    assert _written(gcs_server) == 1
    (workdir.local / "solved.png").write_bytes(b"png")
  # Leaving copies what is left, and lets others have the folder.
  assert gcs_server.objects(bucket) == first | {"runs/a/metrics.jsonl": b"1\n2\n", "runs/a/solved.png": b"png"}
  assert not workdir.local.exists()


def test_a_file_that_cannot_be_brought_down_is_one_line(bucket, gcs_server, tmp_path):
  with _workdir(bucket) as workdir:
    (workdir.local / "results.json").write_text("{}")
  gcs_server.refuse = lambda method, path: (403, "No.") if "alt=media" in path else None
  assert _error(_workdir, bucket) == (
      f"gs://{bucket}/runs/a/results.json: refused (No.); give this account the role roles/storage.objectAdmin on the "
      "bucket")
  assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_from_the_bucket(bucket, gcs_server):
  with _workdir(bucket) as workdir:
    log = metrics_log.MetricsLog(workdir.local, resume_step=0)
    for step in (1, 2, 3):
      log.write({"step": step, "loss": 0.5})
    log.close()
    (workdir.local / "results.json").write_text("{}")
    (workdir.local / "config.json").write_text("{}")
  gcs_server.requests.clear()
  with _workdir(bucket) as workdir:
    assert sorted(path.name for path in workdir.local.iterdir()) == ["metrics.jsonl", "results.json"]
    workdir.sync()
    assert _written(gcs_server) == 2  # by the check that the folder can be written, and by the lock
    log = metrics_log.MetricsLog(workdir.local, resume_step=2)
    log.write({"step": 3, "loss": 0.25})
    log.close()
  for path in (f"gs://{bucket}/runs/a/metrics.jsonl", workdir.path / "metrics.jsonl"):
    assert [(r["step"], r["loss"]) for r in metrics_log.read_metrics(path)] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_a_process_that_is_not_main_writes_nothing(bucket, gcs_server):
  with _workdir(bucket) as workdir:
    (workdir.local / "metrics.jsonl").write_text("1\n")
  before = gcs_server.objects(bucket)
  with _workdir(bucket, main=False) as workdir:
    assert (workdir.local / "metrics.jsonl").read_text() == "1\n"
    (workdir.local / "metrics.jsonl").write_text("2\n")
    (workdir.local / "new").write_text("new")
    workdir.sync()
  assert gcs_server.objects(bucket) == before
  assert not workdir.local.exists()


def _wait_for(condition):
  end = time.monotonic() + 10
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_records_are_copied_in_between(bucket, gcs_server, monkeypatch, capsys):
  monkeypatch.setattr(workdir_lib, "_SYNC_SECONDS", 0.02)
  with _workdir(bucket) as workdir:
    gcs_server.refuse = _refuse_writes
    (workdir.local / "metrics.jsonl").write_text("1\n")
    warnings = []
    _wait_for(lambda: warnings.append(capsys.readouterr().err) or "".join(warnings).count("\n") >= 2)
    assert f"warning: gs://{bucket}/runs/a: refused (" in "".join(warnings)
    assert "runs/a/metrics.jsonl" not in gcs_server.objects(bucket)
    gcs_server.refuse = lambda method, path: None
    _wait_for(lambda: gcs_server.objects(bucket).get("runs/a/metrics.jsonl") == b"1\n")
  assert "workdir-sync" not in [thread.name for thread in threading.enumerate()]


def test_what_was_refused_is_copied_by_the_next_sync(bucket, gcs_server):
  with _workdir(bucket) as workdir:
    (workdir.local / "metrics.jsonl").write_text("1\n")
    gcs_server.refuse = _refuse_writes
    assert _error(workdir.sync) == (
        f"gs://{bucket}/runs/a: refused ({_DENIED}); give this account the role roles/storage.objectAdmin on the "
        f"bucket; the newest records and results are in {workdir.local}")
    gcs_server.refuse = lambda method, path: None
    workdir.sync()
    assert _objects(gcs_server, bucket) == {"runs/a/metrics.jsonl": b"1\n"}


def test_files_that_could_not_be_copied_stay(bucket, gcs_server):
  workdir = _workdir(bucket)
  (workdir.local / "metrics.jsonl").write_text("1\n")
  gcs_server.refuse = _refuse_writes
  assert f"the newest records and results are in {workdir.local}" in _error(workdir.close)
  assert (workdir.local / "metrics.jsonl").read_text() == "1\n"


def test_what_ended_the_run_comes_first(bucket, gcs_server, capsys):
  with pytest.raises(ZeroDivisionError):
    with _workdir(bucket) as workdir:
      (workdir.local / "metrics.jsonl").write_text("1\n")
      gcs_server.refuse = _refuse_writes
      raise ZeroDivisionError
  assert f"warning: gs://{bucket}/runs/a: refused (" in capsys.readouterr().err


def test_a_folder_above_does_not_exist_in_a_bucket(bucket):
  assert _error(paths.user_path, f"gs://{bucket}/runs/../x", "--workdir") == (
      f"--workdir=gs://{bucket}/runs/../x: '..' leads nowhere in a bucket; name the folder itself")


def test_no_such_bucket(bucket):
  for call in (functools.partial(workdir_lib.Workdir, main=True, flag="--out"),
               functools.partial(paths.user_path, flag="--out")):
    assert _error(call, "gs://no-such-bucket/run") == (
        "--out=gs://no-such-bucket/run: not found; if there is no such bucket, make it: gcloud storage buckets create "
        "gs://BUCKET --location=REGION")


@pytest.mark.parametrize("main", [True, False])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_bucket_that_may_not_be_written(bucket, gcs_server, main, method):
  gcs_server.refuse = lambda m, path: (403, _DENIED) if m == method else None
  assert _error(_workdir, bucket, main=main) == (
      f"--workdir=gs://{bucket}/runs/a: refused ({_DENIED}); give this account the role roles/storage.objectAdmin on "
      "the bucket")


def test_a_bucket_that_may_not_be_read(bucket, gcs_server):
  gcs_server.refuse = lambda method, path: (403, "storage.objects.list is denied.")
  assert _error(paths.user_path, f"gs://{bucket}/run", "--checkpoint") == (
      f"--checkpoint=gs://{bucket}/run: refused (storage.objects.list is denied.); give this account the role "
      "roles/storage.objectAdmin on the bucket")


def test_no_credentials(bucket, gcs_server, caplog):
  gcs_server.refuse = lambda method, path: (401, "Anonymous caller does not have storage.objects.list access.")
  assert _error(paths.user_path, f"gs://{bucket}/run", "--workdir") == (
      f"--workdir=gs://{bucket}/run: no valid Google Cloud credentials (Anonymous caller does not have "
      "storage.objects.list access., 401); run `gcloud auth application-default login`, or give this machine a service "
      "account")
  assert caplog.text == ""  # gcsfs would write a traceback


def test_a_service_that_does_not_answer(bucket, gcs_server, impatient):
  gcs_server.refuse = lambda method, path: (503, "Try later.")
  assert _error(paths.user_path, f"gs://{bucket}/run", "--workdir") == (
      f"--workdir=gs://{bucket}/run: the bucket cannot be reached (Try later., 503); check the network and start the "
      "same command again")


def test_what_may_pass_is_to_be_tried_again(bucket, gcs_server, impatient):
  """By its status, which launchers go by."""
  for refusal, status in (((503, "Try later."), 76), ((401, "Who are you?"), 2)):
    gcs_server.refuse = lambda method, path, refusal=refusal: refusal
    with pytest.raises(UserError) as e:
      paths.user_path(f"gs://{bucket}/run", "--workdir")
    assert e.value.status == status


def test_no_network(bucket, impatient, monkeypatch):
  with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
  message = _error(paths.user_path, f"gs://{bucket}/run", "--workdir")
  assert message.startswith(f"--workdir=gs://{bucket}/run: the bucket cannot be reached (Cannot connect to host 127.0.")


def test_many_processes_check_the_same_folder_at_the_same_time(bucket, gcs_server):
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for workdir in pool.map(lambda _: _workdir(bucket, main=False), range(16)):
      workdir.close()
  assert gcs_server.objects(bucket) == {}


def test_an_object_in_the_way(bucket, gcs_server):
  epath.Path(f"gs://{bucket}/runs/a").write_text("x")
  assert _error(_workdir, bucket) == (
      f"--workdir=gs://{bucket}/runs/a: cannot write here (this is an object, not a folder); name another folder")
  assert list(gcs_server.objects(bucket)) == ["runs/a"]


def test_a_whole_bucket_may_be_a_run(bucket, gcs_server):
  with workdir_lib.Workdir(f"gs://{bucket}", main=True) as workdir:
    (workdir.local / "x").write_text("1")
  assert gcs_server.objects(bucket) == {"x": b"1"}


def test_what_other_processes_write_is_seen_at_once(bucket):
  folder = paths.user_path(f"gs://{bucket}/run", "--workdir")
  (folder / "a").write_text("1")
  assert [path.name for path in folder.iterdir()] == ["a"] and not (folder / "b").exists()
  import gcsfs
  gcsfs.GCSFileSystem(skip_instance_cache=True).pipe_file(f"{bucket}/run/b", b"2")
  assert [path.name for path in folder.iterdir()] == ["a", "b"] and (folder / "b").exists()


def test_what_other_processes_write_is_seen_where_a_notebook_was_there_first(bucket, gcs_server):
  """epath makes its file system of all buckets, which keeps listings, when it meets the first gs:// path."""
  code = f"""if True:
    from etils import epath
    folder = epath.Path("gs://{bucket}/run")
    (folder / "a").write_text("1")
    assert [path.name for path in folder.iterdir()] == ["a"]
    from trm_jax.runtime import paths
    paths.user_path(folder, "--workdir")
    import gcsfs
    gcsfs.GCSFileSystem(skip_instance_cache=True).pipe_file("{bucket}/run/b", b"2")
    assert [path.name for path in folder.iterdir()] == ["a", "b"]"""
  subprocess.run([sys.executable, "-c", code], check=True)


# Checkpoints.


def _state(value):
  return {"w": jnp.full((5, 3), value, jnp.float32), "step": jnp.int32(value)}


def _abstract():
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return sharding.abstract(_state(0), jax.tree.map(lambda _: one, _state(0)))


def test_checkpoints_are_saved_listed_pruned_and_restored(bucket, gcs_server):
  with _workdir(bucket) as workdir:
    checkpoints = checkpoint.Checkpoints(workdir.checkpoints)
    for step in range(1, 8):
      checkpoints.add_evaluation(step, 1 / step)
      checkpoints.save(step, _state(step), {"config": step})
    checkpoints.wait()
    checkpoints.close()
  # What a killed run leaves: no mark of completeness.
  (workdir.checkpoints / "8" / "state" / "d" / "x").write_bytes(b"half")
  checkpoints = checkpoint.Checkpoints(paths.user_path(f"gs://{bucket}/runs/a/checkpoints", "--checkpoint"))
  assert checkpoints.steps() == [1, 3, 4, 5, 6, 7]
  assert (checkpoints.latest_step(), checkpoints.best_step()) == (7, 1)
  kept = {name.split("/")[3] for name in gcs_server.objects(bucket) if name.startswith("runs/a/checkpoints/")}
  assert kept - {"8"} == {"1", "3", "4", "5", "6", "7", "evaluations.json"}
  for step in (1, 7):
    restored = checkpoints.restore(step, _abstract())
    jax.tree.map(np.testing.assert_array_equal, restored, _state(step))
    assert checkpoints.read_run(step) == {"config": step}
  checkpoints.save(8, _state(8), {"config": 8})
  checkpoints.wait()
  jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(8, _abstract()), _state(8))
  assert not any(name.endswith("/d/x") for name in gcs_server.objects(bucket))
  checkpoints.close()
  assert checkpoint.find(f"gs://{bucket}/runs/a") == (workdir.checkpoints, None)
  assert checkpoint.find(f"gs://{bucket}/runs/a/checkpoints/8") == (workdir.checkpoints, 8)


def test_a_checkpoint_in_a_bucket_is_called_damaged_only_if_it_is(bucket, gcs_server, impatient):
  checkpoints = checkpoint.Checkpoints(f"gs://{bucket}/run/checkpoints")
  for step in (1, 2):
    checkpoints.save(step, _state(step), {})
  checkpoints.wait()
  folder = f"gs://{bucket}/run/checkpoints"
  denied, busy = ((403, _DENIED), 2, _DENIED[-40:]), ((503, "Try later."), 76, "network")
  for file, (refusal, status, words) in (
      ("run/metadata", denied), ("run/metadata", busy), ("state/_METADATA", denied), ("state/_METADATA", busy),
      ("state/manifest.ocdbt", denied)):  # TensorStore tries for minutes before it gives up on a busy server
    gcs_server.refuse = lambda method, path, file=file, refusal=refusal: (
        refusal if file in urllib.parse.unquote(path) and "alt=media" in path else None)
    with pytest.raises(UserError) as e:
      checkpoints.restore(2, _abstract())
    assert str(e.value).startswith(f"{folder}/2") and e.value.status == status and words in str(e.value), str(e.value)
    assert "damaged" not in str(e.value)
  gcs_server.refuse = lambda method, path: None
  epath.Path(f"{folder}/2/state/_METADATA").write_text("{}")
  assert _error(checkpoints.restore, 2, _abstract()).endswith(
      f": gcloud storage mv {folder}/2 gs://{bucket}/run/damaged-2")


def test_a_save_that_a_bucket_refuses_says_so(bucket, gcs_server, impatient):
  checkpoints = checkpoint.Checkpoints(f"gs://{bucket}/checkpoints")
  gcs_server.refuse = _refuse_writes
  for call in (functools.partial(checkpoints.add_evaluation, 1, 0.5), functools.partial(_save, checkpoints)):
    line = _error(call)
    assert "could not be written; there is no complete checkpoint" in line and _DENIED[:60] in line, line


def _save(checkpoints):
  checkpoints.save(1, _state(1), {})
  checkpoints.wait()


def test_saving_goes_on_while_training_does(bucket, gcs_server):
  slow = threading.Event()
  gcs_server.refuse = lambda method, path: None if "ocdbt" not in path else slow.wait(10) and None
  checkpoints = checkpoint.Checkpoints(f"gs://{bucket}/checkpoints")
  checkpoints.save(1, _state(1), {})
  assert not slow.is_set()
  assert not any(name.endswith("commit_success.txt") for name in gcs_server.objects(bucket))
  slow.set()
  checkpoints.wait()
  assert any(name.endswith("commit_success.txt") for name in gcs_server.objects(bucket))
  checkpoints.close()


_PROGRAM = """
import sys
from trm_jax import cli

def main(argv):
  import jax.numpy as jnp
  from trm_jax.runtime.workdir import Workdir
  from trm_jax.training import checkpoint
  with Workdir(argv[1], main=True) as workdir:
    checkpoints = checkpoint.Checkpoints(workdir.checkpoints)
    (workdir.local / "metrics.jsonl").write_text("1")
    workdir.sync()
    checkpoints.save(1, {"w": jnp.ones(3)}, {})
    checkpoints.add_evaluation(1, 0.5)
    checkpoints.wait()
    checkpoints.close()
  print("tensorflow" in sys.modules)

cli.run(main)
"""


def test_a_program_ends_without_a_word(bucket, gcs_server):
  ran = subprocess.run([sys.executable, "-W", "default", "-c", _PROGRAM, f"gs://{bucket}/run"], capture_output=True,
                       text=True, timeout=60, check=True)
  assert ran.stdout == "False\n"
  # TensorStore says that it goes on without credentials.
  said = [line for line in ran.stderr.splitlines() if "google_auth_provider" not in line]
  assert said == []
  assert "run/metrics.jsonl" in gcs_server.objects(bucket)


# Puzzles.

DATA = SudokuData(box=2, num_train=9, num_validation=0, num_test=0)


@functools.cache
def _splits(box=2):
  made = generate.generate_splits(box=box, num_train=12, num_validation=0, num_test=5, num_clues=8 if box == 2 else 50,
                                  seed=0)
  return {split: dataclasses.replace(made[split], ratings=np.arange(len(made[split]), dtype=np.int32))
          for split in ("train", "test")}


def _upload(folder, to):
  for path in folder.rglob("*"):
    if path.is_file():
      target = epath.Path(to) / path.relative_to(folder).as_posix()
      target.write_bytes(path.read_bytes())


@pytest.fixture(name="source")
def _source(bucket, tmp_path, gcs_server):
  """A folder of a bucket with train.csv and test.csv, and other things."""
  folder = tmp_path / "csv"
  folder.mkdir()
  for split, puzzles in _splits().items():
    csv_files.write_csv(folder / f"{split}.csv", puzzles, source="made")
  (folder / "other.csv").write_text("x" * 1000)
  paths.user_path(f"gs://{bucket}", "--data")
  _upload(folder, f"gs://{bucket}/data/csv")
  gcs_server.requests.clear()
  return f"gs://{bucket}/data/csv"


def _copied(server):
  """The names of the objects that were copied here."""
  return sorted(path.partition("?")[0].rpartition("/")[2].rpartition("%2F")[2] for method, path in server.requests
                if method == "GET" and "alt=media" in path)


def _assert_same(a, b):
  for name in ("inputs", "labels", "ratings"):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_puzzles_are_copied_once(source, gcs_server, tmp_path, capsys):
  data = dataclasses.replace(DATA, source=source)
  local = load(dataclasses.replace(DATA, source=str(tmp_path / "csv")))
  splits = load(data)
  _assert_same(splits.train, local.train)
  _assert_same(splits.test, local.test)
  assert _copied(gcs_server) == ["test.csv", "train.csv"]
  copies = tmp_path / "cache" / "trm_jax" / source.removeprefix("gs://")
  assert sorted(path.name for path in copies.iterdir()) == [".lock", "test.csv", "train.csv"]
  out = capsys.readouterr().out
  assert out.count(f"copying {source}: 0.0 MiB, to {copies} (0 s)\n") == 2
  _assert_same(load(data).train, local.train)
  assert len(_copied(gcs_server)) == 2 and capsys.readouterr().out == ""


def test_evaluation_copies_the_test_puzzles_alone(source, gcs_server):
  _assert_same(load_test(dataclasses.replace(DATA, source=source)), _splits()["test"])
  assert _copied(gcs_server) == ["test.csv"]


@pytest.mark.parametrize("damage", [
    lambda data: data[:-1], lambda data: b"", lambda data: data.replace(b"made", b"MADE", 1),
    lambda data: data + b"\n",
])
def test_a_copy_that_differs_is_not_used(source, gcs_server, tmp_path, damage):
  data = dataclasses.replace(DATA, source=source)
  load_test(data)
  copy = tmp_path / "cache" / "trm_jax" / source.removeprefix("gs://") / "test.csv"
  good = copy.read_bytes()
  copy.write_bytes(damage(good))
  copy.with_name("test.csv.partial").write_bytes(b"of a copy that was interrupted")
  _assert_same(load_test(data), _splits()["test"])
  assert copy.read_bytes() == good
  assert _copied(gcs_server) == ["test.csv", "test.csv"]


def test_puzzles_that_have_changed_are_copied_anew(source, gcs_server, tmp_path):
  data = dataclasses.replace(DATA, source=source)
  load_test(data)
  other = dataclasses.replace(_splits()["test"], ratings=np.arange(5, dtype=np.int32)[::-1])
  csv_files.write_csv(tmp_path / "test.csv", other, source="made")
  epath.Path(f"{source}/test.csv").write_bytes((tmp_path / "test.csv").read_bytes())
  _assert_same(load_test(data), other)
  assert _copied(gcs_server) == ["test.csv", "test.csv"]


@pytest.mark.parametrize("reported", [{"crc32c": "AAAAAA=="}, {"size": "1"}])
def test_puzzles_that_arrive_damaged_are_one_line(source, bucket, gcs_server, tmp_path, reported):
  gcs_server.describe(bucket, "data/csv/test.csv").update(reported)
  assert _error(load_test, dataclasses.replace(DATA, source=source)) == (
      f"{source}/test.csv: arrived damaged, or was changed while it was copied; start the same command again")
  copies = tmp_path / "cache" / "trm_jax" / source.removeprefix("gs://")
  assert [path.name for path in copies.iterdir()] == [".lock"]


def test_a_copy_that_is_refused_is_one_line(source, gcs_server):
  gcs_server.refuse = lambda method, path: (403, _DENIED) if "alt=media" in path else None
  error = _error(load_test, dataclasses.replace(DATA, source=source))
  assert error.startswith(f"{source}/test.csv: refused (")


def test_no_space_for_a_copy_is_one_line(source, tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  assert _error(load_test, dataclasses.replace(DATA, source=source)).startswith(
      f"the copy of {source}={tmp_path}/file/trm_jax/")


def test_the_processes_of_a_host_copy_once(source, gcs_server, tmp_path):
  copies = tmp_path / "cache" / "trm_jax" / source.removeprefix("gs://")
  copies.mkdir(parents=True)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    with (copies / ".lock").open("w") as lock:  # as a process that is copying
      fcntl.flock(lock, fcntl.LOCK_EX)
      other = pool.submit(load_test, dataclasses.replace(DATA, source=source))
      _wait_for(lambda: gcs_server.requests)
      time.sleep(0.5)
      assert not other.done()
      (copies / "test.csv").write_bytes((tmp_path / "csv" / "test.csv").read_bytes())
    _assert_same(other.result(), _splits()["test"])
  assert _copied(gcs_server) == []


def test_a_dataset_folder_in_a_bucket_says_how_large_its_puzzles_are(bucket, tmp_path):
  source = f"gs://{bucket}/reference"
  paths.user_path(source, "--data")
  _upload(test_load.write_reference(tmp_path / "reference", _splits()), source)
  task = grid.Task(grid.Data(source=source))
  assert (task.seq_len, task.vocab_size, task.num_puzzle_identifiers, task.name) == (16, 6, 1, "grid-4x4")
  np.testing.assert_array_equal(task.read("test").inputs, _splits()["test"].inputs)


def test_a_folder_of_the_reference(bucket, gcs_server, tmp_path):
  folder = test_load.write_reference(tmp_path / "reference", _splits())
  (folder / "identifiers.json").write_text("[]")
  source = f"gs://{bucket}/reference"
  paths.user_path(source, "--data")
  _upload(folder, source)
  gcs_server.requests.clear()
  data = dataclasses.replace(DATA, source=source)
  np.testing.assert_array_equal(load_test(data).inputs, _splits()["test"].inputs)
  assert len(_copied(gcs_server)) == 6 and "dataset.json" in _copied(gcs_server)
  assert len(load(data).train) == 9
  assert len(_copied(gcs_server)) == 12


def test_sources_that_are_missing(source):
  usable = ("use a folder with train.csv and test.csv, one written by the reference's dataset builder, "
            "'sudoku-extreme' or 'generated'")
  for missing in (f"{source}/nope", source.rpartition("/")[0], f"{source}/test.csv"):
    assert _error(load, dataclasses.replace(DATA, source=missing)) == (
        f"config.data.source = {missing!r}: neither test.csv nor test/dataset.json is there; {usable}")
  assert buckets.names(epath.Path(f"{source}/test.csv")) == []
  message = _error(load, dataclasses.replace(DATA, source="gs://no-such-bucket/x"))
  assert message.startswith("config.data.source=gs://no-such-bucket/x: not found; if there is no such bucket")


@pytest.fixture
def hub(tmp_path, monkeypatch):
  """A server of Sudoku-Extreme in small. Returns (url, checksums, paths that were asked for so far)."""
  (tmp_path / "hub").mkdir()
  sha256, requests = {}, []
  for split, puzzles in _splits(box=3).items():
    path = tmp_path / "hub" / f"{split}.csv"
    csv_files.write_csv(path, puzzles, source="made")
    sha256[split] = hashlib.sha256(path.read_bytes()).hexdigest()

  class Handler(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *args):
      requests.append(self.path)

  handler = functools.partial(Handler, directory=tmp_path / "hub")
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        extreme, "SUDOKU_EXTREME", dataclasses.replace(extreme.SUDOKU_EXTREME, base_url=url, sha256=sha256))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where config.data.tfds_dir is
    yield url, sha256, requests
    server.shutdown()
    thread.join()


def test_sudoku_extreme_is_prepared_for_a_bucket_once(bucket, gcs_server, hub, tmp_path):
  _, _, requests = hub
  data = SudokuData(tfds_dir=f"gs://{bucket}/tfds", num_train=9, num_validation=0)
  assert _error(load_test, data) == (
      f"config.data.tfds_dir=gs://{bucket}/tfds: has no prepared sudoku_extreme/1.0.0; a training run with this "
      "config.data.tfds_dir puts it there")
  assert SudokuTask(data).shared(tmp_path / "run").data == data
  assert sorted(requests) == ["/test.csv", "/train.csv"]
  shutil.rmtree(tmp_path / "home")  # another machine
  assert SudokuTask(data).shared(tmp_path / "run").data == data
  gcs_server.requests.clear()
  _assert_same(load_test(data), _splits(box=3)["test"])
  assert not any("train" in name for name in _copied(gcs_server))
  assert len(load(data).train) == 9
  assert len(_copied(gcs_server)) == len(set(_copied(gcs_server)))
  assert sorted(requests) == ["/test.csv", "/train.csv"]
  assert "tensorflow" not in sys.modules


def test_puzzles_that_are_half_in_the_bucket_do_not_count(bucket, gcs_server, hub, tmp_path):
  """The file by which others know them is the last one."""
  data = SudokuData(tfds_dir=f"gs://{bucket}/tfds", num_train=9, num_validation=0)
  made = tmp_path / "home" / "tensorflow_datasets" / "sudoku_extreme" / "1.0.0"
  gcs_server.refuse = lambda method, path: (
      (403, _DENIED) if method == "POST" and len(gcs_server.objects(bucket)) == len(list(made.iterdir())) - 1 else None)
  assert "dataset_info.json: refused" in _error(SudokuTask(data).shared, tmp_path / "run")
  assert "has no prepared sudoku_extreme/1.0.0" in _error(load_test, data)
  gcs_server.refuse = lambda method, path: None
  _assert_same(load_test(SudokuTask(data).shared(tmp_path / "run").data), _splits(box=3)["test"])


def test_of_several_hosts_one_asks_the_hub(bucket, hub, tmp_path):
  """Two processes with disks of their own, whose run is kept in a bucket."""
  url, sha256, requests = hub
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
  code = """
import dataclasses, sys
from trm_jax.runtime import cluster
from trm_jax.tasks.sudoku import extreme
url, sha256, port, process, run = eval(sys.argv[1])
extreme.SUDOKU_EXTREME = dataclasses.replace(extreme.SUDOKU_EXTREME, base_url=url, sha256=sha256)
cluster.join(cluster.Job(f"127.0.0.1:{port}", 2, process), 60)
from trm_jax.data import splits
from trm_jax.tasks import sudoku
task = sudoku.Task(sudoku.Data(num_train=9, num_validation=0)).shared(run)
print(task.data.tfds_dir, splits.load(task).train.digest())
"""
  processes = [subprocess.Popen(
      [sys.executable, "-c", code, repr((url, sha256, port, i, f"gs://{bucket}/runs/a"))], text=True,
      stdout=subprocess.PIPE, env=os.environ | {"HOME": str(tmp_path / f"home{i}"), "XDG_CACHE_HOME": "",
                                               "JAX_NUM_CPU_DEVICES": "1"}) for i in range(2)]
  said = [process.communicate()[0].splitlines()[-1] for process in processes]
  assert [process.returncode for process in processes] == [0, 0]
  assert said[0] == said[1] and said[0].startswith(f"gs://{bucket}/runs/.tensorflow_datasets ")
  assert sorted(requests) == ["/test.csv", "/train.csv"]
  assert [(tmp_path / f"home{i}" / "tensorflow_datasets").exists() for i in range(2)] == [True, False]


@pytest.mark.parametrize("data, run", [
    (SudokuData(), "runs/a"), (SudokuData(), "gs://bucket/runs/a"),  # a process alone reads the hub for itself
    (SudokuData(source="generated"), "gs://bucket/runs/a"),
    (SudokuData(source="gs://bucket/data", tfds_dir="gs://bucket/tfds"), "gs://bucket/runs/a"),
])
def test_other_puzzles_are_read_where_the_config_says(data, run):
  assert SudokuTask(data).shared(run).data == data
