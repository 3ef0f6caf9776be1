# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Draws the report's pictures: functions that take settings, families and fits, and return matplotlib figures."""

from collections.abc import Callable, Sequence
import dataclasses
import io
import re
import textwrap
import zlib

import matplotlib
from matplotlib import axes
from matplotlib import cm
from matplotlib import colors
from matplotlib import figure
from matplotlib import lines
from matplotlib import patches
from matplotlib import ticker
import numpy as np

from trm_jax.report import show
from trm_jax.report.analysis import Difference
from trm_jax.report.analysis import Effort
from trm_jax.report.analysis import Family
from trm_jax.report.analysis import Fit
from trm_jax.report.analysis import mean_effort
from trm_jax.report.analysis import Setting
from trm_jax.report.runs import Run
from trm_jax.runtime import console

MOST_CURVES = 6  # the most curves in one plot, beside the base
# A picture within a page has these replaced by the page's own colours, so that it follows light and dark.
INK, MUTED, GRID = "#1b1f24", "#68707a", "#d5d9de"
# Okabe and Ito's colours, which colour-blind people can tell apart; each also has its own marker and dash.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))
_BETTER, _WORSE, _OPEN = _COLORS[0], _COLORS[5], "#9aa3ad"
_STYLE = {
    "font.size": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.7,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "axes.facecolor": "none", "svg.fonttype": "path", "svg.hashsalt": "trm_jax",
}


def _figure(width: float, height: float) -> figure.Figure:
  return figure.Figure(figsize=(width, height), layout="constrained", facecolor="none")


def styled(draw: Callable) -> Callable:
  """Decorates a function that draws, so that it uses this report's style."""

  def drawn(*args, **kwargs):
    with matplotlib.rc_context(_STYLE):
      return draw(*args, **kwargs)

  return drawn


def png(fig: figure.Figure) -> bytes:
  """The picture as PNG, on white."""
  return _saved(fig, format="png", dpi=160, facecolor="white")


def svg(fig: figure.Figure) -> str:
  """The picture as SVG, on white."""
  return _saved(fig, format="svg", facecolor="white", metadata={"Date": None}).decode()


def inline_svg(drawing: str, title: str) -> str:
  """Turns the result of `svg` into an element in the page's colours; a page can contain several of them.

  Args:
    drawing: the result of `svg`.
    title: escaped, and unique among the page's pictures.
  """
  drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
  drawing = drawing.replace("fill: #ffffff", "fill: none", 1)  # the background, which is drawn first
  used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing))
  drawing = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", drawing)
  # Pictures in one page share ids, but an id means the same glyph, marker or rectangle only within one picture.
  prefix = f"p{zlib.crc32(title.encode()):08x}-"
  drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}", drawing)
  for color, name in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid")):
    drawing = drawing.replace(color, f"var(--{name})")
  width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', drawing).groups()
  # The picture is as wide as it was drawn, but at most as wide as the page.
  return drawing.replace(f'width="{width}pt" height="{height}pt"',
                         f'role="img" aria-label="{title}" style="width: {width}pt; max-width: 100%; height: auto"', 1)


def _saved(fig: figure.Figure, **kwargs) -> bytes:
  buffer = io.BytesIO()
  with matplotlib.rc_context(_STYLE):
    fig.savefig(buffer, **kwargs)
  return buffer.getvalue()


# Helpers.


def _percent(ax: axes.Axes, axis: str = "y") -> None:
  getattr(ax, f"{axis}axis").set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{100 * v:.3g} %"))


def _wrap(label: str, width: int = 34) -> str:
  return "\n".join(textwrap.wrap(label, width, break_long_words=True) or [""])


def _n(label: str, setting: Setting) -> str:
  return _wrap(f"{label} (n={len(setting.finished)})")


def _legend_right(fig: figure.Figure, handles, labels, title: str | None = None) -> None:
  fig.legend(handles, labels, loc="outside right upper", fontsize=8.5, title=title, title_fontsize=8.5,
             alignment="left", labelspacing=0.7)


def _value_axis(ax: axes.Axes, values: Sequence[float]) -> None:
  """Makes a logarithmic axis with a tick at each value of the runs; a tick too near to the last one gets no label."""
  labels, last = [], -np.inf
  for value in values:
    near = np.log(value) - last < 0.05 * np.log(values[-1] / values[0])
    labels.append("" if near else show.text(value) if value < 1e6 else f"{value / 1e6:.3g} M")
    last = last if near else np.log(value)
  ax.set_xscale("log")
  ax.xaxis.set_major_locator(ticker.FixedLocator(list(values)))
  ax.xaxis.set_major_formatter(ticker.FixedFormatter(labels))
  ax.xaxis.set_minor_locator(ticker.NullLocator())
  if len(values) > 6:
    ax.tick_params(axis="x", labelrotation=45)
  ax.margins(x=0.08)


def _singles(ax: axes.Axes, x: np.ndarray, y: np.ndarray) -> None:
  """Draws a circle for each run, on top of the marks of means."""
  ax.plot(x, y, "o", markersize=3.5, color=INK, markerfacecolor="none", markeredgewidth=0.8, zorder=3)


def _luminance(color) -> float:
  return float(np.dot(colors.to_rgb(color), (0.299, 0.587, 0.114)))


def _spread(runs: Sequence[Run], curve: Callable[[Run], tuple[np.ndarray, np.ndarray]]):
  """Steps in the range that all runs share, and their mean, minimum and maximum there; None without any curve."""
  curves = [c for c in map(curve, runs) if len(c[0])]
  if not curves:
    return None
  first, last = max(c[0][0] for c in curves), min(c[0][-1] for c in curves)
  steps = np.unique(np.concatenate([c[0] for c in curves]))
  steps = steps[(steps >= first) & (steps <= last)]
  values = np.stack([np.interp(steps, *c) for c in curves])
  return steps, values.mean(0), values.min(0), values.max(0)


@dataclasses.dataclass(frozen=True)
class _Look:
  """The look of a curve."""

  color: str
  marker: str
  dash: object
  width: float = 1.6


def _looks(base: Setting | None, others: Sequence[Setting]) -> list[tuple[Setting, _Look]]:
  """Settings with their looks: first, below the others, the base in ink."""
  own = [(s, _Look(_COLORS[i], _MARKERS[i], _DASHES[i])) for i, s in enumerate(others)]
  return ([(base, _Look(INK, "o", "-", 2.2))] if base else []) + own


def _band(ax: axes.Axes, x, mean, low, high, look: _Look) -> lines.Line2D:
  markers = dict(marker=look.marker, markersize=3.5) if len(x) <= 30 else {}
  line, = ax.plot(x, mean, color=look.color, linestyle=look.dash, linewidth=look.width, **markers)
  if (high > low).any():
    ax.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0)
  return line


# Pictures.


@styled
def learning_curves(base: Setting | None, others: Sequence[Setting]) -> figure.Figure:
  """Draws accuracy while training and training loss: mean and band over seeds, unfinished runs as thin lines."""
  fig = _figure(10, 3.7)
  panels = fig.subplots(1, 2)
  handles, labels = [], []
  curves = (Run.watched, lambda run: run.curve("train/loss"))
  for setting, look in _looks(base, others):
    going = [run for run in setting.runs if run.result() is None]
    for ax, curve in zip(panels, curves):
      if spread := _spread(setting.finished, curve):
        line = _band(ax, *spread, look)
        if ax is panels[0]:
          handles.append(line)
          labels.append(_n(setting.label, setting))
      for run in going:
        x, y = curve(run)
        thin, = ax.plot(x, y, color=look.color, linewidth=0.9, linestyle=":")
        if np.isfinite(y).any():
          ax.plot(x[np.isfinite(y)][-1], y[np.isfinite(y)][-1], color=look.color, marker="x", markersize=6)
        if run is going[0] and ax is panels[0]:
          handles.append(thin)
          what = f"{len(going)} runs without a result" if len(going) > 1 else "a run without a result"
          labels.append(_wrap(f"{setting.label}: {what}, to ×"))
  panels[0].set(title="Puzzles solved while training", ylim=(-0.02, 1.02))
  panels[1].set(title="Training loss per puzzle", yscale="log")
  _percent(panels[0])
  for ax in panels:
    ax.set_xlabel("training step")
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5))
  panels[1].yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
  panels[1].yaxis.set_minor_formatter(ticker.NullFormatter())
  _legend_right(fig, handles, labels)
  return fig


@styled
def effort(efforts: Sequence[tuple[Setting, Sequence[Effort]]]) -> figure.Figure:
  """Draws the examples and training FLOPs of each setting, the first on top, with a mark per run."""
  efforts = efforts[::-1]
  fig = _figure(10, 1.2 + 0.34 * len(efforts))
  left, right = fig.subplots(1, 2, sharey=True)
  for ax, name in ((left, "examples"), (right, "flops")):
    for y, (_, of_setting) in enumerate(efforts):
      mean = mean_effort(of_setting, name)
      if mean is not None:
        ax.barh(y, mean, height=0.62, color=_BETTER, alpha=0.55, linewidth=0)
      for effort in of_setting:
        value = getattr(effort, name)
        if value is not None and effort.reached:
          _singles(ax, value, y)
        elif value is not None:
          ax.plot(value, y, ">", markersize=5, color=_WORSE, markerfacecolor="none")
    ax.set_xlim(left=0)
    ax.margins(x=0.05)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: console.count(v).strip()))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0, labelsize=8.5)
  left.set(title="Examples", ylim=(-0.6, len(efforts) - 0.4), yticks=range(len(efforts)),
           yticklabels=[_n(s.label, s) for s, _ in efforts])
  right.set(title="Training FLOPs (model matrix products)")
  keys = [patches.Patch(color=_BETTER, alpha=0.55, linewidth=0),
          lines.Line2D([], [], marker="o", linestyle="", color=INK, markerfacecolor="none", markersize=4),
          lines.Line2D([], [], marker=">", linestyle="", color=_WORSE, markerfacecolor="none", markersize=5)]
  fig.legend(keys, ["mean", "one run", "a run that ended before"], loc="outside lower center", ncols=3, fontsize=8.5)
  return fig


@styled
def ablation_bars(rows: Sequence[tuple[Setting, Difference | None]]) -> figure.Figure:
  """Draws mean accuracies with a circle per seed, and the differences from the base, which comes first."""
  rows = rows[::-1]
  fig = _figure(10, 1.5 + 0.36 * len(rows))
  left, right = fig.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
  for y, (setting, diff) in enumerate(rows):
    color = INK if diff is None else _OPEN if not diff.established else _BETTER if diff.gap > 0 else _WORSE
    if not len(setting.accuracies):
      left.text(0.005, y, "no finished run", va="center", style="italic", fontsize=8.5, color=MUTED)
      continue
    left.barh(y, setting.mean, height=0.62, color=color, alpha=0.55, linewidth=0)
    _singles(left, setting.accuracies, np.full(len(setting.accuracies), y))
    if diff:
      if diff.interval:
        right.plot(np.array(diff.interval) * 100, [y, y], color=color, linewidth=1.8, solid_capstyle="butt")
      right.plot(diff.gap * 100, y, "o" if diff.established else "D", markersize=6, color=color,
                 markerfacecolor=color if diff.established else "none", markeredgewidth=1.5)
  right.axvline(0, color=INK, linewidth=1)
  left.set(title="Test puzzles solved", xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4),
           yticks=range(len(rows)), yticklabels=[_n(s.label if d or i < len(rows) - 1 else f"base: {s.label}", s)
                        for i, (s, d) in enumerate(rows)])
  left.tick_params(axis="y", length=0, labelsize=8.5)
  right.tick_params(axis="y", length=0)
  right.set(title="Difference from the base, points")
  right.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:+g}" if v else "0"))
  _percent(left, "x")
  for ax in (left, right):
    ax.grid(axis="y", visible=False)
  keys = [lines.Line2D([], [], marker="o", color=_BETTER), lines.Line2D([], [], marker="o", color=_WORSE),
          lines.Line2D([], [], marker="D", color=_OPEN, markerfacecolor="none"),
          lines.Line2D([], [], marker="o", linestyle="", color=INK, markerfacecolor="none", markersize=4)]
  fig.legend(keys, ["established: better", "established: worse", "not established", "one run"],
             loc="outside lower center", ncols=4, fontsize=8.5)
  return fig


@styled
def scaling(families: Sequence[tuple[Family, str, Fit | None, Fit | None]], xlabel: str, special: dict[object, str],
            power: bool) -> figure.Figure:
  """Draws accuracy against one quantity, with a circle per run; with `power` also the error on two logarithmic axes.

  Args:
    families: each with its label and its fits of accuracy and of the error's logarithm, against log2 x.
    xlabel: name of x.
    special: values of x that have no place on the axis, and their meaning.
    power: whether to draw the error, too.
  """
  fig = _figure(10 if power else 7.6, 3.9)
  panels = fig.subplots(1, 2) if power else [fig.subplots()]
  handles, labels, ticks = [], [], set()
  for i, (family, label, *fits) in enumerate(families):
    look = _Look(_COLORS[i], _MARKERS[i], _DASHES[i])
    placed = [(x, s) for x, s in family.points if x not in special]
    ticks |= {x for x, _ in placed}
    for ax, fit, error in zip(panels, fits, (False, True)):
      for x, s in placed:
        values = errors(s) if error else s.accuracies
        _singles(ax, np.full(len(values), x), values)
      means = [errors(s).mean() if error else s.mean for _, s in placed]
      ax.plot([x for x, _ in placed], means, look.marker, color=look.color, markersize=7,
              linestyle="" if fit else ":", linewidth=0.9)
      if fit:
        x = np.geomspace(placed[0][0], placed[-1][0], 50)
        middle, low, high = fit.at(np.log2(x))
        if error:
          middle, low, high = (np.exp2(v) for v in (middle, low, high))
        ax.plot(x, middle, color=look.color, linestyle=look.dash, linewidth=0.8 if fit.bent else 1.6)
        if not fit.bent:
          ax.fill_between(x, low, high, color=look.color, alpha=0.13, linewidth=0)
    for x, s in family.points:
      if x in special:
        panels[0].axhline(s.mean, color=look.color, linestyle=":", linewidth=1.2)
        panels[0].annotate(f"{special[x]}: {show.percent(s.mean)}", (1, s.mean), (-2, 3), fontsize=8, ha="right",
                           xycoords=("axes fraction", "data"), textcoords="offset points")
    handles.append(lines.Line2D([], [], color=look.color, marker=look.marker, linestyle=look.dash if fits[0] else ":"))
    counts = sorted({len(s.accuracies) for _, s in family.points})
    n = f"n={'–'.join(map(str, counts[:: max(1, len(counts) - 1)]))} a point"
    labels.append(_wrap(f"{label} ({n})"))
  panels[0].set(title="Test puzzles solved" + f", {n}" * (len(families) == 1), xlabel=xlabel)
  _percent(panels[0])
  low, high = panels[0].get_ylim()
  panels[0].set_ylim(max(low, -0.02), min(high, 1.02))  # bands may leave [0, 1]
  if power:
    panels[1].set(title="Error: puzzles not solved", xlabel=xlabel, yscale="log")
    _percent(panels[1])
    wide = np.divide(*panels[1].get_ylim()[::-1]) > 3
    panels[1].yaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5) if wide else range(2, 10)))
    panels[1].yaxis.set_minor_formatter(panels[1].yaxis.get_major_formatter())
  for ax in panels:
    _value_axis(ax, sorted(ticks))
  if len(families) > 1:
    _legend_right(fig, handles, labels)
  return fig


def errors(setting: Setting) -> np.ndarray:
  """Share of test puzzles that each run did not solve; zero counts as half a puzzle, so that it has a logarithm."""
  half = np.array([0.5 / (run.result("num_puzzles") or 1000) for run in setting.finished])
  return np.maximum(1 - setting.accuracies, half)


@dataclasses.dataclass(frozen=True)
class Grid:
  """Settings along two axes.

  Attributes:
    title, xlabel, ylabel: texts of the picture.
    x, y: values along the axes.
    cells: (x, y) -> setting, without missing ones.
    notes: (x, y) -> a further line of the cell's text.
  """

  title: str
  xlabel: str
  ylabel: str
  x: list
  y: list
  cells: dict[tuple, Setting]
  notes: Callable[[object, object], str] = lambda x, y: ""


@styled
def heat_map(grid: Grid) -> figure.Figure:
  """Draws mean accuracy and n in each cell; a cell without a finished run is hatched."""
  fig = _figure(2.6 + 1.05 * len(grid.x), 1.6 + 0.72 * len(grid.y))
  ax = fig.subplots()
  means = [s.mean for s in grid.cells.values() if s.finished]
  low, high = min(means), max(means)
  scale = cm.ScalarMappable(colors.Normalize(low, high if high > low else low + 1e-9), matplotlib.colormaps["cividis"])
  for column, x in enumerate(grid.x):
    for row, y in enumerate(grid.y):
      setting = grid.cells.get((x, y))
      note = grid.notes(x, y)
      if setting is None or not setting.finished:
        ax.add_patch(patches.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="none", edgecolor=GRID, hatch="////",
                                       linewidth=0))
        said, color = ("no run" if setting is None else "no result"), MUTED
      else:
        fill = scale.to_rgba(setting.mean)
        ax.add_patch(patches.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=fill, linewidth=0))
        said, color = show.percent(setting.mean), "#101010" if _luminance(fill) > 0.5 else "#fdfdfd"
        note = f"{len(setting.finished)} seed{'s' * (len(setting.finished) != 1)}" + f", {note}" * bool(note)
      ax.text(column, row - 0.1 if note else row, said, ha="center", va="center", color=color,
              fontsize=10 if setting and setting.finished else 8.5, fontweight="bold" if setting and setting.finished
              else "normal")
      if note:
        ax.text(column, row + 0.24, note, ha="center", va="center", fontsize=7.5, color=color)
  ax.set(title=grid.title, xlabel=grid.xlabel, ylabel=grid.ylabel, xlim=(-0.5, len(grid.x) - 0.5),
         ylim=(-0.5, len(grid.y) - 0.5), xticks=range(len(grid.x)), yticks=range(len(grid.y)),
         xticklabels=map(show.text, grid.x), yticklabels=map(show.text, grid.y))
  ax.invert_yaxis()
  ax.grid(False)
  ax.tick_params(length=0)
  ax.spines[:].set_visible(False)
  bar = fig.colorbar(scale, ax=ax, label="test puzzles solved", shrink=0.9)
  _percent(bar.ax)
  bar.outline.set_visible(False)
  bar.ax.grid(False)
  return fig


@styled
def depth(points: Sequence[tuple[int, Setting]], labels: Sequence[str]) -> figure.Figure:
  """Draws accuracy against effective depth."""
  fig = _figure(7.2, 3.6)
  ax = fig.subplots()
  for i, ((x, setting), label) in enumerate(zip(points, labels)):
    _singles(ax, np.full(len(setting.accuracies), x), setting.accuracies)
    ax.plot(x, setting.mean, "o", color=_COLORS[0], markersize=7)
    # Labels alternate between left and right, since neighbours are close.
    ax.annotate(label, (x, setting.mean), (7, -11) if i % 2 else (-7, 5), textcoords="offset points", fontsize=8.5,
                ha="left" if i % 2 else "right")
  ax.set(title="Test puzzles solved", xlabel="effective depth T (n + 1) layers")
  _value_axis(ax, sorted({x for x, _ in points}))
  ax.margins(x=0.14)
  _percent(ax)
  return fig


@styled
def compute(points: Sequence[tuple[float, Setting]], best: Sequence[int]) -> figure.Figure:
  """Draws accuracy against training FLOPs; the settings on the Pareto front are numbered and joined."""
  fig = _figure(10, 4.2)
  ax = fig.subplots()
  for flops, setting in points:
    if len(setting.accuracies) > 1:
      ax.plot([flops, flops], [setting.accuracies.min(), setting.accuracies.max()], color=_OPEN, linewidth=1.2)
    ax.plot(flops, setting.mean, "o", color=_OPEN, markersize=6)
  chosen = [points[i] for i in best]
  ax.plot([f for f, _ in chosen], [s.mean for _, s in chosen], color=_COLORS[0], linewidth=1.4, drawstyle="steps-post")
  handles, labels = [], []
  for i, (flops, setting) in enumerate(chosen):
    ax.plot(flops, setting.mean, "o", color=_COLORS[0], markersize=13)
    ax.text(flops, setting.mean, str(i + 1), ha="center", va="center_baseline", fontsize=8, color="#ffffff",
            fontweight="bold")
    handles.append(lines.Line2D([], [], linestyle="", marker=f"${i + 1}$", color=_COLORS[0], markersize=7))
    labels.append(_n(f"{setting.label}: {show.percent(setting.mean)}", setting))
  if len(points) > len(chosen):
    handles.append(lines.Line2D([], [], linestyle="", marker="o", color=_OPEN, markersize=6))
    labels.append("not on the front")
  ax.set(title="Test puzzles solved", xlabel="training FLOPs of a run (model matrix products)", xscale="log")
  _percent(ax)
  ax.margins(x=0.07)
  _legend_right(fig, handles, labels, title="Pareto front")
  return fig


@styled
def by_step(base: Setting | None, others: Sequence[Setting]) -> figure.Figure:
  """Draws accuracy on the test set after each supervision step."""
  fig, ax, steps = _test_curves(base, others, "by_step", _steps)
  ax.set(title="Test puzzles solved", xlabel="supervision steps at test time", xlim=(0.7, steps[-1] + 0.3))
  ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  return fig


def as_drawn(pixels: np.ndarray) -> figure.Figure:
  """Shows a picture, (height, width, channels), that a run has drawn."""
  height, width = pixels.shape[:2]
  fig = figure.Figure(figsize=(width / 150, height / 150))  # boards.solving_picture's dots per inch
  ax = fig.add_axes((0, 0, 1, 1))
  ax.imshow(pixels)
  ax.set_axis_off()
  return fig


@styled
def by_votes(base: Setting | None, others: Sequence[Setting]) -> figure.Figure:
  """Draws the share of test inputs solved by one of two answers, against the number of versions that vote."""
  fig, ax, numbers = _test_curves(base, others, "by_votes", votes)
  ax.set(title="Test inputs solved by one of two answers", xlabel="versions that vote")
  _value_axis(ax, numbers)
  return fig


def votes(run: Run) -> tuple[np.ndarray, np.ndarray]:
  """Numbers of versions that vote, and pass@2 with each number."""
  table = run.result("by_votes")
  return np.array([int(number) for number in table]), np.array([row["pass@2"] for row in table.values()])


def _test_curves(base: Setting | None, others: Sequence[Setting], result: str,
                 curve: Callable[[Run], tuple[np.ndarray, np.ndarray]]) -> tuple[figure.Figure, axes.Axes, np.ndarray]:
  """Draws a curve for each setting whose runs have this result. Also returns all x at which a curve has a value."""
  fig = _figure(8.6, 3.7)
  ax = fig.subplots()
  handles, labels, places = [], [], [[1]]
  for setting, look in _looks(base, others):
    if spread := _spread([run for run in setting.finished if run.result(result)], curve):
      handles.append(_band(ax, *spread, look))
      labels.append(_n(setting.label, setting))
      places.append(spread[0])
  _percent(ax)
  _legend_right(fig, handles, labels)
  return fig, ax, np.unique(np.concatenate(places))


def _steps(run: Run) -> tuple[np.ndarray, np.ndarray]:
  values = np.array(run.result("by_step")[run.headline], np.float64)
  return np.arange(1, len(values) + 1), values
