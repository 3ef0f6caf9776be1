# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The jitted training step: on one device and on eight, several at a time, and what it leaves alone."""

import dataclasses

import chex
from flax import nnx
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import OptimizerConfig
from trm_jax.model import TRM, TRMConfig
from trm_jax.runtime import sharding
from trm_jax.training import optim
from trm_jax.training.train_step import LossScale, Trainer

RECORD_EVERY = 6
B = 16  # two rows on each of eight devices
MODEL = TRMConfig(vocab_size=5, seq_len=4, num_puzzle_identifiers=6, hidden_size=8, L_layers=1, num_heads=2,
                  mlp_t=False, pos_encodings="rope", H_cycles=2, L_cycles=1, puzzle_emb_ndim=8, puzzle_emb_len=1,
                  halt_max_steps=3, halt_exploration_prob=0.5, dtype="float32")
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, prefix_learning_rate=1e-2, weight_decay=0.1, prefix_weight_decay=0.1,
                            warmup_steps=2, ema_rate=0.9)
KEY = jax.random.key(3)


def make_batch(step: jax.Array):
  """A batch as a pure function of the step. Identifier 5 never occurs."""
  keys = jax.random.split(jax.random.fold_in(jax.random.key(7), step), 3)
  return {
      "inputs": jax.random.randint(keys[0], (B, 4), 0, 5),
      "labels": jax.random.randint(keys[1], (B, 4), 0, 5),
      "puzzle_identifiers": jax.random.randint(keys[2], (B,), 0, 5),
  }


def make_trainer(*, devices=1, model=1, optimizer=OPTIMIZER, model_config=MODEL, **kwargs) -> Trainer:
  mesh = sharding.make_mesh(jax.devices()[:devices], model=model)
  return Trainer(model_config, optimizer, mesh=mesh, batch_size=B, total_steps=100, record_every=RECORD_EVERY, **kwargs)


def layout(trainer, state):
  """Shardings of what a step returns."""
  return sharding.state_shardings(trainer.mesh, state), sharding.replicated(trainer.mesh)


def placed(trainer, state):
  """On the trainer's mesh: another layout would be traced once more."""
  return jax.device_put(state, sharding.state_shardings(trainer.mesh, state))


@pytest.fixture(scope="module")
def trainer() -> Trainer:
  return make_trainer()


@pytest.fixture(scope="module")
def start(trainer):
  """With halting logits on both sides of 0, and a prefix table that is not zero."""
  model = TRM(MODEL, rngs=nnx.Rngs(0))
  model.q_head[...] = jax.random.normal(jax.random.key(1), model.q_head.shape)
  model.q_head_bias[...] = jnp.zeros(2)
  model.puzzle_emb[...] = jax.random.normal(jax.random.key(2), model.puzzle_emb.shape)
  state = jax.jit(trainer.init_from)(model, make_batch(0))
  return placed(trainer, state)


def dots(jaxpr):
  """All matrix products of a program and of the programs inside it."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "dot_general":
      yield eqn
    for inside in jax.extend.core.jaxprs_in_params(eqn.params):
      yield from dots(inside)


@pytest.mark.parametrize("changes", [{}, {"mlp_t": True, "pos_encodings": "learned"}, {"dtype": "bfloat16"}],
                         ids=["attention", "token MLP", "bfloat16"])
def test_products_in_float32_are_exact(changes):
  """Whatever the hardware would make of them by default: TF32 on a GPU, bfloat16 on a TPU."""
  trainer = make_trainer(model_config=dataclasses.replace(MODEL, **changes))
  state = jax.eval_shape(trainer.init, KEY, make_batch(0))
  found = list(dots(jax.make_jaxpr(trainer.step)(state, make_batch(0), KEY).jaxpr))
  in_float32 = [eqn for eqn in found if all(v.aval.dtype == jnp.float32 for v in eqn.invars)]
  highest = jax.lax.Precision.HIGHEST
  assert not [eqn for eqn in in_float32 if eqn.params["precision"] != (highest, highest)]
  # Of the heads: two products, their gradients by the state and by the weights. The sums over equal prefix rows.
  assert len(in_float32) == (len(found) if not changes.get("dtype") else 7) and len(found) > 20


@pytest.fixture(scope="module")
def step(trainer, start):
  """Fails where it would be traced a second time."""
  return jax.jit(chex.assert_max_traces(trainer.step, n=1), out_shardings=layout(trainer, start))


@pytest.fixture(scope="module")
def trajectory(start, step):
  """States and metrics of three steps."""
  states, metrics = [start], []
  for i in range(3):
    state, m = step(states[-1], make_batch(i), KEY)
    states.append(state)
    metrics.append(m)
  return states, metrics


@pytest.fixture(scope="module")
def steps(trainer, start):
  """Fails where another number of steps would be compiled once more."""
  return jax.jit(chex.assert_max_traces(lambda state, n: trainer.steps(state, n, make_batch, KEY), n=1),
                 out_shardings=layout(trainer, start))


@pytest.mark.parametrize("devices, model, micro_batches", [(8, 1, 1), (8, 2, 1), (1, 1, 4), (4, 2, 2)])
def test_the_same_steps_on_any_mesh_and_in_micro_batches(start, trajectory, devices, model, micro_batches):
  """The same rows halt, the same gradients arrive; parameters to rounding."""
  trainer = make_trainer(devices=devices, model=model, micro_batches=micro_batches)
  mesh = trainer.mesh
  state = placed(trainer, start)
  step = jax.jit(trainer.step, out_shardings=layout(trainer, start))
  for i in range(3):
    batch = sharding.put(jax.device_get(make_batch(i)), sharding.along_data(mesh))
    state, metrics = step(state, batch, KEY)
    ours, alone, alone_metrics = jax.device_get((state, trajectory[0][i + 1], trajectory[1][i]))
    for name, value in alone_metrics.items():
      np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_array_equal(ours.carry.halted, alone.carry.halted)
    jax.tree.map(np.testing.assert_array_equal, ours.carry.batch, alone.carry.batch)
    np.testing.assert_allclose(ours.carry.z_H, alone.carry.z_H, atol=1e-3)
    np.testing.assert_allclose(ours.prefix_table["puzzle_emb"], alone.prefix_table["puzzle_emb"], atol=1e-5)
    for got, expected in zip(jax.tree.leaves(ours.params), jax.tree.leaves(alone.params), strict=True):
      # A gradient no larger than rounding may have either sign, and AdamATan2 then goes either way by a whole step.
      assert np.mean(np.abs(got - expected) > 1e-5) < 1e-3
    if i == 0:
      for name in ("mu", "nu"):
        for got, expected in zip(*(jax.tree.leaves(optim.optax.tree.get(s.opt_state, name)) for s in (ours, alone)),
                                  strict=True):
          np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
  assert len({str(shard.index) for shard in state.carry.z_H.addressable_shards}) == devices // model
  matrix = state.params["L_level"]["layers"][0]["mlp"]["down"]
  assert len({str(shard.index) for shard in matrix.addressable_shards}) == model


def test_many_latent_states_on_a_mesh_and_in_micro_batches():
  """multi_scale_z, whose z_L is (B, n, L, D), with random initial states and noise: the same step as on one device and
  in one go."""
  config = dataclasses.replace(MODEL, recursion="multi_scale_z", H_cycles=1, L_cycles=2, mlp_t=True,
                               pos_encodings="none", random_init=True, state_noise=0.1)
  model = TRM(config, rngs=nnx.Rngs(0))
  results = []
  for changes in ({}, dict(devices=4, model=2, micro_batches=2)):
    trainer = make_trainer(model_config=config, **changes)
    state = jax.jit(trainer.init_from)(model, make_batch(0))
    # States that a mixed up axis would show in.
    z_L = jax.random.normal(jax.random.key(4), state.carry.z_L.shape)
    state = placed(trainer, state.replace(
        carry=state.carry.replace(halted=jnp.arange(B) % 3 == 0, z_L=z_L, batch=make_batch(1))))
    batch = sharding.put(jax.device_get(make_batch(0)), sharding.along_data(trainer.mesh))
    results.append(jax.device_get(jax.jit(trainer.step, out_shardings=layout(trainer, state))(state, batch, KEY)))
  (alone, alone_metrics), (ours, metrics) = results
  assert ours.carry.z_L.shape == (B, 2, 5, 8)
  for name, value in alone_metrics.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
  np.testing.assert_allclose(ours.carry.z_L, alone.carry.z_L, atol=1e-3)
  for got, expected in zip(*(jax.tree.leaves(optim.optax.tree.get(s.opt_state, "mu")) for s in (ours, alone)),
                           strict=True):
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_steps_equal_single_steps(start, trajectory, steps):
  """Bit for bit in whatever decides; to rounding where the compiler may fuse otherwise."""
  states, metrics = trajectory
  state, sums = steps(start, 3)
  assert int(sums.pop("bad_step")) == -1
  assert int(state.step) == 3
  np.testing.assert_array_equal(state.carry.halted, states[-1].carry.halted)
  np.testing.assert_array_equal(state.carry.steps, states[-1].carry.steps)
  jax.tree.map(np.testing.assert_array_equal, state.carry.batch, states[-1].carry.batch)
  for ours, expected in zip(jax.tree.leaves((state.params, state.prefix_table)),
                            jax.tree.leaves((states[-1].params, states[-1].prefix_table)), strict=True):
    assert np.mean(np.abs(ours - expected) > 1e-5) < 1e-3
  assert int(sums.pop("num_steps")) == 3
  for name, total in sums.items():
    np.testing.assert_allclose(total, sum(m[name] for m in metrics), rtol=1e-4, err_msg=name)


def test_steps_in_any_portions(start, steps):
  """3 + 0 + 2 steps are 5 steps, bit for bit."""
  five, _ = steps(start, 5)
  state = start
  for n in (3, 0, 2):
    state, metrics = steps(state, n)
  jax.tree.map(np.testing.assert_array_equal, (state, metrics), (five, five.metrics))


def test_calls_move_nothing_to_or_from_the_host(trainer, start):
  steps = jax.jit(lambda state, n: trainer.steps(state, n, make_batch, KEY), out_shardings=layout(trainer, start))
  num_steps = jax.device_put(np.int32(2))
  with jax.transfer_guard("disallow"):
    state, metrics = steps(start, num_steps)
    steps(state, num_steps)
  assert metrics["num_steps"] == 2


def test_metrics_start_anew_after_a_record(trainer, start, steps):
  """However the steps are portioned; a step that was not finite is not forgotten."""
  whole, portions = start, start
  for n in (RECORD_EVERY, 2):
    whole, metrics = steps(whole, n)
  for n in (RECORD_EVERY - 1, 2, 1):
    portions, in_portions = steps(portions, n)
  assert int(metrics["num_steps"]) == 2
  jax.tree.map(np.testing.assert_array_equal, in_portions, metrics)
  bad = placed(trainer, whole.replace(metrics=whole.metrics | {"bad_step": jnp.int32(1)}))
  assert int(steps(bad, RECORD_EVERY)[1]["bad_step"]) == 1


def test_bad_step(trainer, start, steps):
  """The first step that was not finite, counted from 1, however many follow."""
  # Nobody halts before the third step, so that is the first to start from the initial states.
  poisoned = placed(trainer, start.replace(
      initial={name: jnp.full(value.shape, jnp.nan, jnp.float32) for name, value in start.initial.items()},
      carry=start.carry.replace(halted=jnp.zeros(B, bool), steps=jnp.zeros(B, jnp.int32), batch=make_batch(99)),
      params=start.params | {"q_head": jnp.zeros_like(start.params["q_head"]),
                             "q_head_bias": jnp.full(2, -50.0, jnp.float32)}))
  assert int(steps(poisoned, 3)[1]["bad_step"]) == -1
  assert int(steps(poisoned, 6)[1]["bad_step"]) == 4


def test_metrics(trainer, start, trajectory):
  """The learning rate of step t, and the norm of all gradients."""
  states, metrics = trajectory
  np.testing.assert_allclose([m["lr"] for m in metrics], [0.5e-3, 1e-3, 1e-3], rtol=1e-6)
  grads = jax.tree.map(lambda m: np.float64(m) / 0.1, optim.optax.tree.get(states[1].opt_state, "mu"))
  norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
  assert float(metrics[0]["grad_norm"]) == pytest.approx(norm, rel=1e-4)


def test_prefix_table_rows_of_the_carry(trainer, start, step):
  """Rows move whose puzzle the carry is working on, whether it halted or not; all others stay bit for bit, those of
  puzzles that were offered to rows which go on included."""
  halted = jnp.arange(B) % 2 == 0
  working_on = {"puzzle_identifiers": jnp.where(halted, jnp.int32(4), jnp.int32(1))} | {
      name: value for name, value in make_batch(50).items() if name != "puzzle_identifiers"}
  offered = make_batch(0) | {"puzzle_identifiers": jnp.where(halted, jnp.int32(2), jnp.int32(3))}
  state = placed(trainer, start.replace(carry=start.carry.replace(halted=halted, batch=working_on)))
  state, _ = step(state, offered, KEY)
  before, after = (np.asarray(s.prefix_table["puzzle_emb"]) for s in (start, state))
  moved = (before != after).any(1)
  np.testing.assert_array_equal(moved, [False, True, True, False, False, False])
  lr = 0.5e-2
  np.testing.assert_allclose(np.abs(after - before * (1 - lr * 0.1))[moved], lr, rtol=1e-3)


def test_what_is_not_trained(trainer, start, trajectory):
  """H_init and L_init never move. The average has the trained parameters' shape; the table is used as it is."""
  state = trajectory[0][-1]
  jax.tree.map(np.testing.assert_array_equal, state.initial, start.initial)
  average = state.ema
  assert jax.tree.structure(average) == jax.tree.structure(state.params)
  averaged = trainer.model(state, averaged=True)
  np.testing.assert_array_equal(averaged.puzzle_emb[...], state.prefix_table["puzzle_emb"])
  np.testing.assert_array_equal(averaged.lm_head[...], average["lm_head"])
  expected = start.params["lm_head"]
  for each in trajectory[0][1:]:
    expected = 0.9 * expected + 0.1 * each.params["lm_head"]
  np.testing.assert_allclose(average["lm_head"], expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(trainer.model(state, averaged=False).lm_head[...], state.params["lm_head"])


def test_no_average():
  trainer = make_trainer(optimizer=dataclasses.replace(OPTIMIZER, ema_rate=0.0))
  state = trainer.init_from(TRM(MODEL, rngs=nnx.Rngs(0)), make_batch(0))
  assert state.ema is None
  np.testing.assert_array_equal(trainer.model(state, averaged=True).lm_head[...], state.params["lm_head"])


def test_rates_grow_with_the_batch_over_a_base_batch():
  """A batch of 16 over a base of 4 takes steps four times as long, of the parameters and of the prefix table."""
  trainer = make_trainer(optimizer=dataclasses.replace(OPTIMIZER, base_batch_size=4, prefix_weight_decay=0.0))
  np.testing.assert_allclose(trainer.schedule(10), 4e-3, rtol=1e-6)
  rows = jnp.ones((2, 3))
  state = trainer.prefix_optimizer.init(None)
  for _ in range(3):
    updates, state = trainer.prefix_optimizer.update(rows, state, rows, identifiers=jnp.arange(2))
  np.testing.assert_allclose(updates, -4e-2, rtol=1e-6)


def test_loss_is_divided_by_the_global_batch(trajectory):
  """And is made of the sums that the metrics report."""
  for m in trajectory[1]:
    assert float(m["loss"]) == pytest.approx(float(m["lm_loss"] + 0.5 * m["q_halt_loss"]) / B, rel=1e-5)


def test_float16_skips_steps_that_overflow():
  """Nothing but the carry moves, the scale is halved; it is doubled after many good steps, and is out of the update."""
  trainer = make_trainer(model_config=dataclasses.replace(MODEL, dtype="float16", mlp_t=True, pos_encodings="none"))
  state = jax.jit(trainer.init)(jax.random.key(0), make_batch(0))
  assert state.carry.z_H.dtype == "float16"
  step = jax.jit(trainer.step)

  def with_scale(scale, good_steps=0):
    return state.replace(loss_scale=LossScale(scale=jnp.float32(scale), good_steps=jnp.int32(good_steps)))

  bad, metrics = step(with_scale(2.0**100), make_batch(0), KEY)
  assert metrics["skipped"] == 1 and metrics["grad_norm"] == 0 and np.isfinite(metrics["loss"])
  assert (bad.step, bad.loss_scale.scale, bad.loss_scale.good_steps) == (1, 2.0**24, 0)  # its largest
  for name in ("params", "ema", "opt_state", "prefix_table", "prefix_opt_state"):
    jax.tree.map(np.testing.assert_array_equal, getattr(bad, name), getattr(state, name))
  assert (np.asarray(bad.carry.steps) == 1).all()

  good, metrics = step(with_scale(2.0**10, 1998), make_batch(0), KEY)
  assert metrics["skipped"] == 0 and (good.loss_scale.scale, good.loss_scale.good_steps) == (2.0**10, 1999)
  grown, other_metrics = step(with_scale(2.0**11, 1999), make_batch(0), KEY)
  assert (grown.loss_scale.scale, grown.loss_scale.good_steps) == (2.0**12, 0)
  assert float(metrics["grad_norm"]) > 0
  np.testing.assert_allclose(metrics["grad_norm"], other_metrics["grad_norm"], rtol=1e-2)
  np.testing.assert_allclose(metrics["loss"], other_metrics["loss"], rtol=1e-6)


def test_float16_gives_up_at_the_smallest_scale():
  """A gradient that is not finite even then is a failure of the run."""
  scale = LossScale(scale=jnp.float32(2), good_steps=jnp.int32(5)).next(jnp.bool_(False))
  assert (scale.scale, scale.good_steps) == (1, 0)
  assert scale.next(jnp.bool_(False)).scale == 1


def test_the_prefix_table_alone_is_trained(trainer, start):
  """All else stays bit for bit; of the table, the rows in use become what they would in a training of everything."""
  frozen = make_trainer(optimizer=dataclasses.replace(OPTIMIZER, train="prefix"))
  state = start.replace(opt_state=frozen.optimizer.init(start.params), ema=None)
  before = jax.device_get((start.params, start.initial, start.prefix_table))
  after, metrics = jax.jit(frozen.step)(state, make_batch(0), KEY)
  everything, _ = jax.jit(trainer.step)(start, make_batch(0), KEY)
  chex.assert_trees_all_equal(jax.device_get((after.params, after.initial)), before[:2])
  table, others = (np.asarray(s.prefix_table["puzzle_emb"]) for s in (after, everything))
  np.testing.assert_allclose(table, others, rtol=1e-6)
  assert (table != before[2]["puzzle_emb"]).any() and metrics["grad_norm"] > 0
  assert len(jax.tree.leaves(after.opt_state)) == 0 and after.ema is None
