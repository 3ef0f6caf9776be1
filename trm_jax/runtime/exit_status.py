# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""With which status a program of ours ends, what that says to whoever started it, and how it gets out."""

import os
import socket
import sys
import time
from typing import NoReturn

from trm_jax.errors import TryAgain


# Exit statuses besides 0, and 2 for a person's mistake.
PREEMPTED = 75  # told to stop; what there was to save is saved. EX_TEMPFAIL: start the same command again
INTERRUPTED = 130  # the same by Ctrl-C, as shells say it
PEER_LOST = TryAgain.status  # another process died or hung; start the same command again
# A process that has sent no sign of life for this time counts as dead, whatever it is doing.
HEARTBEAT_SECONDS = 60


class Interrupted(Exception):
  """The job was told to stop, and every process has saved the same step. Attributes: status, to exit with."""

  def __init__(self, status: int):
    super().__init__(status)
    self.status = status


def last_words(message: str) -> None:
  print(f"error: {socket.gethostname()}: {message}", file=sys.stderr, flush=True)


def leave(status: int, error: BaseException | None = None) -> NoReturn:
  """Exits before the end of the job; the others notice. JAX's own way out would first wait for them to come along.

  Args:
    status: to exit with.
    error: that is the reason. One of JAX's runtime may be only the echo of a peer's death; then JAX will know within
      HEARTBEAT_SECONDS and end this process, with the status that says so.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  if "jax" not in sys.modules or not sys.modules["jax"].distributed.is_initialized():
    sys.exit(status)
  while error and not isinstance(error, sys.modules["jax"].errors.JaxRuntimeError):
    error = error.__cause__ or error.__context__
  if error:
    seconds = HEARTBEAT_SECONDS + 20
    print(f"waiting {seconds} s: perhaps another process of this job is gone", file=sys.stderr, flush=True)
    time.sleep(seconds)
  os._exit(status)


def leave_together(status: int) -> NoReturn:
  """Exits where all processes of the job do. Not by way of Python's end, at which C++ is taken apart under threads that
  still use it, and signals have their old effect again."""
  if "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
    sys.modules["jax"].distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
