# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The common part of command-line programs: a user's mistake ends in one line and exit status 2."""

from collections.abc import Callable
import gc
import logging as standard_logging
import os
import pathlib
import re
import runpy
import shlex
import sys
import traceback
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging

from trm_jax import errors
from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import exit_status
from trm_jax.runtime import hosts
from trm_jax.runtime import malloc
from trm_jax.runtime import output
from trm_jax.runtime import signals


def run(main: Callable[[list[str]], None]) -> None:
  """absl's app.run, with one line instead of a traceback for errors that the user can correct.

  SIGTERM, SIGHUP and Ctrl-C end the program at once, unless it says otherwise (see signals.end_when_told). See
  output.protect for a standard output or standard error that is lost.
  """
  output.protect()
  signals.end_when_told()
  malloc.keep_freed_memory()
  # Tracing makes many objects that stay. By default Python would search them for garbage again and again, for 7 % of the
  # CPU time of a run of a few steps.
  gc.set_threshold(20_000, 20, 20)

  def guarded(argv):
    # Our one-line messages replace the logs of Orbax and TFDS. Other libraries' warnings stay.
    logging.set_verbosity(logging.WARNING)
    # The errors that these loggers report reach us as exceptions, too.
    for name in ("absl", "asyncio"):
      standard_logging.getLogger(name).setLevel("CRITICAL")
    sys.unraisablehook = _unraisable
    try:
      main(argv)
    except UserError as e:
      fail(str(e), e, status=e.status)
    except exit_status.Interrupted as e:
      exit_status.leave_together(e.status)
    except Exception as e:
      cause = errors.cause_of(e)
      line = _no_backend(e)
      if not line and cause.outside:
        line = errors.explained(f"{cause.path and f'{cause.path}: '}the program cannot go on", e)
      if not line and "trm_jax.tasks" in sys.modules:
        line = sys.modules["trm_jax.tasks"].mistake(e)
      if line:
        fail(str(line), status=line.status)
      traceback.print_exc()
      exit_status.leave(1, e)

  try:
    app.run(guarded, flags_parser=_parse)
  finally:
    try:
      sys.stdout.flush()  # Python's own flush at exit would complain about an output that is lost
    except UserError as e:
      fail(str(e))


# Words of a backend if another process uses, or used, the devices. libtpu: "The TPU is already in use by process with
# pid 7", "Device or resource busy" of /dev/vfio/0, "Operation not permitted" of /dev/accel0, its lock file; CUDA: "all
# CUDA-capable devices are busy or unavailable".
_HELD = re.compile(r"already in use|resource busy|lockfile|/dev/accel\d+ \(Operation not permitted|busy or unavailable")


def _no_backend(error: Exception) -> UserError | None:
  """The reason why JAX cannot use the devices of this machine; None if the error is another one.

  JAX initialises devices on first use, which is at a different place in each program.
  """
  platforms = os.environ.get("JAX_PLATFORMS")
  named = f"JAX_PLATFORMS={platforms}: " if platforms else ""
  text = errors.in_one_line(error)
  if isinstance(error, RuntimeError) and (found := re.match(r"Unable to initialize backend '(\w+)'", text)):
    reason = re.split(r" \((?:set JAX_PLATFORMS=|you may need to uninstall)", text)[0]
    if _HELD.search(reason):
      return TryAgain(f"{named}another process uses the devices of this machine, or did not release them ({reason})"
                      f"{_holder(reason)}; end it or wait for its end, and start the same command again")
    if found[1] == "tpu" and hosts.tpu_chips() and "known backends" not in reason:
      return TryAgain(f"{named}the TPU of this machine cannot be used now ({reason}); start the same command again; if "
                      "that fails in the same way, restart the machine or use another one")
  elif isinstance(error, AssertionError) and platforms and (
      traceback.extract_tb(error.__traceback__)[-1].filename.endswith("xla_bridge.py")):
    reason = "no plugin for it is installed, or this machine has no such device"  # JAX gives none
  else:
    return None
  if not platforms:
    return UserError(f"JAX cannot start ({reason})")
  return UserError(f"{named}JAX cannot use this platform here ({reason}); unset JAX_PLATFORMS to use what this machine "
                   "has, or install what the platform needs")


def _holder(reason: str) -> str:
  """The command of the process that uses the devices, if the reason has its number and we may see it; otherwise ""."""
  pid = re.search(r"process with pid (\d+)", reason)
  try:
    command = pathlib.Path(f"/proc/{pid[1]}/cmdline").read_bytes() if pid else b""
  except OSError:  # it has ended, or belongs to somebody whose processes are hidden
    return ""
  return f": {shlex.join(command.decode(errors='replace').split(chr(0))[:-1])}" if command else ""


def _unraisable(unraisable) -> None:
  """Ignores errors of Orbax's writes in flight after one of them has failed and been reported."""
  if str(unraisable.exc_value) != "Event loop is closed":
    sys.__unraisablehook__(unraisable)


def _parse(argv: list[str]) -> list[str]:
  """Parses flags. A config file runs here, so its errors are handled here."""
  path = None
  logging.set_verbosity(logging.ERROR)  # the messages below replace ml_collections' warnings
  try:
    _check_precision()
    if "config" in flags.FLAGS:
      path = _check_config_flags(argv[1:])
    rest = flags.FLAGS(argv)
    for name in flags.FLAGS:
      if flags.FLAGS[name].flag_type() in ("int", "float") and flags.FLAGS[name].value is not None:
        errors.check_number(f"{'--' * ('.' not in name)}{name}", flags.FLAGS[name].value)
    # If the file met an OSError, ml_collections raises it only now.
    if path and not hasattr(flags.FLAGS["config"].value, "to_dict"):
      raise UserError(f"{path}: get_config() returns {flags.FLAGS['config'].value!r}, must return a ConfigDict; see "
                      "configs/sudoku.py for an example")
    return rest
  except UserError as e:
    fail(str(e))
  except Exception as e:  # a user's file may raise anything
    line = _mistake_in_config(path, e) if path else None
    if not line and not isinstance(e, flags.Error):
      raise
    fail(line or f"{e}; --help lists the flags")


def _mistake_in_config(path: str, error: Exception) -> str | None:
  """The error in a config file, which ml_collections and absl have wrapped together with its traceback."""
  if mistake := errors.mistake_in(path, error):
    return str(mistake)
  if isinstance(error, OSError):
    return str(errors.explained(f"--config={path}: cannot be read", error))
  if isinstance(error, AttributeError) and error.name == "get_config":
    return f"{path}: has no get_config(); see configs/sudoku.py for an example"
  if "Error whilst parsing config file" in str(error):  # but not in one of its lines
    return (f"{path}: get_config cannot be called ({str(error).strip().splitlines()[-1]}); see configs/sudoku.py for "
            "an example")
  return None


def _check_precision() -> None:
  """Raises UserError if the environment asks JAX for 64 bits."""
  text = os.environ.get("JAX_ENABLE_X64", "")
  if text.lower() not in ("", "n", "no", "f", "false", "off", "0"):  # the words that JAX reads as no
    raise UserError(f"JAX_ENABLE_X64={text}: this library computes in 32 bits; unset it")


def _check_config_flags(arguments: list[str]) -> str | None:
  """Refuses a config file or a field that does not exist, for which ml_collections would print a traceback, and a
  change of a field without a config, which it would call an unknown flag.

  Returns:
    The config file.
  """
  path = task = None
  for i, argument in enumerate(arguments):
    flag, equals, value = argument.partition("=")
    name = flag.lstrip("-").removeprefix("no") if flag.startswith("-") else ""
    if name == "config":
      path, _, wanted = (value if equals else "".join(arguments[i + 1 : i + 2])).partition(":")
      if not os.path.isfile(path):
        raise UserError(f"--config={path}: no such file; try --config=configs/sudoku.py:help")
    elif name.startswith("config."):
      from trm_jax import config  # pylint: disable=g-import-not-at-top
      if path and task is None and name.startswith("config.data."):
        task = _task_of(path, wanted)  # the task that these knobs belong to
      config.check_field(name.removeprefix("config."), task)
      if path is None:
        raise UserError(f"{argument}: changes a field of --config=FILE.py:NAME, which must come before it")
  return path


def _task_of(path: str, argument: str) -> str | None:
  """config.task of a config file; None if the file has errors, which are reported when flags are parsed."""
  try:
    return runpy.run_path(path)["get_config"](argument).task
  except (Exception, SystemExit):  # a user's file may raise anything; SystemExit: its name is `help`
    return None


def refuse(why: str, *holders: flags.FlagHolder) -> None:
  """Refuses flags that nothing would read, since a user who gives one expects an effect.

  Args:
    why: the reason, as the end of "--flag: …".
    *holders: the flags.

  Raises:
    UserError: one of them was given.
  """
  for holder in holders:
    if holder.present:
      raise UserError(f"--{holder.name}: {why}; leave it out")


def fail(message: str, error: BaseException | None = None, *, status: int = 2) -> NoReturn:
  """Prints the message as one line and exits."""
  # Blanks within a line stay, since they are cells of a maze.
  print(f"error: {' '.join(map(str.strip, message.splitlines()))}", file=sys.stderr, flush=True)
  exit_status.leave(status, error)


def no_arguments(argv: list[str]) -> None:
  """Refuses arguments that are not flags; most often a flag lacks its dashes."""
  if len(argv) > 1:
    raise UserError(f"unknown argument {argv[1]!r}: every argument is a flag, --name=value; --help lists them")
