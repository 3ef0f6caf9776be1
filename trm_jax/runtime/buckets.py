# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Folders in Google Cloud Storage, gs://BUCKET/FOLDER. They need the extra `gcp`.

gcsfs reaches the buckets, and through it so does epath, and with it Orbax, without TensorFlow. Puzzles are copied to
this machine and read here (`local_copy`); Orbax writes checkpoints straight to the bucket.
"""

import base64
from collections.abc import Sequence
import contextlib
import functools
import logging
import os
import pathlib
from typing import Any
import uuid

from etils import epath
from etils.epath import backend

from trm_jax import errors
from trm_jax.errors import TryAgain, UserError, in_one_line
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import lock


def is_remote(path: os.PathLike | str) -> bool:
  """Whether a path lies in a bucket."""
  return os.fspath(path).startswith("gs://")


@functools.cache
def client():
  """The file system of all buckets; epath uses the same instance."""
  # The support of zonal buckets and real folders, which we do not use, asks another service about each bucket, and
  # needs other rights for that.
  os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  import gcsfs  # noqa: F401  # pylint: disable=g-import-not-at-top,unused-import

  # They log tracebacks and warnings of errors that we also get as exceptions.
  for name in ("fsspec.prefetcher", "gcsfs", "google.auth"):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  file_system = backend.fsspec_backend.fs("gs://")
  # A cached listing would not show files that other processes have written since. epath has one file system for all
  # threads, which may exist already, so that an option for new file systems would come too late.
  file_system.dircache.use_listings_cache = False
  file_system.dircache.clear()
  return file_system


@contextlib.contextmanager
def reaching(what: str, kept: str = ""):
  """Turns an error on the way to a bucket, or to a local folder in its place, into a message of one line.

  Args:
    what: the path, for the message.
    kept: text that is added to the message.
  """
  try:
    yield
  except UserError:
    raise  # its message is complete
  except Exception as e:  # gcsfs passes on any error of HTTP, Google's authentication or the disk
    if "gs://" not in what:
      if isinstance(e, OSError):
        raise errors.explained(f"{what}: cannot be used", e) from e
      raise
    problem = _problem(e)
    raise (UserError if problem else TryAgain)(f"{what}: {problem or _unreachable(e)}{kept}") from e


def _unreachable(error: Exception) -> str:
  """The message for an error that may be gone when the same command is started again."""
  reason = in_one_line(error)
  return f"the bucket cannot be reached ({reason[:200]}); check the network and start the same command again"


def _problem(error: Exception) -> str | None:
  """What is wrong and what to do, if a person has to do something; otherwise None."""
  reason, cause = in_one_line(error), errors.cause_of(error)
  if cause.kind is errors.Kind.SPACE:
    return f"no space on the local disk ({cause.words}); free some, or set TMPDIR and XDG_CACHE_HOME"
  if cause.path or cause.kind is errors.Kind.OPEN_FILES:  # the error is this machine's
    return "; ".join(filter(None, (f"{cause.path}: {cause.words}".removeprefix(": "), cause.advice)))
  if isinstance(error, FileNotFoundError):
    return ("not found; if there is no such bucket, make it: gcloud storage buckets create gs://BUCKET "
            "--location=REGION")
  if vars(error).get("code") == 401:  # gcsfs sets this attribute; other errors have properties of this name
    return (f"no valid Google Cloud credentials ({reason[:200]}); run `gcloud auth application-default login`, or give "
            "this machine a service account")
  if reason.startswith("Forbidden:"):
    # The server's own words follow the address.
    return (f"refused ({' '.join(reason.split()[2:])[:200]}); give this account the role roles/storage.objectAdmin on "
            "the bucket")
  return None


def check_writable(folder: epath.Path, flag: str) -> None:
  """Checks that a folder can be written, by writing an object and deleting it.

  Raises:
    UserError: it cannot be written.
  """
  # Each process uses a name of its own, since a bucket takes only one write a second to the same object.
  probe = f"{folder}/.writable-{uuid.uuid4().hex}"
  with reaching(f"{flag}={folder}"):
    try:
      # It asks only once, since an object that another process writes for a moment makes this a folder for that moment.
      is_object = client().info(str(folder))["type"] == "file"
    except FileNotFoundError:
      is_object = False
    if not is_object:
      client().pipe_file(probe, b"")
      client().rm_file(probe)
  if is_object:
    raise UserError(f"{flag}={folder}: cannot write here (this is an object, not a folder); name another folder")


def names(folder: epath.Path) -> list[str]:
  """The names of the objects directly in a bucket's folder; none if there is no such folder.

  Raises:
    UserError: the bucket refused or cannot be reached.
  """
  return sorted(_objects(folder))


def _objects(folder: epath.Path) -> dict[str, dict[str, Any]]:
  """The objects' properties by name: size, crc32c (base64), …"""
  with reaching(str(folder)):
    try:
      entries = client().ls(str(folder), detail=True)
    except FileNotFoundError:
      return {}
  # A listing of an object has the object itself as its only entry.
  inside = f"{str(folder).removeprefix('gs://')}/"
  return {entry["name"].removeprefix(inside): entry
          for entry in entries if entry["type"] == "file" and entry["name"].startswith(inside)}


def local_copy(folder: epath.Path, wanted: Sequence[str]) -> pathlib.Path:
  """Copies files of a bucket's folder to this machine, once for all processes that ask for them.

  A file is reused if its size and CRC32C are those that the bucket reports now; otherwise it is copied again.

  Args:
    folder: in a bucket.
    wanted: names of files in it.

  Returns:
    The local folder that contains them, in `files.cache_folder()`.

  Raises:
    UserError: a file is missing, the bucket refused, or the disk is full.
    TryAgain: a file arrived damaged, or the bucket cannot be reached.
  """
  target = files.cache_folder() / str(folder).removeprefix("gs://")
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
    local: the folder; folders in it are not copied.
    folder: in a bucket.
    last: name of the file that is written last; its presence shows that all files are there.

  Raises:
    UserError: the bucket refused.
    TryAgain: it cannot be reached.
  """
  progress = console.Progress(f"copying {local} to {folder}")
  sources = sorted(filter(pathlib.Path.is_file, local.iterdir()), key=lambda file: file.name == last)
  size, total = 0, sum(file.stat().st_size for file in sources)
  for file in sources:
    with reaching(str(folder / file.name)):
      client().put_file(str(file), f"{folder}/{file.name}")
    size += file.stat().st_size
    progress(size, total)
  progress.done(f"{total / 2**20:,.1f} MiB")


def _copy(folder: epath.Path, objects: dict[str, dict[str, Any]], target: pathlib.Path) -> None:
  """Downloads objects and checks them, showing progress."""
  import fsspec  # pylint: disable=g-import-not-at-top

  progress = console.Progress(f"copying {folder}")
  size, total = 0, sum(entry["size"] for entry in objects.values())
  for name, entry in objects.items():
    partial = target / f"{name}.partial"
    # The hook is called with the file's size and the number of bytes copied so far.
    count = fsspec.Callback(hooks={"progress": lambda _, n, before=size: progress(before + n, total)})
    with reaching(str(folder / name)):
      client().get_file(f"{folder}/{name}", str(partial), callback=count)
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
