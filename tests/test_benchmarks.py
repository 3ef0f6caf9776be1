# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The benchmarks run through, on tiny models. What they measure is not looked at, for other things run beside tests."""

import json
import os
import pathlib
import re
import subprocess
import sys

from matplotlib import image
import pytest

from configs import sudoku
from trm_jax import config as config_lib

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
    "checkpointing": (["--rows=50", "--width=8"], 3),
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
    if not process.stdout.closed:  # of a test that was not chosen
      process.communicate()


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


# One process for all, because starting it costs more than what is tested.
_LEARNING_PARITY = """
import sys
from absl import flags
from benchmarks import learning_parity
from trm_jax import errors
for line in sys.stdin:
  flags.FLAGS(["learning_parity", *line.split()])
  try:
    learning_parity.main(["learning_parity"])
  except errors.UserError as e:
    print("error:", e)
  print("end of", line, end="", flush=True)
"""


def _learning_result(folder, library, seed, *, first_loss=2.0, accuracy=0.5):
  """A file as `benchmarks.learning_parity` writes it, of the token MLP in float32."""
  values = sudoku.quickstart()
  values.steps = 468
  values.eval.every = 78
  folder.mkdir(exist_ok=True)
  (folder / f"{library}-mlp-float32-{seed}.json").write_text(json.dumps({
      "train": {"loss": [first_loss, *[1.0] * 467], "count": [16] * 468, "steps": [64] * 468},
      "evaluations": [{"step": step, "accuracy": accuracy, "exact_accuracy": 0.25, "q_halt_accuracy": 1.0}
                      for step in range(78, 469, 78)],
      "seconds_a_step": 0.125, "settings": config_lib.flatten(config_lib.to_dict(config_lib.parse(values))),
      "machine": {"devices": "1 x slide rule"}}))


def test_learning_parity_reports_what_is_there_and_refuses_what_it_cannot_compare(tmp_path):
  whole, unlike = tmp_path / "whole", tmp_path / "unlike"
  for seed, accuracy in ((0, 0.5), (1, 0.75)):
    _learning_result(whole, "reference", seed, accuracy=accuracy)
    _learning_result(whole, "trm_jax", seed, first_loss=2.0 + 1e-6, accuracy=accuracy - 0.125)
  _learning_result(unlike, "reference", 0)
  _learning_result(unlike, "trm_jax", 0, first_loss=2.001)
  (tmp_path / "broken").mkdir()
  (tmp_path / "broken" / "reference-mlp-float32-0.json").write_text("{")
  lines = [f"--out={whole} --plot_only", f"--out={unlike}", f"--out={tmp_path / 'none'}",
           f"--out={tmp_path / 'broken'}", f"--out={whole} --steps=400", "--steps=468 --noplot_only",
           f"--reference={tmp_path}", "--seeds=0,x"]
  process = subprocess.run([sys.executable, "-c", _LEARNING_PARITY], input="\n".join(lines) + "\n", cwd=_ROOT,
                           text=True, capture_output=True, check=False)
  assert process.returncode == 0, process.stderr
  found = [re.split("end of .*\n", process.stdout)[i] for i in range(len(lines))]
  for text in ("1 x slide rule", "62.5% (50.0% .. 75.0%)", "50.0% (37.5% .. 62.5%)", "4.00 (4.00 .. 4.00)", "125",
               "5e-07", "-12.5 (-12.5 .. -12.5)", "+0.0 (+0.0 .. +0.0)"):
    assert text in found[0], found[0]
  assert image.imread(whole / "learning_parity.png").ndim == 3
  for output, text in zip(found[1:], (
      "the losses of the first step differ by 5.0e-04 in float32", "none: has no result",
      "reference-mlp-float32-0.json: is cut off", "steps: 468 -> 400", "--reference is missing",
      "no models/recursive_reasoning/trm.py there", "--seeds=0,x: must be")):
    assert re.search(f"^error: .*{re.escape(text)}", output, re.MULTILINE), output
