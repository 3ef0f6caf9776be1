# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Paths that people name, and where a run is kept on a local disk. Buckets are in test_gcs.py."""

import concurrent.futures
import pathlib
import resource
import sys
import tempfile

from etils import epath
import pytest

from trm_jax.errors import UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import files
from trm_jax.runtime import paths
from trm_jax.runtime import workdir as workdir_lib


def _contents(folder):
  return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("text, path", [
    ("runs/a", "runs/a"), ("/runs/a", "/runs/a"), ("~/a", "HOME/a"), ("gs", "gs"), ("a:b/c", "a:b/c"),
])
def test_local_paths(text, path, monkeypatch):
  monkeypatch.setenv("HOME", "HOME")
  assert paths.user_path(text, "--workdir") == epath.Path(path)
  assert not buckets.is_remote(paths.user_path(text, "--workdir"))


@pytest.mark.parametrize("text", [
    "s3://bucket/run", "https://host/run", "gs:/bucket/run", "gs://", "gs:///run", "gs://Bucket/run", "GS://bucket/run",
    "gs://b/run", "file:///run",
])
def test_what_is_not_a_path(text):
  with pytest.raises(UserError) as e:
    paths.user_path(text, "--checkpoint")
  assert str(e.value) == f"--checkpoint={text}: not a usable path; give a local one or gs://BUCKET/FOLDER"


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_unset_variable_is_no_path(text):
  with pytest.raises(UserError) as e:
    paths.user_path(text, "--out")
  assert str(e.value) == f"--out={text}: is empty, perhaps because a variable is not set; name a path"


@pytest.mark.parametrize("text, character, other", [
    ("runs/lr[3e-4]", "[", "runs/lr-3e-4"), ("/data/a*/b?/run", "*", "/data/a/b/run"), ("what?", "?", "what"),
    ("a\\b", "\\", "a-b"), ("a\nb/c", "\n", "a-b/c"), ("\udcff/c", "\udcff", "x/c"), ("x/gs:/y", "gs:", "x/x/y"),
    ("gs://bucket/lr[1]/x", "[", "gs://bucket/lr-1/x"),
])
def test_paths_in_which_checkpoints_cannot_be_kept(text, character, other):
  with pytest.raises(UserError) as e:
    paths.check_checkpoints_can_be_kept(text, "--workdir")
  assert str(e.value) == (f"--workdir={text}: checkpoints cannot be kept in a folder with {character!r} in its path; "
                          f"choose another name, e.g. --workdir={other}")
  paths.check_checkpoints_can_be_kept(other, "--workdir")


def test_checkpoints_cannot_be_kept_below_the_current_folder(tmp_path, monkeypatch):
  (tmp_path / "[1]").mkdir()
  monkeypatch.chdir(tmp_path / "[1]")
  with pytest.raises(UserError) as e:
    paths.check_checkpoints_can_be_kept("run", "--workdir")
  assert str(e.value) == (f"--workdir=run: checkpoints cannot be kept in a folder with '[' in its path, which is "
                          f"{tmp_path}/[1]/run; name another folder, or a symbolic link to it")
  (tmp_path / "one").symlink_to(tmp_path / "[1]")
  paths.check_checkpoints_can_be_kept(tmp_path / "one" / "run", "--workdir")
  with pytest.raises(UserError):
    paths.check_checkpoints_can_be_kept(tmp_path / "one" / ".." / "[1]" / "run", "--workdir")


def test_new_folders_of_one_name_are_many(tmp_path):
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    made = list(pool.map(lambda _: workdir_lib.new_folder(tmp_path / "runs" / "now"), range(16)))
  assert sorted(path.name for path in made) == sorted(["now", *(f"now-{i}" for i in range(2, 17))])
  assert len(list((tmp_path / "runs").iterdir())) == 16
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot write here"):
    workdir_lib.new_folder(tmp_path / "file" / "now")


def test_without_gcsfs_a_bucket_gives_the_install_command(monkeypatch):
  monkeypatch.setitem(sys.modules, "gcsfs", None)
  buckets.client.cache_clear()
  with pytest.raises(UserError) as e:
    paths.user_path("gs://bucket/run", "--workdir")
  assert str(e.value) == ('--workdir=gs://bucket/run: buckets need gcsfs, which is not installed; '
                          'pip install -e ".[gcp]"')


def test_a_local_folder_is_written_directly(tmp_path):
  with workdir_lib.Workdir(tmp_path / "a" / "run", main=True) as workdir:
    assert workdir.local == pathlib.Path(workdir.path) == tmp_path / "a" / "run"
    assert workdir.checkpoints == epath.Path(tmp_path / "a" / "run" / "checkpoints")
    assert list(_contents(workdir.local)) == [".lock"]  # no trace of the check
    (workdir.local / "x").write_text("1")
    workdir.sync()
  assert _contents(tmp_path) == {"a/run/x": "1"}


def test_a_process_that_is_not_main_writes_nothing(tmp_path):
  for name in ("metrics.jsonl", "results.json", "config.json"):
    (tmp_path / name).write_text(name)
  before = _contents(tmp_path)
  with workdir_lib.Workdir(tmp_path, main=False) as workdir:
    assert workdir.checkpoints == epath.Path(tmp_path / "checkpoints")
    assert _contents(workdir.local) == {"metrics.jsonl": "metrics.jsonl", "results.json": "results.json"}
    (workdir.local / "metrics.jsonl").write_text("changed")
    (workdir.local / "new").write_text("new")
    workdir.sync()
    assert _contents(tmp_path) == before
  assert _contents(tmp_path) == before
  assert not workdir.local.exists()


@pytest.mark.parametrize("main", [True, False])
def test_a_file_in_the_way(tmp_path, main):
  (tmp_path / "file").write_text("")
  for path, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "run", "Not a directory")):
    with pytest.raises(UserError) as e:
      workdir_lib.Workdir(path, main=main, flag="--out")
    assert str(e.value) == f"--out={path}: cannot write here ({reason}); name another folder"


def test_a_full_disk(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk: files can be made, but not written
  try:
    with pytest.raises(UserError) as e:
      workdir_lib.Workdir(tmp_path, main=True)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert str(e.value) == (f"--workdir={tmp_path}: cannot write here (File too large); free some space or name another "
                          "folder")


def test_no_temporary_folder(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
  with pytest.raises(UserError) as e:
    workdir_lib.Workdir(tmp_path, main=False)
  assert str(e.value).startswith(
      f"--workdir={tmp_path}: cannot make a folder for its small files (No such file or directory: {tmp_path}/missing/")
  assert str(e.value).endswith("); set TMPDIR")


def test_many_processes_check_the_same_folder_at_the_same_time(tmp_path):
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: files.make_folder(tmp_path / "run", "--workdir"), range(200)))
  assert _contents(tmp_path) == {}
