# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes the runs of a sweep, one after another or several side by side, and prints their progress."""

from collections.abc import Sequence
from concurrent import futures
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO
import zlib

from etils import epath

from trm_jax import errors
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import console
from trm_jax.runtime import exit_status
from trm_jax.runtime import lock
from trm_jax.runtime import signals
from trm_jax.runtime import with_parent
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.study import parts
from trm_jax.study.plan import Run, folder_of
from trm_jax.training import metrics_log


# Seconds between two looks at the runs that other processes are making.
_LOOK_SECONDS = 3


class _Children:
  """The processes of the current runs. Each signal to this process is passed on to each of them once."""

  def __init__(self):
    self._signals: list[int] = []
    self._processes: dict[subprocess.Popen, int] = {}  # and how many signals each has been sent
    self._lock = threading.Lock()
    self._listener = signals.Listener(self._note)
    self._listener.open()

  def _note(self, number, again):
    del again  # the runs notice a second Ctrl-C themselves
    with self._lock:
      self._signals.append(number)
      self._hand_on()

  def _hand_on(self):
    for process, given in self._processes.items():
      for number in self._signals[given:]:
        process.send_signal(number)
      self._processes[process] = len(self._signals)

  def run(self, command: Sequence[str], out: BinaryIO, part: parts.Part) -> int:
    """Runs a command to its end and appends its output to a file. Returns its exit status, as a shell reports it."""
    # When this sweep ends, for whatever reason, the run saves and ends, too. It has a session of its own, so that
    # signals reach it only from here.
    process = subprocess.Popen(
        with_parent.command(signal.SIGTERM, command, part.cores), stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.STDOUT, env=os.environ | part.environment, start_new_session=True)
    with self._lock:  # runs start in several threads, and signals arrive in another
      self._processes[process] = 0
      self._hand_on()
    status = process.wait()
    with self._lock:
      del self._processes[process]
    return status if status >= 0 else 128 - status

  @property
  def status(self) -> int | None:
    """The exit status after a signal."""
    return self._listener.status


def _log(run: Run, workdir: str) -> pathlib.Path:
  """Path of a run's log: beside the run's folder or, for a bucket, in runs/."""
  base = f"runs/{workdir.rstrip('/').rpartition('/')[2]}" if buckets.is_remote(workdir) else os.path.expanduser(workdir)
  return pathlib.Path(base) / f"{run.folder}.log"


def _last_line(log: pathlib.Path, start: int) -> str:
  """Returns the last error, or else the last line, that a failed run added to its log from byte `start` on."""
  with log.open("rb") as file:
    file.seek(start)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
  return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "said nothing")


def _keep_log(log: pathlib.Path, start: int, folder: epath.Path) -> None:
  """Copies the log of a run in a bucket, from byte `start` on, to FOLDER/logs/TIME/HOST.log, where launch/ keeps logs,
  too: this machine's disk may disappear with the machine."""
  if not buckets.is_remote(folder):
    return
  kept = folder / "logs" / time.strftime("%Y%m%dT%H%M%S", time.gmtime()) / f"{socket.gethostname()}.log"
  try:
    with buckets.reaching(str(kept)):
      kept.write_bytes(log.read_bytes()[start:])
  except UserError as e:
    console.warn(f"{log} was not copied: {e}")


def _how_it_ended(status: int) -> str:
  """Puts a shell's exit status into words; one of 128 or more stands for a signal."""
  try:
    return f"by {signal.Signals(status - 128).name}{' (out of memory?)' * (status == 128 + signal.SIGKILL)}"
  except ValueError:
    return f"with status {status}"


def _state_if_ours(run: Run, root: epath.Path) -> str | None:
  """Run.state, or None where it raises an error, which is printed when the run's turn comes."""
  try:
    return run.state(root / run.folder)
  except UserError:
    return None


def _owner(folder: epath.Path) -> str | None:
  """Returns words for the process outside of this sweep that writes in a run's folder, or None."""
  try:
    owner = workdir_lib.holder(folder)
  except UserError:  # the run itself will report it
    return None
  return owner and f"{owner}, which is running it"


def results_of(folder: epath.Path) -> dict[str, Any]:
  """The results of a finished run."""
  return metrics_log.read_results(folder / "results.json")


def solved(results: dict[str, Any], config: Config) -> str:
  """Words for the share of the test puzzles that a run has solved."""
  if results["test"].get("num_puzzles") == 0:
    return f"answered {metrics_log.WITHOUT_SCORE}"
  return f"{results['test'][tasks.headline(config.task)]:.1%} solved"


def _training_flops(run: Run) -> int:
  from trm_jax.study import estimate  # pylint: disable=g-import-not-at-top

  return estimate.training_flops(run.config)


class Sweep:
  """Makes runs in their order and prints their progress.

  Args:
    runs: all runs of the sweep.
    workdir: the folder that contains the runs' folders.
    shares: parts of the machine; each makes one run at a time.
    wait: whether to wait for runs that other processes are making, and to take over those that they give up.
  """

  def __init__(self, runs: Sequence[Run], workdir: str, shares: Sequence[parts.Part], wait: bool):
    self._runs, self._workdir, self._shares, self._wait = runs, workdir, shares, wait
    self._root = folder_of(runs, workdir)
    self._children = _Children()
    turns = list(enumerate(runs, 1))
    if wait:  # Other hosts are likely to start at the same moment, and should not all begin with the same run.
      first = zlib.crc32(socket.gethostname().encode()) % len(turns)
      turns = turns[first:] + turns[:first]
    self._turns, self._lock = iter(turns), threading.Lock()
    self._ended = False  # if true, no further run is started
    self._stopped: int | None = None  # exit status of a run that was told to stop
    self._unmade = [run for run in runs if _state_if_ours(run, self._root) in ("new", "begun")]
    self._begun: dict[Run, float] = {}  # current runs, and when each was started
    self._timed = []  # for each run that was made from its beginning: seconds in all, seconds and FLOPs of training
    # Runs by number, from 1: those that failed, that could not be made now, and that other processes are making.
    self._failed: dict[int, Run] = {}
    self._later: dict[int, Run] = {}
    self._left: dict[int, Run] = {}

  def make(self) -> int:
    """Makes the runs that are not finished. Returns the exit status."""
    self._make_all()
    if self._wait and self._left and not self._is_stopped():
      print(f"waiting for {len(self._left)} of {len(self._runs)} runs that others are making", flush=True)
    while self._wait and self._left and not self._is_stopped():
      time.sleep(_LOOK_SECONDS)
      if not all(map(self._is_taken, self._left.values())):
        again, self._left = self._left, {}
        self._turns = iter(sorted(again.items()))
        self._make_all()
    # Meanwhile others may have made the runs that failed here, because of a full disk for instance.
    self._failed, self._later = (
        {number: run for number, run in runs.items() if _state_if_ours(run, self._root) != "finished"}
        for runs in (self._failed, self._later))
    if self._is_stopped():
      print("stopped; start the same command to go on", flush=True)
      return self._children.status or self._stopped
    for what, runs in (("are left to others; start the same command later to see how they ended", self._left),
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

  def _others_at(self, run: Run, log: BinaryIO) -> str | None:
    """Returns words for the process that makes a run or is about to. If there is none, locks the run's log until the
    file is closed, and returns None."""
    if lock.try_lock(log) is False:  # The run inherits the file, and with it the lock, for as long as it writes there.
      return f"another sweep, which is running it ({_log(run, self._workdir)})"
    return _owner(self._root / run.folder)

  def _is_taken(self, run: Run) -> bool:
    with _log(run, self._workdir).open("ab") as log:
      return self._others_at(run, log) is not None

  def _is_stopped(self) -> bool:
    return bool(self._children.status or self._stopped)

  def _make_all(self) -> None:
    """Makes all runs whose turn is still to come."""
    with futures.ThreadPoolExecutor(len(self._shares)) as pool:
      for lane in futures.as_completed([pool.submit(self._make_some, share) for share in self._shares]):
        lane.result()

  def _make_some(self, share: parts.Part) -> None:
    """Makes one run after another on a part of the machine, until none is left to start."""
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

  def _make(self, number: int, run: Run, share: parts.Part) -> None:
    name = f"[{number:>{len(str(len(self._runs)))}}/{len(self._runs)}] {run.label}"
    folder, log = self._root / run.folder, _log(run, self._workdir)

    def say(what):
      with self._lock:
        print(name, what, flush=True)

    try:
      found = run.state(folder)
      if found == "finished":
        say(f"was finished before: {solved(results_of(folder), run.config)}")
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
      before = out.tell()  # the log may have lines of an earlier start of this run
      say("goes on" if found == "begun" else "begins")
      self._begun[run] = time.perf_counter()
      config, *arguments = run.arguments
      status = self._children.run([sys.executable, "-m", "trm_jax.main", f"--config={config}", f"--workdir={folder}",
                                   *arguments], out, share)
    took = time.perf_counter() - self._begun.pop(run)
    _keep_log(log, before, folder)
    if status == 0:
      try:
        results = results_of(folder)
      except UserError as e:
        self._failed[number] = run
        say(f"FAILED: {e} (more in {log})")
        return
      if found == "new":
        self._timed.append((took, results["train_seconds"], _training_flops(run)))
      say(f"is done: {solved(results, run.config)}, {console.duration(took)}{self._time_left()}")
    elif self._children.status or status in (exit_status.PREEMPTED, exit_status.INTERRUPTED):
      self._ended, self._stopped = True, status
      say("was stopped")
    elif owner := _owner(folder):  # another process was faster by a moment
      self._left[number] = run
      say(f"is left to {owner}")
    elif status == TryAgain.status:
      self._later[number] = run
      say(f"cannot be made now: {_last_line(log, before)} (more in {log})")
    else:
      self._failed[number] = run
      say(f"FAILED {_how_it_ended(status)} after {console.duration(took)}: {_last_line(log, before)} (more in {log})")

  def _time_left(self) -> str:
    """Estimates the time left: training time goes with FLOPs, everything else takes the same time in every run."""
    with self._lock:
      unmade, begun, timed = list(self._unmade), dict(self._begun), list(self._timed)
    if not timed or not unmade and not begun:
      return ""
    whole, training, flops = map(sum, zip(*timed))

    def expected(run):
      return _training_flops(run) * training / flops + (whole - training) / len(timed)

    now = time.perf_counter()
    left = sum(map(expected, unmade)) + sum(max(0.0, expected(run) - (now - start)) for run, start in begun.items())
    return f"; about {console.duration(left / len(self._shares))} left"
