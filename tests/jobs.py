# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Jobs of several processes on this machine: started with launch/local, watched, disturbed, compared."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from absl import logging
import numpy as np
import orbax.checkpoint as ocp

ROOT = pathlib.Path(__file__).parents[1]
# A 4x4 run of a tiny model.
CONFIG = "configs/sudoku.py:quickstart"
TINY = {"model.hidden_size": 16, "model.num_heads": 2, "model.L_layers": 1, "model.puzzle_emb_ndim": 16,
        "model.halt_max_steps": 4, "data.num_train": 100, "data.num_validation": 13, "data.num_test": 21,
        "eval.batch_size": 8}
TIMES = ("train/examples_per_s", "train/step_ms", "train/seconds", "train/peak_memory_gib")


class Job:
  """launch/local with a run of CONFIG.

  Args:
    workdir: of the run; what it prints goes to workdir.log beside it.
    processes: of the job.
    devices: of each process.
    flags: further ones of trm_jax.main.
    cache: folder of compiled programs, so that a later start need not compile.
    config: fields of the config and their values.
  """

  def __init__(self, workdir: pathlib.Path, *, processes: int, devices: int, flags: tuple[str, ...] = (),
               cache: pathlib.Path | None = None, **config):
    self.log = workdir.with_name(workdir.name + ".log")
    self._start = self.log.stat().st_size if self.log.exists() else 0
    environment = dict(os.environ)
    if cache:
      environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    fields = TINY | {name.replace("__", "."): value for name, value in config.items()}
    with self.log.open("ab") as out:
      self.process = subprocess.Popen(
          [sys.executable, ROOT / "launch" / "local", f"--processes={processes}", f"--devices={devices}", CONFIG,
           f"--workdir={workdir}", *flags, *(f"--config.{name}={value}" for name, value in fields.items())],
          cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)

  def output(self) -> str:
    """What it has printed since this start: launch/local and process 0."""
    with self.log.open("rb") as f:
      f.seek(self._start)
      return f.read().decode(errors="replace")

  def wait_for(self, text: str, timeout_s: float = 240) -> None:
    """Until it has printed something. AssertionError if it ends, or the time does, before."""
    deadline = time.monotonic() + timeout_s
    while text not in self.output():
      assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
      assert time.monotonic() < deadline, self.output()
      time.sleep(0.05)

  def pids(self) -> list[int]:
    """Of all that it consists of, launch/local aside: the guards of processes 0, 1, …, then whom they guard."""
    found, new = [], _children(self.process.pid)
    while new:
      found += new
      new = [child for pid in new for child in _children(pid)]
    return found

  def wait(self, timeout_s: float = 240) -> int:
    """Until it has ended; its exit status."""
    return self.process.wait(timeout_s)

  def kill(self) -> None:
    """Ends it with all of its processes, now."""
    pids = self.pids()
    self.process.kill()
    self.process.wait()
    for pid in pids:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
  try:
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
  except FileNotFoundError:
    return []


def newest(workdir: pathlib.Path) -> int:
  """Step of the newest complete checkpoint, 0 if there is none."""
  return max((int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def state(workdir: pathlib.Path, step: int) -> dict:
  """Every array of a checkpoint, whatever devices wrote it."""
  import jax  # pylint: disable=g-import-not-at-top

  path = workdir / "checkpoints" / str(step) / "state"
  with contextlib.closing(ocp.PyTreeCheckpointer()) as checkpointer:
    arrays = checkpointer.metadata(path).item_metadata.tree
    return checkpointer.restore(
        path, restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), arrays))


logging.set_verbosity(logging.ERROR)  # Orbax warns of metadata that it does not need


def records(workdir: pathlib.Path) -> list[dict]:
  """Of metrics.jsonl, without what is measured by a clock."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [{name: value for name, value in record.items() if name not in TIMES}
          for record in lines if "compile_s" not in record]


def difference(one: dict, other: dict) -> float:
  """Largest difference between two checkpoints' parameters; AssertionError where their puzzles differ."""
  import jax  # pylint: disable=g-import-not-at-top

  for name in ("batch", "halted", "steps"):
    jax.tree.map(np.testing.assert_array_equal, one["carry"][name], other["carry"][name])
  return max(float(np.abs(a - b).max()) for a, b in zip(
      jax.tree.leaves(one["params"]), jax.tree.leaves(other["params"]), strict=True))
