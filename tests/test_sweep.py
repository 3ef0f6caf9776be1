# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sweeps: what is run, once; what is skipped; what is passed over; how they stop and go on. Tiny runs, for real."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from etils import epath
import pytest

from trm_jax import config as config_lib
from trm_jax import study
from trm_jax.errors import UserError
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.study import dry_run
from trm_jax.study import estimate
from trm_jax.study import running

_ROOT = pathlib.Path(__file__).parents[1]
_STUDY = study.File.load(str(_ROOT / "configs" / "sudoku.py"))

# One step, or no end of them.
_CONFIGS = '''
from trm_jax import config as config_lib
from trm_jax import study

def tiny():
  """A step of a tiny model."""
  config = config_lib.default_config()
  config.data.update(source="generated", box=2, num_train=20, num_validation=0, num_test=9, num_clues=8, num_aug=0)
  config.model.update(hidden_size=8, num_heads=2, L_layers=1, H_cycles=1, L_cycles=1, puzzle_emb_ndim=8,
                      puzzle_emb_len=1, halt_max_steps=1, dtype="float32")
  config.update(epochs=0, steps=1, batch_size=8)
  config.eval.update(batch_size=8, every=1_000_000)
  config.log.every = 1
  return config

@study.group(tiny)
def GROUP():
  """Does it work?"""
  yield "twin", "the same", {}
  yield "broken", "cannot be run", {"data.source": "/no/such/folder"}
  yield "occupied", "its folder holds another run", {"batch_size": 16}
  yield "long", "has no end", {"steps": 1_000_000}
  yield "longer", "has no end, either", {"steps": 2_000_000}

CONFIGS = {"tiny": tiny} | GROUP.configs
SWEEPS = {"first": study.Sweep("all of them", ("tiny", "broken", "twin", "occupied", "long")),
          "again": study.Sweep("those that end at once", ("twin", "occupied")),
          "both": study.Sweep("one that is done and one that is not", ("twin", "long")),
          "one": study.Sweep("one", ("twin",)),
          "endless": study.Sweep("two that have no end", ("long", "longer", "broken", "twin"))}

def get_config(argument=None):
  return config_lib.from_argument(argument, CONFIGS, {})
'''


def _start(*arguments, cores=None, **variables):
  taskset = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
  return subprocess.Popen([*taskset, sys.executable, "-m", "trm_jax.sweep", *arguments], cwd=_ROOT,
                          env=os.environ | variables, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


@pytest.fixture(scope="module", name="stopped")
def _stopped(tmp_path_factory):
  """A sweep that was told to stop in its last run: its file, its folder, its status and what it printed; and the status
  and words of another one, which was started in between."""
  folder = tmp_path_factory.mktemp("sweep")
  path, workdir = folder / "own.py", folder / "runs"
  path.write_text(_CONFIGS)
  occupied = workdir / "occupied" / "seed_0"
  occupied.mkdir(parents=True)
  config = config_lib.to_dict(config_lib.parse(study.File.load(str(path)).get_config("occupied")))
  (occupied / "config.json").write_text(json.dumps({"config": config | {"batch_size": 24}, "total_steps": 1}))
  (occupied / "results.json").write_text('{"step": 1}')
  process = _start(f"--sweep={path}:first", f"--workdir={workdir}")
  try:
    log, deadline = workdir / "long" / "seed_0.log", time.monotonic() + 480
    while not log.exists() or "  loss " not in log.read_text():
      if process.poll() is not None or time.monotonic() > deadline:
        process.kill()
        pytest.fail(str(process.communicate()))
      time.sleep(0.05)
    size = log.stat().st_size
    with _start(f"--sweep={path}:both", f"--workdir={workdir}") as other:
      beside = (*other.communicate(timeout=240), other.returncode)
    assert "error" not in log.read_text()[size:]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):  # as when a machine shuts down
      process.send_signal(number)
    out, err = process.communicate(timeout=120)
  finally:
    process.kill()
    process.wait()
  return path, workdir, process.returncode, out, err, beside


def test_runs_passes_over_what_fails_and_stops_when_told(stopped):
  path, workdir, status, out, err, _ = stopped
  assert (status, err) == (75, "")
  lines = out.splitlines()
  assert lines[0] == f"first: 4 runs, kept in {workdir}; names joined by = are one config"
  assert lines[1] == "[1/4] tiny = twin, seed 0 begins"
  assert re.fullmatch(r"\[1/4\] tiny = twin, seed 0 is done: \d+\.\d% solved, .+; about .+ left", lines[2])
  assert lines[3] == "[2/4] broken, seed 0 begins"
  assert lines[4].startswith("[2/4] broken, seed 0 FAILED with status 2 after ")
  assert ("error: config.data.source = '/no/such/folder': no such folder" in lines[4]
          and lines[4].endswith(f"(more in {workdir}/broken/seed_0.log)"))
  assert lines[5] == (f"[3/4] occupied, seed 0 FAILED: {workdir}/occupied/seed_0: holds another run; it differs in "
                      "batch_size: 24 -> 16. Name another folder, or give the values it was started with")
  assert lines[6:] == ["[4/4] long, seed 0 begins", "[4/4] long, seed 0 was stopped",
                       "stopped; start the same command to go on"]
  said = (workdir / "long" / "seed_0.log").read_text()
  assert said.count("saving and stopping") == said.count("stopped at step") == 1  # it has been waited for
  assert any((workdir / "long" / "seed_0" / "checkpoints").iterdir())
  assert not (workdir / "twin").exists()
  assert json.loads((workdir / "tiny" / "seed_0" / "config.json").read_text())["config"]["name"] == "tiny"


def test_runs_side_by_side_have_cores_of_their_own_and_stop_together(stopped, tmp_path):
  cores = sorted(os.sched_getaffinity(0))[:2]
  if len(cores) < 2:
    pytest.skip("needs two processor cores")
  process = _start(f"--sweep={stopped[0]}:endless", f"--workdir={tmp_path}", "--side_by_side=2", cores=cores)
  try:
    logs, deadline = [tmp_path / name / "seed_0.log" for name in ("long", "longer")], time.monotonic() + 480
    while not all(log.exists() and "  loss " in log.read_text() for log in logs):
      if process.poll() is not None or time.monotonic() > deadline:
        process.kill()
        pytest.fail(str(process.communicate()))
      time.sleep(0.05)
    runs = pathlib.Path(f"/proc/{process.pid}/task").glob("*/children")
    runs = [int(pid) for children in runs for pid in children.read_text().split()]
    assert sorted(tuple(os.sched_getaffinity(pid)) for pid in runs) == [(core,) for core in cores]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
  finally:
    process.kill()
    process.wait()
  assert (process.returncode, err) == (75, "")
  lines = out.splitlines()[1:]
  assert sorted(lines[:2]) == ["[1/4] long, seed 0 begins", "[2/4] longer, seed 0 begins"]
  assert sorted(lines[2:4]) == ["[1/4] long, seed 0 was stopped", "[2/4] longer, seed 0 was stopped"]
  assert lines[4:] == ["stopped; start the same command to go on"]  # and no other was begun
  assert all(log.read_text().count("stopped at step") == 1 for log in logs)


_PLANS = """
from etils import epath
from jax._src import xla_bridge
from trm_jax import study, sweep
from trm_jax.study import estimate, running
for run in study.plan(study.File.load("configs/sudoku.py"), "miniature", [0]):
  assert run.state(epath.Path("/nowhere")) == "new"
  assert running._training_flops(run) and estimate.total_steps(run.config)
assert not xla_bridge._backends
"""


def test_a_sweep_leaves_the_devices_to_its_runs():
  """A GPU's memory, or a TPU chip, belongs to the first process that asks JAX for its devices."""
  subprocess.run([sys.executable, "-c", _PLANS], cwd=_ROOT, check=True, env=os.environ | {"JAX_PLATFORMS": ""})


def test_the_log_of_a_run_in_a_bucket_outlives_the_machine(bucket, tmp_path):
  log, folder = tmp_path / "seed_0.log", epath.Path(f"gs://{bucket}/x/seed_0")
  log.write_text("of an earlier start\nof this one\n")
  running._keep_log(log, len("of an earlier start\n"), folder)
  (kept,) = folder.glob("logs/*/*.log")
  assert kept.read_text() == "of this one\n"
  running._keep_log(log, 0, epath.Path(tmp_path / "run"))  # on a disk the log is beside the run already
  assert not (tmp_path / "run").exists()


def test_two_sweeps_share_a_folder(stopped):
  """The second passes over the run that the first is at."""
  _, workdir, *_, (out, err, status) = stopped
  assert (status, err) == (76, "")
  assert out.splitlines()[2:] == [
      f"[2/2] long, seed 0 is left to another sweep, which is running it ({workdir}/long/seed_0.log)",
      "1 of 2 runs are left to others; start the same command later to see how they ended:", "  long, seed 0"]
  assert " was finished before: " in out.splitlines()[1]


def test_leaves_a_run_to_whoever_is_at_it(stopped, tmp_path):
  with workdir_lib.Workdir(tmp_path / "tiny" / "seed_0", main=True):  # as by trm_jax.main
    with _start(f"--sweep={stopped[0]}:one", f"--workdir={tmp_path}") as process:
      out, err = process.communicate(timeout=240)
    assert [path.name for path in (tmp_path / "tiny" / "seed_0").iterdir()] == [".lock"]
  assert (process.returncode, err) == (76, "")
  assert out.splitlines()[1].startswith(f"[1/1] tiny = twin, seed 0 is left to process {os.getpid()} on ")
  assert out.splitlines()[2:] == ["1 of 1 runs are left to others; start the same command later to see how they ended:",
                                  "  tiny = twin, seed 0"]


def test_a_run_that_cannot_be_made_now_has_not_failed(stopped, tmp_path):
  with socket.create_server(("", 0)) as taken:  # where the run has to listen as the first process of a job
    job = {"JAX_COORDINATOR_ADDRESS": f"localhost:{taken.getsockname()[1]}", "JAX_NUM_PROCESSES": "2",
           "JAX_PROCESS_ID": "0"}
    with _start(f"--sweep={stopped[0]}:one", f"--workdir={tmp_path}", "--wait", **job) as process:
      out, err = process.communicate(timeout=240)
  assert (process.returncode, err) == (76, "")
  lines = out.splitlines()[1:]
  assert lines[0] == "[1/1] tiny = twin, seed 0 begins"
  assert re.fullmatch(r"\[1/1\] tiny = twin, seed 0 cannot be made now: error: --coordinator_address=.*: process 0 "
                      r"cannot listen there .* \(more in .*/seed_0.log\)", lines[1])
  assert lines[2:] == ["1 of 1 runs could not be made now; the same command tries them again:",
                       "  tiny = twin, seed 0"]


def test_waits_for_what_others_are_at_and_takes_it_over(stopped, tmp_path):
  with _start(f"--sweep={stopped[0]}:one", f"--workdir={tmp_path}", "--wait") as process:
    with workdir_lib.Workdir(tmp_path / "tiny" / "seed_0", main=True):  # as by trm_jax.main
      lines = []
      while not lines or not lines[-1].startswith("waiting"):
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()
    out, err = process.communicate(timeout=240)
  assert (process.returncode, err) == (0, "")
  assert lines[1].startswith(f"[1/1] tiny = twin, seed 0 is left to process {os.getpid()} on ")
  assert lines[2:] == ["waiting for 1 of 1 runs that others are making\n"]
  lines = out.splitlines()
  assert lines[0] == "[1/1] tiny = twin, seed 0 begins" and lines[2:] == ["all 1 runs are done"]


def test_skips_what_is_finished_and_tells_of_failures(stopped):
  path, workdir, *_ = stopped
  results = workdir / "tiny" / "seed_0" / "results.json"
  before = results.stat().st_mtime_ns
  process = _start(f"--sweep={path}:again", f"--workdir={workdir}")
  out, err = process.communicate(timeout=240)
  assert (process.returncode, err) == (1, "")
  lines = out.splitlines()
  assert lines[1].startswith("[1/2] tiny = twin, seed 0 was finished before: ") and lines[1].endswith("% solved")
  assert lines[2].startswith("[2/2] occupied, seed 0 FAILED: ")
  assert lines[3:] == ["1 of 2 runs failed:", "  occupied, seed 0"]
  assert results.stat().st_mtime_ns == before


def test_a_sweep_outlives_its_reader(stopped):
  path, workdir, *_ = stopped
  reader, out = os.pipe()
  os.close(reader)
  done = subprocess.run([sys.executable, "-m", "trm_jax.sweep", f"--sweep={path}:again", f"--workdir={workdir}"],
                        cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True)
  os.close(out)
  assert done.returncode == 1  # it came to its end, where it says which runs have failed
  assert done.stderr == (
      "warning: standard output cannot be written (Broken pipe); the program goes on without it\n")


def test_dry_run_says_what_there_is_to_do(stopped):
  path, workdir, *_ = stopped
  file = study.File.load(str(path))
  runs = study.plan(file, "first", [0, 1], sets=["log.every=1"])
  lines = list(dry_run.lines(runs, str(workdir)))
  rows = {" ".join(line.split()[: line.split().index("seed") + 2]): line for line in lines[: len(runs)]}
  assert list(rows) == [f"{name}, seed {seed}" for seed in (0, 1) for name in ("tiny = twin", "broken", "occupied",
                                                                              "long")]
  found = {label: row.removeprefix(label).split()[0] for label, row in rows.items()}
  assert list(found.values()) == ["finished", "new", "another", "begun", "new", "new", "new", "new"]
  assert rows["tiny = twin, seed 0"].endswith("% solved")
  assert "batch_size: 24 -> 16" in rows["occupied, seed 0"]
  long = runs[3]
  flops = estimate.training_flops(long.config) + estimate.evaluation_flops(long.config)
  assert f" 1,000,000 steps  {flops:.1e} FLOP  about " in rows["long, seed 0"] and rows["long, seed 0"].endswith("(a)")
  assert lines[len(runs) + 1] == "8 runs: 1 finished, 5 new, 1 another run, 1 begun"
  assert lines[len(runs) + 2].startswith("ESTIMATE: ")
  assert not (workdir / "broken" / "seed_1").exists()


def test_dry_run_where_nothing_was_measured(stopped, tmp_path):
  [run, *_] = study.plan(study.File.load(str(stopped[0])), "again", [0])
  lines = list(dry_run.lines([run], str(tmp_path)))
  assert lines[0].endswith("(b)")
  assert "an assumed 40% of the " in lines[-1] and " cpu has just reached in float32 matrix products" in lines[-1]


def _plan(name, seeds=(0,), **kwargs):
  return study.plan(_STUDY, name, list(seeds), **kwargs)


def test_the_same_config_is_run_once_in_all_sweeps():
  names = ("mini_t2_n2", "mini_ema_on", "mini_mlp", "mini_nsup_8", "mini_batch_64_lr_1e-3")
  runs = _plan("miniature", [0, 1])
  assert len(runs) == 2 * (24 - 4)
  assert [run.names for run in runs if "mini_t2_n2" in run.names] == [names, names]
  assert [run.config.seed for run in runs] == [0] * 20 + [1] * 20
  assert len({run.folder for run in runs}) == 40
  assert [run.names for run in _plan("tn_schedule")][0] == ("baseline", "e2_2_t3_n6")
  folders = {run.folder for run in _plan("all")}
  for name in ("batch", "paper_table_3"):
    assert {run.folder for run in _plan(name)} <= folders


def test_options_and_fields_go_to_every_run():
  run = _plan("batch", [3], options=["laptop"], sets=["data.source=/my puzzles", "steps=7"])[0]
  assert run.arguments == (f"{_STUDY.path}:baseline,laptop", "--config.seed=3", "--config.data.source=/my puzzles",
                           "--config.steps=7")
  assert run.folder == "baseline-laptop/seed_3"
  assert (run.config.steps, run.config.data.source, run.config.seed) == (7, "/my puzzles", 3)
  assert len(_plan("batch", options=["laptop"])) == 1  # a laptop has one batch
  with pytest.raises(UserError, match="^e2_3_attention: config.model.num_heads|^e2_3_attention: model.num_heads = 3"):
    _plan("ablations", sets=["model.num_heads=3"])


def test_finished_is_what_has_results_of_the_same_config(tmp_path):
  run, folder = _plan("replication")[0], epath.Path(tmp_path)
  saved = {"config": config_lib.to_dict(run.config), "total_steps": 65_104}
  assert run.state(folder / "none") == "new"
  (folder / "config.json").write_text(json.dumps(saved))
  assert run.state(folder) == "new"  # killed before it had saved anything
  (folder / "checkpoints").mkdir()
  assert run.state(folder) == "new"
  (folder / "checkpoints" / "5").mkdir()
  assert run.state(folder) == "begun"
  results = {"train_seconds": 9.0, "test": {"exact_accuracy": 0.5}}
  (folder / "results.json").write_text(json.dumps({"step": 65103, **results}))
  assert run.state(folder) == "begun"
  (folder / "results.json").write_text(json.dumps({"step": 65104, **results}))
  assert run.state(folder) == "finished"
  saved["config"]["name"], saved["config"]["log"]["every"] = "e2_2_t3_n6", 3  # changes nothing that is trained
  (folder / "config.json").write_text(json.dumps(saved))
  assert run.state(folder) == "finished"
  saved["config"] |= {"seed": 3}
  (folder / "config.json").write_text(json.dumps(saved))
  with pytest.raises(UserError, match="holds another run; it differs in seed: 3 -> 0. Name another folder"):
    run.state(folder)


def test_a_damaged_file_makes_a_run_unfinished_and_is_named(tmp_path, capsys):
  run, folder = _plan("replication")[0], epath.Path(tmp_path)
  config = json.dumps({"config": config_lib.to_dict(run.config), "total_steps": 65_104})
  results = '{"step": 65104, "train_seconds": 9.0, "test": {"exact_accuracy": 0.5}}'
  (folder / "config.json").write_text(config)
  (folder / "checkpoints" / "5").mkdir(parents=True)
  for content, reason in (("", ": is empty"), (results[:20], ": is cut off in line 1"),
                          ('{"step": 65104}', ": train_seconds is None, must be a number")):
    (folder / "results.json").write_text(content)
    assert run.state(folder) == "begun"
    assert capsys.readouterr().err == f"warning: {folder}/results.json{reason}; its run will repeat the test\n"
  (folder / "results.json").write_text(results)
  assert run.state(folder) == "finished"
  (folder / "checkpoints" / "5").rmdir()
  for content, reason in ((config[:99], ": is cut off in line 1"), ("{}", ": has no config or no total_steps")):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError) as e:  # whose results are they?
      run.state(folder)
    assert str(e.value) == f"{folder}/config.json{reason}; it belongs to no run, or is damaged; name another folder"
    (folder / "checkpoints" / "5").mkdir()
    assert run.state(folder) == "begun"
    assert capsys.readouterr().err == (
        f"warning: {folder}/config.json{reason}; the run will write it again when it goes on\n")
    (folder / "checkpoints" / "5").rmdir()


def test_last_words_are_those_of_this_start(tmp_path):
  log = tmp_path / "seed_0.log"
  log.write_text("error: of an earlier start\n")
  before = log.stat().st_size
  assert running._last_line(log, before) == "said nothing"
  with log.open("a") as f:
    f.write("step 5\nKilled\n\n")
  assert running._last_line(log, before) == "Killed"
  with log.open("a") as f:
    f.write("error: this one\nmore\n")
  assert running._last_line(log, before) == "error: this one"


@pytest.mark.parametrize("status, words", [
    (2, "with status 2"), (76, "with status 76"), (134, "by SIGABRT"), (137, "by SIGKILL (out of memory?)"),
    (139, "by SIGSEGV"), (255, "with status 255"),
])
def test_a_run_that_a_signal_ended_is_said_so(status, words):
  assert running._how_it_ended(status) == words
