# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Draws the loss and the accuracies of a run."""

from collections.abc import Iterable, Mapping
import os
import pathlib
from typing import Any

from trm_jax.runtime import files


def learning_curve(path: str | os.PathLike[str], records: Iterable[Mapping[str, Any]], title: str,
                   headline: str = "exact_accuracy") -> None:
  """Draws loss and accuracies against the training step, as a PNG with two panels.

  Args:
    path: of the file to write.
    records: lines of metrics.jsonl; each has `step` and measurements `<split>/loss`, `<split>/accuracy` (cells), and
      `<split>/exact_accuracy` and `<split>/<headline>` (puzzles). Other names are ignored.
    title: above the panels.
    headline: see tasks.Task.
  """
  from matplotlib import figure
  from matplotlib import ticker

  curves: dict[str, tuple[list[int], list[float]]] = {}
  for record in records:
    for name, value in record.items():
      if name.endswith(("/loss", "/accuracy", "/exact_accuracy", f"/{headline}")):
        x, y = curves.setdefault(name, ([], []))
        x.append(record["step"])
        y.append(value)

  fig = figure.Figure(figsize=(10, 4), layout="constrained")
  loss_ax, accuracy_ax = fig.subplots(1, 2)
  colors: dict[str, str] = {}
  for name, (x, y) in curves.items():
    split, metric = name.split("/")
    colors.setdefault(split, f"C{len(colors)}")
    marker = {} if len(x) > 40 else dict(marker="o", markersize=3) if len(x) > 1 else dict(marker="D", markersize=6)
    if metric == "loss":
      loss_ax.plot(x, y, color=colors[split], linewidth=1.4, label=split, **marker)
    else:
      what, style = {headline: ("puzzles solved", "-"), "accuracy": ("cells right", ":")}.get(
          metric, ("puzzles equal to their labels", "--"))
      accuracy_ax.plot(x, y, color=colors[split], linewidth=1.4, linestyle=style, label=f"{split}: {what}", **marker)
  loss_ax.set(title="loss", ylabel="loss per puzzle")
  accuracy_ax.set(title="accuracy", ylim=(-0.02, 1.02))
  accuracy_ax.yaxis.set_major_formatter(ticker.PercentFormatter(1))
  for ax in (loss_ax, accuracy_ax):
    ax.set_xlabel("training step")
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
      ax.legend(fontsize=8, frameon=False)
  fig.suptitle(title)
  with files.replacing(pathlib.Path(path)) as file:
    fig.savefig(file, format="png", dpi=150)
