# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of the matrix products and what they leave behind, counted by hand.

The compiler's own count takes the body of a loop once, however often it runs.
"""

from collections.abc import Sequence

from trm_jax.model.config import TRMConfig, swiglu_width


def block_flops(config: TRMConfig) -> int:
  """FLOPs of one block of a network on one example, forward."""
  L, D = config.positions, config.hidden_size
  mlp = 3 * L * D * swiglu_width(D, config.expansion)
  mix = 3 * L * D * swiglu_width(L, config.expansion) if config.mlp_t else 4 * L * D * D + 2 * L * L * D
  return 2 * (mlp + mix)


def _blocks(config: TRMConfig) -> int:
  """Blocks that an example passes in one supervision step."""
  if config.recursion == "none":
    return config.L_layers
  return config.H_cycles * (config.L_cycles * config.L_layers + (config.H_layers or config.L_layers))


def _applications_with_gradient(config: TRMConfig) -> list[int]:
  """Blocks of each application of a network that is also run backward."""
  if config.recursion == "none":
    return [config.L_layers]
  updates = 1 if config.gradient == "one_step" else config.L_cycles
  return [config.L_layers] * updates + [config.H_layers or config.L_layers]


def _embed_flops(config: TRMConfig) -> int:
  """FLOPs of embedding one example's tokens, forward."""
  return 2 * config.seq_len * config.vocab_size * config.hidden_size


def _heads_flops(config: TRMConfig) -> int:
  """FLOPs of the answer head and the two halting logits of one example, forward."""
  return 2 * config.hidden_size * (config.seq_len * config.vocab_size + 2)


def eval_step_flops(config: TRMConfig) -> int:
  """FLOPs of one supervision step of one example without gradient; a TRM applies its network T (n + 1) times."""
  return _blocks(config) * block_flops(config) + _embed_flops(config) + _heads_flops(config)


def train_step_flops(config: TRMConfig) -> int:
  """FLOPs of one supervision step of one example with gradient.

  The applications with a gradient (TRM: the last cycle) and the heads also run backward, at twice their cost; so does
  the embedding, at its own cost, since its one-hot rows need no gradient. With q_continue all cycles run once more, for
  two logits.
  """
  blocks = (1 + config.q_continue) * _blocks(config) + 2 * sum(_applications_with_gradient(config))
  return (blocks * block_flops(config) + 2 * _embed_flops(config) + 3 * _heads_flops(config)
          + config.q_continue * 4 * config.hidden_size)


def training_flops(stages: Sequence[tuple[int, TRMConfig]], batch_size: int, steps: int) -> int:
  """FLOPs of the first steps of a run on all devices together.

  Args:
    stages: the step after which each begins, and its model; the first begins at 0 (config.depth_schedule).
    batch_size: global.
    steps: number of steps.
  """
  ends = [*(start for start, _ in stages[1:]), steps]
  return batch_size * sum(
      max(0, min(steps, end) - start) * train_step_flops(model) for (start, model), end in zip(stages, ends))


def kept_elements(config: TRMConfig) -> int:
  """Number of elements that the backward pass keeps for one example, on all devices along `model` together.

  For each application with gradient it keeps the input and the results of products (layers.keep_products).
  """
  L, D = config.positions, config.hidden_size
  inner = 1 if config.kernels == "pallas" else 2  # the gated result, or the gate and the up
  mlp = inner * L * swiglu_width(D, config.expansion) + L * D
  mix = inner * D * swiglu_width(L, config.expansion) + L * D if config.mlp_t else 5 * L * D
  return sum(L * D + blocks * (mlp + mix) for blocks in _applications_with_gradient(config))
