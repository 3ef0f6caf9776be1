# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Writes and reads the records of a run for people and plots: metrics.jsonl, TensorBoard event files, results.json."""

from collections.abc import Sequence
import itertools
import json
import os
import pathlib
import shutil
import sys
from typing import Any

import numpy as np

from trm_jax import errors
from trm_jax.errors import Damaged
from trm_jax.runtime import console
from trm_jax.runtime import files

# The end of a sentence about an evaluation in which nothing could be compared: its `num_puzzles` is 0, and it has no
# accuracies.
WITHOUT_SCORE = "without a score, because no solution is known"


def numbers(record: dict[str, Any]) -> dict[str, float]:
  """The scalars of a record."""
  return {name: v for name, v in record.items() if isinstance(v, (int, float)) and name != "step"}


class MetricsLog:
  """Writes one JSON object per line to metrics.jsonl, and the same scalars as TensorBoard events under tensorboard/.

  Args:
    workdir: existing folder.
    resume_step: the step at which the run resumes; records of later steps, from before it was stopped, are dropped.
    remade: beginnings of names; records of `resume_step` itself with such a name are dropped, too, since the run makes
      them again.
    knobs: flattened config, for TensorBoard's HPARAMS and TEXT; written at the beginning of a run.
    headline: the metric of evaluations that TensorBoard shows for each run beside its knobs.
    mirrors: get the same records and images, and are closed together with this log.
  """

  def __init__(self, workdir: pathlib.Path, *, resume_step: int, remade: tuple[str, ...] = (),
               knobs: dict[str, Any] | None = None, headline: str = "exact_accuracy", mirrors: Sequence[Any] = ()):
    # Imported here because it imports torch if that is installed, which takes seconds in which a program could not yet
    # listen to signals.
    import tensorboardX  # pylint: disable=g-import-not-at-top
    from tensorboardX import summary  # pylint: disable=g-import-not-at-top

    self._path = workdir / "metrics.jsonl"
    if self._path.exists():
      found, broken = _parse(files.read_bytes(self._path))
      if broken:
        original = _free_name(workdir, "metrics.damaged", ".jsonl")
        shutil.copyfile(self._path, original)
        console.warn(f"{_broken_lines(self._path, broken)}; the original file is kept as {original.name}")
      kept = [r for r in found if r["step"] < resume_step or r["step"] == resume_step and not any(
          name.startswith(remade) for name in r)]
      files.replace_text(self._path, "".join(json.dumps(r) + "\n" for r in kept))
    self._file = self._path.open("a", buffering=1)
    self._mirrors = mirrors
    self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)
    # add_hparams would make another run of these, in a folder below this one.
    compared = dict.fromkeys(f"{split}/{headline}" for split in ("validation", "test"))
    experiment, start, self._end = summary.hparams(knobs or {}, compared)
    if knobs and resume_step == 0:
      self._events.file_writer.add_summary(experiment)
      self._events.file_writer.add_summary(start)
      self._events.add_text("config", "\n".join(f"    {name} = {value!r}" for name, value in knobs.items()))

  def write(self, record: dict[str, Any]) -> None:
    """Writes a record: `step`, and any values that JSON supports."""
    try:
      self._file.write(json.dumps(record) + "\n")
    except OSError as e:
      raise errors.explained(f"{self._path}: cannot be written", e) from e
    for name, value in numbers(record).items():
      self._events.add_scalar(name, value, record["step"])
    for mirror in self._mirrors:
      mirror.write(record)

  def image(self, name: str, pixels: np.ndarray, step: int) -> None:
    """Writes a picture, (height, width, 3) uint8, for TensorBoard's IMAGES."""
    self._events.add_image(name, pixels, step, dataformats="HWC")
    for mirror in self._mirrors:
      mirror.image(name, pixels, step)

  def close(self) -> None:
    """Flushes everything. Unless an exception is being raised, the run is at its end, and is marked as ended."""
    self._file.close()
    if sys.exception() is None:
      self._events.file_writer.add_summary(self._end)
    self._events.close()
    for mirror in self._mirrors:
      mirror.close()


def read_metrics(path: os.PathLike | str) -> list[dict[str, Any]]:
  """The records of a metrics.jsonl, local or in a bucket.

  A last line that a killed run left half written is ignored. Other lines that are no records are ignored, too, and
  named in one warning.

  Raises:
    UserError: the file is missing or cannot be read.
  """
  records, broken = _parse(files.read_bytes(path))
  if broken:
    console.warn(_broken_lines(path, broken))
  return records


def _parse(content: bytes) -> tuple[list[dict[str, Any]], list[int]]:
  """The records of a metrics.jsonl, and the numbers of the lines, from 1, that are neither blank nor a record."""
  lines = content.split(b"\n")
  records, broken = [], []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line) if line.strip() else None
    except (ValueError, RecursionError):  # not JSON, or not text
      record = line
    if isinstance(record, dict) and type(record.get("step")) is int:
      records.append(record)
    elif line.strip() and number < len(lines):  # text after the last newline is a killed run's unfinished line
      broken.append(number)
  return records, broken


def _broken_lines(path: os.PathLike | str, numbers: Sequence[int]) -> str:
  more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
  which = ("line " if len(numbers) == 1 else "lines ") + ", ".join(map(str, numbers[:5])) + more
  return f"{path}, {which}: not a record of a step, left out; all other lines are used"


def _free_name(folder: pathlib.Path, stem: str, suffix: str) -> pathlib.Path:
  """A path in a folder that does not exist yet."""
  return next(path for i in itertools.count(1)
              if not (path := folder / f"{stem}{f'-{i}' if i > 1 else ''}{suffix}").exists())


def read_results(path: os.PathLike | str) -> dict[str, Any]:
  """The results.json of a run, local or in a bucket.

  Raises:
    UserError: the file is missing or cannot be read.
    Damaged: it is not what a run writes. A test without a score has no accuracies.
  """
  results = files.read_json(path)
  test = results.get("test")
  needed = {"step": results.get("step"), "train_seconds": results.get("train_seconds")}
  if not isinstance(test, dict) or test.get("num_puzzles") != 0:
    needed["test.exact_accuracy"] = test.get("exact_accuracy") if isinstance(test, dict) else None
  for name, value in needed.items():
    if not isinstance(value, (int, float)):
      raise Damaged(f"{path}: {name} is {value!r}, must be a number")
  return results
