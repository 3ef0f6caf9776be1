# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The exit statuses of our programs, their meaning for whoever started them, and ways to exit."""

import os
import socket
import sys
import time
from typing import NoReturn

from trm_jax.errors import TryAgain


# Exit statuses besides 0, and 2 for a person's mistake.
PREEMPTED = 75  # told to stop, and everything is saved. EX_TEMPFAIL: start the same command again
INTERRUPTED = 130  # the same after Ctrl-C; shells use this number, too
PEER_LOST = TryAgain.status  # another process died or hung; start the same command again
# A process that has sent no sign of life for this long counts as dead, whatever it is doing.
HEARTBEAT_SECONDS = 60


class Interrupted(Exception):
  """The job was told to stop, and every process has saved the same step. Attributes: status, the exit status."""

  def __init__(self, status: int):
    super().__init__(status)
    self.status = status


def last_words(message: str) -> None:
  print(f"error: {socket.gethostname()}: {message}", file=sys.stderr, flush=True)


def leave(status: int, error: BaseException | None = None) -> NoReturn:
  """Exits before the end of the job; the other processes notice. JAX's own exit would first wait for them to exit, too.

  Args:
    status: the exit status.
    error: the reason. An error of JAX's runtime may merely result from a peer's death; then JAX finds out within
      HEARTBEAT_SECONDS and ends this process with the status for a lost peer.
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
  """Exits at a point where all processes of the job do. It bypasses Python's finalisation, which destroys C++ objects
  that threads still use, and gives signals their old effect again."""
  if "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
    sys.modules["jax"].distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
