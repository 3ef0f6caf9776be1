# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Several processes as one job. The jobs are real: started by launch/local, two processes of two CPU devices."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

from jax._src import clusters
from jax._src import hardware_utils
import jobs
import numpy as np
import pytest

from trm_jax import evaluate
from trm_jax.errors import UserError
from trm_jax.runtime import cluster
from trm_jax.runtime import distributed
from trm_jax.runtime import hosts
from trm_jax.runtime import sharding
from trm_jax.runtime import signals as signals_lib
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.runtime.cluster import Job

STEPS = 12
SHORT = {"steps": STEPS, "batch_size": 16, "log.every": 1, "eval.every": 6, "save.every": 6,
         "optimizer__warmup_steps": 1}

# ------------------------------------------------------------------------------------------ finding each other

# What srun and mpirun of Open MPI 4 set, of four processes for the second one: the first on its host.
SLURM_STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "node[1-4]", "SLURM_NTASKS": "4",
              "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
OPEN_MPI = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911", "OMPI_COMM_WORLD_SIZE": "4",
            "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
# Vendor and device on the PCI bus.
TPU_V4 = ("0x1ae0", "0x005e")
GOOGLES_NETWORK_CARD = ("0x1ae0", "0x0042")
GOOGLES_DISK = ("0x1ae0", "0x001f")
H100 = ("0x10de", "0x2330")


@pytest.fixture
def environment_of_no_job(monkeypatch):
  """Whatever started the tests."""
  for name in list(os.environ):
    if name.startswith(("SLURM_", "OMPI_")) or name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES",
                                                        "JAX_PROCESS_ID"):
      monkeypatch.delenv(name)


@pytest.fixture
def pci_bus(tmp_path, monkeypatch):
  """A function that fills this machine's PCI bus with the devices that it gets, as Linux lists them."""
  def fill(*devices):
    for i, (vendor, device) in enumerate(devices):
      folder = tmp_path / "devices" / f"0000:00:{i:02}.0"
      folder.mkdir(parents=True)
      (folder / "vendor").write_text(f"{vendor}\n")
      (folder / "device").write_text(f"{device}\n")
    monkeypatch.setattr(hosts, "_PCI_DEVICES", tmp_path / "devices")
  return fill


@pytest.mark.parametrize("arguments, environment, expected", [
    ((None, None, None), {}, None),
    (("a:1", 2, 0), {}, Job("a:1", 2, 0)),
    ((None, None, None), {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
     Job("a:1", 2, 1)),
    (("b:2", None, 0), {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
     Job("b:2", 2, 0)),
    ((None, None, None), SLURM_STEP, Job()),
    ((None, 1, None), SLURM_STEP, None),
    ((None, None, None), SLURM_STEP | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, None),
    # A shell of salloc on the login node, or an editor's terminal there.
    ((None, None, None), {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),
    # The script of sbatch.
    ((None, None, None), {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, None),
    # A shell that salloc starts on the first node: by srun, but alone.
    ((None, None, None), SLURM_STEP | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}, None),
    ((None, None, None), OPEN_MPI, Job()),
    ((None, 1, None), OPEN_MPI, None),
    ((None, None, None), OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
])
def test_a_job_is_found_by_flags_or_environment(environment_of_no_job, monkeypatch, arguments, environment, expected):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  assert cluster.find_job(*arguments) == expected


@pytest.mark.parametrize("environment", [SLURM_STEP, OPEN_MPI])
def test_jax_finds_what_is_taken_for_a_job(environment_of_no_job, monkeypatch, environment):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  job = clusters.ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, 1)
  assert job[1:] == (4, 1, [0])  # its size, and this process's number and device


@pytest.mark.parametrize("arguments, message", [
    (("a:1", None, None), "--num_processes .* and --process_id .* missing"),
    ((None, 2, 0), "--coordinator_address .* missing"),
    (("a:1", 2, 2), r"--process_id=2: must lie in \[0, 2\)"),
    (("a", 2, 0), "--coordinator_address=a: must be HOST:PORT"),
])
def test_half_a_job_is_an_error(environment_of_no_job, arguments, message):
  with pytest.raises(UserError, match=message):
    cluster.find_job(*arguments)


def test_open_mpi_that_jax_does_not_know_is_an_error(environment_of_no_job, monkeypatch):
  """Not a run of every process, each for itself."""
  monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
  with pytest.raises(UserError, match="^OMPI_COMM_WORLD_SIZE=4: JAX finds .* up to version 4 .*; give --coord"):
    cluster.find_job(None, None, None)
  assert cluster.find_job("a:1", 4, 3) == Job("a:1", 4, 3)
  monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "four")
  with pytest.raises(UserError, match="OMPI_COMM_WORLD_SIZE=four: must be a number"):
    cluster.find_job(None, None, None)


def test_peers_that_do_not_come_are_an_error(tmp_path):
  """Never a run of one process alone."""
  ran = subprocess.run(
      [sys.executable, "-m", "trm_jax.main", f"--config={jobs.CONFIG}", f"--workdir={tmp_path}/run",
       "--coordinator_address=localhost:9", "--num_processes=2", "--process_id=1", "--peer_timeout_s=2"],
      capture_output=True, text=True, cwd=jobs.ROOT, check=False)
  assert ran.returncode == 76, ran
  assert ran.stderr.splitlines()[-1].startswith("error: "), ran.stderr
  assert not (tmp_path / "run").exists()


def test_a_tpu_that_cannot_be_used_is_an_error(environment_of_no_job, pci_bus, monkeypatch):
  """Not a run on every host's CPU, each for itself."""
  pci_bus(TPU_V4, GOOGLES_NETWORK_CARD, TPU_V4)
  monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
  assert cluster.find_job(None, None, None) is None  # JAX_PLATFORMS=cpu, see conftest
  monkeypatch.delenv("JAX_PLATFORMS")
  with pytest.raises(UserError, match=r"\(0000:00:00.0, 0000:00:02.0 on its PCI bus\), but libtpu is not inst"):
    cluster.find_job(None, None, None)
  monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: object())
  assert cluster.find_job(None, None, None) == Job()


def test_gpus_network_cards_and_disks_are_no_tpus(environment_of_no_job, pci_bus, monkeypatch):
  """Whatever files their drivers make in /dev: a machine of Google with GPUs is no TPU VM."""
  monkeypatch.delenv("JAX_PLATFORMS")
  monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
  pci_bus(H100, GOOGLES_NETWORK_CARD, GOOGLES_DISK)
  assert hosts.tpu_chips() == []
  assert cluster.find_job(None, None, None) is None


def test_a_machine_without_a_pci_bus_has_no_tpu(monkeypatch, tmp_path):
  monkeypatch.setattr(hosts, "_PCI_DEVICES", tmp_path / "none")
  assert hosts.tpu_chips() == []


def test_the_tpus_are_those_that_jax_knows():
  assert hosts._TPUS >= set(hardware_utils._TPU_PCI_DEVICE_IDS)  # older versions know fewer
  assert hosts._GOOGLE == hardware_utils._GOOGLE_PCI_VENDOR_ID


def test_one_host_of_a_slice_is_told_that_it_is_alone(environment_of_no_job, pci_bus, monkeypatch):
  """Else libtpu would wait for the others."""
  pci_bus(TPU_V4, TPU_V4, GOOGLES_NETWORK_CARD, TPU_V4, TPU_V4)
  monkeypatch.setattr(os, "environ", dict(os.environ))
  before = dict(os.environ)
  hosts.stay_alone()
  assert os.environ == before  # JAX_PLATFORMS=cpu
  del os.environ["JAX_PLATFORMS"], before["JAX_PLATFORMS"]
  os.environ["TPU_HOST_BOUNDS"] = "1,1,2"  # whoever sets this knows better
  hosts.stay_alone()
  assert os.environ == before | {"TPU_HOST_BOUNDS": "1,1,2"}
  del os.environ["TPU_HOST_BOUNDS"]
  hosts.stay_alone()
  assert os.environ == before | {
      "JAX_NUM_PROCESSES": "1", "CLOUD_TPU_TASK_ID": "0", "TPU_PROCESS_BOUNDS": "1,1,1",
      "TPU_CHIPS_PER_PROCESS_BOUNDS": "2,2,1", "TPU_VISIBLE_CHIPS": "0,1,2,3",
      "TPU_PROCESS_ADDRESSES": "localhost:8476", "TPU_PROCESS_PORT": "8476"}


def test_chips_side_by_side_share_neither_chip_nor_port_nor_lock():
  environments = [hosts.chip_alone(chip) for chip in range(4)]
  assert [e["TPU_VISIBLE_CHIPS"] for e in environments] == ["0", "1", "2", "3"]
  assert len({e["TPU_PROCESS_PORT"] for e in environments}) == 4
  for environment in environments:
    assert environment["TPU_PROCESS_ADDRESSES"] == f"localhost:{environment['TPU_PROCESS_PORT']}"
    assert environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] == environment["TPU_PROCESS_BOUNDS"] == "1,1,1"
    assert environment["ALLOW_MULTIPLE_LIBTPU_LOAD"] == "1"


def test_whoever_gets_such_an_environment_is_no_job(environment_of_no_job, pci_bus, monkeypatch):
  """A sweep starts its runs in one, on machines where a run would else look for others."""
  pci_bus(*[TPU_V4] * 4)
  monkeypatch.delenv("JAX_PLATFORMS")
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: object())
  for alone in (hosts.host_alone(4), hosts.chip_alone(2), hosts.gpu_alone(0)):
    with monkeypatch.context() as patch:
      for name, value in (SLURM_STEP | alone).items():
        patch.setenv(name, value)
      assert cluster.find_job(None, None, None) is None


def test_a_gpu_alone_is_one_of_those_that_may_be_seen(monkeypatch):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  assert hosts.gpu_alone(1) == {"CUDA_VISIBLE_DEVICES": "1", "JAX_NUM_PROCESSES": "1"}
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
  assert hosts.gpu_alone(1)["CUDA_VISIBLE_DEVICES"] == "5"
  with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=3,5: names 2 GPUs, but number 2 \\(from 0\\) is needed"):
    hosts.gpu_alone(2)


def test_a_host_of_unknown_shape_is_an_error():
  with pytest.raises(UserError, match="has 3 TPU chips, .* known only for 1, 2, 4 and 8; set TPU_CHIPS_PER_PROCESS"):
    hosts.host_alone(3)


@pytest.mark.parametrize("program, arguments", [
    ("main", ("--mode=eval", "--num_processes=1", "--checkpoint=none")),
    ("solve.__main__", ("--checkpoint=none",)),
])
def test_a_program_on_one_host_of_a_slice_is_alone_there(pci_bus, program, arguments):
  """Before it touches a device."""
  pci_bus(*[TPU_V4] * 4)
  code = f"""
      import importlib, os, pathlib, sys
      from trm_jax import cli
      from trm_jax.runtime import hosts
      hosts._PCI_DEVICES = pathlib.Path({str(hosts._PCI_DEVICES)!r})
      sys.argv = {["x", *arguments]!r}
      try:
        cli.run(importlib.import_module("trm_jax.{program}").main)
      finally:
        print(os.environ.get("TPU_VISIBLE_CHIPS"))
  """
  environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
  ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=jobs.ROOT,
                       env=environment, check=False)
  assert "none: no checkpoint here" in ran.stderr, ran
  assert ran.stdout == "0,1,2,3\n"


def test_a_port_in_use_is_an_error():
  with socket.create_server(("", 0)) as server:
    port = server.getsockname()[1]
    with pytest.raises(UserError, match=f"localhost:{port}: process 0 cannot listen there .* another port"):
      cluster.join(Job(f"localhost:{port}", 2, 0), 1)


# ------------------------------------------------------------------------------------------ agreeing and stopping


def test_what_is_agreed_on_is_the_maximum_and_comes_one_exchange_later():
  agreement = distributed.Agreement(sharding.make_mesh(model=2), 2)
  assert agreement.exchange([1, 5]) == [0, 0]
  assert agreement.exchange([0, 7]) == [1, 5]
  assert agreement.exchange([0, 0]) == [0, 7]


def send(number):
  """A signal to this process, and a moment for the thread that hears of it."""
  os.kill(os.getpid(), number)
  time.sleep(0.2)


def test_signals_are_noted_and_a_second_ctrl_c_is_not(monkeypatch, capfd):
  monkeypatch.setattr(signals_lib, "_ONE_PRESS_SECONDS", 0.5)
  with pytest.raises(KeyboardInterrupt), signals_lib.Signals(announces=True) as signals:
    signals.hold()
    assert signals.received is None and signals.status is None
    send(signal.SIGTERM)
    send(signal.SIGHUP)
    assert signals.received == signal.SIGTERM and signals.status == 75
    signals.received = None
    send(signal.SIGINT)
    send(signal.SIGINT)  # the same press of the keys
    assert signals.status == 130
    time.sleep(0.5)
    send(signal.SIGINT)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  assert signal.set_wakeup_fd(-1) == -1
  assert capfd.readouterr().out == ("\nSIGTERM: saving and stopping\n"
                                    "\nSIGINT: saving and stopping; Ctrl-C again stops at once\n")


def test_a_signal_that_nobody_has_heeded_counts_in_the_end():
  for end in (lambda signals: signals.__exit__(None, None, None), lambda signals: signals.released().__enter__()):
    with pytest.raises(KeyboardInterrupt):
      signals = signals_lib.Signals(announces=True)
      signals.hold()
      send(signal.SIGINT)
      end(signals)
      time.sleep(1)


def test_an_ignored_signal_stays_ignored():
  """As nohup wants it."""
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with signals_lib.Signals(announces=True) as signals:
      signals.hold()
      send(signal.SIGHUP)
      assert signals.received is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("ending, status, said", [
    ("sys.exit(0)", 0, ""),
    ("sys.exit(2)", 2, ""),
    ("os.abort()", 76, "another process of this job is gone"),
    ("os.kill(os.getpid(), 9)", 137, "ended by SIGKILL (out of memory?)"),
    # The guard hands signals on.
    ("os.kill(os.getppid(), 15); time.sleep(9)", 75, "SIGTERM: stopping at once"),
    ("os.kill(os.getppid(), 2); time.sleep(9)", 130, "SIGINT: stopping at once"),
    ("os.kill(os.getppid(), 1); time.sleep(9)", 75, "SIGHUP: stopping at once"),
    ("nohup", 0, ""),
])
def test_the_guard_says_how_it_ended(ending, status, said):
  ignore = ""
  if ending == "nohup":
    ignore, ending = "signal.signal(1, signal.SIG_IGN);", "os.kill(os.getppid(), 1); time.sleep(0.5)"
  program = ("import os, signal, sys, time; from trm_jax.runtime import guard, signals; "
             f"{ignore} signals.end_when_told(); guard.guard(); {ending}")
  ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=jobs.ROOT, check=False)
  assert ran.returncode == status, ran
  assert said in ran.stdout + ran.stderr and (said or not ran.stderr)


def test_who_is_guarded_dies_with_the_guard(tmp_path):
  program = f"""
      import os, pathlib, time
      from trm_jax.runtime import guard
      guard.guard()
      pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
      time.sleep(60)
  """
  guard = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=jobs.ROOT)
  while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
    time.sleep(0.02)
  child = int((tmp_path / "pid").read_text())
  guard.kill()
  guard.wait()
  deadline = time.monotonic() + 10
  with pytest.raises(ProcessLookupError):
    while time.monotonic() < deadline:
      os.kill(child, 0)
      time.sleep(0.02)


def test_the_watchdog_ends_what_hangs_and_says_where():
  program = """
      import time
      from trm_jax.runtime import distributed
      watchdog = distributed.Watchdog(0.5)
      for _ in range(4):
        time.sleep(0.2)
        watchdog.alive("counting sheep")
      time.sleep(60)
  """
  ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=jobs.ROOT,
                       check=False)
  assert ran.returncode == 76
  assert "no progress for 0 s while counting sheep" in ran.stderr.splitlines()[-1]
  assert 'File "<string>"' in ran.stderr


# ------------------------------------------------------------------------------------------ whole jobs


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp("compiled")


def finished(workdir, cache, *, processes, devices):
  job = jobs.Job(workdir, processes=processes, devices=devices, cache=cache, **SHORT)
  assert job.wait() == 0, job.output()
  return job


@pytest.fixture(scope="module")
def alone(tmp_path_factory, cache):
  """A run of one process with four devices."""
  workdir = tmp_path_factory.mktemp("alone") / "run"
  finished(workdir, cache, processes=1, devices=4)
  return workdir


@pytest.fixture(scope="module")
def together(tmp_path_factory, cache):
  """The same run of two processes with two devices each."""
  workdir = tmp_path_factory.mktemp("together") / "run"
  finished(workdir, cache, processes=2, devices=2)
  return workdir


def assert_same_run(one, other):
  """The same puzzles, the same steps to rounding, every puzzle evaluated once."""
  assert jobs.difference(jobs.state(one, STEPS), jobs.state(other, STEPS)) < 2e-5
  ours, expected = jobs.records(one), jobs.records(other)
  assert [(r["step"], sorted(r)) for r in ours] == [(r["step"], sorted(r)) for r in expected]
  for a, b in zip(ours, expected):
    for name in set(a) & {"train/loss", "train/grad_norm"}:
      assert a[name] == pytest.approx(b[name], rel=1e-5)
    assert a.get("test/num_puzzles") == b.get("test/num_puzzles")
  assert [r["validation/num_puzzles"] for r in ours if "validation/num_puzzles" in r] == [13, 13]
  assert [r["test/num_puzzles"] for r in ours if "test/num_puzzles" in r] == [21]


def test_two_processes_take_the_same_steps_as_one(alone, together):
  assert_same_run(together, alone)
  assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.fixture(scope="module")
def begun(tmp_path_factory, cache):
  """Runs on ARC's tasks that begin with another run's weights, by the number of their processes; and what they said."""
  folder = tmp_path_factory.mktemp("begun")
  fields = SHORT | {"steps": 2, "save.every": 1, "data__num_train": 4, "data__num_test": 2, "data__num_validation": 0}
  runs, said = {}, {}

  def run(workdir, processes, **changed):
    job = jobs.Job(workdir, processes=processes, devices=4 // processes, cache=cache, **fields | changed)
    assert job.wait() == 0, job.output()
    return job.output()

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jobs, "CONFIG", "configs/arc.py:quickstart")
    run(folder / "first", 1)
    for processes in (1, 2):
      runs[processes] = folder / str(processes)
      # Fewer rows, at other places.
      said[processes] = run(runs[processes], processes, init_from=folder / "first", init_rows="mean", data__num_aug=5,
                            data__num_votes=5)
  return runs, said


def test_two_processes_begin_with_the_weights_of_another_run(begun):
  """As one process does. Rows of the table are carried over by name, between tables that are split over processes."""
  runs, said = begun
  for output in said.values():
    line, = re.findall(r"begins with the averaged weights of step .*rows of the prefix table are taken from it.*", output)
    carried, rows = (int(number.replace(",", "")) for number in re.search(r"([\d,]+) of ([\d,]+) rows", line).groups())
    assert 0 < carried < rows
  one, two = (jobs.state(run, 1) for run in runs.values())
  assert jobs.difference(one, two) < 2e-5
  tables = [state["prefix_table"]["puzzle_emb"] for state in (one, two)]
  np.testing.assert_allclose(*tables, rtol=1e-5, atol=1e-6)
  assert np.abs(tables[0]).max() > 0


def test_two_processes_vote_as_one_does(begun, tmp_path):
  """The run's own test, and an evaluation of its checkpoint in this process."""
  run = begun[0][2]
  theirs = json.loads((run / "results.json").read_text())["test"]
  ours = evaluate.run(str(run), None, out=str(tmp_path))
  assert theirs["num_puzzles"] == 2 * 4 * 6 and theirs["unanswered"] == 0 and list(theirs["by_votes"]) == ["1", "3", "6"]
  for name in ("num_puzzles", "unanswered", "by_votes", *(f"pass@{k}" for k in (1, 2, 5, 10, 100, 1000))):
    assert ours[name] == theirs[name], name
  assert (tmp_path / "submission.json").read_bytes() == (run / "submission.json").read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_goes_on_in_another_number_of_processes(alone, together, tmp_path, cache, processes):
  cut = tmp_path / "run"
  shutil.copytree(together if processes == 1 else alone, cut)
  shutil.rmtree(cut / "checkpoints" / str(STEPS))
  (cut / "results.json").unlink()
  job = finished(cut, cache, processes=processes, devices=4 // processes)
  assert "going on from the checkpoint of step 6" in job.output()
  assert_same_run(cut, alone)


def test_a_job_stops_at_one_step_goes_on_and_notices_a_hanging_peer(tmp_path, cache):
  workdir = tmp_path / "run"
  endless = {"steps": 100_000, "batch_size": 16, "save.every": 50_000, "log.every": 5}

  def start():
    job = jobs.Job(workdir, processes=2, devices=2, cache=cache, flags=("--peer_timeout_s=25",), **endless)
    job.wait_for("to go")
    return job

  job = start()
  os.kill(job.pids()[1], signal.SIGTERM)  # the guard of process 1 alone
  assert job.wait() == 75, job.output()
  stopped_at = int(job.output().split("stopped at step ")[1].split(",")[0])
  assert [path.name for path in (workdir / "checkpoints").iterdir()] == [str(stopped_at)]
  saved = jobs.state(workdir, stopped_at)
  assert saved["step"] == stopped_at and saved["metrics"]["num_steps"] == (stopped_at - 1) % 5 + 1

  job = start()
  assert f"going on from the checkpoint of step {stopped_at}" in job.output()
  os.kill(job.pids()[3], signal.SIGSTOP)  # whom the guard of process 1 guards
  job.wait_for("no progress for 25 s while training, after step")
  job.kill()


def test_a_job_notices_a_dead_peer(tmp_path, cache):
  job = jobs.Job(tmp_path / "run", processes=2, devices=2, cache=cache, steps=100_000, batch_size=16)
  job.wait_for("to go")
  os.kill(job.pids()[0], signal.SIGKILL)  # the guard of process 0, and whom it guards with it
  assert job.wait(120) == 137, job.output()
  log = (tmp_path / "run.process-1.log").read_text()
  assert log.splitlines()[-1].startswith("error: ") and "another process of this job is gone" in log


def test_a_job_leaves_a_folder_that_another_process_owns_alone(tmp_path):
  """All of its processes end with the same line; nothing there has changed."""
  workdir = tmp_path / "run"
  with workdir_lib.Workdir(workdir, main=True):
    before = (workdir / ".lock").read_bytes()
    job = jobs.Job(workdir, processes=2, devices=1)
    assert job.wait(120) == 2, job.output()
    assert [path.name for path in workdir.iterdir()] == [".lock"] and (workdir / ".lock").read_bytes() == before
  lines = [next(line for line in text.splitlines() if line.startswith("error: "))
           for text in (job.output(), (tmp_path / "run.process-1.log").read_text())]
  assert lines[0] == lines[1]
  assert lines[0].startswith(f"error: --workdir={workdir}: another process writes there (process {os.getpid()} on ")


def test_processes_that_do_not_share_the_workdir_are_told(tmp_path, cache):
  """Each in a folder of its own, by the same relative name."""
  port = 20_000 + os.getpid() % 20_000
  processes = []
  for i in range(2):
    home = tmp_path / f"home{i}"
    home.mkdir()
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(i),
        "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(jobs.ROOT), "TRM_JAX_PROCESS_FILE": str(home / "number")}
    processes.append(subprocess.Popen(
        [sys.executable, "-m", "trm_jax.main", f"--config={jobs.ROOT / jobs.CONFIG}", "--workdir=run"],
        cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
  for process in processes:
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 2, stderr
    assert f"--workdir=run: process 1 on {socket.gethostname()} does not see what process 0 writes there" in stderr
  assert [(tmp_path / f"home{i}" / "number").read_text() for i in range(2)] == ["0", "1"]
