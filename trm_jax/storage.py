# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Paths that people name: local folders, and gs://BUCKET/FOLDER where the extra `gcp` is installed.

Small files are written to a local folder and copied to the bucket (`Workdir`), puzzles are copied to this machine and
read there (`local_copy`); checkpoints go straight to the bucket by Orbax. Buckets are reached by gcsfs, through which
epath, and so Orbax, reaches them without TensorFlow.
"""

import base64
from collections.abc import Sequence
import contextlib
import functools
import itertools
import logging
import os
import pathlib
import re
import shutil
import sys
import tempfile
import threading
from typing import Any
import uuid

from etils import epath

from trm_jax import distributed
from trm_jax import errors
from trm_jax import files
from trm_jax import lock
from trm_jax import logs
from trm_jax.errors import TryAgain, UserError, in_one_line

# What a run that goes on reads of what it has written before, besides checkpoints.
_RESUMED = ("metrics.jsonl", "results.json", "wandb_id")
_SYNC_SECONDS = 60
_BUCKET_PATH = re.compile(r"gs://(?P<bucket>[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9])(/.*)?")
# What Orbax takes for a pattern, turns into another path or hands to libraries that refuse it. Most of it is found out
# only when a checkpoint is read, if at all.
_NOT_FOR_CHECKPOINTS = re.compile(r"[\[*?\\\x00-\x1f\x7f\ud800-\udfff]|gs:(?=/|$)")


def is_remote(path: os.PathLike | str) -> bool:
  """Whether a path lies in a bucket."""
  return os.fspath(path).startswith("gs://")


def user_path(path: os.PathLike | str, flag: str) -> epath.Path:
  """The path that a person named; every one of them comes through here.

  Args:
    path: a local path, in which ~ is the home folder, or gs://BUCKET/FOLDER.
    flag: that named it, for messages.

  Raises:
    UserError: it is empty or neither of them; or gcsfs is not installed, or the bucket is missing, refused or cannot be
      reached.
  """
  text = os.fspath(path)
  if not text.strip():
    raise UserError(f"{flag}={text}: names nothing, as a variable does that is not set; name a path")
  if not re.match(r"[a-z0-9]+:/", text, re.IGNORECASE):
    return epath.Path(os.path.expanduser(text))
  match = _BUCKET_PATH.fullmatch(text)
  if not match:
    raise UserError(f"{flag}={text}: not a path that can be used; give a local one or gs://BUCKET/FOLDER")
  if ".." in text.split("/"):
    raise UserError(f"{flag}={text}: '..' leads nowhere in a bucket; name the folder itself")
  try:
    client = _client()
  except ImportError as e:
    raise UserError(f'{flag}={text}: buckets need {e.name}, which is not installed; pip install -e ".[gcp]"') from e
  with reaching(f"{flag}={text}"):
    client.call("GET", "b/{}/o", match["bucket"], maxResults=1)
  return epath.Path(text)


def absolute(path: os.PathLike | str) -> str:
  """A local path from the root, for libraries that need one; a path in a bucket as it is."""
  if is_remote(path):
    return os.fspath(path)
  # The folder above a symbolic link is not the one that the path's text suggests. Without need no link is followed:
  # what it is called may be just what keeps a name out of the path (see `check_checkpoints_can_be_kept`).
  return os.path.realpath(path) if ".." in pathlib.PurePath(path).parts else os.path.abspath(path)


def check_checkpoints_can_be_kept(path: os.PathLike | str, flag: str) -> None:
  """Makes sure that what Orbax writes in a folder can be read again.

  Args:
    path: of a run's folder, as a person named it.
    flag: that named it, for messages.

  Raises:
    UserError: the path has a character in it that Orbax, or a library below it, does not take as it is.
  """
  text = os.fspath(path)
  found = _NOT_FOR_CHECKPOINTS.search(text.removeprefix("gs://"))
  if found:
    # A bracket has its counterpart, which alone would do no harm.
    kept = (_NOT_FOR_CHECKPOINTS.sub("-", part.replace("]", "-")).strip("-") for part in text.split("/"))
    parts = [new or old and "x" for new, old in zip(kept, text.split("/"))]
    other = "gs://" + "/".join(parts[2:]) if is_remote(path) else "/".join(parts)
    raise UserError(f"{flag}={text}: checkpoints cannot be kept in a folder with {found[0]!r} in its path; choose "
                    f"another name, e.g. {flag}={other}")
  found = None if is_remote(path) else _NOT_FOR_CHECKPOINTS.search(absolute(path))
  if found:
    raise UserError(f"{flag}={text}: checkpoints cannot be kept in a folder with {found[0]!r} in its path, which is "
                    f"{absolute(path)}; name a folder elsewhere, or one that leads there by a symbolic link")


def new_folder(path: os.PathLike | str) -> pathlib.Path:
  """Makes a local folder of this name, or of this name and a number if others, perhaps at this moment, have made one.

  Raises:
    UserError: it cannot be made.
  """
  check_checkpoints_can_be_kept(path, "--workdir")
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


@functools.cache
def _client():
  """The file system of all buckets: the instance that epath uses, too."""
  # For zonal buckets and real folders, which we do not use; it asks another service, with other rights, about each
  # bucket.
  os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  import fsspec  # pylint: disable=g-import-not-at-top
  import gcsfs  # noqa: F401  # pylint: disable=g-import-not-at-top,unused-import

  # They write tracebacks and warnings of what reaches us as exceptions besides.
  for name in ("fsspec.prefetcher", "gcsfs", "google.auth"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  # A listing that is kept would not show what other processes have written since.
  fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
  return fsspec.filesystem("gcs", finalize_on_close=True)


@contextlib.contextmanager
def reaching(what: str, kept: str = ""):
  """Turns what goes wrong on the way to a bucket, or to a local folder in its place, into one line.

  Args:
    what: the path, for the message.
    kept: added to the message.
  """
  try:
    yield
  except UserError:
    raise  # has said all there is to say
  except Exception as e:  # gcsfs raises whatever HTTP, Google's authentication or the disk trips first.
    if "gs://" not in what:
      if isinstance(e, OSError):
        raise errors.explained(f"{what}: cannot be used", e) from e
      raise
    problem = _problem(e)
    raise (UserError if problem else TryAgain)(f"{what}: {problem or _unreachable(e)}{kept}") from e


def _unreachable(error: Exception) -> str:
  """What may have passed when the same command is started again."""
  reason = in_one_line(error)
  return f"the bucket cannot be reached ({reason[:200]}); check the network and start the same command again"


def _problem(error: Exception) -> str | None:
  """What is wrong, and what to do, where a person has to do something."""
  reason, cause = in_one_line(error), errors.cause_of(error)
  if cause.kind is errors.Kind.SPACE:
    return f"no space on the local disk ({cause.words}); free some, or set TMPDIR and XDG_CACHE_HOME"
  if cause.path or cause.kind is errors.Kind.OPEN_FILES:  # of this machine
    return "; ".join(filter(None, (f"{cause.path}: {cause.words}".removeprefix(": "), cause.advice)))
  if isinstance(error, FileNotFoundError):
    return ("not found; if there is no such bucket, make it: gcloud storage buckets create gs://BUCKET "
            "--location=REGION")
  if vars(error).get("code") == 401:  # of gcsfs; others have properties of this name
    return (f"no valid Google Cloud credentials ({reason[:200]}); run `gcloud auth application-default login`, or give "
            "this machine a service account")
  if reason.startswith("Forbidden:"):
    # After the address, the server's own words.
    return (f"refused ({' '.join(reason.split()[2:])[:200]}); give this account the role roles/storage.objectAdmin on "
            "the bucket")
  return None


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
    self.path = user_path(path, flag)
    self.checkpoints = self.path / "checkpoints"
    remote = is_remote(self.path)
    # Not only in the main process: each of them writes its part of the checkpoints.
    if remote:
      _check_writable(self.path, flag)
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
    distributed.tidy_up.append(self._abandon)

  def _make_scratch(self, flag: str) -> pathlib.Path:
    """A temporary folder that has what a run goes on from."""
    try:
      local = pathlib.Path(tempfile.mkdtemp(prefix="trm_jax-"))
    except OSError as e:
      raise errors.explained(f"{flag}={self.path}: no temporary folder for its small files", e, "set TMPDIR") from e
    try:
      for name in _RESUMED:
        with reaching(str(self.path / name)):
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
        with reaching(str(self.path)):
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
      with reaching(str(self.path)):
        self._owned.check()
    if not self._uploads:
      return
    with self._lock:
      changed = {file: _stamp(file) for file in self.local.rglob("*") if file.suffix != ".tmp" and file.is_file()}
      changed = {file: stamp for file, stamp in changed.items() if self._uploaded.get(file) != stamp}
      with reaching(str(self.path), kept=f"; the newest records and results are in {self.local}"):
        # One call, so that the files travel side by side.
        _client().pipe({f"{self.path}/{file.relative_to(self.local)}": file.read_bytes() for file in changed})
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
      distributed.tidy_up.remove(self._abandon)
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
  if is_remote(folder):
    with reaching(what):
      return lock.ObjectLock(str(folder), what, _client())
  try:
    return lock.FileLock(pathlib.Path(folder), what)
  except OSError as e:
    raise errors.explained(f"{what}: cannot write here", e, "name another folder") from e


def holder(folder: epath.Path) -> lock.Owner | None:
  """The process that owns a folder and writes there now, if one does.

  Raises:
    UserError: that cannot be found out.
  """
  if is_remote(folder):
    with reaching(str(folder)):
      return lock.holder_of_object(str(folder), _client())
  try:
    return lock.holder_of_file(pathlib.Path(folder))
  except OSError as e:
    raise errors.explained(f"{folder}: cannot be read", e) from e


def _stamp(file: pathlib.Path) -> tuple[int, int]:
  """Differs whenever the file has been written."""
  stat = file.stat()
  return stat.st_mtime_ns, stat.st_size


def _check_writable(folder: epath.Path, flag: str) -> None:
  """Writes an object and deletes it."""
  # A name of its own: a bucket takes one write a second to the same object, and a job has many processes.
  probe = f"{folder}/.writable-{uuid.uuid4().hex}"
  with reaching(f"{flag}={folder}"):
    try:
      # One question: what other processes write there for a moment makes it a folder for that moment.
      is_object = _client().info(str(folder))["type"] == "file"
    except FileNotFoundError:
      is_object = False
    if not is_object:
      _client().pipe_file(probe, b"")
      _client().rm_file(probe)
  if is_object:
    raise UserError(f"{flag}={folder}: cannot write here (this is an object, not a folder); name another folder")


def cache_folder() -> pathlib.Path:
  """Where this machine keeps what can be copied or made again; it may be deleted when nothing runs."""
  return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trm_jax"


def names(folder: epath.Path) -> list[str]:
  """The names of the objects in a bucket's folder, without those in folders in it; none where there is no such folder.

  Raises:
    UserError: the bucket refused or cannot be reached.
  """
  return sorted(_objects(folder))


def _objects(folder: epath.Path) -> dict[str, dict[str, Any]]:
  """By name: size, crc32c (base64), …"""
  with reaching(str(folder)):
    try:
      entries = _client().ls(str(folder), detail=True)
    except FileNotFoundError:
      return {}
  # The listing of an object is the object itself.
  inside = f"{str(folder).removeprefix('gs://')}/"
  return {entry["name"].removeprefix(inside): entry
          for entry in entries if entry["type"] == "file" and entry["name"].startswith(inside)}


def local_copy(folder: epath.Path, wanted: Sequence[str]) -> pathlib.Path:
  """Files of a bucket's folder, copied to this machine, once, whatever the number of processes that ask for them.

  A file is used only if its size and CRC32C are those that the bucket reports now; otherwise it is copied anew.

  Args:
    folder: in a bucket.
    wanted: names of files in it.

  Returns:
    The local folder that has them, in `cache_folder()`.

  Raises:
    UserError: a file is missing, the bucket refused, or the disk is full.
    TryAgain: a file arrives damaged, or the bucket cannot be reached.
  """
  target = cache_folder() / str(folder).removeprefix("gs://")
  files.make_folder(target, f"the copy of {folder}")
  with lock.one_at_a_time(target / ".lock", f"copying {folder}", "set XDG_CACHE_HOME to a folder on a local disk"):
    objects = _objects(folder)
    for name in wanted:
      if name not in objects:
        raise UserError(f"{folder / name}: there is no such object")
    missing = {name: objects[name] for name in wanted if not _is_copy(target / name, objects[name])}
    if missing:
      _copy(folder, missing, target)
  return target


def publish(local: pathlib.Path, folder: epath.Path, *, last: str) -> None:
  """Copies the files of a local folder to a bucket's folder.

  Args:
    local: the folder; what is in folders in it is not copied.
    folder: in a bucket.
    last: name of the file that is written when all others are there, by which others know that they are.

  Raises:
    UserError: the bucket refused.
    TryAgain: it cannot be reached.
  """
  progress = logs.Progress(f"copying {local} to {folder}")
  sources = sorted(filter(pathlib.Path.is_file, local.iterdir()), key=lambda file: file.name == last)
  size, total = 0, sum(file.stat().st_size for file in sources)
  for file in sources:
    with reaching(str(folder / file.name)):
      _client().put_file(str(file), f"{folder}/{file.name}")
    size += file.stat().st_size
    progress(size, total)
  progress.done(f"{total / 2**20:,.1f} MiB")


def beside(run: os.PathLike | str, name: str) -> epath.Path:
  """A folder beside a run's, for what the runs there share.

  Args:
    run: folder of the run; what "--workdir" names.
    name: of the folder. A dot before it hides it from whatever lists the runs.

  Raises:
    UserError: see user_path.
  """
  folder = user_path(run, "--workdir")
  # A bucket has nothing beside it.
  return (folder if os.fspath(folder.parent) == "gs://" else folder.parent) / f".{name}"


def _copy(folder: epath.Path, objects: dict[str, dict[str, Any]], target: pathlib.Path) -> None:
  """Downloads objects and checks them, showing progress."""
  import fsspec  # pylint: disable=g-import-not-at-top

  progress = logs.Progress(f"copying {folder}")
  size, total = 0, sum(entry["size"] for entry in objects.values())
  for name, entry in objects.items():
    partial = target / f"{name}.partial"
    # Bytes of the file so far, from its size and their number.
    count = fsspec.Callback(hooks={"progress": lambda _, n, before=size: progress(before + n, total)})
    with reaching(str(folder / name)):
      _client().get_file(f"{folder}/{name}", str(partial), callback=count)
    if not _is_copy(partial, entry):
      partial.unlink()
      raise TryAgain(f"{folder / name}: arrived damaged, or was changed while it was copied; start the same command "
                     "again")
    os.replace(partial, target / name)
    size += entry["size"]
  progress.done(f"{total / 2**20:,.1f} MiB, to {target}")


def _is_copy(file: pathlib.Path, entry: dict[str, Any]) -> bool:
  """Whether a local file has the object's size and checksum."""
  import google_crc32c  # pylint: disable=g-import-not-at-top

  if not file.is_file() or file.stat().st_size != entry["size"]:
    return False
  checksum = google_crc32c.Checksum()
  with file.open("rb") as f:
    for _ in checksum.consume(f, 1 << 24):
      pass
  return base64.b64encode(checksum.digest()).decode() == entry["crc32c"]
