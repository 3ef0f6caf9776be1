# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Stablemax cross entropy against float64, at the edges of float32, and the loss and metrics of a step by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import LossConfig
from trm_jax.data.puzzles import IGNORE_LABEL
from trm_jax.model import Carry, Outputs
from trm_jax.training import losses

# Where one branch or the other would divide by zero, overflow or underflow.
EDGES = [0.0, -0.0, 1.0, -1.0, np.nextafter(np.float32(1), np.float32(2)), np.nextafter(np.float32(1), np.float32(0)),
         1e38, -1e38, 3.38e38, -3.38e38, 1e-40, -1e-40, 1e-45, -1e-45, 0.5, -7.0]


def stablemax_float64(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Cross entropy by cell, and its gradient by logit, as docs/model.md has it."""
  x = logits.astype(np.float64)
  s = np.where(x >= 0, x + 1, 1 / (1 - np.minimum(x, 0)))
  p = s / s.sum(-1, keepdims=True)
  counted = labels != IGNORE_LABEL
  chosen = np.eye(x.shape[-1])[np.where(counted, labels, 0)]
  loss = np.where(counted, -np.log((p * chosen).sum(-1)), 0)
  slope = np.where(x >= 0, 1 / (1 + np.maximum(x, 0)), 1 / (1 - np.minimum(x, 0)))  # of log s
  return loss, (p - chosen) * slope * counted[..., None]


@jax.jit
def loss_and_gradient(logits, labels):
  loss = losses.cross_entropy(logits, labels)
  return loss, jax.grad(lambda x: losses.cross_entropy(x, labels).sum())(logits)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_stablemax_against_float64(dtype):
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(4, 5, 7)) * rng.choice([0.1, 1, 30], (4, 5, 1)), dtype)
  labels = rng.integers(0, 7, (4, 5))
  labels[0, 0] = labels[1] = IGNORE_LABEL
  loss, gradient = loss_and_gradient(logits, jnp.asarray(labels))
  expected_loss, expected_gradient = stablemax_float64(np.asarray(logits, np.float64), labels)
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      np.float64(gradient), expected_gradient, rtol=1e-5 if dtype == jnp.float32 else 1e-2, atol=1e-6)


@pytest.mark.parametrize("cells", ["stablemax", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
def test_the_target_of_a_cell_may_be_smooth(cells, smoothing):
  """Against the sum over tokens of target times log p, in float64; the gradient by differences."""
  rng = np.random.default_rng(1)
  logits, labels = rng.normal(size=(2, 3, 7)) * 3, rng.integers(0, 7, (2, 3))
  labels[0, 1] = IGNORE_LABEL

  def expected(x):
    s = np.where(x >= 0, x + 1, 1 / (1 - np.minimum(x, 0))) if cells == "stablemax" else np.exp(x)
    log_p = np.log(s / s.sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(7)[np.maximum(labels, 0)] + smoothing / 7
    return np.where(labels == IGNORE_LABEL, 0, -(target * log_p).sum(-1))

  loss = functools.partial(losses.cross_entropy, labels_BxS=jnp.asarray(labels), cells=cells, smoothing=smoothing)
  np.testing.assert_allclose(loss(jnp.asarray(logits)), expected(logits), rtol=1e-5, atol=1e-6)
  gradient = jax.grad(lambda x: loss(x).sum())(jnp.asarray(logits))
  for token in range(7):
    step = 1e-5 * np.eye(7)[token]
    np.testing.assert_allclose(gradient[..., token], (expected(logits + step) - expected(logits - step)) / 2e-5,
                               rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_stablemax_at_the_edges(dtype):
  """Every pair of extreme logits, with each of the two as the label: finite, and what float64 says."""
  logits = jnp.asarray(list(itertools.product(EDGES, EDGES)), dtype)[None]
  assert np.isfinite(np.float64(logits)).all()
  for label in (0, 1):
    labels = np.full(logits.shape[:2], label)
    loss, gradient = loss_and_gradient(logits, jnp.asarray(labels))
    assert np.isfinite(loss).all() and np.isfinite(np.float32(gradient)).all()
    expected_loss, expected_gradient = stablemax_float64(np.asarray(logits, np.float64), labels)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.float64(gradient), expected_gradient, rtol=1e-5 if dtype == jnp.float32 else 1e-2, atol=1e-6)


def test_ignored_cells_have_no_gradient():
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 6, (3, 8))
  labels[rng.random(labels.shape) < 0.4] = IGNORE_LABEL
  labels[2] = IGNORE_LABEL
  loss, gradient = loss_and_gradient(jnp.float32(rng.normal(size=(3, 8, 6))), jnp.asarray(labels))
  ignored = labels == IGNORE_LABEL
  assert (np.asarray(loss)[ignored] == 0).all() and (np.asarray(gradient)[ignored] == 0).all()
  assert (np.asarray(loss)[~ignored] > 0).all() and (np.asarray(gradient)[~ignored] != 0).all()


# Five rows: halted and right, halted and wrong in one of three counted cells, halted with nothing counted, not halted
# and right, halted, wrong and confident.
LABELS = np.array([[1, 2, 3, 0], [1, 2, 3, IGNORE_LABEL], [IGNORE_LABEL] * 4, [0, 0, 1, 1], [3, 3, 3, 3]])
PREDICTED = np.array([[1, 2, 3, 0], [1, 2, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1], [3, 3, 0, 3]])
Q_HALT = np.array([0.0, -2.0, 3.0, -1.0, 2.0])
HALTED = np.array([True, True, True, False, True])
STEPS = np.array([3, 4, 2, 1, 1])


def step_results(q_continue=None, target=None) -> tuple[Carry, Outputs]:
  logits = np.random.default_rng(0).normal(size=(5, 4, 5))
  np.put_along_axis(logits, PREDICTED[..., None], 5.0, -1)
  B, L, D = 5, 4, 1
  carry = Carry(z_H=jnp.zeros((B, L, D)), z_L=jnp.zeros((B, L, D)), steps=jnp.asarray(STEPS),
                halted=jnp.asarray(HALTED), batch={"labels": jnp.asarray(LABELS)})
  return carry, Outputs(
      logits=jnp.float32(logits),
      q_halt=jnp.float32(Q_HALT),
      q_continue=jnp.zeros(B) if q_continue is None else jnp.float32(q_continue),
      target_q_continue=None if target is None else jnp.float32(target))


def cross_entropy(logit, target):
  p = 1 / (1 + np.exp(-logit))
  return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def expected_lm_loss(outputs: Outputs) -> float:
  cells, _ = stablemax_float64(np.asarray(outputs.logits), LABELS)
  return cells[0].mean() + cells[1, :3].mean() + 0 + cells[3].mean() + cells[4].mean()


# A row without a counted cell has every counted cell right, and teaches the halting head so, as in the reference.
EXACT = np.array([1, 0, 1, 1, 0])


def test_act_loss():
  """Losses over all rows, each by its own mean; metrics over the rows that halt and have a counted cell."""
  carry, outputs = step_results()
  loss, metrics = jax.jit(losses.act_loss)(carry, outputs)
  lm_loss = expected_lm_loss(outputs)
  q_halt_loss = cross_entropy(Q_HALT, EXACT).sum()
  assert float(loss) == pytest.approx(lm_loss + 0.5 * q_halt_loss, rel=1e-6)
  assert {name: float(value) for name, value in metrics.items()} == {
      "lm_loss": pytest.approx(lm_loss, rel=1e-6),
      "q_halt_loss": pytest.approx(q_halt_loss, rel=1e-6),
      "count": 3,
      "accuracy": pytest.approx(1 + 2 / 3 + 3 / 4, rel=1e-6),
      "exact_accuracy": 1,
      "q_halt_accuracy": 2,  # 0 counts as "right": rows 0 and 1 are judged rightly, row 4 is not
      "steps": 3 + 4 + 1,
  }


def test_act_loss_q_continue():
  q_continue, target = np.array([0.3, -1.0, 2.0, 0.0, -0.2]), np.array([0.1, 0.9, 0.5, 1.0, 0.0])
  carry, outputs = step_results(q_continue, target)
  loss, metrics = jax.jit(losses.act_loss)(carry, outputs)
  q_continue_loss = cross_entropy(q_continue, target).sum()
  assert float(metrics["q_continue_loss"]) == pytest.approx(q_continue_loss, rel=1e-6)
  assert float(loss) == pytest.approx(
      expected_lm_loss(outputs) + 0.5 * (cross_entropy(Q_HALT, EXACT).sum() + q_continue_loss), rel=1e-6)


@pytest.mark.parametrize("logit", [-50.0, -0.7, 0.0, 3.0, 50.0])
def test_expected_extra_steps(logit):
  """The sum of (1 - p)^k over the steps left, in float64."""
  left = np.arange(5)
  goes_on = 1 / (1 + np.exp(logit))
  expected = [sum(goes_on**k for k in range(1, n + 1)) for n in left]
  found = losses.expected_extra_steps(jnp.full(5, logit), jnp.asarray(left), 4)
  np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-12)


def test_act_loss_weighs_supervision_steps_and_makes_them_cost():
  """Each row by its own step and its own expectation; the metrics stay unweighted."""
  carry, outputs = step_results()
  plain = jax.jit(losses.act_loss)(carry, outputs)[1]
  loss, metrics = jax.jit(functools.partial(
      losses.act_loss, config=LossConfig(step_decay=0.7, halt_cost=0.01), halt_max_steps=6))(
      carry, outputs)
  cells, _ = stablemax_float64(np.asarray(outputs.logits), LABELS)
  goes_on = 1 / (1 + np.exp(Q_HALT))
  extra = np.array([sum(p**k for k in range(1, 6 - s + 1)) for p, s in zip(goes_on, STEPS)])
  rows = cells.sum(-1) / np.maximum((LABELS != IGNORE_LABEL).sum(-1), 1) + 0.5 * cross_entropy(Q_HALT, EXACT)
  expected = ((rows + 0.01 * extra) * 0.7 ** (STEPS - 1)).sum()
  assert float(loss) == pytest.approx(expected, rel=1e-6)
  assert float(metrics.pop("extra_steps")) == pytest.approx(extra.sum(), rel=1e-6)
  assert metrics == plain


def test_act_loss_by_softmax_with_a_lighter_halting_head():
  """As the knobs say; what is reported of cells is what they are trained by."""
  carry, outputs = step_results()
  config = LossConfig(cells="softmax", label_smoothing=0.2, halting_weight=0.05)
  loss, metrics = jax.jit(functools.partial(losses.act_loss, config=config))(carry, outputs)
  x = np.asarray(outputs.logits, np.float64)
  log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
  counted = LABELS != IGNORE_LABEL
  right = np.take_along_axis(log_p, np.where(counted, LABELS, 0)[..., None], -1)[..., 0]
  rows = (np.where(counted, -0.8 * right - 0.2 * log_p.mean(-1), 0).sum(-1)) / np.maximum(counted.sum(-1), 1)
  assert float(metrics["lm_loss"]) == pytest.approx(rows.sum(), rel=1e-5)
  assert float(loss) == pytest.approx(rows.sum() + 0.05 * cross_entropy(Q_HALT, EXACT).sum(), rel=1e-5)
