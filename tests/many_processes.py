# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The same training steps on any number of processes and devices: a table of how far they are apart.

    python tests/many_processes.py      # a few minutes on two cores; most of it is 8 processes compiling at once

Every layout trains the same tiny model for a few steps from the same seed. The rows of the batch, who halts and the
puzzles must be the same to the last bit, losses and parameters to float32 rounding. Exits with 1 if not.
"""

import pathlib
import shutil
import sys
import tempfile
import time

import jobs

STEPS = 8
# name, processes, devices of each, config
LAYOUTS = [
    ("1 device", 1, 1, {}),
    ("8 devices", 1, 8, {}),
    ("8 devices as 2 data x 4 model", 1, 8, {"model_devices": 4}),
    ("8 devices, 2 micro-batches", 1, 8, {"micro_batches": 2}),
    ("2 processes x 2 devices", 2, 2, {}),
    ("8 processes x 4 devices", 8, 4, {}),
    ("8 processes x 4 devices as 16 data x 2 model", 8, 4, {"model_devices": 2}),
]
LOSS_TOLERANCE = 1e-5  # relative
PARAMETER_TOLERANCE = 2e-5  # absolute; a step of the learning rate moves them by 1e-3 at most


def main() -> int:
  folder = pathlib.Path(tempfile.mkdtemp(prefix="many_processes-"))
  reference, bad = None, 0
  print(f"{'layout':<46}{'loss of the last step':>24}{'relative difference':>21}{'of a parameter':>16}{'seconds':>9}")
  for i, (name, processes, devices, config) in enumerate(LAYOUTS):
    start = time.monotonic()
    workdir = folder / str(i)
    job = jobs.Job(workdir, processes=processes, devices=devices, steps=STEPS, log_every=1, batch_size=64,
                   model__num_heads=4, optimizer__warmup_steps=1, **config)
    status = job.wait(1800)
    assert status == 0, f"{name} ended with {status}:\n{job.output()}"
    losses = [record["train/loss"] for record in jobs.records(workdir) if "train/loss" in record]
    state = jobs.state(workdir, STEPS)
    reference = reference or (losses, state)
    loss = max(abs(a / b - 1) for a, b in zip(losses, reference[0], strict=True))
    parameter = jobs.difference(state, reference[1])
    bad += loss > LOSS_TOLERANCE or parameter > PARAMETER_TOLERANCE
    print(f"{name:<46}{losses[-1]:>24.9f}{loss:>21.1e}{parameter:>16.1e}{time.monotonic() - start:>9.0f}", flush=True)
  shutil.rmtree(folder)
  print("all took the same steps" if not bad else f"{bad} took other steps")
  return bool(bad)


if __name__ == "__main__":
  sys.exit(main())
