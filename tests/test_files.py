# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Small files: written whole or not at all, read with the cause where they cannot be."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from trm_jax import errors
from trm_jax.errors import Damaged, UserError
from trm_jax.runtime import files
from trm_jax.runtime import signals


@pytest.mark.parametrize("content, reason", [
    (b"", ": is empty"),
    (b" \n", ": is empty"),
    (b'{"a": [1, 2', ": is cut off in line 1"),
    (b'{\n"a": "b', ": is cut off in line 2"),
    (b'{"a": 1}\n}', ", line 2: is not JSON (Extra data)"),
    (b"\0\0\0\0", ", line 1: is not JSON (Expecting value)"),
    (b'{"a": "\xff"}', ": is not text (invalid start byte at byte 7)"),
    (b"[1]", ": is not a JSON object but list"),
    (b'{"a": ' + b"9" * 5000 + b"}", ": is not JSON that can be read (Exceeds the limit"),
    (b"[" * 100_000, ": is not JSON that can be read (maximum recursion depth"),
])
def test_what_is_not_a_json_object_is_damaged(tmp_path, content, reason):
  path = tmp_path / "x.json"
  path.write_bytes(content)
  with pytest.raises(Damaged) as e:
    files.read_json(path)
  assert str(e.value).startswith(f"{path}{reason}")


def test_what_cannot_be_read_is_not_called_damaged(tmp_path, as_nobody_special):
  path = tmp_path / "x.json"
  with pytest.raises(UserError, match=f"^{path}: no such file$") as e:
    files.read_json(path)
  assert not isinstance(e.value, Damaged)
  path.mkdir()
  with pytest.raises(UserError) as e:
    files.read_json(path)
  assert str(e.value) == f"{path}: cannot be read (Is a directory); a folder stands where a file is needed"
  path.rmdir()
  path.write_text("{}")
  path.chmod(0)
  with as_nobody_special(), pytest.raises(UserError) as e:
    files.read_json(path)
  assert str(e.value) == f"{path}: cannot be read (Permission denied); check who may read and write there"
  assert not isinstance(e.value, Damaged)


def test_a_file_is_replaced_in_one_move_once_it_is_on_the_disk(tmp_path, monkeypatch):
  path, order = tmp_path / "x", []
  path.write_text("old")

  def noted(name, do):
    def call(*args):
      order.append((name, path.read_text()))
      do(*args)
    return call

  monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
  monkeypatch.setattr(os, "replace", noted("replace", os.replace))
  with files.replacing(path) as file:
    file.write(b"new")
    assert path.read_text() == "old"
  assert order == [("fsync", "old"), ("replace", "old"), ("fsync", "new")]  # the last is the folder's
  assert [p.name for p in tmp_path.iterdir()] == ["x"] and path.read_text() == "new"


def test_what_was_there_stays_where_the_new_file_cannot_be_written(tmp_path):
  path = tmp_path / "x"
  path.write_text("old")
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2, limits[1]))
  try:
    with pytest.raises(UserError) as e:
      files.replace_text(path, "new")
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert str(e.value) == f"{path}: cannot be written (File too large); free some space or choose another place"
  with pytest.raises(KeyboardInterrupt), files.replacing(path) as file:
    file.write(b"half")
    raise KeyboardInterrupt
  assert [p.name for p in tmp_path.iterdir()] == ["x"] and path.read_text() == "old"


def test_a_program_that_is_told_to_end_leaves_no_half_of_a_file(tmp_path):
  code = ("import os, signal, sys, time; from trm_jax.runtime import files, signals\n"
          "signals.end_when_told()\n"
          "with files.replacing(__import__('pathlib').Path(sys.argv[1])) as file:\n"
          "  os.kill(os.getpid(), signal.SIGINT)\n"
          "  time.sleep(60)\n")
  done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True)
  assert done.returncode == 130, done
  assert not list(tmp_path.iterdir())
  before = list(signals.tidy_up)
  files.replace_text(tmp_path / "x", "new")
  assert signals.tidy_up == before


def test_two_that_write_the_same_file_do_not_write_into_each_others(tmp_path):
  path = tmp_path / "x"
  with files.replacing(path) as first, files.replacing(path) as second:
    first.write(b"first")
    second.write(b"second")
  assert path.read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch):
  def sync(descriptor, do=os.fsync):
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
      raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    do(descriptor)

  monkeypatch.setattr(os, "fsync", sync)
  files.write_json(tmp_path / "x", {"a": 1})
  assert files.read_json(tmp_path / "x") == {"a": 1}


def test_a_folder_that_may_not_be_written(tmp_path, as_nobody_special):
  tmp_path.chmod(0o555)
  with as_nobody_special(), pytest.raises(UserError) as e:
    files.make_folder(tmp_path, "--out")
  tmp_path.chmod(0o755)
  assert str(e.value).startswith(f"--out={tmp_path}: cannot write here (Permission denied: {tmp_path}/")
  assert str(e.value).endswith("); check who may read and write there or name another folder")
  assert errors.cause_of(e.value.__cause__).kind is errors.Kind.PERMISSION
