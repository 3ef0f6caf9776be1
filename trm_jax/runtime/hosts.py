# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The accelerators of this host, and environments in which a process has some of them to itself."""

from collections.abc import Sequence
import os
import pathlib

from trm_jax.errors import UserError


# The folder in which Linux lists the devices on the PCI bus, Google's number as a vendor, and the numbers of its TPU
# chips as JAX knows them: jax._src.hardware_utils has them, too, but cannot be imported without JAX.
_PCI_DEVICES = pathlib.Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"
_TPUS = frozenset({"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"})


def tpu_chips() -> list[str]:
  """Addresses on the PCI bus of this machine's TPU chips, e.g. "0000:00:04.0".

  A file's name alone is no proof: drivers of other accelerators make /dev/accel0 and /dev/vfio/0, too. Nor is the
  vendor alone: Google also makes the network card and the disk of its virtual machines.
  """
  def read(path):
    try:
      return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:  # the device was just removed
      return ""

  return [device.name for device in sorted(_PCI_DEVICES.glob("*"))
          if read(device / "vendor") == _GOOGLE and read(device / "device") in _TPUS]


# Makes `find_job` find no job.
_ALONE = {"JAX_NUM_PROCESSES": "1"}
# Variables, some with older names, that tell libtpu its place in a slice, so that it does not ask for it.
_TOPOLOGY = ("CLOUD_TPU_TASK_ID", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES", "TPU_PROCESS_PORT",
             "TPU_PROCESS_BOUNDS", "TPU_HOST_BOUNDS", "TPU_CHIPS_PER_PROCESS_BOUNDS", "TPU_CHIPS_PER_HOST_BOUNDS",
             "TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES", "TPU_MESH_CONTROLLER_ADDRESS", "TPU_MESH_CONTROLLER_PORT")


def host_alone(num_chips: int) -> dict[str, str]:
  """The environment in which a process has all chips of this host and does not wait for the slice's other hosts.

  Without it, libtpu asks Google's metadata server which slice the host belongs to, and waits for the whole slice.
  Variables and shapes are those of JAX's own tests of several processes on a TPU VM (jax._src.test_multiprocess).

  Args:
    num_chips: number of the host's chips; see `tpu_chips`.

  Raises:
    UserError: the layout of this many chips is not known.
  """
  bounds = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}.get(num_chips)
  if bounds is None:
    raise UserError(f"this host has {num_chips} TPU chips, but their layout is known only for 1, 2, 4 and 8; "
                    "set TPU_CHIPS_PER_PROCESS_BOUNDS=X,Y,Z and TPU_PROCESS_BOUNDS=1,1,1")
  return _ALONE | _tpu_environment(bounds, range(num_chips))


def chip_alone(chip: int) -> dict[str, str]:
  """The environment in which a process has one TPU chip of this host, beside processes that have the others.

  Args:
    chip: its number on the host, from 0.
  """
  # libtpu lets only one process at a time use a host, unless it is told to expect several.
  return _ALONE | _tpu_environment("1,1,1", [chip]) | {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def gpu_alone(gpu: int) -> dict[str, str]:
  """The environment in which a process has one NVIDIA GPU of this machine.

  Args:
    gpu: its number, from 0, among those that this process may see.

  Raises:
    UserError: CUDA_VISIBLE_DEVICES names fewer GPUs.
  """
  visible = os.environ.get("CUDA_VISIBLE_DEVICES")
  if visible is None:
    return _ALONE | {"CUDA_VISIBLE_DEVICES": str(gpu)}
  names = visible.split(",") if visible else []
  if gpu >= len(names):
    raise UserError(f"CUDA_VISIBLE_DEVICES={visible}: names {len(names)} GPUs, but number {gpu} (from 0) is needed")
  return _ALONE | {"CUDA_VISIBLE_DEVICES": names[gpu]}


def _tpu_environment(bounds: str, chips: Sequence[int]) -> dict[str, str]:
  port = str(8476 + chips[0])  # 8476 is libtpu's default; processes side by side need different ports
  return {"CLOUD_TPU_TASK_ID": "0", "TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": bounds,
          "TPU_VISIBLE_CHIPS": ",".join(map(str, chips)), "TPU_PROCESS_ADDRESSES": f"localhost:{port}",
          "TPU_PROCESS_PORT": port}


def stay_alone() -> None:
  """Makes this process use only the chips of this host, even if the host is one of several in a TPU slice.

  Must be called before JAX touches a device. Does nothing if there are no chips, or if the environment already
  describes the slice: a mixture of both descriptions would be worse than either.

  Raises:
    UserError: see `host_alone`.
  """
  chips = tpu_chips() if wants_tpu() else []
  if chips and not any(name in os.environ for name in _TOPOLOGY):
    os.environ.update(host_alone(len(chips)))


def wants_tpu() -> bool:
  return not os.environ.get("JAX_PLATFORMS") or "tpu" in os.environ["JAX_PLATFORMS"]
