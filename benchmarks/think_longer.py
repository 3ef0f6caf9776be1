# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Measures the gain of thinking longer: accuracy against forward passes, for every way in which a model can do so.

    python -m benchmarks.think_longer --checkpoint=runs/quickstart --puzzles=256 --noise=0.1 --noise=0.3 --png=x.png

A pass is one supervision step of one attempt. `steps` makes one attempt of 1, 2, 4, … --most_steps steps; the other
rules of stopping take fewer passes, at most --most_steps. `noise 0.3`, `initial states` (if the model was trained with
random ones) and `versions` (if the task has symmetries) make 1, 2, 4, … --most_attempts attempts, each of the steps
that the model was trained for, and choose among them in every way. `proof` asks the rules and `pass@` the labels: both
are bounds that the model cannot reach alone.
"""

from collections.abc import Iterator
import itertools
import pathlib
import sys
from typing import Any

from absl import flags
import numpy as np

from benchmarks import measure
from trm_jax import cli
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.config import STOPS
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.report import plots
from trm_jax.runtime import sharding
from trm_jax.tasks import Task
from trm_jax.training.evaluator import Evaluator

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/.",
                                  allow_override=True)
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "test"], "Split of the run's puzzles.")
_DATA = flags.DEFINE_string("data", None, "Folder whose test puzzles are used instead of the run's puzzles.",
                            allow_override=True)
_PUZZLES = flags.DEFINE_integer("puzzles", 256, "Number of puzzles, the first of the split.", lower_bound=1)
_MOST_STEPS = flags.DEFINE_integer("most_steps", 256, "Most steps of one attempt.", lower_bound=1)
_MOST_ATTEMPTS = flags.DEFINE_integer("most_attempts", 64, "Most attempts at each puzzle.", lower_bound=2)
_NOISE = flags.DEFINE_multi_float("noise", [0.3], "Standard deviation of the noise on the latent state; repeat for "
                                  "several.", lower_bound=0.0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of noise, initial states and versions.")
_BATCH = flags.DEFINE_integer("batch", 256, "Attempts per batch.", lower_bound=1)
_PNG = flags.DEFINE_string("png", None, "File for the picture; default: none.")


def _powers(most: int) -> list[int]:
  return [1 << i for i in range(most.bit_length())]


class _Model:
  """A trained model and the puzzles that measure it."""

  def __init__(self, loaded: weights.Weights, puzzles: Puzzles):
    self.model, self.task, self._loaded, self._puzzles = loaded.model, loaded.task, loaded, puzzles
    self.symmetric = type(loaded.task).symmetry is not Task.symmetry

  def _evaluated(self, **kwargs: Any):
    print("measuring", *(f"{name}={value}" for name, value in kwargs.items()), file=sys.stderr, flush=True)
    evaluator = Evaluator(
        lambda model: model, self.task, mesh=sharding.make_mesh(), batch_size=_BATCH.value,
        max_puzzles=len(self._puzzles), loss_config=self._loaded.config.loss, seed=_SEED.value, **kwargs)
    return evaluator, evaluator.evaluate(self.model, self._puzzles)

  def deep(self) -> Iterator[dict[str, Any]]:
    """Makes one attempt with more steps, or with a rule of stopping."""
    for stop in STOPS:
      if stop == "proven" and not self.task.checked:
        continue
      _, evaluation = self._evaluated(steps=_MOST_STEPS.value, stop=stop)
      by_step = evaluation.metrics()["by_step"][self.task.headline]
      for steps in _powers(_MOST_STEPS.value) if stop == "steps" else [len(by_step)]:
        yield _row(stop, "-", 1, evaluation.steps.mean() if stop != "steps" else steps, by_step[steps - 1])

  def broad(self, method: str, **kwargs: Any) -> Iterator[dict[str, Any]]:
    """Makes several attempts."""
    evaluator, evaluation = self._evaluated(**kwargs)
    for number in _powers(evaluation.attempts):
      _, tables = evaluator.choose(self._puzzles, evaluation, first=number)
      passes = evaluation.steps.reshape(-1, evaluation.attempts)[:, :number].sum(1).mean()
      for choice, values in (tables["by_choice"] | tables["by_check"]).items():
        choice = "pass@" if choice.startswith("pass@") else choice
        yield _row(method, choice, number, passes, values[self.task.headline])


def _row(method: str, choice: str, attempts: int, passes: float, solved: float) -> dict[str, Any]:
  return {"method": method, "choice": choice, "attempts": attempts, "passes a puzzle": round(float(passes), 2),
          "solved": round(solved, 4)}


@plots.styled
def _draw(rows: list[dict[str, Any]], what: str):
  """Draws one panel for each way to choose, with one line per method, and the line of more steps in all of them."""
  from matplotlib import figure  # pylint: disable=g-import-not-at-top
  from matplotlib import ticker  # pylint: disable=g-import-not-at-top

  choices = [choice for choice in dict.fromkeys(row["choice"] for row in rows) if choice != "-"]
  methods = list(dict.fromkeys(row["method"] for row in rows))
  fig = figure.Figure(figsize=(3.1 * len(choices) + 1.4, 3.6), layout="constrained")
  titles = {"proof": "proof (asks the rules)", "pass@": "pass@K (asks labels)"}
  for panel, choice in zip(fig.subplots(1, len(choices), sharey=True, squeeze=False)[0], choices):
    for marker, method in zip(itertools.cycle("os^DvPX*<>"), methods):
      points = [row for row in rows if row["method"] == method and row["choice"] in ("-", choice)]
      panel.plot([row["passes a puzzle"] for row in points], [row["solved"] for row in points], label=method,
                 marker=marker, markersize=4.5, linewidth=1.4)
    panel.set_title(titles.get(choice, f"by {choice}"))
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(1))
    panel.set_xlabel("forward passes a puzzle")
  fig.axes[0].set_ylabel(f"solved, of {what}")
  fig.legend(*fig.axes[0].get_legend_handles_labels(), loc="outside right center")
  return fig


def main(argv: list[str]) -> None:
  """Measures, prints and draws."""
  cli.no_arguments(argv)
  if _CHECKPOINT.value is None:
    raise UserError("--checkpoint is missing: give the folder of a run")
  loaded = weights.load(_CHECKPOINT.value)
  if loaded.task.stores_versions:
    raise UserError(f"--checkpoint={_CHECKPOINT.value}: {loaded.task.name} counts votes in its own way; evaluate "
                    "it with --mode=eval")
  if _DATA.value:
    puzzles = evaluate.load_test(loaded, evaluate.task_of(loaded, _DATA.value))
    what = f"puzzles of {_DATA.value}"
  else:
    splits = splits_lib.load(loaded.task)
    puzzles, what = splits.test if _SPLIT.value == "test" else splits.validation, f"{_SPLIT.value} puzzles"
  if puzzles is None:
    raise UserError(f"--split=validation: {loaded.folder} has no validation puzzles; take --split=test")
  measure.check_file(_PNG.value, "--png")
  puzzles = puzzles.take_groups(np.arange(min(_PUZZLES.value, puzzles.num_groups)))
  model, most = _Model(loaded, puzzles), _MOST_ATTEMPTS.value
  rows = list(model.deep())
  for noise in _NOISE.value:
    rows += model.broad(f"noise {noise:g}", rollouts=most, noise=noise)
  if loaded.model.config.random_init:
    rows += model.broad("initial states", rollouts=most)
  if model.symmetric:
    versions = most - 1 if loaded.task.max_versions is None else min(most - 1, loaded.task.max_versions)
    rows += model.broad("versions", versions=versions)
  what = f"{len(puzzles):,} {what}"
  measure.report(f"Thinking longer: {loaded.task.name}, step {loaded.step:,}, {what}, seed {_SEED.value}, trained with "
                 f"{loaded.model.config.halt_max_steps} steps", rows)
  if _PNG.value:
    pathlib.Path(_PNG.value).write_bytes(plots.png(_draw(rows, what)))


if __name__ == "__main__":
  cli.run(main)
