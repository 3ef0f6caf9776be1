# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the host's work in the training loop for one call of the compiled steps, including the call's record.

    python -m benchmarks.host

It alternates a whole run of a tiny model, which makes a record and hence a call every step, with the same compiled
steps in one call. The difference of their times per step is the host's time per call. It always uses a CPU with
synchronous dispatch, where nothing hides the host's time; the host's work is the same for all devices.
"""

import contextlib
import os
import pathlib
import statistics
import tempfile

from absl import flags
import jax

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax.training import loop
from trm_jax.training import metrics_log

_STEPS = flags.DEFINE_integer("steps", 2000, "Steps of the run, and of the single call.", lower_bound=2)


def make_config() -> config_lib.Config:
  """The config of the tiny run."""
  values = config_lib.default_config()
  values.data.update(source="generated", box=2, num_train=16, num_validation=0, num_test=16, num_clues=12, num_aug=0)
  values.model.update(hidden_size=8, num_heads=1, L_layers=1, H_cycles=1, L_cycles=1, puzzle_emb_ndim=8,
                      puzzle_emb_len=1, halt_max_steps=2, dtype="float32")
  values.update(name="host", epochs=0, steps=_STEPS.value, batch_size=1)
  values.log.every = 1
  values.eval.update(every=_STEPS.value, batch_size=16)
  values.save.every = _STEPS.value
  return config_lib.parse(values)


def run(config: config_lib.Config) -> float:
  """Milliseconds per step of the run, the median of its records."""
  # Printing is part of the run's work, but its lines are not part of this program's output.
  with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
    loop.run(config, folder)
    records = metrics_log.read_metrics(pathlib.Path(folder) / "metrics.jsonl")
  return statistics.median(r["train/step_ms"] for r in records if "train/step_ms" in r)


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  config, run_ms = make_config(), []
  steps = cases.TrainStep(config, num_steps=config.steps)
  steps()
  times = measure.by_turns({"run": lambda: run_ms.append(run(config)), "steps": steps}, measure.ROUNDS.value, warm=0)
  calls_us = [1000 * ms - 1e6 * s / config.steps for ms, s in zip(run_ms, times["steps"])]
  call_us, log_every = statistics.median(calls_us), config_lib.Config().log.every
  rows = [{"a step takes": "anything", "steps a call": 1, "host: µs a step": measure.spread(calls_us)}]
  for step_ms in (1, 10, 100):
    steps = max(1, min(log_every, int(1000 * loop._CALL_SECONDS / step_ms)))
    rows.append({"a step takes": f"{step_ms} ms", "steps a call": steps,
                 "host: µs a step": measure.spread(us / steps for us in calls_us),
                 "of the step": f"{call_us / steps / step_ms / 1000:.3%}"})
  measure.report(f"What the training loop takes the host, where config.log.every = {log_every}", rows,
                 {"run_ms_a_step": run_ms, "one_call_ms_a_step": [1000 * s / config.steps for s in times["steps"]]})


if __name__ == "__main__":
  cli.run(main)
