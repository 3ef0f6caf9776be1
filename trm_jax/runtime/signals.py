# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""SIGTERM, SIGHUP and Ctrl-C: heard at once, wherever the program is, and obeyed where that is safe."""

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


# What asks a program to stop. SIGHUP: its terminal was closed, or its connection broke.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# One press of Ctrl-C may arrive several times: from the terminal, from the guard, from `timeout`.
_ONE_PRESS_SECONDS = 1.0
# The time that a program which ends at once has to put things away.
_TIDYING_SECONDS = 5.0


class Listener:
  """Hears SIGTERM, SIGHUP and Ctrl-C at once, in a thread of its own.

  Python runs handlers of signals in the main thread, and only when that comes back from C++: XLA may compile for
  minutes. Listeners nest: the one that was opened last hears, and gives way to the one before it when it is closed. A
  signal that was ignored when the program started stays ignored, as `nohup` wants it.

  Args:
    react: called in that thread with the number of a signal, and whether it is a second Ctrl-C (what comes within a
      second of the first is taken for the same press).

  Attributes:
    received: the first signal, or None; set when it has been reacted to.
  """

  def __init__(self, react: Callable[[int, bool], None]):
    self.received = None
    self._react = react
    self._pressed_at = None  # time of the first Ctrl-C
    self._raises = False

  @property
  def status(self) -> int | None:
    """The exit status that tells of the signal; None if there was none."""
    return _status(self.received) if self.received else None

  def open(self) -> None:
    """Begins to listen. To be called in the main thread, and so is `close`."""
    heard, self._told = os.pipe()
    os.set_blocking(self._told, False)
    self._thread = threading.Thread(target=self._listen, args=(heard,), name="signals", daemon=True)
    self._thread.start()
    self._told_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
    self._handlers_before = {number: signal.signal(number, self._in_main_thread) for number in STOPPING
                             if signal.getsignal(number) != signal.SIG_IGN}

  def close(self) -> None:
    """Returns when all signals so far have been reacted to; later ones are the business of the listener before."""
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
    # Python has written the number to the pipe already, which is all that this handler is installed for.
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


# The listener of the program, where it is one of ours.
program: Listener | None = None
# Called when a program ends at once (see `end_when_told`), the last one first.
tidy_up: list[Callable[[], None]] = []


def end_when_told() -> None:
  """Has SIGTERM, SIGHUP and Ctrl-C end this program at once, wherever it is, except while `Signals` holds.

  Nothing is unwound, because other threads are in the middle of C++. What has to be put away nevertheless, such as a
  temporary folder, is the business of the functions in `tidy_up`.
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

  # In a thread, because the main thread may hold the lock of a stream, or of anything else, for ever.
  thread = threading.Thread(target=tidy, daemon=True)
  thread.start()
  thread.join(_TIDYING_SECONDS)
  os._exit(_status(number))


class Signals(Listener):
  """Notes SIGTERM, SIGHUP and Ctrl-C from `hold` on, for a run to stop where that is safe.

  A second Ctrl-C ends the program at once, or raises KeyboardInterrupt where the program is not one of ours. A second
  SIGTERM or SIGHUP does nothing. A context manager: a signal that the run has not stopped for by its end counts then.

  Args:
    announces: whether this process tells people of a signal; one of a job does.
  """

  def __init__(self, *, announces: bool):
    super().__init__(self._note)
    self._announces = announces
    self._holds = False

  def hold(self) -> None:
    """Notes signals from now on. Before, they have the effect that they had."""
    self.open()
    self._holds = True

  @contextlib.contextmanager
  def released(self) -> Iterator[None]:
    """Inside, signals have the effect that they had before `hold`; one that was noted has it at the beginning."""
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
    if program:  # so that it ignores a second signal as well, and knows a second Ctrl-C
      program.received, program._pressed_at = self.received, self._pressed_at
    self.close()
