# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Runs that are told to stop, or lose an output, at a chosen place. Each is the real program in a process of its own.

Importing JAX takes seconds, so the processes are forks of one that has imported everything and started no thread yet.
"""

from collections.abc import Callable
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import jobs

CONFIG = {"steps": 40, "batch_size": 16, "log.every": 1, "eval.every": 20, "save.every": 1000,
          "save.minutes": 0, "optimizer.warmup_steps": 1}
_LIMIT_SECONDS = 240


def hear_all_signals() -> None:
  """Has this process and those it starts ignore no signal, as a shell makes what it starts in the background do."""
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Server:
  """Starts runs. A context manager.

  Args:
    folder: for compiled programs.
  """

  def __init__(self, folder: pathlib.Path):
    self._process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=jobs.ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "False", "XLA_FLAGS": "",
                          "JAX_COMPILATION_CACHE_DIR": str(folder),
                          "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"})

  def run(self, workdir: pathlib.Path, place: str | None = None, events: tuple[str, ...] = (), *,
          lost: str | None = None, ignored: str | None = None, **fields) -> dict:
    """A run, until its process has ended.

    Args:
      workdir: of the run.
      place: where the events happen, one of `_places`; None for nowhere.
      events: the name of a signal, what happens to the outputs (see `_lose`), or a number of seconds to wait; each.
      lost: what happens to the outputs before the start.
      ignored: a signal that is ignored from the start.
      fields: of the config, besides CONFIG and jobs.TINY; two underscores stand for a dot.

    Returns:
      `status`; `output`: of stdout and stderr, as far as they could be written; `step`: at which the events happened,
      0 before the first step, None where they did not happen.
    """
    fields = jobs.TINY | CONFIG | {name.replace("__", "."): value for name, value in fields.items()}
    self._process.stdin.write(json.dumps({
        "arguments": [f"--config={jobs.CONFIG}", f"--workdir={workdir}",
                      *(f"--config.{name}={value}" for name, value in fields.items())],
        "place": place, "events": events, "lost": lost, "ignored": ignored}) + "\n")
    self._process.stdin.flush()
    answer = self._process.stdout.readline()
    assert answer, f"the server ended with {self._process.wait()}"
    return json.loads(answer)

  def __enter__(self) -> "Server":
    return self

  def __exit__(self, *_) -> None:
    self._process.communicate()


def _lose(fate: str) -> None:
  """Does to stdout and stderr of this process what happens to those of real ones."""
  if fate == "closed":  # by >&-, of stdout and before the start only
    os.close(1)
    sys.stdout = None
    return
  if fate == "no reader":  # | head, | tee at Ctrl-C
    reader, fd = os.pipe()
    os.close(reader)
  elif fate == "no terminal":  # a window that was closed
    master, fd = os.openpty()
    os.close(master)
  elif fate == "full disk":
    fd = os.open("/dev/full", os.O_WRONLY)
  elif fate == "stopped reader":  # | less
    _, fd = os.pipe()
    os.set_blocking(fd, False)
    try:
      while os.write(fd, bytes(1 << 16)):
        pass
    except BlockingIOError:
      os.set_blocking(fd, True)
  os.dup2(fd, 1)
  os.dup2(fd, 2)


def _places() -> dict:
  """Class or module, name of a function in it, and a condition on its arguments."""
  from trm_jax import main
  from trm_jax.training import checkpoint
  from trm_jax.training import loop
  from trm_jax.training import program
  from trm_jax.training import train_log

  def safe_point(what, step=0):
    return loop.SafePoint, "__call__", lambda point, doing, _: doing == what and point.position.step >= step

  return {
      "start": (main.cluster, "find_job", None),
      "puzzles": (loop, "_load", None),
      "restoring": (checkpoint.Checkpoints, "restore", None),
      "compiling": (program.Program, "compile_steps", None),
      "in C++": (program.Program, "compile_steps", None),
      "first step": (loop._Trace, "__init__", None),
      "training": safe_point("training", 3),
      "evaluating": safe_point("evaluating"),
      "saving": (checkpoint.Checkpoints, "save", None),
      # The events come after a SIGTERM.
      "stopping": (train_log.Records, "flush", lambda records: isinstance(sys.exception(), loop._Stop)),
      "testing": safe_point("testing"),
      "reporting": safe_point("reporting"),
      "drawing": (loop, "_pictures", None),
      "ending": (loop.multihost_utils, "sync_global_devices", None),
      "closing": (loop.Workdir, "close", None),
  }


def _disturb(place: str, events: list[str], note: Callable[[int], None]) -> None:
  """Has the events happen when the program comes to the place: before it goes on, or while it saves in the background,
  or a moment after it has gone into C++ for half a minute, as it does where XLA compiles a large program."""
  if place == "stopping":
    _disturb("training", ["TERM"], lambda step: None)
  from trm_jax.training import loop

  where, name, condition = _places()[place]
  original = getattr(where, name)
  happened = []

  def happen():
    for event in events:
      if hasattr(signal, f"SIG{event}"):
        os.kill(os.getpid(), getattr(signal, f"SIG{event}"))
      elif event[0].isdigit():
        time.sleep(float(event))
      else:
        _lose(event)

  def wrapped(*args, **kwargs):
    if happened or condition and not condition(*args):
      return original(*args, **kwargs)
    happened.append(True)
    note(args[0].position.step if args and isinstance(args[0], loop.SafePoint) else 0)
    if place == "saving":
      original(*args, **kwargs)
      happen()
      return None
    if place == "in C++":
      threading.Timer(0.3, happen).start()
      hashlib.pbkdf2_hmac("sha256", b"", b"", 60_000_000)  # without Python's lock
    else:
      happen()
    return original(*args, **kwargs)

  setattr(where, name, wrapped)


def _child(case: dict, out: int, notes: int) -> None:
  os.dup2(out, 1)
  os.dup2(out, 2)
  os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
  if case["ignored"]:
    signal.signal(getattr(signal, f"SIG{case['ignored']}"), signal.SIG_IGN)
  if case["lost"]:
    _lose(case["lost"])
  if case["place"]:
    _disturb(case["place"], case["events"], lambda step: os.write(notes, f"{step}".encode()))
  sys.argv = [main.__file__, *case["arguments"]]
  cli.run(main.main)


if __name__ == "__main__":
  from trm_jax import cli  # noqa: F401
  from trm_jax import main  # noqa: F401
  from trm_jax.training import loop  # noqa: F401
  from trm_jax.training import program  # noqa: F401

  hear_all_signals()
  for line in sys.stdin:
    case = json.loads(line)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as notes:
      pid = os.fork()
      if not pid:
        status = 1
        try:
          _child(case, out.fileno(), notes.fileno())
        except SystemExit as e:
          status = e.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
      deadline = time.monotonic() + _LIMIT_SECONDS
      while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        time.sleep(0.02)
        if time.monotonic() > deadline:
          os.kill(pid, signal.SIGKILL)
      out.seek(0)
      notes.seek(0)
      step = notes.read()
      print(json.dumps({"status": os.waitstatus_to_exitcode(ended[1]), "output": out.read(),
                        "step": int(step) if step else None}), flush=True)
