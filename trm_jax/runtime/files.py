# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Folders and files that programs read and write."""

from collections.abc import Iterator
import contextlib
import errno
import functools
import json
import os
import pathlib
import tempfile
from typing import Any, BinaryIO
import uuid
import zlib

from etils import epath

from trm_jax import errors
from trm_jax.errors import Damaged, UserError
from trm_jax.runtime import signals


def make_folder(path: pathlib.Path, flag: str) -> None:
  """Makes a folder, with its parents, and checks that it can be written.

  Args:
    path: the folder.
    flag: that named it, for the message.

  Raises:
    UserError: it cannot be made or written.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    # Without a name where the file system can do that: the processes of a job check the same folder at the same time.
    with tempfile.TemporaryFile(dir=path) as probe:
      probe.write(bytes(4096))
      probe.flush()
      os.fsync(probe.fileno())
  except OSError as e:
    raise errors.explained(f"{flag}={path}: cannot write here", e, "name another folder") from e


@contextlib.contextmanager
def reading(path: pathlib.Path, missing: str) -> Iterator[BinaryIO]:
  """Opens a file to be read, and makes sure at the end that nobody wrote it meanwhile.

  Not as a memory map: where a mapped file becomes shorter, or its disk fails, the process dies of SIGBUS.

  Args:
    path: the file.
    missing: what to say where there is no such file.

  Raises:
    UserError: it is missing or cannot be read.
    TryAgain: it was written while it was read, which is then the cause of whatever was found wrong with its contents.
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
  """Differs whenever the file has been written."""
  stat = os.fstat(file.fileno())
  return stat.st_size, stat.st_mtime_ns


def fingerprint(folder: pathlib.Path, pattern: str) -> int:
  """32 bits of the names and contents of files in a folder and those below it."""
  crc = 0
  for path in sorted(folder.rglob(pattern)):
    crc = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(folder)).encode(), crc))
  return crc


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a new file that takes the place of `path` in one move when the block ends, complete and on the disk.

  Whoever reads `path`, also after a crash of the program or of the machine, finds the old file or the new one.

  Args:
    path: of the file to be written; its folder exists.

  Raises:
    UserError: it cannot be written; what was there is as it was.
  """
  # A name of its own: two programs that write the same file do not write into each other's.
  new = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex}.tmp")
  discard = functools.partial(new.unlink, missing_ok=True)
  signals.tidy_up.append(discard)
  try:
    try:
      with new.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
      os.replace(new, path)
    except BaseException:
      discard()
      raise
    _sync_folder(path.parent)
  except OSError as e:
    raise errors.explained(f"{path}: cannot be written", e, "choose another place") from e
  finally:
    signals.tidy_up.remove(discard)


def _sync_folder(folder: pathlib.Path) -> None:
  """Has the disk keep the names of the files in a folder."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as e:
    if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that have no such thing
      raise
  finally:
    os.close(descriptor)


def replace_text(path: pathlib.Path, text: str) -> None:
  """`replacing` with a text, in UTF-8."""
  with replacing(path) as file:
    file.write(text.encode())


def write_json(path: pathlib.Path, value: Any, *, indent: int | None = 2) -> None:
  """`replace_text` with JSON, indented or on one line."""
  replace_text(path, json.dumps(value, indent=indent) + "\n")


def read_bytes(path: epath.PathLike) -> bytes:
  """The content of a file, wherever it is.

  Raises:
    UserError: it is missing or cannot be read.
  """
  try:
    return epath.Path(path).read_bytes()
  except FileNotFoundError as e:
    raise UserError(f"{path}: no such file") from e
  except OSError as e:
    if e.errno is None:  # of a bucket; see buckets.reaching
      raise
    raise errors.explained(f"{path}: cannot be read", e) from e


def read_json(path: epath.PathLike, kind: type = dict) -> Any:
  """The JSON object in a file, wherever it is; or a list, where that is the kind.

  Raises:
    UserError: it is missing or cannot be read; Damaged: it is empty, cut off, not JSON, JSON of something else, or has
      a name twice in one object.
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
  except (ValueError, RecursionError) as e:  # numbers of thousands of digits, thousands of brackets
    raise Damaged(f"{path}: is not JSON that can be read ({errors.in_one_line(e)})") from e
  if not isinstance(value, kind):
    wanted = "object" if kind is dict else kind.__name__
    raise Damaged(f"{path}: is not a JSON {wanted} but {type(value).__name__}")
  return value


def _without_twins(pairs: list[tuple[str, Any]], path: epath.PathLike) -> dict[str, Any]:
  """A JSON object. Python itself takes the last of several values with one name and says nothing."""
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    twin = next(name for name in names if names.count(name) > 1)
    raise Damaged(f"{path}: has {twin!r} more than once")
  return value


def cache_folder() -> pathlib.Path:
  """Where this machine keeps what can be copied or made again; it may be deleted when nothing runs."""
  return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trm_jax"
