# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The folder in which a run is kept, locally or in a bucket, and who writes there."""

import contextlib
import itertools
import os
import pathlib
import shutil
import sys
import tempfile
import threading

from etils import epath

from trm_jax import errors
from trm_jax.errors import UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import files
from trm_jax.runtime import lock
from trm_jax.runtime import paths
from trm_jax.runtime import signals


# What a run that goes on reads of what it has written before, besides checkpoints.
_RESUMED = ("metrics.jsonl", "results.json", "wandb_id")
_SYNC_SECONDS = 60


def new_folder(path: os.PathLike | str) -> pathlib.Path:
  """Makes a local folder of this name, or of this name and a number if others, perhaps at this moment, have made one.

  Raises:
    UserError: it cannot be made.
  """
  paths.check_checkpoints_can_be_kept(path, "--workdir")
  path = pathlib.Path(path)
  files.make_folder(path.parent, "the folder of runs")
  for number in itertools.count(1):
    folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
    try:
      folder.mkdir()
      return folder
    except FileExistsError:
      continue
    except OSError as e:
      raise errors.explained(f"{folder}: cannot be made", e, "name another folder by --workdir") from e


class Workdir:
  """Where a run is kept: a local folder, or gs://BUCKET/FOLDER.

  A context manager: leaving it copies what is left, cleans up, and lets others have the folder.

  Args:
    path: made if it does not exist.
    main: whether this process writes; one of a job does. It owns the folder (see lock) until it leaves.
    flag: that named it, for messages.

  Attributes:
    path: what the user named.
    local: where small files are written: the folder itself; for a bucket, and in processes that are not main, a
      temporary folder that has the files which a run goes on from. What a process that is not main writes there is
      lost, so that all processes may run the same code.
    checkpoints: for Orbax, which writes there from every process.

  Raises:
    lock.Held: another process owns it.
    UserError: it cannot be made or written.
  """

  def __init__(self, path: os.PathLike | str, *, main: bool, flag: str = "--workdir"):
    self.path = paths.user_path(path, flag)
    self.checkpoints = self.path / "checkpoints"
    remote = buckets.is_remote(self.path)
    # Not only in the main process: each of them writes its part of the checkpoints.
    if remote:
      buckets.check_writable(self.path, flag)
    else:
      files.make_folder(pathlib.Path(self.path), flag)
    self._scratch = remote or not main
    self._uploads = remote and main
    self._uploaded: dict[pathlib.Path, tuple[int, int]] = {}
    self._owned = _own(self.path, flag) if main else None
    try:
      self.local = self._make_scratch(flag) if self._scratch else pathlib.Path(self.path)
    except UserError:
      self._release()
      raise
    self._lock = threading.Lock()
    self._closed = threading.Event()
    self._thread = threading.Thread(target=self._sync_often, name="workdir-sync", daemon=True)
    if self._uploads:
      self._thread.start()
    signals.tidy_up.append(self._abandon)

  def _make_scratch(self, flag: str) -> pathlib.Path:
    """A temporary folder that has what a run goes on from."""
    try:
      local = pathlib.Path(tempfile.mkdtemp(prefix="trm_jax-"))
    except OSError as e:
      raise errors.explained(f"{flag}={self.path}: no temporary folder for its small files", e, "set TMPDIR") from e
    try:
      for name in _RESUMED:
        with buckets.reaching(str(self.path / name)):
          if (self.path / name).exists():
            file = local / name
            file.write_bytes((self.path / name).read_bytes())
            self._uploaded[file] = _stamp(file)
    except UserError:
      shutil.rmtree(local)
      raise
    return local

  def _release(self) -> None:
    if self._owned:
      try:
        with buckets.reaching(str(self.path)):
          self._owned.release()
      except UserError as e:  # No loss: all that was to be written has been, or an error tells what has not.
        print(f"warning: {e}; for two minutes others will think that this process still writes there", file=sys.stderr,
              flush=True)

  def sync(self) -> None:
    """Makes sure that this process still owns the folder, and copies files that have changed to the bucket. In a
    process that is not main nothing is done.

    Raises:
      UserError: the bucket refused or cannot be reached; what was not copied is copied by the next call.
    """
    if self._owned:
      with buckets.reaching(str(self.path)):
        self._owned.check()
    if not self._uploads:
      return
    with self._lock:
      changed = {file: _stamp(file) for file in self.local.rglob("*") if file.suffix != ".tmp" and file.is_file()}
      changed = {file: stamp for file, stamp in changed.items() if self._uploaded.get(file) != stamp}
      with buckets.reaching(str(self.path), kept=f"; the newest records and results are in {self.local}"):
        # One call, so that the files travel side by side.
        buckets.client().pipe({f"{self.path}/{file.relative_to(self.local)}": file.read_bytes() for file in changed})
      self._uploaded.update(changed)

  def _sync_often(self) -> None:
    while not self._closed.wait(_SYNC_SECONDS):
      try:
        self.sync()
      except UserError as e:  # Not the end of the run: the next one tries again, and sync() in the run raises.
        print(f"warning: {e}", file=sys.stderr, flush=True)

  def close(self) -> None:
    """Copies what is left, removes the temporary folder and lets others have this one.

    Raises:
      UserError: the bucket refused or cannot be reached; the temporary folder stays.
    """
    self._closed.set()
    if self._uploads:
      self._thread.join()
    try:
      self.sync()
    finally:
      signals.tidy_up.remove(self._abandon)
      self._release()
    if self._scratch:
      with contextlib.suppress(FileNotFoundError):  # cleaners of /tmp get there first sometimes
        shutil.rmtree(self.local)

  def _abandon(self) -> None:
    """What `close` does, but for what is left to copy: a program that ends at once has saved what it needs."""
    self._release()
    if self._scratch:
      shutil.rmtree(self.local, ignore_errors=True)

  def __enter__(self) -> "Workdir":
    return self

  def __exit__(self, exc_type, exc, traceback) -> None:
    try:
      self.close()
    except UserError as e:
      if exc is None:
        raise
      # What ended the run comes first.
      print(f"warning: {e}", file=sys.stderr, flush=True)


def _own(folder: epath.Path, flag: str) -> lock.FileLock | lock.ObjectLock:
  """The lock of a folder.

  Raises:
    lock.Held: another process has it.
    UserError: the folder cannot be written.
  """
  what = f"{flag}={folder}"
  if buckets.is_remote(folder):
    with buckets.reaching(what):
      return lock.ObjectLock(str(folder), what, buckets.client())
  try:
    return lock.FileLock(pathlib.Path(folder), what)
  except OSError as e:
    raise errors.explained(f"{what}: cannot write here", e, "name another folder") from e


def holder(folder: epath.Path) -> lock.Owner | None:
  """The process that owns a folder and writes there now, if one does.

  Raises:
    UserError: that cannot be found out.
  """
  if buckets.is_remote(folder):
    with buckets.reaching(str(folder)):
      return lock.holder_of_object(str(folder), buckets.client())
  try:
    return lock.holder_of_file(pathlib.Path(folder))
  except OSError as e:
    raise errors.explained(f"{folder}: cannot be read", e) from e


def _stamp(file: pathlib.Path) -> tuple[int, int]:
  """Differs whenever the file has been written."""
  stat = file.stat()
  return stat.st_mtime_ns, stat.st_size
