# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Lets the processes of a job agree on values, and notice that one of them is gone."""

from collections.abc import Callable, Iterable
from concurrent import futures
import faulthandler
import os
import socket
import threading
import time
from typing import Any, TypeVar

from etils import epath
import jax
from jax.experimental import multihost_utils
import numpy as np

from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import exit_status
from trm_jax.runtime import sharding


_T = TypeVar("_T")
# Room for the error message with which all processes end.
_LINE_BYTES = 2000
# Room for a host's name, which Linux limits to 64.
_HOST_BYTES = 64


def is_main() -> bool:
  """Whether this process is the one that writes and prints."""

  return jax.process_index() == 0


def announce() -> None:
  """Writes this process's number to the file that TRM_JAX_PROCESS_FILE names, if it is set.

  On a TPU slice the numbers follow from the topology and may change with every start, so that the program that starts
  the processes cannot know which of them is the main one.
  """
  if path := os.environ.get("TRM_JAX_PROCESS_FILE"):

    with open(path, "w") as file:
      file.write(str(jax.process_index()))


def say(text: str) -> None:
  """Prints a line, in the main process only."""
  if is_main():
    print(text, flush=True)


def together(call: Callable[[], _T]) -> _T:
  """Makes a call in every process and waits for all. A UserError in one of them ends all with the same message.

  The processes meet once a second until all calls are done, since some of JAX's exchanges fail if one process waits
  alone for a minute or more.

  Returns:
    The result of the call in this process.

  Raises:
    UserError: raised in every process if the call raised one anywhere; it is that of the first such process.
  """

  if jax.process_count() == 1:
    return call()
  with futures.ThreadPoolExecutor(1) as thread:
    mine = thread.submit(call)
    while True:
      futures.wait([mine], timeout=1.0)
      if multihost_utils.process_allgather(np.int32(mine.done())).all():
        break
  error, line = mine.exception(), np.zeros(_LINE_BYTES, np.uint8)
  if isinstance(error, UserError):
    text = str(error).encode(errors="replace")[: _LINE_BYTES - 1]
    line[: 1 + len(text)] = [error.status, *text]
  everyones = multihost_utils.process_allgather(line)
  failed = np.flatnonzero(everyones[:, 0])
  if failed.size and failed[0] != jax.process_index():
    status, *text = everyones[failed[0]].tolist()
    kind = TryAgain if status == TryAgain.status else UserError
    raise kind(bytes(text).rstrip(b"\0").decode(errors="replace")) from error
  return mine.result()


def check_same(what: str, fingerprint: Callable[[], int]) -> None:
  """Makes sure that something is the same in all processes.

  Args:
    what: name of the thing, for the message.
    fingerprint: returns 32 bits that identify it; not called if there is only one process.

  Raises:
    UserError: raised in every process if it differs in one.
  """

  if jax.process_count() == 1:
    return
  everyones = multihost_utils.process_allgather(np.uint32(fingerprint()))
  others = np.flatnonzero(everyones != everyones[0])
  if others.size:
    raise UserError(f"{names(others)}: another {what} than process 0's; all processes must have the same")


def check_shared(folder: epath.Path, flag: str) -> None:
  """Makes sure that the path is the same folder for all processes, which call this together.

  Args:
    folder: an existing folder.
    flag: the flag that named it, for the message.

  Raises:
    UserError: raised in every process if one does not see what process 0 writes there.
  """
  if jax.process_count() == 1:
    return
  token = int.from_bytes(os.urandom(4), "little")
  note = folder / f".job-{int(multihost_utils.broadcast_one_to_all(np.uint32(token))):08x}"
  if is_main():
    note.write_text(socket.gethostname())
  multihost_utils.sync_global_devices("note written")
  seen = multihost_utils.process_allgather(np.int32(note.exists()))
  if is_main():
    note.unlink()
  blind = np.flatnonzero(seen == 0)
  if blind.size:
    raise UserError(f"{flag}={folder}: {names(blind)} does not see what process 0 writes there; name a folder that all "
                    "hosts share, or gs://BUCKET/FOLDER")


def names(processes: Iterable[int]) -> str:
  """Names processes for people, by number and host. Every process must call this at the same point."""

  mine = np.zeros(_HOST_BYTES, np.uint8)
  name = socket.gethostname().encode()[:_HOST_BYTES]
  mine[: len(name)] = list(name)
  hosts = multihost_utils.process_allgather(mine)
  return ", ".join(f"process {i} on {bytes(hosts[i]).rstrip(bytes(1)).decode(errors='replace')}" for i in processes)


class Agreement:
  """Small numbers on which all processes agree at the same point of the program: the maximum over all processes.

  They travel through the devices, behind the work that is queued there, and are read one exchange later. So no process
  waits for the exchange itself, and none runs more than one call ahead of the devices.

  Args:
    mesh: of the job.
    size: how many numbers.
  """

  def __init__(self, mesh: Any, size: int):


    self._sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
    self._devices, self._size = mesh.size, size
    self._max = jax.jit(lambda x: x.max(0), out_shardings=sharding.replicated(mesh))
    self._pending = None

  def exchange(self, values: list[int]) -> list[int]:
    """Contributes `values` and returns the result of the exchange before this one; zeros the first time."""

    mine = np.asarray([values], np.int32)
    everyones = jax.make_array_from_callback((self._devices, self._size), self._sharding, lambda _: mine)
    pending, self._pending = self._pending, self._max(everyones)
    return [0] * self._size if pending is None else jax.device_get(pending).tolist()


class Watchdog:
  """Ends a process of a job that has made no progress for too long: it or a peer hangs, and would do so forever.

  Args:
    timeout_s: seconds without a call of `alive` after which the process ends; None for never.
  """

  def __init__(self, timeout_s: float | None):
    self._timeout_s = timeout_s
    self._closed = threading.Event()
    self.alive("starting")
    if timeout_s is not None:
      threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

  def alive(self, doing: str, *, extra_s: float = 0.0) -> None:
    """Notes that there has been progress.

    Args:
      doing: the next activity, for the message.
      extra_s: seconds that it may take in addition to `timeout_s`.
    """
    self._doing, self._last = doing, time.monotonic() + extra_s

  def close(self) -> None:
    """Stops watching."""
    self._closed.set()

  def _watch(self):
    while not self._closed.wait(min(1.0, self._timeout_s / 10)):
      if time.monotonic() - self._last > self._timeout_s:
        faulthandler.dump_traceback(all_threads=True)
        exit_status.last_words(
            f"no progress for {self._timeout_s:.0f} s while {self._doing}: this process or another one hangs; "
            "the lines above show where this one is; start the same command again to go on from the newest checkpoint "
            "(--peer_timeout_s sets how long to wait)")
        os._exit(exit_status.PEER_LOST)
