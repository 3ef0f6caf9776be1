# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A parent process that turns the end of its child, which does the work, into a message and an exit status."""

import os
import signal
import sys

from trm_jax.runtime import exit_status
from trm_jax.runtime import signals
from trm_jax.runtime import with_parent


def guard() -> None:
  """Forks: the child returns and works; the parent waits and turns the child's end into a message and an exit status.

  When a peer dies, JAX aborts the whole process from one of its own threads, so that nothing in the process itself can
  explain what happened. Signals are passed on to the child, which dies with its parent.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  # Without this condition, signals that are ignored (see Listener) would also be waited for and passed on.
  waited_for = {signal.SIGCHLD, *(number for number in signals.STOPPING if signal.getsignal(number) != signal.SIG_IGN)}
  before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)  # so that none is lost until it is waited for
  if signals.program:
    signals.program.close()  # a fork has no threads
  parent = os.getpid()
  child = os.fork()
  if not child:
    if signals.program:
      signals.program.open()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with_parent.end_with(parent, signal.SIGKILL)
    return
  ended = (0, 0)
  while not ended[0]:
    number = signal.sigwait(waited_for)
    if number == signal.SIGCHLD:
      ended = os.waitpid(child, os.WNOHANG)
    else:
      os.kill(child, number)  # the child gets it twice if a terminal has sent it to both
  status = os.waitstatus_to_exitcode(ended[1])
  if status == -signal.SIGABRT:
    exit_status.last_words(
        "another process of this job is gone, never joined, or has been silent for "
        f"{exit_status.HEARTBEAT_SECONDS} s: JAX ended this one too; the output of the lost one says why; start the "
        "same command again to go on from the newest checkpoint")
    status = exit_status.PEER_LOST
  elif status < 0:
    exit_status.last_words(
        f"ended by {signal.Signals(-status).name}{' (out of memory?)' if status == -signal.SIGKILL else ''}; start the "
        "same command again to go on from the newest checkpoint")
    status = 128 - status
  os._exit(status)
