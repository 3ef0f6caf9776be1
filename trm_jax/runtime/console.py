# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Output for people: numbers with units, progress of long work, warnings."""

import functools
import sys
import time
from typing import TextIO


def duration(seconds: float) -> str:
  """65 -> "1 min 5 s"; the two largest units."""
  seconds = round(seconds)
  for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
    if seconds >= size:
      return f"{seconds // size} {unit} {seconds % size // small} {smaller}"
  return f"{seconds} s"


def size(num_bytes: float) -> str:
  """1536 -> "1.5 KiB"."""
  for unit in ("B", "KiB", "MiB", "GiB"):
    if num_bytes < 1024 or unit == "GiB":
      return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
    num_bytes /= 1024


def count(number: float) -> str:
  """42.7e9 -> "42.7 G"."""
  for size, unit in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
    if number >= size:
      return f"{number / size:,.1f} {unit}"
  return f"{number:,.0f} "


def short_time(seconds: float) -> str:
  """0.00373 -> "3.73 ms"."""
  return f"{seconds * 1e3:,.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:,.1f} µs"


def plural(number: int, what: str) -> str:
  return f"{number:,} {what}{'s' * (number != 1)}"


class Progress:
  """A line that shows the progress of long work: rewritten in place on a terminal, in a file printed at the end."""

  def __init__(self, what: str, file: TextIO | None = None):
    """Begins. `file` is where the line is printed; None: on standard output."""
    self._what = what
    self._file = file or sys.stdout
    self._start = time.perf_counter()
    self._shown = self._start

  def __call__(self, done: int, total: int | None) -> None:
    """Shows how far the work is, at most twice a second; without a total, how fast it goes."""
    now = time.perf_counter()
    if self._file.isatty() and done and now - self._shown > 0.5:
      self._shown = now
      far = (f"{done:,}, {done / (now - self._start):,.1f} a second" if total is None else
             f"{done:,}/{total:,}, {duration((now - self._start) / done * (total - done))} left")
      print(f"\r\033[K{self._what}: {far}", end="", file=self._file, flush=True)

  def done(self, outcome: str) -> None:
    """Prints how the work ended."""
    rewrite = "\r\033[K" if self._file.isatty() else ""
    print(f"{rewrite}{self._what}: {outcome} "
          f"({duration(time.perf_counter() - self._start)})", file=self._file, flush=True)


@functools.cache
def warn(text: str) -> None:
  """Prints a warning on stderr, once in a process, about something that a person should know."""
  print(f"warning: {text}", file=sys.stderr, flush=True)
