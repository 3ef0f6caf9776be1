# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The benchmarks run through, on tiny models. What they measure is not looked at, for other things run beside tests."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_MODEL = [f"--set={change}" for change in (
    "data.num_train=20", "model.hidden_size=8", "model.num_heads=1", "model.L_layers=1", "model.H_cycles=1",
    "model.L_cycles=1", "model.puzzle_emb_ndim=8", "model.halt_max_steps=2")]
# Arguments and the number of rows.
_PROGRAMS = {
    "train_step": (["--batch=2", "--steps=1", "--seq_len=5", *_MODEL], 1),
    "evaluation": (["--batch=4", "--batches=2", *_MODEL], 3),
    "batch_generation": (["--batch=4", "--steps=1", "--set=data.num_aug=-1", *_MODEL], 1),
    "host": (["--steps=20"], 4),
    "start": (["--batch=2", *_MODEL], 6),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
  """All of them, one beside the other, and the folder in which they leave what they have found."""
  folder = tmp_path_factory.mktemp("benchmarks")
  environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # one device
  processes = {
      name: subprocess.Popen([sys.executable, "-m", f"benchmarks.{name}", "--rounds=1", f"--json={folder / name}",
                              *arguments], cwd=_ROOT, env=environment, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
      for name, (arguments, _) in _PROGRAMS.items()}
  yield processes, folder
  for process in processes.values():
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", _PROGRAMS)
def test_makes_a_table_and_json(started, name):
  processes, folder = started
  output, errors = processes[name].communicate()
  assert processes[name].returncode == 0, errors
  found = json.loads((folder / name).read_text())
  assert len(found["rows"]) == _PROGRAMS[name][1]
  for row in found["rows"]:
    assert all(value != "" and str(value) in output for value in row.values()), row
  assert set(found["machine"]) >= {"devices", "jax"} and f"benchmarks.{name} --rounds=1" in found["command"]
