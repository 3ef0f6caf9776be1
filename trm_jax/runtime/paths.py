# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Checks the paths that people name: local ones, and gs://BUCKET/FOLDER."""

import os
import pathlib
import re

from etils import epath

from trm_jax.errors import UserError
from trm_jax.runtime import buckets


_BUCKET_PATH = re.compile(r"gs://(?P<bucket>[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9])(/.*)?")
# Characters that Orbax takes for a pattern, turns into another path, or passes to libraries that refuse them. Most of
# these errors would show only when a checkpoint is read, if at all.
_NOT_FOR_CHECKPOINTS = re.compile(r"[\[*?\\\x00-\x1f\x7f\ud800-\udfff]|gs:(?=/|$)")


def user_path(path: os.PathLike | str, flag: str) -> epath.Path:
  """Turns a path that a person named into an epath.Path; all such paths pass through here.

  Args:
    path: a local path, in which ~ is the home folder, or gs://BUCKET/FOLDER.
    flag: the flag that named it, for messages.

  Raises:
    UserError: the path is empty or of another kind; or gcsfs is not installed; or the bucket is missing, refused or
      cannot be reached.
  """
  text = os.fspath(path)
  if not text.strip():
    raise UserError(f"{flag}={text}: is empty, perhaps because a variable is not set; name a path")
  if not re.match(r"[a-z0-9]+:/", text, re.IGNORECASE):
    return epath.Path(os.path.expanduser(text))
  match = _BUCKET_PATH.fullmatch(text)
  if not match:
    raise UserError(f"{flag}={text}: not a usable path; give a local one or gs://BUCKET/FOLDER")
  if ".." in text.split("/"):
    raise UserError(f"{flag}={text}: '..' leads nowhere in a bucket; name the folder itself")
  try:
    client = buckets.client()
  except ImportError as e:
    raise UserError(f'{flag}={text}: buckets need {e.name}, which is not installed; pip install -e ".[gcp]"') from e
  with buckets.reaching(f"{flag}={text}"):
    client.call("GET", "b/{}/o", match["bucket"], maxResults=1)
  return epath.Path(text)


def absolute(path: os.PathLike | str) -> str:
  """Makes a local path absolute, for libraries that need that; returns a path in a bucket unchanged."""
  if buckets.is_remote(path):
    return os.fspath(path)
  # With "..", links are followed, since the folder above a symbolic link is not the one that the text suggests. Without
  # it they are not, since a link may serve to keep a name out of the path (see `check_checkpoints_can_be_kept`).
  return os.path.realpath(path) if ".." in pathlib.PurePath(path).parts else os.path.abspath(path)


def check_checkpoints_can_be_kept(path: os.PathLike | str, flag: str) -> None:
  """Makes sure that Orbax can read again what it writes in a folder.

  Args:
    path: of a run's folder, as a person named it.
    flag: the flag that named it, for messages.

  Raises:
    UserError: the path contains a character that Orbax, or a library below it, does not take literally.
  """
  text = os.fspath(path)
  found = _NOT_FOR_CHECKPOINTS.search(text.removeprefix("gs://"))
  if found:
    # A closing bracket is replaced along with its opening one, though alone it would do no harm.
    kept = (_NOT_FOR_CHECKPOINTS.sub("-", part.replace("]", "-")).strip("-") for part in text.split("/"))
    parts = [new or old and "x" for new, old in zip(kept, text.split("/"))]
    other = "gs://" + "/".join(parts[2:]) if buckets.is_remote(path) else "/".join(parts)
    raise UserError(f"{flag}={text}: checkpoints cannot be kept in a folder with {found[0]!r} in its path; choose "
                    f"another name, e.g. {flag}={other}")
  found = None if buckets.is_remote(path) else _NOT_FOR_CHECKPOINTS.search(absolute(path))
  if found:
    raise UserError(f"{flag}={text}: checkpoints cannot be kept in a folder with {found[0]!r} in its path, which is "
                    f"{absolute(path)}; name another folder, or a symbolic link to it")


def beside(run: os.PathLike | str, name: str) -> epath.Path:
  """A folder beside a run's, for files that the runs there share.

  Args:
    run: folder of the run, as named by "--workdir".
    name: of the folder, without the dot that hides it in lists of runs.

  Raises:
    UserError: see user_path.
  """
  folder = user_path(run, "--workdir")
  # There is nothing beside a bucket, so the folder lies in it.
  return (folder if os.fspath(folder.parent) == "gs://" else folder.parent) / f".{name}"
