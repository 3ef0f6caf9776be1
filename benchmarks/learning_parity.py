# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Compares whole trainings of the PyTorch reference and this library, seed by seed, as curves and a table.

    git clone https://github.com/SamsungSAILMontreal/TinyRecursiveModels
    pip install torch einops pydantic
    python -m benchmarks.learning_parity --reference=TinyRecursiveModels

Each seed trains both from the same parameters (which the reference draws) on the same batches in the same order, with
the same draws of exploration, both token mixers in both dtypes: 24 trainings of the quick start's model, on its 20,000
puzzles of 4x4 cells. Each side's own evaluation tests the average of the parameters on puzzles whose solution
grids are in no training puzzle, always with halt_max_steps supervision steps.

Every training writes one file in --out and is skipped if its file is there. So the command can be stopped and started
again, and parts (--only, --seeds) can run side by side. OMP_NUM_THREADS=1 NPROC=1 before the command limit PyTorch and
XLA to one core each.
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
import itertools
import pathlib
import sys
import time
from typing import Any

from absl import flags
import jax
import numpy as np

from benchmarks import measure
from benchmarks import side_by_side
from configs import sudoku
from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax.config import Config
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.runtime import sharding
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import evaluator as evaluator_lib

_REFERENCE = flags.DEFINE_string("reference", None, "Folder of a checkout of the reference. Required, but for "
                                 "--plot_only.")
_OUT = flags.DEFINE_string("out", "runs/learning_parity", "Folder of the results: a file for each training, the "
                           "picture.")
_LIBRARIES, _MIXERS, _DTYPES = ("reference", "trm_jax"), ("mlp", "attention"), ("float32", "bfloat16")
_ONLY = flags.DEFINE_multi_enum("only", [], [*_LIBRARIES, *_MIXERS, *_DTYPES], "Train only those of this library, "
                                "mixer or dtype; repeat to choose by several.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of parameters, batches and exploration.")
_STEPS = flags.DEFINE_integer("steps", 468, "Training steps, three epochs by default.", lower_bound=1)
_EVAL_EVERY = flags.DEFINE_integer("eval.every", 78, "Steps between evaluations.", lower_bound=1)
_PLOT_ONLY = flags.DEFINE_bool("plot_only", False, "Only draw the picture and print the table of existing results.")

_LOSS_WINDOW = 13  # steps that a point of the loss curve averages
_COMPARED_STEPS = 1, 10, 50  # steps whose losses the table compares


@dataclasses.dataclass(frozen=True)
class Training:
  """The name of a training: its library, token mixer, dtype and seed."""

  library: str
  mixer: str
  dtype: str
  seed: int

  def __str__(self) -> str:
    return f"{self.library} {self.mixer} {self.dtype} seed {self.seed}"

  def file(self, out: pathlib.Path) -> pathlib.Path:
    """The file of its result."""
    return out / f"{self.library}-{self.mixer}-{self.dtype}-{self.seed}.json"


def make_config(mixer: str, dtype: str) -> Config:
  """The quick start's model and puzzles with this mixer, dtype and --steps; docs/parity.md describes the rest."""
  values = sudoku.quickstart()
  config_lib.change(values, {
      "model.dtype": dtype, "steps": _STEPS.value, "eval.every": _EVAL_EVERY.value, "batch_size": 128,
      "optimizer.learning_rate": 1e-3, "optimizer.prefix_learning_rate": 1e-3, "data.num_validation": 512} | (
      {} if mixer == "mlp" else {"model.mlp_t": False, "model.pos_encodings": "rope"}))
  return config_lib.parse(values)


def settings(training: Training) -> dict[str, Any]:
  """The settings that an earlier result must share."""
  return config_lib.flatten(config_lib.to_dict(make_config(training.mixer, training.dtype)))


class Pair:
  """The reference and this library with one mixer and dtype, for any seed.

  Args:
    folder: of the reference.
    mixer: see Training.
    dtype: see Training.
  """

  def __init__(self, folder: str, mixer: str, dtype: str):
    self.config = config = make_config(mixer, dtype)
    task = SudokuTask(config.data)
    splits = splits_lib.load(task)
    self._unseen = splits.validation
    train = splits.train
    model = config.model.sized(**Sizes.of(train).of_model())
    source = rows_lib.to_device(rows_lib.Source.of(task.arrays(train), train))

    def make_batch(key, step):
      return rows_lib.sample_batch(source, task.row, key, step, batch_size=config.batch_size,
                                   num_aug=config.data.num_aug)

    sizes = {"batch_size": config.batch_size, "total_steps": config.steps}
    self._ours = side_by_side.Ours(model, config.optimizer, make_batch=make_batch, **sizes)
    self._reference = functools.partial(side_by_side.Reference, folder, model, config.optimizer, **sizes,
                                        products_in_float32=dtype == "bfloat16" and jax.default_backend() == "cpu")
    self._evaluator = evaluator_lib.Evaluator(
        lambda state: self._ours.trainer.model(state, averaged=True), task, mesh=sharding.make_mesh(jax.devices()[:1]),
        batch_size=len(self._unseen), max_puzzles=len(self._unseen))
    self._batch = jax.jit(make_batch)
    self._min_steps = jax.jit(self._ours.min_steps)

  def train(self, library: str, seed: int, progress: Callable[[int, dict[str, float]], None]) -> dict[str, Any]:
    """Makes one training from beginning to end.

    Args:
      library: see Training.
      seed: see Training.
      progress: called after each evaluation with the steps made and the evaluation's results.

    Returns:
      `train`: by step the mean loss of the batch, the rows that halted and the supervision steps that these had made;
      `evaluations`: by evaluation its step and shares in [0, 1] of the unseen puzzles; `seconds_a_step`, its median.
    """
    data_key, explore_key = jax.random.split(jax.random.key(seed))
    reference = self._reference(seed=seed)
    if library == "trm_jax":
      self._ours.start(reference.state, data_key, explore_key)
    curves, evaluations, seconds = {"loss": [], "count": [], "steps": []}, [], []
    for step in range(self.config.steps):
      start = time.perf_counter()
      if library == "trm_jax":
        metrics = self._ours.steps(1)
      else:
        batch = jax.device_get(self._batch(data_key, step))
        reference.step(reference.put(batch), np.asarray(self._min_steps(explore_key, step)))
        metrics = reference.metrics()
      seconds.append(time.perf_counter() - start)
      for name, values in curves.items():
        values.append(metrics[name])
      made = step + 1
      if made % self.config.eval.every == 0 or made == self.config.steps:
        found = (self._evaluator.evaluate(self._ours.state, self._unseen).metrics() if library == "trm_jax" else
                 reference.evaluate(self._unseen))
        evaluations.append({"step": made} | {
            name: found[name] for name in ("accuracy", "exact_accuracy", "q_halt_accuracy")})
        progress(made, evaluations[-1])
    return {"train": curves, "evaluations": evaluations, "seconds_a_step": float(np.median(seconds))}


def read(out: pathlib.Path, training: Training) -> dict[str, Any] | None:
  """A training's result; None if it is not there. Raises UserError if its settings differ, or it is no result."""
  path = training.file(out)
  if not path.is_file():
    return None
  result = files.read_json(path)
  if "settings" not in result:
    raise UserError(f"{path}: is no result of this program; name another --out")
  theirs = result["settings"]
  changed = config_lib.differences(settings(training), theirs)
  if changed or theirs["eval.every"] != _EVAL_EVERY.value:
    what = ", ".join(changed) or f"eval_every: {theirs['eval_every']} -> {_EVAL_EVERY.value}"
    raise UserError(f"{path}: was trained with other settings ({what}); use those or name another --out")
  return result


def train_missing(folder: str, out: pathlib.Path, trainings: list[Training]) -> None:
  """Makes missing results and prints its progress."""
  missing = [training for training in trainings if read(out, training) is None]
  print(f"{len(missing)} of {len(trainings)} trainings to make; the results go to {out}", file=sys.stderr)
  pair = functools.cache(functools.partial(Pair, folder))  # so that a mixer and dtype compile once for all seeds
  start = time.monotonic()
  for number, training in enumerate(missing):
    began = time.monotonic()

    def progress(step, found, number=number, training=training):
      done = number + step / _STEPS.value
      left = (time.monotonic() - start) / done * (len(missing) - done)
      print(f"{training} ({number + 1} of {len(missing)}): step {step} of {_STEPS.value}, {found['accuracy']:.1%} of "
            f"cells, {found['exact_accuracy']:.1%} of puzzles; about {left / 60:.0f} minutes left", file=sys.stderr,
            flush=True)

    result = pair(training.mixer, training.dtype).train(training.library, training.seed, progress)
    files.write_json(training.file(out), dataclasses.asdict(training) | result | {
        "minutes": (time.monotonic() - began) / 60,
        "settings": settings(training),
        "machine": measure.machine() | {"torch": sys.modules["torch"].__version__,
                                        "reference": measure.commit(folder)},
    })


# Tables and pictures of the results.

Results = dict[Training, dict[str, Any]]


def _of(results: Results, library: str, mixer: str, dtype: str) -> list[dict[str, Any]]:
  return [result for t, result in results.items() if (t.library, t.mixer, t.dtype) == (library, mixer, dtype)]


def _settings_there(results: Results) -> list[tuple[str, str]]:
  """Mixers and dtypes that have a result."""
  there = {(t.mixer, t.dtype) for t in results}
  return [both for both in itertools.product(_MIXERS, _DTYPES) if both in there]


def _mean_and_ends(values: Iterable[float], form: str) -> str:
  values = list(values)
  ends = f" ({min(values):{form}} .. {max(values):{form}})" if len(values) > 1 else ""
  return f"{np.mean(values):{form}}{ends}"


def table(results: Results) -> str:
  """The table of the last evaluation, final loss and cost by mixer, dtype and library: means (least .. most)."""
  rows = []
  for mixer, dtype in _settings_there(results):
    for library in _LIBRARIES:
      if not (group := _of(results, library, mixer, dtype)):
        continue
      last = slice(-_EVAL_EVERY.value, None)
      rows.append({
          "mixer": mixer, "dtype": dtype, "": library, "seeds": len(group),
          "cells right": _mean_and_ends((r["evaluations"][-1]["accuracy"] for r in group), ".1%"),
          "puzzles solved": _mean_and_ends((r["evaluations"][-1]["exact_accuracy"] for r in group), ".1%"),
          f"loss of the last {_EVAL_EVERY.value} steps": _mean_and_ends(
              (np.mean(r["train"]["loss"][last]) for r in group), ".3f"),
          "supervision steps a puzzle in these": _mean_and_ends(
              (sum(r["train"]["steps"][last]) / max(1, sum(r["train"]["count"][last])) for r in group), ".2f"),
          "ms a step": f"{1000 * np.median([r['seconds_a_step'] for r in group]):.0f}",
      })
  return measure.table(rows)


def differences(results: Results) -> str:
  """Differences of losses and last evaluations by mixer and dtype, over the seeds that both libraries have.

  Returns:
    A table, or "" if no seed has both.

  Raises:
    UserError: the losses of the first step are not the same.
  """
  rows = []
  for mixer, dtype in _settings_there(results):
    pairs = [(result, ours) for t, result in results.items() if (t.mixer, t.dtype) == (mixer, dtype)
             and t.library == "reference" and (ours := results.get(dataclasses.replace(t, library="trm_jax")))]
    if not pairs:
      continue
    loss = np.array([[r["train"]["loss"] for r in pair] for pair in pairs])  # (seeds, 2, steps)
    apart = np.abs(loss[:, 1] / loss[:, 0] - 1).max(0)
    side_by_side.check_first_losses(apart[0], dtype)
    row = {"mixer": mixer, "dtype": dtype, "seeds": len(pairs)}
    for step in _COMPARED_STEPS:
      if step <= len(apart):
        row[f"loss of step {step}"] = f"{apart[step - 1]:.0e}"
    for name, title in (("accuracy", "cells right"), ("exact_accuracy", "puzzles solved")):
      points = [100 * (ours["evaluations"][-1][name] - theirs["evaluations"][-1][name]) for theirs, ours in pairs]
      row[f"{title}: ours - reference, points"] = _mean_and_ends(points, "+.1f")
    rows.append(row)
  return measure.table(rows) if rows else ""


def draw(results: Results) -> Any:
  """Draws the learning curves, a column for each mixer and dtype: the mean and the range over the seeds."""
  from matplotlib import figure
  from matplotlib import ticker

  columns = _settings_there(results)
  fig = figure.Figure(figsize=(3.4 * len(columns) + 0.6, 8.2), layout="constrained")
  panels = fig.subplots(3, len(columns), squeeze=False, sharex=True, sharey="row")
  # Ours is a thin line on top of a thick one, so that both are visible where they agree.
  looks = {"reference": dict(color="#e69f00", linewidth=3.2), "trm_jax": dict(color="#0072b2", linewidth=1.4)}

  def evaluated(name):
    return lambda result: ([e["step"] for e in result["evaluations"]], [e[name] for e in result["evaluations"]])

  def loss(result):
    values = np.array(result["train"]["loss"])
    ends = range(_LOSS_WINDOW, len(values) + 1, _LOSS_WINDOW) if len(values) >= _LOSS_WINDOW else [len(values)]
    return list(ends), [values[max(0, end - _LOSS_WINDOW):end].mean() for end in ends]

  rows = (("cells right, unseen puzzles", evaluated("accuracy")),
          ("puzzles solved, unseen", evaluated("exact_accuracy")),
          (f"training loss, mean of {_LOSS_WINDOW} steps", loss))
  for column, (mixer, dtype) in enumerate(columns):
    for row, (title, curve) in enumerate(rows):
      ax = panels[row, column]
      for library, look in looks.items():
        curves = [curve(result) for result in _of(results, library, mixer, dtype)]
        if not curves:
          continue
        values = np.array([y for _, y in curves])
        marks = dict(marker="o", markersize=look["linewidth"] + 2.2) if row < 2 else {}
        label = f"{library}, {len(curves)} seed{'s' * (len(curves) > 1)}"
        ax.plot(curves[0][0], values.mean(0), label=label, **look, **marks)
        ax.fill_between(curves[0][0], values.min(0), values.max(0), color=look["color"], alpha=0.25, linewidth=0)
      if row == 0:
        ax.set_title(f"{'token MLP' if mixer == 'mlp' else 'attention'}, {dtype}", fontweight="bold")
        ax.legend(fontsize=9, frameon=False, loc="lower right")
      if column == 0:
        ax.set_ylabel(title)
      if row < 2:
        ax.set_ylim(-0.02, 1.02)
        ax.yaxis.set_major_formatter(ticker.PercentFormatter(1))
      else:
        ax.set_xlabel("training step")
      ax.grid(color="#dddddd", linewidth=0.6)
      ax.spines[["top", "right"]].set_visible(False)
  return fig


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  out = pathlib.Path(_OUT.value)
  try:
    seeds = [int(seed) for seed in dict.fromkeys(_SEEDS.value)]
  except ValueError as e:
    raise UserError(f"--seeds={','.join(_SEEDS.value)}: must be integers with commas between them") from e

  def chosen(values):
    return [value for value in values if value in _ONLY.value] or values

  # Seed by seed, so that after a stop all have the same seeds.
  trainings = [Training(library, mixer, dtype, seed) for seed, mixer, dtype, library in itertools.product(
      seeds, chosen(_MIXERS), chosen(_DTYPES), chosen(_LIBRARIES))]
  if not _PLOT_ONLY.value:
    folder = side_by_side.check_reference(_REFERENCE.value)
    files.make_folder(out, "--out")
    train_missing(folder, out, trainings)
  results = {training: result for training in trainings if (result := read(out, training))}
  if not results:
    raise UserError(f"--out={out}: has no result of these trainings; start without --plot_only to make them")
  picture = out / "learning_parity.png"
  draw(results).savefig(picture, dpi=110)
  machines = dict.fromkeys(", ".join(f"{name} {value}" for name, value in result["machine"].items())
                           for result in results.values())
  print(*machines, "", table(results), sep="\n")
  if apart := differences(results):
    print(f"\nLargest relative difference of the losses, and difference of the last evaluations, by seed:\n\n{apart}")
  print(f"\n{picture}")


if __name__ == "__main__":
  cli.run(main)
