# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Losses and metrics of one supervision step (paper, section 4; `losses.py` of the reference)."""

import jax
import jax.numpy as jnp
import optax

from trm_jax.data.puzzles import IGNORE_LABEL
from trm_jax.model import Carry, Outputs


def stablemax_cross_entropy(logits_BxSxV: jax.Array, labels_BxS: jax.Array) -> jax.Array:
  """-log p of the label, where p = s / sum(s), s(x) = x + 1 for x >= 0 and 1 / (1 - x) below.

  In float32 and finite, with finite gradients, for every finite logit: both branches are taken of arguments clipped
  to their side, so that the one not chosen never divides by zero (the plain form does, at a logit of exactly 1), and
  the sum is taken in logarithms, so that it cannot overflow.

  Args:
    logits_BxSxV: floating point.
    labels_BxS: integers in [0, V) or IGNORE_LABEL.

  Returns:
    (B, S) float32, 0 where the label is IGNORE_LABEL.
  """
  x = logits_BxSxV.astype(jnp.float32)
  log_s = jnp.log1p(jnp.maximum(x, 0)) - jnp.log1p(jnp.maximum(-x, 0))
  counted = labels_BxS != IGNORE_LABEL
  label = jnp.where(counted, labels_BxS, 0)[..., None]
  log_p = jnp.take_along_axis(log_s, label, axis=-1)[..., 0] - jax.nn.logsumexp(log_s, axis=-1)
  return jnp.where(counted, -log_p, 0)


def count_right(logits_BxSxV: jax.Array, labels_BxS: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Number of cells that are counted, and that are counted and right: two (B,) int32."""
  counted = labels_BxS != IGNORE_LABEL
  right = counted & (jnp.argmax(logits_BxSxV, -1) == labels_BxS)
  return counted.sum(-1), right.sum(-1)


def act_loss(carry: Carry, outputs: Outputs) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Loss of one supervision step, summed over rows, and sums for its metrics.

  The step's own carry holds the labels, because a row that goes on ignores the batch it was offered.

  Args:
    carry: after the step, with `labels` (B, S) in its batch.
    outputs: of the step.

  Returns:
    The scalar loss and a dict of scalars, all float32 sums over rows: lm_loss, q_halt_loss (and q_continue_loss
    where it is trained) over all rows; count, accuracy (share of right cells), exact_accuracy, q_halt_accuracy and
    steps over rows that halt at this step and have a counted cell.
  """
  labels = carry.batch["labels"]
  num_counted, num_right = count_right(outputs.logits, labels)
  exact = num_right == num_counted

  cells = stablemax_cross_entropy(outputs.logits, labels)
  lm_loss = (cells.sum(-1) / jnp.maximum(num_counted, 1)).sum()
  q_halt_loss = optax.sigmoid_binary_cross_entropy(outputs.q_halt, exact.astype(jnp.float32)).sum()
  q_loss = q_halt_loss

  finished = carry.halted & (num_counted > 0)

  def over_finished(values):
    return jnp.where(finished, values, 0).sum().astype(jnp.float32)

  metrics = {
      "count": over_finished(1),
      "accuracy": over_finished(num_right / jnp.maximum(num_counted, 1)),
      "exact_accuracy": over_finished(exact),
      "q_halt_accuracy": over_finished((outputs.q_halt >= 0) == exact),
      "steps": over_finished(carry.steps),
      "lm_loss": lm_loss,
      "q_halt_loss": q_halt_loss,
  }
  if outputs.target_q_continue is not None:
    metrics["q_continue_loss"] = optax.sigmoid_binary_cross_entropy(
        outputs.q_continue, outputs.target_q_continue).sum()
    q_loss += metrics["q_continue_loss"]
  return lm_loss + 0.5 * q_loss, metrics
