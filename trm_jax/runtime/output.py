# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Keeps a program alive when its standard output or standard error is lost.

Writing fails when the reader of a pipe has ended (`| head`, or `| tee`, which Ctrl-C ends first), when the terminal was
closed, when the disk of a log is full, and when the stream was closed from the start (`>&-`).
"""

import errno
import io
import os
import select
import signal
import sys
from typing import TextIO

from absl import logging

from trm_jax.errors import UserError

_essential = True  # whether the program is useless without its standard output
_hurried = False


def protect() -> None:
  """Makes sys.stdout and sys.stderr safe. A program must call this before anything else.

  Until `outlive` is called, the loss of standard output ends the program: silently and with the status of SIGPIPE if
  its reader is gone, as pipelines of commands expect, and with a UserError otherwise. The loss of standard error never
  ends it.
  """
  # A file that is opened later would get the number of a closed stream, and printed text would go to that file.
  while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
    os.set_inheritable(null, True)
  os.close(null)
  sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr)
  logging.get_absl_handler().python_handler.stream = sys.stderr


def outlive() -> None:
  """From now on the program survives the loss of standard output, and reports it on standard error."""
  global _essential
  _essential = False


def hurry() -> None:
  """From now on a write waits at most a second for a reader that does not read, such as a pager."""
  global _hurried
  _hurried = True


def interject(text: str) -> None:
  """Writes a line to standard output, else to standard error, else nowhere. Never waits; any thread may call it."""
  for fd in (1, 2):
    try:
      if _takes(fd, timeout_s=0):
        os.write(fd, text.encode())
        return
    except OSError:
      continue


def _takes(fd: int, timeout_s: float) -> bool:
  """Whether a write of select.PIPE_BUF bytes would succeed, or fail, without waiting."""
  poll = select.poll()
  poll.register(fd, select.POLLOUT)
  return bool(poll.poll(1000 * timeout_s))


def _safe(stream: TextIO | None) -> TextIO:
  if stream is None:  # closed from the start
    return open(os.devnull, "w")
  return io.TextIOWrapper(io.BufferedWriter(_Stream(stream.fileno())), encoding=stream.encoding, errors=stream.errors,
                          line_buffering=stream.line_buffering or stream.write_through)


class _Stream(io.FileIO):
  """Writes to a file descriptor, and drops what it does not accept."""

  def __init__(self, fd: int):
    super().__init__(fd, "w", closefd=False)
    self._failed = False

  def write(self, data: memoryview) -> int:
    try:
      while True:
        if _takes(self.fileno(), timeout_s=1):
          written = super().write(data[:select.PIPE_BUF])
          if written is not None:
            return written
        elif _hurried:
          raise OSError(errno.ETIMEDOUT, "its reader does not read")
    except OSError as e:
      first, self._failed = not self._failed, True
      if first and self.fileno() == 1:
        self._lost(e)
      return len(data)

  def _lost(self, error: OSError) -> None:
    if not _essential:
      print(f"warning: standard output cannot be written ({error.strerror}); the program goes on without it",
            file=sys.stderr, flush=True)
    elif error.errno == errno.EPIPE:
      sys.exit(128 + signal.SIGPIPE)
    else:
      raise UserError(f"standard output cannot be written ({error.strerror})") from error
