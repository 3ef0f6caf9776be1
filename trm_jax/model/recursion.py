# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The updates of the states in one supervision step, and which of them have a gradient (paper, figure 3).

    for cycle in range(T):                # the last one with gradient, those before without
      for _ in range(n):
        z_L = f(z_L + z_H + x)            # latent update: think about the puzzle and the answer
      z_H = f(z_H + z_L)                  # update of the answer

The comparison models differ in these two updates alone and share everything else.
Axes are named by the letters of the table in docs/design.md.
"""

from collections.abc import Callable
import typing

import jax
import jax.numpy as jnp

from trm_jax.model import layers

if typing.TYPE_CHECKING:
  from trm_jax.model.config import TRMConfig

_Network = Callable[[jax.Array, jax.Array | None], jax.Array]  # takes the input and the keys of the noise
_States = tuple[jax.Array, jax.Array | None]  # z_H, z_L


# Latent updates: (f, z_H, z_L, x, n, keys, unroll) -> z_H, z_L. Answers: (f, z_H, z_L, key) -> z_H. The keys, (n, B) or
# (B,), are for the noise on each result of f; None: no noise.


def _two_z(f, z_H, z_L, x, n, keys, unroll):
  z_L, _ = jax.lax.scan(lambda z_L, key: (f(z_L + (z_H + x), key), None), z_L, keys, length=n, unroll=unroll)
  return z_H, z_L


def _two_z_answer(f, z_H, z_L, key):
  return f(z_H + z_L, key)


def _single_z(f, z_H, z_L, x, n, keys, unroll):
  z_H, _ = jax.lax.scan(lambda z_H, key: (f(z_H + x, key), None), z_H, keys, length=n, unroll=unroll)
  return z_H, z_L


def _single_z_answer(f, z_H, _, key):
  return f(z_H, key)


def _multi_scale_z(f, z_H, z_L, x, n, keys, unroll):
  def update(z_L, i_and_key):  # updates the i-th state on axis 1 from the sum of all of them
    i, key = i_and_key
    return z_L.at[:, i].set(f(z_L.sum(1) + (z_H + x), key)), None

  z_L, _ = jax.lax.scan(update, z_L, (jnp.arange(n), keys), unroll=unroll)
  return z_H, z_L


def _multi_scale_z_answer(f, z_H, z_L, key):
  return f(z_H + z_L.sum(1), key)


_CYCLES = {
    "two_z": (_two_z, _two_z_answer),
    "single_z": (_single_z, _single_z_answer),
    "multi_scale_z": (_multi_scale_z, _multi_scale_z_answer),
}


def _noisy(config: "TRMConfig", network: Callable[[jax.Array], jax.Array]) -> _Network:
  """Returns the network with normal noise added to its result if keys are given: one per row keeps rows independent."""
  row_axis = 1 - config.token_axis

  def noisy_network(h, keys):
    out = network(h)
    if keys is None:
      return out
    shape = out.shape[:row_axis] + out.shape[row_axis + 1:]
    noise = jax.vmap(lambda key: jax.random.normal(key, shape), out_axes=row_axis)(keys)
    return (out + config.state_noise * noise).astype(out.dtype)

  return noisy_network


def recurse(config: "TRMConfig", networks: list[Callable[[jax.Array], jax.Array]], z_H: jax.Array,
            z_L: jax.Array | None, x: jax.Array, noise_keys: jax.Array | None = None) -> _States:
  """Makes T cycles of n latent updates and an answer each; or, without recursion, applies the network once.

  Gradients reach the networks and x through the last cycle only, or through its last two updates (`config.gradient`),
  and never reach the incoming states.

  Args:
    config: of the model.
    networks: f, or f_L and f_H if the answer has a network of its own.
    z_H: (B, L, D).
    z_L: (B, L, D), (B, n, L, D) or None: see Carry.
    x: (B, L, D).
    noise_keys: (B,) random keys for normal noise of config.state_noise on the result of every application; None: no
      noise.

  Returns:
    The new z_H and z_L.
  """

  def swap(states):  # to (L, …, B, D) if the blocks want that: once here, not several times in each block
    return jax.tree.map(lambda z: z.swapaxes(0, -2), states) if config.token_axis == 0 else states

  z_H, z_L, x = swap((z_H, z_L, x))
  with_gradient = [_noisy(config, layers.keep_products(f)) for f in networks]
  # stop_gradient on the inputs, not only on the result: otherwise JAX traces tangents through these cycles.
  networks, x_cut, states = jax.lax.stop_gradient((networks, x, (z_H, z_L)))
  if config.recursion == "none":
    return swap((with_gradient[0](states[0] + x, noise_keys), None))
  # Weights are cast once, outside of the loop. The last cycle casts them in each application, so that their gradients
  # are summed in float32.
  networks = [_noisy(config, f) for f in jax.tree.map(lambda weights: weights.astype(config.dtype), networks)]
  think, answer = _CYCLES[config.recursion]
  T, n = config.H_cycles, config.L_cycles
  keys = None if noise_keys is None else jnp.moveaxis(
      jax.vmap(lambda key: jax.random.split(key, (T, n + 1)))(noise_keys), 0, -1)  # (T, n + 1, B)

  def cycle(networks, z_H, z_L, x, n, keys, unroll=False):
    z_H, z_L = think(networks[0], z_H, z_L, x, n, None if keys is None else keys[:-1], unroll)
    return answer(networks[-1], z_H, z_L, None if keys is None else keys[-1]), z_L

  before, last = (None, None) if keys is None else (keys[:-1], keys[-1])
  states, _ = jax.lax.scan(lambda z, keys: (cycle(networks, *z, x_cut, n, keys), None), states, before, length=T - 1)
  if config.gradient == "one_step":
    first, last = (None, None) if keys is None else (last[:n - 1], last[n - 1:])
    states, n = think(networks[0], *states, x_cut, n - 1, first, unroll=False), 1
  # Unrolled: a scan would stack its residuals and copy them.
  return swap(cycle(with_gradient, *states, x, n, last, unroll=True))
