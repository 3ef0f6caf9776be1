# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The folder in which a run is kept, locally or in a bucket, and its ownership."""

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


# Files, besides checkpoints, that a resumed run reads again.
_RESUMED = ("metrics.jsonl", "results.json", "wandb_id")
_SYNC_SECONDS = 60


def new_folder(path: os.PathLike | str) -> pathlib.Path:
  """Makes a local folder of this name, or of this name and a number if there is one, perhaps made at this moment.

  Raises:
    UserError: the folder cannot be made.
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
  """The folder of a run: a local folder, or gs://BUCKET/FOLDER.

  This is a context manager: leaving it copies remaining files, cleans up, and releases the folder.

  Args:
    path: of the folder, which is made if it does not exist.
    main: whether this process writes; one process of a job does. It owns the folder (see lock) until it leaves.
    flag: the flag that named it, for messages.

  Attributes:
    path: of the folder, as the user named it.
    local: the folder for small files: the run's folder itself or, for a bucket and in processes that are not main, a
      temporary folder with the files that a resumed run needs. Files that a process writes there are lost unless it is
      main, so that all processes can run the same code.
    checkpoints: for Orbax, which writes there from every process.

  Raises:
    lock.Held: another process owns the folder.
    UserError: it cannot be made or written.
  """

  def __init__(self, path: os.PathLike | str, *, main: bool, flag: str = "--workdir"):
    self.path = paths.user_path(path, flag)
    self.checkpoints = self.path / "checkpoints"
    remote = buckets.is_remote(self.path)
    # Every process checks this, since each writes its part of the checkpoints.
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
    """Makes a temporary folder with the files that a resumed run needs."""
    try:
      local = pathlib.Path(tempfile.mkdtemp(prefix="trm_jax-"))
    except OSError as e:
      raise errors.explained(f"{flag}={self.path}: cannot make a folder for its small files", e, "set TMPDIR") from e
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
      except UserError as e:  # Nothing is lost: all files were written, or another error names those that were not.
        print(f"warning: {e}; for two minutes others will think that this process still writes there", file=sys.stderr,
              flush=True)

  def sync(self) -> None:
    """Makes sure that this process still owns the folder, and copies changed files to the bucket. Does nothing in a
    process that is not main.

    Raises:
      UserError: the bucket refused or cannot be reached; the next call copies the files that were not copied.
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
        # One call copies the files concurrently.
        buckets.client().pipe({f"{self.path}/{file.relative_to(self.local)}": file.read_bytes() for file in changed})
      self._uploaded.update(changed)

  def _sync_often(self) -> None:
    while not self._closed.wait(_SYNC_SECONDS):
      try:
        self.sync()
      except UserError as e:  # The run goes on: the next call tries again, and the run's own calls of sync() raise.
        print(f"warning: {e}", file=sys.stderr, flush=True)

  def close(self) -> None:
    """Copies remaining files, removes the temporary folder, and releases this one.

    Raises:
      UserError: the bucket refused or cannot be reached; then the temporary folder stays.
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
      with contextlib.suppress(FileNotFoundError):  # a cleaner of /tmp may have removed it
        shutil.rmtree(self.local)

  def _abandon(self) -> None:
    """Does the same as `close`, except for copying: a program that ends at once has already saved what it needs."""
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
      # The exception that ended the run is more important.
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
  """The process that currently owns a folder and writes there, if there is one.

  Raises:
    UserError: the folder's lock cannot be read.
  """
  if buckets.is_remote(folder):
    with buckets.reaching(str(folder)):
      return lock.holder_of_object(str(folder), buckets.client())
  try:
    return lock.holder_of_file(pathlib.Path(folder))
  except OSError as e:
    raise errors.explained(f"{folder}: cannot be read", e) from e


def _stamp(file: pathlib.Path) -> tuple[int, int]:
  """A value that changes whenever the file is written."""
  stat = file.stat()
  return stat.st_mtime_ns, stat.st_size
