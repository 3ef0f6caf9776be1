# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Folders and small files that programs write."""

import json
import os
import pathlib
import tempfile
import zlib
from typing import Any

from trm_jax import errors


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


def fingerprint(folder: pathlib.Path, pattern: str) -> int:
  """32 bits of the names and contents of files in a folder and those below it."""
  crc = 0
  for path in sorted(folder.rglob(pattern)):
    crc = zlib.crc32(path.read_bytes(), zlib.crc32(str(path.relative_to(folder)).encode(), crc))
  return crc


def replace_text(path: pathlib.Path, text: str) -> None:
  """Writes a whole file in one move: a reader, or a run killed in between, sees the old one or the new one."""
  new = path.with_name(path.name + ".tmp")
  new.write_text(text)
  os.replace(new, path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """`replace_text` with indented JSON."""
  replace_text(path, json.dumps(value, indent=2) + "\n")
