# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Estimates what a sweep still has to do, and about how long that will take."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
import statistics
import time

from etils import epath
import jax
import jax.numpy as jnp

from trm_jax import config as config_lib
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.runtime import chips
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import hosts
from trm_jax.study import estimate
from trm_jax.study import running
from trm_jax.study.plan import Run, folder_of
from trm_jax.training import metrics_log


# Assumed share of the devices' peak rate, or of a CPU's rate in matrix products alone, if nothing has been measured.
_UTILIZATION = 0.4
# A run whose training steps are this many times larger or smaller than another's says nothing about its speed.
_ALIKE = 8


@dataclasses.dataclass(frozen=True)
class _Measured:
  """Speed of a run in the workdir.

  Attributes:
    kind: see _kind.
    step_flops: FLOPs of one training step.
    rate: FLOP/s.
  """

  kind: tuple
  step_flops: int
  rate: float


def _kind(config: Config) -> tuple:
  return config.model.dtype, config.model.mlp_t


def _step_flops(config: Config) -> int:

  return config.batch_size * flops.train_step_flops(estimate.model_config(config))


def _measured(root: epath.Path) -> Iterator[_Measured]:
  """Yields the speeds of all runs under a sweep's folder that have written a record."""

  for saved in root.glob("*/seed_*/config.json"):
    try:
      config = config_lib.parse_saved(files.read_json(saved).get("config"), str(saved))
      records = saved.parent / "metrics.jsonl"
      steps = [record["train/step_ms"] for record in (metrics_log.read_metrics(records) if records.exists() else ())
               if "train/step_ms" in record]
    except UserError as e:
      console.warn(f"{e}; this run says nothing about the speed of others")
      continue
    if steps:
      size = _step_flops(config)
      yield _Measured(_kind(config), size, size / (statistics.median(steps) / 1000))


def _machine() -> tuple[float, str]:
  """Returns the FLOP/s that this machine's devices may reach, and words for where the figure comes from."""
  hosts.stay_alone()
  devices = jax.devices()
  what = f"{len(devices)} x {devices[0].device_kind}"
  if peak := chips.peak_flops(devices[0]):
    return _UTILIZATION * peak * len(devices), f"an assumed {_UTILIZATION:.0%} of the peak rate of {what}"
  size, times = 1024, 4  # a fraction of a second on a CPU
  multiply = jax.jit(lambda x: jax.lax.fori_loop(0, times, lambda _, y: y @ x, x))
  x = jnp.full((size, size), 1 / size)
  seconds = []
  for _ in range(5):  # the first call compiles; other programs may disturb the rest
    start = time.perf_counter()
    multiply(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  rate = times * 2 * size**3 / min(seconds)
  return _UTILIZATION * rate, (f"an assumed {_UTILIZATION:.0%} of the {rate / 1e9:.0f} GFLOP/s that {what} has just "
                               "reached in float32 matrix products")


def lines(runs: Sequence[Run], workdir: str) -> Iterator[str]:
  """Yields lines that say what is left to do and about how long it will take."""
  root = folder_of(runs, workdir)
  measured = list(_measured(root))
  machine, rows, seconds, computed, counts = None, [], 0.0, 0, {}
  for run in runs:
    try:
      found = run.state(root / run.folder)
    except UserError as e:
      found = "another run"
      rows.append((run.label, found, "", "", str(e)))
    counts[found] = counts.get(found, 0) + 1
    if found == "another run":
      continue
    work = estimate.training_flops(run.config) + estimate.evaluation_flops(run.config)
    cells = [run.label, found, f"{estimate.total_steps(run.config):,} steps", f"{work:.1e} FLOP"]
    if found == "finished":
      rows.append((*cells, running.solved(running.results_of(root / run.folder), run.config)))
      continue
    size = _step_flops(run.config)
    alike = [m for m in measured if m.kind == _kind(run.config) and 1 / _ALIKE < m.step_flops / size < _ALIKE]
    if alike:
      rate, how = min(alike, key=lambda m: abs(math.log(m.step_flops / size))).rate, "a"
    else:
      machine = machine or _machine()
      rate, how = machine[0], "b"
    seconds, computed = seconds + work / rate, computed + work
    rows.append((*cells, f"about {console.duration(work / rate)} ({how})"))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  for label, found, steps, work, rest in rows:
    yield f"{label:<{widths[0]}}  {found:<{widths[1]}}  {steps:>{widths[2]}}  {work:>{widths[3]}}  {rest}"
  yield ""
  yield f"{len(runs)} runs: {', '.join(f'{number} {found}' for found, number in counts.items())}"
  if computed:
    yield (f"ESTIMATE: {console.duration(seconds)} for {computed:.1e} FLOP, which includes what begun runs have "
           "already done, but not starting and compiling")
    yield "  (a) at the speed of the most similar run in --workdir"
    if machine:
      yield f"  (b) at {machine[1]}; trm_jax.preflight --topology=… knows TPU slices"
