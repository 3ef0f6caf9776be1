# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The FLOP formulas against what the traced program multiplies and what the compiler counts."""

import dataclasses
import math
import os
import types

from flax import nnx
import jax
from jax.extend import core as jex_core
import pytest

from trm_jax.config import Config, OptimizerConfig
from trm_jax.model import flops
from trm_jax.model import TRM
from trm_jax.runtime import chips
from trm_jax.runtime import sharding
from trm_jax.training import losses
from trm_jax.training.train_step import Trainer

SUDOKU = Config().model.sized(vocab_size=11, seq_len=81)
MODELS = {
    "sudoku": {},
    "attention": dict(mlp_t=False, pos_encodings="rope"),
    "maze": dict(mlp_t=False, pos_encodings="rope", L_cycles=4, seq_len=900, vocab_size=6),
    "learned positions": dict(pos_encodings="learned"),
    "no prefix": dict(puzzle_emb_ndim=0, puzzle_emb_len=0),
    # No two sizes alike, so that none can stand for another.
    "odd": dict(hidden_size=56, num_heads=7, L_layers=3, H_cycles=2, L_cycles=5, seq_len=13, vocab_size=5,
                puzzle_emb_ndim=50, puzzle_emb_len=4, expansion=3.0),
    "odd attention": dict(hidden_size=56, num_heads=7, L_layers=3, H_cycles=4, L_cycles=1, seq_len=13, vocab_size=5,
                          puzzle_emb_ndim=50, puzzle_emb_len=0, mlp_t=False),
    "separate networks": dict(H_layers=3, H_cycles=2, L_cycles=4),
    "one step": dict(gradient="one_step"),
    "hrm": dict(H_layers=3, L_layers=4, H_cycles=2, L_cycles=3, gradient="one_step", mlp_t=False, puzzle_emb_len=0),
    "single z": dict(recursion="single_z"),
    "multi-scale z": dict(recursion="multi_scale_z"),
    "transformer": dict(recursion="none", L_layers=3, mlp_t=False),
}
BATCH = 3


def _config(name):
  return dataclasses.replace(SUDOKU, **MODELS[name])


def _product_flops(jaxpr, times=1):
  """2 * multiplications in all matrix products of a program, bodies of loops as often as they run."""
  total = 0
  for eqn in jaxpr.eqns:
    assert eqn.primitive.name != "while", "runs an unknown number of times"
    if eqn.primitive.name == "dot_general":
      (contracted, _), _ = eqn.params["dimension_numbers"]
      summed = math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
      total += 2 * times * summed * eqn.outvars[0].aval.size
    inner_times = times * (eqn.params["length"] if eqn.primitive.name == "scan" else 1)
    inner_flops = [_product_flops(inner, inner_times) for inner in jex_core.jaxprs_in_params(eqn.params)]
    if eqn.primitive.name == "cond":  # between platforms
      assert len(set(inner_flops)) == 1
      inner_flops = inner_flops[:1]
    total += sum(inner_flops)
  return total


def _batch(config):
  cells = jax.ShapeDtypeStruct((BATCH, config.seq_len), "int32")
  return {"inputs": cells, "labels": cells, "puzzle_identifiers": jax.ShapeDtypeStruct((BATCH,), "int32")}


def _train_step_product_flops(config):
  """Of one example, without the comparison of prefix rows, which belongs to the optimizer."""
  trainer = Trainer(config, OptimizerConfig(), mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=BATCH,
                    total_steps=10)
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(trainer.init, key, _batch(config))
  step = jax.make_jaxpr(trainer.step)(state, _batch(config), key)
  # The backward pass makes the scores of attention again, which is no work that the model asks for.
  blocks = sum(flops._applications_with_gradient(config))
  again = 2 * config.positions**2 * config.hidden_size * blocks * (not config.mlp_t)
  return _product_flops(step.jaxpr) / BATCH - 2 * BATCH * config.puzzle_emb_ndim - again


@pytest.mark.parametrize("name", MODELS)
def test_train_step_is_exact(name):
  config = _config(name)
  assert flops.train_step_flops(config) == _train_step_product_flops(config)


@pytest.mark.parametrize("name", ["sudoku", "odd attention", "hrm"])
def test_train_step_with_q_continue_is_exact(name):
  config = dataclasses.replace(_config(name), q_continue=True)
  # Nothing uses the answer logits of the extra pass. Tracing may leave them for the compiler to drop.
  unused = 2 * config.seq_len * config.vocab_size * config.hidden_size
  assert _train_step_product_flops(config) - flops.train_step_flops(config) in (0, unused)


@pytest.mark.parametrize("name", MODELS)
def test_eval_step_is_exact(name):
  config = _config(name)
  model = nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0)))
  step = jax.make_jaxpr(lambda model, batch: model(model.initial_carry(batch), batch)[1])(model, _batch(config))
  assert flops.eval_step_flops(config) == _product_flops(step.jaxpr) / BATCH


@pytest.mark.parametrize("name", ["sudoku", "attention"])
def test_network_against_the_compiler(name):
  # One application has no loop. What the compiler counts beyond matrix products, norms and gates, is below 1 %.
  config = dataclasses.replace(_config(name), dtype="float32")
  model = nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0)))
  L, D = config.positions, config.hidden_size
  h = jax.ShapeDtypeStruct((L, 1, D) if config.mlp_t else (1, L, D), config.dtype)
  compiled = jax.jit(lambda network, h: network(h)).lower(model.L_level, h).compile()
  assert 1 < compiled.cost_analysis()["flops"] / (config.L_layers * flops.block_flops(config)) < 1.01


def test_train_step_against_the_compiler():
  """Of a model whose step has no loop. Norms, gates and the loss are counted by the compiler alone: below 2 % here."""
  config = dataclasses.replace(SUDOKU, H_cycles=1, L_cycles=2, hidden_size=256, puzzle_emb_ndim=256, dtype="float32")
  model = nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0)))
  graphdef, params, rest = nnx.split(model, nnx.Param, ...)
  carry = jax.eval_shape(model.initial_carry, _batch(config))
  rows = jax.ShapeDtypeStruct((BATCH, config.puzzle_emb_ndim), "float32")

  def loss(params, rows, rest, carry):
    carry, outputs = nnx.merge(graphdef, params, rest).supervision_step(carry, rows, None)
    return losses.act_loss(carry, outputs)[0]

  compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, rows, rest, carry).compile(
      # As users' programs are: the older emitters (see conftest.py) scatter in a loop, which the compiler counts once.
      {"xla_cpu_use_fusion_emitters": True} if "fusion_emitters" in os.environ.get("XLA_FLAGS", "") else None)
  assert " while(" not in compiled.as_text()
  assert 1 < compiled.cost_analysis()["flops"] / BATCH / flops.train_step_flops(config) < 1.02


def test_what_is_kept_of_other_models():
  """What each application with gradient keeps, by its depth."""

  def kept(**changes):
    return flops.kept_elements(dataclasses.replace(SUDOKU, **changes))

  def application(layers):
    return kept(L_layers=layers, L_cycles=1) // 2

  assert application(3) - application(2) == application(2) - application(1) > 0
  assert kept(H_layers=3, L_cycles=4) == 4 * application(2) + application(3)
  assert kept(H_layers=3, L_cycles=4, gradient="one_step") == application(2) + application(3)
  assert kept(recursion="single_z") == kept(recursion="multi_scale_z") == kept() == 7 * application(2)
  assert kept(recursion="none", L_layers=8) == application(8)


def test_sudoku_step():
  # By hand: 97 positions x 512 features, SwiGLUs of width 1536 over features and 512 over positions, two layers.
  application = 2 * 2 * (3 * 97 * 512 * 1536 + 3 * 97 * 512 * 512)
  assert 2 * flops.block_flops(SUDOKU) == application
  # 21 applications forward, 7 of them also backward.
  assert flops.train_step_flops(SUDOKU) == pytest.approx((21 + 2 * 7) * application, rel=1e-3)
  assert round(flops.train_step_flops(SUDOKU) / 1e9, 1) == 42.7


def test_maze_step():
  # By hand: 916 positions x 512 features; a SwiGLU of width 1536, four projections, scores and their sum; two layers.
  config = _config("maze")
  application = 2 * 2 * (3 * 916 * 512 * 1536 + 4 * 916 * 512 * 512 + 2 * 916 * 916 * 512)
  assert 2 * flops.block_flops(config) == application
  # 15 applications forward, 5 of them also backward.
  assert flops.train_step_flops(config) == pytest.approx((15 + 2 * 5) * application, rel=1e-3)
  assert round(flops.train_step_flops(config) / 1e9) == 398


@pytest.mark.parametrize("kind, peak", [
    # Both spellings that JAX knows of a chip.
    ("TPU v4", 275e12), ("TPU v4 lite", 138e12), ("TPU v5 lite", 197e12), ("TPU v5e", 197e12), ("TPU v5", 459e12),
    ("TPU v5p", 459e12), ("TPU v6 lite", 918e12), ("TPU v6e", 918e12), ("TPU v3", None),
    ("NVIDIA H200", 989e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA A100-SXM4-40GB", 312e12), ("NVIDIA L40S", 362e12), ("NVIDIA L40", None), ("cpu", None),
])
def test_peak(kind, peak):
  assert chips.peak_flops(types.SimpleNamespace(device_kind=kind)) == peak
