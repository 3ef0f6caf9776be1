# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Kills a job of two processes again and again at random moments, and compares what it ends with to an undisturbed run.

    python tests/by_hand/kill_often.py [--kills=N] [--seed=N]      # 50 kills take about 25 minutes on two cores

Each time one process, any of them, gets kill -9: while it starts, trains, evaluates or saves. Its peer ends by itself
(the first few times this is waited for) or is ended. Then the same command is started again. At the end weights,
optimizer state, records and test results must be those of the undisturbed run, bit for bit. Exits with 1 if not.
"""

import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for the helpers of the tests
import jobs  # noqa: E402

STEPS = 1_200
CONFIG = {"steps": STEPS, "batch_size": 16, "log.every": 7, "eval.every": 200, "save.every": 5}
_WAITED_FOR = 3  # kills after which the rest of the job has to end by itself


def main(number: int, seed: int) -> int:
  folder = pathlib.Path(tempfile.mkdtemp(prefix="kill_often-"))
  chance = random.Random(seed)
  start = time.monotonic()

  def job(name):
    return jobs.Job(folder / name, processes=2, devices=2, cache=folder / "cache", **CONFIG)

  undisturbed = job("undisturbed")
  assert undisturbed.wait(1800) == 0, undisturbed.output()
  print(f"undisturbed run of {STEPS} steps: {time.monotonic() - start:.0f} s", flush=True)

  half_written = 0
  for i in range(number):
    victim = job("killed")
    checkpoints = folder / "killed" / "checkpoints"
    # A fourth of the kills anywhere in the start, the rest some checkpoints later, which here come one after the other.
    starting = chance.random() < 0.25
    if not starting:
      victim.wait_for("to go")
      enough = jobs.newest(folder / "killed") + CONFIG["save.every"] * chance.randrange(6)
      while jobs.newest(folder / "killed") < enough and victim.process.poll() is None:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 15 if starting else 1))
    pids = victim.pids()
    if victim.process.poll() is not None or not pids:
      print(f"{i + 1}: the run was over before it could be killed: {victim.output()[-300:]}")
      return 1
    place = chance.randrange(len(pids))
    jobs.os.kill(pids[place], 9)
    status = victim.wait() if i < _WAITED_FOR else victim.kill()
    debris = sorted(p.name for p in checkpoints.glob("*tmp*")) if checkpoints.exists() else []
    half_written += bool(debris)
    print(f"{i + 1}: killed process {place + 1} of {len(pids)}{' while it started' if starting else ''}; newest "
          f"checkpoint {jobs.newest(folder / 'killed')}{f', half written {debris}' if debris else ''}"
          f"{'' if status is None else f'; the job ended by itself with {status}'}", flush=True)
    if status not in (None, 76, 137):
      print(victim.output())
      return 1
  last = job("killed")
  assert last.wait(1800) == 0, last.output()

  killed, whole = folder / "killed", folder / "undisturbed"
  jax.tree.map(np.testing.assert_array_equal, jobs.state(killed, STEPS), jobs.state(whole, STEPS))
  ours, expected = jobs.records(killed), jobs.records(whole)
  assert ours == expected, next((a, b) for a, b in zip(ours, expected) if a != b)
  results = [json.loads((workdir / "results.json").read_text()) for workdir in (killed, whole)]
  assert results[0]["test"] == results[1]["test"]
  debris = [p.name for p in (killed / "checkpoints").iterdir()
            if not p.name.isdigit() and p.name != "evaluations.json"]
  print(f"{number} kills (seed {seed}), {half_written} of them with a half-written checkpoint; {STEPS} steps, "
        f"{len(ours)} records: state, records and test results equal those of the undisturbed run bit for bit; left "
        f"over in checkpoints/: {debris or 'nothing'}; {(time.monotonic() - start) / 60:.0f} min")
  shutil.rmtree(folder)
  return 0


def _parsed() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--kills", type=int, default=50)
  parser.add_argument("--seed", type=int, default=0)
  return parser.parse_args()


if __name__ == "__main__":
  args = _parsed()
  sys.exit(main(args.kills, args.seed))
