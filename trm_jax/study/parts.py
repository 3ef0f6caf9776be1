# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Parts of this machine, so that several programs run on it side by side, each with devices of its own."""

from collections.abc import Mapping
import dataclasses
import json
import os
import subprocess
import sys

from trm_jax.errors import TryAgain, UserError
from trm_jax.runtime import hosts

# Prints what JAX finds on this host: the kind of the devices and their number.
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
  """What one of the programs gets.

  Attributes:
    environment: variables that show it its own accelerator alone.
    cores: the processor cores it may use; None for all.
  """

  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cores: tuple[int, ...] | None = None


def split(number: int, flag: str) -> list[Part]:
  """Shares the machine out: a GPU or TPU chip each or, where JAX finds neither, processor cores.

  The devices are counted in a process of its own, since a process that has counted them holds them.

  Args:
    number: of parts. Cores are shared out as equally as they can be; accelerators beyond this number stay idle.
    flag: that asked for them, for messages.

  Raises:
    UserError: there are fewer devices, or JAX finds none of the kind that it was told to use.
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
  """Shares out devices.

  Args:
    number: of parts.
    backend: JAX's name for the kind of the devices.
    count: of the GPUs or TPU chips; of no meaning for other devices.
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
