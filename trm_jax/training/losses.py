# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Losses and metrics of one supervision step (paper, section 4; `losses.py` of the reference)."""

import jax
import jax.numpy as jnp
import optax

from trm_jax.config import LossConfig
from trm_jax.data.puzzles import IGNORE_LABEL
from trm_jax.model.trm import Carry, Outputs


def stablemax_scores(logits: jax.Array) -> jax.Array:
  """log s, where s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; the probabilities are s / sum(s).

  The result is float32 and finite, with finite gradients, for every finite logit: both branches get arguments clipped
  to their side, so that the one not chosen never divides by zero (the plain form does, at a logit of exactly 1).
  """
  x = logits.astype(jnp.float32)
  return jnp.log1p(jnp.maximum(x, 0)) - jnp.log1p(jnp.maximum(-x, 0))


def cross_entropy(logits_BxSxV: jax.Array, labels_BxS: jax.Array, *, cells: str = "stablemax", smoothing: float = 0.0
                  ) -> jax.Array:
  """-sum(target log p) of every cell, in float32; the sum in p is taken in logarithms, so that it cannot overflow.

  Args:
    logits_BxSxV: floating point.
    labels_BxS: integers in [0, V) or IGNORE_LABEL.
    cells: how logits become probabilities: stablemax (see `stablemax_scores`) or softmax.
    smoothing: the target is 1 - smoothing at the label, plus smoothing / V at every token.

  Returns:
    (B, S) float32, 0 where the label is IGNORE_LABEL.
  """
  log_s = stablemax_scores(logits_BxSxV) if cells == "stablemax" else logits_BxSxV.astype(jnp.float32)
  counted = labels_BxS != IGNORE_LABEL
  label = jnp.where(counted, labels_BxS, 0)[..., None]
  log_sum = jax.nn.logsumexp(log_s, axis=-1)
  loss = log_sum - jnp.take_along_axis(log_s, label, axis=-1)[..., 0]
  if smoothing:
    loss = (1 - smoothing) * loss + smoothing * (log_sum - log_s.mean(-1))
  return jnp.where(counted, loss, 0)


def count_right(logits_BxSxV: jax.Array, labels_BxS: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Numbers of counted cells, and of counted cells that are right: two (B,) int32."""
  counted = labels_BxS != IGNORE_LABEL
  right = counted & (jnp.argmax(logits_BxSxV, -1) == labels_BxS)
  return counted.sum(-1), right.sum(-1)


def of_answers(outputs: Outputs, labels_BxS: jax.Array, config: LossConfig = LossConfig()) -> dict[str, jax.Array]:
  """The two losses of each row that training and evaluation report.

  Args:
    outputs: of a supervision step.
    labels_BxS: integers in [0, V) or IGNORE_LABEL.
    config: how cells are scored.

  Returns:
    Two (B,) float32: `lm_loss`, the mean over the counted cells of a row (0 where there are none), and `q_halt_loss`,
    the binary cross-entropy between the halting head and whether every counted cell is right.
  """
  num_counted, num_right = count_right(outputs.logits, labels_BxS)
  return {
      "lm_loss": cross_entropy(outputs.logits, labels_BxS, cells=config.cells, smoothing=config.label_smoothing
                               ).sum(-1) / jnp.maximum(num_counted, 1),
      "q_halt_loss": optax.sigmoid_binary_cross_entropy(
          outputs.q_halt, (num_right == num_counted).astype(jnp.float32)),
  }


def expected_extra_steps(halt_logit_B: jax.Array, steps_left_B: jax.Array, max_steps: int) -> jax.Array:
  """Expected number of supervision steps that a row still makes, if it halts after each with its current probability.

  With p = sigmoid(halt_logit) that is the sum of (1 - p)^k over the steps k that are left.

  Args:
    halt_logit_B: float32.
    steps_left_B: integers from 0 to max_steps.
    max_steps: the most steps that any row makes.

  Returns:
    (B,) float32, from 0 to the steps that are left.
  """
  k = jnp.arange(1, max_steps + 1)[None]
  goes_on_BxM = jnp.exp(-k * jax.nn.softplus(halt_logit_B)[:, None])  # softplus(q) = -log(1 - p)
  return jnp.where(k <= steps_left_B[:, None], goes_on_BxM, 0).sum(-1)


def act_loss(carry: Carry, outputs: Outputs, config: LossConfig = LossConfig(), *, halt_max_steps: int = 0
             ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Loss of one supervision step, summed over rows, and sums for its metrics.

  The labels are those in the step's own carry, because a row that has not halted ignores the batch it was offered.

  Args:
    carry: after the step, with `labels` (B, S) in its batch.
    outputs: of the step.
    config: weights of the parts; step_decay as in CGAR (arXiv:2511.08653).
    halt_max_steps: of the model; needed if config.halt_cost > 0.

  Returns:
    The scalar loss and a dict of scalars, all float32 sums over rows: lm_loss, q_halt_loss (and q_continue_loss
    if it is trained, extra_steps if they cost) over all rows, unweighted; count, accuracy (share of right
    cells), exact_accuracy, q_halt_accuracy and steps over rows that halt at this step and have a counted cell.
  """
  labels = carry.batch["labels"]
  num_counted, num_right = count_right(outputs.logits, labels)
  exact = num_right == num_counted

  losses = of_answers(outputs, labels, config)
  factors = {"lm_loss": 1.0, "q_halt_loss": config.halting_weight, "q_continue_loss": config.halting_weight,
             "extra_steps": config.halt_cost}
  if outputs.target_q_continue is not None:
    losses["q_continue_loss"] = optax.sigmoid_binary_cross_entropy(outputs.q_continue, outputs.target_q_continue)
  if config.halt_cost:
    margin = outputs.q_halt if outputs.target_q_continue is None else outputs.q_halt - outputs.q_continue
    losses["extra_steps"] = expected_extra_steps(margin, halt_max_steps - carry.steps, halt_max_steps)
  loss = sum(factors[name] * value for name, value in losses.items())
  if config.step_decay != 1:
    loss *= config.step_decay ** (carry.steps - 1).astype(jnp.float32)

  finished = carry.halted & (num_counted > 0)

  def over_finished(values):
    return jnp.where(finished, values, 0).sum().astype(jnp.float32)

  return loss.sum(), {name: value.sum() for name, value in losses.items()} | {
      "count": over_finished(1),
      "accuracy": over_finished(num_right / jnp.maximum(num_counted, 1)),
      "exact_accuracy": over_finished(exact),
      "q_halt_accuracy": over_finished((outputs.q_halt >= 0) == exact),
      "steps": over_finished(carry.steps),
  }
