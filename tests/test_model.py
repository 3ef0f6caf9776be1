# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The network against a plain NumPy version of docs/model.md's formulas, and the properties of supervision steps."""

import dataclasses
import functools
import math

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import UserError
from trm_jax.interop import from_reference, to_reference
from trm_jax.model import Carry, Outputs, TRM, TRMConfig
from trm_jax.model import recursion as recursion_lib
from trm_jax.model.trm import InitialState, PrefixTable

# Sizes that differ from each other, so that swapped axes cannot pass.
B = 6
TINY = TRMConfig(
    vocab_size=7, seq_len=5, num_puzzle_identifiers=4, hidden_size=8, L_layers=1, num_heads=2, mlp_t=True, H_cycles=2,
    L_cycles=2, puzzle_emb_ndim=12, puzzle_emb_len=3, halt_max_steps=4, halt_exploration_prob=0.0, dtype="float32")
BIG = np.float32(50)  # a halting logit beyond doubt


def replace(**changes) -> TRMConfig:
  return dataclasses.replace(TINY, **changes)


def make_model(config: TRMConfig, *, q_bias=(-5.0, -5.0), seed: int = 0) -> TRM:
  """Random parameters, those included that start at zero; q_halt and q_continue are constants by their biases."""
  model = TRM(config, rngs=nnx.Rngs(seed))
  if config.puzzle_emb_ndim:
    model.puzzle_emb[...] = jax.random.normal(jax.random.key(seed), model.puzzle_emb.shape)
  model.q_head_bias[...] = jnp.array(q_bias)
  return model


def with_q_head(model: TRM, seed: int = 1) -> TRM:
  model.q_head[...] = jax.random.normal(jax.random.key(seed), model.q_head.shape)
  return model


def make_batch(config: TRMConfig = TINY, rows: int = B, seed: int = 0) -> dict[str, jax.Array]:
  rng = np.random.default_rng(seed)
  return {
      "inputs": jnp.asarray(rng.integers(0, config.vocab_size, (rows, config.seq_len))),
      "labels": jnp.asarray(rng.integers(0, config.vocab_size, (rows, config.seq_len))),
      "puzzle_identifiers": jnp.asarray(rng.integers(0, config.num_puzzle_identifiers, rows)),
  }


def middle_carry(config: TRMConfig = TINY, seed: int = 0, halted=(True, False, False, True, False, True)) -> Carry:
  """As if some steps had been made."""
  rng = np.random.default_rng(seed)

  def state(axes):
    return None if axes is None else jnp.asarray(
        rng.normal(size=(B, *axes, config.positions, config.hidden_size)), config.dtype)

  return Carry(
      z_H=state(()),
      z_L=state(config.latent_states),
      steps=jnp.array([2, 1, 2, 4, 0, 3]),
      halted=jnp.asarray(halted),
      batch=make_batch(config, seed=seed + 100),
  )


@functools.partial(nnx.jit, static_argnames="train")
def step(model, carry, batch, key=None, *, train=False):
  return model(carry, batch, train=train, key=key)


# ---------------------------------------------------------------------------------------------- the formulas, in NumPy


def numpy_step(state, config, z_H, z_L, inputs, identifiers):
  """One supervision step of docs/model.md in float64, by the reference's parameter names: z_H, z_L, logits, q."""
  w = {name.removeprefix("model.inner."): np.float64(value) for name, value in state.items()}
  D, P = config.hidden_size, config.prefix_len

  def rms(h):
    return h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-5)

  def swiglu(name, h):
    gate, up = np.split(h @ w[f"{name}.gate_up_proj.weight"].T, 2, -1)
    return (gate / (1 + np.exp(-gate)) * up) @ w[f"{name}.down_proj.weight"].T

  def rotate(q_LxK):
    L, K = q_LxK.shape
    turned = (q_LxK[:, :K // 2] + 1j * q_LxK[:, K // 2:]) * np.exp(
        1j * np.outer(np.arange(L), 10000.0 ** (-2 * np.arange(K // 2) / K)))
    return np.concatenate([turned.real, turned.imag], -1)

  def attention(name, h):
    q, k, v = np.split(h @ w[f"{name}.qkv_proj.weight"].T, 3, -1)
    K, mixed = D // config.num_heads, np.zeros_like(h)
    for b in range(len(h)):
      for n in range(config.num_heads):
        head = slice(n * K, (n + 1) * K)
        q_n, k_n = q[b, :, head], k[b, :, head]
        if config.pos_encodings == "rope":
          q_n, k_n = rotate(q_n), rotate(k_n)
        scores = np.exp(q_n @ k_n.T / np.sqrt(K))
        mixed[b, :, head] = scores / scores.sum(-1, keepdims=True) @ v[b, :, head]
    return mixed @ w[f"{name}.o_proj.weight"].T

  def f(h):
    for i in range(config.L_layers):
      if config.mlp_t:
        h = h.swapaxes(1, 2)
        h = rms(h + swiglu(f"L_level.layers.{i}.mlp_t", h)).swapaxes(1, 2)
      else:
        h = rms(h + attention(f"L_level.layers.{i}.self_attn", h))
      h = rms(h + swiglu(f"L_level.layers.{i}.mlp", h))
    return h

  x = w["embed_tokens.embedding_weight"][inputs]
  if config.puzzle_emb_ndim:
    prefix = np.zeros((len(x), P * D))
    prefix[:, :config.puzzle_emb_ndim] = w["puzzle_emb.weights"][identifiers]
    x = np.concatenate([prefix.reshape(len(x), P, D), x], 1)
  if config.pos_encodings == "learned":
    x = (x + w["embed_pos.embedding_weight"]) / np.sqrt(2)
  x = np.sqrt(D) * x
  for _ in range(config.H_cycles):
    for _ in range(config.L_cycles):
      z_L = f(z_L + z_H + x)
    z_H = f(z_H + z_L)
  return z_H, z_L, z_H[:, P:] @ w["lm_head.weight"].T, z_H[:, 0] @ w["q_head.weight"].T + w["q_head.bias"]


VARIANTS = {
    "token_mlp": TINY,
    "attention_rope": replace(mlp_t=False, pos_encodings="rope"),
    "attention_learned_no_prefix": replace(
        mlp_t=False, pos_encodings="learned", num_heads=4, puzzle_emb_ndim=0, puzzle_emb_len=0),
    "attention_none_length_from_ndim": replace(mlp_t=False, puzzle_emb_len=0, L_layers=2),
    "token_mlp_learned": replace(pos_encodings="learned", expansion=7.0, hidden_size=64, puzzle_emb_ndim=70),
    "token_mlp_no_prefix_one_cycle": replace(puzzle_emb_ndim=0, puzzle_emb_len=0, H_cycles=1, L_cycles=3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_against_numpy(name):
  config = VARIANTS[name]
  model = with_q_head(make_model(config))
  carry, batch = middle_carry(config, halted=(False,) * B), make_batch(config)
  after, outputs = step(model, carry, batch)
  z_H, z_L, logits, q = numpy_step(
      to_reference(model, compiled=False), config, np.float64(carry.z_H), np.float64(carry.z_L),
      np.asarray(carry.batch["inputs"]), np.asarray(carry.batch["puzzle_identifiers"]))
  for ours, expected in ((after.z_H, z_H), (after.z_L, z_L), (outputs.logits, logits), (outputs.q_halt, q[:, 0]),
                         (outputs.q_continue, q[:, 1])):
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, expected, atol=2e-4)


# ---------------------------------------------------------------------------------------------- gradients


def weighted_outputs(outputs: Outputs) -> jax.Array:
  weights = jax.random.normal(jax.random.key(9), outputs.logits.shape)
  return (weights * outputs.logits).sum() + outputs.q_halt.sum() - 2 * outputs.q_continue.sum()


def gradients(model, carry):
  """By the trained parameters and by the batch's rows of the prefix table."""
  graphdef, params, rest = nnx.split(model, nnx.Param, ...)

  @jax.jit
  def grad(params, rows):
    def loss(params, rows):
      return weighted_outputs(
          nnx.merge(graphdef, params, rest).supervision_step(carry, rows, None)[1])

    return jax.grad(loss, (0, 1))(params, rows)

  return grad(params, model.prefix_rows(carry.batch))


def test_gradient_only_through_the_last_cycle():
  """Three cycles have the gradient of one cycle, by parameters and by x, from where two cycles had led."""

  def of(H_cycles):
    return with_q_head(make_model(replace(H_cycles=H_cycles)))

  carry = middle_carry(halted=(False,) * B)
  after_two, _ = step(of(2), carry, carry.batch)
  one = gradients(of(1), after_two.replace(halted=carry.halted))
  three = gradients(of(3), carry)
  for expected, ours in zip(jax.tree.leaves(one), jax.tree.leaves(three), strict=True):
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(ours, expected, atol=1e-3 * scale)


def test_one_step_gradient():
  """Through the last update of z_L and the update of z_H that follows: that of one cycle with one update, from where
  all others had led. With a network for each, of different depths."""

  def of(**changes):
    return with_q_head(make_model(replace(H_layers=2, **changes)))

  carry = middle_carry(halted=(False,) * B)
  before_last_cycle = step(of(H_cycles=1), carry, carry.batch)[0].replace(halted=carry.halted)
  before_last_two = before_last_cycle.replace(
      z_L=step(of(H_cycles=1, L_cycles=1), before_last_cycle, carry.batch)[0].z_L)
  expected = gradients(of(H_cycles=1, L_cycles=1), before_last_two)
  ours = gradients(of(gradient="one_step"), carry)
  for wanted, got in zip(jax.tree.leaves(expected), jax.tree.leaves(ours), strict=True):
    scale = np.abs(wanted).max()
    assert scale > 0
    np.testing.assert_allclose(got, wanted, atol=1e-3 * scale)


def test_carry_is_detached():
  """No gradient out of a step by its carry, nor into it, nor into the initial states that halted rows start from."""
  carry, batch = middle_carry(), make_batch()
  graphdef, variables = nnx.split(make_model(TINY))

  @jax.jit
  def grads(variables, z_H, z_L):
    def loss(variables, z_H, z_L):
      after, outputs = nnx.merge(graphdef, variables)(carry.replace(z_H=z_H, z_L=z_L), batch)
      return after.z_H.sum() + after.z_L.sum(), weighted_outputs(outputs)

    _, vjp = jax.vjp(loss, variables, z_H, z_L)
    return vjp((1.0, 0.0)), vjp((0.0, 1.0))

  by_carry, (by_outputs, *into_carry) = grads(variables, carry.z_H, carry.z_L)
  model = nnx.merge(graphdef, by_outputs)
  for leaf in jax.tree.leaves((by_carry, into_carry, model.H_init[...], model.L_init[...])):
    assert (leaf == 0).all()
  assert (model.L_level.layers[0].mlp.down[...] != 0).any()


# ---------------------------------------------------------------------------------------------- carry and halting


@pytest.mark.parametrize("changes", [
    {}, {"dtype": "bfloat16"}, {"recursion": "multi_scale_z", "inner_norm": True, "state_noise": 0.1},
], ids=["baseline", "bfloat16", "multi_scale_z"])
def test_positions_or_rows_first(changes):
  """The layout of the recursion's states changes neither a step nor its gradients."""
  def step(positions_first):
    config = replace(positions_first=positions_first, **changes)
    model, batch = with_q_head(make_model(config)), make_batch()

    def loss(model):
      carry, outputs = model(middle_carry(config), batch, train=True, key=jax.random.key(0))
      return (outputs.logits**2).sum() + outputs.q_halt.sum(), (carry.z_H, carry.z_L, outputs)

    (_, made), gradient = nnx.value_and_grad(loss, has_aux=True)(model)
    return jax.tree.map(np.float32, (made, nnx.to_pure_dict(gradient)))

  tolerance = 0.05 if "dtype" in changes else 1e-4  # in bfloat16 the two orders of summing round otherwise
  for a, b in zip(*(jax.tree.leaves(step(first)) for first in (True, False)), strict=True):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, abs(a).max()))


@pytest.mark.parametrize("recursion", ["two_z", "multi_scale_z"])
def test_refill(recursion):
  """Halted rows take the offered puzzle, H_init, L_init and steps 0; the others keep every thing they have."""
  config = replace(recursion=recursion)
  model, carry, batch = make_model(config), middle_carry(config), make_batch()
  refilled = model.refill(carry, batch)
  for row, halted in enumerate(carry.halted):
    if halted:
      expected = (*(np.repeat(init[...][..., None, :], config.positions, -2) for init in (model.H_init, model.L_init)),
                  0)
      puzzle = {name: value[row] for name, value in batch.items()}
    else:
      expected = carry.z_H[row], carry.z_L[row], carry.steps[row]
      puzzle = {name: value[row] for name, value in carry.batch.items()}
    for ours, wanted in zip((refilled.z_H[row], refilled.z_L[row], refilled.steps[row]), expected, strict=True):
      np.testing.assert_array_equal(ours, wanted)
    for name, value in puzzle.items():
      np.testing.assert_array_equal(refilled.batch[name][row], value)


def leaves_by_row(tree, rows):
  return [np.asarray(leaf)[rows] for leaf in jax.tree.leaves(tree)]


def test_rows_that_go_on_ignore_the_offered_puzzle():
  model, carry, batch = make_model(TINY), middle_carry(), make_batch()
  halted = np.asarray(carry.halted)

  def offered(rows):  # another puzzle in these rows
    other = make_batch(seed=5)
    return jax.tree.map(lambda a, b: jnp.where(rows.reshape(-1, *[1] * (a.ndim - 1)), b, a), batch, other)

  result = step(model, carry, batch)
  jax.tree.map(np.testing.assert_array_equal, step(model, carry, offered(~halted)), result)
  changed = step(model, carry, offered(halted))
  assert all((a != b).any() for a, b in zip(
      leaves_by_row(changed[1].logits, halted), leaves_by_row(result[1].logits, halted), strict=True))
  for a, b in zip(leaves_by_row(changed, ~halted), leaves_by_row(result, ~halted), strict=True):
    np.testing.assert_array_equal(a, b)


def test_halted_rows_forget_their_state():
  """Whatever they hold, not even a number."""
  model, carry, batch = make_model(TINY), middle_carry(), make_batch()
  halted = carry.halted[:, None, None]
  poisoned = carry.replace(
      z_H=jnp.where(halted, jnp.nan, carry.z_H), z_L=jnp.where(halted, jnp.nan, carry.z_L),
      steps=jnp.where(carry.halted, 99, carry.steps))
  jax.tree.map(np.testing.assert_array_equal, step(model, poisoned, batch), step(model, carry, batch))


def test_first_step_takes_the_whole_batch():
  model, batch = make_model(TINY), make_batch()
  carry, _ = step(model, model.initial_carry(batch), batch)
  jax.tree.map(np.testing.assert_array_equal, carry.batch, batch)
  np.testing.assert_array_equal(carry.steps, 1)


@pytest.mark.parametrize("exploration", [0.0, 1.0])
def test_evaluation_makes_all_steps(exploration):
  """However sure the model is of having finished."""
  model, batch = make_model(replace(halt_exploration_prob=exploration), q_bias=(BIG, -BIG)), make_batch()
  carry = model.initial_carry(batch)
  for s in range(1, TINY.halt_max_steps + 1):
    carry, outputs = step(model, carry, batch)
    assert outputs.target_q_continue is None
    np.testing.assert_array_equal(carry.steps, s)
    np.testing.assert_array_equal(carry.halted, s == TINY.halt_max_steps)


def test_training_halts_where_q_halt_is_positive():
  """Row by row by its own logit; all at the last step."""
  model, carry = with_q_head(make_model(TINY, q_bias=(0.0, 0.0))), middle_carry(halted=(False,) * B)
  after, outputs = step(model, carry, carry.batch, train=True)
  positive, last = np.asarray(outputs.q_halt > 0), np.asarray(carry.steps + 1 >= TINY.halt_max_steps)
  assert 0 < positive.sum() < B and 0 < last.sum() < B and (last & ~positive).any()
  np.testing.assert_array_equal(after.steps, carry.steps + 1)
  np.testing.assert_array_equal(after.halted, positive | last)


@pytest.mark.parametrize("bias, halts", [(0.0, False), (1e-6, True), (-1e-6, False)])
def test_halting_threshold(bias, halts):
  """q_halt > 0 strictly; q_continue has no say."""
  model, batch = make_model(TINY, q_bias=(bias, 1.0)), make_batch()
  carry, _ = step(model, model.initial_carry(batch), batch, train=True)
  np.testing.assert_array_equal(carry.halted, halts)


def test_one_step_models_always_halt():
  model, batch = make_model(replace(halt_max_steps=1)), make_batch()
  carry, _ = step(model, model.initial_carry(batch), batch, train=True)
  assert carry.halted.all()


ROWS = 3000


@functools.cache
def share_halted(exploration: float, steps_made: int, sure: bool) -> float:
  """The share of many rows that halt after steps_made steps, all sure (or all unsure) of being done."""
  config = TRMConfig(vocab_size=2, seq_len=1, hidden_size=2, L_layers=1, mlp_t=False, num_heads=1, H_cycles=1,
                     L_cycles=1, puzzle_emb_ndim=0, puzzle_emb_len=0, halt_max_steps=5,
                     halt_exploration_prob=exploration, dtype="float32")
  model = make_model(config, q_bias=(BIG if sure else -BIG, 0.0))
  carry = model.initial_carry({"inputs": jnp.zeros((ROWS, 1), jnp.int32)})
  carry = carry.replace(steps=jnp.full(ROWS, steps_made), halted=jnp.zeros(ROWS, bool))
  after, _ = step(model, carry, carry.batch, jax.random.key(steps_made), train=True)
  return float(after.halted.mean())


def test_exploration_bounds():
  """A row that explores draws its minimum from 2 … 5, each as likely: of those that have made s steps, s - 1 of 4 may
  halt. Never at the first step, always at the last."""
  assert share_halted(1.0, 0, True) == 0
  for s in (2, 3, 4):
    assert share_halted(1.0, s - 1, True) == pytest.approx((s - 1) / 4, abs=0.04)
  assert share_halted(1.0, 4, True) == 1


def test_exploration_probability():
  assert share_halted(0.3, 0, True) == pytest.approx(0.7, abs=0.04)
  assert share_halted(0.0, 0, True) == 1


def test_exploration_makes_nobody_halt():
  assert share_halted(1.0, 2, False) == 0
  assert share_halted(1.0, 4, False) == 1


def test_exploration_needs_a_key():
  model, batch = make_model(replace(halt_exploration_prob=0.1)), make_batch()
  with pytest.raises(UserError, match="key is missing.*halt_exploration_prob"):
    jax.eval_shape(lambda: model(model.initial_carry(batch), batch, train=True))
  jax.eval_shape(lambda: model(model.initial_carry(batch), batch))  # evaluation does not


def test_random_initial_states():
  """Each puzzle's own in training, for every position of each state; in evaluation the same for all, always."""
  model, batch = make_model(replace(random_init=True)), make_batch()
  carry = model.initial_carry(batch)
  keys = model.draws(jax.random.key(1), B).start_keys
  training, again, evaluation = (model.refill(carry, batch, k) for k in (keys, keys[::-1], None))
  for name in ("z_H", "z_L"):
    z = np.asarray(getattr(training, name))
    assert len(np.unique(z)) == z.size
    np.testing.assert_array_equal(z, getattr(again, name)[::-1])  # a row's states depend on its key alone
    assert abs(z.std() - 1) < 0.2
    fixed = np.asarray(getattr(evaluation, name))
    assert len(np.unique(fixed)) == fixed.size / B and (fixed == fixed[:1]).all()
  assert (training.z_H != training.z_L).all()
  rounded = make_model(replace(random_init=True, dtype="bfloat16")).refill(
      model.initial_carry(batch).replace(z_H=jnp.zeros(carry.z_H.shape, "bfloat16"),
                                         z_L=jnp.zeros(carry.z_L.shape, "bfloat16")), batch, keys)
  np.testing.assert_array_equal(rounded.z_H, training.z_H.astype("bfloat16"))


@pytest.mark.parametrize("recursion, mlp_t", [("two_z", True), ("none", False)])
def test_noise_on_the_states(recursion, mlp_t):
  """What the last application makes is off by normal noise of that size, row by row; evaluation has none."""
  config = replace(recursion=recursion, mlp_t=mlp_t, H_cycles=1, L_cycles=1, state_noise=1e-3)
  model, batch = make_model(config), make_batch()
  carry = model.refill(model.initial_carry(batch), batch)
  rows, keys = model.prefix_rows(batch), model.draws(jax.random.key(1), B).noise_keys
  quiet, noisy, swapped = (model.supervision_step(carry, rows, None, k)[0] for k in (None, keys, keys[::-1]))
  noise = np.asarray(noisy.z_H - quiet.z_H)
  if recursion == "none":  # of the one application there is
    assert noise.std() == pytest.approx(1e-3, rel=0.1) and abs(noise.mean()) < 1e-4
    by_row = [np.asarray(jax.random.normal(key, quiet.z_H.shape[1:])) for key in keys]
    np.testing.assert_allclose(noise, 1e-3 * np.stack(by_row), atol=1e-6)
  else:
    assert 1e-4 < noise.std() < 1e-2 and (np.asarray(noisy.z_L) != np.asarray(quiet.z_L)).any()
  assert (np.asarray(noisy.z_H) != np.asarray(swapped.z_H)).any()
  evaluated, _ = model(model.initial_carry(batch), batch, key=jax.random.key(1))
  np.testing.assert_allclose(evaluated.z_H, quiet.z_H, atol=1e-6)


@pytest.mark.parametrize("recursion, noisy, quiet", [("two_z", "z_L", "z_H"), ("multi_scale_z", "z_L", "z_H"),
                                                     ("single_z", "z_H", None)])
def test_noise_on_the_latent_state_between_steps(recursion, noisy, quiet):
  model, batch = make_model(replace(recursion=recursion, dtype="bfloat16")), make_batch()
  carry = model.refill(model.initial_carry(batch), batch)
  keys = jax.random.split(jax.random.key(0), B)
  after = model.with_noise(carry, keys, 0.5)
  if quiet:
    np.testing.assert_array_equal(getattr(after, quiet), getattr(carry, quiet))
  moved = np.float32(getattr(after, noisy)) - np.float32(getattr(carry, noisy))
  assert moved.std() == pytest.approx(0.5, rel=0.1) and abs(moved.mean()) < 0.1
  assert getattr(after, noisy).dtype == "bfloat16" and after.steps is carry.steps
  # Row by row: a row's noise is its key's, whatever the others are.
  other = model.with_noise(carry, keys.at[1:].set(keys[0]), 0.5)
  np.testing.assert_array_equal(getattr(other, noisy)[0], getattr(after, noisy)[0])
  assert (getattr(other, noisy)[1] != getattr(after, noisy)[1]).any()


@pytest.mark.parametrize("gradient", ["cycle", "one_step"])
def test_every_application_has_noise_of_its_own(gradient):
  """T (n + 1) draws, no two of them alike."""
  config = replace(H_cycles=2, L_cycles=2, gradient=gradient, state_noise=1.0)
  seen = []

  def network(h):
    return jnp.zeros_like(h)  # so that only the noise is left

  draw = jax.random.normal

  def normal(key, shape):
    noise = draw(key, shape)
    jax.debug.callback(lambda x: seen.append(np.asarray(x)), noise)
    return noise

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax.random, "normal", normal)
    z = jnp.zeros((1, config.positions, config.hidden_size))
    jax.block_until_ready(recursion_lib.recurse(
        config, [jax.tree_util.Partial(network)], z, z, z, jax.random.split(jax.random.key(0), 1)))
    jax.effects_barrier()
  assert len(seen) == 6
  assert len({float(x.ravel()[0]) for x in seen}) == 6


def test_q_continue_variant():
  """Halts when q_halt > q_continue; target sigmoid(q_halt') at the last step, sigmoid(max(q_halt', q_continue'))
  before it, by one more step from the new carry, without gradient."""
  config = replace(q_continue=True)
  model, carry = with_q_head(make_model(config, q_bias=(2.0, 2.0)), seed=2), middle_carry(halted=(False,) * B)
  graphdef, params, rest = nnx.split(model, nnx.Param, ...)

  @jax.jit
  def run(params):
    def target(params):
      results = nnx.merge(graphdef, params, rest)(carry, carry.batch, train=True)
      return results[1].target_q_continue.sum(), results

    return jax.grad(target, has_aux=True)(params)

  grads, (after, outputs) = run(params)
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(grads))
  last = np.asarray(after.steps >= config.halt_max_steps)
  np.testing.assert_array_equal(after.halted, last | np.asarray(outputs.q_halt > outputs.q_continue))
  assert ((outputs.q_halt > 0) & (outputs.q_halt < outputs.q_continue))[~last].any()
  assert 0 < after.halted.sum() < B
  _, following = step(model, after.replace(halted=jnp.zeros(B, bool)), after.batch)
  q_halt, q_continue = np.asarray(following.q_halt), np.asarray(following.q_continue)
  assert (q_continue[last] > q_halt[last]).any() and (q_continue[~last] > q_halt[~last]).any()
  best = np.where(last, q_halt, np.maximum(q_halt, q_continue))
  np.testing.assert_allclose(outputs.target_q_continue, 1 / (1 + np.exp(-best)), rtol=1e-4)


# ---------------------------------------------------------------------------------------------- use


def test_eager_equals_jit():
  model, carry, batch = make_model(TINY), middle_carry(), make_batch()
  for eager, jitted in zip(
      jax.tree.leaves(model(carry, batch)), jax.tree.leaves(step(model, carry, batch)), strict=True):
    assert eager.dtype == jitted.dtype
    np.testing.assert_allclose(eager, jitted, atol=1e-5)


@pytest.mark.parametrize("mlp_t", [True, False])
def test_bfloat16(mlp_t):
  """The state is bfloat16, the outputs are float32, and both are about what float32 gives."""
  config = replace(dtype="bfloat16", mlp_t=mlp_t, H_cycles=1, L_cycles=1)
  model, batch = make_model(config), make_batch()
  graphdef, params, rest = nnx.split(model, nnx.Param, ...)

  @jax.jit
  def run(params):
    def loss(params):
      results = nnx.merge(graphdef, params, rest)(model.initial_carry(batch), batch)
      return weighted_outputs(results[1]), results

    return jax.grad(loss, has_aux=True)(params)

  grads, (carry, outputs) = run(params)
  assert carry.z_H.dtype == carry.z_L.dtype == jnp.bfloat16
  assert outputs.logits.dtype == outputs.q_halt.dtype == outputs.q_continue.dtype == jnp.float32
  for leaf in jax.tree.leaves(grads):
    assert leaf.dtype == jnp.float32 and np.isfinite(leaf).all()
  model_f32 = from_reference(to_reference(model), dataclasses.replace(config, dtype="float32"))
  _, expected = step(model_f32, model_f32.initial_carry(batch), batch)
  assert np.abs(outputs.logits - expected.logits).mean() < 0.03 * np.abs(expected.logits).mean()


@pytest.mark.parametrize("pos_encodings", ["none", "learned"])
def test_bfloat16_input_is_rounded_once_by_each_factor(pos_encodings):
  """As PyTorch does it. JAX would round sqrt(128) and sqrt(1/2) to bfloat16 before it multiplies."""
  config = replace(dtype="bfloat16", pos_encodings=pos_encodings, hidden_size=128, seq_len=50)
  model, batch = make_model(config), make_batch(config)

  def rounded(x):
    return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32)

  x = rounded(model.embed_tokens[...])[np.asarray(batch["inputs"])]
  if pos_encodings == "learned":
    x = rounded(x + rounded(model.embed_pos[...])[TINY.prefix_len:])
    x = rounded(np.float32(math.sqrt(0.5)) * x)
  ours = model._embed(batch["inputs"], model.prefix_rows(batch))[:, TINY.prefix_len:]
  np.testing.assert_array_equal(ours, rounded(np.float32(math.sqrt(128)) * x))


def test_batch_errors():
  model, batch = make_model(TINY), make_batch()
  with pytest.raises(UserError, match=r"batch has the keys \['inputs'\], the carry was made with"):
    model(model.initial_carry(batch), {"inputs": batch["inputs"]})
  with pytest.raises(UserError, match="puzzle_identifiers.*missing"):
    model(model.initial_carry({"inputs": batch["inputs"]}), {"inputs": batch["inputs"]})


# ---------------------------------------------------------------------------------------------- parameters


def test_parameter_count():
  """Of the reference's Sudoku model, without the prefix table."""
  model = nnx.eval_shape(lambda: TRM(TRMConfig(vocab_size=11, seq_len=81), rngs=nnx.Rngs(0)))
  assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == 5_028_866
  assert [leaf.shape for leaf in jax.tree.leaves(nnx.state(model, PrefixTable))] == [(1, 512)]


@pytest.mark.parametrize("changes, states", [
    ({"H_layers": 2}, {"H_init": (8,), "L_init": (8,)}),
    ({"recursion": "multi_scale_z", "L_cycles": 3}, {"H_init": (8,), "L_init": (3, 8)}),
    ({"recursion": "single_z"}, {"H_init": (8,)}),
    ({"recursion": "none"}, {"H_init": (8,)}),
])
def test_initial_states(changes, states):
  """One for each state that the model has, and all of them different."""
  model = make_model(replace(**changes))
  initial = nnx.to_pure_dict(nnx.state(model, InitialState))
  assert {name: value.shape for name, value in initial.items()} == states
  rows = np.concatenate([np.atleast_2d(value) for value in initial.values()])
  assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("config", [
    TRMConfig(vocab_size=50, seq_len=81, hidden_size=128, puzzle_emb_ndim=128, L_layers=1, pos_encodings="learned"),
    TRMConfig(vocab_size=50, seq_len=81, hidden_size=128, puzzle_emb_ndim=128, L_layers=1, mlp_t=False),
], ids=["token_mlp", "attention"])
def test_initialisation(config):
  """Truncated normals, each with the standard deviation 1/sqrt(fan in) after the cut; zeros where nothing is known."""
  config = dataclasses.replace(config, dtype="float32")  # in which the initial states are exported unrounded
  model = jax.jit(lambda: nnx.split(TRM(config, rngs=nnx.Rngs(0)))[1])()
  state = to_reference(
      nnx.merge(nnx.split(nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0))))[0], model), compiled=False)
  state = {name.removeprefix("model.inner."): value for name, value in state.items()}
  assert (state.pop("puzzle_emb.weights") == 0).all()
  assert (state.pop("q_head.weight") == 0).all()
  np.testing.assert_array_equal(state.pop("q_head.bias"), [-5, -5])
  seen = set()
  for name, value in state.items():
    if name in ("H_init", "L_init"):
      stddev = 1.0
    elif "embed" in name:  # (rows, D)
      stddev = config.hidden_size**-0.5
    else:  # (out, in)
      stddev = value.shape[1]**-0.5
    error = 4 / math.sqrt(2 * value.size)  # four standard errors of a standard deviation, a bit more for the cut
    assert value.std() == pytest.approx(stddev, rel=error), name
    cut = 2 * stddev / 0.87962566
    assert np.abs(value).max() <= cut * 1.0001, name
    if value.size > 1000:
      assert np.abs(value).max() > 0.97 * cut, name
    seen.add(value.tobytes())
  assert len(seen) == len(state), "two parameters were drawn from the same random numbers"


# ---------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize("field, value, rule, others", [
    ("num_heads", 3, "must divide model.hidden_size = 8", {"mlp_t": False}),
    ("num_heads", 8, "even head dimension", {"mlp_t": False, "pos_encodings": "rope"}),
    ("pos_encodings", "rope", "mlp_t = True has none; use none or learned", {}),
    ("pos_encodings", "sine", "must be one of none, rope, learned", {}),
    ("dtype", "float64", "must be one of bfloat16, float32, float16", {}),
    ("recursion", "three_z", "must be one of two_z, single_z, multi_scale_z, none", {}),
    ("gradient", "full", "must be one of cycle, one_step", {}),
    *(("gradient", "one_step", f"must be cycle where model.recursion = {name}; another value needs two_z",
       {"recursion": name}) for name in ("single_z", "multi_scale_z", "none")),
    *(("H_layers", 1, f"must be 0 where model.recursion = {name}; another value needs two_z", {"recursion": name})
      for name in ("single_z", "multi_scale_z", "none")),
    ("H_layers", -1, "must not be negative", {}),
    ("attention", "flash", "must be one of xla, cudnn", {}),
    ("attention", "cudnn", "needs model.dtype = bfloat16", {"mlp_t": False}),
    ("halt_max_steps", 0, "must be at least 1", {}),
    ("L_cycles", 0, "must be at least 1", {}),
    ("H_cycles", -1, "must be at least 1", {}),
    ("vocab_size", 0, "must be at least 1", {}),
    ("halt_exploration_prob", 1.5, r"must lie in \[0, 1\]", {}),
    ("expansion", 0.0, "must be positive", {}),
    ("puzzle_emb_ndim", 25, "does not fit in model.puzzle_emb_len = 3 tokens of 8 features", {}),
    ("puzzle_emb_ndim", -1, "must not be negative", {}),
    ("puzzle_emb_len", 3, "must be 0 where model.puzzle_emb_ndim = 0", {"puzzle_emb_ndim": 0}),
])
def test_config_errors(field, value, rule, others):
  """Each names the field, its value and the rule, in one line."""
  with pytest.raises(UserError, match=rf"^model\.{field} = {value!r}: .*{rule}[^\n]*$"):
    replace(**{field: value}, **others)


@pytest.mark.parametrize("ndim, length, expected", [(12, 3, 3), (12, 0, 2), (16, 0, 2), (17, 0, 3), (0, 0, 0)])
def test_prefix_len(ndim, length, expected):
  config = replace(puzzle_emb_ndim=ndim, puzzle_emb_len=length)
  assert (config.prefix_len, config.positions) == (expected, expected + 5)


# config/arch/trm.yaml's values, plus what the reference fills in from its data.
REFERENCE = {
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", "halt_exploration_prob": 0.1,
    "halt_max_steps": 16, "H_cycles": 3, "L_cycles": 6, "H_layers": 0, "L_layers": 2, "hidden_size": 512,
    "num_heads": 8, "expansion": 4, "puzzle_emb_ndim": 512, "pos_encodings": "rope", "forward_dtype": "bfloat16",
    "mlp_t": False, "puzzle_emb_len": 16, "no_ACT_continue": True, "batch_size": 768, "vocab_size": 11, "seq_len": 81,
    "num_puzzle_identifiers": 1, "causal": False,
}


def test_config_from_reference():
  assert TRMConfig.from_reference(REFERENCE) == TRMConfig(
      vocab_size=11, seq_len=81, num_puzzle_identifiers=1, mlp_t=False, pos_encodings="rope")
  # Where it says nothing, the reference's own defaults hold, not ours.
  silent = {name: value for name, value in REFERENCE.items()
            if name not in ("mlp_t", "puzzle_emb_ndim", "puzzle_emb_len", "forward_dtype", "no_ACT_continue")}
  config = TRMConfig.from_reference(silent)
  assert (config.mlp_t, config.puzzle_emb_ndim, config.dtype, config.q_continue) == (False, 0, "bfloat16", False)
  other = TRMConfig.from_reference(REFERENCE | {
      "forward_dtype": "float32", "no_ACT_continue": False, "puzzle_emb_len": 0, "rope_theta": 10000.0})
  assert (other.dtype, other.q_continue, other.prefix_len) == ("float32", True, 1)


@pytest.mark.parametrize("model, changes", [
    ("trm_singlez@TinyRecursiveReasoningModel_ACTV1", {"recursion": "single_z"}),
    ("trm_hier6@TinyRecursiveReasoningModel_ACTV1", {"recursion": "multi_scale_z"}),
    ("hrm@HierarchicalReasoningModel_ACTV1",
     {"gradient": "one_step", "H_layers": 4, "q_continue": True, "puzzle_emb_len": 0}),
    ("transformers_baseline@Model_ACTV2",
     {"recursion": "none", "L_layers": 4, "H_cycles": 3, "L_cycles": 6, "puzzle_emb_len": 0}),
])
def test_config_from_reference_of_other_models(model, changes):
  """Those of config/arch/{trm_singlez,trm_hier6,hrm,transformers_baseline}.yaml, with sizes of their own."""
  arch = REFERENCE | {"name": f"recursive_reasoning.{model}", "L_layers": 3, "H_layers": 4, "H_cycles": 5}
  for name in ("puzzle_emb_len", "no_ACT_continue") if "puzzle_emb_len" in changes else ():
    del arch[name]
  if changes.get("recursion") == "none":
    del arch["L_layers"], arch["L_cycles"], arch["mlp_t"]
  expected = dict(vocab_size=11, seq_len=81, mlp_t=False, pos_encodings="rope", L_layers=3, H_cycles=5)
  assert TRMConfig.from_reference(arch) == TRMConfig(**expected | changes)


@pytest.mark.parametrize("change, message", [
    ({"hidden_size": None, "H_cycles": None}, "H_cycles, hidden_size missing; give the arch of an all_config.yaml"),
    ({"L_cycle": 6}, "unknown names L_cycle; use one of .*L_cycles"),
    ({"rope_theta": 5000.0}, "rope_theta must be 10000"),
    ({"rms_norm_eps": 1e-6}, "rms_norm_eps must be 1e-05"),
    ({"name": "recursive_reasoning.trm_hier6@TinyRecursiveReasoningModel_ACTV1", "L_cycles": 5},
     "L_cycles = 5: trm_hier6 has six states"),
    ({"name": "recursive_reasoning.urm@URM"}, "name = 'recursive_reasoning.urm@URM': not a model .*use one of trm,"),
    ({"name": "recursive_reasoning.transformers_baseline@Model_ACTV2", "act_enabled": False},
     "act_enabled must be True"),
])
def test_config_from_reference_errors(change, message):
  with pytest.raises(UserError, match=message):
    TRMConfig.from_reference(REFERENCE | change)
