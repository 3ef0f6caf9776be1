# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes a report's sections, each of a sentence, pictures and tables; omits those that the runs have no data for."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import os
from typing import Any

from matplotlib import figure
import numpy as np

from trm_jax import config as config_lib
from trm_jax.report import analysis
from trm_jax.report import plots
from trm_jax.report import show
from trm_jax.report.analysis import Difference
from trm_jax.report.analysis import Family
from trm_jax.report.analysis import Fit
from trm_jax.report.analysis import Setting
from trm_jax.report.runs import Run
from trm_jax.report.runs import Unreadable
from trm_jax.runtime import console
from trm_jax.runtime.console import plural
from trm_jax.training import metrics_log


_SHARES = (0.5, 0.9)  # of the validation puzzles; the effort until they are solved is shown


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    name: of its CSV file.
    columns: header of each, and the function that formats its values.
    rows: values; None stands for a missing one.
    note: text below the table.
    in_file: number of last columns that only the CSV file has.
  """

  name: str
  columns: Sequence[tuple[str, Callable[[Any], str]]]
  rows: Sequence[Sequence[Any]]
  note: str = ""
  in_file: int = 0


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture. Attributes: name, of its files; fig; caption, which says what is drawn and how."""

  name: str
  fig: figure.Figure
  caption: str


@dataclasses.dataclass(frozen=True)
class Section:
  """A section. Attributes: title; sentence, the finding; parts below it, where a string is a paragraph."""

  title: str
  sentence: str
  parts: Sequence[Table | Picture | str]


class Report:
  """Everything about a set of runs.

  Args:
    runs: those that could be read.
    unreadable: the others.
    base: name of the setting that others are compared with; None: the report chooses one.
  """

  def __init__(self, runs: Sequence[Run], unreadable: Sequence[Unreadable], base: str | None):
    self.runs, self.unreadable = runs, unreadable
    self.settings = analysis.settings_of(runs)
    self.base = analysis.choose_base(self.settings, base)
    self.base_is_chosen = base is None
    # The folder that contains all of them; paths are shown without it.
    self.folder = os.path.commonprefix([r.path for r in (*runs, *unreadable)]).rpartition("/")[0]
    self.done = [s for s in self.settings if s.finished]
    self.groups = analysis.groups(self.settings, self.base, plots.MOST_CURVES)

  def sections(self) -> list[Section]:
    """The sections that the runs have data for, in order."""
    made = [self.summary(), self.learning_curves(), self.effort(), self.ablation(), *self.scaling(),
            self.rate_and_batch(), self.recursion(), self.compute(), self.by_step(), self.by_votes(), self.answers(),
            self.cost(), self.every_run()]
    return [section for section in made if section]

  def summary(self) -> Section:
    """The runs by number and status, and the best setting."""
    finished = [r for r in self.runs if r.result() is not None]
    failed = [r for r in self.runs if r.status.startswith("failed")]
    unscored = [r for r in self.runs if r.is_unscored]
    counts = [f"{len(finished)} finished"]
    counts += [f"{count} {what}" for count, what in (
        (len(unscored), f"finished {metrics_log.WITHOUT_SCORE}"),
        (len(self.runs) - len(finished) - len(unscored) - len(failed), "unfinished"), (len(failed), "failed"),
        (len(self.unreadable), "unreadable")) if count]
    best = max(self.done, key=lambda s: s.mean, default=None)
    sentence = (f"{plural(len(self.runs) + len(self.unreadable), 'run')} of {plural(len(self.settings), 'setting')}: "
                f"{', '.join(counts)}. ")
    if best:
      several = f", mean of {plural(len(best.finished), 'seed')} ({show.span(best.accuracies)})"
      sentence += (f"The best setting is {best.label} with {show.percent(best.mean)} of the test puzzles solved"
                   f"{several if best.deviation is not None else ', one seed'}.")
    else:
      sentence += "None has a score." if unscored else "None has a result yet."
    seconds = [r.seconds for r in self.runs if r.seconds is not None]
    rows = [("devices", show.listed(sorted({r.devices for r in self.runs})))]
    if seconds:
      hours = sum(r.device_hours for r in self.runs if r.seconds is not None)
      rows.append(("training time", f"{console.duration(sum(seconds))}; {show.hours(hours)} device-hours "
                   f"({plural(len(seconds), 'run')}, without evaluations)"))
    if total := [r.last("train/flops") for r in self.runs if r.last("train/flops") is not None]:
      rows.append(("training FLOPs", show.flops(sum(total))))
    if finished:
      top = max(finished, key=Run.result)
      rows.append(("best run", f"{show.percent(top.result())}, {self._label(top)}, seed {top.seed}"))
    puzzles = sorted({r.result("num_puzzles") for r in finished} - {None})
    if puzzles:
      rows.append(("test puzzles", " or ".join(f"{n:,}" for n in puzzles)))
    rows.append(("base", self.base.label + ", which differs least from the others" * (
        self.base_is_chosen and len(self.settings) > 1)))
    seeds = max((len(s.finished) for s in self.settings), default=0)
    fewer = [f"{s.label} ({len(s.finished)} of {seeds})" for s in self.settings if len(s.finished) < seeds]
    if fewer:
      rows.append(("fewer finished seeds than others", show.listed(fewer, 8)))
    rows += [(self._place(r), r.status) for r in self.runs if r.result() is None]
    rows += [(self._place(r), f"unreadable: {r.reason}") for r in self.unreadable]
    return Section("Summary", sentence, [Table("summary", [("", str), ("", str)], rows)])

  def _place(self, run: Run | Unreadable) -> str:
    return run.path.removeprefix(f"{self.folder}/")

  def _label(self, run: Run) -> str:
    return next(s.label for s in self.settings if run in s.runs)

  def learning_curves(self) -> Section | None:
    """Accuracy and loss against training steps."""
    if not any(len(r.watched()[0]) or len(r.curve("train/loss")[0]) for r in self.runs):
      return None
    reached = []
    for s in self.done:
      share = [self._share_of_run(r) for r in s.finished if len(r.watched()[0]) > 1 and r.watched()[1].max() > 0]
      if share:
        reached.append((float(np.mean(share)), s.label))
    sentence = "Accuracy and loss of every setting during training."
    if reached:
      fastest, slowest = min(reached), max(reached)
      sentence = (f"By the evaluations during training, a setting reaches 90 % of its own best accuracy after "
                  f"{show.percent(fastest[0])} of the steps")
      if slowest[0] > fastest[0]:
        sentence += f" at the earliest ({fastest[1]}) and after {show.percent(slowest[0])} at the latest ({slowest[1]})"
      sentence += "."
    parts = ["Lines are means over seeds, bands reach from the lowest to the highest. The thickest line is the base, "
             f"{self.base.label}."]
    for i, (what, members) in enumerate(self.groups, 1):
      parts.append(Picture(f"learning_curves_{i}", plots.learning_curves(self.base, members),
                           f"What varies: {what}." if what else self.base.label))
    return Section("Learning curves", sentence, parts)

  @staticmethod
  def _share_of_run(run: Run) -> float:
    """Share of the run's steps after which it first reached 90 % of its best accuracy."""
    return run.first_step_with(0.9 * run.watched()[1].max()) / run.total_steps

  def effort(self) -> Section | None:
    """Examples and training FLOPs until a share of the validation puzzles was solved."""
    if len(self.done) < 2:
      return None
    rows, pictures, sentences = [], [], []
    for share in _SHARES:
      efforts = [(s, [analysis.effort(r, share) for r in s.finished]) for s in self.done]
      if not any(effort.reached for _, of_setting in efforts for effort in of_setting):
        continue
      efforts.sort(key=lambda pair: (-np.mean([e.reached for e in pair[1]]), np.mean([e.examples for e in pair[1]])))
      solved = show.percent(share)
      for s, of_setting in efforts:
        reached = [e.examples for e in of_setting if e.reached]
        rows.append([share, s.label, len(reached), len(of_setting), analysis.mean_effort(of_setting, "examples"),
                     min(reached, default=None), max(reached) if len(reached) == len(of_setting) else None,
                     analysis.mean_effort(of_setting, "flops")])
      least = analysis.mean_effort(efforts[0][1], "examples")
      if least is not None:
        sentences.append(f"{efforts[0][0].label} solved {solved} of the validation puzzles after the fewest examples, "
                         f"{show.number(least)}")
      pictures.append(Picture(f"effort_{share * 100:.0f}", plots.effort(efforts), f"Effort until {solved} of the "
                              "validation puzzles were solved. Circles are single runs; bars are means, where all runs "
                              "got there; an arrow is a run that ended before."))
    if not rows:
      return None
    columns = [("solved", show.percent), ("setting", str), ("runs that got there", str), ("n", str),
               ("examples", show.number), ("from", show.number), ("to", show.number), ("training FLOPs", show.flops)]
    return Section("Effort for an accuracy", ("; ".join(sentences) or "No setting got there with all its runs") + ".", [
        *pictures, Table("effort", columns, rows, "Up to the first evaluation that found that share of the validation "
                         "puzzles solved, so the distance between two evaluations bounds the precision. Means are of "
                         "settings whose runs all got there.")])

  def ablation(self) -> Section | None:
    """Every setting beside the base."""
    if not self.base.finished or len(self.settings) < 2:
      return None
    pooled = analysis.pooled_deviation(self.done)
    others = sorted((s for s in self.settings if s is not self.base), key=lambda s: -(s.mean or -1))
    compared = [(s, analysis.difference(self.base.accuracies, s.accuracies, pooled) if s.finished else None)
                for s in others]
    rows = [self._ablation_row(self.base, None), *(self._ablation_row(*c) for c in compared)]
    sure = [(s, d) for s, d in compared if d and d.established]
    judged = sum(d is not None for _, d in compared)
    sentence = f"{len(sure)} of {plural(judged, 'difference')} from {self.base.label} are established"
    if len(sure) == 1 or judged == 1:
      sentence = sentence.replace(" are ", " is ")
    if sure:
      largest, diff = max(sure, key=lambda c: abs(c[1].gap))
      sentence += f"; the largest is {largest.label} with {show.points(diff.gap)} points"
    sentence += "."
    note = ("Differences are in points of puzzles solved, with 95 % intervals. With two or more seeds on each side, "
            "the interval is Welch's. For a single run ")
    note += (f"it uses the standard deviation pooled over all settings, {pooled[0] * 100:.1f} points. " if pooled[0]
             else "there is none, because no setting has several seeds. ")
    note += ("On Sudoku-Extreme the seeds of one setting spread by about ±2 points. The same is assumed here, so for "
             "a single run a gap under 4 points is never called established.")
    if judged > 5:
      note += (f" Among {judged} comparisons without any real difference, about {judged / 20:.1f} would be called "
               "established by chance.")
    columns = [("setting", str), ("mean", show.percent), ("std", lambda v: f"{v * 100:.1f}"), ("min", show.percent),
               ("max", show.percent), ("n", str), ("runs", str), ("points from the base", show.points),
               ("95 % from", show.points), ("to", show.points), ("verdict", str), ("why", str), ("what differs", str)]
    return Section("Ablations", sentence, [
        Picture("ablation", plots.ablation_bars([(self.base, None), *compared]),
                "Left: bars are means, circles are single runs; the base comes first. Right: differences from the base "
                "with 95 % intervals; there is no line where the spread is unknown."),
        Table("ablation", columns, rows, note)])

  def _ablation_row(self, s: Setting, diff: Difference | None) -> list[Any]:
    found = s.accuracies
    low, high = diff.interval if diff and diff.interval else (None, None)
    verdict, why = ("base", None) if s is self.base else ("no finished run", None) if diff is None else (
        "established" if diff.established else "not established", diff.why)
    return [s.label, s.mean, s.deviation, *((found.min(), found.max()) if len(found) else (None, None)), len(found),
            len(s.runs), diff.gap if diff else None, low, high, verdict, why,
            analysis.describe(s.knobs, analysis.changed(s, self.base)) or None]

  def scaling(self) -> Iterator[Section]:
    """Accuracy against one knob at a time."""
    for scale in _SCALES:
      found = analysis.families(self.settings, scale.x, scale.knobs, scale.tied, self.base)
      if found:
        yield self._scaling(scale, found)

  def _scaling(self, scale: "_Scale", found: list[Family]) -> Section:
    drawn = found[: plots.MOST_CURVES]
    fitted, rows = [], []
    names = sorted({k for f in drawn for k in f.fixed})
    names = [k for k in names if len({repr(f.fixed.get(k)) for f in drawn}) > 1]
    for family in drawn:
      # The label names what distinguishes the family from others; knobs that only follow x do not.
      label = analysis.describe(family.fixed, [k for k in names if k in family.fixed]) or family.points[0][1].label
      if len(drawn) == 1:
        label = "all else equal"
      placed = [(x, s) for x, s in family.points if x not in scale.special]
      x = [np.log2(x) for x, s in placed for _ in s.accuracies]
      accuracy = analysis.fit_line(x, [a for _, s in placed for a in s.accuracies])
      power = scale.power and analysis.fit_line(x, [np.log2(e) for _, s in placed for e in plots.errors(s)]) or None
      fitted.append((family, label, accuracy, power))
      rows.append(self._fit_row(family, label, accuracy, power))
    family, label, accuracy, power = fitted[0]
    best_x, best = max(family.points, key=lambda point: point[1].mean)
    where = scale.special.get(best_x) or scale.at.format(show.text(best_x))
    sentence = f"The highest mean, {show.percent(best.mean)}, is with {where}"
    sentence += f" ({label})" if len(drawn) > 1 else ""
    if accuracy:
      low, high = accuracy.interval
      trend = "rises" if low > 0 else "falls" if high < 0 else "shows no clear trend"
      sentence += (f"; over {plural(accuracy.num_runs, 'run')} accuracy {trend}: {show.points(accuracy.slope)} points "
                   f"a doubling (90 % interval {show.interval(accuracy.interval)})")
      sentence += ", but the means do not lie on a straight line" * bool(accuracy.bent)
    else:
      sentence += "; there are fewer than three different values, so nothing is fitted"
    if power:
      sentence += (f", and the error is proportional to the number of {scale.title} to the power "
                   f"{show.signed(power.slope)} (90 % interval {' to '.join(map(show.signed, power.interval))})")
    tied = sorted({analysis.short(k) for f, *_ in fitted for k in f.tied})
    caption = ("Circles are single runs, filled marks are means. Lines are least-squares fits, with 90 % bands from "
               "resampling the runs. A line is thin and has no band where the means do not lie on a straight line.")
    if tied:
      caption += f" Along the x axis, {', '.join(tied)} {'vary' if len(tied) > 1 else 'varies'}, too."
    if len(found) > len(drawn):
      caption += f" The picture shows the {len(drawn)} of {len(found)} families that have the most settings."
    columns = [("family", str), (scale.title, str), ("runs", str), ("points a doubling", show.points),
               ("90 % from", show.points), ("to", show.points), ("straight", str)]
    if scale.power:
      columns += [("power of the error", show.signed), ("power from", show.signed), ("power to", show.signed),
                  ("power straight", str)]
    name = f"scaling_{scale.name}"
    return Section(f"Scaling: {scale.title}", sentence + ".", [
        Picture(name, plots.scaling(fitted, scale.title, scale.special, scale.power), caption),
        Table(name, columns, rows, "Fits are straight lines against the logarithm of x."
              + " For the error, both axes are logarithmic." * scale.power + " Intervals from few runs are rough. "
              "The column straight says no where the means miss the line by more than the spread of the runs explains "
              "(F test of the lack of fit, 5 %); the slope then says little.")])

  @staticmethod
  def _fit_row(family: Family, label: str, accuracy: Fit | None, power: Fit | None) -> list[Any]:
    row = [label, ", ".join(show.text(x) for x, _ in family.points), sum(len(s.finished) for _, s in family.points)]
    for fit in (accuracy, power):
      row += [fit.slope, *fit.interval, {True: "no", False: "yes", None: None}[fit.bent]] if fit else [None] * 4
    return row

  def rate_and_batch(self) -> Section | None:
    """Accuracy over a grid of learning rates and batch sizes."""
    rate, batch = "optimizer.learning_rate", "batch_size"
    grid = self._grid(rate, batch, ("optimizer.prefix_learning_rate", *_LENGTH))
    if not grid:
      return None
    cells = {(s.knobs[batch], s.knobs[rate]): s for s in grid}
    x, y = (sorted({key[i] for key in cells}) for i in (0, 1))
    if len(x) < 2 or len(y) < 2:
      return None
    best = max((s for s in grid if s.finished), key=lambda s: s.mean)
    missing = len(x) * len(y) - sum(bool(s.finished) for s in grid)
    sentence = (f"The best of {len(x) * len(y)} cells is learning rate {show.text(best.knobs[rate])} at batch "
                f"{best.knobs[batch]:,} with {show.percent(best.mean)}")
    sentence += f"; {missing} {'has' if missing == 1 else 'have'} no result." if missing else "."
    each = [f"{show.text(top.knobs[rate])} at batch {b:,}" for b in x for top in [max(
        (s for s in grid if s.finished and s.knobs[batch] == b), key=lambda s: s.mean, default=None)] if top]
    picture = plots.heat_map(plots.Grid("Learning rate and batch size", "batch size", "learning rate", x, y, cells))
    return Section("Learning rate and batch size", sentence, [
        Picture("lr_batch", picture, "Mean share of test puzzles solved over n seeds; hatched cells have no result."),
        f"Best learning rate for each batch size: {', '.join(each)}.",
        self._grid_table("lr_batch", grid, [("learning rate", rate), ("batch size", batch)])])

  def _grid(self, one: str, other: str, tied: Sequence[str]) -> list[Setting]:
    """The largest set of settings, finished or not, that differ only in two knobs and in knobs that may follow them."""
    by_rest: dict[str, list[Setting]] = {}
    for s in self.settings:
      rest = {k: v for k, v in s.knobs.items() if k not in (one, other, *tied)}
      by_rest.setdefault(repr(sorted(rest.items())), []).append(s)
    grids = []
    for members in by_rest.values():
      nearest: dict[tuple, Setting] = {}
      # If several settings share a cell, it gets one with a result and, among these, the nearest to the base.
      for s in sorted(members, key=lambda s: (not s.finished, len(analysis.changed(s, self.base)))):
        nearest.setdefault((s.knobs.get(one), s.knobs.get(other)), s)
      grids.append(list(nearest.values()))
    grid = max(grids, key=len, default=[])
    return grid if len(grid) > 2 and any(s.finished for s in grid) else []

  @staticmethod
  def _grid_table(name: str, grid: Sequence[Setting], knobs: Sequence[tuple[str, str]]) -> Table:
    columns = [*((title, show.text) for title, _ in knobs), ("mean", show.percent),
               ("std", lambda v: f"{v * 100:.1f}"), ("n", str)]
    rows = sorted([*(s.knobs[knob] for _, knob in knobs), s.mean, s.deviation, len(s.finished)] for s in grid)
    return Table(name, columns, rows)

  def recursion(self) -> Section | None:
    """Accuracy over a grid of T and n."""
    cycles, updates = "model.H_cycles", "model.L_cycles"
    grid = self._grid(cycles, updates, ())
    if not grid:
      return None
    layers = grid[0].knobs["model.L_layers"]

    def depth(t, n):
      return t * (n + 1) * layers

    cells = {(s.knobs[updates], s.knobs[cycles]): s for s in grid}
    x, y = (sorted({key[i] for key in cells}) for i in (0, 1))
    done = [s for s in grid if s.finished]
    best, worst = max(done, key=lambda s: s.mean), min(done, key=lambda s: s.mean)
    places = [(depth(s.knobs[cycles], s.knobs[updates]), s) for s in sorted(done, key=lambda s: s.mean)]
    rank = _rank_correlation([d for d, _ in places], [s.mean for _, s in places]) if len(places) > 2 else None
    (t_low, n_low), (t_high, n_high) = ((s.knobs[cycles], s.knobs[updates]) for s in (worst, best))
    sentence = (f"Accuracy goes from {show.percent(worst.mean)} at T={t_low} n={n_low} "
                f"(effective depth {depth(t_low, n_low)}) to {show.percent(best.mean)} at T={t_high} "
                f"n={n_high} (depth {depth(t_high, n_high)})")
    if rank is not None:
      sentence += f"; the rank correlation of accuracy with depth is {show.signed(rank)}"
    picture = plots.heat_map(plots.Grid(
        "Recursion: T cycles of n updates", "n, updates of z_L in a cycle", "T, cycles", x, y, cells,
        lambda n, t: f"depth {depth(t, n)}"))
    labels = [f"T={s.knobs[cycles]} n={s.knobs[updates]}" for _, s in places]
    return Section("Recursion", sentence + ".", [
        Picture("recursion", picture, "Mean share of test puzzles solved over the seeds, with the effective depth, "
                "which is T (n + 1) times the number of layers; hatched cells have no result."),
        Picture("depth", plots.depth(places, labels), "Circles are single runs, filled marks are means."),
        self._grid_table("recursion", grid, [("T", cycles), ("n updates", updates)])])

  def compute(self) -> Section | None:
    """Accuracy against training FLOPs."""
    spent = [(s.mean_of(lambda r: r.last("train/flops")), s) for s in self.done]
    spent = sorted(((f, s) for f, s in spent if f), key=lambda point: point[0])
    if len(spent) < 2:
      return None
    best = analysis.front([(f, s.mean) for f, s in spent])
    cheap, dear = spent[best[0]], spent[best[-1]]
    sentence = (f"{plural(len(best), 'setting')} of {len(spent)} {'lie' if len(best) > 1 else 'lies'} on the front: "
                f"{'from ' * (len(best) > 1)}{show.percent(cheap[1].mean)} at {show.flops(cheap[0])} "
                f"({cheap[1].label})")
    if len(best) > 1:
      sentence += f" to {show.percent(dear[1].mean)} at {show.flops(dear[0])} ({dear[1].label})"
    rows = [[s.label, f, s.mean, len(s.finished), "yes" if i in best else "no"] for i, (f, s) in enumerate(spent)]
    return Section("Accuracy against training compute", sentence + ".", [
        Picture("compute", plots.compute(spent, best), "Each mark is the mean of a setting over its seeds, with a line "
                "from the lowest to the highest. A setting is on the front if no other beats it with the same FLOPs or "
                "fewer."),
        Table("compute", [("setting", str), ("training FLOPs", show.flops), ("mean", show.percent), ("n", str),
                          ("on the front", str)], rows)])

  def by_step(self) -> Section | None:
    """Accuracy against supervision steps at test time."""
    curves = {}
    for s in self.done:
      found = [r.result("by_step")[r.headline] for r in s.finished if r.result("by_step")]
      if found and min(map(len, found)) > 1:
        curves[s.label] = np.mean([c[: min(map(len, found))] for c in found], 0)
    if not curves:
      return None
    label, gain = max(((label, curve[-1] - curve[0]) for label, curve in curves.items()), key=lambda item: item[1])
    curve = curves[label]
    first = int(np.argmax(curve >= curve.max() - 0.01)) + 1
    sentence = (f"More steps gain {'most in ' if len(curves) > 1 else 'in '}{label}: from {show.percent(curve[0])} "
                f"after one supervision step to {show.percent(curve[-1])} after {len(curve)}; the accuracy is within a "
                f"point of its best after {plural(first, 'step')}.")
    parts = ["Lines are means over seeds, bands reach from the lowest to the highest."]
    for i, (what, members) in enumerate(self.groups, 1):
      members = [m for m in members if m.label in curves]
      if members or i == 1:
        parts.append(Picture(f"by_step_{i}", plots.by_step(self.base, members),
                             f"What varies: {what}." if what else self.base.label))
    rows = [[label, *(c[step - 1] if step <= len(c) else None for step in _STEPS_SHOWN)] for label, c in curves.items()]
    longest = max(map(len, curves.values()))
    shown = [step for step in _STEPS_SHOWN if step <= longest]
    table = Table("by_step", [("setting", str), *((f"step {step}", show.percent) for step in shown)],
                  [row[: len(shown) + 1] for row in rows])
    return Section("Supervision steps at test time", sentence, [*parts, table])

  def by_votes(self) -> Section | None:
    """Accuracy against the number of versions of a test input that vote."""
    curves = {}
    for s in self.done:
      found = [dict(zip(*(values.tolist() for values in plots.votes(r)))) for r in s.finished if r.result("by_votes")]
      shared = [number for number in found[0] if all(number in curve for curve in found)] if found else []
      if len(shared) > 1:
        curves[s.label] = {number: float(np.mean([curve[number] for curve in found])) for number in shared}
    if not curves:
      return None
    label, curve = max(curves.items(), key=lambda item: max(item[1].values()))
    few, *_, most = curve
    enough = next(number for number, share in curve.items() if share >= curve[most] - 0.01)
    who = f"{label}: o" if len(curves) > 1 else "O"
    sentence = (f"{who}ne of two answers is right for {show.percent(curve[most])} of the test inputs where "
                f"{plural(most, 'version')} of each vote, and for {show.percent(curve[few])} with {plural(few, 'vote')}"
                f"; with {plural(enough, 'vote')} the share is within a point of that with all.")
    parts = ["For each number of versions, the answers of that many versions in one evaluation vote; the value is the "
             "mean of up to eight sets that share no version. Lines are means over seeds, bands reach from the lowest "
             "to the highest."]
    for i, (what, members) in enumerate(self.groups, 1):
      members = [m for m in members if m.label in curves]
      if members or i == 1:
        parts.append(Picture(f"by_votes_{i}", plots.by_votes(self.base, members),
                             f"What varies: {what}." if what else self.base.label))
    numbers = sorted({number for curve in curves.values() for number in curve})
    table = Table("by_votes", [("setting", str), *((f"{number:,}", show.percent) for number in numbers)],
                  [[label, *map(curve.get, numbers)] for label, curve in curves.items()],
                  "pass@2 by the number of versions that vote, including the test input itself.")
    return Section("Votes", sentence, [*parts, table])

  def answers(self) -> Section | None:
    """The picture that the best run has drawn at its end."""
    finished = sorted((r for r in self.runs if r.result() is not None), key=Run.result, reverse=True)
    for run in finished:
      drawn = run.picture()
      if drawn is not None:
        sentence = (f"This is a test puzzle with the answer of {self._label(run)}, seed {run.seed}, which "
                    f"solves {show.percent(run.result())} of the test puzzles.")
        return Section("Answers", sentence, [
            Picture("answers", plots.as_drawn(drawn), "This is solved.png of the run. Of a few puzzles that the model "
                    "solves in the end, it shows the one that took the most steps.")])
    return None

  def cost(self) -> Section | None:
    """Training time and compute of each run."""
    timed = [r for r in self.runs if r.seconds is not None]
    if not timed:
      return None
    dearest = max(timed, key=lambda r: r.device_hours)
    total = sum(r.device_hours for r in timed)
    sentence = (f"{plural(len(timed), 'run')} took {show.hours(total)} device-hours of training; the most expensive is "
                f"{self._label(dearest)}, seed {dearest.seed}, with {show.hours(dearest.device_hours)}.")
    return Section("Cost", sentence, [cost_table(timed, [self._label(r) for r in timed])])

  def every_run(self) -> Section:
    """A table with a row for each run."""
    names = analysis.varying(self.settings)
    columns = [("folder", str), ("setting", str), ("status", str), ("seed", str), ("step", lambda v: f"{v:,}"),
               ("of", lambda v: f"{v:,}"), ("last", show.percent), ("best", show.percent), ("average", show.percent),
               ("while training", show.percent), ("differs from the base", str),
               *((analysis.short(name), show.text) for name in names)]
    rows = []
    for s in self.settings:
      for r in sorted(s.runs, key=lambda r: (r.seed, r.path)):
        again = r.result() is not None and r not in s.finished
        watched = r.watched()[1]
        status = "finished; not counted, because another run has the same seed" if again else r.status
        what = analysis.describe(s.knobs, analysis.changed(s, self.base)) or None
        rows.append([self._place(r), s.label, status, r.seed, r.step, r.total_steps, r.result(),
                     r.result(of="test_best"), r.result(of="test_average"), watched[-1] if len(watched) else None, what,
                     *(s.knobs.get(name, "absent") for name in names)])
    rows += [[self._place(u), None, f"unreadable: {u.reason}", *[None] * (len(columns) - 3)] for u in self.unreadable]
    used = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    sentence = f"{plural(len(rows), 'folder')} in {self.folder or '.'}, and the knobs that differ between them."
    rows = [[row[i] for i in used] for row in rows]
    return Section("Every run", sentence, [Table(
        "runs", [columns[i] for i in used], rows, "The columns last, best and average are the test puzzles solved by "
        "the last checkpoint, by the one that was best on validation and by averaged checkpoints; while training is "
        "the newest evaluation during training. csv/runs.csv has a column for each knob that differs.",
        in_file=len(names))])


def cost_table(runs: Sequence[Run], labels: Sequence[str]) -> Table:
  """A table of each run's time, FLOPs, speed and memory."""
  columns = [("run", str), ("seed", str), ("devices", str), ("training", console.duration),
             ("device-hours", show.hours), ("FLOPs", show.flops), ("examples/s", show.number),
             ("FLOP utilisation", show.percent), ("peak memory, GiB", show.number)]
  rows = []
  for run, label in zip(runs, labels):
    speed, used, memory = (run.curve(f"train/{name}")[1]
                           for name in ("examples_per_s", "flop_utilization", "peak_memory_gib"))
    rows.append([label, run.seed, run.devices, run.seconds, run.device_hours, run.last("train/flops"),
                 *(float(np.median(v)) if len(v) else None for v in (speed, used)),
                 float(memory.max()) if len(memory) else None])
  used = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
  return Table("cost", [columns[i] for i in used], [[row[i] for i in used] for row in rows],
               "Times are of training steps alone, without compiling and evaluating. Speed and utilisation are medians "
               "over the records, memory is the highest value.")


def _rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
  """Spearman's rank correlation; None if all values on one side are equal."""
  def ranks(values):
    values = np.asarray(values)
    return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])

  x, y = ranks(x), ranks(y)
  return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else None


# Knobs of a run's length, which may follow from the one that is varied.
_LENGTH = ("epochs", "steps", "optimizer.warmup_steps")
_STEPS_SHOWN = (1, 2, 4, 8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class _Scale:
  """A quantity that accuracy is plotted against.

  Attributes:
    name: for files.
    title: for headings.
    at: for sentences, with {} for the value.
    x: reads the quantity of a setting.
    knobs: the knobs that x depends on.
    tied: knobs that may follow x.
    power: whether the error may follow a power law.
    special: values of x that are not quantities, and their meaning.
  """

  name: str
  title: str
  at: str
  x: Callable[[Setting], Any]
  knobs: tuple[str, ...]
  tied: tuple[str, ...] = ()
  power: bool = False
  special: dict[Any, str] = dataclasses.field(default_factory=dict)


def _knob(name: str) -> Callable[[Setting], Any]:
  return lambda setting: setting.knobs.get(name)


_SCALES = (
    _Scale("batch", "batch size", "a batch size of {}", _knob("batch_size"), ("batch_size",), _LENGTH),
    _Scale("lr", "learning rate", "a learning rate of {}", _knob("optimizer.learning_rate"),
           ("optimizer.learning_rate",), ("optimizer.prefix_learning_rate",)),
    _Scale("data", "training puzzles", "{} training puzzles", _knob("data.num_train"), ("data.num_train",), _LENGTH,
           power=True, special={0: "all training puzzles"}),
    _Scale("augmentation", "augmentations a puzzle", "{} augmentations a puzzle", _knob("data.num_aug"),
           ("data.num_aug",), _LENGTH, special={0: "no augmentation", -1: "fresh augmentations"}),
    _Scale("model_size", "parameters", "{} parameters", lambda s: s.num_params,
           ("model.hidden_size", "model.L_layers", "model.num_heads", "model.expansion", "model.puzzle_emb_ndim",
            "model.puzzle_emb_len"), power=True),
)


def compare(one: Run, other: Run) -> list[Section]:
  """Two runs side by side."""
  names = ("A", "B")
  pair = [Setting(run.knobs, (run,), f"{name}: {run.path}") for name, run in zip(names, (one, other))]
  results = [run.result() for run in (one, other)]
  if None in results:
    sentence = "; ".join(f"{name}: {run.status}" for name, run in zip(names, (one, other))) + "."
  else:
    diff = analysis.difference(*(s.accuracies for s in pair))
    sentence = (f"A solves {show.percent(results[0])} of the test puzzles, B {show.percent(results[1])}: "
                f"{show.points(diff.gap)} points, {'established' if diff.established else 'not established'} "
                f"({diff.why}).")
  plain = [("", str), ("A", str), ("B", str)]

  def row(what, value, show=str):
    return [what, *(None if v is None else show(v) for v in map(value, (one, other)))]

  rows = [row("folder", lambda r: r.path), row("config", lambda r: r.name or None), row("status", lambda r: r.status),
          row("seed", lambda r: r.seed), row("steps", lambda r: f"{r.step:,} of {r.total_steps:,}"),
          row("parameters", lambda r: r.num_params, "{:,}".format), row("devices", lambda r: r.devices)]
  rows += [row(f"test accuracy, {what}", lambda r, of=of: r.result(of=of), show.percent)
           for what, of in (("last", "test"), ("best", "test_best"), ("average", "test_average"))]
  rows = [r for r in rows if r[1:] != [None, None]]
  both = [s.runs[0].knobs | {"seed": s.runs[0].seed} for s in pair]
  different = [name for name in sorted(both[0].keys() | both[1].keys()) if both[0].get(name) != both[1].get(name)]
  assert len(different) == len(config_lib.differences(*both))
  made = [
      Section("Summary", sentence, [Table("summary", plain, rows)]),
      Section("Config differences", (f"{plural(len(different), 'knob')} that "
                                     f"{'matters differs' if len(different) == 1 else 'matter differ'}: "
                                     f"{', '.join(different)}.") if different else
              "The two configs train the same thing.",
              [Table("differences", [("knob", str), ("A", str), ("B", str)],
                     [[name, *(show.text(b.get(name, "absent")) for b in both)] for name in different])]
              if different else []),
      Section("Learning curves", "Accuracy during training and training loss of both runs.",
              [Picture("learning_curves", plots.learning_curves(None, pair), "A and B.")]),
  ]
  if any(run.result("by_step") for run in (one, other)):
    made.append(Section("Supervision steps at test time", "Accuracy on the test set after each supervision step.",
                        [Picture("by_step", plots.by_step(None, pair), "A and B.")]))
  if any(run.result("by_votes") for run in (one, other)):
    made.append(Section("Votes", "Test inputs solved by one of two answers, against the number of versions that vote.",
                        [Picture("by_votes", plots.by_votes(None, pair), "A and B.")]))
  if any(run.seconds is not None for run in (one, other)):
    made.append(Section("Cost", "The time and compute of both runs.", [cost_table((one, other), names)]))
  return made
