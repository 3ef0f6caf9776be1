# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Lets the processes of a job find each other, by flags, environment or hardware."""

import dataclasses
import importlib.util
import os
import socket

from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import exit_status
from trm_jax.runtime import hosts


@dataclasses.dataclass(frozen=True)
class Job:
  """A process's place in a job. All attributes are None if JAX finds out by itself (Cloud TPU, Slurm, Open MPI).

  Attributes:
    address: of process 0.
    num_processes: of the job.
    process_id: number of this process.
  """

  address: str | None = None
  num_processes: int | None = None
  process_id: int | None = None


def find_job(address: str | None, num_processes: int | None, process_id: int | None) -> Job | None:
  """Finds out from flags, environment or hardware whether this process is one of several; returns None if it is alone.

  Args:
    address: HOST:PORT of process 0; None for the environment's JAX_COORDINATOR_ADDRESS.
    num_processes: None for JAX_NUM_PROCESSES; 1 means that the process is alone, whatever the hardware.
    process_id: None for JAX_PROCESS_ID.

  Raises:
    UserError: some of the three are missing or make no sense, or there is a TPU that JAX cannot use.
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
  chips = hosts.tpu_chips() if hosts.wants_tpu() else []
  if chips and not importlib.util.find_spec("libtpu"):
    # Otherwise each host would train by itself, on its CPU.
    raise UserError(f"this machine has TPU chips ({', '.join(chips)} on its PCI bus), but libtpu is not installed: "
                    'pip install -e ".[tpu]"; to use its CPU alone: JAX_PLATFORMS=cpu')
  return Job() if chips or _started_by_open_mpi() or _started_by_srun() else None


def _started_by_open_mpi() -> bool:
  """Whether mpirun started this process as one of several.

  Raises:
    UserError: it did, but JAX will not notice.
  """
  size = _from_environment("OMPI_COMM_WORLD_SIZE", 1)
  if size > 1 and "OMPI_MCA_orte_hnp_uri" not in os.environ:
    raise UserError(f"OMPI_COMM_WORLD_SIZE={size}: JAX finds the processes of Open MPI up to version 4 by itself, and "
                    "this one is newer, since OMPI_MCA_orte_hnp_uri is not set; give --coordinator_address, "
                    "--num_processes and --process_id, or --num_processes=1 for this process alone")
  return size > 1


def _started_by_srun() -> bool:
  """Whether srun started this process as one of several.

  SLURM_NTASKS is no sign of that: salloc's shell and sbatch's script also have it, for the whole allocation.
  SLURM_STEP_NUM_TASKS is 1 in the shell that salloc starts by srun on the first node. JAX needs the other variables.
  """
  needed = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
  return _from_environment("SLURM_STEP_NUM_TASKS", 1) > 1 and all(name in os.environ for name in needed)


def _from_environment(variable: str, default: int | None = None) -> int | None:
  """The number in an environment variable, `default` if it is not set. Raises UserError if it is not a number."""
  text = os.environ.get(variable)
  if text and not text.isdigit():
    raise UserError(f"{variable}={text}: must be a number")
  return int(text) if text else default


def join(job: Job, timeout_s: float) -> None:
  """Waits for the other processes. Must be called before anything else of JAX.

  Args:
    job: from `find_job`.
    timeout_s: how long to wait for them.

  Raises:
    TryAgain: they did not come, or cannot be found.
  """
  import jax  # pylint: disable=g-import-not-at-top

  if job.process_id == 0:
    port = job.address.rpartition(":")[2]
    try:  # JAX itself would end with a segmentation fault
      with socket.create_server(("", int(port))):
        pass
    except (OSError, OverflowError) as e:
      raise TryAgain(f"--coordinator_address={job.address}: process 0 cannot listen there ({e}); give all processes "
                     "another port") from e
  # JAX's handler of SIGTERM would replace ours.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
        job.address, job.num_processes, job.process_id, initialization_timeout=round(timeout_s),
        heartbeat_timeout_seconds=exit_status.HEARTBEAT_SECONDS, shutdown_timeout_seconds=exit_status.HEARTBEAT_SECONDS)
  except Exception as e:  # any error of cluster detection, DNS, gRPC or XLA
    which = f"process {job.process_id} of {job.num_processes} at {job.address}" if job.address else "this host"
    raise TryAgain(f"{which} cannot join the other processes within {timeout_s:.0f} s ({str(e).splitlines()[0]}); "
                    "start all of them again; --num_processes=1 runs this host alone") from e
