# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""How the states change in one supervision step, and which of these changes have a gradient.

A cycle is n latent updates and one update of the answer. A recursion is what these two do; all else is shared.
Letters for axes: see layers.py.
"""

from collections.abc import Callable
import typing

import jax
import jax.numpy as jnp

from trm_jax import layers

if typing.TYPE_CHECKING:
  from trm_jax.model import TRMConfig

_Network = Callable[[jax.Array], jax.Array]
_States = tuple[jax.Array, jax.Array | None]  # z_H, z_L


# Latent updates: (f, z_H, z_L, x, n, unroll) -> z_H, z_L. Answers: (f, z_H, z_L) -> z_H.


def _two_z(f, z_H, z_L, x, n, unroll):
  z_L, _ = jax.lax.scan(lambda z_L, _: (f(z_L + (z_H + x)), None), z_L, length=n, unroll=unroll)
  return z_H, z_L


def _two_z_answer(f, z_H, z_L):
  return f(z_H + z_L)


def _single_z(f, z_H, z_L, x, n, unroll):
  z_H, _ = jax.lax.scan(lambda z_H, _: (f(z_H + x), None), z_H, length=n, unroll=unroll)
  return z_H, z_L


def _single_z_answer(f, z_H, _):
  return f(z_H)


def _multi_scale_z(f, z_H, z_L, x, n, unroll):
  def update(z_L, i):  # the i-th of the states on axis 1, from all of them
    return z_L.at[:, i].set(f(z_L.sum(1) + (z_H + x))), None

  z_L, _ = jax.lax.scan(update, z_L, jnp.arange(n), unroll=unroll)
  return z_H, z_L


def _multi_scale_z_answer(f, z_H, z_L):
  return f(z_H + z_L.sum(1))


_CYCLES = {
    "two_z": (_two_z, _two_z_answer),
    "single_z": (_single_z, _single_z_answer),
    "multi_scale_z": (_multi_scale_z, _multi_scale_z_answer),
}
NAMES = (*_CYCLES, "none")


def recurse(config: "TRMConfig", networks: list[_Network], z_H: jax.Array, z_L: jax.Array | None, x: jax.Array
            ) -> _States:
  """T cycles of n latent updates and an answer each; or, without recursion, one application.

  Gradients reach the networks and x through the last cycle only, or through its last two updates (`config.gradient`),
  and never the states that come in.

  Args:
    config: of the model.
    networks: f, or f_L and f_H where the answer has a network of its own.
    z_H: (B, L, D).
    z_L: (B, L, D), (B, n, L, D) or None: see Carry.
    x: (B, L, D).

  Returns:
    The new z_H and z_L.
  """

  def swap(states):  # A mixer over tokens wants (L, …, B, D): once here, not several times in each block.
    return jax.tree.map(lambda z: z.swapaxes(0, -2), states) if config.mlp_t else states

  z_H, z_L, x = swap((z_H, z_L, x))
  with_gradient = [layers.keep_products(f) for f in networks]
  # Cutting the gradient at what goes in, not only at what comes out, keeps derivatives from being carried along.
  networks, x_cut, states = jax.lax.stop_gradient((networks, x, (z_H, z_L)))
  if config.recursion == "none":
    return swap((with_gradient[0](states[0] + x), None))
  # Once, not at every application. With gradient it is: their sum over applications is then made in float32.
  networks = jax.tree.map(lambda weights: weights.astype(config.dtype), networks)
  think, answer = _CYCLES[config.recursion]

  def cycle(networks, z_H, z_L, x, n, unroll=False):
    z_H, z_L = think(networks[0], z_H, z_L, x, n, unroll)
    return answer(networks[-1], z_H, z_L), z_L

  n = config.L_cycles
  states, _ = jax.lax.scan(lambda z, _: (cycle(networks, *z, x_cut, n), None), states, length=config.H_cycles - 1)
  if config.gradient == "one_step":
    states, n = think(networks[0], *states, x_cut, n - 1, unroll=False), 1
  # A loop would write what the backward pass needs into arrays of all its turns, and copy these.
  return swap(cycle(with_gradient, *states, x, n, unroll=True))
