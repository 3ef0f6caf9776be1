# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What the command-line programs share: a person's mistake ends in one line and exit status 2."""

from collections.abc import Callable
import os
import sys
import traceback
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging

from trm_jax import distributed
from trm_jax import errors
from trm_jax.errors import UserError


def run(main: Callable[[list[str]], None]) -> None:
  """absl's app.run, with one line instead of a traceback for what the user can mend."""

  def guarded(argv):
    # Orbax and TFDS say at length, and warn of, what our own lines say shortly. Other libraries' warnings stay.
    logging.set_verbosity(logging.WARNING)
    # Their errors reach us as exceptions besides.
    logging.get_absl_logger().setLevel("CRITICAL")
    sys.unraisablehook = _unraisable
    try:
      main(argv)
    except UserError as e:
      fail(str(e), e, status=e.status)
    except distributed.Interrupted as e:
      sys.exit(e.status)
    except KeyboardInterrupt:
      distributed.leave(130)  # as the shell says of a program that ended by Ctrl-C
    except Exception as e:
      cause = errors.cause_of(e)
      if cause.outside:
        line = errors.explained(f"{cause.path and f'{cause.path}: '}the program cannot go on", e)
        fail(str(line), status=line.status)
      traceback.print_exc()
      distributed.leave(1, e)

  app.run(guarded, flags_parser=_parse)


def _unraisable(unraisable) -> None:
  """Passes over what Orbax's writes still in flight say after one of them has failed and been reported."""
  if str(unraisable.exc_value) != "Event loop is closed":
    sys.__unraisablehook__(unraisable)


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; a config file runs here, so its mistakes end here."""
  try:
    if "config" in flags.FLAGS:
      _check_config_flags(argv[1:])
    return flags.FLAGS(argv)
  except flags.Error as e:
    fail(_from_config_file(e) or f"{e}; --help lists the flags")
  except UserError as e:
    fail(str(e))
  except AttributeError as e:
    if e.name != "get_config":
      raise
    fail(f"--config: the file has no get_config(); see configs/sudoku.py for how it looks ({e})")
  except SyntaxError as e:  # of the config file: everything else has been imported
    fail(f"{e.filename}, line {e.lineno}: {e.msg}")


def _check_config_flags(arguments: list[str]) -> None:
  """Refuses what ml_collections would meet with a traceback: a config file or a field that does not exist."""
  for i, argument in enumerate(arguments):
    flag, equals, value = argument.partition("=")
    name = flag.lstrip("-").removeprefix("no") if flag.startswith("-") else ""
    if name == "config":
      path = (value if equals else "".join(arguments[i + 1 : i + 2])).partition(":")[0]
      if not os.path.isfile(path):
        raise UserError(f"--config={path}: no such file; try --config=configs/sudoku.py:help")
    elif name.startswith("config."):
      from trm_jax import config  # pylint: disable=g-import-not-at-top
      config.check_field(name.removeprefix("config."))


def _from_config_file(error: BaseException | None) -> str | None:
  """What a config file objected to, before ml_collections and absl wrapped it up together with its traceback."""
  message = None
  while error:
    if isinstance(error, UserError):
      message = str(error)
    error = error.__context__
  return message


def fail(message: str, error: BaseException | None = None, *, status: int = 2) -> NoReturn:
  """Prints the line and exits, because of an error."""
  print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
  distributed.leave(status, error)


def no_arguments(argv: list[str]) -> None:
  """Refuses what is left over after the flags: most often a flag without its dashes."""
  if len(argv) > 1:
    raise UserError(f"unknown argument {argv[1]!r}: everything is a flag, --name=value; --help lists them")
