# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Stops runs at every place in every way, and compares what they end with to an undisturbed run.

    python tests/by_hand/stop_often.py [--every=N]      # every N-th way; all of them take about 10 minutes on two cores

For each way there is one run, which is stopped at one place after the other, from its start to its end, and started
again each time by the same command. Each stop must have the status that docs/multi_host.md promises, print no
traceback, lose no step that was saved, and save the step at which it happened. At the end weights, optimizer state,
records and test results must be those of the undisturbed run, bit for bit. Then a job of two processes is stopped with
its output lost. Exits with 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for the helpers of the tests
import jobs  # noqa: E402
import stops  # noqa: E402

WAYS = [
    ("TERM",),
    ("INT",),
    ("HUP",),
    ("no reader", "INT"),  # Ctrl-C at `| tee log`, which dies first
    ("no reader", "TERM"),  # `| head -6`
    ("no terminal", "HUP"),
    ("full disk", "TERM"),
    ("stopped reader", "TERM"),
    ("TERM", "TERM"),
    ("TERM", "HUP"),
    ("HUP", "TERM", "INT"),
    ("INT", "INT"),
    ("HUP", "0.05", "KILL"),
    ("KILL",),
]
# In the order in which a run comes to them.
PLACES = ("start", "puzzles", "compiling", "in C++", "first step", "restoring", "training", "stopping", "evaluating",
          "saving", "testing", "reporting", "drawing", "ending", "closing")


def expected(place: str, way: tuple[str, ...]) -> set[int]:
  """Exit statuses."""
  first = "TERM" if place == "stopping" else next(event for event in way if hasattr(signal, f"SIG{event}"))
  promised = 130 if first == "INT" else 75
  if way == ("KILL",):
    return {-signal.SIGKILL}
  # The first signal may have ended the run before the second one kills it.
  return {promised, -signal.SIGKILL} if "KILL" in way else {promised}


def walk(server: stops.Server, workdir: pathlib.Path, way: tuple[str, ...]) -> list[str]:
  """Stops a run at all places. Returns what was wrong."""
  wrong = []
  for place in PLACES:
    # The places behind this one need a checkpoint.
    events = ("TERM",) if place == "first step" and "KILL" in way else way
    before, start = jobs.newest(workdir), time.monotonic()
    ran = server.run(workdir, place, events)
    after = jobs.newest(workdir)
    complaints = []
    status = ran["status"]
    if status not in expected(place, events):
      complaints.append(f"status {status} instead of {expected(place, events)}")
    if ran["step"] is None:
      complaints.append("the run did not come there")
    if after < before:
      complaints.append(f"lost step {before}, goes on from {after}")
    if "KILL" not in way and after < (ran["step"] or 0):
      complaints.append(f"stopped at step {ran['step']}, saved {after}")
    if "Traceback" in ran["output"] or "Fatal" in ran["output"]:
      complaints.append("a traceback")
    print(f"  {place:<10} status {status:>3}, at step {ran['step']}, saved {after} ({time.monotonic() - start:.1f} s)"
          f"{'  WRONG: ' + '; '.join(complaints) if complaints else ''}", flush=True)
    if complaints:
      print(ran["output"])
    wrong += [f"{way} at {place}: {complaint}" for complaint in complaints]
  ran = server.run(workdir)
  if ran["status"] != 0:
    wrong.append(f"{way}: the last start ended with {ran['status']}: {ran['output']}")
  return wrong


def differences(workdir: pathlib.Path, undisturbed: pathlib.Path) -> list[str]:
  """What differs between two finished runs."""
  step = stops.CONFIG["steps"]
  try:
    jax.tree.map(np.testing.assert_array_equal, jobs.state(workdir, step), jobs.state(undisturbed, step))
  except (AssertionError, FileNotFoundError) as e:
    return [f"{workdir.name}: another state: {e}"]
  results = [json.loads((folder / "results.json").read_text())["test"] for folder in (workdir, undisturbed)]
  return [f"{workdir.name}: other {what}" for what, same in (
      ("records", jobs.records(workdir) == jobs.records(undisturbed)), ("results", results[0] == results[1]))
          if not same]


def two_processes(folder: pathlib.Path) -> list[str]:
  """A job, its output lost, its signals as a terminal or a supervisor sends them."""
  wrong = []
  command = [str(jobs.ROOT / "launch" / "local"), jobs.CONFIG, f"--workdir={folder / 'job'}",
             *(f"--config.{name}={value}" for name, value in
               (jobs.TINY | {"batch_size": 16, "steps": 100_000, "save.every": 50_000}).items())]
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
                              "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  for numbers, status in (((signal.SIGINT,), 130), ((signal.SIGHUP, signal.SIGTERM), 75)):
    before = jobs.newest(folder / "job")
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=jobs.ROOT,
                           env=environment, start_new_session=True)
    for line in job.stdout:
      if "to go" in line:
        break
    job.stdout.close()
    for number in numbers:
      os.killpg(job.pid, number)
      time.sleep(0.1)
    ended, saved = job.wait(300), jobs.newest(folder / "job")
    print(f"two processes, no reader, {', '.join(number.name for number in numbers)}: status {ended}, saved {saved}")
    if ended != status or saved <= before:
      wrong.append(f"two processes, {numbers}: status {ended}, step {before} before and {saved} after")
  return wrong


def main(every: int) -> int:
  folder, start = pathlib.Path(tempfile.mkdtemp(prefix="stop_often-")), time.monotonic()
  wrong, ways = [], WAYS[::every]
  stops.hear_all_signals()
  with stops.Server(folder / "cache") as server:
    assert server.run(folder / "undisturbed")["status"] == 0
    for way in ways:
      workdir = folder / "-".join(way).replace(" ", "_")
      print(", ".join(way), flush=True)
      wrong += walk(server, workdir, way) + differences(workdir, folder / "undisturbed")
  wrong += two_processes(folder)
  print(f"{len(ways)} ways x {len(PLACES)} places, and two jobs of two processes: "
        f"{len(wrong)} wrong; {(time.monotonic() - start) / 60:.0f} min", *wrong, sep="\n")
  if not wrong:
    shutil.rmtree(folder)
  return bool(wrong)


def _parsed() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--every", type=int, default=1, help="every N-th way only")
  return parser.parse_args()


if __name__ == "__main__":
  sys.exit(main(_parsed().every))
