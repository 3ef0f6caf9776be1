# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The common part of benchmarks: timing by turns, a table and JSON, and facts about the machine."""

from collections.abc import Callable, Iterable, Mapping
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp

from trm_jax.errors import UserError
from trm_jax.runtime import sharding

_JSON = flags.DEFINE_string("json", None, "Also write the table, all times and the machine into this file.",
                            allow_override=True)  # trm_jax.solve has another; tests import both in one process
ROUNDS = flags.DEFINE_integer("rounds", 5, "Number of times that each case is timed, by turns.", lower_bound=1)


def by_turns(calls: Mapping[str, Callable[[], Any]], rounds: int, *, warm: int = 1) -> dict[str, list[float]]:
  """Seconds of each call in each round. Calls take turns, so that other work on the machine affects all alike.

  Args:
    calls: name -> function to time, which must not return before its work is done.
    rounds: number of timed rounds.
    warm: number of untimed rounds before them.
  """
  times = {name: [] for name in calls}
  for round_ in range(-warm, rounds):
    for name, call in calls.items():
      start = time.perf_counter()
      call()
      if round_ >= 0:
        times[name].append(time.perf_counter() - start)
    print(f"\rround {max(0, round_ + 1)}/{rounds}", end="", file=sys.stderr, flush=True)
  print(file=sys.stderr)
  return times


def calls_a_second(call: Callable[[], Any]) -> int:
  """How often a call fits into a second, at least 1; measured by two calls."""
  call()
  start = time.perf_counter()
  call()
  return max(1, int(1 / (time.perf_counter() - start)))


class MatrixProducts:
  """Successive products of large square matrices on all devices, as a limit on the rate of a program.

  Args:
    dtype: of the matrices.

  Attributes:
    flops: of a call.
  """

  def __init__(self, dtype: str):
    mesh = sharding.make_mesh()
    size = 1024 if jax.default_backend() == "cpu" else 8192
    # This scale keeps products of products at the same size.
    weights = jax.random.normal(jax.random.key(0), (size, size), dtype) * size**-0.5
    self._weights = jax.device_put(weights, sharding.replicated(mesh))
    self._x = jax.device_put(jnp.broadcast_to(weights, (mesh.size, size, size)), sharding.along_data(mesh))
    self._run = jax.jit(lambda x, weights, times: jax.lax.fori_loop(
        0, times, lambda _, x: jnp.einsum("dij,jk->dik", x, weights), x))
    self._times = 1
    self._times = calls_a_second(self)
    self.flops = 2 * size**3 * mesh.size * self._times

  def __call__(self) -> None:
    """Multiplies and waits."""
    jax.block_until_ready(self._run(self._x, self._weights, self._times))


def spread(values: Iterable[float], digits: int = 3) -> str:
  """median (least .. most), rounded to `digits` significant digits."""
  values = list(values)
  low, middle, high = (f"{v:.{digits}g}" if v < 10**digits else f"{v:,.0f}"
                       for v in (min(values), statistics.median(values), max(values)))
  return f"{middle} ({low} .. {high})"


def machine() -> dict[str, Any]:
  """Facts about the machine and the software of a measurement."""
  devices = jax.devices()
  return {
      "devices": f"{len(devices)} x {devices[0].device_kind}",
      "cpu": f"{os.cpu_count()} x {_cpu_name()}",
      "jax": jax.__version__,
      "jaxlib": importlib.metadata.version("jaxlib"),
      "python": platform.python_version(),
      "trm_jax": commit(pathlib.Path(__file__).parent),
  }


def commit(folder: str | os.PathLike) -> str:
  """git's description of the checkout that a folder belongs to.

  A checkout without its history (benchmarks/carry.sh) has it in a file COMMIT in its root.
  """
  folder = pathlib.Path(folder).resolve()
  for root in (folder, *folder.parents):
    if (root / ".git").exists():
      return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, text=True, capture_output=True,
                            check=False).stdout.strip() or "unknown to git"
    if (root / "COMMIT").is_file():
      return (root / "COMMIT").read_text().strip()
  return "not a git checkout"


def _cpu_name() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(rows: list[dict[str, Any]]) -> str:
  """Rows of name -> value as a Markdown table."""
  names = list(dict.fromkeys(name for row in rows for name in row))
  cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
  widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
  lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in cells]
  lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
  return "\n".join(lines)


def check_file(path: str | None, flag: str) -> None:
  """Raises UserError if a file that a flag names could not be written at the end of a long measurement."""
  if path and not pathlib.Path(path).parent.is_dir():
    raise UserError(f"{flag}={path}: there is no folder {pathlib.Path(path).parent}; make it first")


def report(title: str, rows: list[dict[str, Any]], details: Mapping[str, Any] | None = None) -> None:
  """Prints the rows as a Markdown table; writes them, the details and the machine to --json."""
  where, command = machine(), " ".join(["python -m", "benchmarks." + pathlib.Path(sys.argv[0]).stem, *sys.argv[1:]])
  print(f"\n{title}\n{', '.join(f'{name} {value}' for name, value in where.items())}\n{command}\n")
  print(table(rows), flush=True)
  if _JSON.value:
    pathlib.Path(_JSON.value).write_text(json.dumps(
        {"title": title, "command": command, "machine": where, "rows": rows, "details": details or {}}, indent=2))
