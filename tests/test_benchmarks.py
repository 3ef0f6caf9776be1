# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The benchmarks run through, on tiny models. What they measure is not looked at, for other things run beside tests."""

import gzip
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

from flax import nnx
import jax
from matplotlib import image
import numpy as np
import pytest
import tiny

from benchmarks import gated_products
from configs import sudoku
from trm_jax import config as config_lib
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate

_ROOT = pathlib.Path(__file__).parents[1]
_MODEL = [f"--set={change}" for change in (
    "data.num_train=20", "model.hidden_size=8", "model.num_heads=1", "model.L_layers=1", "model.H_cycles=1",
    "model.L_cycles=1", "model.puzzle_emb_ndim=8", "model.halt_max_steps=2")]
# Arguments and the number of rows. A name begins with that of the module.
_PROGRAMS = {
    "train_step": (["--batch=2", "--steps=1", "--seq_len=5", *_MODEL], 1),
    "evaluation": (["--batch=4", "--batches=2", *_MODEL], 3),
    "batch_generation": (["--batch=4", "--steps=1", "--set=data.num_aug=-1", *_MODEL], 1),
    "host": (["--steps=20"], 4),
    "checkpointing": (["--rows=50", "--width=8"], 3),
    "prefix_table": (["--rows=5000", "--width=64", "--batch=8", "--steps=2"], 7),
    "start": (["--batch=2", *_MODEL], 6),
    "resume": (["--steps=30", "--set=data.box=2", "--set=data.num_clues=8", "--set=batch_size=8",
                "--set=model.dtype=float32", *_MODEL[1:]], 2),
    "gated_products": (["--batch=1", "--positions=5", "--hidden_size=8", "--tile=16,16,16,4,2"], 4),
    # 2 depths, 4 rules to stop; then 1 and 2 attempts, chosen among in 5 ways, by noise and by versions.
    "think_longer": (["--checkpoint={0}/run", "--puzzles=4", "--most_steps=2", "--most_attempts=2", "--noise=1",
                      "--batch=8", "--png={0}/x.png"], 26),
    "think_longer of a folder": (["--checkpoint={0}/run", "--data={0}/data", "--puzzles=4", "--most_steps=1",
                                  "--most_attempts=2", "--noise=1", "--batch=8"], 25),
    # 2 sizes, after 1 and 2 steps.
    "larger_puzzles": (["--checkpoint={0}/mazes", "--field=rows", "--value=4", "--value=6", "--puzzles=4", "--steps=2",
                        "--batch=4", "--png={0}/larger.png"], 4),
}


def _save_runs(folder):
  """One of Sudokus, and one of mazes that can have other sizes."""
  for config, seq_len, name in ((tiny.config(), 16, "run"), (tiny.maze(), 20, "mazes")):
    model = TRM(config.model.sized(vocab_size=6, seq_len=seq_len, num_puzzle_identifiers=1), rngs=nnx.Rngs(0))
    weights.save(model, config, folder / name, step=7)


# Forks from one process what would otherwise import JAX ten times. The first argument is the folder for their output, the
# second their names and arguments as JSON; the last line printed has their exit codes.
_ALL = """
import json
import multiprocessing
import os
import pathlib
import runpy
import sys

import matplotlib.backends.backend_agg
import tensorboardX
from benchmarks import measure
from trm_jax import evaluate
from trm_jax.training import loop

def run(folder, name, arguments):
  for descriptor, ending in (1, "out"), (2, "err"):
    os.dup2(os.open(folder / f"{name}.{ending}", os.O_CREAT | os.O_WRONLY), descriptor)
  sys.argv[1:] = arguments
  runpy.run_module(f"benchmarks.{name.split()[0]}", run_name="__main__", alter_sys=True)

processes = {}
for name, arguments in json.loads(sys.argv[2]).items():
  processes[name] = multiprocessing.get_context("fork").Process(
      target=run, args=(pathlib.Path(sys.argv[1]), name, arguments), daemon=True)
  processes[name].start()
for process in processes.values():
  process.join()
print(json.dumps({name: process.exitcode for name, process in processes.items()}))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The folder in which all of them, one beside the other, have left what they found, and their exit codes."""
  folder = tmp_path_factory.mktemp("benchmarks")
  _save_runs(folder)
  (folder / "data").mkdir()
  three = generate.generate_splits(box=2, num_train=0, num_validation=0, num_test=3, num_clues=9, seed=1)["test"]
  csv_files.write_csv(folder / "data" / "test.csv", three, source="made here")
  commands = {name: ["--rounds=1", f"--json={folder / name}", *(argument.format(folder) for argument in arguments)]
              for name, (arguments, _) in _PROGRAMS.items()}
  output = subprocess.run([sys.executable, "-c", _ALL, str(folder), json.dumps(commands)], cwd=_ROOT, check=True,
                          text=True, stdout=subprocess.PIPE).stdout
  return folder, json.loads(output.splitlines()[-1])


@pytest.mark.parametrize("name", _PROGRAMS)
def test_makes_a_table_and_json(finished, name):
  folder, exit_codes = finished
  assert exit_codes[name] == 0, (folder / f"{name}.err").read_text()
  output, found = (folder / f"{name}.out").read_text(), json.loads((folder / name).read_text())
  assert len(found["rows"]) == _PROGRAMS[name][1]
  for row in found["rows"]:
    assert all(value != "" and str(value) in output for value in row.values()), row
  assert set(found["machine"]) >= {"devices", "jax"} and f"benchmarks.{name.split()[0]} --rounds=1" in found["command"]


def test_thinking_longer_is_drawn(finished):
  folder, _ = finished
  assert image.imread(folder / "x.png").ndim == 3
  rows = json.loads((folder / "think_longer").read_text())["rows"]
  assert [row["passes a puzzle"] for row in rows if row["method"] == "steps"] == [1, 2]
  assert {row["passes a puzzle"] for row in rows if row["attempts"] == 2} == {4}
  assert {row["choice"] for row in rows} == {"-", "count", "halting", "convergence", "proof", "pass@"}


def test_thinking_longer_about_the_puzzles_of_a_folder(finished):
  folder, _ = finished
  title = json.loads((folder / "think_longer of a folder").read_text())["title"]
  assert f", 3 puzzles of {folder / 'data'}, seed 0" in title


def test_larger_puzzles_are_drawn(finished):
  folder, _ = finished
  assert image.imread(folder / "larger.png").ndim == 3
  rows = json.loads((folder / "larger_puzzles").read_text())["rows"]
  assert [(row["rows"], row["cells"], row["steps"]) for row in rows] == [(4, 20, 1), (4, 20, 2), (6, 30, 1), (6, 30, 2)]


def test_a_resumed_run_has_the_same_bits(finished):
  folder, _ = finished
  stopped, again = json.loads((folder / "resume").read_text())["rows"]
  step = int(re.fullmatch(r"stopped after step (\d+) and resumed", stopped["run"])[1])
  assert 10 <= step < 30 and again["run"] == "compiled once more"
  for row in (stopped, again):
    same, of = map(int, row["arrays with the same bits"].split(" of "))
    assert same == of > 20 and row["largest difference"] == "0"


@pytest.mark.parametrize("text", ["16,16,16,4", "16,16,16,4,0", "16,16,16,4,x"])
def test_a_tile_that_is_none(text):
  with pytest.raises(UserError, match=f"^--tile={text}: must be five numbers from 1 on, e.g. 128,64,32,8,3$"):
    gated_products._tile(text)


# The CPU stands for a described chip, with 1 TFLOP/s and 1 GB/s.
_COST = """
import sys
from absl import flags
import jax
from benchmarks import cases, train_step
from trm_jax.runtime import chips
cases.described = lambda topology: (jax.devices(), 1e9)
chips.peak_flops = lambda device: 1e12
flags.FLAGS(["train_step", *sys.argv[1:]])
train_step.main(["train_step"])
"""


def test_train_step_counts_what_a_step_costs(tmp_path):
  """Products in loops count as often as they run, and attention's scores once more for the backward pass."""
  subprocess.run(
      [sys.executable, "-c", _COST, "--name=configs/maze.py:baseline", "--batch=4", "--topology=x",
       f"--json={tmp_path}/cost", "--set=data.source=generated", "--set=data.rows=5", "--set=data.columns=5",
       "--set=data.min_path=2", "--set=data.num_train=20", "--set=model.hidden_size=32", "--set=model.num_heads=1",
       "--set=model.puzzle_emb_ndim=32", "--set=model.dtype=float32"], cwd=_ROOT, check=True, capture_output=True)
  row, = json.loads((tmp_path / "cost").read_text())["rows"]
  model, program, moved = (float(row[name]) for name in ("TFLOP of the model", "of the program", "GB moved"))
  assert row["config"] == "baseline" and model < program < 1.1 * model
  assert float(row["memory"]) == pytest.approx(1000 * moved, rel=0.01)
  assert float(row["kernel by kernel"]) >= float(row["memory"])


@pytest.mark.skipif(importlib.util.find_spec("jax_plugins") is not None, reason="has the compiler for GPUs")
def test_train_step_without_the_compiler_of_a_chip():
  process = subprocess.run([sys.executable, "-m", "benchmarks.train_step", "--topology=h100"], cwd=_ROOT, text=True,
                           capture_output=True, check=False)
  assert process.returncode == 2 and process.stderr.splitlines()[-1] == (
      'error: --topology=h100: the compiler for NVIDIA GPUs is not installed: pip install -e ".[cuda12]"')


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
  config_lib.change(values, {"steps": 468, "batch_size": 128, "eval.every": 78, "data.num_validation": 512,
                             "optimizer.learning_rate": 1e-3, "optimizer.prefix_learning_rate": 1e-3})
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


# One process for all, as above. Lines that begin with "pack" name a run and a folder for its weights.
_ON_GPU = """
import functools, pathlib, sys, types
from unittest import mock
from absl import flags
from benchmarks import on_gpu
from trm_jax import errors
for line in sys.stdin:
  command, *arguments = line.split()
  if command == "pack":
    on_gpu._FILE_BYTES = 20_000
    on_gpu.pack_weights(*map(pathlib.Path, arguments))
  elif command == "plan":
    flags.FLAGS(["on_gpu", *arguments])
    session = types.SimpleNamespace(toy=False, results={}, seconds_left=lambda: 300.0)

    def measured(session, case):
      session.results[case.name] = {}
      return True

    parity, train = (functools.partial(measured, case=types.SimpleNamespace(name=name)) for name in ("parity", "train"))
    with mock.patch.multiple(on_gpu, measure_parity=parity, measure_case=measured, measure_training=train):
      on_gpu.measure_missing(session, ["parity", "profile", "train"])
    flags.FLAGS.unparse_flags()
  else:
    flags.FLAGS.unparse_flags()
    for flag in ("only", "minutes"):  # of the line before
      flags.FLAGS[flag].unparse()
    flags.FLAGS(["on_gpu", "--toy", "--rounds=1", *arguments])
    try:
      on_gpu.main(["on_gpu"])
    except errors.UserError as e:
      print("error:", e)
  print("end of", line, end="", flush=True)
"""


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory):
  """(what each call of a rehearsal printed, the folder brought back, what was known before the first call)."""
  folder = tmp_path_factory.mktemp("on_gpu")
  where = {"date": "2026-01-01", "command": "a command", "machine": {"devices": "1 x slide rule"}, "title": "A title"}
  before = {
      "parity": where | {"rows": [{"recording": "mlp_t", "outcome": "14 passed in 3 s", "failed": "-"}]},
      "steps/mlp": where | {"rows": [
          {"ms a step: median (least .. most)": "120 (119 .. 121)", "examples/s": "6,400", "TFLOP/s": "273",
           "of these": "36.5%", "temporary": "20,480"}]},
      "compare/mlp_compiled": where | {"rows": [
          {"": "trm_jax"}, {"": "reference, compiled", "its time over ours, round by round": "2.6 (2.5 .. 2.7)"}]},
      "steps/attention_916_xla": {"date": "2026-01-01", "error": "RESOURCE_EXHAUSTED: out of memory"},
      "train": where | {"finished": False, "rows": [
          {"steps": "250", "minutes of steps": "1.50", "of": "1,024 validation puzzles", "puzzles solved": "12.5%",
           "cells right": "70.0%"}]}}
  for kept, toy in (("kept", True), ("measured", False)):
    (folder / kept).mkdir()
    (folder / kept / "results.json").write_text(json.dumps({"toy": toy, "results": before}))
  _save_runs(folder)
  folders = f"--out={folder / 'out'} --workdir={folder / 'kept'}"
  lines = [f"call {folders} --only=profile --only=parity --only=compare",
           f"call {folders} --only=profile",
           # However fast the machine is, these rounds take longer than six seconds.
           f"call {folders} --only=steps/attention_916_xla --minutes=0.1 --rounds=1000000",
           f"call {folders} --only=speed", f"call --out={folder / 'out'} --workdir={folder / 'measured'}",
           f"pack {folder / 'run'} {folder / 'out'}", "plan --minutes=9 --puzzles=x", "plan --minutes=9"]
  process = subprocess.run([sys.executable, "-c", _ON_GPU], input="\n".join(lines) + "\n", cwd=_ROOT, text=True,
                           capture_output=True, check=False)
  assert process.returncode == 0, process.stderr
  return re.split("end of .*\n", process.stdout), folder, before


def test_on_gpu_makes_what_is_missing_and_goes_on_after_a_call_that_was_too_short(on_gpu):
  printed, folder, before = on_gpu
  assert re.search("^profile/mlp: done", printed[0], re.MULTILINE), printed[0]
  for said in ("parity: there already", "compare/mlp_compiled: there already",
               "compare/mlp_eager: left out, because --reference is missing"):
    assert said in printed[0], printed[0]
  assert "profile/mlp: there already" in printed[1]
  assert "steps/attention_916_xla: to be continued by another call" in printed[2], printed[2]
  results = json.loads((folder / "out" / "results.json").read_text())["results"]
  assert results == json.loads((folder / "kept" / "results.json").read_text())["results"]
  assert results == before | {"profile/mlp": results["profile/mlp"]}


def test_on_gpu_keeps_a_third_of_the_time_for_the_training(on_gpu):
  printed, *_ = on_gpu
  with_training, without = printed[6:8]
  assert "parity: not begun, since it may take 3 minutes and 2.0 are left before 3 for the training" in with_training
  assert re.search("^profile/mlp: done", with_training, re.MULTILINE), with_training
  assert re.search("^train: done", with_training, re.MULTILINE), with_training
  assert "train: left out, because --puzzles is missing" in without
  assert re.search("^profile/mlp: done", without, re.MULTILINE), without


def test_on_gpu_brings_back_the_largest_kernels_and_their_trace(on_gpu):
  _, folder, _ = on_gpu
  found = json.loads((folder / "out" / "results.json").read_text())["results"]["profile/mlp"]
  shares = [float(row["of all kernels"].rstrip("%")) for row in found["rows"]]
  assert len(shares) == 11 and shares[:-1] == sorted(shares[:-1], reverse=True)
  assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares) + 0.01)
  assert "benchmarks.kernels --rounds=1 --name=baseline" in found["command"] and "--json" not in found["command"]
  profile = jax.profiler.ProfileData.from_serialized_xspace(
      gzip.decompress((folder / "out" / "trace.xplane.pb.gz").read_bytes()))
  names = {event.name for plane in profile.planes for line in plane.lines for event in line.events}
  assert {row["kernel"] for row in found["rows"][:-1]} <= names


def test_on_gpu_reports_rows_and_what_is_unmeasured_or_failed(on_gpu):
  printed, folder, _ = on_gpu
  report = (folder / "out" / "report.md").read_text()
  for text in ("**120 (119 .. 121) ms** a step", "36.5% of the measured product rate", "compiled: 2.6 (2.5 .. 2.7) x",
               "eager: unmeasured", "1 x slide rule, bf16",
               "mlp_t: 14 passed in 3 s", "12.5% of 1,024 validation puzzles after 1.50 minutes of steps (250 steps)",
               "This training has not come to its end."):
    assert text in report, report
  assert "**Failed**: RESOURCE_EXHAUSTED: out of memory" in printed[0]


def test_on_gpu_refuses_unknown_pieces_and_other_results(on_gpu):
  printed, folder, _ = on_gpu
  assert "error: --only=speed: there are the pieces parity, steps, compare, profile, resume, kernel, train" in printed[3]
  assert f"error: --workdir={folder / 'measured'}: has the results of measurements" in printed[4]


def test_on_gpu_brings_back_weights_in_parts(on_gpu, tmp_path):
  _, folder, _ = on_gpu
  parts = sorted((folder / "out").glob("weights.tar.*"), key=lambda path: int(path.suffix[1:]))
  assert len(parts) > 1 and max(path.stat().st_size for path in parts) <= 20_000
  (tmp_path / "weights.tar").write_bytes(b"".join(path.read_bytes() for path in parts))
  with tarfile.open(tmp_path / "weights.tar") as tar:
    tar.extractall(tmp_path, filter="data")
  back, there = weights.load(str(tmp_path / "weights")), weights.load(str(folder / "run"))
  assert (back.config, back.step) == (there.config, 7)
  jax.tree.map(np.testing.assert_array_equal, *(nnx.to_pure_dict(nnx.state(w.model)) for w in (back, there)))
