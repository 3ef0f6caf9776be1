# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the making of batches on the devices and the training step that contains it, by turns.

    python -m benchmarks.batch_generation --name=baseline --set=data.num_aug=-1
"""

import statistics

from absl import flags
import jax
import jax.numpy as jnp

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.data import rows as rows_lib
from trm_jax.runtime import sharding

_STEPS = flags.DEFINE_integer("steps", None, "Steps, and batches, that are timed together, in one call; default: what "
                              "takes a second of each.", lower_bound=1)


class Batches:
  """Makes several batches of a run in one call, each split over the devices as in training.

  Attributes:
    num: number of batches.
  """

  def __init__(self, step: cases.TrainStep, num: int | None):
    config, mesh = step.config, step.program.mesh
    row, key = step.task.row, jax.random.key(config.seed)

    @jax.jit
    def make(source, num):

      def add(i, total):
        batch = jax.lax.with_sharding_constraint(rows_lib.sample_batch(
            source, row, key, i, batch_size=config.batch_size, num_aug=config.data.num_aug),
                                                 sharding.along_data(mesh))
        # The result depends on every number, so that the compiler cannot leave one out.
        return total + sum(x.sum(dtype="int32") for x in jax.tree.leaves(batch))

      return jax.lax.fori_loop(0, num, add, jnp.int32(0))

    self._make, self._source = make, step.source
    self.num = 1
    self.num = num or measure.calls_a_second(self)

  def __call__(self) -> None:
    """Makes the batches and waits for them."""
    jax.block_until_ready(self._make(self._source, self.num))


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  steps = [cases.TrainStep(config, _STEPS.value) for config in cases.configs()]
  generations = [Batches(step, _STEPS.value) for step in steps]
  times = measure.by_turns({(i, name): call for i, pair in enumerate(zip(steps, generations))
                            for name, call in zip(("step", "batch"), pair)}, measure.ROUNDS.value)
  rows, details = [], []
  for i, (step, generation) in enumerate(zip(steps, generations)):
    step_s = [s / step.num_steps for s in times[i, "step"]]
    batch_s = [s / generation.num for s in times[i, "batch"]]
    config = step.config
    rows.append(cases.label(config, config.batch_size) | {
        "augmentations": "fresh" if config.data.num_aug == rows_lib.FRESH else config.data.num_aug,
        "ms a batch: median (least .. most)": measure.spread(1000 * s for s in batch_s),
        "examples/s": f"{config.batch_size / statistics.median(batch_s):,.4g}",
        "ms a step": measure.spread(1000 * s for s in step_s),
        "% of the step, round by round": measure.spread(100 * b / s for b, s in zip(batch_s, step_s))})
    details.append({"batch_seconds": batch_s, "step_seconds": step_s})
  measure.report("Batch generation, which is part of the training step", rows, {"rows": details})


if __name__ == "__main__":
  cli.run(main)
