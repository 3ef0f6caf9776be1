# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Folders as runs leave them, with made-up results whose effects are known.

    python tests/synthetic_runs.py FOLDER       # a study of eighty runs, to look at a report of it
"""

from collections.abc import Sequence
import json
import math
import pathlib
import sys
from typing import Any

import numpy as np

from trm_jax import config as config_lib


def write_run(folder: pathlib.Path, accuracy: float, *, seed: int = 0, name: str = "baseline", steps: int = 1000,
              num_params: int = 5_000_000, flops: float = 1e15, seconds: float = 3600.0, stop: int | None = None,
              **knobs: Any) -> pathlib.Path:
  """A finished run, or one that ends at a step.

  Args:
    folder: made.
    accuracy: exact, on the test set.
    seed: of the run, and of the noise of its curves.
    name: of its config.
    steps: of the run, in ten evaluations.
    num_params: of its model.
    flops, seconds: of the whole run.
    stop: the last step that is recorded; None: it finishes.
    **knobs: changed, with "__" for ".": model__H_cycles=2.
  """
  config = config_lib.default_config()
  config.update(name=name, seed=seed)
  config.update_from_flattened_dict({knob.replace("__", "."): value for knob, value in knobs.items()})
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps({
      "config": config.to_dict(), "data": {"vocab_size": 11, "seq_len": 81, "num_puzzle_identifiers": 1},
      "total_steps": steps, "num_params": num_params,
      "environment": {"trm_jax": "0.1.0", "devices": "8 x TPU v4", "processes": 2}}))
  rng = np.random.default_rng(seed)
  records = [{"step": 0, "compile_s": 5.0}]
  for i in range(1, 11):
    step, done = steps * i // 10, i / 10
    records.append({
        "step": step, "train/loss": 2.5 * math.exp(-3 * done * (0.3 + accuracy)) * rng.uniform(0.95, 1.05),
        "train/lr": 1e-4, "train/examples_per_s": 9000.0 + i, "train/step_ms": 85.0, "train/peak_memory_gib": 7.5,
        "train/flop_utilization": 0.41, "train/seconds": seconds * done, "train/flops": flops * done})
    records.append({"step": step, "validation/exact_accuracy": accuracy * min(1.0, 1.25 * done**1.5)})
  if stop is None:
    steps_of = [accuracy * (1 - 0.5 ** (k + 1)) for k in range(15)] + [accuracy]
    record = {"step": steps}
    for of, value in (("test", accuracy), ("test_best", accuracy + 0.002), ("test_average", accuracy + 0.004)):
      record |= {f"{of}/num_puzzles": 10_000, f"{of}/exact_accuracy": value,
                 f"{of}/by_step": {"exact_accuracy": [v / accuracy * value if accuracy else 0.0 for v in steps_of]}}
    records.append(record)
  kept = [r for r in records if stop is None or r["step"] <= stop]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
  return folder


def write_study(folder: pathlib.Path, seeds: Sequence[int] = (0, 1, 2)) -> None:
  """Ablations, a grid of rates and batches, recursion grid, data, augmentation and model sizes; a run that stopped, one
  that diverged and one without config.json."""
  rng = np.random.default_rng(0)

  def runs(name, accuracy, seeds=seeds, **kwargs):
    for seed in seeds:
      noisy = float(np.clip(accuracy + 0.008 * rng.standard_normal(), 0, 1))
      write_run(folder / name / f"seed_{seed}", noisy, seed=seed, name=name, **kwargs)

  runs("baseline", 0.87, flops=4.2e18)
  runs("ema_off", 0.80, flops=4.2e18, optimizer__ema_rate=0.0)
  runs("attention", 0.745, flops=5.1e18, model__mlp_t=False)
  runs("nsup_8", 0.862, flops=4.2e18, model__halt_max_steps=8)
  runs("no_warmup", 0.85, seeds[:1], flops=4.2e18, optimizer__warmup_steps=0)
  for t, n in ((1, 2), (2, 2), (2, 6), (3, 4), (4, 6)):
    runs(f"t{t}_n{n}", 0.60 + 0.06 * math.log2(t * (n + 1)), flops=0.2e18 * t * (n + 1), model__H_cycles=t,
         model__L_cycles=n)
  for batch in (256, 1024, 4096):
    for rate in (5e-5, 1e-4, 2e-4, 1e-3):
      if (batch, rate) != (256, 1e-3):
        off = math.log2(rate / 1e-4) - 0.5 * math.log2(batch / 768)
        runs(f"lr_{rate:g}_batch_{batch}", 0.86 - 0.03 * off**2, seeds[:2], flops=4.2e18, batch_size=batch,
             steps=768_000 // batch, optimizer__learning_rate=rate)
  for puzzles in (250, 2000, 4000):
    runs(f"data_{puzzles}", 1 - 0.13 * (puzzles / 1000) ** -0.5, flops=4.2e18, data__num_train=puzzles)
  for versions in (0, 100, 500):
    runs(f"aug_{versions}", 0.5 + 0.037 * math.log2(max(versions, 1)), flops=4.2e18, data__num_aug=versions)
  for hidden in (256, 768, 1024):
    runs(f"hidden_{hidden}", 0.87 + 0.02 * math.log2(hidden / 512), flops=4.2e18 * (hidden / 512) ** 2,
         num_params=5_000_000 * hidden**2 // 512**2, model__hidden_size=hidden)
  write_run(folder / "nsup_16" / "seed_0", 0.8, name="nsup_4", stop=600, model__halt_max_steps=4)
  diverged = write_run(folder / "float16" / "seed_0", 0.1, name="float16", stop=300, model__dtype="float16")
  with (diverged / "metrics.jsonl").open("a") as f:
    f.write(json.dumps({"step": 400, "train/loss": math.nan}) + "\n")
  (folder / "lost").mkdir()
  (folder / "lost" / "metrics.jsonl").write_text("")


if __name__ == "__main__":
  write_study(pathlib.Path(sys.argv[1]))
