# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The exceptions that mean "the user can correct this", and the causes of libraries' errors."""

from collections.abc import Iterator
import dataclasses
import enum
import errno
import os
import re
import socket
import ssl
import traceback


# The largest floating-point number of 32 bits.
_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127


class UserError(ValueError):
  """A mistake in a user's input or machine: a flag, a config, a file, a full disk.

  The message is one line that names the thing, its value, the rule it breaks and what to do. Command-line
  programs print it without a traceback and exit with `status`. Any other exception is our bug and keeps its
  traceback.

  Attributes:
    status: exit status of programs.
  """

  status = 2

  def __str__(self) -> str:
    return without_passwords(super().__str__())


class TryAgain(UserError):
  """A failure outside the program that may be over when the same command is started again: of another process of the
  job, the network, a bucket."""

  status = 76


class Damaged(UserError):
  """A file or checkpoint could be read, but its content is wrong: cut off, changed, or of another kind."""


class OtherSizeError(UserError):
  """A puzzle has another number of cells than config.data says."""


def in_one_line(error: BaseException) -> str:
  """The message of a library's error, on one line and without passwords; the error's name if it has no message."""
  return without_passwords(" ".join(str(error).split())) or type(error).__name__


def without_passwords(text: str) -> str:
  """A text for people in which addresses such as https://USER:PASSWORD@HOST have lost what stands before the host."""
  return re.sub(r"(?<=://)[^/\s]*@", "", text)


def check_number(name: str, value: int | float) -> None:
  """Makes sure that a number fits the 32 bits that devices compute with.

  Args:
    name: of the flag or knob, for the message.
    value: the number.

  Raises:
    UserError: an integer or a floating-point number is beyond 32 bits, or is infinity or NaN.
  """
  if isinstance(value, int) and not -(2**31) <= value < 2**31:
    # Python refuses to write out numbers of thousands of digits.
    text = str(value) if value.bit_length() < 200 else f"{'-' * (value < 0)}2^{value.bit_length() - 1} and more"
    raise UserError(f"{name} = {text}: must lie within 32 bits, from -2147483648 to 2147483647")
  if isinstance(value, float) and not abs(value) <= _MAX_FLOAT32:  # nor is NaN
    raise UserError(f"{name} = {value}: must be a finite number that 32 bits can hold, at most {_MAX_FLOAT32:.2g}")


def mistake_in(path: str, error: BaseException) -> UserError | None:
  """The mistake in a user's Python file, with its line.

  Args:
    path: of the file.
    error: raised while the file was read or run, or one that wraps it.

  Returns:
    An error to be raised `from error`; None if it does not come from the file.
  """
  for one in _chain(error):
    if isinstance(one, SyntaxError):
      where = f"{one.filename or path}, line {one.lineno}" if one.lineno else one.filename or path
      return UserError(f"{where}: {one.msg}")
    lines = [frame.lineno for frame in traceback.extract_tb(one.__traceback__)
             if os.path.abspath(frame.filename) == os.path.abspath(path)]
    if lines:  # this includes errors of our functions that are called there
      return one if isinstance(one, UserError) else UserError(
          f"{path}, line {lines[-1]}: {type(one).__name__}: {_shortened(in_one_line(one))}")
  return None


class Kind(enum.Enum):
  """Kinds of failure, by what a user can do about them."""

  SPACE = enum.auto()  # the disk or the quota is full, or a limit on the size of files is reached
  PERMISSION = enum.auto()
  OPEN_FILES = enum.auto()  # this process or this machine has too many of them
  NETWORK = enum.auto()
  MEMORY = enum.auto()  # of this machine
  DEVICE_MEMORY = enum.auto()
  DISK = enum.auto()  # the hardware, or a file system over a network
  PATH = enum.auto()  # it cannot be a path of the wanted kind
  MISSING = enum.auto()
  OTHER = enum.auto()  # only the library's own words are known


@dataclasses.dataclass(frozen=True)
class Cause:
  """Why something failed.

  Attributes:
    kind: of cause.
    words: one line, without the path.
    path: of the file or folder concerned; "" if it is not known or is in the words.
    advice: what to do about it; "" if that is not known.
  """

  kind: Kind
  words: str
  path: str = ""
  advice: str = ""

  @property
  def outside(self) -> bool:
    """Whether the machine or the network failed, which says nothing about the thing to be read or written."""
    return self.kind not in (Kind.MISSING, Kind.PATH, Kind.OTHER)


_ADVICE = {
    Kind.SPACE: "free some space",
    Kind.PERMISSION: "check who may read and write there",
    Kind.OPEN_FILES: "allow more open files with `ulimit -n`",
    Kind.NETWORK: "check the network and start the same command again",
    Kind.MEMORY: "end other programs or use a machine with more memory",
    Kind.DEVICE_MEMORY: ("in training, lower config.batch_size or raise config.compute.micro_batches; in evaluation, "
                         "lower eval.batch_size; or use more or larger devices"),
    Kind.DISK: "the disk or its server fails: look at the machine's log",
}
_PATH_ADVICE = {
    "ENAMETOOLONG": "choose shorter names",
    "ENOTDIR": "a file stands where a folder is needed",
    "EISDIR": "a folder stands where a file is needed",
    "ELOOP": "correct the symbolic links, which form a loop",
    "EEXIST": "",
}
_ERRNOS = {
    getattr(errno, name): kind for kind, names in {
        Kind.SPACE: ("ENOSPC", "EDQUOT", "EFBIG"),
        Kind.PERMISSION: ("EACCES", "EPERM", "EROFS"),
        Kind.OPEN_FILES: ("EMFILE", "ENFILE"),
        Kind.NETWORK: ("ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT", "ENETUNREACH", "ENETDOWN",
                       "ENETRESET", "EHOSTUNREACH", "EHOSTDOWN"),
        Kind.MEMORY: ("ENOMEM",),
        Kind.DISK: ("EIO", "ESTALE"),
        Kind.PATH: tuple(_PATH_ADVICE),
        Kind.MISSING: ("ENOENT",),
    }.items() for name in names
}
# Statuses of gRPC and Abseil, with which messages of JAX and TensorStore begin.
_STATUSES = {
    "PERMISSION_DENIED": Kind.PERMISSION,
    "UNAUTHENTICATED": Kind.PERMISSION,
    "NOT_FOUND": Kind.MISSING,
    "UNAVAILABLE": Kind.NETWORK,
    "DEADLINE_EXCEEDED": Kind.NETWORK,
    "RESOURCE_EXHAUSTED": Kind.NETWORK,  # of a bucket: too many requests
}
# The number of a system's error, as TensorStore ("[os_error_code='28']") and Rust ("(os error 28)") write it.
_OS_ERROR = re.compile(r"os[ _]error(?:_code)?[ =']+(\d+)")


def cause_of(error: BaseException) -> Cause:
  """The true cause of an error: its own, or that of an error that a library has wrapped.

  Args:
    error: an error of the operating system, or of a library that met one: Orbax, TensorStore, JAX, safetensors, ….

  Returns:
    The outermost cause that is known. A missing file counts only if no other cause is known, since it is often a
    consequence.
  """
  found = [cause for cause in map(_own_cause, _chain(error)) if cause]
  found.sort(key=lambda cause: (cause.kind is Kind.OTHER, cause.kind is Kind.MISSING))  # the order is otherwise kept
  return found[0] if found else Cause(Kind.OTHER, _shortened(in_one_line(error)))


def explained(what: str, error: BaseException, elsewhere: str = "") -> UserError:
  """A message that says what failed, why, and what to do: "WHAT (cause); advice".

  Args:
    what: the thing by its name, and what could not be done.
    error: the reason.
    elsewhere: advice that names another place; used if another place may help.

  Returns:
    An error to be raised `from error`; TryAgain if the failure may be over when the same command is started again.
  """
  cause = cause_of(error)
  if elsewhere and cause.kind in (Kind.PATH, Kind.MISSING, Kind.OTHER):
    advice = elsewhere
  elif elsewhere and cause.kind in (Kind.SPACE, Kind.PERMISSION):
    advice = f"{cause.advice} or {elsewhere}"
  else:
    advice = cause.advice
  words = cause.words if cause.path in what else f"{cause.words}: {cause.path}"
  return (TryAgain if cause.kind is Kind.NETWORK else UserError)(f"{what} ({words}){advice and f'; {advice}'}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
  """Yields an error and the errors that it wraps, or during whose handling it was raised, the outermost first."""
  seen = set()
  while error is not None and id(error) not in seen:
    seen.add(id(error))
    yield error
    if isinstance(error, BaseExceptionGroup):
      for one in error.exceptions:
        yield from _chain(one)
    error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _own_cause(error: BaseException) -> Cause | None:
  """The cause that an error itself states; None if it states none that we know."""
  text = in_one_line(error)
  if isinstance(error, (socket.gaierror, socket.herror, ssl.SSLError)):  # their numbers are not the operating system's
    return Cause(Kind.NETWORK, _shortened(text), advice=_ADVICE[Kind.NETWORK])
  if isinstance(error, OSError) and error.errno:
    path = error.filename
    return _of_errno(error.errno, os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else "")
  if type(error).__name__ == "JaxRuntimeError":  # by its name, so that JAX need not be imported
    # Its other messages about networks mean that a process of the job is lost; see exit_status.leave.
    out_of_memory = text.startswith("RESOURCE_EXHAUSTED:") or "out of memory" in text.lower()
    return Cause(Kind.DEVICE_MEMORY, _shortened(text), advice=_ADVICE[Kind.DEVICE_MEMORY]) if out_of_memory else None
  if isinstance(error, MemoryError):
    return Cause(Kind.MEMORY, _shortened(text), advice=_ADVICE[Kind.MEMORY])
  if (match := _OS_ERROR.search(text)) and int(match[1]) in _ERRNOS:
    return _of_errno(int(match[1]), next(reversed(re.findall(r'"(/[^"]*)"', text.split(" [tensorstore_spec=")[0])), ""))
  for number, kind in _ERRNOS.items():
    if os.strerror(number) in text:
      return Cause(kind, _shortened(text), advice=_advice(number))
  status = re.match(r"[A-Z_]+(?=:)", text)
  kind = _STATUSES.get(status[0]) if status else None
  return kind and Cause(kind, _shortened(text), advice=_ADVICE.get(kind, ""))


def _of_errno(number: int, path: str) -> Cause:
  return Cause(_ERRNOS.get(number, Kind.OTHER), os.strerror(number), path, _advice(number))


def _advice(number: int) -> str:
  return _PATH_ADVICE.get(errno.errorcode.get(number, ""), "") or _ADVICE.get(_ERRNOS.get(number), "")


def _shortened(text: str) -> str:
  """A library's one-line error without TensorStore's additions; a long one keeps its start, and its end, where the
  cause often is."""
  text = re.split(r" \[tensorstore_spec[\[=]", text)[0]
  return text if len(text) <= 200 else f"{text[:60]} … {text[-130:]}"
