# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Computes settings, differences between them, families of settings along one knob, fits and fronts.

A setting is a config without its seed: runs that differ only in the seed repeat one setting. Accuracies and their
differences are shares: an accuracy lies in [0, 1].
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools
import json
from typing import Any

import numpy as np
from scipy import special

from trm_jax.errors import UserError
from trm_jax.report import show
from trm_jax.report.runs import Run

# The spread of one setting of the Sudoku-Extreme runs is about ±2 points, so that two single runs of the same setting
# may lie 4 points apart.
KNOWN_SPREAD = 0.02
_RESAMPLES = 4000


@dataclasses.dataclass(frozen=True)
class Setting:
  """Runs that differ only in the seed.

  Attributes:
    knobs: that affect results; see Run.
    runs: all runs of the setting.
    label: a short name, unique within a report.
  """

  knobs: dict[str, Any]
  runs: tuple[Run, ...]
  label: str = ""

  @functools.cached_property
  def finished(self) -> tuple[Run, ...]:
    """The runs that have a result, one per seed: a second run of a seed adds no evidence."""
    by_seed: dict[int, Run] = {}
    for run in self.runs:
      if run.result() is not None:
        by_seed.setdefault(run.seed, run)
    return tuple(by_seed.values())

  @functools.cached_property
  def accuracies(self) -> np.ndarray:
    """Share of test puzzles that the last checkpoint of each finished run solves."""
    return np.array([run.result() for run in self.finished], np.float64)

  @property
  def mean(self) -> float | None:
    return float(self.accuracies.mean()) if len(self.accuracies) else None

  @property
  def deviation(self) -> float | None:
    """Standard deviation over seeds; None if there are fewer than two."""
    return float(self.accuracies.std(ddof=1)) if len(self.accuracies) > 1 else None

  @property
  def num_params(self) -> int:
    return self.runs[0].num_params

  def mean_of(self, value: Callable[[Run], float | None]) -> float | None:
    """The mean over the finished runs that have the value."""
    values = [v for v in map(value, self.finished) if v is not None]
    return float(np.mean(values)) if values else None


@dataclasses.dataclass(frozen=True)
class Effort:
  """The examples and FLOPs of a run up to the first evaluation that found a given share of validation puzzles solved.

  Attributes:
    reached: False if no evaluation found that share; the numbers are those of the whole run then.
    examples: a row of a training step is one.
    flops: of training; None if they were not recorded.
  """

  reached: bool
  examples: float
  flops: float | None


def effort(run: Run, share: float) -> Effort:
  """The effort until a share of the puzzles, greater than 0 and at most 1, was solved."""
  first = run.first_step_with(share)
  step = run.step if first is None else first
  at, flops = run.curve("train/flops")
  return Effort(first is not None, step * run.knobs["batch_size"],
                float(np.interp(step, [0, *at], [0, *flops])) if len(at) else None)


def mean_effort(efforts: Iterable[Effort], name: str) -> float | None:
  """The mean of a field; None unless all runs reached the share, for a mean of the successful ones would mislead."""
  values = [getattr(effort, name) if effort.reached else None for effort in efforts]
  return None if None in values else float(np.mean(values))


def settings_of(runs: Iterable[Run]) -> list[Setting]:
  """Groups runs by setting and labels each: by its config's name if that is unique, else by its differences."""
  groups: dict[str, list[Run]] = {}
  for run in runs:
    groups.setdefault(json.dumps(run.knobs, sort_keys=True), []).append(run)
  settings = [Setting(group[0].knobs, tuple(group)) for group in groups.values()]
  names = [sorted({run.name for run in s.runs}) for s in settings]
  labels = []
  for setting, own in zip(settings, names):
    alone = [n for n in own if n and sum(n in other for other in names) == 1]
    if alone:
      labels.append(" = ".join(alone[:2]) + f" (+{len(alone) - 2})" * (len(alone) > 2))
      continue
    same = [s for s, other in zip(settings, names) if set(own) & set(other)]
    what = describe(setting.knobs, varying(same))
    labels.append(f"{own[0]}: {what}" if own[0] else what or "unnamed")
  return [dataclasses.replace(s, label=label) for s, label in zip(settings, labels)]


def varying(settings: Iterable[Setting]) -> list[str]:
  """Names of the knobs that are not the same in all settings."""
  knobs = [s.knobs for s in settings]
  return [name for name in sorted({name for k in knobs for name in k})
          if len({json.dumps(k.get(name)) for k in knobs}) > 1]


def changed(one: Setting, other: Setting) -> list[str]:
  """Names of the knobs in which two settings differ."""
  return varying([one, other])


def short(knob: str) -> str:
  """A knob's name for people: without its group unless the rest would be unclear."""
  leaf = knob.rpartition(".")[2]
  return knob if leaf in ("name", "seed") else leaf


def describe(knobs: dict[str, Any], names: Iterable[str]) -> str:
  """Knobs and values as text: "H_cycles=3, dtype=float32"."""
  return ", ".join(f"{short(name)}={show.text(knobs.get(name, 'absent'))}" for name in names)


def choose_base(settings: Sequence[Setting], name: str | None) -> Setting:
  """Chooses the setting that others are compared with.

  Args:
    settings: of the report.
    name: a config's name, a label or a run's folder; None: the setting with a result that differs least from all
      others.

  Raises:
    UserError: no setting has this name, or several have it.
  """
  if name is None:
    candidates = [s for s in settings if s.finished] or settings
    return min(candidates, key=lambda s: (sum(len(changed(s, o)) for o in settings), -len(s.finished), s.label))
  called = [s for s in settings if s.label == name] or [
      s for s in settings if any(name.rstrip("/") in (r.name, r.path, r.path.rpartition("/")[2]) for r in s.runs)]
  if len(called) != 1:
    raise UserError(f"--base={name}: {'several settings are' if called else 'no setting is'} called so; there are "
                    + "; ".join(s.label for s in called or settings))
  return called[0]


@dataclasses.dataclass(frozen=True)
class Difference:
  """The difference of a setting from the base.

  Attributes:
    gap: difference of the means.
    interval: 95 % confidence interval; None if the spread is unknown.
    established: whether the difference is more than chance.
    why: the reason for that verdict, in words.
  """

  gap: float
  interval: tuple[float, float] | None
  established: bool
  why: str


def pooled_deviation(settings: Iterable[Setting]) -> tuple[float, int]:
  """The standard deviation over seeds, common to all settings, and its degrees of freedom."""
  several = [s.accuracies for s in settings if len(s.accuracies) > 1]
  freedom = sum(len(a) - 1 for a in several)
  return (float(np.sqrt(sum(((a - a.mean()) ** 2).sum() for a in several) / freedom)) if freedom else 0.0), freedom


def difference(base: np.ndarray, other: np.ndarray, pooled: tuple[float, int] = (0.0, 0)) -> Difference:
  """Compares the mean of `other` with the base's.

  The interval is Welch's if both have at least two seeds. A single run has no spread of its own: then the interval
  uses the spread `pooled` over the report's settings, and the gap must also be at least twice the known spread.
  """
  gap = float(other.mean() - base.mean())
  single = min(len(base), len(other)) < 2
  if single:
    deviation, freedom = pooled
    error = deviation * np.sqrt(1 / len(base) + 1 / len(other))
  else:
    parts = np.array([base.var(ddof=1) / len(base), other.var(ddof=1) / len(other)])
    error = np.sqrt(parts.sum())
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(base), len(other)]) - 1)).sum() if error else 0
  interval = None
  if error:
    half = float(special.stdtrit(freedom, 0.975) * error)
    interval = gap - half, gap + half
  # The comparison allows for rounding: 0.44 - 0.4 is a little less than 0.04.
  if (single or not interval) and abs(gap) < 2 * KNOWN_SPREAD - 1e-6:
    return Difference(gap, interval, False, f"{'one seed' if single else 'no spread measured'}: under "
                      f"{2 * KNOWN_SPREAD * 100:.0f} points")
  if interval and interval[0] <= 0 <= interval[1]:
    return Difference(gap, interval, False, "interval contains 0")
  return Difference(gap, interval, True, "interval excludes 0" if interval else
                    f"{2 * KNOWN_SPREAD * 100:.0f} points or more")


@dataclasses.dataclass(frozen=True)
class Family:
  """Settings that differ in one quantity, and in knobs that follow it.

  Attributes:
    points: (x, setting), sorted by x.
    tied: knobs that follow x.
    fixed: all other knobs; they tell families apart.
  """

  points: tuple[tuple[Any, Setting], ...]
  tied: tuple[str, ...]
  fixed: dict[str, Any]


def families(settings: Iterable[Setting], x: Callable[[Setting], Any], knobs: Sequence[str], tied: Sequence[str],
             base: Setting) -> list[Family]:
  """Finds families of settings with a result that differ only in x; the largest family comes first.

  Args:
    settings: to search.
    x: reads the quantity along which a family is spread.
    knobs: the knobs that x depends on.
    tied: knobs that may follow x. If they do not (several settings share one x), each of them has one value in a
      family; if several settings still share an x, the one that differs least from the base is taken.
    base: of the report.
  """
  settings = [s for s in settings if s.finished]

  def group(members, free):
    groups: dict[str, list[Setting]] = {}
    for s in members:
      fixed = {k: v for k, v in s.knobs.items() if k not in free}
      groups.setdefault(json.dumps(fixed, sort_keys=True), []).append(s)
    return list(groups.values())

  def ambiguous(members):
    return len({x(s) for s in members}) < len(members)

  result = []
  for members in group(settings, (*knobs, *tied)):
    parts = [members]
    if ambiguous(members):
      strict = [part for part in group(members, knobs) if len({x(s) for s in part}) > 1]
      parts = strict or parts
    for part in parts:
      nearest: dict[Any, Setting] = {}
      for s in sorted(part, key=lambda s: len(changed(s, base))):
        nearest.setdefault(x(s), s)
      if len(nearest) > 1:
        points = tuple(sorted(nearest.items(), key=lambda point: point[0]))
        differing = varying(nearest.values())
        result.append(Family(points, tuple(k for k in differing if k in tied),
                             {k: v for k, v in points[0][1].knobs.items() if k not in differing}))
  return sorted(result, key=lambda f: -len(f.points))


@dataclasses.dataclass(frozen=True)
class Fit:
  """A straight line by least squares, resampled over runs.

  Attributes:
    slope, intercept: of the line through all runs.
    interval: 90 % interval of the slope.
    resampled: (2, resamples), slopes and intercepts.
    num_runs: number of runs that are fitted.
    bent: whether the means at each x miss the line by more than the spread there explains (F test of the lack of fit,
      5 %); None if that spread is unknown.
  """

  slope: float
  intercept: float
  interval: tuple[float, float]
  resampled: np.ndarray
  num_runs: int
  bent: bool | None

  def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The line, and the 5 % and 95 % quantiles of the resampled lines."""
    lines = self.resampled[0][:, None] * x[None] + self.resampled[1][:, None]
    return self.slope * x + self.intercept, *np.quantile(lines, [0.05, 0.95], axis=0)


def fit_line(x: Sequence[float], y: Sequence[float], seed: int = 0) -> Fit | None:
  """Fits a line. Returns None if there are fewer than three different x.

  Args:
    x, y: one number per run.
    seed: of the resampling.
  """
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  if len(set(x)) < 3:
    return None
  chosen = np.random.default_rng(seed).integers(len(x), size=(_RESAMPLES, len(x)))
  chosen = chosen[np.ptp(x[chosen], axis=1) > 0]  # a sample with a single x has no slope

  def line(x, y):
    centred = x - x.mean(-1, keepdims=True)
    slope = (centred * y).sum(-1) / (centred**2).sum(-1)
    return np.stack([slope, y.mean(-1) - slope * x.mean(-1)])

  slope, intercept = line(x, y)
  resampled = line(x[chosen], y[chosen])
  low, high = np.quantile(resampled[0], [0.05, 0.95])
  return Fit(float(slope), float(intercept), (float(low), float(high)), resampled, len(x),
             _bent(x, y, slope * x + intercept))


def _bent(x: np.ndarray, y: np.ndarray, line: np.ndarray) -> bool | None:
  places, which = np.unique(x, return_inverse=True)
  means = np.bincount(which, y)[which] / np.bincount(which)[which]
  around_means, freedom = ((y - means) ** 2).sum(), len(x) - len(places)
  if not freedom or not around_means:
    return None
  ratio = ((means - line) ** 2).sum() / (len(places) - 2) / (around_means / freedom)
  return bool(special.fdtrc(len(places) - 2, freedom, ratio) < 0.05)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
  """Indices, sorted by cost, of the (cost, value) whose value no other beats at the same cost or less."""
  best, chosen = -np.inf, []
  for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
    if points[i][1] > best:
      best = points[i][1]
      chosen.append(i)
  return chosen


def groups(settings: Sequence[Setting], base: Setting, most: int) -> list[tuple[str, list[Setting]]]:
  """Groups settings for one plot each, beside the base, by the knobs in which they differ from it.

  Returns:
    (what varies, settings), at most `most` settings each; settings whose changes nobody shares form one group.
  """
  by_knobs: dict[tuple[str, ...], list[Setting]] = {}
  for s in settings:
    if s is not base:
      by_knobs.setdefault(tuple(changed(s, base)), []).append(s)
  result = [(", ".join(map(short, knobs)), members) for knobs, members in by_knobs.items() if len(members) > 1]
  alone = [members[0] for members in by_knobs.values() if len(members) == 1]
  if alone:
    result.append(("single changes" if len(alone) > 1 else ", ".join(map(short, changed(alone[0], base))), alone))
  return [(what, members[i : i + most]) for what, members in result for i in range(0, len(members), most)] or [("", [])]
