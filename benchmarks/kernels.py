# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The largest kernels of a named config's training step, from a trace of JAX's profiler.

    python -m benchmarks.kernels --name=baseline --trace=FOLDER

On a GPU these are the kernels of its streams. On a CPU the rows are the operations of the compiled program, with times
summed over the threads that computed them.
"""

import collections
from collections.abc import Iterator
import dataclasses
import pathlib
import re
import tempfile
import time

from absl import flags
import jax

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.errors import UserError

_STEPS = flags.DEFINE_integer("steps", 3, "Steps to trace, in one call.", lower_bound=1)
_LARGEST = flags.DEFINE_integer("largest", 10, "Number of kernels in the table.", lower_bound=1)
_TRACE = flags.DEFINE_string("trace", None, "Folder in which the trace stays, for XProf; default: none.")

# Operations of a CPU's program that contain other operations.
_CONTAINERS = {"while", "call", "conditional"}
_NAME_LENGTH = 60  # limit on the C++ names of libraries' kernels, which may have hundreds of letters


@dataclasses.dataclass
class Kernel:
  """All launches of one kernel. Attributes: the program's operation that launched it; calls; seconds."""

  operation: str = ""
  calls: int = 0
  seconds: float = 0.0


def read(trace: pathlib.Path) -> dict[str, Kernel]:
  """The kernels of a trace by name, the largest first.

  Args:
    trace: folder that jax.profiler.trace has written.

  Raises:
    UserError: the trace has no kernels.
  """
  kernels = collections.defaultdict(Kernel)
  for file in trace.rglob("*.xplane.pb"):
    for name, operation, seconds in _launches(jax.profiler.ProfileData.from_file(str(file))):
      kernel = kernels[name]
      kernel.operation = kernel.operation or operation
      kernel.calls += 1
      kernel.seconds += seconds
  if not kernels:
    raise UserError(f"{trace}: the trace has no kernels; on a GPU, JAX's profiler needs NVIDIA's CUPTI")
  return dict(sorted(kernels.items(), key=lambda item: -item[1].seconds))


def _launches(profile: jax.profiler.ProfileData) -> Iterator[tuple[str, str, float]]:
  """Yields name, operation and seconds of each launch."""
  planes = list(profile.planes)
  devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
  for plane in devices or planes:
    for line in plane.lines:
      if devices and not line.name.startswith("Stream"):  # others are sums of the same kernels
        continue
      for event in line.events:
        operation = str(dict(event.stats).get("hlo_op", ""))
        if devices:
          yield event.name, operation, event.duration_ns / 1e9
        elif operation and re.sub(r"[.\d]+$", "", operation) not in _CONTAINERS:
          yield event.name, operation, event.duration_ns / 1e9


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  configs = cases.configs()
  if len(configs) != 1:
    raise UserError(f"{len(configs)} configs are named; a trace is of one")
  [config], num_steps = configs, _STEPS.value
  step = cases.TrainStep(config, num_steps)
  step()  # work that happens only once is not traced
  with tempfile.TemporaryDirectory() as folder:
    trace = pathlib.Path(_TRACE.value or folder)
    with jax.profiler.trace(str(trace)):
      start = time.perf_counter()
      step()
      seconds = time.perf_counter() - start
    kernels = read(trace)

  total = sum(kernel.seconds for kernel in kernels.values())

  def row(name, operation, calls, kernel_seconds):
    return {"kernel": name, "operation": operation or "-", "launches a step": f"{calls / num_steps:.4g}",
            "ms a step": f"{1000 * kernel_seconds / num_steps:.3g}", "of all kernels": f"{kernel_seconds / total:.1%}"}

  names = list(kernels)[:_LARGEST.value]
  rows = [row(name[:_NAME_LENGTH], kernels[name].operation, kernels[name].calls, kernels[name].seconds)
          for name in names]
  if rest := [kernel for name, kernel in kernels.items() if name not in names]:
    rows.append(row(f"{len(rest)} smaller ones", "", sum(k.calls for k in rest), sum(k.seconds for k in rest)))
  measure.report(
      f"Largest kernels of {num_steps} training steps of {config.name}, batch {config.batch_size}, "
      f"{config.model.dtype}: {1000 * total / num_steps:.4g} ms of kernels and {1000 * seconds / num_steps:.4g} ms a "
      "step while traced", rows,
      {"seconds": seconds, "steps": num_steps,
       "kernels": {name: dataclasses.asdict(kernel) for name, kernel in kernels.items()}})


if __name__ == "__main__":
  cli.run(main)
