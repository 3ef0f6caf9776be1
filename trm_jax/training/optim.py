# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Optimizers as Optax transforms, chosen by `of`: AdamATan2, Muon, sign-SGD for the prefix table, EMA, the schedule."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from trm_jax.config import OptimizerConfig


class Optimizers(NamedTuple):
  """The optimizers of a run.

  Attributes:
    schedule: count -> learning rate of `parameters`, for records.
    parameters: of the network's parameters.
    average: `ema` of these, or None.
    prefix: of the rows of the prefix table (see `sign_sgd_rows`).
  """

  schedule: optax.Schedule
  parameters: optax.GradientTransformation
  average: optax.GradientTransformation | None
  prefix: optax.GradientTransformationExtraArgs


def of(config: OptimizerConfig, *, batch_size: int, total_steps: int) -> Optimizers:
  """Makes the optimizers of a run.

  Args:
    config: OptimizerConfig. With a base_batch_size, learning rates grow in proportion to the batch (linear scaling).
    batch_size: of all devices together.
    total_steps: of the run, at which the cosine ends.
  """
  schedule = functools.partial(
      warmup_cosine, warmup_steps=config.warmup_steps, total_steps=total_steps, min_ratio=config.lr_min_ratio)
  scale = batch_size / config.base_batch_size if config.base_batch_size else 1.0
  rate = schedule(scale * config.learning_rate)
  with_muon = functools.partial(muon, schedule(scale * config.muon_learning_rate), momentum=config.muon_momentum,
                                matrix_weight_decay=config.muon_weight_decay)
  make = {"adam_atan2": adam_atan2, "adamw": optax.adamw, "muon": with_muon}[config.name]
  parameters = make(rate, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay)
  if config.clip_norm:
    parameters = optax.chain(optax.clip_by_global_norm(config.clip_norm), parameters)
  average = ema(config.ema_rate, start=config.ema_start) if config.ema_rate else None
  prefix = sign_sgd_rows(schedule(scale * config.prefix_learning_rate), weight_decay=config.prefix_weight_decay)
  return Optimizers(rate, parameters, average, prefix)


def warmup_cosine(learning_rate: float, *, warmup_steps: int, total_steps: int, min_ratio: float) -> optax.Schedule:
  """Linear warmup, then a cosine from `learning_rate` to `learning_rate * min_ratio` (reference: pretrain.py).

  Optax gives a schedule the number of updates already made, 0 at the first; the reference's first step is t = 1.

  Args:
    learning_rate: the peak.
    warmup_steps: t at which the peak is reached; 0 for none.
    total_steps: t at which the cosine ends.
    min_ratio: 1 for a constant rate after the warmup.

  Returns:
    count -> learning rate, float32.
  """

  def schedule(count):
    t = jnp.asarray(count + 1, jnp.float32)
    warm = t / max(1, warmup_steps)
    progress = (t - warmup_steps) / max(1, total_steps - warmup_steps)
    cosine = min_ratio + (1 - min_ratio) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    return learning_rate * jnp.where(t < warmup_steps, warm, jnp.maximum(cosine, 0))

  return schedule


def scale_by_adam_atan2(b1: float, b2: float) -> optax.GradientTransformation:
  """atan2(m, sqrt(v) / sqrt(1 - b2^t)) / (1 - b1^t): Adam without epsilon and without dependence on the loss's scale.

  As in the reference's optimizer, the first moment is corrected outside the arctangent and only the second inside it,
  and there is no factor in front (both differ in Everett et al. 2024).
  """

  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=zeros, nu=jax.tree.map(jnp.copy, zeros))

  def update(grads, state, params=None):
    del params
    t = state.count + 1
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
    # expm1 keeps 1 - b^t accurate if b^t is close to 1.
    first = -jnp.expm1(t * jnp.log(jnp.float32(b1)))
    second = jnp.sqrt(-jnp.expm1(t * jnp.log(jnp.float32(b2))))
    updates = jax.tree.map(lambda m, v: jnp.arctan2(m, jnp.sqrt(v) / second) / first, mu, nu)
    return updates, optax.ScaleByAdamState(count=t, mu=mu, nu=nu)

  return optax.GradientTransformation(init, update)


def adam_atan2(
    learning_rate: optax.ScalarOrSchedule, *, b1: float = 0.9, b2: float = 0.95, weight_decay: float = 0.0
) -> optax.GradientTransformation:
  """AdamATan2 with decoupled weight decay on every parameter, biases and embeddings included (as the reference)."""
  return optax.chain(
      scale_by_adam_atan2(b1, b2),
      optax.add_decayed_weights(weight_decay),
      optax.scale_by_learning_rate(learning_rate),
  )


# The axes of inputs and of outputs in the networks' parameters (model/layers.py).
_MATRICES = {"mix/qkv": (0, 2), "mix/out": (0, 1), "mix/gate_up": (2, 1), "mix/down": (1, 0), "mlp/gate_up": (0, 2),
             "mlp/down": (0, 1)}


def muon(
    matrix_learning_rate: optax.ScalarOrSchedule, learning_rate: optax.ScalarOrSchedule, *, momentum: float = 0.95,
    matrix_weight_decay: float = 0.0, b1: float = 0.9, b2: float = 0.95, weight_decay: float = 0.0
) -> optax.GradientTransformation:
  """Muon for the matrices of the networks, AdamW for all else, by Optax; both with Nesterov's momentum.

  The update of a matrix is its orthogonalised momentum times sqrt(max(1, outputs / inputs)), as in its author's code
  (github.com/KellerJordan/Muon). Matrices that are stacked in one parameter, gate and up, or q, k and v, are
  orthogonalised separately.

  Args:
    matrix_learning_rate, momentum, matrix_weight_decay: of Muon.
    learning_rate, b1, b2, weight_decay: of AdamW.
  """

  def dimension_numbers(params):
    def of(path, p):
      del p
      axes = _MATRICES.get("/".join(jax.tree_util.keystr(path, simple=True, separator="/").split("/")[-2:]))
      return axes and optax.contrib.MuonDimensionNumbers(*axes)

    return jax.tree.map_with_path(of, params)

  return optax.contrib.muon(
      matrix_learning_rate, beta=momentum, weight_decay=matrix_weight_decay, adam_learning_rate=learning_rate,
      adam_b1=b1, adam_b2=b2, adam_weight_decay=weight_decay, muon_weight_dimension_numbers=dimension_numbers)


def sign_of_row_sums() -> optax.GradientTransformationExtraArgs:
  """Computes the sign of the gradient of a table's rows, from gradients of the rows that a batch looked up.

  `update(grads, state, params, identifiers=…)`: grads (B, E) by looked-up row, identifiers (B,) the rows of the
  table. Gradients of equal identifiers are summed over the whole batch; every occurrence of a row gets the same
  update, so writing them back is unambiguous.
  """

  def update(grads, state, params=None, *, identifiers):
    del params
    same_BxB = (identifiers[:, None] == identifiers[None, :]).astype(grads.dtype)
    return jnp.sign(jnp.matmul(same_BxB, grads, precision=jax.lax.Precision.HIGHEST)), state

  return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def sign_sgd_rows(
    learning_rate: optax.ScalarOrSchedule, *, weight_decay: float = 0.0
) -> optax.GradientTransformationExtraArgs:
  """Sign-SGD with decoupled decay for the rows of the prefix table that a batch uses (see `sign_of_row_sums`).

  Give it the rows as parameters and set `table.at[identifiers].set(rows + updates)`; rows that the batch does not
  use neither move nor decay.
  """
  return optax.chain(
      sign_of_row_sums(),
      optax.add_decayed_weights(weight_decay),
      optax.scale_by_learning_rate(learning_rate),
  )


class EmaState(NamedTuple):
  """State of `ema`. Attributes: count, () int32, updates made; ema, the average, shaped like the parameters."""

  count: jax.Array
  ema: Any


def ema(rate: float, *, start: int = 0) -> optax.GradientTransformation:
  """Keeps an exponential moving average of the parameters; passes updates on unchanged, so chain it last.

  It averages every step's new parameters, without bias correction (as the reference). The state's `ema` is the average.

  Args:
    rate: weight of the average so far.
    start: number of updates during which the average equals the parameters; 0: it begins with the initial parameters.
  """

  def init(params):
    return EmaState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.copy, params))

  def update(updates, state, params):
    # Without a start the rate stays a constant of the program, so that 1 - rate is rounded only once.
    now = jnp.where(state.count < start, 0.0, rate) if start else rate
    new = jax.tree.map(lambda e, p, u: now * e + (1 - now) * (p + u), state.ema, params, updates)
    return updates, EmaState(state.count + 1, new)

  return optax.GradientTransformation(init, update)
