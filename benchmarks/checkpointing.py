# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times saving and restoring a large state, and its digests, by turns.

    python -m benchmarks.checkpointing                  # a prefix table like ARC-AGI-1's: 876,406 x 512, 1.8 GB
    python -m benchmarks.checkpointing --rows=20000

`save` lasts from the call until the checkpoint is complete on disk, and begins with `digests`. `restore` ends with
them, to check the arrays that it has read. CPU seconds are those of the whole process; on a slow disk they are fewer
than seconds of the clock.
"""

import pathlib
import resource
import tempfile

from absl import flags
import jax
import jax.numpy as jnp

from benchmarks import measure
from trm_jax import cli
from trm_jax.runtime import digests
from trm_jax.runtime import sharding
from trm_jax.training import checkpoint

_ROWS = flags.DEFINE_integer("rows", 876_406, "Rows of the table.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 512, "Width of the table.", lower_bound=1)
_FOLDER = flags.DEFINE_string("folder", None, "Where the checkpoints go; a temporary folder by default.")


def _cpu_seconds() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  state = {"prefix_table": jax.random.normal(jax.random.key(0), (_ROWS.value, _WIDTH.value)), "step": jnp.int32(1)}
  one_device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  layout = sharding.abstract(state, jax.tree.map(lambda _: one_device, state))
  cpu = {name: [] for name in ("digests", "save", "restore")}
  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    checkpoints = checkpoint.Checkpoints(pathlib.Path(folder), keep=1)
    step = 0

    def save():
      nonlocal step
      step += 1
      checkpoints.save(step, state, {})
      checkpoints.wait()

    def timed(name, call):
      def run():
        before = _cpu_seconds()
        call()
        cpu[name].append(_cpu_seconds() - before)
      return run

    times = measure.by_turns({
        "digests": timed("digests", lambda: digests.digests(state)),
        "save": timed("save", save),
        "restore": timed("restore", lambda: jax.block_until_ready(checkpoints.restore(step, layout)))},
        measure.ROUNDS.value)
    checkpoints.close()
  gigabytes = sum(x.nbytes for x in state.values()) / 1e9
  # The untimed round came first.
  cpu = {name: values[-measure.ROUNDS.value:] for name, values in cpu.items()}
  rows = [{"what": name, "seconds": measure.spread(times[name], 2), "CPU seconds": measure.spread(cpu[name], 2),
           "share of digests in these": measure.spread([d / whole for d, whole in zip(cpu["digests"], cpu[name])], 2)}
          for name in cpu]
  measure.report(f"checkpoints of {gigabytes:.1f} GB", rows, {"seconds": times, "cpu_seconds": cpu})


if __name__ == "__main__":
  cli.run(main)
