# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the kernel of a SwiGLU (config.compute.kernels = "pallas") by its tile, beside XLA's kernels, by turns.

    python -m benchmarks.gated_products --batch=768

`features` is the SwiGLU over the features of all tokens, `tokens` the one over the tokens. The floor is the larger of
the products at the measured product rate, and of the bytes that must be read and written at the measured copy rate.
"""

from collections.abc import Callable
import functools
import statistics

from absl import flags
import jax
import jax.numpy as jnp

from benchmarks import measure
from trm_jax import cli
from trm_jax.errors import UserError
from trm_jax.model import kernels
from trm_jax.model import layers

_BATCH = flags.DEFINE_integer("batch", 768, "Examples.", lower_bound=1, allow_override=True)
_POSITIONS = flags.DEFINE_integer("positions", 97, "Tokens of an example.", lower_bound=1)
_HIDDEN = flags.DEFINE_integer("hidden_size", 512, "Features.", lower_bound=1, allow_override=True)

_TILES = flags.DEFINE_multi_string("tile", [
    "128,64,32,8,3", "128,128,32,8,3", "128,128,64,8,3", "128,64,64,4,3", "128,64,64,8,4", "64,128,64,4,3",
    "64,128,32,4,4", "128,64,32,4,4", "64,64,64,4,3", "128,128,64,8,2", "64,256,32,8,3", "256,64,32,8,3"],
    "Rows, columns, depth, warps and stages of a tile (trm_jax/model/kernels.py); repeat for several.")

_EXPANSION = 4.0


class Many:
  """A function of given arguments, called as often as fits into a tenth of a second.

  Attributes:
    times: number of calls.
  """

  def __init__(self, function: Callable, *arguments):
    self._function, self._arguments = jax.jit(function), arguments
    self.result = jax.block_until_ready(self._function(*arguments))
    self.times = 1
    self.times = max(1, measure.calls_a_second(self) // 10)

  def __call__(self) -> None:
    for _ in range(self.times):
      result = self._function(*self._arguments)
    jax.block_until_ready(result)


def _operands(left_and_right: tuple[int, int], M: int, K: int, N: int) -> tuple[kernels.Operands, kernels.Operands]:
  keys = iter(jax.random.split(jax.random.key(0), 4))
  lefts = tuple(jax.random.normal(next(keys), (M, K), jnp.bfloat16) for _ in range(left_and_right[0]))
  rights = tuple(jax.random.normal(next(keys), (K, N), jnp.bfloat16) * K**-0.5 for _ in range(left_and_right[1]))
  return lefts, rights


def _tile(text: str) -> kernels.Tile:
  numbers = text.split(",")
  if len(numbers) != len(kernels.TILE) or not all(number.isdecimal() and int(number) for number in numbers):
    raise UserError(f"--tile={text}: must be five numbers from 1 on, e.g. {','.join(map(str, kernels.TILE))}")
  return kernels.Tile(*map(int, numbers))


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  tiles = {text: _tile(text) for text in _TILES.value}
  gated = functools.partial(layers._gated, norm_axis=None)
  batch, positions, hidden = _BATCH.value, _POSITIONS.value, _HIDDEN.value
  shapes = {
      "features": ((1, 2), batch * positions, hidden, layers.swiglu_width(hidden, _EXPANSION)),
      "tokens": ((2, 1), layers.swiglu_width(positions, _EXPANSION), positions, batch * hidden)}

  def by_xla(lefts, rights):
    return gated(*(jnp.dot(lefts[i], rights[i]) for i in (0, -1)))

  def exactly(lefts, rights):
    return gated(*(jnp.dot(lefts[i], rights[i], precision="highest", preferred_element_type=jnp.float32)
                   for i in (0, -1)))

  def apart(result, exact):
    return float(jnp.linalg.norm(result.astype(jnp.float32) - exact) / jnp.linalg.norm(exact))

  calls, errors, floors = {}, {}, {}
  products = measure.MatrixProducts("bfloat16")
  copy = Many(lambda x: x + 1, jnp.zeros(2**28 if jax.default_backend() != "cpu" else 2**20, jnp.bfloat16))
  for name, (numbers, M, K, N) in shapes.items():
    lefts, rights = _operands(numbers, M, K, N)
    exact = jax.jit(exactly)(lefts, rights)
    by_tile = {text: functools.partial(_by_tile, gated, tile) for text, tile in tiles.items()}
    for how, function in ({"XLA": by_xla} | by_tile).items():
      try:
        calls[name, how] = Many(function, lefts, rights)
        errors[name, how] = f"{apart(calls[name, how].result, exact):.1e}"
      except (jax.errors.JaxRuntimeError, NotImplementedError, ValueError) as e:  # a tile may not fit into the chip
        errors[name, how] = f"failed: {str(e).splitlines()[0][:80]}"
    floors[name] = 4 * M * K * N, 2 * (numbers[0] * M * K + numbers[1] * K * N + M * N)
  times = measure.by_turns(calls | {"products": products, "copy": copy}, measure.ROUNDS.value)
  rate = products.flops / statistics.median(times["products"])
  bandwidth = 2 * copy.result.nbytes * copy.times / statistics.median(times["copy"])
  rows = []
  for (name, how), error in errors.items():
    row = {"SwiGLU": name, "tile": how, "relative error": error}
    if (name, how) in times:
      row["ms: median (least .. most)"] = measure.spread(1000 * s / calls[name, how].times for s in times[name, how])
      row["XLA's time over this"] = measure.spread(
          xla / calls[name, "XLA"].times / (own / calls[name, how].times)
          for xla, own in zip(times[name, "XLA"], times[name, how]))
    flops, moved = floors[name]
    rows.append(row | {"floor, ms": f"{1000 * max(flops / rate, moved / bandwidth):.3g}"})
  measure.report(f"SwiGLU in bfloat16; products {rate / 1e12:.3g} TFLOP/s, copies {bandwidth / 1e9:.3g} GB/s", rows)


def _by_tile(gated, tile, lefts, rights):
  return kernels.gated_products(gated, lefts, rights, tile)


if __name__ == "__main__":
  cli.run(main)
