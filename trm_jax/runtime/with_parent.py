# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes a process end when its parent does, for whatever reason (Linux).

    python -m trm_jax.runtime.with_parent PARENT SIGNAL CORES COMMAND ARGUMENT...

becomes COMMAND, which gets SIGNAL as soon as the process PARENT is gone. CORES are the numbers of the cores that it may
use, separated by commas; "" stands for all. A program does this, rather than code between fork and exec, because Python
could wait there for ever for a lock that another thread held when the process was copied.
"""

from collections.abc import Sequence
import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(parent: int, number: int) -> None:
  """Makes the kernel send this process a signal when its parent is gone; ends this process if that is already so.

  Args:
    parent: the parent's process id, as stated by the parent itself.
    number: of the signal.
  """
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
  if os.getppid() != parent:
    os._exit(128 + number)


def command(number: int, words: Sequence[str], cores: tuple[int, ...] | None = None) -> list[str]:
  """The command line of a child of this process that ends with it.

  Args:
    number: of the signal that it gets then.
    words: the child's own command line; the first word is the path of a program.
    cores: the cores that it may use; None for all.
  """
  return [sys.executable, "-m", __name__, str(os.getpid()), str(int(number)), ",".join(map(str, cores or ())), *words]


def _main() -> None:
  parent, number, cores, *words = sys.argv[1:]
  end_with(int(parent), int(number))
  if cores:
    os.sched_setaffinity(0, map(int, cores.split(",")))
  os.execv(words[0], words)


if __name__ == "__main__":
  _main()
