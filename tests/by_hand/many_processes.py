# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The same training steps on any number of processes and devices: a table of how far they are apart.

    python tests/by_hand/many_processes.py      # some minutes on two cores; most of it is 8 processes compiling at once

Every layout trains the same tiny model for a few steps from the same seed. The rows of the batch, who halts and the
puzzles must be the same to the last bit, losses and parameters to float32 rounding. Then half a run of 8 processes is
finished by one, and the other way round. Exits with 1 if any of it is not so.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for the helpers of the tests
import jobs  # noqa: E402

STEPS = 8
# name, processes, devices of each, config
LAYOUTS = [
    ("1 device", 1, 1, {}),
    ("8 devices", 1, 8, {}),
    ("8 devices as 2 data x 4 model", 1, 8, {"compute.model_devices": 4}),
    ("8 devices, 2 micro-batches", 1, 8, {"compute.micro_batches": 2}),
    ("2 processes x 2 devices", 2, 2, {}),
    ("8 processes x 4 devices", 8, 4, {}),
    ("8 processes x 4 devices as 16 data x 2 model", 8, 4, {"compute.model_devices": 2}),
]
LOSS_TOLERANCE = 1e-5  # relative
PARAMETER_TOLERANCE = 2e-5  # absolute; a step of the learning rate moves them by 1e-3 at most


# name, index in LAYOUTS of what was trained half, processes and devices that finish it
CHANGES = [
    ("8 processes x 4 devices, then 1 device", 5, 1, 1),
    ("1 device, then 8 processes x 4 devices", 0, 8, 4),
]


def main() -> int:
  folder = pathlib.Path(tempfile.mkdtemp(prefix="many_processes-"))
  reference, bad = None, 0
  print(f"{'layout':<46}{'loss of the last step':>24}{'relative difference':>21}{'of a parameter':>16}{'seconds':>9}")

  def run(name, workdir, processes, devices, config):
    nonlocal reference, bad
    start = time.monotonic()
    job = jobs.Job(workdir, processes=processes, devices=devices, steps=STEPS, log__every=1, batch_size=64,
                   save__every=STEPS // 2, eval__every=STEPS, model__num_heads=4, optimizer__warmup_steps=1,
                   **config)
    status = job.wait(1800)
    assert status == 0, f"{name} ended with {status}:\n{job.output()}"
    losses = [record["train/loss"] for record in jobs.records(workdir) if "train/loss" in record]
    state = jobs.state(workdir, STEPS)
    reference = reference or (losses, state)
    loss = max(abs(a / b - 1) for a, b in zip(losses, reference[0], strict=True))
    parameter = jobs.difference(state, reference[1])
    bad += loss > LOSS_TOLERANCE or parameter > PARAMETER_TOLERANCE
    print(f"{name:<46}{losses[-1]:>24.9f}{loss:>21.1e}{parameter:>16.1e}{time.monotonic() - start:>9.0f}", flush=True)
    return job

  for i, (name, processes, devices, config) in enumerate(LAYOUTS):
    run(name, folder / str(i), processes, devices, config)
  for name, half, processes, devices in CHANGES:
    workdir = folder / f"{half} changed"
    shutil.copytree(folder / str(half), workdir)
    shutil.rmtree(workdir / "checkpoints" / str(STEPS))
    (workdir / "results.json").unlink()
    assert f"from the checkpoint of step {STEPS // 2}" in run(name, workdir, processes, devices, {}).output()
  shutil.rmtree(folder)
  print("all took the same steps" if not bad else f"{bad} took other steps")
  return bool(bad)


def _parsed() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  return parser.parse_args()


if __name__ == "__main__":
  _parsed()
  sys.exit(main())
