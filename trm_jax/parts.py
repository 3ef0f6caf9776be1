# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Parts of this machine, so that several programs run on it side by side, each with devices of its own."""

from collections.abc import Mapping
import dataclasses
import json
import os
import subprocess
import sys

from trm_jax.errors import TryAgain, UserError

# Prints what JAX finds here: the kind of the devices and their number.
_FIND_DEVICES = "import jax, json; print(json.dumps([jax.default_backend(), jax.local_device_count()]))"


@dataclasses.dataclass(frozen=True)
class Part:
  """What one of the programs gets.

  Attributes:
    environment: variables that show it its own accelerators alone.
    cores: the processor cores it may use; None for all.
  """

  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cores: tuple[int, ...] | None = None


def split(number: int, flag: str) -> list[Part]:
  """Shares the machine out: its GPUs or, where JAX finds none, its processor cores.

  The devices are counted in a process of its own, since a process that has counted them holds them.

  Args:
    number: of parts, of equal size for GPUs and as equal as they can be for cores.
    flag: that asked for them, for messages.

  Raises:
    UserError: the devices cannot be shared out like that, or JAX finds none.
    TryAgain: JAX cannot use the devices now.
  """
  if number == 1:
    return [Part()]
  found = subprocess.run([sys.executable, "-c", _FIND_DEVICES], capture_output=True, text=True)
  if found.returncode:
    said = found.stderr.strip().splitlines() or ["nothing was said"]
    raise TryAgain(f"{flag}={number}: JAX cannot use this machine's devices ({said[-1]})")
  return share_out(number, *json.loads(found.stdout.splitlines()[-1]), flag)


def share_out(number: int, backend: str, count: int, flag: str) -> list[Part]:
  """Shares out devices.

  Args:
    number: of parts.
    backend: JAX's name for the kind of the devices.
    count: of the devices.
    flag: see `split`.

  Raises:
    UserError: see `split`.
  """
  if backend == "cpu":
    cores = sorted(os.sched_getaffinity(0))
    if number > len(cores):
      raise UserError(f"{flag}={number}: this machine has {len(cores)} processor cores; ask for no more runs than that")
    bounds = [len(cores) * i // number for i in range(number + 1)]
    return [Part(cores=tuple(cores[start:end])) for start, end in zip(bounds, bounds[1:])]
  if backend != "gpu":
    raise UserError(f"{flag}={number}: cannot share out devices of the kind {backend!r}; start one run after another")
  if count % number:
    raise UserError(f"{flag}={number}: does not divide the {count} GPUs here")
  # The caller may see some of the machine's GPUs only, and these by any names that CUDA has for them.
  names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
  size, gpus = count // number, names.split(",")
  return [Part({"CUDA_VISIBLE_DEVICES": ",".join(gpus[i * size : (i + 1) * size])}) for i in range(number)]
