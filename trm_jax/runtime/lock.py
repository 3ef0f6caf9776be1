# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Gives a folder that is written one owner at a time: the process that holds the lock FOLDER/.lock.

On a local disk the lock is a file that the owner keeps locked, so that the kernel releases it however the owner ends.
In a bucket it is an object that the owner creates, on condition that there is none, and rewrites every few seconds: a
dead owner is recognised by its silence.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import email.utils
import errno
import fcntl
import json
import os
import pathlib
import socket
import sys
import threading
import time
from typing import Any, NoReturn
import uuid

from trm_jax.errors import TryAgain, UserError, explained

_NAME = ".lock"
# The owner of a folder in a bucket gives a sign of life this often. After so long without one, another process may take
# the folder: longer than an occasional network failure, shorter than a person or launch/run minds waiting.
_BEAT_SECONDS = 20
_EXPIRE_SECONDS = 120
# How long to retry: another process may just be checking whether the lock is held, or be about to release it.
_PATIENCE_SECONDS = 1.0
# Errors of file systems without locks; most of these are network file systems.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Held(UserError):
  """Another process owns the folder."""


def _machine() -> str:
  """Identifies this machine since it was booted, and this container on it."""
  try:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
  except OSError:  # not Linux
    return uuid.uuid4().hex  # then no other process is known to be on this machine


def _start_of(pid: int) -> int | None:
  """The start of a process of this machine, in the kernel's ticks; None if it has ended."""
  try:
    state, *fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  except OSError:
    return None
  return None if state in "ZX" else int(fields[18])


@dataclasses.dataclass(frozen=True)
class Owner:
  """A process that owns a folder, as the lock describes it.

  Attributes:
    host, pid: of the process.
    since: the time when it took the folder.
    command: the command that started it.
    machine, started: by which a process on the same machine can tell whether it still runs.
    token: unique to this owner.
  """

  host: str
  pid: int
  since: str
  command: str
  machine: str
  started: int | None
  token: str

  @classmethod
  def me(cls) -> "Owner":
    now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return cls(socket.gethostname(), os.getpid(), now, " ".join(sys.orig_argv), _machine(), _start_of(os.getpid()),
               uuid.uuid4().hex)

  @classmethod
  def read(cls, text: bytes) -> "Owner":
    try:
      return cls(**json.loads(text))
    except (ValueError, TypeError):  # it is just being written, or the machine stopped while it was written
      return cls("unknown host", 0, "unknown time", "", "", None, "")

  def write(self) -> bytes:
    return (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode()

  def alive(self) -> bool | None:
    """Whether it still runs; None if that cannot be known from here."""
    return _start_of(self.pid) == self.started if self.machine == _machine() else None

  def __str__(self):
    return f"process {self.pid} on {self.host}, since {self.since}"


def try_lock(file: Any, kind: int = fcntl.LOCK_EX) -> bool | None:
  """Locks an open file, for as long as this process or one that has inherited it keeps it open.

  Args:
    file: an open file.
    kind: LOCK_EX, or LOCK_SH, which several processes can hold.

  Returns:
    False if another process has locked it, None if its file system has no locks.
  """
  try:
    fcntl.flock(file, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as e:
    if e.errno not in _NO_LOCKS:
      raise
    return None
  return True


@contextlib.contextmanager
def one_at_a_time(path: pathlib.Path, doing: str, elsewhere: str) -> Iterator[None]:
  """Waits until no other process is in such a block with the same file, and prints that it waits.

  Args:
    path: of the file that is locked, in a folder that exists. The file stays there.
    doing: what the other process does, for that line.
    elsewhere: advice on how to name another folder, in case files cannot be locked in this one.

  Raises:
    UserError: the file cannot be made or locked.
  """
  with contextlib.ExitStack() as exits:
    try:
      file = exits.enter_context(path.open("ab"))
      locked = try_lock(file)
      if locked is False:
        print(f"waiting for another process, which is {doing}", flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as e:
      raise explained(f"{path}: cannot be locked", e, elsewhere) from e
    if locked is None:
      raise UserError(f"{path}: cannot be locked (its file system has no locks); {elsewhere}")
    yield


def _held(what: str, owner: Owner) -> Held:
  return Held(f"{what}: another process writes there ({owner}); wait for its end, or stop it, or name another folder")


def _lost(what: str, now: str) -> NoReturn:
  """Ends this process at once, so that it writes nothing more into a folder that another process owns."""
  with contextlib.suppress(OSError):  # the reader of stderr may be gone
    print(f"error: {what}: another process has taken this folder over ({now}); this one ends and writes no more",
          file=sys.stderr, flush=True)
  os._exit(TryAgain.status)


class FileLock:
  """The lock of a folder on a local disk, or on one that hosts share.

  Args:
    folder: an existing folder.
    what: its name in messages.

  Raises:
    Held: another process has the lock.
    OSError: the lock cannot be written.
  """

  def __init__(self, folder: pathlib.Path, what: str):
    self._path, self._what, self._file = folder / _NAME, what, None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
      file = self._path.open("ab+")
      with contextlib.ExitStack() as on_error:
        on_error.callback(file.close)
        locked = try_lock(file)
        if locked is None:
          print(f"warning: {what}: its file system has no locks; make sure that no other process writes there",
                file=sys.stderr, flush=True)
          self._path.unlink(missing_ok=True)
          return
        if not locked:
          if time.monotonic() > deadline:
            raise _held(what, _owner_in(file))
          time.sleep(_PATIENCE_SECONDS / 20)
          continue
        if not self._is(file):  # the owner has just removed it
          continue
        file.truncate(0)
        file.write(Owner.me().write())
        file.flush()
        on_error.pop_all()
        self._file = file
        return

  def _is(self, file: Any) -> bool:
    """Whether an open file is still the one at the lock's path."""
    with contextlib.suppress(FileNotFoundError):
      return os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
    return False

  def check(self) -> None:
    """Ends this process if the lock was removed and another process has made a new one."""
    if self._file and self._path.exists() and not self._is(self._file):
      _lost(self._what, str(_owner_in(self._path.open("rb"))))

  def release(self) -> None:
    """Lets other processes take the folder."""
    if self._file:
      if self._is(self._file):
        self._path.unlink()
      self._file.close()


def _owner_in(file: Any) -> Owner:
  file.seek(0)
  return Owner.read(file.read())


def holder_of_file(folder: pathlib.Path) -> Owner | None:
  """The current owner of a local folder, if there is one."""
  try:
    with (folder / _NAME).open("rb") as file:
      return _owner_in(file) if try_lock(file, fcntl.LOCK_SH) is False else None
  except FileNotFoundError:
    return None


@dataclasses.dataclass(frozen=True)
class _Sign:
  """The contents of a lock's object.

  Attributes:
    generation: changes each time the object is written.
    age_s: seconds since then.
    owner: of the folder.
  """

  generation: str
  age_s: float
  owner: Owner


class ObjectLock:
  """The lock of a folder in a bucket.

  Args:
    folder: gs://BUCKET/FOLDER.
    what: its name in messages.
    client: of gcsfs; all methods pass on its errors.

  Raises:
    Held: another process has the lock.
  """

  def __init__(self, folder: str, what: str, client: Any):
    self._object, self._what, self._owner = _Object(folder, client), what, Owner.me()
    self._take()
    self._heard = _clock()
    self._writing, self._released = threading.Lock(), threading.Event()
    self._thread = threading.Thread(target=self._beat_often, name="lock", daemon=True)
    self._thread.start()

  def _take(self) -> None:
    first = None
    while not self._write("0"):
      found = self._object.read()
      if found is None:  # the lock has just been released
        continue
      if found.owner.token == self._owner.token:  # we wrote it, but the answer was lost
        self._generation = found.generation
        return
      alive = found.owner.alive()
      if alive or first and first.generation != found.generation:
        raise _held(self._what, found.owner)
      if alive is False or found.age_s > _EXPIRE_SECONDS:
        if self._write(found.generation):
          return
        continue
      if not first:
        first = found
        print(f"{self._what}: another process wrote there {found.age_s:.0f} s ago ({found.owner}); waiting "
              f"{max(1, _EXPIRE_SECONDS - found.age_s):.0f} s at most to see whether it still does", flush=True)
      time.sleep(max(0.1, min(_BEAT_SECONDS / 4, _EXPIRE_SECONDS - found.age_s)))

  def _write(self, generation: str) -> bool:
    """Writes the lock if it still has that generation; "0" means that there must be no lock. Returns whether it did."""
    written = self._object.write(self._owner.write(), generation)
    self._generation = written or getattr(self, "_generation", "0")
    return written is not None

  def _beat(self) -> None:
    """Gives a sign of life. Ends this process if another one has taken the folder over."""
    with self._writing:
      if self._released.is_set():
        return
      if not self._write(self._generation):
        found = self._object.read()
        if found is None:  # somebody has removed it
          if not self._write("0"):
            return  # another process has made a lock: the next sign of life shows which
        elif found.owner.token == self._owner.token:  # we wrote it before, but the answer was lost
          self._generation = found.generation
        else:
          _lost(self._what, str(found.owner))
      self._heard = _clock()

  def _beat_often(self) -> None:
    while not self._released.wait(_BEAT_SECONDS):
      try:
        self._beat()
      except Exception:  # any error of HTTP or Google's authentication
        # Nothing is lost unless another process wants the folder, and the next sign of life shows that. If the run's
        # own writes fail, too, they say why.
        continue

  def check(self) -> None:
    """Call this before a write. It ends this process if another one has taken the folder over during a long silence of
    this one, whose machine may have slept or been cut off."""
    if _clock() - self._heard > _EXPIRE_SECONDS / 2:
      self._beat()

  def release(self) -> None:
    """Lets other processes take the folder."""
    with self._writing:
      self._released.set()
      self._object.remove(self._generation)
    self._thread.join()


def _clock() -> float:
  """Seconds of a clock that goes on while the machine sleeps."""
  return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def holder_of_object(folder: str, client: Any) -> Owner | None:
  """The owner of a folder in a bucket, as far as is known."""
  found = _Object(folder, client).read()
  return None if found is None or found.age_s > _EXPIRE_SECONDS or found.owner.alive() is False else found.owner


class _Object:
  """A lock's object. All times are the server's."""

  def __init__(self, folder: str, client: Any):
    self._bucket, _, name = folder.removeprefix("gs://").partition("/")
    self._name = f"{name.strip('/')}/{_NAME}".lstrip("/")
    self._client = client

  def write(self, content: bytes, generation: str) -> str | None:
    """Returns the new generation; None, and writes nothing, if the object has another generation than the given one."""
    url = self._client.base.replace("/storage/v1/", "/upload/storage/v1/") + "b/{}/o"
    try:
      written = self._client.call(
          "POST", url, self._bucket, uploadType="media", name=self._name, ifGenerationMatch=generation, data=content,
          headers={"Content-Type": "text/plain"}, json_out=True)
    except FileExistsError:  # gcsfs raises it for status 412
      return None
    return written["generation"]

  def read(self) -> _Sign | None:
    """Reads the object; returns None if there is none."""
    try:
      headers, metadata = self._client.call("GET", "b/{}/o/{}", self._bucket, self._name)
      metadata = json.loads(metadata)
      _, content = self._client.call("GET", "b/{}/o/{}", self._bucket, self._name, alt="media")
    except FileNotFoundError:
      return None
    age = email.utils.parsedate_to_datetime(headers["Date"]) - datetime.datetime.fromisoformat(metadata["updated"])
    return _Sign(metadata["generation"], max(0.0, age.total_seconds()), Owner.read(content))

  def remove(self, generation: str) -> None:
    """Removes the object if it still has this generation."""
    with contextlib.suppress(FileNotFoundError, FileExistsError):
      self._client.call("DELETE", "b/{}/o/{}", self._bucket, self._name, ifGenerationMatch=generation)
