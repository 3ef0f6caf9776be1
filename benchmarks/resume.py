# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Checks on this machine's devices that a run which was stopped and resumed ends with the same bits as a whole one.

    python -m benchmarks.resume --config=configs/sudoku.py:baseline --set=batch_size=64

trm_jax.main makes the same run on generated puzzles three times: whole; beside it with a compilation cache of its own,
which shows whether two compilations compute alike (XLA times kernels on a GPU, and may choose others); and, with the
programs of the whole run, stopped by SIGTERM after a third of its steps, then resumed. Everything in the last
checkpoints is compared.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl import flags
import jax
import numpy as np
import orbax.checkpoint as ocp

from benchmarks import measure
from trm_jax import cli
from trm_jax.errors import UserError
from trm_jax.runtime import with_parent
from trm_jax.training import metrics_log

# Other programs have flags of these names, and tests import both in one process.
_CONFIG = flags.DEFINE_string("config", "configs/sudoku.py:baseline", "The run's config.", allow_override=True)
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE of the config; repeat for several.", allow_override=True)
_STEPS = flags.DEFINE_integer("steps", 60, "Training steps.", lower_bound=6, allow_override=True)

_PUZZLES = ("data.source=generated", "data.num_clues=60", "data.num_train=500", "data.num_validation=64",
            "data.num_test=64")


def _start(folder: pathlib.Path, name: str, cache: str) -> subprocess.Popen:
  """Starts or resumes the run `name`. It ends when this process does."""
  steps = _STEPS.value
  changes = (*_PUZZLES, "epochs=0", f"steps={steps}", f"eval.every={steps}", "eval.batch_size=64",
             f"log.every={max(1, steps // 20)}", *_SET.value)
  with (folder / f"{name}.log").open("ab") as log:
    return subprocess.Popen(
        with_parent.command(signal.SIGTERM, [
            sys.executable, "-m", "trm_jax.main", f"--config={_CONFIG.value}", f"--workdir={folder / name}",
            *(f"--config.{change}" for change in changes)]), stdout=log, stderr=subprocess.STDOUT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / cache), "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                          "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"})


def _finish(folder: pathlib.Path, name: str, process: subprocess.Popen) -> None:
  if process.wait():
    log = (folder / f"{name}.log").read_text()
    raise UserError(f"the run '{name}' ended with status {process.returncode}: {log.strip()[-500:]}")


def _stop(folder: pathlib.Path, name: str, process: subprocess.Popen) -> int:
  """Tells a run to stop after a third of its steps, and returns the step of its last record."""
  path, step = folder / name / "metrics.jsonl", 0
  while step < _STEPS.value // 3 and process.poll() is None:
    time.sleep(0.05)
    step = max((record["step"] for record in metrics_log.read_metrics(path)), default=0) if path.exists() else 0
  process.terminate()
  process.wait()
  if (folder / name / "results.json").exists():
    raise UserError(f"the run '{name}' was over before it could be stopped; use more --steps")
  return step


def _saved(folder: pathlib.Path, name: str) -> dict[str, np.ndarray]:
  """Everything in the last checkpoint of a run, by its path."""
  state = ocp.StandardCheckpointer().restore((folder / name / "checkpoints" / str(_STEPS.value) / "state").absolute())
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    started = {run: _start(folder, run, cache) for run, cache in (("whole", "cache"), ("compiled again", "other"))}
    for run, process in started.items():
      _finish(folder, run, process)
    step = _stop(folder, "stopped", _start(folder, "stopped", "cache"))
    _finish(folder, "stopped", _start(folder, "stopped", "cache"))
    whole, rows = _saved(folder, "whole"), []
    for run, what in (("stopped", f"stopped after step {step} and resumed"), ("compiled again", "compiled once more")):
      saved = _saved(folder, run)
      equal = [np.array_equal(whole[key], value) for key, value in saved.items()]
      apart = max(np.abs(whole[key].astype(np.float64) - value).max() for key, value in saved.items())
      rows.append({"run": what, "arrays with the same bits": f"{sum(equal)} of {len(whole)}",
                   "largest difference": f"{apart:.2g}"})
  measure.report(f"The same {_STEPS.value} steps as a whole run's", rows)


if __name__ == "__main__":
  cli.run(main)
