# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a run writes for people and plots: metrics.jsonl, TensorBoard event files, lines on the terminal."""

import json
import os
import pathlib
import sys
import time
from typing import Any

from etils import epath
import tensorboardX

from trm_jax import files


def _numbers(record: dict[str, Any]) -> dict[str, float]:
  """The scalars of a record."""
  return {name: v for name, v in record.items() if isinstance(v, (int, float)) and name != "step"}


class MetricsLog:
  """One JSON object a line in metrics.jsonl, and the same scalars as TensorBoard events under tensorboard/.

  Args:
    workdir: existing folder.
    resume_step: what was written for later steps, by a run that got further than its last checkpoint, is dropped.
    remade: so are records of `resume_step` itself with a name that begins like this: they will be made anew.
  """

  def __init__(self, workdir: pathlib.Path, *, resume_step: int, remade: tuple[str, ...] = ()):
    self._path = workdir / "metrics.jsonl"
    if self._path.exists():
      kept = [r for r in read_metrics(self._path) if r["step"] < resume_step or r["step"] == resume_step and not any(
          name.startswith(remade) for name in r)]
      files.replace_text(self._path, "".join(json.dumps(r) + "\n" for r in kept))
    self._file = self._path.open("a", buffering=1)
    self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

  def write(self, record: dict[str, Any]) -> None:
    """A record: `step` and anything JSON can hold."""
    self._file.write(json.dumps(record) + "\n")
    for name, value in _numbers(record).items():
      self._events.add_scalar(name, value, record["step"])

  def close(self) -> None:
    """Flushes both."""
    self._file.close()
    self._events.close()


def read_metrics(path: os.PathLike | str) -> list[dict[str, Any]]:
  """The records of a metrics.jsonl, wherever it is; a last line that a killed run left half written is passed over."""
  lines = epath.Path(path).read_text().splitlines()
  records = []
  for i, line in enumerate(lines):
    try:
      records.append(json.loads(line))
    except json.JSONDecodeError:
      if i != len(lines) - 1:
        raise
  return records


def duration(seconds: float) -> str:
  """65 -> "1 min 5 s"; the two largest units."""
  seconds = round(seconds)
  for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
    if seconds >= size:
      return f"{seconds // size} {unit} {seconds % size // small} {smaller}"
  return f"{seconds} s"


class Progress:
  """One line of progress on long work: rewritten in place on a terminal, silent in a file until it is done."""

  def __init__(self, what: str):
    self._what = what
    self._start = time.perf_counter()
    self._shown = self._start

  def __call__(self, done: int, total: int) -> None:
    """Shows how far it is, at most twice a second."""
    now = time.perf_counter()
    if sys.stdout.isatty() and done and now - self._shown > 0.5:
      self._shown = now
      left = duration((now - self._start) / done * (total - done))
      print(f"\r\033[K{self._what}: {done:,}/{total:,}, {left} left", end="", flush=True)

  def done(self, outcome: str) -> None:
    """Says how it ended."""
    rewrite = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{rewrite}{self._what}: {outcome} "
          f"({duration(time.perf_counter() - self._start)})", flush=True)
