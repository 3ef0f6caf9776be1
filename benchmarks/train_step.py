# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the training step of named configs, by batch and dtype, by turns, on all devices.

    python -m benchmarks.train_step --name=baseline --batch=256 --batch=768 --dtype=bfloat16 --dtype=float32
    python -m benchmarks.train_step --name=baseline --set=model.mlp_t=False --seq_len=900 --set=compute.micro_batches=4

With --topology it times nothing. It compiles for chips that need not be here, and counts a step's cost on each:

    JAX_PLATFORMS=cpu python -m benchmarks.train_step --name=configs/maze.py:baseline --topology=v4:2x4x4
    JAX_PLATFORMS=cpu python -m benchmarks.train_step --name=configs/maze.py:baseline --topology=h100 --batch=128
"""

import statistics
import time
from typing import Any

from absl import flags
import jax

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.config import Config
from trm_jax.model import flops
from trm_jax.preflight import hlo
from trm_jax.runtime import chips
from trm_jax.runtime import sharding

_STEPS = flags.DEFINE_integer("steps", None, "Steps that are timed together, in one call; default: what takes a "
                              "second.", lower_bound=1)
# benchmarks.tpu_schedule, which the same process may import, has a flag of the same name.
_TOPOLOGY = flags.DEFINE_string("topology", None, "Count a step's cost on these chips: h100 (needs the extra [cuda12]) "
                                "or a TPU slice, such as v4:2x4x4 (needs [tpu]).", allow_override=True)


def cost(config: Config, topology: str) -> dict[str, Any]:
  """A row: what a step costs each chip of a topology, by its compiled program.

  A floor of products is FLOPs at the chip's peak rate of bfloat16; that of memory is the bytes that kernels read and
  write, at the peak rate of its memory. The last floor adds up the larger of both for each kernel.
  """
  devices, bandwidth = cases.described(topology)
  mesh = sharding.make_mesh(devices, model=config.compute.model_devices)
  made, _ = cases.make_program(config, mesh)
  start = time.perf_counter()
  compiled = made.compile_steps()
  compile_s = time.perf_counter() - start
  memory, kernels, peak = compiled.memory_analysis(), hlo.kernels(compiled.as_text()), chips.peak_flops(devices[0])
  asked = config.batch_size * flops.train_step_flops(made.model_config) / mesh.size
  done, moved = (sum(k.times * of(k) for k in kernels) for of in (lambda k: k.flops, lambda k: k.bytes))
  by_kernel = sum(k.times * max(k.flops / peak, k.bytes / bandwidth) for k in kernels)
  return cases.label(config, config.batch_size) | {
      "micro-batches": config.compute.micro_batches, "attention": made.model_config.attention,
      "TFLOP of the model": f"{asked / 1e12:.4g}", "of the program": f"{done / 1e12:.4g}",
      "GB moved": f"{moved / 1e9:.4g}",
      "floor ms: products": f"{1000 * asked / peak:.3g}", "memory": f"{1000 * moved / bandwidth:.3g}",
      "kernel by kernel": f"{1000 * by_kernel:.3g}",
      "GiB: arguments": f"{memory.argument_size_in_bytes / 2**30:.3g}",
      "temporary": f"{memory.temp_size_in_bytes / 2**30:.3g}", "compile s": f"{compile_s:.0f}"}


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  if _TOPOLOGY.value:
    rows = [cost(config, _TOPOLOGY.value) for config in cases.configs()]
    measure.report(f"Training step on a chip of {_TOPOLOGY.value}, compiled, not run", rows)
    return
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
