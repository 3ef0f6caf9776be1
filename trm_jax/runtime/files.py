# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads and writes files and folders safely."""

from collections.abc import Callable, Iterator
import contextlib
import errno
import functools
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, BinaryIO
import uuid
import zlib

from etils import epath

from trm_jax import errors
from trm_jax.errors import Damaged, UserError
from trm_jax.runtime import signals


def make_folder(path: pathlib.Path, flag: str) -> None:
  """Makes a folder and its parents, and checks that it can be written.

  Args:
    path: the folder.
    flag: the flag that named it, for the message.

  Raises:
    UserError: the folder cannot be made or written.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    # The file is nameless if the file system allows that, since the processes of a job check a folder at the same time.
    with tempfile.TemporaryFile(dir=path) as probe:
      probe.write(bytes(4096))
      probe.flush()
      os.fsync(probe.fileno())
  except OSError as e:
    raise errors.explained(f"{flag}={path}: cannot write here", e, "name another folder") from e


@contextlib.contextmanager
def reading(path: pathlib.Path, missing: str) -> Iterator[BinaryIO]:
  """Opens a file for reading, and makes sure at the end that it was not written meanwhile.

  It is not memory-mapped: if a mapped file becomes shorter, or its disk fails, the process dies of SIGBUS.

  Args:
    path: the file.
    missing: the rest of the message if there is no such file.

  Raises:
    UserError: the file is missing or cannot be read.
    TryAgain: it was written while it was read, which then explains any error in its contents.
  """
  try:
    with path.open("rb") as file:
      before = _written(file)
      problem = None
      try:
        yield file
      except errors.UserError as e:
        problem = e
      if _written(file) != before:
        raise errors.TryAgain(
            f"{path}: was written while it was read; start the same command again once it is complete") from problem
      if problem:
        raise problem
  except FileNotFoundError as e:
    raise errors.UserError(f"{path}: no such file; {missing}") from e
  except OSError as e:
    raise errors.explained(f"{path}: cannot be read", e) from e


def _written(file: BinaryIO) -> tuple[int, int]:
  """A value that changes whenever the file is written."""
  stat = os.fstat(file.fileno())
  return stat.st_size, stat.st_mtime_ns


def fingerprint(folder: pathlib.Path, pattern: str) -> int:
  """32 bits that depend on the names and contents of the files in a folder and below it."""
  crc = 0
  for path in sorted(folder.rglob(pattern)):
    crc = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(folder)).encode(), crc))
  return crc


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a new file that atomically replaces `path` when the block ends, once it is complete and on the disk.

  A reader of `path` finds the old file or the new one, even after a crash of the program or of the machine.

  Args:
    path: of the file to be written; its folder exists.

  Raises:
    UserError: the file cannot be written; then the old one is unchanged.
  """
  try:
    with _taking_the_name(path, lambda new: new.unlink(missing_ok=True)) as new, new.open("xb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
  except OSError as e:
    raise errors.explained(f"{path}: cannot be written", e, "choose another place") from e


@contextlib.contextmanager
def new_folder(path: pathlib.Path, flag: str) -> Iterator[pathlib.Path]:
  """Makes a folder beside `path`, which takes that name when the block ends, once it is complete.

  Args:
    path: of the folder; there is none, or an empty one.
    flag: the flag that named it, for messages.

  Raises:
    UserError: the folder cannot be made, or `path` is a file or has files by now; then it is unchanged.
  """
  target = path.resolve()  # not a link
  make_folder(target.parent, flag)
  try:
    with _taking_the_name(target, functools.partial(shutil.rmtree, ignore_errors=True)) as new:
      new.mkdir()
      yield new
  except OSError as e:
    raise errors.explained(f"{flag}={path}: cannot be written", e, "name another folder") from e


@contextlib.contextmanager
def _taking_the_name(path: pathlib.Path, remove: Callable[[pathlib.Path], None]) -> Iterator[pathlib.Path]:
  """Yields a name beside `path` for what takes the name `path` when the block ends; it is removed if that fails.

  Raises:
    OSError: of the block, or `path` cannot be replaced, as a folder that has files cannot.
  """
  # The name is unique, so that two programs that write the same file do not interfere.
  new = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex}.tmp")
  discard = functools.partial(remove, new)
  signals.tidy_up.append(discard)
  try:
    try:
      yield new
      os.replace(new, path)
    except BaseException:
      discard()
      raise
    _sync_folder(path.parent)
  finally:
    signals.tidy_up.remove(discard)


def _sync_folder(folder: pathlib.Path) -> None:
  """Makes sure that the names of the files in a folder are on the disk."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as e:
    if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system cannot do that
      raise
  finally:
    os.close(descriptor)


def replace_text(path: pathlib.Path, text: str) -> None:
  """Writes a text in UTF-8, by `replacing`."""
  with replacing(path) as file:
    file.write(text.encode())


def write_json(path: pathlib.Path, value: Any, *, indent: int | None = 2) -> None:
  """Writes JSON, indented or on one line, by `replace_text`."""
  replace_text(path, json.dumps(value, indent=indent) + "\n")


def read_bytes(path: epath.PathLike) -> bytes:
  """The content of a file, local or in a bucket.

  Raises:
    UserError: it is missing or cannot be read.
  """
  try:
    return epath.Path(path).read_bytes()
  except FileNotFoundError as e:
    raise UserError(f"{path}: no such file") from e
  except OSError as e:
    if e.errno is None:  # the error is a bucket's; see buckets.reaching
      raise
    raise errors.explained(f"{path}: cannot be read", e) from e


def read_json(path: epath.PathLike, kind: type = dict) -> Any:
  """The JSON object in a file, local or in a bucket; or a list, if `kind` says so.

  Raises:
    UserError: the file is missing or cannot be read.
    Damaged: it is empty, cut off, not JSON, of another kind, or repeats a name in one object.
  """
  content = read_bytes(path)
  if not content.strip():
    raise Damaged(f"{path}: is empty")
  try:
    value = json.loads(content, object_pairs_hook=lambda pairs: _without_twins(pairs, path))
  except Damaged:
    raise
  except UnicodeDecodeError as e:
    raise Damaged(f"{path}: is not text ({e.reason} at byte {e.start:,})") from e
  except json.JSONDecodeError as e:
    if not e.doc[e.pos :].strip() or e.msg.startswith("Unterminated string"):
      raise Damaged(f"{path}: is cut off in line {e.lineno}") from e
    raise Damaged(f"{path}, line {e.lineno}: is not JSON ({e.msg})") from e
  except (ValueError, RecursionError) as e:  # a number with thousands of digits, or thousands of brackets
    raise Damaged(f"{path}: is not JSON that can be read ({errors.in_one_line(e)})") from e
  if not isinstance(value, kind):
    wanted = "object" if kind is dict else kind.__name__
    raise Damaged(f"{path}: is not a JSON {wanted} but {type(value).__name__}")
  return value


def _without_twins(pairs: list[tuple[str, Any]], path: epath.PathLike) -> dict[str, Any]:
  """A JSON object whose names are all different. Python itself silently takes the last of several values."""
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    twin = next(name for name in names if names.count(name) > 1)
    raise Damaged(f"{path}: has {twin!r} more than once")
  return value


def cache_folder() -> pathlib.Path:
  """The folder for files that can be copied or made again; it may be deleted when no program runs."""
  return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trm_jax"
