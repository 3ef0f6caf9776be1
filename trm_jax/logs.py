# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a run writes for people and plots: metrics.jsonl, TensorBoard event files, a mirror of both at Weights & Biases,
lines on the terminal."""

from collections.abc import Sequence
import functools
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shutil
import sys
import time
from typing import Any
import uuid

import numpy as np

from trm_jax import errors
from trm_jax import files
from trm_jax.errors import Damaged, UserError, in_one_line

# What TensorBoard shows of each run beside its knobs.
_COMPARED = ("validation/exact_accuracy", "test/exact_accuracy")
# JAX gives a process a minute to end after the others.
_WANDB_FINISH_SECONDS = 30


def _numbers(record: dict[str, Any]) -> dict[str, float]:
  """The scalars of a record."""
  return {name: v for name, v in record.items() if isinstance(v, (int, float)) and name != "step"}


class MetricsLog:
  """One JSON object a line in metrics.jsonl, and the same scalars as TensorBoard events under tensorboard/.

  Args:
    workdir: existing folder.
    resume_step: what was written for later steps, by a run that got further than its last checkpoint, is dropped.
    remade: so are records of `resume_step` itself with a name that begins like this: they will be made anew.
    knobs: flattened config, for TensorBoard's HPARAMS and TEXT; written where a run begins.
    mirrors: get the same records and images, and are closed with this.
  """

  def __init__(self, workdir: pathlib.Path, *, resume_step: int, remade: tuple[str, ...] = (),
               knobs: dict[str, Any] | None = None, mirrors: Sequence["WandbLog"] = ()):
    # Imported here because it imports torch where that is installed: seconds, in which no program would listen to
    # signals yet.
    import tensorboardX  # pylint: disable=g-import-not-at-top
    from tensorboardX import summary  # pylint: disable=g-import-not-at-top

    self._path = workdir / "metrics.jsonl"
    if self._path.exists():
      found, broken = _parse(files.read_bytes(self._path))
      if broken:
        original = _free_name(workdir, "metrics.damaged", ".jsonl")
        shutil.copyfile(self._path, original)
        warn(f"{_broken_lines(self._path, broken)}; the file as it was is kept as {original.name}")
      kept = [r for r in found if r["step"] < resume_step or r["step"] == resume_step and not any(
          name.startswith(remade) for name in r)]
      files.replace_text(self._path, "".join(json.dumps(r) + "\n" for r in kept))
    self._file = self._path.open("a", buffering=1)
    self._mirrors = mirrors
    self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)
    # Not by add_hparams, which makes another run of them, in a folder below this one.
    experiment, start, self._end = summary.hparams(knobs or {}, dict.fromkeys(_COMPARED))
    if knobs and resume_step == 0:
      self._events.file_writer.add_summary(experiment)
      self._events.file_writer.add_summary(start)
      self._events.add_text("config", "\n".join(f"    {name} = {value!r}" for name, value in knobs.items()))

  def write(self, record: dict[str, Any]) -> None:
    """A record: `step` and anything JSON can hold."""
    try:
      self._file.write(json.dumps(record) + "\n")
    except OSError as e:
      raise errors.explained(f"{self._path}: cannot be written", e) from e
    for name, value in _numbers(record).items():
      self._events.add_scalar(name, value, record["step"])
    for mirror in self._mirrors:
      mirror.write(record)

  def image(self, name: str, pixels: np.ndarray, step: int) -> None:
    """A picture, (height, width, 3) uint8, for TensorBoard's IMAGES."""
    self._events.add_image(name, pixels, step, dataformats="HWC")
    for mirror in self._mirrors:
      mirror.image(name, pixels, step)

  def close(self) -> None:
    """Flushes all. Where no exception is on its way, the run is at its end and marked as such."""
    self._file.close()
    if sys.exception() is None:
      self._events.file_writer.add_summary(self._end)
    self._events.close()
    for mirror in self._mirrors:
      mirror.close()


def require_wandb(project: str) -> None:
  """Makes sure that there is what `WandbLog` needs.

  Raises:
    UserError: there is not.
  """
  found = importlib.util.find_spec("wandb")
  if found is None or found.origin is None:  # the folder wandb/ that it leaves where it ran can be imported, too
    raise UserError(f'config.wandb = {project!r}: needs wandb, which is not installed; pip install -e ".[wandb]"')


class WandbLog:
  """The scalars and images of a run at Weights & Biases, as one W&B run, whose id is kept in WORKDIR/wandb_id.

  All but the project is up to W&B's own environment variables and settings: WANDB_ENTITY, WANDB_MODE, WANDB_DIR, ….
  W&B's step counts what was written and cannot go back, as a run that goes on from a checkpoint does; so our `step` is
  a metric of its own, and the axis of all others.

  A W&B that fails does not stop the run: it is said once, and no more is sent there.

  Args:
    project: at W&B.
    workdir: existing folder, for the id.
    name: of the run.
    config: its knobs.

  Raises:
    UserError: W&B refuses, or cannot be reached, where the run is new to it.
  """

  def __init__(self, project: str, workdir: pathlib.Path, *, name: str, config: dict[str, Any]):
    import wandb  # pylint: disable=g-import-not-at-top

    self._image = wandb.Image
    self._run = None
    file = workdir / "wandb_id"
    known = _wandb_id(file)
    try:
      self._run = wandb.init(
          project=project, id=known or uuid.uuid4().hex[:12], resume="allow", name=name, config=config,
          reinit="create_new",  # beside those of whoever called us
          settings=wandb.Settings(console="off", finish_timeout=_WANDB_FINISH_SECONDS,
                                  max_end_of_run_history_metrics=0, max_end_of_run_summary_metrics=0))
      self._run.define_metric("step")
      self._run.define_metric("*", step_metric="step")
    except Exception as e:  # Whatever trips first: HTTP, a socket, W&B's process, the disk.
      if not known:
        raise UserError(f"config.wandb = {project!r}: Weights & Biases cannot be used ({in_one_line(e)}); `wandb "
                        "login`, or WANDB_MODE=offline to upload later, or --config.wandb= to do without") from e
      self._give_up(e)
    else:
      files.replace_text(file, self._run.id + "\n")

  def write(self, record: dict[str, Any]) -> None:
    """The numbers of a record."""
    self._log({"step": record["step"], **_numbers(record)})

  def image(self, name: str, pixels: np.ndarray, step: int) -> None:
    """A picture, (height, width, 3) uint8."""
    self._log({"step": step, name: self._image(pixels)})

  def close(self) -> None:
    """Uploads the rest, within half a minute. A run that an exception ends has failed, or was stopped."""
    if self._run:
      try:
        self._run.finish(exit_code=int(sys.exception() is not None))
      except Exception as e:
        self._give_up(e)

  def _log(self, values: dict[str, Any]) -> None:
    if self._run:
      try:
        self._run.log(values)
      except Exception as e:
        self._give_up(e)

  def _give_up(self, error: Exception) -> None:
    self._run = None
    print(f"Weights & Biases gets no more of this run ({in_one_line(error)}); it goes on, and metrics.jsonl and "
          "tensorboard/ have it all", flush=True)


def _wandb_id(file: pathlib.Path) -> str | None:
  """The id that is kept in a file; None where there is none that could be one."""
  if not file.exists():
    return None
  text = files.read_bytes(file).decode(errors="replace").strip()
  if re.fullmatch(r"[\w-]{1,128}", text, re.ASCII):
    return text
  warn(f"{file}: is not the id of a W&B run; the run gets a new one")
  return None


def read_metrics(path: os.PathLike | str) -> list[dict[str, Any]]:
  """The records of a metrics.jsonl, wherever it is.

  A last line that a killed run left half written is passed over. Other lines that are no records are left out, too, and
  named in one warning.

  Raises:
    UserError: the file is missing or cannot be read.
  """
  records, broken = _parse(files.read_bytes(path))
  if broken:
    warn(_broken_lines(path, broken))
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
    elif line.strip() and number < len(lines):  # after the last newline is what a killed run did not finish
      broken.append(number)
  return records, broken


def _broken_lines(path: os.PathLike | str, numbers: Sequence[int]) -> str:
  more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
  which = ("line " if len(numbers) == 1 else "lines ") + ", ".join(map(str, numbers[:5])) + more
  return f"{path}, {which}: no record of a step, left out; all other lines are used"


def _free_name(folder: pathlib.Path, stem: str, suffix: str) -> pathlib.Path:
  """A path in a folder that nothing has yet."""
  return next(path for i in itertools.count(1)
              if not (path := folder / f"{stem}{f'-{i}' if i > 1 else ''}{suffix}").exists())


@functools.cache
def warn(text: str) -> None:
  """Says once in a process, on stderr, what a person should know and the program can do without."""
  print(f"warning: {text}", file=sys.stderr, flush=True)


def read_results(path: os.PathLike | str) -> dict[str, Any]:
  """The results.json of a run, wherever it is.

  Raises:
    UserError: it is missing or cannot be read; Damaged: it is not what a run writes.
  """
  results = files.read_json(path)
  test = results.get("test")
  needed = {"step": results.get("step"), "train_seconds": results.get("train_seconds"),
            "test.exact_accuracy": test.get("exact_accuracy") if isinstance(test, dict) else None}
  for name, value in needed.items():
    if not isinstance(value, (int, float)):
      raise Damaged(f"{path}: {name} is {value!r}, must be a number")
  return results


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
