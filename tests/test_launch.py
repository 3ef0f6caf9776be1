# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The scripts in launch/, run against tests/gcloud, which carries out their commands on this machine.

Most tests run a program of a few lines in place of trm_jax.main, which keeps the same promises (its exit statuses, the
step that it goes on from) and can be told to break; one runs the real one.
"""

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SCRIPTS = ("create", "delete", "fetch", "logs", "run", "setup", "ssh", "status", "stop", "sweep")
_DOCS = _ROOT / "docs" / "setup_tpu.md"
_GOLDEN = pathlib.Path(__file__).parent / "golden" / "launch.txt"
_CONFIG = "configs/sudoku.py:quickstart"
_RUN = "sudoku-quickstart"

# Counts steps in WORKDIR/step; does what it is told there in do-PROCESS: "STEP ACTION".
_PROGRAM = '''
import os, pathlib, signal, sys, time
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:])
folder, me = pathlib.Path(flags["workdir"]), int(os.environ.get("JAX_PROCESS_ID", 0))
alone = flags["workdir"].startswith("gs://")  # here each worker has a bucket of its own
others = [] if alone else [i for i in range(int(os.environ.get("JAX_NUM_PROCESSES", 1))) if i != me]
folder.mkdir(parents=True, exist_ok=True)
def stop(number, _):  # as the real one: what follows a first signal changes nothing
  for other in (signal.SIGTERM, signal.SIGHUP): signal.signal(other, signal.SIG_IGN)
  print("stopped by", signal.Signals(number).name, flush=True)
  sys.exit(75)
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, stop)
if file := os.environ.get("TRM_JAX_PROCESS_FILE"): pathlib.Path(file).write_text(str(me))
step = int((folder / "step").read_text()) if (folder / "step").exists() else 0
(folder / f"done-{me}").unlink(missing_ok=True)
(folder / f"pid-{me}").write_text(f"{os.getpid()} {os.environ.get('JAX_COORDINATOR_ADDRESS')}")
print("process", me, "from step", step, *sys.argv[1:], flush=True)
def alive(i):
  try:
    pid, address = (folder / f"pid-{i}").read_text().split()
    if address != os.environ.get("JAX_COORDINATOR_ADDRESS"): return False  # of an earlier start
    return (folder / f"done-{i}").exists() or "trm_jax" in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
  except (FileNotFoundError, ValueError):
    return (folder / f"done-{i}").exists()
deadline = time.monotonic() + 30  # as the real ones do at their start, all read the step before one of them goes on
while not all(map(alive, others)):
  if time.monotonic() > deadline: sys.exit("a peer did not come")
  time.sleep(0.01)
while step < int(flags["config.steps"]):
  time.sleep(0.05)
  step += 1
  print("step", step, flush=True)
  do = folder / f"do-{me}"
  if do.exists():
    at, action = do.read_text().split(None, 1)
    if step >= int(at):
      if not action.startswith("always"): do.unlink()
      exec(action.removeprefix("always "))
  if me == 0:
    (folder / "new").write_text(str(step))
    (folder / "new").rename(folder / "step")
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "data").write_text("x")
  if not all(map(alive, others)):
    print("a peer died", flush=True)
    sys.exit(76)
(folder / f"done-{me}").touch()
(folder / "results.json").write_text("{}")
'''

# Stands for trm_jax.sweep: four runs, each made by the host that comes first.
_SWEEP = '''
import os, pathlib, sys, time
flags = dict(a[2:].partition("=")[::2] for a in sys.argv[1:])
assert os.environ["JAX_NUM_PROCESSES"] == "1" and "TRM_JAX_PROCESS_FILE" not in os.environ
print("sweep", *sys.argv[1:], flush=True)
runs = [pathlib.Path(flags["workdir"]) / name for name in "abcd"]
for run in runs:
  try:
    run.mkdir(parents=True)
  except FileExistsError:
    continue
  print(run.name, "begins", flush=True)
  time.sleep(1)
  print(run.name, "is done", flush=True)
if "later" in flags["sweep"] and os.environ["HOSTNAME"] == "worker-0":
  starts = pathlib.Path(flags["workdir"]) / "starts"
  starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
  sys.exit(76 if len(starts.read_text()) < 4 else 0)
sys.exit("broken" in flags["sweep"])
'''


class _Place:
  """A repository with its settings, and a stand-in Google Cloud."""

  def __init__(self, folder, program):
    self.folder, self.repo, self.cloud = folder, folder / "repo", folder / "cloud"
    self.started = []
    self.cloud.mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "gcloud").symlink_to(_ROOT / "tests" / "gcloud")
    (folder / "bin" / "python3").symlink_to(sys.executable)
    for name in ("launch", "configs", "constraints", "trm_jax"):
      shutil.copytree(_ROOT / name, self.repo / name, ignore=shutil.ignore_patterns("__pycache__", "settings"))
    for name in ("setup.cfg", "pyproject.toml"):
      shutil.copy(_ROOT / name, self.repo)
    if program:
      shutil.rmtree(self.repo / "trm_jax")
      (self.repo / "trm_jax").mkdir()
      (self.repo / "trm_jax" / "__init__.py").touch()  # or an installed trm_jax would come before it
      (self.repo / "trm_jax" / "main.py").write_text(program)
      (self.repo / "trm_jax" / "sweep.py").write_text(_SWEEP)
    self.env = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "GIT_"))} | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GCLOUD_STAND_IN": str(self.cloud), "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache")}
    for name in ("AUTHOR", "COMMITTER"):
      self.env |= {f"GIT_{name}_NAME": "test", f"GIT_{name}_EMAIL": "test@localhost"}
    self.git("init", "--quiet")
    self.git("add", "--all")
    self.git("commit", "--quiet", "--message=all")
    self.bucket = folder / "shared folder"
    self.settings()
    self.config()

  def git(self, *arguments):
    subprocess.run(["git", *arguments], cwd=self.repo, env=self.env, check=True)

  def settings(self, **changed):
    values = {"PROJECT": "my-project", "ZONE": "us-central2-b", "NAME": "trm", "ACCELERATOR_TYPE": "v4-16",
              "RUNTIME_VERSION": "tpu-ubuntu2204-base", "SPOT": "true", "BUCKET": str(self.bucket),
              "PYTHON": sys.executable, "POLL_SECONDS": "0.1"} | changed
    (self.folder / "settings").write_text("".join(f"{n}={shlex.quote(v)}\n" for n, v in values.items()))

  def config(self, **values):
    (self.cloud / "config.json").write_text(json.dumps({"workers": 2, "devices": 1} | values))

  def start(self, script, *arguments, **popen):
    return self.popen([self.repo / "launch" / script, f"--settings={self.folder / 'settings'}", *arguments],
                      cwd=self.folder, **popen)

  def popen(self, command, **popen):
    self.started.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, **popen))
    return self.started[-1]

  def launch(self, script, *arguments, status=0):
    process = self.start(script, *arguments)
    out, err = process.communicate(timeout=100)
    assert process.returncode == status, f"{out}\n{err}"
    return out, err

  def cloud_do(self, *arguments):
    subprocess.run(["gcloud", "stand-in", *arguments], env=self.env, check=True)

  def run_folder(self, name=_RUN):
    return self.bucket / "runs" / name

  def tell(self, process, what, name=_RUN):
    self.run_folder(name).mkdir(parents=True, exist_ok=True)
    (self.run_folder(name) / f"do-{process}").write_text(what)

  def await_step(self, step, name=_RUN):
    deadline = time.monotonic() + 60
    while not (file := self.run_folder(name) / "step").exists() or int(file.read_text()) < step:
      assert time.monotonic() < deadline
      time.sleep(0.02)

  def left(self):
    """Command lines of the processes that still work on a worker or a local run in this place."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
      try:
        command = (process / "cmdline").read_text().split("\0")
      except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        continue
      if "trm_jax.main" in command and any(str(self.folder) in word for word in command):
        found.append(command)
    return found


@pytest.fixture(name="place")
def _place(tmp_path):
  place = _Place(tmp_path, _PROGRAM)
  yield place
  for process in place.started:  # of a test that failed
    if process.poll() is None:
      process.kill()
      process.communicate()
  state = place.cloud / "state.json"
  if state.exists() and json.loads(state.read_text()).get("trm", {"state": "GONE"})["state"] != "GONE":
    place.cloud_do("vanish", "trm")  # ends whatever a failed test left running


@pytest.fixture(name="whole")
def _whole(tmp_path):
  """With the real package and, for python3, the interpreter that has what it needs."""
  place = _Place(tmp_path, None)
  python = tmp_path / "bin" / "python3"
  python.unlink()
  python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
  python.chmod(0o755)
  return place


@pytest.fixture(name="made")
def _made(place):
  """The slice is there, with two workers."""
  place.launch("create")
  return place


@pytest.fixture(name="small")
def _small(place):
  """The same with one, where that does and is quicker."""
  place.config(workers=1)
  place.launch("create")
  return place


# --- dry runs


def _golden_lines(place):
  """The dry runs of all scripts, without what differs from day to day."""
  place.settings(BUCKET="gs://my-bucket", PYTHON="", PYTHON_VERSION="3.12")
  calls = [("create",), ("setup",), ("run", _CONFIG, "--config.seed=1"), ("status",), ("stop",), ("fetch", _RUN),
           ("logs",), ("logs", "all", "--follow"), ("logs", "3"), ("logs", _RUN), ("ssh",), ("ssh", "all", "df -h ."),
           ("delete",)]
  in_folder = [("run", _CONFIG, "mine", "--config.data.source=/my puzzles"), ("status",), ("fetch", "mine"),
               ("fetch", "mine", "here", "--checkpoints"), ("logs", "mine")]
  without_addresses = [("create",), ("setup",)]
  lines = []
  for call in (*calls, None, *in_folder, (), *without_addresses):
    if not call:
      place.settings(BUCKET="/mnt/shared folder", PYTHON="/opt/python", SPOT="false", ACCELERATOR_TYPE="v6e-16")
      with open(place.folder / "settings", "a") as file:
        file.write("CREATE_FLAGS=(--network=mine)\nSSH_FLAGS=(--internal-ip)\n" if call is None else
                   "CREATE_FLAGS=(--internal-ips)\nSSH_FLAGS=(--tunnel-through-iap)\n")
      continue
    out, err = place.launch(*call, "--dry-run")
    assert err == ""
    lines += [f"== {shlex.join(call)}", *out.splitlines()]
  text = "\n".join(lines)
  text = text.replace(str(place.repo), "REPO").replace(str(place.folder), "HOME")
  text = re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", text)
  return re.sub(r"\.\d{8}T\d{6}\b", ".TIME", text) + "\n"


def test_dry_runs(place):
  text = _golden_lines(place)
  assert not (place.cloud / "log").exists() and not (place.folder / "cache").exists()  # nothing was executed
  if "UPDATE_GOLDEN" in os.environ:
    _GOLDEN.write_text(text)
  assert text == _GOLDEN.read_text()


@pytest.fixture(name="stand_in", scope="module")
def _stand_in():
  path = str(_ROOT / "tests" / "gcloud")
  loader = importlib.machinery.SourceFileLoader("stand_in_gcloud", path)
  sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
  module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
  loader.exec_module(module)
  sys.dont_write_bytecode = before
  return module


def _gcloud_lines(text):
  """The words of every gcloud command in a text, lines that end in a backslash joined."""
  lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
  return [shlex.split(line.partition(" | ")[0], comments=True)[1:] for line in lines if line.startswith("gcloud ")]


def test_the_stand_in_takes_what_is_printed(stand_in):
  commands = [stand_in.parse(words)[0] for words in _gcloud_lines(_GOLDEN.read_text())]
  assert {*commands, "storage cp"} == set(stand_in.COMMANDS)  # that one is for the workers themselves


@pytest.mark.parametrize("words", [
    "compute tpus queued-resource list", "compute tpus queued-resources show trm", "compute tpu tpu-vm list",
    "compute tpus queued-resources list --region=x", "compute tpus tpu-vm ssh trm --workers=all",
    "compute tpus queued-resources create trm --spot=true", "storage sync a b"])
def test_the_stand_in_refuses_typos(place, words):
  done = subprocess.run(["gcloud", *words.split()], env=place.env, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith("ERROR: (gcloud)")


def _real_commands():
  """The tree of commands and flags that an installed Google Cloud CLI brings for completion."""
  gcloud = shutil.which("gcloud")
  path = pathlib.Path(gcloud).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py" if gcloud else None
  if not path or not path.exists():
    pytest.skip("needs the Google Cloud CLI, to compare with")
  return runpy.run_path(str(path))["STATIC_COMPLETION_CLI_TREE"]


def _real_flags(tree, words):
  """The flags of a command and how many words name it."""
  node, depth = tree, 0
  while depth < len(words) and words[depth] in node["commands"]:
    node, depth = node["commands"][words[depth]], depth + 1
  assert depth and not node["commands"], f"gcloud has no {words}"
  return node["flags"] | tree["flags"]


def test_the_real_gcloud_has_what_is_used(stand_in):
  tree = _real_commands()
  for command, flags in stand_in.COMMANDS.items():
    real = _real_flags(tree, command.split())
    for flag in flags:
      assert (real[flag] != "bool") == flags[flag], (command, flag)
  lines = _gcloud_lines(_DOCS.read_text())
  assert len(lines) == 18
  for words in lines:
    real = _real_flags(tree, words)
    unknown = [w for w in words if w.startswith("--") and w.partition("=")[0].replace("--no-", "--") not in real]
    assert not unknown, words


def test_the_documented_commands(whole):
  """In the order of the document, with the settings that it begins with; none of them is executed."""
  place = whole
  shutil.copy(place.repo / "launch" / "settings.example", place.folder / "settings")
  calls = re.findall(r"^launch/(\w+)(.*)$", _DOCS.read_text(), re.MULTILINE)
  assert [name for name, _ in calls] == [
      "create", "setup", "run", "sweep", "sweep", "sweep", "status", "logs", "ssh", "fetch", "delete", "local"]
  for name, arguments in calls:
    words = shlex.split(arguments, comments=True)
    if name == "local":
      subprocess.run([place.repo / "launch" / "local", *words, "--dry-run"], env=place.env, check=True)
    else:
      out, err = place.launch(name, *words, "--dry-run")
      assert err == "" and "gcloud " in out


# --- a slice and a run, from the first command to the last


def test_create_run_fetch_delete(place):
  place.config(order=[1, 0])
  _, err = place.launch("create")
  assert [line.split("(")[0] for line in err.splitlines() if line.startswith("launch: trm: ")] == [
      "launch: trm: no such slice yet ", "launch: trm: WAITING_FOR_RESOURCES ", "launch: trm: PROVISIONING ",
      "launch: trm: ACTIVE, HEALTHY "]
  _, err = place.launch("create")  # is there
  assert "WAITING" not in err
  place.launch("setup")
  out, err = place.launch("run", _CONFIG, "mine", "--config.steps=5", "--note=a 'b'  c")
  workdir = place.bucket / "runs" / "mine"
  assert out.splitlines() == [
      f"process 0 from step 0 --config={_CONFIG} --workdir={workdir} --config.steps=5 --note=a 'b'  c",
      *(f"step {i}" for i in range(1, 6))]
  assert "launch: mine is done" in err
  out, _ = place.launch("status")
  assert re.sub(r"mine\.\S+", "mine.TIME", out).splitlines() == [
      "slice trm: ACTIVE, HEALTHY", "worker worker-0: mine.TIME ended with status 0, process 1",
      "worker worker-1: mine.TIME ended with status 0, main process", "last line of worker-1: step 5",
      f"runs in {place.bucket}/runs:", "mine"]
  place.launch("fetch", "mine")
  assert (place.repo / "runs" / "mine" / "results.json").exists()
  assert not (place.repo / "runs" / "mine" / "checkpoints").exists()
  place.launch("fetch", "mine", str(place.folder / "all of it"), "--checkpoints")
  assert (place.folder / "all of it" / "checkpoints" / "data").exists()
  _, err = place.launch("delete", status=2)
  assert "which is ACTIVE" in err and "error: nothing deleted" in err
  out, err = place.launch("delete", "--yes")
  assert "launch: trm is deleted" in err and "trm" not in out
  _, err = place.launch("delete")
  assert "there is no slice trm" in err
  assert (workdir / "results.json").exists()


def test_fetch_from_a_bucket(place):
  place.settings(BUCKET="gs://my-bucket")
  out, _ = place.launch("status")
  assert out.splitlines() == ["slice trm: none", "runs in gs://my-bucket/runs:"]
  run = place.cloud / "buckets" / "my-bucket" / "runs" / "mine"
  (run / "checkpoints").mkdir(parents=True)
  (run.parent / ".compilation_cache").mkdir()  # of the runs together
  for name in ("checkpoints", ".compilation_cache"):  # of a sweep
    (run / "tiny" / "seed_0" / name).mkdir(parents=True)
  of_a_sweep = "tiny/seed_0/results.json", "tiny/seed_0/checkpoints/data", "tiny/seed_0/.compilation_cache/program"
  for name in ("results.json", "checkpoints/data", ".lock", *of_a_sweep):
    (run / name).write_text("x")
  assert place.launch("status")[0].splitlines()[1:] == ["runs in gs://my-bucket/runs:", "mine"]
  place.launch("fetch", "mine", "here")
  assert sorted(str(path.relative_to(place.folder / "here")) for path in (place.folder / "here").rglob("*")
                if path.is_file()) == [".fetched_from", "results.json", "tiny/seed_0/results.json"]
  place.launch("fetch", "mine", "here", "--checkpoints")
  assert (place.folder / "here" / "checkpoints" / "data").exists()
  assert not (place.folder / "here" / ".lock").exists()  # says who writes in the bucket
  _, err = place.launch("fetch", "yours", status=2)
  assert "error: gs://my-bucket/runs/yours: no such run; launch/status lists them" in err


@pytest.mark.parametrize("bucket", ["gs://my-bucket", None])
def test_fetch_mixes_no_two_runs(small, bucket):
  """Neither two that were fetched, nor one with what a person has made here."""
  runs = small.bucket / "runs"
  if bucket:
    small.settings(BUCKET=bucket)
    runs = small.cloud / "buckets" / "my-bucket" / "runs"
  for name in ("mine", "yours"):
    (runs / name).mkdir(parents=True)
    (runs / name / "results.json").write_text(name)
  results = small.folder / "here" / "results.json"
  small.launch("fetch", "mine", "here")
  (runs / "mine" / "results.json").write_text("newer")
  small.launch("fetch", "mine", "here")
  _, err = small.launch("fetch", "yours", "here", status=2)
  assert f"error: here: holds {bucket or small.bucket}/runs/mine, fetched before; name another folder for" in err
  assert results.read_text() == "newer"
  here = small.repo / "runs" / "mine" / "results.json"  # of a run by launch/local, say
  here.parent.mkdir(parents=True)
  here.write_text("local")
  _, err = small.launch("fetch", "mine", status=2)
  assert f"error: {here.parent}: is neither empty nor a copy of" in err and here.read_text() == "local"
  _, err = small.launch("fetch", "mine", str(here), status=2)
  assert "is neither empty nor a copy of" in err


def test_a_run_name_names_a_run(place):
  """For all scripts that take one."""
  place.settings(BUCKET="gs://my-bucket")
  run = place.cloud / "buckets" / "my-bucket" / "runs" / "mine"
  run.mkdir(parents=True)
  (run / "results.json").write_text("x")
  settings = f"--settings={place.folder / 'settings'}"
  for name in ("", "..", "../..", ".", "a/b", "a/", "/", "*", "a b", "a" * 201):
    for command in (["fetch", name, settings], ["run", _CONFIG, name, settings], ["local", _CONFIG, name]):
      done = subprocess.run([place.repo / "launch" / command[0], *command[1:]], env=place.env, cwd=place.folder,
                            stdin=subprocess.DEVNULL, capture_output=True, text=True)
      assert done.returncode == 2, command
      assert done.stderr == (f"error: RUN_NAME={name}: must be at most 200 letters, digits and ._=+-, a letter or "
                             "digit first\n"), command
  assert not (place.repo / "runs").exists() and not (place.folder / "runs").exists()


def test_the_workers_get_the_commit(small):
  (small.repo / "trm_jax" / "main.py").write_text("raise SystemExit('not this')")
  _, err = small.launch("run", _CONFIG, "--config.steps=1", status=2)
  assert "error: uncommitted changes in trm_jax/main.py: the workers get the last commit" in err
  _, err = small.launch("run", _CONFIG, "--config.steps=1", "--allow-uncommitted")
  assert "launch: uncommitted changes in trm_jax/main.py stay here" in err
  small.git("commit", "--quiet", "--all", "--message=changed")
  _, err = small.launch("run", _CONFIG, "--config.steps=1", status=1)
  assert "worker-0: not this" in err


# --- what may happen to a run


def _numbers(place):
  """Of the workers' processes, in the order of the workers."""
  return [path.read_text() for path in sorted(place.cloud.glob("homes/trm/*/trm_jax/attempts/*/process"))]


def _await_line(stream, text):
  lines = iter(stream.readline, "")  # which ends with the process
  assert any(text in line for line in lines), f"ended without {text!r}"


def _starts(place):
  """The steps that the main process began at, whichever worker that was, by the logs that are kept with the run.

  What launch/run printed of a machine that went away depends on the moment: its connection went, too.
  """
  logs = "\n".join(path.read_text() for path in sorted((place.run_folder() / "logs").glob("*/*.log")))
  return [int(step) for step in re.findall(r"process 0 from step (\d+)", logs)]


def test_preempted_slice_is_replaced(made):
  made.config(seed=1)
  process = made.start("run", _CONFIG, _RUN, "--config.steps=40")
  made.await_step(10)
  assert _numbers(made) == ["0", "1"]
  made.config(seed=0)
  made.cloud_do("preempt", "trm")
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0, err
  assert _numbers(made) == ["1", "0"]
  first, second = _starts(made)
  assert first == 0 and second >= 10  # nothing lost
  assert "process 1" not in out and f"process 0 from step {second}" in out and out.endswith("step 40\n")
  logs = [[path.read_text() for path in sorted(attempt.iterdir())]
          for attempt in sorted((made.run_folder() / "logs").iterdir())]
  assert [["stopped by SIG" in log for log in attempt] for attempt in logs] == [[True, True], [False, False]]
  assert "launch: trm is SUSPENDING: it was taken away; asking for another slice" in err or (
      "trm is SUSPENDED: it was taken" in err)
  # The second one came while the old node was still being deleted.
  assert (made.cloud / "log").read_text().count("queued-resources create") == 3


@pytest.mark.parametrize("signal_name, status", [("TERM", "75"), ("KILL", None)])
def test_program_is_restarted(made, signal_name, status):
  """SIGTERM of one worker's program saves and ends it; SIGKILL is somebody's doing and not repeated."""
  process = made.start("run", _CONFIG, _RUN, "--config.steps=60")
  made.await_step(5)
  made.cloud_do("kill", "trm", "1", signal_name)
  out, err = process.communicate(timeout=60)
  if status:
    assert process.returncode == 0, err
    assert f"launch: {_RUN} was interrupted (76); restarting it" in err  # worker 0 lost its peer
    assert len(re.findall("from step", out)) == 2 and out.endswith("step 60\n")
  else:
    assert process.returncode == 137 and f"launch: {_RUN} failed with status 137; not restarted" in err


def test_machine_that_shuts_down_saves(made):
  """SIGTERM and right after it SIGHUP reach every process there, those of launch/worker too."""
  process = made.start("run", _CONFIG, _RUN, "--config.steps=60")
  made.await_step(5)
  made.cloud_do("reboot", "trm", "1")
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0 and "restarting it" in err, err
  assert len(_starts(made)) == 2 and out.endswith("step 60\n")
  first, _ = sorted((made.cloud / "homes" / "trm" / "1" / "trm_jax" / "attempts").iterdir())
  assert (first / "exit").read_text() == "75\n" and "stopped by SIG" in (first / "log").read_text()


def test_the_exit_status_survives_two_signals_at_once(tmp_path):
  """To the program, which ends at once, and to the shell that waits for it; often, for it is a matter of moments."""
  (tmp_path / "trm_jax").mkdir()
  (tmp_path / "trm_jax" / "__init__.py").touch()
  (tmp_path / "trm_jax" / "main.py").write_text(
      "import os, pathlib, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(75))\n"
      "signal.signal(signal.SIGHUP, lambda *_: os._exit(75))\npathlib.Path('ready').touch()\ntime.sleep(60)\n")
  for i in range(20):
    folder = tmp_path / str(i)
    folder.mkdir()
    worker = subprocess.Popen([_ROOT / "launch" / "worker", "supervise", folder, sys.executable, "trm_jax.main"],
                              cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
      assert time.monotonic() < deadline
      time.sleep(0.002)
    for number in (signal.SIGTERM, signal.SIGHUP):
      for pid in (worker.pid, int((folder / "pid").read_text())):
        with contextlib.suppress(ProcessLookupError):
          os.kill(pid, number)
        time.sleep(i * 0.0005)
    assert worker.wait(30) == 0 and (folder / "exit").read_text() == "75\n"
    (tmp_path / "ready").unlink()


def test_mistake_and_bug_end_the_run(made):
  made.tell(1, "2 print('error: the field is wrong', flush=True); sys.exit(2)")
  _, err = made.launch("run", _CONFIG, _RUN, "--config.steps=20", status=2)
  assert re.search("worker-[01]: error: the field is wrong\n", err)
  made.tell(0, "2 raise ZeroDivisionError('oh')")
  _, err = made.launch("run", _CONFIG, _RUN, "--config.steps=20", status=1)
  assert re.search("worker-[01]: ZeroDivisionError: oh\n", err) and "not restarted" in err


def test_gives_up_after_failed_starts(small):
  script = small.repo / "launch" / "run"
  script.write_text(script.read_text().replace("max_short_attempts=5", "max_short_attempts=2"))  # they take their time
  small.tell(0, "0 always sys.exit(76)")
  _, err = small.launch("run", _CONFIG, _RUN, "--config.steps=20", "--allow-uncommitted", status=76)
  assert err.count("restarting it") == 2 and "ended 2 times in a row within 300 s or before it began; giving up" in err
  assert "trm costs money until launch/delete" in err and "new slice" not in err


def test_fresh_slice_where_the_program_cannot_start(small):
  """As where the TPU cannot be initialised: it ends before it knows which process it is."""
  main = small.repo / "trm_jax" / "main.py"
  broken = small.folder / "broken"
  broken.touch()
  main.write_text(f"import os, sys\nif os.path.exists({str(broken)!r}):\n  print('error: the TPU is busy')\n"
                  f"  if '/attempts/' in os.environ['TRM_JAX_PROCESS_FILE']: sys.exit(76)\n{main.read_text()}")
  small.git("commit", "--quiet", "--all", "--message=broken")
  process = small.start("run", _CONFIG, _RUN, "--config.steps=3")
  said = []
  for line in process.stderr:
    said.append(line)
    if "new slice" in line:
      broken.unlink()
  process.communicate()
  assert process.returncode == 0
  said = "".join(said)
  assert said.count("worker-0: error: the TPU is busy\n") == 2
  assert "failed to start 2 times in a row on trm; asking for a new slice" in said
  assert (small.cloud / "log").read_text().count("queued-resources delete") == 1


# --- what may happen to the cloud


def test_a_failure_in_every_state_passes(place):
  """One of every command in every state of the slice; of those that change something, only the answer gets lost."""
  place.config(flaky=True)
  place.launch("create")
  process = place.start("run", _CONFIG, _RUN, "--config.steps=60")
  place.await_step(5)
  place.cloud_do("preempt", "trm")
  out, err = process.communicate(timeout=90)
  assert process.returncode == 0 and out.endswith("step 60\n"), err
  assert "gcloud failed, and is tried again: (gcloud) UNAVAILABLE: The service is currently unavailable." in err
  place.launch("delete", "--yes")
  states = {line.partition(":")[0] for line in (place.cloud / "broken").read_text().splitlines()}
  assert states == {"NONE", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE", "SUSPENDING", "SUSPENDED", "GONE"}


def test_waiting_outlasts_an_outage(place):
  """However long it takes; a command that does not wait gives up after the time that the settings say."""
  place.settings(GIVE_UP_MINUTES="0")
  process = place.start("create")
  _await_line(process.stderr, "PROVISIONING")
  place.config(refuse="INTERNAL: an internal error has occurred")
  time.sleep(1)
  assert process.poll() is None
  _, err = place.launch("delete", "--yes", status=1)
  assert "every attempt has failed for 0 min; giving up" in err
  place.config()
  _, err = process.communicate(timeout=30)
  assert process.returncode == 0 and err.count("INTERNAL: an internal error") == 1, err


@pytest.mark.parametrize("text", [
    "PERMISSION_DENIED: Permission denied on 'locations/us-central2-z' (or it may not exist).",
    "You do not currently have an active account selected.",
    "RESOURCE_EXHAUSTED: Quota limit 'TPUV4sPreemptiblePodPerProjectPerZoneForTPUAPI' has been exceeded."])
def test_what_a_person_has_to_mend_is_said_at_once(place, text):
  place.config(refuse=text)
  for call in (("create",), ("run", _CONFIG), ("status",), ("delete", "--yes")):
    assert place.launch(*call, status=2)[1] == f"ERROR: (gcloud) {text}\n"


def test_quota_that_the_old_slice_still_takes(made):
  process = made.start("run", _CONFIG, _RUN, "--config.steps=100")
  made.await_step(2)
  made.cloud_do("preempt", "trm")
  _await_line(process.stderr, "taken away")
  made.config(refuse="RESOURCE_EXHAUSTED: Quota limit 'TPUV4sPreemptiblePod' has been exceeded.")
  _await_line(process.stderr, "is tried again: (gcloud) RESOURCE_EXHAUSTED")
  made.config()
  assert process.communicate(timeout=60)[0].endswith("step 100\n") and process.returncode == 0


def test_machines_that_are_gone_while_their_request_is_active(made):
  process = made.start("run", _CONFIG, _RUN, "--config.steps=60")
  made.await_step(5)
  made.cloud_do("vanish", "trm")
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0 and "trm is SUSPENDED: it was taken away; asking for another slice" in err, err
  assert out.endswith("step 60\n")


@pytest.mark.parametrize("how", ["until reset", "forever"])
def test_worker_that_does_not_answer(made, how):
  """While the API says that the slice can be used: reset, and if that does not help, replaced."""
  made.settings(UNREACHABLE_MINUTES="0")
  process = made.start("run", _CONFIG, _RUN, "--config.steps=60")
  made.await_step(5)
  made.cloud_do("lose", "trm", "1", how)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0 and out.endswith("step 60\n"), err
  assert "trm (ACTIVE, HEALTHY) could not be reached" in err and err.count("resetting it") == 1
  assert err.count("do not answer even after a reset; asking for another slice") == (how == "forever")


def test_no_slice_is_reset_for_what_may_be_our_own_fault(made):
  """No worker can be reached, as without network here, and the API knows of nothing."""
  made.settings(UNREACHABLE_MINUTES="0", GIVE_UP_MINUTES="0")
  process = made.start("run", _CONFIG, _RUN, "--config.steps=1000")
  made.await_step(5)
  for worker in ("0", "1"):
    made.cloud_do("lose", "trm", worker)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 76 and "giving up. trm costs money until launch/delete" in err, err
  assert "reset" not in err


def test_run_outlives_its_launcher_and_is_followed_again(small):
  process = small.start("run", _CONFIG, _RUN, "--config.steps=60", start_new_session=True)
  small.await_step(5)
  os.killpg(process.pid, signal.SIGKILL)  # as when the laptop is closed
  process.communicate()
  assert small.left()
  _, err = small.launch("run", _CONFIG, "other", "--config.steps=1", status=2)
  assert f"error: the run {_RUN} is under way on trm" in err
  _, err = small.launch("setup", status=2)
  assert f"error: the run {_RUN} is under way on trm" in err
  out, err = small.launch("run", _CONFIG, _RUN, "--config.steps=60")
  assert f"launch: {_RUN} is under way; following it" in err
  assert len(re.findall("from step", out)) == 1 and out.endswith("step 60\n")


def test_stop_saves_and_is_no_preemption(made):
  process = made.start("run", _CONFIG, _RUN, "--config.steps=1000")
  made.await_step(5)
  made.launch("stop")
  _, err = process.communicate(timeout=60)
  assert process.returncode == 75 and f"launch: {_RUN} was ended by launch/stop" in err
  assert not made.left()
  made.launch("stop")  # nothing to do


@pytest.mark.parametrize("bucket", ["gs://my-bucket", None])
def test_logs_of_all_hosts(made, bucket):
  """While the run goes on, and when it has ended, also when the slice is gone."""
  made.config(order=[1, 0])
  if bucket:
    made.settings(BUCKET=bucket)
  process = made.start("run", _CONFIG, _RUN, "--config.steps=25")
  _await_line(process.stdout, "step 3")
  assert made.launch("logs")[0].startswith("process 0 from step 0")
  assert made.launch("logs", "0")[0].startswith("process 1 from step 0")
  lines = made.launch("logs", "all", "--follow")[0].splitlines()
  assert {line.partition(": ")[0] for line in lines if line.endswith(": step 25")} == {"worker-0", "worker-1"}
  process.communicate(timeout=60)
  if bucket:
    made.launch("delete", "--yes")
  out, _ = made.launch("logs", _RUN)
  for worker, number in enumerate((1, 0)):
    assert re.search(rf"==> .*worker-{worker}.log <==\nprocess {number} from step 0", out)
  if bucket:
    made.launch("fetch", _RUN, "here")
    assert len(list((made.folder / "here" / "logs").glob("*/worker-*.log"))) == 2
    _, err = made.launch("logs", "other", status=2)
    assert "error: gs://my-bucket/runs/other/logs: there are no logs; launch/status lists the runs" in err


def test_a_command_on_workers(made):
  assert made.launch("ssh", "1", "echo $HOSTNAME 'a  b'")[0] == "worker-1 a  b\n"
  assert sorted(made.launch("ssh", "all", "echo $HOSTNAME")[0].split()) == ["worker-0", "worker-1"]
  assert made.launch("ssh", "exit 3", status=3)[0] == ""


def test_delete_when_done(small):
  """And only then: what failed is mended more quickly where the slice still is."""
  small.tell(0, "1 sys.exit(3)")
  small.launch("run", _CONFIG, _RUN, "--config.steps=3", "--delete-when-done", status=3)
  assert small.launch("status")[0].startswith("slice trm: ACTIVE")
  _, err = small.launch("run", _CONFIG, _RUN, "--config.steps=3", "--delete-when-done")
  assert err.endswith(f"launch: {_RUN} is done; launch/fetch {_RUN} brings the results\nlaunch: trm is deleted\n")
  assert small.launch("status")[0].startswith("slice trm: none")


def test_interrupted_launcher_says_how_to_go_on(made):
  process = made.start("run", _CONFIG, _RUN, "--config.steps=1000", start_new_session=True)
  made.await_step(5)
  os.killpg(process.pid, signal.SIGINT)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 130 and "launch: the run goes on without this command" in err
  assert made.left()


def test_worker_ends_a_program_that_hangs(made):
  made.config(order=[0, 1])
  made.tell(0, "3 signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(1000)")
  process = made.start("run", _CONFIG, _RUN, "--config.steps=1000")
  made.await_step(2)
  worker = made.repo / "launch" / "worker"
  home = made.cloud / "homes" / "trm" / "0"
  attempt = (home / "trm_jax" / "attempt").read_text().strip()
  done = subprocess.run([worker, "report", attempt, "1"], env=made.env | {"HOME": str(home), "HOSTNAME": "w"},
                        capture_output=True, text=True, check=True)
  assert done.stdout == "w: ending the program by SIGTERM\n@@trm_jax w 76 0\n"
  process.kill()
  process.communicate()


def test_a_repeated_start_does_nothing(small):
  small.launch("run", _CONFIG, _RUN, "--config.steps=1")
  home = small.cloud / "homes" / "trm" / "0"
  attempt = (home / "trm_jax" / "attempt").read_text().strip()
  log = home / "trm_jax" / "attempts" / attempt / "log"
  before = log.read_text()
  subprocess.run([home / "trm_jax" / "code" / "launch" / "worker", "start", attempt, sys.executable],
                 env=small.env | {"HOME": str(home)}, check=True)
  assert log.read_text() == before and not small.left()


def test_on_demand_where_no_spot_machines_come(place):
  place.config(no_spot=True)
  place.settings(ON_DEMAND_AFTER_MINUTES="0", PRICE_PER_HOUR="3600")
  _, err = place.launch("create")
  assert "trm: no spot machines within 0 min; asking for it on demand" in err
  assert [" --spot " in line for line in (place.cloud / "log").read_text().splitlines() if " create " in line] == [
      True, False, False]  # the second one came while the first was still being deleted
  assert 0 <= float(re.search(r"^costs so far: ([\d.]+) \(0 h 0 min at 3600 an hour\)$", place.launch("status")[0],
                              re.MULTILINE)[1]) < 60


def test_failed_request_says_why(place):
  place.config(fail="the zone has no quota for v4")
  _, err = place.launch("create", status=1)
  assert "launch: trm failed: the zone has no quota for v4" in err
  place.config()
  place.launch("create")  # the remains of the failed request are no obstacle


def test_sweep_goes_on_after_a_failure(small):
  small.tell(0, "1 sys.exit(3)", name="sudoku-baseline-steps=2")
  _, err = small.launch("sweep", "configs/sudoku.py:baseline", _CONFIG, "--config.steps=2", status=1)
  assert err.endswith("launch: 1 of 2 runs failed: configs/sudoku.py:baseline (status 3)\n")
  assert (small.run_folder("sudoku-quickstart-steps=2") / "results.json").exists()
  _, err = small.launch("sweep", "configs/sudoku.py:baseline", "--config.steps=2", "--delete-when-done")
  assert "launch: all 1 runs are done\n" in err and "launch: trm is deleted\n" in err


def test_sweep_by_name(whole):
  out, err = whole.launch("sweep", "--sweep=configs/sudoku.py:ablations", "--seeds=0,7", "--options=laptop",
                          "--config.data.source=/my puzzles", "--allow-uncommitted", "--dry-run")
  assert err == ""
  source = "'--config.data.source=/my puzzles'"
  # At a laptop's size, those with EMA, with an MLP, and with 8 or 16 supervision steps are the baseline.
  names = ("baseline", "e2_1_ema_off", "e2_3_attention", "e2_4_nsup_4", "e2_4_nsup_32")
  assert [line for line in out.splitlines() if line.startswith("# configs/")] == [
      f"# configs/sudoku.py:{name},laptop --config.seed={seed} {source}" for seed in (0, 7) for name in names]
  assert "/runs/sudoku-e2_4_nsup_4-laptop-seed=7-data.source=-my-puzzles" in out
  _, err = whole.launch("sweep", "--sweep=configs/sudoku.py:ablation", status=2)
  assert err.startswith("error: --sweep=configs/sudoku.py:ablation: no such sweep; use one of") and err.count("\n") == 1
  assert "  tn_schedule " in whole.launch("sweep", "--sweep=configs/sudoku.py:help")[0]


# --- processes on this machine


def _local(place, *arguments, grace=90, prefix=()):
  """launch/local in the background. Its folder is one of a run in the bucket: so `tell` and `await_step` work."""
  script = place.repo / "launch" / "local"
  program = f"import runpy, sys; m = runpy.run_path({str(script)!r}); m['main'].__globals__['_GRACE'] = {grace}; " \
            "sys.exit(m['main'](sys.argv[1:]))"
  return place.popen([*prefix, sys.executable, "-c", program, _CONFIG, f"--workdir={place.run_folder()}", *arguments],
                     cwd=place.repo, start_new_session=True)


def test_local_runs_and_goes_on(place):
  done = subprocess.run(["launch/local", _CONFIG, f"--workdir={place.run_folder()}", "--processes=3", "--devices=2",
                         "--config.steps=3", "--note=a 'b'"], cwd=place.repo, env=place.env, capture_output=True,
                        text=True)
  assert (done.returncode, done.stderr) == (0, "")
  assert done.stdout.splitlines() == [
      f"process 0 from step 0 --config={_CONFIG} --workdir={place.run_folder()} --config.steps=3 --note=a 'b'",
      "step 1", "step 2", "step 3"]
  for i in (1, 2):
    assert (place.bucket / "runs" / f"{_RUN}.process-{i}.log").read_text().startswith(f"process {i} from step ")
  process = _local(place, "--processes=1", "--config.steps=4")
  assert process.communicate(timeout=30)[0].splitlines()[1:] == ["step 4"]


@pytest.mark.parametrize("told, status, message", [
    ({0: "2 print('error: wrong'); sys.exit(2)"}, 2, "process 0 ended with 2\n  process 1 ended with 76"),
    ({1: "2 sys.exit(3)"}, 3, "process 0 ended with 76\n  process 1 ended with 3"),
    ({0: "2 sys.exit(3)", 1: "2 print('error: wrong'); sys.exit(2)"}, 2, "\n  error: wrong"),
    ({1: "2 os.kill(os.getpid(), signal.SIGKILL)"}, 137, "process 1 ended with 137"),
    ({1: "2 sys.exit(76)"}, 76, "process 1 ended with 76"),
    ({0: "2 sys.exit(75)", 1: "2 sys.exit(75)"}, 75, ""),
    # SIGTERM before the program could handle it.
    ({0: "2 sys.exit(75)", 1: "2 sys.exit(143)"}, 75, ""),
    # A process that hangs, even to SIGTERM, while its peer is gone.
    ({0: "2 signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)", 1: "4 sys.exit(3)"}, 3,
     "process 0 did not end within 2 s"),
])
def test_local_ends_with_the_worst_status(place, told, status, message):
  for process, what in told.items():
    place.tell(process, what)
  grace = 2 if "within 2 s" in message else 90  # the others end by themselves, however slow the machine is
  out, err = (process := _local(place, "--config.steps=1000", grace=grace)).communicate(timeout=60)
  assert process.returncode == status, f"{out}\n{err}"
  assert message in err and not place.left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_local_passes_signals_on(place, number):
  action = f"signal.signal(signal.{number.name}, lambda *_: sys.exit(75))"
  for i in (0, 1):
    place.tell(i, f"1 {action}")
  process = _local(place, "--config.steps=1000")
  place.await_step(5)
  process.send_signal(number)
  _, err = process.communicate(timeout=30)
  assert process.returncode == 75, err
  assert not place.left()


def test_local_goes_on_without_its_terminal_under_nohup(place):
  process = _local(place, "--config.steps=20", prefix=["nohup"])
  place.await_step(3)
  process.send_signal(signal.SIGHUP)
  out, err = process.communicate(timeout=30)
  assert process.returncode == 0 and out.endswith("step 20\n"), err


def test_local_leaves_no_orphans(place):
  for i in (0, 1):  # they would notice a closed pipe, or that the other one is gone
    place.tell(i, "2 new = folder / f'new-{me}'; new.write_text('2'); new.replace(folder / 'step'); time.sleep(30)")
  process = _local(place, "--config.steps=1000")
  place.await_step(2)
  assert len(place.left()) == 2
  process.kill()
  process.wait()
  deadline = time.monotonic() + 10
  while place.left():
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.communicate()


def test_local_dry_run(place):
  done = subprocess.run(["launch/local", _CONFIG, "mine", "--dry-run", "--devices=4", "--config.seed=1"],
                        cwd=place.repo, env=place.env, capture_output=True, text=True, check=True)
  common = "env JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=4 JAX_COORDINATOR_ADDRESS=localhost:PORT JAX_NUM_PROCESSES=2 " \
           f"JAX_PROCESS_ID={{}} PYTHON -m trm_jax.main --config={_CONFIG} --workdir=runs/mine --config.seed=1{{}} &"
  text = re.sub(r"localhost:\d+", "localhost:PORT", done.stdout)
  text = re.sub(r"\S+python\S*", "PYTHON", text)
  assert text.splitlines() == [common.format(0, ""), common.format(1, " >>runs/mine.process-1.log 2>&1")]
  assert not (place.repo / "runs").exists()


# --- refused


@pytest.mark.parametrize("call, message", [
    (("create", "now"), "now: unknown argument; launch/create --help"),
    (("run",), "CONFIG is missing, e.g. launch/run configs/sudoku.py:baseline"),
    (("run", "configs/none.py:x"), "configs/none.py: not in the last commit"),
    (("run", _CONFIG, "../x"), "RUN_NAME=../x: must be at most 200 letters"),
    (("run", _CONFIG, "a", "b"), "b: unknown argument; flags are --name=value"),
    (("run", _CONFIG, "--workdir=/tmp/x"), "--workdir=/tmp/x: a run is kept in $BUCKET/runs/RUN_NAME"),
    (("run", f"--config={_CONFIG}"), f"--config={_CONFIG}: give the config without a flag"),
    (("run", _CONFIG), "no slice trm in us-central2-b; launch/create makes it"),
    (("sweep",), "CONFIG is missing"),
    (("sweep", _CONFIG, "--sweep=x.py:y"), f"{_CONFIG}: give a CONFIG or --sweep=x.py:y, not both"),
    (("fetch",), "RUN_NAME is missing; launch/status lists the runs"),
    (("fetch", "a", "b", "c"), "c: unknown argument"),
    (("fetch", "a", ""), "DIR is empty, perhaps because a variable is not set"),
    (("fetch", "a", "--checkpoint"), "--checkpoint: unknown argument"),
    (("logs", "0", "1"), "1: unknown argument; launch/logs --help"),
    (("logs", "mine", "--follow"), "--follow: mine is a run's name"),
    (("ssh", "all"), "all: needs a COMMAND"),
    (("ssh", "0", "df", "-h"), "-h: unknown argument; a COMMAND is one word"),
    (("status", "--verbose"), "--verbose: unknown argument"),
    (("status", "--settings="), "--settings=: is empty, perhaps because a variable is not set"),
    (("status", "--settings=/none"), "/none: no such file; copy launch/settings.example to launch/settings"),
    (("local",), "CONFIG is missing"),
    (("local", _CONFIG, "--processes=0"), "--processes=0: must be --processes=N"),
    (("local", _CONFIG, "a", "--workdir=b"), "a: a RUN_NAME and --workdir=b both say where the run is kept"),
    (("local", _CONFIG, "--workdir=/proc/none/x"), "--workdir=/proc/none/x: cannot write"),
])
def test_refused(place, call, message):
  script, *arguments = call
  done = subprocess.run(
      [place.repo / "launch" / script, *([] if script == "local" else [f"--settings={place.folder / 'settings'}"]),
       *arguments], env=place.env, cwd=place.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  assert message in done.stderr


@pytest.mark.parametrize("name, value, message", [
    ("PROJECT", "", "PROJECT=: must be the ID of a Google Cloud project"),
    ("ZONE", "us-central2", "ZONE=us-central2: must be a zone, e.g. us-central2-b"),
    ("NAME", "My TPU", "NAME=My TPU: must be lower-case letters"),
    ("ACCELERATOR_TYPE", "v4", "ACCELERATOR_TYPE=v4: must be e.g. v4-64"),
    ("SPOT", "yes", "SPOT=yes: must be true or false"),
    ("BUCKET", "my-bucket", "BUCKET=my-bucket: must be gs://BUCKET or the absolute path"),
    ("PRICE_PER_HOUR", "3 dollars", "PRICE_PER_HOUR=3 dollars: must be what the whole slice costs an hour"),
    ("AUTOCHECKPOINT", "yes", "AUTOCHECKPOINT=yes: must be true, false, or empty"),
    ("POLL_SECONDS", "-1", "POLL_SECONDS=-1: must be a number"),
])
def test_refused_settings(place, name, value, message):
  place.settings(**{name: value})
  _, err = place.launch("status", status=2)
  assert err == f"error: {place.folder / 'settings'}: {message}" + err.partition(message)[2] and err.count("\n") == 1


def test_python_without_pins_or_packages(place):
  place.settings(PYTHON="", PYTHON_VERSION="3.9")
  assert "PYTHON_VERSION=3.9: must be one that constraints/ has pins for" in place.launch("status", status=2)[1]
  place.settings(PYTHON="/usr/bin/false")
  place.launch("create")
  _, err = place.launch("run", _CONFIG, status=2)
  assert "error: worker-0: PYTHON=/usr/bin/false: must be Python 3.11 or newer" in err


@pytest.mark.parametrize("script", [*_SCRIPTS, "local"])
def test_help(place, script):
  out = place.launch(script, "--help")[0] if script != "local" else subprocess.run(
      [place.repo / "launch" / script, "--help"], env=place.env, capture_output=True, text=True, check=True).stdout
  assert f"launch/{script}" in out and "Copyright" not in out and "shellcheck" not in out


def test_each_host_takes_runs_of_a_sweep_for_itself(made):
  out, err = made.launch("sweep", "--sweep=configs/sudoku.py:tn_schedule", "--side_by_side=1", "--seeds=0,1",
                         "--config.steps=5")
  workdir = made.bucket / "runs" / "sudoku-tn_schedule-steps=5"
  lines = out.splitlines()
  told = (f"sweep --sweep=configs/sudoku.py:tn_schedule --workdir={workdir} --side_by_side=1 --wait --seeds=0,1 "
          "--set=steps=5")
  assert sorted(line for line in lines if ": sweep " in line) == [f"worker-{i}: {told}" for i in range(2)]
  made_by = {line.split()[1]: line.split()[0] for line in lines if line.endswith(" is done")}
  assert sorted(made_by) == list("abcd") and set(made_by.values()) == {"worker-0:", "worker-1:"}
  assert len(lines) == 2 + 2 * 4  # each line once
  assert "is done; launch/fetch" in err
  assert sorted(path.name for path in workdir.glob("logs/*/*")) == ["worker-0.log", "worker-1.log"]


def test_a_sweep_in_which_runs_failed_is_not_begun_once_more(made):
  _, err = made.launch("sweep", "--sweep=configs/sudoku.py:broken", "--side_by_side=4", status=1)
  assert "sudoku-broken failed with status 1; not restarted" in err


def test_a_run_that_cannot_be_made_now_costs_no_slice(made):
  _, err = made.launch("sweep", "--sweep=configs/sudoku.py:later", "--side_by_side=1")
  assert err.count("was interrupted (76); restarting it") == 3 and "is done; launch/fetch" in err
  assert " delete " not in (made.cloud / "log").read_text()


def test_two_starts_within_a_second_have_two_names(made):
  # A clock that stands still now and then: calls 1 and 2 are within one second, 3 and 4 within the next one, and so on.
  clock = made.folder / "bin" / "date"
  clock.write_text(f"""#!/bin/sh
echo >>{shlex.quote(str(made.folder / 'calls'))}
exec /bin/date -u -d "@$((1800000000 + ($(wc -l <{shlex.quote(str(made.folder / 'calls'))}) - 1) / 2))" "$2"
""")
  clock.chmod(0o755)
  _, err = made.launch("sweep", "--sweep=configs/sudoku.py:later", "--side_by_side=1")
  assert err.count("was interrupted (76); restarting it") == 3 and "is done; launch/fetch" in err
  assert len((made.folder / "calls").read_text()) == 7  # each start but the first had to ask twice


def test_a_sweep_that_was_going_on_may_have_been_of_other_seeds(made):
  arguments = "sweep", "--sweep=configs/sudoku.py:tn_schedule", "--side_by_side=1"
  first = made.start(*arguments, "--seeds=0")
  for line in first.stdout:
    if line.endswith(" begins\n"):
      break
  first.send_signal(signal.SIGINT)
  first.communicate(timeout=60)
  out, err = made.launch(*arguments, "--seeds=7")
  assert "--seeds=0" in out and "--seeds=7" in out
  assert "the sweep that was under way is done; now comes this command's" in err and "is done; launch/fetch" in err


@pytest.mark.parametrize("status, how", [
    ("75", "stopped"), ("143", "stopped"), ("129", "stopped"), ("137", "stopped"), ("76", "stopped"), ("0", "0"),
    ("1", "1"), ("2", "2")])
def test_what_launch_stop_ended_is_not_begun_once_more(tmp_path, status, how):
  attempt = tmp_path / "trm_jax" / "attempts" / "mine"
  attempt.mkdir(parents=True)
  (attempt / "exit").write_text(status)
  (attempt / "stopped").touch()
  done = subprocess.run(["bash", _ROOT / "launch" / "worker", "state", "mine"], check=True, capture_output=True,
                        env=os.environ | {"HOME": str(tmp_path)}, text=True)
  assert done.stdout == f"{how}\n"


def test_runs_side_by_side_are_those_of_a_sweep(place):
  _, err = place.launch("sweep", _CONFIG, "--side_by_side=4", status=2)
  assert err == "error: --side_by_side=4: needs --sweep, and no CONFIG\n"


def test_shellcheck():
  shellcheck = shutil.which("shellcheck")
  if not shellcheck:
    pytest.skip("needs shellcheck")
  subprocess.run([shellcheck, "-x", *(f"launch/{name}" for name in (*_SCRIPTS, "worker", "lib.sh"))], cwd=_ROOT,
                 check=True)
