# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Notices SIGTERM, SIGHUP and Ctrl-C at once, wherever the program is, and obeys them where that is safe."""

import _thread
from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

from trm_jax.runtime import exit_status
from trm_jax.runtime import output


# The signals that ask a program to stop. SIGHUP: its terminal was closed, or its connection broke.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A single Ctrl-C may arrive several times within this time: from the terminal, the guard and `timeout`.
_ONE_PRESS_SECONDS = 1.0
# The time that a program which ends at once has for cleaning up.
_TIDYING_SECONDS = 5.0


class Listener:
  """Receives SIGTERM, SIGHUP and Ctrl-C at once, in a thread of its own.

  Python runs signal handlers in the main thread, and only once that has returned from C++, but XLA may compile for
  minutes. Listeners nest: the last one opened receives the signals, and the one before it does when it is closed. A
  signal that was ignored when the program started stays ignored, as `nohup` wants.

  Args:
    react: called in that thread with the number of a signal, and whether it is a second Ctrl-C (one within a second of
      the first counts as the same).

  Attributes:
    received: the first signal, or None; set once `react` has returned.
  """

  def __init__(self, react: Callable[[int, bool], None]):
    self.received = None
    self._react = react
    self._pressed_at = None  # time of the first Ctrl-C
    self._raises = False

  @property
  def status(self) -> int | None:
    """The exit status for the signal; None if there was none."""
    return _status(self.received) if self.received else None

  def open(self) -> None:
    """Begins to listen. This and `close` must be called in the main thread."""
    heard, self._told = os.pipe()
    os.set_blocking(self._told, False)
    self._thread = threading.Thread(target=self._listen, args=(heard,), name="signals", daemon=True)
    self._thread.start()
    self._told_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
    self._handlers_before = {number: signal.signal(number, self._in_main_thread) for number in STOPPING
                             if signal.getsignal(number) != signal.SIG_IGN}

  def close(self) -> None:
    """Stops listening, once all signals so far have been handled; later ones go to the listener before."""
    for number, handler in self._handlers_before.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._told_before)
    os.close(self._told)
    self._thread.join()

  def interrupt(self) -> None:
    """Raises KeyboardInterrupt in the main thread."""
    self._raises = True
    _thread.interrupt_main()

  def _in_main_thread(self, number, frame):
    # Python has already written the number to the pipe; the handler is installed only for that.
    if self._raises:
      raise KeyboardInterrupt

  def _listen(self, heard):
    while number := os.read(heard, 1):
      if number[0] in STOPPING:
        self._hear(number[0])
    os.close(heard)

  def _hear(self, number):
    again = False
    if number == signal.SIGINT:
      now = time.monotonic()
      again = self._pressed_at is not None
      if again and now - self._pressed_at < _ONE_PRESS_SECONDS:
        return
      self._pressed_at = now
    output.hurry()
    self._react(number, again)
    self.received = self.received or number


def _status(number: int) -> int:
  return exit_status.INTERRUPTED if number == signal.SIGINT else exit_status.PREEMPTED


# The program's listener, if the program is one of ours.
program: Listener | None = None
# Functions that are called when a program ends at once (see `end_when_told`), the last one first.
tidy_up: list[Callable[[], None]] = []


def end_when_told() -> None:
  """Makes SIGTERM, SIGHUP and Ctrl-C end this program at once, wherever it is, except while `Signals` holds them.

  The stack is not unwound, because other threads are in the middle of C++. Functions in `tidy_up` do the cleaning that
  is needed nevertheless, e.g. of a temporary folder.
  """
  global program

  def react(number, again):
    if again or program.received is None:
      _end(number, "stopping at once, since nothing is left to save")

  program = Listener(react)
  program.open()


def _end(number: int, why: str) -> NoReturn:
  output.interject(f"\n{signal.Signals(number).name}: {why}\n")

  def tidy():
    for function in reversed(tidy_up):
      function()
    sys.stdout.flush()

  # It runs in a thread with a time limit, because the main thread may hold a lock, e.g. of a stream, for ever.
  thread = threading.Thread(target=tidy, daemon=True)
  thread.start()
  thread.join(_TIDYING_SECONDS)
  os._exit(_status(number))


class Signals(Listener):
  """Notes SIGTERM, SIGHUP and Ctrl-C from `hold` on, so that a run can stop where that is safe.

  A second Ctrl-C ends the program at once, or raises KeyboardInterrupt if the program is not one of ours. A second
  SIGTERM or SIGHUP does nothing. This is a context manager: if the run ends without having stopped for a signal, the
  signal takes effect then.

  Args:
    announces: whether this process prints that a signal came; one process of a job does.
  """

  def __init__(self, *, announces: bool):
    super().__init__(self._note)
    self._announces = announces
    self._holds = False

  def hold(self) -> None:
    """Notes signals from now on. Until then they have their previous effect."""
    self.open()
    self._holds = True

  @contextlib.contextmanager
  def released(self) -> Iterator[None]:
    """Gives signals in this block the effect that they had before `hold`; a noted one takes effect at its beginning."""
    self._release()
    yield
    self.hold()

  def _release(self):
    self.close()
    self._holds = False
    if self.received:
      if program:
        program._hear(self.received)
      else:
        os.kill(os.getpid(), self.received)

  def _note(self, number, again):
    if again and program:
      _end(number, "stopping at once")
    elif again:
      self.interrupt()
    elif self.received is None and self._announces:
      hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
      output.interject(f"\n{signal.Signals(number).name}: saving and stopping{hint}\n")

  def __enter__(self) -> "Signals":
    return self

  def __exit__(self, exc_type, exc, traceback) -> None:
    if not self._holds:
      return
    if exc is None:
      self._release()
      return
    if program:  # so that it, too, ignores a second signal and recognises a second Ctrl-C
      program.received, program._pressed_at = self.received, self._pressed_at
    self.close()
