# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads the config.json and metrics.jsonl of runs, and one picture; nothing else of a run is read."""

from collections.abc import Iterator, Sequence
import dataclasses
import io
import math
import re
from typing import Any

from etils import epath
from matplotlib import image
import numpy as np

from trm_jax import config as config_lib
from trm_jax import errors
from trm_jax import tasks
from trm_jax.errors import UserError, in_one_line
from trm_jax.runtime import buckets
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import paths
from trm_jax.training import metrics_log

_FILES = {"config.json", "metrics.jsonl"}


@dataclasses.dataclass(frozen=True)
class Unreadable:
  """A run's folder that cannot be read.

  Attributes:
    path: of the folder.
    reason: why it cannot be read.
  """

  path: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Run:
  """One run.

  Attributes:
    path: of its folder.
    name: of its config.
    headline: the metric that is the share of puzzles solved; see tasks.Task.
    knobs: the flattened knobs of config.json that affect results: all but the free ones and the seed.
    seed: of the run.
    total_steps: number of steps that it is to make.
    num_params: of its model.
    devices: number and kind of its devices, in words.
    num_devices: number of its devices.
    records: lines of metrics.jsonl.
  """

  path: str
  name: str
  headline: str
  knobs: dict[str, Any]
  seed: int
  total_steps: int
  num_params: int
  devices: str
  num_devices: int
  records: list[dict[str, Any]]

  def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric, wherever its value is a number."""
    points = [(r["step"], r[name]) for r in self.records if isinstance(r.get(name), (int, float))]
    return tuple(np.array(points, np.float64).reshape(-1, 2).T)

  def watched(self) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the share of validation puzzles solved there; of test puzzles if there is no validation."""
    curve = self.curve(f"validation/{self.headline}")
    return curve if len(curve[0]) else self.curve(f"test/{self.headline}")

  def first_step_with(self, share: float) -> float | None:
    """The step of the first evaluation that found at least this share of the puzzles solved; None if none did."""
    steps, solved = self.watched()
    enough = solved >= share
    return steps[np.argmax(enough)] if enough.any() else None

  def last(self, name: str) -> Any:
    """The newest value of a metric; None if there is none."""
    return next((r[name] for r in reversed(self.records) if name in r), None)

  def result(self, name: str = "", of: str = "test") -> Any:
    """A metric (default: the headline) of the final test, for the last checkpoint or for another one (`test_best`,
    `test_average`); None before the run's end."""
    name = name or self.headline
    return next((r[f"{of}/{name}"] for r in reversed(self.records)
                 if r["step"] >= self.total_steps and f"{of}/{name}" in r), None)

  def picture(self) -> np.ndarray | None:
    """The picture of a puzzle being solved that the run drew at its end, (height, width, channels), or None."""
    path = epath.Path(self.path) / "solved.png"
    with buckets.reaching(self.path):
      content = files.read_bytes(path) if path.exists() else None
    try:
      return None if content is None else image.imread(io.BytesIO(content), format="png")
    except (OSError, SyntaxError) as e:  # Pillow raises these if the file is no PNG
      console.warn(f"{path}: is not a picture, left out ({in_one_line(e)})")
      return None

  @property
  def step(self) -> int:
    """The last recorded step."""
    return max((r["step"] for r in self.records), default=0)

  @property
  def failed(self) -> str:
    """Why the run cannot reach a result; empty if there is no sign of that."""
    for r in self.records:
      if "failed" in r:
        return str(r["failed"])
    loss = self.last("train/loss")
    return "" if loss is None or math.isfinite(loss) else "the loss is not finite"

  @property
  def is_unscored(self) -> bool:
    """Whether the run has finished, but no solution of its test puzzles is known."""
    return self.result("num_puzzles") == 0

  @property
  def status(self) -> str:
    """The word finished, unfinished or failed, with details."""
    if self.is_unscored:
      return f"finished {metrics_log.WITHOUT_SCORE}"
    if self.result() is not None:
      return "finished"
    where = f"at step {self.step:,} of {self.total_steps:,}"
    return f"failed {where}: {self.failed}" if self.failed else f"unfinished, {where}"

  @property
  def seconds(self) -> float | None:
    """Seconds spent on training steps."""
    return self.last("train/seconds")

  @property
  def device_hours(self) -> float | None:
    """Hours spent on training steps, summed over devices."""
    return None if self.seconds is None else self.seconds / 3600 * self.num_devices


def read_all(places: Sequence[str]) -> tuple[list[Run], list[Unreadable]]:
  """Reads the runs in folders, each once. Also returns the folders that could not be read.

  Args:
    places: each is a run's folder, or one that contains such folders at any depth; local or gs://.

  Raises:
    UserError: no run can be read, or a bucket cannot be reached.
  """
  folders: dict[str, epath.Path] = {}
  read: list[Run | Unreadable] = []
  for named in places:
    path = paths.user_path(named, "a run's folder")
    with buckets.reaching(named):
      found = list(_folders(path)) if path.is_dir() else []
      if not found:
        what = "no run in this folder or below it" if path.is_dir() else "no such folder"
        read.append(Unreadable(named, f"{what}; a run's folder has config.json and metrics.jsonl"))
    read += [folder for folder in found if isinstance(folder, Unreadable)]
    folders.update({str(folder.resolve()): folder for folder in found if not isinstance(folder, Unreadable)})
  for folder in folders.values():
    with buckets.reaching(str(folder)):
      read.append(_read(folder))
  unreadable = [r for r in read if isinstance(r, Unreadable)]
  if len(unreadable) == len(read):
    more = f" ({len(unreadable) - 1} more cannot be read)" if len(unreadable) > 1 else ""
    raise UserError(f"{unreadable[0].path}: {unreadable[0].reason}{more}")
  return [r for r in read if isinstance(r, Run)], unreadable


def _folders(path: epath.Path) -> Iterator[epath.Path | Unreadable]:
  """Yields the folders of runs, and folders that cannot be listed; does not search inside a run's folder."""
  try:
    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    below = [entry for entry in inside if entry.is_dir()]
  except OSError as e:
    if e.errno is None:  # the error is a bucket's
      raise
    yield Unreadable(str(path), str(errors.explained("cannot be looked into", e)))
    return
  if any(entry.name in _FILES for entry in inside):
    yield path
    return
  for folder in below:
    yield from _folders(folder)


def _read(folder: epath.Path) -> Run | Unreadable:
  """Reads one run."""
  metrics = folder / "metrics.jsonl"
  try:
    saved = files.read_json(folder / "config.json")
    records = metrics_log.read_metrics(metrics) if metrics.exists() else []
  except UserError as e:
    return Unreadable(str(folder), str(e).removeprefix(f"{folder}/"))
  try:
    devices = str(saved["environment"]["devices"])
    knobs = config_lib.completed(saved["config"])
    free = config_lib.free_on_resume(knobs["task"])
    knobs = config_lib.flatten(knobs)
    count = re.match(r"\d+", devices)
    return Run(path=str(folder), name=knobs.get("name", ""), headline=tasks.headline(knobs["task"]),
               seed=knobs["seed"], total_steps=int(saved["total_steps"]),
               knobs={k: v for k, v in knobs.items() if k != "seed" and k not in free},
               num_params=int(saved["num_params"]), devices=devices, num_devices=int(count[0]) if count else 1,
               records=records)
  except KeyError as e:
    return Unreadable(str(folder), f"config.json has no {e.args[0]!r}")
  except (TypeError, ValueError, AttributeError) as e:
    return Unreadable(str(folder), f"config.json is not what a run writes ({in_one_line(e)})")
