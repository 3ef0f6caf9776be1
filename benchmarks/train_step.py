# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the training step of named configs, by batch and dtype, by turns, on all devices.

    python -m benchmarks.train_step --name=baseline --batch=256 --batch=768 --dtype=bfloat16 --dtype=float32
    python -m benchmarks.train_step --name=baseline --set=model.mlp_t=False --seq_len=900 --set=compute.micro_batches=4
"""

import statistics

from absl import flags
import jax

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.model import flops
from trm_jax.runtime import chips

_STEPS = flags.DEFINE_integer("steps", None, "Steps that are timed together, in one call; default: what takes a "
                              "second.", lower_bound=1)


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  steps = [cases.TrainStep(config, _STEPS.value) for config in cases.configs()]
  products = {dtype: measure.MatrixProducts(dtype) for dtype in dict.fromkeys(s.config.model.dtype for s in steps)}
  times = measure.by_turns(dict(enumerate(steps)) | products, measure.ROUNDS.value)

  peak = chips.peak_flops(jax.devices()[0])
  rows, details = [], []
  for i, step in enumerate(steps):
    config, dtype = step.config, step.config.model.dtype
    seconds = [s / step.num_steps for s in times[i]]
    examples_per_s = config.batch_size / statistics.median(seconds)
    rate = examples_per_s * flops.train_step_flops(step.program.model_config)
    products_rate = products[dtype].flops / statistics.median(times[dtype])
    memory = step.compiled.memory_analysis()
    row = cases.label(config, config.batch_size) | {
        "ms a step: median (least .. most)": measure.spread(1000 * s for s in seconds),
        "examples/s": f"{examples_per_s:,.4g}", "TFLOP/s": f"{rate / 1e12:.3g}",
        "matrix products alone, TFLOP/s": f"{products_rate / 1e12:.3g}", "of these": f"{rate / products_rate:.1%}"}
    if peak:
      row["of bfloat16 peak"] = f"{rate / peak / len(jax.devices()):.1%}"
    rows.append(row | {
        "parameters": f"{step.program.num_params:,}", "compile s": f"{step.compile_s:.1f}",
        "MiB a device: arguments": f"{memory.argument_size_in_bytes / 2**20:,.0f}",
        "temporary": f"{memory.temp_size_in_bytes / 2**20:,.0f}"})
    details.append({"seconds_a_call": times[i], "steps_a_call": step.num_steps})
  measure.report("Training step", rows, {
      "rows": details, "matrix_products_seconds": {dtype: times[dtype] for dtype in products},
      "matrix_products_flops": {dtype: p.flops for dtype, p in products.items()},
      # The peak of all rows together; a CPU does not report it.
      "peak_bytes_in_use": [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]})


if __name__ == "__main__":
  cli.run(main)
