# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Measures how a model does on larger puzzles than those it was trained on, after more and more supervision steps.

    python -m benchmarks.larger_puzzles --checkpoint=runs/maze --value=7 --value=9 --value=15 --png=x.png

For generated puzzles, and for models whose weights do not depend on the number of cells: those with attention and
rotary positions. Each value of --field, a knob of config.data, makes test puzzles of another size. Those of the run's
own value are its own test puzzles, none of which it was trained on.
"""

import pathlib
import sys
from typing import Any

from absl import flags

from benchmarks import measure
from trm_jax import cli
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.report import plots
from trm_jax.runtime import sharding
from trm_jax.training.evaluator import Evaluator

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/.",
                                  allow_override=True)
_FIELD = flags.DEFINE_string("field", "rows", "The knob of config.data that sets the size.")
_VALUES = flags.DEFINE_multi_integer("value", None, "A value of it; repeat for several.", lower_bound=1)
_PUZZLES = flags.DEFINE_integer("puzzles", 256, "Number of test puzzles of each size.", lower_bound=1,
                                allow_override=True)
_STEPS = flags.DEFINE_integer("steps", 32, "Most supervision steps.", lower_bound=1, allow_override=True)
_BATCH = flags.DEFINE_integer("batch", 64, "Puzzles at once.", lower_bound=1, allow_override=True)
_PNG = flags.DEFINE_string("png", None, "File for the picture; default: none.", allow_override=True)


def _loaded(value: int, trained: weights.Weights) -> weights.Weights:
  """The model for puzzles of another size, or of its own."""
  changes = {_FIELD.value: value, "num_test": _PUZZLES.value}
  if value != getattr(trained.config.data, _FIELD.value, None):
    # No puzzle of another size was trained on, so there are none to avoid.
    changes |= {"num_train": 1, "num_validation": 0}
  loaded = weights.load(_CHECKPOINT.value, data_changes=changes)
  if "num_train" in changes and loaded.task.seq_len == trained.task.seq_len:
    raise UserError(f"--field={_FIELD.value} --value={value}: does not change the number of cells")
  return loaded


def _measured(value: int, loaded: weights.Weights) -> list[dict[str, Any]]:
  """Rows of the table for one size, one for each number of steps."""
  print(f"measuring {_FIELD.value}={value}", file=sys.stderr, flush=True)
  puzzles = evaluate.load_test(loaded, loaded.task)
  evaluator = Evaluator(lambda model: model, loaded.task, mesh=sharding.make_mesh(), batch_size=_BATCH.value,
                        max_puzzles=len(puzzles), loss_config=loaded.config.loss, steps=_STEPS.value)
  by_step = evaluator.evaluate(loaded.model, puzzles).metrics()["by_step"]
  return [{_FIELD.value: value, "cells": puzzles.seq_len, "puzzles": len(puzzles), "steps": step,
           "solved": round(solved, 4), "cells right": round(cells, 4)}
          for step, (solved, cells) in enumerate(zip(by_step[loaded.task.headline], by_step["accuracy"]), 1)]


@plots.styled
def _draw(rows: list[dict[str, Any]], own: Any):
  """Draws a line per size over the supervision steps."""
  from matplotlib import figure  # pylint: disable=g-import-not-at-top
  from matplotlib import ticker  # pylint: disable=g-import-not-at-top

  fig = figure.Figure(figsize=(6.4, 3.8), layout="constrained")
  panel, values = fig.subplots(), list(dict.fromkeys(row[_FIELD.value] for row in rows))
  for value in values:
    points = [row for row in rows if row[_FIELD.value] == value]
    panel.plot([row["steps"] for row in points], [row["solved"] for row in points], marker="o", markersize=3,
               label=f"{value}, trained on" if value == own else value)
  panel.set_xscale("log", base=2)
  panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
  panel.yaxis.set_major_formatter(ticker.PercentFormatter(1))
  panel.set(xlabel="supervision steps", ylabel="solved", ylim=(-0.02, 1.02))
  panel.legend(title=_FIELD.value, loc="center left", bbox_to_anchor=(1, 0.5))
  return fig


def main(argv: list[str]) -> None:
  """Measures, prints and draws."""
  cli.no_arguments(argv)
  if _CHECKPOINT.value is None or not _VALUES.value:
    raise UserError("--checkpoint or --value is missing: give the folder of a run, and values of --field")
  loaded = weights.load(_CHECKPOINT.value)
  if loaded.config.data.source != "generated":
    raise UserError(f"--checkpoint={_CHECKPOINT.value}: its puzzles come from {loaded.config.data.source}, and only "
                    "generated ones can be had in other sizes; for those of a file: --mode=eval --set=data.FIELD=VALUE")
  measure.check_file(_PNG.value, "--png")
  of_sizes = {value: _loaded(value, loaded) for value in _VALUES.value}  # all, before one is measured
  rows = [row for value, of_size in of_sizes.items() for row in _measured(value, of_size)]
  shown = [row for row in rows if row["steps"] & (row["steps"] - 1) == 0]
  measure.report(f"Larger puzzles: {loaded.task.name}, step {loaded.step:,}, trained with "
                 f"{loaded.model.config.halt_max_steps} steps", shown)
  if _PNG.value:
    pathlib.Path(_PNG.value).write_bytes(plots.png(_draw(rows, getattr(loaded.config.data, _FIELD.value))))


if __name__ == "__main__":
  cli.run(main)
