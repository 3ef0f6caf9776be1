# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Several processes as one job: how they find each other, agree, stop together, and notice that one of them is gone.

JAX is imported in functions only: `guard` has to run before it.
"""

import _thread
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
import contextlib
import ctypes
import dataclasses
import faulthandler
import importlib.util
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn, TypeVar

from trm_jax import output
from trm_jax.errors import TryAgain, UserError

# Exit statuses besides 0, and 2 for a person's mistake.
PREEMPTED = 75  # told to stop; what there was to save is saved. EX_TEMPFAIL: start the same command again
INTERRUPTED = 130  # the same by Ctrl-C, as shells say it
PEER_LOST = TryAgain.status  # another process died or hung; start the same command again

# A process that has not sent a sign of life for so long counts as dead, whatever it is doing.
HEARTBEAT_SECONDS = 60

# Where Linux lists what is on the PCI bus; and what JAX takes for a TPU chip there, Google's number as a vendor and
# those of its chips. They stand in jax._src.hardware_utils, too, but that cannot be imported without JAX.
_PCI_DEVICES = pathlib.Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"
_TPUS = frozenset({"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"})

_T = TypeVar("_T")
# Room for the line that all processes end with.
_LINE_BYTES = 2000
# Room for the name of a host, whose limit is 64 on Linux.
_HOST_BYTES = 64


@dataclasses.dataclass(frozen=True)
class Job:
  """How this process finds the others. Attributes: address of process 0, number of processes, this one's number;
  all None where JAX finds out by itself (Cloud TPU, Slurm, Open MPI)."""

  address: str | None = None
  num_processes: int | None = None
  process_id: int | None = None


class Interrupted(Exception):
  """The job was told to stop, and every process has saved the same step. Attributes: status, to exit with."""

  def __init__(self, status: int):
    super().__init__(status)
    self.status = status


def find_job(address: str | None, num_processes: int | None, process_id: int | None) -> Job | None:
  """Whether this process is one of several, by flags, environment or hardware; None if it is alone.

  Args:
    address: HOST:PORT of process 0; None for the environment's JAX_COORDINATOR_ADDRESS.
    num_processes: None for JAX_NUM_PROCESSES. 1 says: alone, whatever the hardware looks like.
    process_id: None for JAX_PROCESS_ID.

  Raises:
    UserError: some of the three are missing or make no sense; or there is a TPU that JAX cannot use.
  """
  address = address or os.environ.get("JAX_COORDINATOR_ADDRESS")
  if num_processes is None:
    num_processes = _from_environment("JAX_NUM_PROCESSES")
  if process_id is None:
    process_id = _from_environment("JAX_PROCESS_ID")
  if num_processes == 1:
    return None
  given = {"--coordinator_address (or JAX_COORDINATOR_ADDRESS)": address,
           "--num_processes (or JAX_NUM_PROCESSES)": num_processes, "--process_id (or JAX_PROCESS_ID)": process_id}
  missing = [name for name, value in given.items() if value is None]
  if len(missing) < len(given):
    if missing:
      raise UserError(f"{' and '.join(missing)} missing: give all three, or none where the processes find each other "
                      "by themselves (Cloud TPU, Slurm, Open MPI)")
    if not 0 <= process_id < num_processes:
      raise UserError(f"--process_id={process_id}: must lie in [0, {num_processes}), the number of processes")
    if not address.rpartition(":")[2].isdigit():
      raise UserError(f"--coordinator_address={address}: must be HOST:PORT")
    return Job(address, num_processes, process_id)
  chips = tpu_chips() if _wants_tpu() else []
  if chips and not importlib.util.find_spec("libtpu"):
    # Each host would train for itself, on its CPU.
    raise UserError(f"this machine has TPU chips ({', '.join(chips)} on its PCI bus), but libtpu is not installed: "
                    'pip install -e ".[tpu]"; to use its CPU alone: JAX_PLATFORMS=cpu')
  return Job() if chips or _started_by_open_mpi() or _started_by_srun() else None


def tpu_chips() -> list[str]:
  """Addresses on the PCI bus of the TPU chips of this machine, e.g. "0000:00:04.0".

  A file's name alone says nothing: drivers of other accelerators make /dev/accel0 and /dev/vfio/0, too. Nor does the
  vendor alone: Google also makes the network card and the disk of its virtual machines.
  """
  def read(path):
    try:
      return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:  # a device that was just taken away
      return ""

  return [device.name for device in sorted(_PCI_DEVICES.glob("*"))
          if read(device / "vendor") == _GOOGLE and read(device / "device") in _TPUS]


def host_alone(num_chips: int) -> dict[str, str]:
  """The environment in which a process has all chips of this host, and does not wait for the other hosts of the slice.

  Without it libtpu asks Google's metadata server which slice the host belongs to, and waits for all of it. Variables
  and shapes are those of JAX's own tests of several processes on a TPU VM (jax._src.test_multiprocess).

  Args:
    num_chips: that the host has; see `tpu_chips`.

  Raises:
    UserError: it is not known how so many are laid out.
  """
  bounds = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}.get(num_chips)
  if bounds is None:
    raise UserError(f"this host has {num_chips} TPU chips, and how they are laid out is known for 1, 2, 4 and 8 alone; "
                    "set TPU_CHIPS_PER_PROCESS_BOUNDS=X,Y,Z and TPU_PROCESS_BOUNDS=1,1,1")
  return _ALONE | _tpu_environment(bounds, range(num_chips))


def chip_alone(chip: int) -> dict[str, str]:
  """The environment in which a process has one TPU chip of this host, beside processes that have the others.

  Args:
    chip: its number on the host, from 0.
  """
  # libtpu lets one process at a time use a host, unless it is told that there are several.
  return _ALONE | _tpu_environment("1,1,1", [chip]) | {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def gpu_alone(gpu: int) -> dict[str, str]:
  """The environment in which a process has one NVIDIA GPU of this machine.

  Args:
    gpu: its number, from 0, among those that this process may see.

  Raises:
    UserError: there are fewer in CUDA_VISIBLE_DEVICES.
  """
  visible = os.environ.get("CUDA_VISIBLE_DEVICES")
  if visible is None:
    return _ALONE | {"CUDA_VISIBLE_DEVICES": str(gpu)}
  names = visible.split(",") if visible else []
  if gpu >= len(names):
    raise UserError(f"CUDA_VISIBLE_DEVICES={visible}: names {len(names)} GPUs, and number {gpu} was asked for, from 0")
  return _ALONE | {"CUDA_VISIBLE_DEVICES": names[gpu]}


# Has `find_job` find none.
_ALONE = {"JAX_NUM_PROCESSES": "1"}
# Variables by which libtpu, or those of its older names, is told its place in a slice instead of asking for it.
_TOPOLOGY = ("CLOUD_TPU_TASK_ID", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES", "TPU_PROCESS_PORT",
             "TPU_PROCESS_BOUNDS", "TPU_HOST_BOUNDS", "TPU_CHIPS_PER_PROCESS_BOUNDS", "TPU_CHIPS_PER_HOST_BOUNDS",
             "TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES", "TPU_MESH_CONTROLLER_ADDRESS", "TPU_MESH_CONTROLLER_PORT")


def _tpu_environment(bounds: str, chips: Sequence[int]) -> dict[str, str]:
  port = str(8476 + chips[0])  # the first is libtpu's default; processes beside each other need one each
  return {"CLOUD_TPU_TASK_ID": "0", "TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": bounds,
          "TPU_VISIBLE_CHIPS": ",".join(map(str, chips)), "TPU_PROCESS_ADDRESSES": f"localhost:{port}",
          "TPU_PROCESS_PORT": port}


def stay_alone() -> None:
  """Has this process use the chips of this host alone, where it is one of several hosts of a TPU slice.

  To be called before JAX touches a device. Does nothing where there are no chips, or where the environment already says
  how the slice is laid out: half of each would be worse than either.

  Raises:
    UserError: see `host_alone`.
  """
  chips = tpu_chips() if _wants_tpu() else []
  if chips and not any(name in os.environ for name in _TOPOLOGY):
    os.environ.update(host_alone(len(chips)))


def _wants_tpu() -> bool:
  return not os.environ.get("JAX_PLATFORMS") or "tpu" in os.environ["JAX_PLATFORMS"]


def _started_by_open_mpi() -> bool:
  """Whether mpirun started this process as one of several.

  Raises:
    UserError: it did, but JAX will not see it.
  """
  size = _from_environment("OMPI_COMM_WORLD_SIZE", 1)
  if size > 1 and "OMPI_MCA_orte_hnp_uri" not in os.environ:
    raise UserError(f"OMPI_COMM_WORLD_SIZE={size}: JAX finds the processes of Open MPI up to version 4 by itself, and "
                    "this is a newer one, since OMPI_MCA_orte_hnp_uri is not set; give --coordinator_address, "
                    "--num_processes and --process_id, or --num_processes=1 for this process alone")
  return size > 1


def _started_by_srun() -> bool:
  """Whether srun started this process as one of several.

  SLURM_NTASKS is no sign of it: a shell of salloc and the script of sbatch have it, too, for the whole allocation.
  SLURM_STEP_NUM_TASKS is 1 in the shell that salloc starts by srun on the first node. The others are what JAX needs.
  """
  needed = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
  return _from_environment("SLURM_STEP_NUM_TASKS", 1) > 1 and all(name in os.environ for name in needed)


def _from_environment(variable: str, default: int | None = None) -> int | None:
  """The number in an environment variable, `default` where it is not set. Raises UserError if it holds no number."""
  text = os.environ.get(variable)
  if text and not text.isdigit():
    raise UserError(f"{variable}={text}: must be a number")
  return int(text) if text else default


def guard() -> None:
  """Forks: the child returns and works, the parent waits and turns how the child ends into a line and a status.

  When a peer dies, JAX aborts the whole process from one of its own threads: nothing in the process itself could still
  say what that means. Signals reach the child; it dies with its parent.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  # Those that are ignored (see Listener) would be waited for all the same, and handed on.
  waited_for = {signal.SIGCHLD, *(number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN)}
  before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)  # so that none is lost until it is waited for
  if _program:
    _program.close()  # a fork has no threads
  parent = os.getpid()
  child = os.fork()
  if not child:
    if _program:
      _program.open()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
      os._exit(128 + signal.SIGKILL)  # the parent had died already
    return
  ended = (0, 0)
  while not ended[0]:
    number = signal.sigwait(waited_for)
    if number == signal.SIGCHLD:
      ended = os.waitpid(child, os.WNOHANG)
    else:
      os.kill(child, number)  # a second time where a terminal has sent it to both
  status = os.waitstatus_to_exitcode(ended[1])
  if status == -signal.SIGABRT:
    _last_words("another process of this job is gone, never came, or was not heard of for "
                f"{HEARTBEAT_SECONDS} s: JAX ended this one too; the process that was lost says why; start the same "
                "command again to go on from the newest checkpoint")
    status = PEER_LOST
  elif status < 0:
    _last_words(f"ended by {signal.Signals(-status).name}"
                f"{' (out of memory?)' if status == -signal.SIGKILL else ''}; start the same command again to go on "
                "from the newest checkpoint")
    status = 128 - status
  os._exit(status)


def _last_words(message: str) -> None:
  print(f"error: {socket.gethostname()}: {message}", file=sys.stderr, flush=True)


def join(job: Job, timeout_s: float) -> None:
  """Waits for the other processes. Before anything else of JAX.

  Args:
    job: from `find_job`.
    timeout_s: how long to wait for them.

  Raises:
    TryAgain: they did not come, or cannot be found.
  """
  import jax  # pylint: disable=g-import-not-at-top

  if job.process_id == 0:
    port = job.address.rpartition(":")[2]
    try:  # JAX would end by a segmentation fault
      with socket.create_server(("", int(port))):
        pass
    except (OSError, OverflowError) as e:
      raise TryAgain(f"--coordinator_address={job.address}: process 0 cannot listen there ({e}); name another port, "
                     "to all processes") from e
  # Its handler of SIGTERM would take the place of ours.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
        job.address, job.num_processes, job.process_id, initialization_timeout=round(timeout_s),
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS, shutdown_timeout_seconds=HEARTBEAT_SECONDS)
  except Exception as e:  # whatever the cluster's detection, DNS, gRPC or XLA come up with
    which = f"process {job.process_id} of {job.num_processes} at {job.address}" if job.address else "this host"
    raise TryAgain(f"{which} cannot join the other processes within {timeout_s:.0f} s ({str(e).splitlines()[0]}); "
                    "start all of them again; --num_processes=1 runs this host alone") from e


def leave(status: int, error: BaseException | None = None) -> NoReturn:
  """Exits before the end of the job; the others notice. JAX's own way out would first wait for them to come along.

  Args:
    status: to exit with.
    error: that is the reason. One of JAX's runtime may be only the echo of a peer's death; then JAX will know within
      HEARTBEAT_SECONDS and end this process, with the status that says so.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  if "jax" not in sys.modules or not sys.modules["jax"].distributed.is_initialized():
    sys.exit(status)
  while error and not isinstance(error, sys.modules["jax"].errors.JaxRuntimeError):
    error = error.__cause__ or error.__context__
  if error:
    seconds = HEARTBEAT_SECONDS + 20
    print(f"waiting {seconds} s: perhaps another process of this job is gone", file=sys.stderr, flush=True)
    time.sleep(seconds)
  os._exit(status)


def leave_together(status: int) -> NoReturn:
  """Exits where all processes of the job do. Not by way of Python's end, at which C++ is taken apart under threads that
  still use it, and signals have their old effect again."""
  if "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
    sys.modules["jax"].distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def is_main() -> bool:
  """Whether this process is the one that writes and prints."""
  import jax  # pylint: disable=g-import-not-at-top

  return jax.process_index() == 0


def announce() -> None:
  """Writes this process's number to the file that TRM_JAX_PROCESS_FILE names, if it is set.

  On a TPU slice the numbers follow from the topology, and may be others at the next start: whoever started the
  processes cannot know which of them is the main one.
  """
  if path := os.environ.get("TRM_JAX_PROCESS_FILE"):
    import jax  # pylint: disable=g-import-not-at-top

    with open(path, "w") as file:
      file.write(str(jax.process_index()))


def say(text: str) -> None:
  """Prints, in the main process."""
  if is_main():
    print(text, flush=True)


def together(call: Callable[[], _T]) -> _T:
  """Makes a call in every process and waits for all. A person's mistake in one of them ends all, with the same line.

  The processes meet once a second until all calls are done: one that waits alone for a minute or more has some of JAX's
  ways to exchange numbers fail.

  Returns:
    What the call has returned here.

  Raises:
    UserError: of the first process in which the call has raised one; in every process.
  """
  import jax  # pylint: disable=g-import-not-at-top
  from jax.experimental import multihost_utils  # pylint: disable=g-import-not-at-top
  import numpy as np  # pylint: disable=g-import-not-at-top

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
  """Makes sure that all processes have the same of something.

  Args:
    what: it is, for the message.
    fingerprint: of it, 32 bits; not asked for where there is one process.

  Raises:
    UserError: another process has another one; in every process.
  """
  import jax  # pylint: disable=g-import-not-at-top
  from jax.experimental import multihost_utils  # pylint: disable=g-import-not-at-top
  import numpy as np  # pylint: disable=g-import-not-at-top

  if jax.process_count() == 1:
    return
  everyones = multihost_utils.process_allgather(np.uint32(fingerprint()))
  others = np.flatnonzero(everyones != everyones[0])
  if others.size:
    raise UserError(f"{names(others)}: another {what} than process 0's; all processes must have the same")


def names(processes: Iterable[int]) -> str:
  """What a person calls some processes: number and host of each. Every process must ask for them at the same place."""
  from jax.experimental import multihost_utils  # pylint: disable=g-import-not-at-top
  import numpy as np  # pylint: disable=g-import-not-at-top

  mine = np.zeros(_HOST_BYTES, np.uint8)
  name = socket.gethostname().encode()[:_HOST_BYTES]
  mine[: len(name)] = list(name)
  hosts = multihost_utils.process_allgather(mine)
  return ", ".join(f"process {i} on {bytes(hosts[i]).rstrip(bytes(1)).decode(errors='replace')}" for i in processes)


# What asks a program to stop. SIGHUP: its terminal was closed, or its connection broke.
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# One press of Ctrl-C may arrive several times: from the terminal, from the guard, from `timeout`.
_ONE_PRESS_SECONDS = 1.0
# The time that a program which ends at once has to put things away.
_TIDYING_SECONDS = 5.0


class Listener:
  """Hears SIGTERM, SIGHUP and Ctrl-C at once, in a thread of its own.

  Python runs handlers of signals in the main thread, and only when that comes back from C++: XLA may compile for
  minutes. Listeners nest: the one that was opened last hears, and gives way to the one before it when it is closed. A
  signal that was ignored when the program started stays ignored, as `nohup` wants it.

  Args:
    react: called in that thread with the number of a signal, and whether it is a second Ctrl-C (what comes within a
      second of the first is taken for the same press).

  Attributes:
    received: the first signal, or None; set when it has been reacted to.
  """

  def __init__(self, react: Callable[[int, bool], None]):
    self.received = None
    self._react = react
    self._pressed_at = None  # time of the first Ctrl-C
    self._raises = False

  @property
  def status(self) -> int | None:
    """The exit status that tells of the signal; None if there was none."""
    return _status(self.received) if self.received else None

  def open(self) -> None:
    """Begins to listen. To be called in the main thread, and so is `close`."""
    heard, self._told = os.pipe()
    os.set_blocking(self._told, False)
    self._thread = threading.Thread(target=self._listen, args=(heard,), name="signals", daemon=True)
    self._thread.start()
    self._told_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
    self._handlers_before = {number: signal.signal(number, self._in_main_thread) for number in _STOPPING
                             if signal.getsignal(number) != signal.SIG_IGN}

  def close(self) -> None:
    """Returns when all signals so far have been reacted to; later ones are the business of the listener before."""
    for number, handler in self._handlers_before.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._told_before)
    os.close(self._told)
    self._thread.join()

  def interrupt(self) -> None:
    """Raises KeyboardInterrupt in the main thread."""
    self._raises = True
    _thread.interrupt_main()

  def _in_main_thread(self, number, frame):
    # Python has written the number to the pipe already, which is all that this handler is installed for.
    if self._raises:
      raise KeyboardInterrupt

  def _listen(self, heard):
    while number := os.read(heard, 1):
      if number[0] in _STOPPING:
        self._hear(number[0])
    os.close(heard)

  def _hear(self, number):
    again = False
    if number == signal.SIGINT:
      now = time.monotonic()
      again = self._pressed_at is not None
      if again and now - self._pressed_at < _ONE_PRESS_SECONDS:
        return
      self._pressed_at = now
    output.hurry()
    self._react(number, again)
    self.received = self.received or number


def _status(number: int) -> int:
  return INTERRUPTED if number == signal.SIGINT else PREEMPTED


# The listener of the program, where it is one of ours.
_program: Listener | None = None
# Called when a program ends at once (see `end_when_told`), the last one first.
tidy_up: list[Callable[[], None]] = []


def end_when_told() -> None:
  """Has SIGTERM, SIGHUP and Ctrl-C end this program at once, wherever it is, except while `Signals` holds.

  Nothing is unwound, because other threads are in the middle of C++. What has to be put away nevertheless, such as a
  temporary folder, is the business of the functions in `tidy_up`.
  """
  global _program

  def react(number, again):
    if again or _program.received is None:
      _end(number, "stopping at once, since nothing is left to save")

  _program = Listener(react)
  _program.open()


def _end(number: int, why: str) -> NoReturn:
  output.interject(f"\n{signal.Signals(number).name}: {why}\n")

  def tidy():
    for function in reversed(tidy_up):
      function()
    sys.stdout.flush()

  # In a thread, because the main thread may hold the lock of a stream, or of anything else, for ever.
  thread = threading.Thread(target=tidy, daemon=True)
  thread.start()
  thread.join(_TIDYING_SECONDS)
  os._exit(_status(number))


class Signals(Listener):
  """Notes SIGTERM, SIGHUP and Ctrl-C from `hold` on, for a run to stop where that is safe.

  A second Ctrl-C ends the program at once, or raises KeyboardInterrupt where the program is not one of ours. A second
  SIGTERM or SIGHUP does nothing. A context manager: a signal that the run has not stopped for by its end counts then.
  """

  def __init__(self):
    super().__init__(self._note)
    self._holds = False

  def hold(self) -> None:
    """Notes signals from now on. Before, they have the effect that they had."""
    self.open()
    self._holds = True

  @contextlib.contextmanager
  def released(self) -> Iterator[None]:
    """Inside, signals have the effect that they had before `hold`; one that was noted has it at the beginning."""
    self._release()
    yield
    self.hold()

  def _release(self):
    self.close()
    self._holds = False
    if self.received:
      if _program:
        _program._hear(self.received)
      else:
        os.kill(os.getpid(), self.received)

  def _note(self, number, again):
    if again and _program:
      _end(number, "stopping at once")
    elif again:
      self.interrupt()
    elif self.received is None and is_main():
      hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
      output.interject(f"\n{signal.Signals(number).name}: saving and stopping{hint}\n")

  def __enter__(self) -> "Signals":
    return self

  def __exit__(self, exc_type, exc, traceback) -> None:
    if not self._holds:
      return
    if exc is None:
      self._release()
      return
    if _program:  # so that it ignores a second signal as well, and knows a second Ctrl-C
      _program.received, _program._pressed_at = self.received, self._pressed_at
    self.close()


class Agreement:
  """Small numbers that all processes must see alike at the same place of the program: the maximum of what each says.

  They travel through the devices, behind the work that is queued there, and are read one exchange late: so nobody waits
  for the exchange itself, and nobody runs more than one call ahead of the devices.

  Args:
    mesh: of the job.
    size: how many numbers.
  """

  def __init__(self, mesh: Any, size: int):
    import jax  # pylint: disable=g-import-not-at-top

    from trm_jax import sharding  # pylint: disable=g-import-not-at-top

    self._sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
    self._devices, self._size = mesh.size, size
    self._max = jax.jit(lambda x: x.max(0), out_shardings=sharding.replicated(mesh))
    self._pending = None

  def exchange(self, values: list[int]) -> list[int]:
    """Says `values`; returns what the exchange before this one agreed on, zeros at the first."""
    import jax  # pylint: disable=g-import-not-at-top
    import numpy as np  # pylint: disable=g-import-not-at-top

    mine = np.asarray([values], np.int32)
    everyones = jax.make_array_from_callback((self._devices, self._size), self._sharding, lambda _: mine)
    pending, self._pending = self._pending, self._max(everyones)
    return [0] * self._size if pending is None else jax.device_get(pending).tolist()


class Watchdog:
  """Ends a process of a job when nothing has moved for too long: it or a peer hangs, and would for ever.

  Args:
    timeout_s: seconds without `alive` after which it does; None for never.
  """

  def __init__(self, timeout_s: float | None):
    self._timeout_s = timeout_s
    self._closed = threading.Event()
    self.alive("starting")
    if timeout_s is not None:
      threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

  def alive(self, doing: str, *, extra_s: float = 0.0) -> None:
    """Something has moved.

    Args:
      doing: what comes next, for the message.
      extra_s: how much longer than `timeout_s` that may take.
    """
    self._doing, self._last = doing, time.monotonic() + extra_s

  def close(self) -> None:
    """Nothing more is expected to move."""
    self._closed.set()

  def _watch(self):
    while not self._closed.wait(min(1.0, self._timeout_s / 10)):
      if time.monotonic() - self._last > self._timeout_s:
        faulthandler.dump_traceback(all_threads=True)
        _last_words(f"nothing has moved for {self._timeout_s:.0f} s while {self._doing}: this process or another one "
                    "hangs; above is where this one is; start the same command again to go on from the newest "
                    "checkpoint (--peer_timeout_s sets how long to wait)")
        os._exit(PEER_LOST)
