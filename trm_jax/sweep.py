# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Named configs x seeds, one run after another or several side by side; what is finished is skipped.

    python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2
    python -m trm_jax.sweep --sweep=configs/sudoku.py:miniature --workdir=runs/mini --dry-run    # what it will take
    python -m trm_jax.sweep --sweep=configs/sudoku.py:data --workdir=runs/x --options=laptop --set=steps=500
    python -m trm_jax.sweep --sweep=configs/sudoku.py:data --workdir=runs/x --side_by_side=8    # one a GPU, or a core
    python -m trm_jax.sweep --sweep=configs/sudoku.py:help                                       # lists the sweeps

Each run is a `python -m trm_jax.main` of its own, kept in WORKDIR/CONFIG/seed_N; what it prints is in seed_N.log beside
it. Configs that differ in nothing but their names are one run, under the name that comes first in the file. A run that
fails is passed over; Ctrl-C, SIGTERM and SIGHUP have the runs that are going on save and stop; the same command goes
on from there. The same command may be started several times, on several machines, too: each passes over what others are
at, and with --wait comes back to it. On several hosts that are one job: launch/sweep.

Exit status: 0 all are done; 1 some failed; 2 your mistake, said in one line; 75 stopped by SIGTERM or SIGHUP, 130 by
Ctrl-C; 76 none failed, but some could not be made now, or others are at them: the same command, later, goes on.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures
import dataclasses
import math
import os
import pathlib
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO
import zlib

from absl import flags

from trm_jax import cli
from trm_jax import distributed
from trm_jax import errors
from trm_jax import files
from trm_jax import lock
from trm_jax import logs
from trm_jax import output
from trm_jax import parts
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
_SIDE_BY_SIDE = flags.DEFINE_integer("side_by_side", 1, "Runs at a time, each on a GPU or TPU chip of its own or, "
                                     "where there are none, on its share of the processor cores.", lower_bound=1)
_WAIT = flags.DEFINE_bool("wait", False, "At the end wait for the runs that other sweeps are at, and take over those "
                          "that they give up, instead of ending with 76.")
_DRY_RUN = flags.DEFINE_bool("dry-run", False, "Only say which runs there are, which are done, and about how long the "
                             "others will take.")
_LIST = flags.DEFINE_bool("list", False, "Only print the config and flags of each run, a line each, for other "
                          "launchers.")

# Seconds between two looks at what others are at.
_LOOK_SECONDS = 3
# Share of the devices' peak rate, or of a CPU's in matrix products alone, where nothing has been measured.
_UTILIZATION = 0.4
# Runs whose training steps are so many times larger or smaller say nothing about a run's speed.
_ALIKE = 8

# The run ends, and saves, with the sweep that started it, however that ends. Its arguments are: the sweep's process id,
# the cores that the run may use, or nothing for all, then the command. Between fork and exec, where this belongs, it
# would run in a copy of a process with threads.
_WITH_PARENT = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)})  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]): sys.exit({128 + signal.SIGTERM})
if sys.argv[2]: os.sched_setaffinity(0, map(int, sys.argv[2].split(",")))
os.execv(sys.argv[3], sys.argv[3:])
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


class _Children:
  """The runs that are going on. Signals of this process are handed on to all of them, each once."""

  def __init__(self):
    self._signals: list[int] = []
    self._processes: dict[subprocess.Popen, int] = {}  # and how many of the signals each was given
    self._lock = threading.Lock()
    self._listener = distributed.Listener(self._note)
    self._listener.open()

  def _note(self, number, again):
    del again  # the runs see that for themselves
    with self._lock:
      self._signals.append(number)
      self._hand_on()

  def _hand_on(self):
    for process, given in self._processes.items():
      for number in self._signals[given:]:
        process.send_signal(number)
      self._processes[process] = len(self._signals)

  def run(self, command: Sequence[str], out: BinaryIO, part: parts.Part) -> int:
    """Runs a command to its end, its output added to a file. Returns its exit status, as a shell says it."""
    cores = ",".join(map(str, part.cores or ()))
    # In a session of its own, so that it hears of a signal from here alone.
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), cores, *command], stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.STDOUT, env=os.environ | part.environment, start_new_session=True)
    with self._lock:  # runs are begun in threads of their own, signals come in another
      self._processes[process] = 0
      self._hand_on()
    status = process.wait()
    with self._lock:
      del self._processes[process]
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


def _keep_log(log: pathlib.Path, start: int, folder: Any) -> None:
  """Copies what a run in a bucket added to its log, from byte `start` on, to FOLDER/logs/TIME/HOST.log, where launch/
  keeps those of its runs: this machine's disk may go with the machine."""
  if not storage.is_remote(folder):
    return
  kept = folder / "logs" / time.strftime("%Y%m%dT%H%M%S", time.gmtime()) / f"{socket.gethostname()}.log"
  try:
    with storage.reaching(str(kept)):
      kept.write_bytes(log.read_bytes()[start:])
  except UserError as e:
    logs.warn(f"{log} was not copied: {e}")


def _how_it_ended(status: int) -> str:
  """With which status, in the words of a shell; those of 128 and more are of signals."""
  try:
    return f"by {signal.Signals(status - 128).name}{' (out of memory?)' * (status == 128 + signal.SIGKILL)}"
  except ValueError:
    return f"with status {status}"


def _state_if_ours(run: "study.Run", root: Any) -> str | None:
  """See `state`; None for its error, which is said when the run's turn comes."""
  try:
    return state(run, root / run.folder)
  except UserError:
    return None


def _owner(folder: Any) -> str | None:
  """Who writes in a run's folder, in which no process of this sweep does."""
  try:
    owner = storage.holder(folder)
  except UserError:  # the run says so, too
    return None
  return owner and f"{owner}, which is at it"


class _Sweep:
  """Makes runs, in their order, and says how it goes.

  Args:
    runs: all of them.
    workdir: folder of their folders.
    shares: of the machine; as many runs are made at a time.
    wait: for the runs that others are at, and take over those that they give up.
  """

  def __init__(self, runs: Sequence["study.Run"], workdir: str, shares: Sequence[parts.Part], wait: bool):
    self._runs, self._workdir, self._shares, self._wait = runs, workdir, shares, wait
    self._root = _root(runs, workdir)
    self._children = _Children()
    turns = list(enumerate(runs, 1))
    if wait:  # Others are likely to begin at the same moment, and need not all begin with the same run.
      first = zlib.crc32(socket.gethostname().encode()) % len(turns)
      turns = turns[first:] + turns[:first]
    self._turns, self._lock = iter(turns), threading.Lock()
    self._ended = False  # no further run is begun
    self._stopped: int | None = None  # exit status of a run that was told to stop
    self._unmade = [run for run in runs if _state_if_ours(run, self._root) in ("new", "begun")]
    self._begun: dict[study.Run, float] = {}  # the runs that are going on, and when they were started
    self._timed = []  # of runs that were made whole: seconds, those of training, its FLOPs
    # By their numbers, from 1: those that failed, those that could not be made now, and those that others are at.
    self._failed: dict[int, study.Run] = {}
    self._later: dict[int, study.Run] = {}
    self._left: dict[int, study.Run] = {}

  def make(self) -> int:
    """Makes those that are not finished. Returns the exit status."""
    self._make_all()
    if self._wait and self._left and not self._is_stopped():
      print(f"waiting for what others are at, {len(self._left)} of {len(self._runs)} runs", flush=True)
    while self._wait and self._left and not self._is_stopped():
      time.sleep(_LOOK_SECONDS)
      if not all(map(self._is_taken, self._left.values())):
        again, self._left = self._left, {}
        self._turns = iter(sorted(again.items()))
        self._make_all()
    # Others may have made meanwhile what failed here, on a full disk for instance.
    self._failed, self._later = (
        {number: run for number, run in runs.items() if _state_if_ours(run, self._root) != "finished"}
        for runs in (self._failed, self._later))
    if self._is_stopped():
      print("stopped; the same command goes on", flush=True)
      return self._children.status or self._stopped
    for what, runs in (("are left to others; the same command, later, tells how they ended", self._left),
                       ("could not be made now; the same command tries them again", self._later),
                       ("failed", self._failed)):
      if runs:
        print(f"{len(runs)} of {len(self._runs)} runs {what}:", *(run.label for _, run in sorted(runs.items())),
              sep="\n  ", flush=True)
    if self._failed:
      return 1
    if self._left or self._later:
      return TryAgain.status
    print(f"all {len(self._runs)} runs are done", flush=True)
    return 0

  def _others_at(self, run: "study.Run", log: BinaryIO) -> str | None:
    """Who is at a run, or about to be. If nobody is, its log is locked from now on, until the file is closed."""
    if lock.try_lock(log) is False:  # Its run holds the lock, too, and so for as long as it writes there.
      return f"another sweep, which is at it ({_log(run, self._workdir)})"
    return _owner(self._root / run.folder)

  def _is_taken(self, run: "study.Run") -> bool:
    with _log(run, self._workdir).open("ab") as log:
      return self._others_at(run, log) is not None

  def _is_stopped(self) -> bool:
    return bool(self._children.status or self._stopped)

  def _make_all(self) -> None:
    """All whose turn it still is."""
    with futures.ThreadPoolExecutor(len(self._shares)) as pool:
      for lane in futures.as_completed([pool.submit(self._make_some, share) for share in self._shares]):
        lane.result()

  def _make_some(self, share: parts.Part) -> None:
    """One run after another on a share of the machine, until there is none left to begin."""
    try:
      while True:
        with self._lock:
          number, run = (None, None) if self._ended or self._children.status else next(self._turns, (None, None))
          if run in self._unmade:
            self._unmade.remove(run)
        if run is None:
          return
        self._make(number, run, share)
    except BaseException:
      self._ended = True
      raise

  def _make(self, number: int, run: "study.Run", share: parts.Part) -> None:
    name = f"[{number:>{len(str(len(self._runs)))}}/{len(self._runs)}] {run.label}"
    folder, log = self._root / run.folder, _log(run, self._workdir)

    def say(what):
      with self._lock:
        print(name, what, flush=True)

    try:
      found = state(run, folder)
      if found == "finished":
        say(f"was finished before: {_solved(_results(folder))}")
        return
      try:
        log.parent.mkdir(parents=True, exist_ok=True)
        out = log.open("ab")
      except OSError as e:
        raise errors.explained(f"--workdir={self._workdir}: cannot write {log}", e, "name another folder") from e
    except UserError as e:
      self._failed[number] = run
      say(f"FAILED: {e}")
      return
    with out:
      if owner := self._others_at(run, out):
        self._left[number] = run
        say(f"is left to {owner}")
        return
      before = out.tell()  # an earlier start of this run may have left words of its own
      say("goes on" if found == "begun" else "begins")
      self._begun[run] = time.perf_counter()
      config, *arguments = run.arguments
      status = self._children.run([sys.executable, "-m", "trm_jax.main", f"--config={config}", f"--workdir={folder}",
                                   *arguments], out, share)
    took = time.perf_counter() - self._begun.pop(run)
    _keep_log(log, before, folder)
    if status == 0:
      try:
        results = _results(folder)
      except UserError as e:
        self._failed[number] = run
        say(f"FAILED: {e} (more in {log})")
        return
      if found == "new":
        self._timed.append((took, results["train_seconds"], _training_flops(run)))
      say(f"is done: {_solved(results)}, {logs.duration(took)}{self._time_left()}")
    elif self._children.status or status in (distributed.PREEMPTED, distributed.INTERRUPTED):
      self._ended, self._stopped = True, status
      say("was stopped")
    elif owner := _owner(folder):  # who has come first by a moment
      self._left[number] = run
      say(f"is left to {owner}")
    elif status == TryAgain.status:
      self._later[number] = run
      say(f"cannot be made now: {_last_words(log, before)} (more in {log})")
    else:
      self._failed[number] = run
      say(f"FAILED {_how_it_ended(status)} after {logs.duration(took)}: {_last_words(log, before)} (more in {log})")

  def _time_left(self) -> str:
    """How long the rest will take, if training takes its FLOPs and everything else is the same for every run."""
    with self._lock:
      unmade, begun, timed = list(self._unmade), dict(self._begun), list(self._timed)
    if not timed or not unmade and not begun:
      return ""
    whole, training, flops = map(sum, zip(*timed))

    def expected(run):
      return _training_flops(run) * training / flops + (whole - training) / len(timed)

    now = time.perf_counter()
    left = sum(map(expected, unmade)) + sum(max(0.0, expected(run) - (now - start)) for run, start in begun.items())
    return f"; about {logs.duration(left / len(self._shares))} left"


# Estimating.


@dataclasses.dataclass(frozen=True)
class _Measured:
  """Speed of a run in the workdir. Attributes: its kind (see _kind), FLOPs of one of its steps, FLOP/s."""

  kind: tuple
  step_flops: int
  rate: float


def _kind(config: "Config") -> tuple:
  return config.model.dtype, config.model.mlp_t


def _training_flops(run: "study.Run") -> int:
  """FLOPs of its training."""
  from trm_jax import cost  # pylint: disable=g-import-not-at-top

  return cost.training_flops(run.config)


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

  distributed.stay_alone()
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
    cli.refuse("--list only prints the runs", _WORKDIR, _DRY_RUN, _SIDE_BY_SIDE, _WAIT)
    for run in runs:
      print(shlex.join(run.arguments))
    return
  if _WORKDIR.value is None:
    raise UserError("--workdir is missing: a folder for the runs, in which finished ones are found")
  if _DRY_RUN.value:
    cli.refuse("--dry-run speaks of runs one after another", _SIDE_BY_SIDE, _WAIT)
    for line in dry_run(runs, _WORKDIR.value):
      print(line)
    return
  shares = parts.split(_SIDE_BY_SIDE.value, "--side_by_side")
  output.outlive()
  same = any(len(run.names) > 1 for run in runs)
  print(f"{name}: {len(runs)} runs, kept in {_WORKDIR.value}{'; names joined by = are one config' * same}", flush=True)
  sys.exit(_Sweep(runs, _WORKDIR.value, shares, _WAIT.value).make())


if __name__ == "__main__":
  cli.run(main)
