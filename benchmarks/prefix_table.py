# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Measures a big prefix table: the time to look up and update a batch's rows, and the memory of a run.

    python -m benchmarks.prefix_table                   # like ARC-AGI-1's: 876,406 x 512, 1.8 GB; batch 768
    JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m benchmarks.prefix_table

Its rows are split over all devices. The memory is the peak of this process, which runs a small model, in each part of a
run, less its memory before it made the table; it includes the memory of CPU devices. It is read from /proc, so this
needs Linux.
"""

from collections.abc import Callable
import dataclasses
import functools
import pathlib
import re
import tempfile
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax import tasks
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import Puzzles, Sizes
from trm_jax.preflight import hlo
from trm_jax.runtime import sharding
from trm_jax.training import checkpoint
from trm_jax.training import program

_ROWS = flags.DEFINE_integer("rows", 876_406, "Rows of the table.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 512, "Width of the table.", lower_bound=64)
_BATCH = flags.DEFINE_integer("batch", 768, "Rows that a step looks up and updates.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in a call.", lower_bound=1)
_FOLDER = flags.DEFINE_string("folder", None, "Where a checkpoint goes; a temporary folder by default.")
_EVALUATED = 64  # puzzles to evaluate, and the batch of the run whose memory is measured


class Run:
  """A run of a small model with a big table.

  Attributes:
    program: Program.
    puzzles: random ones, with random identifiers.
    source: the puzzles that batches are drawn from.
    state: the newest TrainState.
  """

  def __init__(self):
    values = config_lib.default_config()
    config_lib.change(values, {
        "batch_size": _EVALUATED, "eval.batch_size": _EVALUATED, "data.num_aug": 0, "model.hidden_size": 64,
        "model.num_heads": 1, "model.L_layers": 1, "model.H_cycles": 1, "model.L_cycles": 1,
        "model.halt_max_steps": 2, "model.puzzle_emb_ndim": _WIDTH.value, "model.puzzle_emb_len": 0})
    config = config_lib.parse(values)
    task, rng = tasks.of(config.task, config.data), np.random.default_rng(0)
    cells = rng.integers(1, task.vocab_size, (2, _EVALUATED, task.seq_len))
    made = puzzles_lib.one_group_each(cells[0].astype(np.uint8), cells[1].astype(np.int8), vocab_size=task.vocab_size)
    self.puzzles: Puzzles = dataclasses.replace(
        made, num_puzzle_identifiers=_ROWS.value,
        puzzle_identifiers=rng.integers(0, _ROWS.value, _EVALUATED, np.int32))
    mesh = sharding.make_mesh()
    self.program = program.Program(config, task, Sizes.of(self.puzzles), mesh)
    self.source = rows_lib.to_device(rows_lib.Source.of(task.arrays(self.puzzles), self.puzzles),
                                     sharding.replicated(mesh))
    self._steps = self.program.compile_steps()
    self._evaluator = self.program.evaluator(_EVALUATED)
    self.state: Any = None

  def init(self) -> None:
    self.state = jax.block_until_ready(self.program.init(np.uint32(0), self.source))

  def steps(self) -> None:
    self.state, metrics = self._steps(self.state, np.int32(3), np.uint32(0), self.source)
    jax.block_until_ready(metrics)

  def evaluate(self) -> None:
    self._evaluator.evaluate(self.state, self.puzzles)

  def save(self, checkpoints: checkpoint.Checkpoints) -> None:
    checkpoints.save(1, self.state, {})
    checkpoints.wait()

  def restore(self, checkpoints: checkpoint.Checkpoints) -> None:
    self.state = None
    self.state = checkpoints.restore(1, self.program.state)


class Case:
  """The compiled part of a step that uses the table.

  Args:
    run: has the table.
    body: (table, identifiers (B,), gradients (B, E)) -> table or rows (B, E).
  """

  def __init__(self, run: Run, body: Callable[..., jax.Array]):
    self._run = run
    trainer = run.program.trainer
    abstract = run.program.state.prefix_table["puzzle_emb"]
    along_data, batch = sharding.along_data(trainer.mesh), (_BATCH.value,)

    def steps(table):
      on_devices = functools.partial(jax.lax.with_sharding_constraint, shardings=along_data)
      grads = on_devices(jax.random.normal(jax.random.key(1), (*batch, _WIDTH.value)))

      def step(i, table_and_sum):
        table, total = table_and_sum
        identifiers = jax.random.randint(jax.random.fold_in(jax.random.key(0), i), batch, 0, _ROWS.value)
        made = body(table, on_devices(identifiers), grads)
        return (table, total + made.sum()) if made.shape[0] == _BATCH.value else (made, total)

      return jax.lax.fori_loop(0, _STEPS.value, step, (table, jnp.float32(0)))

    self.compiled = jax.jit(steps, donate_argnums=0, out_shardings=(
        abstract.sharding, sharding.replicated(trainer.mesh))).lower(abstract).compile()

  def __call__(self) -> None:
    table, total = self.compiled(self._run.state.prefix_table["puzzle_emb"])
    self._run.state = self._run.state.replace(prefix_table={"puzzle_emb": table})
    jax.block_until_ready((table, total))


def _sent_bytes(compiled: Any) -> float:
  """Bytes that each device sends in a call, including the loop of the steps."""
  return sum(c.sent_bytes for c in hlo.collectives(compiled.as_text()))


def _memory(name: str) -> int:
  """A number of bytes in /proc/self/status."""
  return 2**10 * int(re.search(rf"{name}:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  run = Run()
  before, peaks = _memory("VmRSS"), {}
  trainer = run.program.trainer

  def update(table, identifiers, grads):
    return trainer.update_table(table, opt_state, identifiers, table[identifiers], grads)[0]

  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    checkpoints = checkpoint.Checkpoints(pathlib.Path(folder), keep=1)
    for name, part in {
        "start": run.init, "training": run.steps, "evaluation": run.evaluate,
        "saving": functools.partial(run.save, checkpoints),
        "restoring": functools.partial(run.restore, checkpoints)}.items():
      pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak
      part()
      peaks[name] = _memory("VmHWM") - before
    checkpoints.close()
  opt_state = run.state.prefix_opt_state
  found = {"look-up": Case(run, lambda table, identifiers, grads: table[identifiers]),
           "look-up and update": Case(run, update)}
  times = measure.by_turns(found, measure.ROUNDS.value)
  size = run.state.prefix_table["puzzle_emb"].nbytes
  rows = [{"what": name, "ms a step": measure.spread(1000 * s / _STEPS.value for s in times[name]),
           "temporaries of a device, MiB": f"{case.compiled.memory_analysis().temp_size_in_bytes / 2**20:.3g}",
           "sent by each device in a step, MiB": f"{_sent_bytes(case.compiled) / _STEPS.value / 2**20:.3g}"}
          for name, case in found.items()]
  rows += [{"what": name, "memory at the peak over the table's": f"{peak / size:.2f}"} for name, peak in peaks.items()]
  measure.report(f"a prefix table of {size / 1e9:.2f} GB, batches of {_BATCH.value}", rows,
                 {"seconds": times, "peaks": peaks})


if __name__ == "__main__":
  cli.run(main)
