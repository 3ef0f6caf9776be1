# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Who owns a folder: one process, until it lets go or dies, on a disk and in a bucket."""

import datetime
import errno
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import pytest

from trm_jax.runtime import buckets
from trm_jax.runtime import lock
from trm_jax.runtime import paths
from trm_jax.runtime import workdir as workdir_lib

# Owns the folder argv[1], then does what it reads: "sync", or anything else to leave.
_OWNER = """
import sys
from trm_jax.runtime import lock, workdir as workdir_lib
lock._BEAT_SECONDS, lock._EXPIRE_SECONDS = map(float, sys.argv[2:])
with workdir_lib.Workdir(sys.argv[1], main=True) as workdir:
  print("owns", flush=True)
  for line in sys.stdin:
    if line.strip() != "sync": break
    workdir.sync()
    print("synced", flush=True)
"""


class _Owner:
  """Another process that owns a folder."""

  def __init__(self, folder, beat_seconds=20, expire_seconds=120):
    self.process = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder), str(beat_seconds), str(expire_seconds)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert self.process.stdout.readline() == "owns\n", self.process.communicate()

  def do(self, what):
    self.process.stdin.write(f"{what}\n")
    self.process.stdin.flush()

  def end(self):
    """Its status and what it has said."""
    return self.process.wait(60), *self.process.communicate()


@pytest.fixture(name="owner")
def _owner():
  """_Owner; its processes are killed at the end."""
  started = []

  def start(*args, **kwargs):
    started.append(_Owner(*args, **kwargs))
    return started[-1]

  yield start
  for owner in started:
    owner.process.kill()
    owner.process.communicate()


def _held(folder):
  """The line that a start in a folder that has an owner ends with."""
  with pytest.raises(lock.Held) as e:
    workdir_lib.Workdir(folder, main=True)
  assert e.value.status == 2
  return str(e.value)


def _line(folder, owner):
  text = json.loads(pathlib.Path(folder, ".lock").read_text()) if isinstance(folder, pathlib.Path) else owner
  return (f"--workdir={folder}: another process writes there (process {text['pid']} on {text['host']}, since "
          f"{text['since']}); wait for its end, or stop it, or name another folder")


# On a disk.


def test_a_folder_has_one_owner(tmp_path, owner):
  (tmp_path / "metrics.jsonl").write_text("1")
  other = owner(tmp_path)
  before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
  assert workdir_lib.holder(tmp_path).pid == other.process.pid
  assert _held(tmp_path) == _line(tmp_path, None) and f"(process {other.process.pid} on " in _held(tmp_path)
  assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before  # nothing was touched
  with workdir_lib.Workdir(tmp_path, main=False):  # another process of a job
    pass
  with workdir_lib.Workdir(tmp_path / "solved", main=True, flag="--out"):  # another folder, in this one
    pass
  other.do("leave")
  assert other.end() == (0, "", "")
  assert not (tmp_path / ".lock").exists() and workdir_lib.holder(tmp_path) is None
  with workdir_lib.Workdir(tmp_path, main=True):
    pass


def test_a_folder_whose_owner_was_killed_is_free(tmp_path, owner):
  other = owner(tmp_path)
  other.process.kill()
  other.process.wait()
  assert (tmp_path / ".lock").exists() and workdir_lib.holder(tmp_path) is None
  with workdir_lib.Workdir(tmp_path, main=True):
    assert workdir_lib.holder(tmp_path).pid == os.getpid()
  assert not (tmp_path / ".lock").exists()


def test_an_owner_whose_lock_was_removed_and_taken_ends_before_it_writes_again(tmp_path, owner):
  """Somebody took .lock for a left-over."""
  other = owner(tmp_path)
  (tmp_path / ".lock").unlink()
  other.do("sync")
  assert other.process.stdout.readline() == "synced\n"  # nobody has the folder yet
  with workdir_lib.Workdir(tmp_path, main=True):
    other.do("sync")
    status, out, err = other.end()
    assert (status, out) == (76, "")
    assert re.fullmatch(f"error: --workdir={tmp_path}: another process has taken this folder over \\(process "
                        f"{os.getpid()} on .*\\); this one ends and writes no more\n", err)
    assert workdir_lib.holder(tmp_path).pid == os.getpid()


def test_a_lock_that_its_owner_removes_just_now_is_made_again(tmp_path, monkeypatch):
  """Between opening the file and locking it: it would keep nobody out."""
  try_lock, calls = lock.try_lock, []

  def removed(file):
    if not calls:
      (tmp_path / ".lock").unlink()
    calls.append(file)
    return try_lock(file)

  monkeypatch.setattr(lock, "try_lock", removed)
  with workdir_lib.Workdir(tmp_path, main=True):
    assert (tmp_path / ".lock").exists() and len(calls) == 2
  assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):

  def flock(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")

  monkeypatch.setattr(fcntl, "flock", flock)
  with workdir_lib.Workdir(tmp_path, main=True):
    assert list(tmp_path.iterdir()) == []
  assert capsys.readouterr().err == (f"warning: --workdir={tmp_path}: its file system has no locks; make sure that no "
                                     "other process writes there\n")


# In a bucket.


def _write(server, bucket, seconds_ago=0.0, **changes):
  """Makes the lock of an owner on another machine, which was heard of that long ago."""
  owner = {"host": "far", "pid": 7, "since": "2026-01-01 00:00:00 UTC", "command": "python", "machine": "another",
           "started": 5, "token": "x"} | changes
  buckets.client().pipe_file(f"{bucket}/run/.lock", json.dumps(owner).encode())
  updated = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
  server.describe(bucket, "run/.lock")["updated"] = f"{updated:%Y-%m-%dT%H:%M:%S.%fZ}"
  return owner


def _owner_of(server, bucket):
  return json.loads(server.objects(bucket)["run/.lock"])


def test_a_folder_in_a_bucket_has_one_owner(bucket, gcs_server, owner):
  other = owner(f"gs://{bucket}/run")
  assert _held(f"gs://{bucket}/run") == _line(f"gs://{bucket}/run", _owner_of(gcs_server, bucket))
  assert workdir_lib.holder(paths.user_path(f"gs://{bucket}/run", "")).pid == other.process.pid
  with workdir_lib.Workdir(f"gs://{bucket}/run", main=False):
    pass
  other.do("leave")
  assert other.end() == (0, "", "")
  assert gcs_server.objects(bucket) == {}
  with workdir_lib.Workdir(f"gs://{bucket}/run", main=True):
    assert _owner_of(gcs_server, bucket)["pid"] == os.getpid()


def test_a_folder_in_a_bucket_whose_owner_was_killed_on_this_machine_is_free(bucket, gcs_server, owner):
  other = owner(f"gs://{bucket}/run")
  other.process.kill()
  other.process.wait()
  assert "run/.lock" in gcs_server.objects(bucket)
  assert workdir_lib.holder(paths.user_path(f"gs://{bucket}/run", "")) is None
  with workdir_lib.Workdir(f"gs://{bucket}/run", main=True):
    assert _owner_of(gcs_server, bucket)["pid"] == os.getpid()


def test_an_owner_on_another_machine_that_has_been_silent_has_lost_the_folder(bucket, gcs_server, capsys):
  _write(gcs_server, bucket, lock._EXPIRE_SECONDS + 2)
  with workdir_lib.Workdir(f"gs://{bucket}/run", main=True):
    assert _owner_of(gcs_server, bucket)["pid"] == os.getpid()
  assert capsys.readouterr().out == ""  # no waiting
  assert gcs_server.objects(bucket) == {}


def test_an_owner_on_another_machine_is_waited_for_until_it_is_known_to_be_dead(bucket, gcs_server, capsys):
  _write(gcs_server, bucket, lock._EXPIRE_SECONDS - 2)
  start = time.monotonic()
  with workdir_lib.Workdir(f"gs://{bucket}/run", main=True):
    assert _owner_of(gcs_server, bucket)["pid"] == os.getpid()
  assert time.monotonic() - start > 1
  assert re.fullmatch(f"--workdir=gs://{bucket}/run: another process wrote there 11[789] s ago \\(process 7 on far, "
                      "since 2026-01-01 00:00:00 UTC\\); waiting [123] s at most to "
                      "see whether it still does\n", capsys.readouterr().out)


def test_an_owner_on_another_machine_that_gives_a_sign_of_life_keeps_the_folder(bucket, gcs_server, monkeypatch):
  monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.4)  # how long is waited between two looks
  found = _write(gcs_server, bucket)
  timer = threading.Timer(0.5, _write, [gcs_server, bucket])
  timer.start()
  assert _held(f"gs://{bucket}/run") == _line(f"gs://{bucket}/run", found)
  timer.join()
  assert _owner_of(gcs_server, bucket) == found


def test_an_owner_gives_signs_of_life(bucket, gcs_server, monkeypatch):
  """And goes on doing so after the network was gone, or its lock was removed."""
  monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.05)

  def seen(old):
    deadline = time.monotonic() + 20
    while gcs_server.generation(bucket, "run/.lock") in ("0", old):
      assert time.monotonic() < deadline
      time.sleep(0.01)
    return gcs_server.generation(bucket, "run/.lock")

  with workdir_lib.Workdir(f"gs://{bucket}/run", main=True):
    generation = seen(seen("0"))
    gcs_server.refuse = lambda method, path: (403, "No.") if method == "POST" else None
    time.sleep(0.2)
    generation = gcs_server.generation(bucket, "run/.lock")
    gcs_server.refuse = lambda method, path: None
    generation = seen(generation)
    buckets.client().rm_file(f"{bucket}/run/.lock")
    seen(generation)
  assert gcs_server.objects(bucket) == {}
  assert "lock" not in [thread.name for thread in threading.enumerate()]


def test_an_answer_that_was_lost_is_no_loss_of_the_folder(bucket, gcs_server):
  """gcsfs repeats the request, and the service answers that the lock is there: it is its own."""
  lost = []

  def lose_one_answer(method, path):
    if method != "POST" or ".lock" not in path or lost:
      return False
    lost.append(path)
    return True

  gcs_server.lose = lose_one_answer
  try:
    with workdir_lib.Workdir(f"gs://{bucket}/run", main=True) as workdir:
      assert lost and _owner_of(gcs_server, bucket)["pid"] == os.getpid()
      lost.clear()
      workdir._owned._beat()
      assert lost
      workdir._owned._beat()
  finally:
    gcs_server.lose = lambda method, path: False
  assert gcs_server.objects(bucket) == {}


@pytest.mark.parametrize("how", ["by a sign of life", "before it writes after a long silence"])
def test_an_owner_that_has_lost_the_folder_in_a_bucket_ends(bucket, gcs_server, owner, how):
  silent = how != "by a sign of life"
  other = owner(f"gs://{bucket}/run", *((1000, 0) if silent else (0.5,)))
  found = _write(gcs_server, bucket)
  if silent:
    other.do("sync")
  status, _, err = other.end()
  assert status == 76
  assert err == (f"error: --workdir=gs://{bucket}/run: another process has taken this folder over (process 7 on far, "
                 "since 2026-01-01 00:00:00 UTC); this one ends and writes no more\n")
  assert _owner_of(gcs_server, bucket) == found
