# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Named configs x seeds, one run after another; what is finished is skipped.

    python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2
    python -m trm_jax.sweep --sweep=configs/sudoku.py:miniature --workdir=runs/mini --dry-run    # what it will take
    python -m trm_jax.sweep --sweep=configs/sudoku.py:data --workdir=runs/x --options=laptop --set=steps=500
    python -m trm_jax.sweep --sweep=configs/sudoku.py:help                                       # lists the sweeps

Each run is a `python -m trm_jax.main` of its own, kept in WORKDIR/CONFIG/seed_N; what it prints is in seed_N.log beside
it. Configs that differ in nothing but their names are one run, under the name that comes first in the file. A run that
fails is passed over; Ctrl-C, SIGTERM and SIGHUP have the run that is going on save and stop; the same command goes on
from there. The same command may be started several times, on several machines, too: each passes over what others are
at. On several hosts that are one job: launch/sweep.

Exit status: 0 all are done; 1 some failed; 2 your mistake, said in one line; 75 stopped by SIGTERM or SIGHUP, 130 by
Ctrl-C; 76 none failed, but others are at some: the same command, later, tells how they ended, or goes on where they
did.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import math
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from absl import flags

from trm_jax import cli
from trm_jax import distributed
from trm_jax import errors
from trm_jax import files
from trm_jax import lock
from trm_jax import logs
from trm_jax import output
from trm_jax import storage
from trm_jax.errors import TryAgain, UserError

if TYPE_CHECKING:
  from trm_jax import study
  from trm_jax.config import Config

_SWEEP = flags.DEFINE_string("sweep", None, "FILE.py:NAME, e.g. configs/sudoku.py:tn_schedule; NAME help lists them.",
                             allow_override=True)  # preflight has it, and --set, too
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs, local or gs://BUCKET/FOLDER.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "config.seed of the runs of each config.")
_OPTIONS = flags.DEFINE_list("options", [], "Options for every config, as after the comma of --config: laptop.")
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE for every run, e.g. model.mlp_t=False; repeat for several.",
                                 allow_override=True)
_DRY_RUN = flags.DEFINE_bool("dry-run", False, "Only say which runs there are, which are done, and about how long the "
                             "others will take.")
_LIST = flags.DEFINE_bool("list", False, "Only print the config and flags of each run, a line each, for other "
                          "launchers.")

# Share of the devices' peak rate, or of a CPU's in matrix products alone, where nothing has been measured.
_UTILIZATION = 0.4
# Runs whose training steps are so many times larger or smaller say nothing about a run's speed.
_ALIKE = 8

# The run ends, and saves, with the sweep that started it, however that ends. Its arguments are: the sweep's process id,
# then the command. Between fork and exec, where this belongs, it would run in a copy of a process with threads.
_WITH_PARENT = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)})  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]): sys.exit({128 + signal.SIGTERM})
os.execv(sys.argv[2], sys.argv[2:])
"""


def state(run: "study.Run", folder: Any) -> str:
  """What a folder, an epath.Path, has of a run: "finished", "begun" or "new". Raises UserError if another run is there,
  or what a run would write over (see identity.state)."""
  from trm_jax import config as config_lib  # pylint: disable=g-import-not-at-top
  from trm_jax import identity  # pylint: disable=g-import-not-at-top

  return identity.state({"config": config_lib.to_dict(run.config)}, folder)


def _root(runs: Sequence["study.Run"], workdir: str) -> Any:
  """epath.Path of the folder of all runs. Raises UserError if one of them cannot be kept there."""
  root = storage.user_path(workdir, "--workdir")
  storage.check_checkpoints_can_be_kept(root, "--workdir")
  for run in runs:
    storage.check_checkpoints_can_be_kept(root / run.folder, f"folder of {run.label}")
  return root


def _results(folder: Any) -> dict[str, Any]:
  return logs.read_results(folder / "results.json")


def _solved(results: dict[str, Any]) -> str:
  return f"{results['test']['exact_accuracy']:.1%} solved"


# Running.


class _Child:
  """The run that is going on; signals of this process are handed on to it, each once."""

  def __init__(self):
    self._to_hand_on: list[int] = []
    self._process, self._lock = None, threading.Lock()
    self._listener = distributed.Listener(self._note)
    self._listener.open()

  def _note(self, number, again):
    del again  # the run sees that for itself
    self._to_hand_on.append(number)
    self._hand_on()

  def _hand_on(self):
    with self._lock:  # the run is begun in one thread, signals come in another
      while self._process and self._to_hand_on:
        self._process.send_signal(self._to_hand_on.pop(0))

  def run(self, command: Sequence[str], out: BinaryIO) -> int:
    """Runs a command to its end, its output added to a file. Returns its exit status, as a shell says it."""
    # In a session of its own, so that it hears of a signal from here alone.
    self._process = subprocess.Popen(
        [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), *command], stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.STDOUT, start_new_session=True)
    self._hand_on()
    status = self._process.wait()
    self._process = None
    return status if status >= 0 else 128 - status

  @property
  def status(self) -> int | None:
    """To exit with after a signal."""
    return self._listener.status


def _log(run: "study.Run", workdir: str) -> pathlib.Path:
  """Beside the run's folder; for a bucket in runs/."""
  base = f"runs/{workdir.rstrip('/').rpartition('/')[2]}" if storage.is_remote(workdir) else os.path.expanduser(workdir)
  return pathlib.Path(base) / f"{run.folder}.log"


def _last_words(log: pathlib.Path, start: int) -> str:
  """Of a run that failed: the last error, or else the last line, of what it added to its log from byte `start` on."""
  with log.open("rb") as file:
    file.seek(start)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
  return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "said nothing")


def _how_it_ended(status: int) -> str:
  """With which status, in the words of a shell; those of 128 and more are of signals."""
  try:
    return f"by {signal.Signals(status - 128).name}{' (out of memory?)' * (status == 128 + signal.SIGKILL)}"
  except ValueError:
    return f"with status {status}"


def _can_be_made(run: "study.Run", root: Any) -> bool:
  try:
    return state(run, root / run.folder) != "finished"
  except UserError:  # which is said when its turn comes
    return False


def _owner(folder: Any) -> lock.Owner | None:
  """Who writes in a run's folder, which has no process of this sweep any more."""
  try:
    return storage.holder(folder)
  except UserError:  # the run has said so, too
    return None


def _left(unmade: Sequence["study.Run"], timed: Sequence[tuple[float, float, int]]) -> str:
  """How long the rest will take, if training takes its FLOPs and everything else is the same for every run."""
  from trm_jax import cost  # pylint: disable=g-import-not-at-top

  if not unmade or not timed:
    return ""
  whole, training, flops = map(sum, zip(*timed))
  left = sum(cost.training_flops(run.config) for run in unmade) * training / flops
  return f", about {logs.duration(left + (whole - training) / len(timed) * len(unmade))} left"


def run_all(runs: Sequence["study.Run"], workdir: str) -> int:
  """Runs those that are not finished, says how it goes, and returns the exit status."""
  from trm_jax import cost  # pylint: disable=g-import-not-at-top

  root = _root(runs, workdir)
  child, failed, left, width = _Child(), [], [], len(str(len(runs)))
  unmade = [run for run in runs if _can_be_made(run, root)]
  timed = []  # of runs that this start has made whole: seconds, those of training, its FLOPs
  for i, run in enumerate(runs, 1):
    print(f"[{i:>{width}}/{len(runs)}] {run.label}", end=" ", flush=True)
    log, start = _log(run, workdir), time.perf_counter()
    unmade = [other for other in unmade if other is not run]
    try:
      found = state(run, root / run.folder)
      if found == "finished":
        print(f"was finished before: {_solved(_results(root / run.folder))}", flush=True)
        continue
      try:
        log.parent.mkdir(parents=True, exist_ok=True)
        out = log.open("ab")
      except OSError as e:
        raise errors.explained(f"--workdir={workdir}: cannot write {log}", e, "name another folder") from e
    except UserError as e:
      failed.append(run)
      print(f"FAILED: {e}", flush=True)
      continue
    with out:
      if lock.try_lock(out) is False:  # Its run holds the lock, too, and so for as long as it writes there.
        left.append(run)
        print(f"is left to another sweep, which is at it ({log})", flush=True)
        continue
      before = out.tell()  # an earlier start of this run may have left words of its own
      print("goes on …" if found == "begun" else "…", end=" ", flush=True)
      config, *arguments = run.arguments
      status = child.run([sys.executable, "-m", "trm_jax.main", f"--config={config}",
                          f"--workdir={root / run.folder}", *arguments], out)
    took = time.perf_counter() - start
    stopped = child.status or (
        status if status in (distributed.PREEMPTED, distributed.INTERRUPTED) else None)
    if status == 0:
      try:
        results = _results(root / run.folder)
      except UserError as e:
        failed.append(run)
        print(f"FAILED: {e} (more in {log})", flush=True)
      else:
        if found == "new":
          timed.append((took, results["train_seconds"], cost.training_flops(run.config)))
        print(f"{_solved(results)} in {logs.duration(took)}{_left(unmade, timed)}", flush=True)
    elif not stopped and (owner := _owner(root / run.folder)):
      left.append(run)
      print(f"is left to {owner}, which is at it", flush=True)
    elif not stopped:
      failed.append(run)
      print(f"FAILED {_how_it_ended(status)} after {logs.duration(took)}: {_last_words(log, before)} (more in {log})",
            flush=True)
    if stopped:
      print(f"{'' if status == 0 else 'stopped; '}the same command goes on", flush=True)
      return stopped
  if left:
    print(f"{len(left)} of {len(runs)} runs are left to others; the same command, later, tells how they ended:",
          *(run.label for run in left), sep="\n  ", flush=True)
  if failed:
    print(f"{len(failed)} of {len(runs)} runs failed:", *(run.label for run in failed), sep="\n  ", flush=True)
    return 1
  if left:
    return TryAgain.status
  print(f"all {len(runs)} runs are done", flush=True)
  return 0


# Estimating.


@dataclasses.dataclass(frozen=True)
class _Measured:
  """Speed of a run in the workdir. Attributes: its kind (see _kind), FLOPs of one of its steps, FLOP/s."""

  kind: tuple
  step_flops: int
  rate: float


def _kind(config: "Config") -> tuple:
  return config.model.dtype, config.model.mlp_t


def _step_flops(config: "Config") -> int:
  from trm_jax import cost  # pylint: disable=g-import-not-at-top
  from trm_jax import flops  # pylint: disable=g-import-not-at-top

  return config.batch_size * flops.train_step_flops(cost.model_config(config))


def _measured(root: Any) -> Iterator[_Measured]:
  """Of all runs under a sweep's folder that have written a record."""
  from trm_jax import config as config_lib  # pylint: disable=g-import-not-at-top

  for saved in root.glob("*/seed_*/config.json"):
    try:
      config = config_lib.parse_saved(files.read_json(saved).get("config"), str(saved))
      records = saved.parent / "metrics.jsonl"
      steps = [record["train/step_ms"] for record in (logs.read_metrics(records) if records.exists() else ())
               if "train/step_ms" in record]
    except UserError as e:
      logs.warn(f"{e}; this run says nothing about the speed of others")
      continue
    if steps:
      flops = _step_flops(config)
      yield _Measured(_kind(config), flops, flops / (statistics.median(steps) / 1000))


def _machine() -> tuple[float, str]:
  """FLOP/s that this machine's devices may reach, and how that is known."""
  import jax  # pylint: disable=g-import-not-at-top
  import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

  from trm_jax import flops  # pylint: disable=g-import-not-at-top

  devices = jax.devices()
  what = f"{len(devices)} x {devices[0].device_kind}"
  if peak := flops.peak_flops(devices[0]):
    return _UTILIZATION * peak * len(devices), f"an assumed {_UTILIZATION:.0%} of the peak rate of {what}"
  size, times = 1024, 4  # a fraction of a second on a CPU
  multiply = jax.jit(lambda x: jax.lax.fori_loop(0, times, lambda _, y: y @ x, x))
  x = jnp.full((size, size), 1 / size)
  seconds = []
  for _ in range(5):  # the first compiles; others may use the machine, too
    start = time.perf_counter()
    multiply(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  rate = times * 2 * size**3 / min(seconds)
  return _UTILIZATION * rate, (f"an assumed {_UTILIZATION:.0%} of the {rate / 1e9:.0f} GFLOP/s that {what} made of "
                               "float32 matrix products just now")


def dry_run(runs: Sequence["study.Run"], workdir: str) -> Iterator[str]:
  """Lines that say what there is to do and about how long it will take."""
  from trm_jax import cost  # pylint: disable=g-import-not-at-top

  root = _root(runs, workdir)
  measured = list(_measured(root))
  machine, rows, seconds, computed, counts = None, [], 0.0, 0, {}
  for run in runs:
    try:
      found = state(run, root / run.folder)
    except UserError as e:
      found = "another run"
      rows.append((run.label, found, "", "", str(e)))
    counts[found] = counts.get(found, 0) + 1
    if found == "another run":
      continue
    flops = cost.training_flops(run.config) + cost.evaluation_flops(run.config)
    cells = [run.label, found, f"{cost.total_steps(run.config):,} steps", f"{flops:.1e} FLOP"]
    if found == "finished":
      rows.append((*cells, _solved(_results(root / run.folder))))
      continue
    size = _step_flops(run.config)
    alike = [m for m in measured if m.kind == _kind(run.config) and 1 / _ALIKE < m.step_flops / size < _ALIKE]
    if alike:
      rate, how = min(alike, key=lambda m: abs(math.log(m.step_flops / size))).rate, "a"
    else:
      machine = machine or _machine()
      rate, how = machine[0], "b"
    seconds, computed = seconds + flops / rate, computed + flops
    rows.append((*cells, f"about {logs.duration(flops / rate)} ({how})"))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  for label, found, steps, flops, rest in rows:
    yield f"{label:<{widths[0]}}  {found:<{widths[1]}}  {steps:>{widths[2]}}  {flops:>{widths[3]}}  {rest}"
  yield ""
  yield f"{len(runs)} runs: {', '.join(f'{number} {found}' for found, number in counts.items())}"
  if computed:
    yield (f"ESTIMATE: {logs.duration(seconds)} for {computed:.1e} FLOP, what runs that have begun have done already "
           "included; starting and compiling are not")
    yield "  (a) at the speed of the most alike run in --workdir"
    if machine:
      yield f"  (b) at {machine[1]}; trm_jax.preflight --topology=… knows TPU slices"


def main(argv: list[str]) -> None:
  """Reads the flags and does what they say."""
  cli.no_arguments(argv)
  if not _SWEEP.value:
    raise UserError("--sweep is missing; try --sweep=configs/sudoku.py:help")
  path, _, name = _SWEEP.value.partition(":")
  from trm_jax import study  # pylint: disable=g-import-not-at-top

  file = study.File.load(path)
  if name == "help":
    width = max(map(len, file.sweeps))
    for sweep, value in file.sweeps.items():
      print(f"  {sweep:<{width}}  {len(value.names):>3} configs: {value.what}")
    return
  wrong = [seed for seed in _SEEDS.value if not seed.isdecimal()]
  if wrong or not _SEEDS.value:
    raise UserError(f"--seeds={','.join(_SEEDS.value)}: must be numbers from 0, e.g. --seeds=0,1,2")
  runs = study.plan(file, name, list(dict.fromkeys(map(int, _SEEDS.value))), _OPTIONS.value, _SET.value)
  if _LIST.value:
    cli.refuse("--list only prints the runs", _WORKDIR, _DRY_RUN)
    for run in runs:
      print(shlex.join(run.arguments))
    return
  if _WORKDIR.value is None:
    raise UserError("--workdir is missing: a folder for the runs, in which finished ones are found")
  if _DRY_RUN.value:
    for line in dry_run(runs, _WORKDIR.value):
      print(line)
    return
  output.outlive()
  same = any(len(run.names) > 1 for run in runs)
  print(f"{name}: {len(runs)} runs, kept in {_WORKDIR.value}{'; names joined by = are one config' * same}", flush=True)
  sys.exit(run_all(runs, _WORKDIR.value))


if __name__ == "__main__":
  cli.run(main)
