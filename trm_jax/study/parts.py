# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Divides this machine into parts, so that several programs run side by side, each on devices of its own."""

from collections.abc import Mapping
import dataclasses
import json
import os
import subprocess
import sys

from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import hosts

# Prints the kind and the number of the devices that JAX finds on this host.
_FIND_DEVICES = """
from trm_jax import cli
from trm_jax.runtime import hosts
def main(argv):
  hosts.stay_alone()
  import jax, json
  print(json.dumps([jax.default_backend(), jax.local_device_count()]))
cli.run(main)
"""


@dataclasses.dataclass(frozen=True)
class Part:
  """The part of the machine that one program gets.

  Attributes:
    environment: variables that hide all accelerators but its own.
    cores: the processor cores that it may use; None for all.
  """

  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cores: tuple[int, ...] | None = None


def split(number: int, flag: str) -> list[Part]:
  """Divides the machine: each part gets one GPU or TPU chip or, if JAX finds neither, processor cores.

  A separate process counts the devices, since a process that has counted them keeps them.

  Args:
    number: how many parts to make. Cores are divided as equally as possible; surplus accelerators stay idle.
    flag: the flag that asked for the parts, for messages.

  Raises:
    UserError: there are fewer devices than parts, or JAX finds none of the kind that it was told to use.
    TryAgain: JAX cannot use the devices now.
  """
  if number == 1:
    return [Part()]
  found = subprocess.run([sys.executable, "-c", _FIND_DEVICES], capture_output=True, text=True)
  if found.returncode:
    said = (found.stderr.strip().splitlines() or ["nothing was said"])[-1].removeprefix("error: ")
    kind = TryAgain if found.returncode == TryAgain.status else UserError
    raise kind(f"{flag}={number}: the devices of this machine cannot be counted: {said}")
  backend, count = json.loads(found.stdout.splitlines()[-1])
  if backend == "tpu":
    count = len(hosts.tpu_chips())  # some generations have two devices a chip
  return share_out(number, backend, count, flag)


def share_out(number: int, backend: str, count: int, flag: str) -> list[Part]:
  """Divides devices that have been counted.

  Args:
    number: how many parts to make.
    backend: JAX's name for the kind of device.
    count: number of GPUs or TPU chips; ignored for other devices.
    flag: see `split`.

  Raises:
    UserError: see `split`.
  """
  alone = {"gpu": hosts.gpu_alone, "tpu": hosts.chip_alone}.get(backend)
  cores = sorted(os.sched_getaffinity(0))
  what, available = ({"gpu": "GPUs", "tpu": "TPU chips"}[backend], count) if alone else ("processor cores", len(cores))
  if number > available:
    raise UserError(f"{flag}={number}: this machine has {available} {what}; ask for no more runs than that")
  if alone:
    return [Part(alone(i)) for i in range(number)]
  bounds = [len(cores) * i // number for i in range(number + 1)]
  return [Part(cores=tuple(cores[start:end])) for start, end in zip(bounds, bounds[1:])]
