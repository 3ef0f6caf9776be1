# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The way of docs/setup_tpu.md from launch/create to launch/delete, against the stand-in gcloud, with the real program.

    python tests/by_hand/launch_for_real.py [--out=FOLDER]

Two workers install what constraints/ says from PyPI and train the tiny model together, three times: undisturbed;
losing their machines in the middle (SIGTERM and right after it SIGHUP to everything); and with one host that answers no
more. All three end with the same numbers. All the time, every command to the cloud fails the first time in every state
of the slice, and the processes have other numbers than the workers, and others at each start. Takes some minutes;
FOLDER keeps everything; without it nothing is kept.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for the helpers of the tests
import test_launch  # noqa: E402

_FLAGS = ("--config.steps=60", "--config.log.every=10", "--config.save.every=20", "--config.batch_size=16",
          "--config.data.num_train=64", "--config.data.num_validation=16", "--config.data.num_test=32",
          "--config.model.hidden_size=16", "--config.model.puzzle_emb_ndim=16", "--config.model.halt_max_steps=2",
          "--config.eval.batch_size=16")


def _shown(place, *call):
  """Runs a script and shows it with its output; returns its output."""
  print(f"\n$ launch/{' '.join(call)}", flush=True)
  start = time.monotonic()
  process = place.start(*call)
  printing = threading.Thread(target=lambda: [print(f"  {line}", end="", flush=True) for line in process.stderr])
  printing.start()
  lines = []
  for line in process.stdout:
    lines.append(line)
    print(f"  {line}", end="", flush=True)
  printing.join()
  assert process.wait() == 0, f"ended with {process.returncode}"
  print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
  return "".join(lines)


def main(folder):
  """Goes the way; an assertion fails where it ends early."""
  place = test_launch._Place(folder, program=None)
  place.settings(PYTHON="", PYTHON_VERSION=".".join(map(str, sys.version_info[:2])), POLL_SECONDS="1",
                 UNREACHABLE_MINUTES="0")
  network = ("SSL_", "PIP_", "UV_", "HTTP", "http", "no_proxy", "NO_PROXY")  # this machine's way to PyPI
  place.config(workers=2, devices=2, flaky=True, seed=1,
               env={n: v for n, v in os.environ.items() if n.startswith(network)})
  _shown(place, "create")
  _shown(place, "setup")
  _shown(place, "run", test_launch._CONFIG, "undisturbed", *_FLAGS)

  def disturb(name, *what):
    metrics = place.run_folder(name) / "metrics.jsonl"
    while not metrics.exists() or '"step": 30' not in metrics.read_text():
      time.sleep(0.05)
    place.cloud_do(*what)

  disturbances = {"preempted": ("preempt", "trm"), "host-lost": ("lose", "trm", "1")}
  for name, what in disturbances.items():
    threading.Thread(target=disturb, args=(name, *what), daemon=True).start()
    out = _shown(place, "run", test_launch._CONFIG, name, *_FLAGS)
    assert "going on from the checkpoint of step" in out
  _shown(place, "logs", "preempted")
  first = min((place.run_folder("preempted") / "logs").iterdir())
  saved = [re.search(r"stopped at step (\d+), saved in .* s", path.read_text()) for path in first.iterdir()]
  assert len(saved) == 2 and [int(found[1]) >= 30 for found in saved if found] == [True]  # the main process says it
  names = ("undisturbed", *disturbances)
  for name in names:
    _shown(place, "fetch", name)
  results = [json.loads((place.repo / "runs" / name / "results.json").read_text()) | {"train_seconds": None}
             for name in names]
  _shown(place, "status")
  _shown(place, "delete", "--yes")
  assert results[0] == results[1] == results[2], results
  assert not place.left()
  print("\nthe disturbed runs ended with the undisturbed run's results")


def _parsed() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=pathlib.Path, help="a new folder that keeps everything")
  return parser.parse_args()


if __name__ == "__main__":
  out = _parsed().out
  if out:
    out.mkdir(parents=True)
    main(out.resolve())
  else:
    with tempfile.TemporaryDirectory() as temporary:
      main(pathlib.Path(temporary))
