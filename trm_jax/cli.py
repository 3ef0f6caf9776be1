# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What the command-line programs share: a person's mistake ends in one line and exit status 2."""

from collections.abc import Callable
import os
import pathlib
import sys

from absl import app
from absl import flags

from trm_jax.errors import UserError


def run(main: Callable[[list[str]], None]) -> None:
  """absl's app.run, with one line instead of a traceback for what the user can mend."""

  def guarded(argv):
    try:
      main(argv)
    except UserError as e:
      fail(str(e))
    except KeyboardInterrupt:
      print("\nstopped; the same command goes on from the newest checkpoint", file=sys.stderr)
      sys.exit(130)

  app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; a config file runs here, so its mistakes end here."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as e:
    fail(f"{e}; --help lists the flags")
  except UserError as e:
    fail(str(e))


def fail(message: str) -> None:
  """Prints the line and exits."""
  print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
  sys.exit(2)


def no_arguments(argv: list[str]) -> None:
  """Refuses what is left over after the flags: most often a flag without its dashes."""
  if len(argv) > 1:
    raise UserError(f"unknown argument {argv[1]!r}: everything is a flag, --name=value; --help lists them")


def make_folder(path: pathlib.Path, flag: str) -> None:
  """Makes a folder, with its parents, and checks that it can be written.

  Raises:
    UserError: it cannot.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise UserError(f"{flag}={path}: cannot make this folder ({e.strerror}); name another") from e
  if not os.access(path, os.W_OK):
    raise UserError(f"{flag}={path}: not writable; name another")
