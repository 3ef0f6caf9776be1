# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Optimizers against loops in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trm_jax.config import OptimizerConfig
from trm_jax.model import TRMConfig
from trm_jax.runtime import sharding
from trm_jax.training import optim
from trm_jax.training.train_step import Trainer

PARAMS = {"matrix": np.random.default_rng(0).normal(size=(3, 4)), "bias": np.array([0.5, -2.0])}
GRADS = [{name: np.random.default_rng(seed).normal(size=value.shape) * 10.0 ** -seed
          for name, value in PARAMS.items()} for seed in range(1, 7)]


def to_jax(tree):
  return jax.tree.map(jnp.float32, tree)


def follow(optimizer, grads=GRADS, params=PARAMS):
  """Parameters after each step."""
  params, trajectory = to_jax(params), []
  state = optimizer.init(params)
  for g in grads:
    updates, state = optimizer.update(to_jax(g), state, params)
    params = optax.apply_updates(params, updates)
    trajectory.append(params)
  return trajectory, state


def moments(grads, name, b1, b2):
  """t, m, v, from gradients of one parameter."""
  m = v = 0.0
  for t, g in enumerate(grads, start=1):
    m = b1 * m + (1 - b1) * g[name]
    v = b2 * v + (1 - b2) * g[name]**2
    yield t, m, v


def assert_trajectory(trajectory, expected_updates):
  """expected_updates(name) yields a function p -> p of each step."""
  for name, p in PARAMS.items():
    for params, update in zip(trajectory, expected_updates(name), strict=True):
      p = update(p)
      np.testing.assert_allclose(params[name], p, rtol=2e-6, atol=1e-7, err_msg=name)


def test_adam_atan2():
  b1, b2, weight_decay = 0.9, 0.95, 0.3

  def lr(t):
    return 0.01 * t

  def updates(name):
    for t, m, v in moments(GRADS, name, b1, b2):
      yield lambda p, t=t, m=m, v=v: p * (1 - lr(t) * weight_decay) - lr(t) / (1 - b1**t) * np.arctan2(
          m, np.sqrt(v) / np.sqrt(1 - b2**t))

  trajectory, _ = follow(optim.adam_atan2(lambda count: lr(count + 1), b1=b1, b2=b2, weight_decay=weight_decay))
  assert_trajectory(trajectory, updates)


def test_adam_atan2_ignores_the_scale_of_the_loss():
  optimizer = optim.adam_atan2(0.01)
  trajectory, _ = follow(optimizer)
  scaled, _ = follow(optimizer, [jax.tree.map(lambda g: 2.0**20 * g, g) for g in GRADS])
  for params, params_scaled in zip(trajectory, scaled, strict=True):
    jax.tree.map(np.testing.assert_array_equal, params, params_scaled)


def test_adam_atan2_first_step():
  """atan2(0.1 g, |g|) / 0.1, no factor 1.27 in front; nothing where there is no gradient, not even NaN."""
  optimizer = optim.adam_atan2(1.0)
  params = {"p": jnp.zeros(3)}
  updates, _ = optimizer.update({"p": jnp.array([5.0, -1e-9, 0.0])}, optimizer.init(params), params)
  np.testing.assert_allclose(updates["p"], np.array([-1, 1, 0]) * math.atan2(0.1, 1) / 0.1, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam_atan2", "adamw"])
def test_decay_reaches_every_parameter(name):
  """Biases and embeddings too."""
  config = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5, warmup_steps=0)
  optimizer = trainer(config).optimizer
  trajectory, _ = follow(optimizer, [jax.tree.map(np.zeros_like, PARAMS)] * 2)
  for leaf, expected in zip(jax.tree.leaves(trajectory[-1]), jax.tree.leaves(PARAMS), strict=True):
    np.testing.assert_allclose(leaf, expected * 0.95**2, rtol=1e-6)


def trainer(config: OptimizerConfig, total_steps: int = 100) -> Trainer:
  model = TRMConfig(vocab_size=3, seq_len=2, hidden_size=4, puzzle_emb_ndim=4, puzzle_emb_len=1)
  return Trainer(model, config, mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=2, total_steps=total_steps)


def test_adamw():
  """The trainer's AdamW: b1, b2, weight decay and warmup as configured, epsilon 1e-8 outside the root."""
  b1, b2, weight_decay, peak, warmup = 0.8, 0.9, 0.3, 0.01, 3
  config = OptimizerConfig(name="adamw", learning_rate=peak, weight_decay=weight_decay, b1=b1, b2=b2,
                           warmup_steps=warmup)

  def updates(name):
    for t, m, v in moments(GRADS, name, b1, b2):
      lr = peak * min(1, t / warmup)
      yield lambda p, t=t, m=m, v=v, lr=lr: p * (1 - lr * weight_decay) - lr * (
          m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8))

  trajectory, _ = follow(trainer(config).optimizer)
  assert_trajectory(trajectory, updates)


def test_sign_sgd_rows():
  """Gradients of equal identifiers are summed over the whole batch; rows that it does not use stay as they are."""
  rng = np.random.default_rng(0)
  lr, weight_decay = 0.1, 0.5
  table = np.float32(rng.normal(size=(6, 3)))
  identifiers = np.array([4, 1, 4, 0, 4, 1])
  grads = rng.normal(size=(6, 3))
  grads[0, 0], grads[2, 0], grads[4, 0] = 3.0, -1.0, -1.0  # the sum's sign is that of neither the last nor the majority
  grads[3, 1] = 0.0
  grads[[1, 5], 2] = 0.25, -0.25

  expected = table.astype(np.float64)
  for identifier in np.unique(identifiers):
    total = grads[identifiers == identifier].sum(0)
    expected[identifier] = expected[identifier] * (1 - lr * weight_decay) - lr * np.sign(total)

  optimizer = optim.sign_sgd_rows(lr, weight_decay=weight_decay)
  rows = jnp.asarray(table)[identifiers]
  updates, _ = optimizer.update(jnp.float32(grads), optimizer.init(None), rows, identifiers=jnp.asarray(identifiers))
  result = np.asarray(jnp.asarray(table).at[identifiers].set(rows + updates))
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)
  unused = [2, 3, 5]
  assert result[unused].tobytes() == table[unused].tobytes()


def test_ema():
  """Starts at the initial parameters, takes the new ones, is not corrected; lets updates through as they are."""
  rate = 0.7
  optimizer = optax.chain(optax.sgd(0.1), optim.ema(rate))
  trajectory, state = follow(optimizer)
  average = PARAMS
  for params in trajectory:
    average = {name: rate * average[name] + (1 - rate) * np.float64(params[name]) for name in PARAMS}
  plain, _ = follow(optax.sgd(0.1))
  for name in PARAMS:
    np.testing.assert_allclose(state[-1].ema[name], average[name], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(trajectory[-1][name], plain[-1][name])


@pytest.mark.parametrize("start", [1, 2, 5])
def test_the_average_may_start_later(start):
  """Until then it is the parameters themselves, and so begins with those of that step."""
  trajectory, state = follow(optax.chain(optax.sgd(0.1), optim.ema(0.7, start=start)))
  average = trajectory[min(start, len(trajectory)) - 1]
  for params in trajectory[start:]:
    average = {name: 0.7 * average[name] + 0.3 * np.float64(params[name]) for name in PARAMS}
  for name in PARAMS:
    np.testing.assert_allclose(state[-1].ema[name], average[name], rtol=1e-5, atol=1e-7)


def test_warmup_cosine():
  schedule = optim.warmup_cosine(0.5, warmup_steps=4, total_steps=24, min_ratio=0.2)

  def at(t):  # Optax counts from 0, docs/model.md from 1.
    return pytest.approx(float(schedule(t - 1)), rel=1e-6)

  assert at(1) == 0.5 / 4
  assert at(3) == 0.5 * 3 / 4
  assert at(4) == 0.5
  assert at(9) == 0.5 * (0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
  assert at(14) == 0.5 * 0.6
  assert at(24) == 0.5 * 0.2


def test_warmup_cosine_constant():
  schedule = optim.warmup_cosine(0.5, warmup_steps=0, total_steps=10, min_ratio=1.0)
  np.testing.assert_allclose([schedule(count) for count in range(10)], 0.5, rtol=1e-6)


def test_muon_orthogonalises_every_matrix_of_the_networks_by_itself():
  """Gate and up lie stacked, as do q, k and v; what is no matrix of a network is AdamW's, at a rate of its own.

  The update is longer by sqrt(outputs / inputs) where that is more than 1, so it matters which axis is which.
  """
  rng = np.random.default_rng(5)
  params = {
      "L_level": {"layers": {0: {"mix": {"gate_up": rng.normal(size=(2, 12, 5)), "down": rng.normal(size=(5, 12))},
                                 "mlp": {"gate_up": rng.normal(size=(6, 2, 8)), "down": rng.normal(size=(8, 6))}}}},
      "lm_head": rng.normal(size=(6, 4)), "q_head_bias": rng.normal(size=2)}
  grads = [jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in range(2)]
  optimizer = optim.muon(0.1, 0.3, momentum=0.7, matrix_weight_decay=0.4, b1=0.8, b2=0.9, weight_decay=0.2)
  [*_, ours], _ = follow(optimizer, grads, params)
  layer, first, *others = ours["L_level"]["layers"][0], params["L_level"]["layers"][0], *(
      g["L_level"]["layers"][0] for g in grads)

  def alone(matrix, matrix_grads):
    """Optax on one matrix, inputs x outputs."""
    [*_, p], _ = follow(optax.contrib.muon(0.1, beta=0.7, weight_decay=0.4), matrix_grads, matrix)
    return p

  for i in range(2):  # the token mixer's are outputs x inputs
    np.testing.assert_allclose(layer["mix"]["gate_up"][i].T, alone(
        first["mix"]["gate_up"][i].T, [g["mix"]["gate_up"][i].T for g in others]), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(layer["mlp"]["gate_up"][:, i], alone(
        first["mlp"]["gate_up"][:, i], [g["mlp"]["gate_up"][:, i] for g in others]), rtol=2e-5, atol=2e-6)
  np.testing.assert_allclose(layer["mix"]["down"].T, alone(
      first["mix"]["down"].T, [g["mix"]["down"].T for g in others]), rtol=2e-5, atol=2e-6)
  np.testing.assert_allclose(layer["mlp"]["down"], alone(
      first["mlp"]["down"], [g["mlp"]["down"] for g in others]), rtol=2e-5, atol=2e-6)
  rest = {name: params[name] for name in ("lm_head", "q_head_bias")}
  [*_, adamw], _ = follow(optax.adamw(0.3, b1=0.8, b2=0.9, weight_decay=0.2, nesterov=True),
                          [{name: g[name] for name in rest} for g in grads], rest)
  for name in rest:
    np.testing.assert_allclose(ours[name], adamw[name], rtol=1e-6, atol=1e-7)


def test_gradients_are_clipped_together():
  """The update is that of gradients scaled down to the norm, all parameters together; shorter ones stay."""
  tiny = TRMConfig(vocab_size=3, seq_len=2, hidden_size=4, L_layers=1, num_heads=1, puzzle_emb_ndim=0, puzzle_emb_len=0)
  mesh = sharding.make_mesh(jax.devices()[:1])
  make = functools.partial(OptimizerConfig, name="adamw", learning_rate=0.1, warmup_steps=0, ema_rate=0.0)
  clipped, plain = (Trainer(tiny, config, mesh=mesh, batch_size=2, total_steps=9).optimizer
                    for config in (make(clip_norm=0.5), make()))
  rng = np.random.default_rng(1)
  grads = [{"a": scale * rng.normal(size=3), "b": scale * rng.normal(size=(2, 2))} for scale in (100.0, 0.01, 3.0)]

  def scaled(g):
    norm = np.sqrt(sum((x**2).sum() for x in g.values()))
    return {name: x * min(1, 0.5 / norm) for name, x in g.items()}

  params = {"a": np.ones(3), "b": np.ones((2, 2))}
  ours, _ = follow(clipped, grads, params)
  expected, _ = follow(plain, [scaled(g) for g in grads], params)
  for found, wanted in zip(ours, expected, strict=True):
    for name in params:
      np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)
