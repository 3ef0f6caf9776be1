# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The Tiny Recursive Model (arXiv:2510.04871) and its supervision step, with adaptive computation time (ACT).

    import jax
    from flax import nnx
    from trm_jax.model import TRM, TRMConfig

    model = TRM(TRMConfig(vocab_size=11, seq_len=81), rngs=nnx.Rngs(0))
    batch = {"inputs": tokens_BxS, "puzzle_identifiers": identifiers_B}
    carry = model.initial_carry(batch)
    for _ in range(model.config.halt_max_steps):
      carry, outputs = model(carry, batch)          # eagerly or under jit
    answers = outputs.logits.argmax(-1)

Axes are named by the letters of the table in docs/design.md.
"""

import functools
import math

from flax import nnx
from flax import struct
import jax
import jax.numpy as jnp

from trm_jax.errors import UserError
from trm_jax.model import layers
from trm_jax.model import recursion
from trm_jax.model.config import TRMConfig


Batch = dict[str, jax.Array]


class PrefixTable(nnx.Variable):
  """The puzzle embedding: trained by an optimizer of its own, and not averaged."""


class InitialState(nnx.Variable):
  """H_init and L_init: stored with the model, never trained."""


@struct.dataclass
class Carry:
  """The data that a batch row keeps between supervision steps.

  Attributes:
    z_H: (B, L, D) the answer (y in the paper), in the model's dtype, detached; the only state of single_z and none.
    z_L: (B, L, D) the latent state (z in the paper), as z_H; (B, n, L, D) of multi_scale_z; None if there is none.
    steps: (B,) int32, number of supervision steps made on the row's puzzle.
    halted: (B,) bool, whether the row takes a new puzzle at the next step.
    batch: the puzzle each row is working on, with the keys and shapes of the batches it comes from.
  """

  z_H: jax.Array
  z_L: jax.Array | None
  steps: jax.Array
  halted: jax.Array
  batch: Batch


@struct.dataclass
class Outputs:
  """The outputs of one supervision step, in float32.

  Attributes:
    logits: (B, S, V) of the answer.
    q_halt: (B,) logit of "every cell is right".
    q_continue: (B,) logit of the value of another step.
    target_q_continue: (B,) in [0, 1], the target of q_continue; None if it is not trained.
  """

  logits: jax.Array
  q_halt: jax.Array
  q_continue: jax.Array
  target_q_continue: jax.Array | None = None


@struct.dataclass
class Draws:
  """The random draws of one training step.

  Attributes:
    min_steps: (B,) int32, number of steps that each row must make before its confidence may halt it (exploration).
    start_keys: (B,) random keys of initial states; None if the config has no random_init.
    noise_keys: (B,) random keys of the noise on the states; None if the config has no state_noise.
  """

  min_steps: jax.Array
  start_keys: jax.Array | None
  noise_keys: jax.Array | None


class TRM(nnx.Module):
  """Tiny Recursive Model, or one of the paper's comparison models (`recursion`, `gradient`, `H_layers`).

  Args:
    config: TRMConfig.
    rngs: nnx.Rngs for the initial parameters.
  """

  def __init__(self, config: TRMConfig, *, rngs: nnx.Rngs):
    self.config = config
    D = config.hidden_size
    self.embed_tokens = nnx.Param(layers.truncated_normal(D**-0.5)(rngs.params(), (config.vocab_size, D)))
    if config.pos_encodings == "learned":
      self.embed_pos = nnx.Param(layers.truncated_normal(D**-0.5)(rngs.params(), (config.positions, D)))
    if config.puzzle_emb_ndim:
      self.puzzle_emb = PrefixTable(jnp.zeros((config.prefix_table_rows, config.puzzle_emb_ndim)))
    network = functools.partial(
        layers.Network,
        positions=config.positions,
        hidden_size=D,
        num_heads=config.num_heads,
        expansion=config.expansion,
        inner_norm=config.inner_norm,
        mlp_t=config.mlp_t,
        token_axis=config.token_axis,
        rope=config.pos_encodings == "rope",
        attention=config.attention,
        kernels=config.kernels,
        dtype=config.dtype,
        rngs=rngs,
    )
    self.L_level = network(config.L_layers)
    if config.H_layers:
      self.H_level = network(config.H_layers)
    self.lm_head = nnx.Param(layers.truncated_normal(D**-0.5)(rngs.params(), (D, config.vocab_size)))
    # Almost zero probability of halting at first, so that no row halts before the head has learned anything.
    self.q_head = nnx.Param(jnp.zeros((D, 2)))
    self.q_head_bias = nnx.Param(jnp.full((2,), -5.0))
    self.H_init = InitialState(layers.truncated_normal(1.0)(rngs.params(), (D,)))
    if config.latent_states is not None:
      self.L_init = InitialState(layers.truncated_normal(1.0)(rngs.params(), (*config.latent_states, D)))

  def initial_carry(self, batch: Batch) -> Carry:
    """Makes a carry in which every row is halted, so that the first step takes the whole batch.

    Args:
      batch: arrays with leading axis B; only their shapes and dtypes matter. `inputs` is required.
    """
    B, config = batch["inputs"].shape[0], self.config

    def zeros(axes):
      return None if axes is None else jnp.zeros((B, *axes, config.positions, config.hidden_size), config.dtype)

    return Carry(
        z_H=zeros(()),
        z_L=zeros(config.latent_states),
        steps=jnp.zeros(B, jnp.int32),
        halted=jnp.ones(B, bool),
        batch=jax.tree.map(jnp.zeros_like, batch),
    )

  def __call__(
      self, carry: Carry, batch: Batch, *, train: bool = False, key: jax.Array | None = None
  ) -> tuple[Carry, Outputs]:
    """Makes one supervision step.

    Args:
      carry: from `initial_carry` or from the previous step.
      batch: `inputs` (B, S) integer tokens; `puzzle_identifiers` (B,) integers if the model has a prefix; further keys
        (labels) are kept in the carry. Rows that have halted take their puzzle from here, the others keep theirs.
      train: whether to halt rows that are confident, with exploration; otherwise every row makes halt_max_steps steps.
      key: for exploration, random initial states and noise, if the config asks for them and train=True.

    Returns:
      The next carry and the Outputs. Gradients reach the parameters through the last cycle only (paper, section 4.1),
      or through the part of it that `gradient` names.

    Raises:
      UserError: a key of the batch or the random key is missing.
    """
    if not train:
      carry = self.refill(carry, batch)
      return self.supervision_step(carry, self.prefix_rows(carry.batch), None)
    draws = self.draws(key, carry.steps.shape[0])
    carry = self.refill(carry, batch, draws.start_keys)
    return self.supervision_step(carry, self.prefix_rows(carry.batch), draws.min_steps, draws.noise_keys)

  def draws(self, key: jax.Array | None, batch_size: int) -> Draws:
    """Makes the random draws of a training step, row by row, so that a batch may be split in any way.

    Args:
      key: may be None if the config asks for nothing random.
      batch_size: B.

    Raises:
      UserError: the key is missing.
    """
    config = self.config
    random = [name for name in ("halt_exploration_prob", "random_init", "state_noise") if getattr(config, name)]
    if key is None:
      if random:
        raise UserError(f"key is missing: train=True with model.{random[0]} = {getattr(config, random[0])} draws "
                        "random numbers")
      return Draws(min_steps=jnp.zeros((batch_size,), jnp.int32), start_keys=None, noise_keys=None)
    explore_key, start_key, noise_key = jax.random.split(key, 3)
    return Draws(
        min_steps=self._min_steps(explore_key, batch_size),
        start_keys=jax.random.split(start_key, batch_size) if config.random_init else None,
        noise_keys=jax.random.split(noise_key, batch_size) if config.state_noise else None,
    )

  def refill(self, carry: Carry, batch: Batch, start_keys: jax.Array | None = None) -> Carry:
    """Starts halted rows on the batch's puzzles, from the initial states with steps 0; the others keep theirs.

    Args:
      carry: of the previous step.
      batch: with the same keys as the carry's batch.
      start_keys: (B,) random keys of each row's initial states, if the config has random_init. None: all rows have the
        same states, and always the same ones.
    """
    if carry.batch.keys() != batch.keys():
      raise UserError(f"batch has the keys {sorted(batch)}, the carry was made with {sorted(carry.batch)}")

    def choose(new, old):
      return jnp.where(carry.halted.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    def fresh(init, number):
      if not self.config.random_init:
        return jnp.expand_dims(init[...].astype(self.config.dtype), (0, -2))  # for every row and position
      shape = (*init.shape[:-1], self.config.positions, self.config.hidden_size)
      keys = jax.random.key(0)[None] if start_keys is None else start_keys
      # Drawn in float32 and rounded, as H_init is: in bfloat16 the underlying uniform numbers would have 7 bits.
      draw = functools.partial(layers.truncated_normal(1.0), shape=shape, dtype=jnp.float32)
      return jax.vmap(lambda key: draw(jax.random.fold_in(key, number)).astype(self.config.dtype))(keys)

    return Carry(
        z_H=choose(fresh(self.H_init, 0), carry.z_H),
        z_L=None if carry.z_L is None else choose(fresh(self.L_init, 1), carry.z_L),
        steps=choose(0, carry.steps),
        halted=carry.halted,
        batch=jax.tree.map(choose, batch, carry.batch),
    )

  def with_noise(self, carry: Carry, keys: jax.Array, deviation: float) -> Carry:
    """Adds normal noise to the latent state of every row: to z_L, or to z_H if that is the only state (PTRM,
    arXiv:2605.19943).

    Args:
      carry: refilled.
      keys: (B,) random keys.
      deviation: of the noise; the states themselves have a root mean square of about 1.
    """
    name = "z_H" if carry.z_L is None else "z_L"
    state = getattr(carry, name)
    noise = jax.vmap(lambda key: jax.random.normal(key, state.shape[1:]))(keys)
    return carry.replace(**{name: (state + deviation * noise).astype(state.dtype)})

  def prefix_rows(self, batch: Batch) -> jax.Array | None:
    """The batch's rows of the prefix table, (B, puzzle_emb_ndim) float32; None for a model without a prefix.

    This is separate from the step so that a trainer can differentiate with respect to these rows, not the whole table.
    """
    if not self.config.puzzle_emb_ndim:
      return None
    if "puzzle_identifiers" not in batch:
      raise UserError("batch: puzzle_identifiers (B,) is missing; this model has a prefix (puzzle_emb_ndim > 0)")
    return self.puzzle_emb[...][batch["puzzle_identifiers"]]

  def _min_steps(self, key: jax.Array, batch_size: int) -> jax.Array:
    """Draws min_steps: 0 for most rows; for a share of halt_exploration_prob, a number from 2 to halt_max_steps."""
    config, shape = self.config, (batch_size,)
    if not config.halt_exploration_prob or config.halt_max_steps == 1:
      return jnp.zeros(shape, jnp.int32)
    explore_key, min_steps_key = jax.random.split(key)
    explore = jax.random.bernoulli(explore_key, config.halt_exploration_prob, shape)
    return jnp.where(explore, jax.random.randint(min_steps_key, shape, 2, config.halt_max_steps + 1), 0)

  def supervision_step(
      self, carry: Carry, prefix_rows: jax.Array | None, min_steps: jax.Array | None,
      noise_keys: jax.Array | None = None,
  ) -> tuple[Carry, Outputs]:
    """Does the work of `__call__` after refilling. Rows are independent, so a batch may be split in any way.

    Args:
      carry: refilled.
      prefix_rows: (B, puzzle_emb_ndim) or None, see `prefix_rows`.
      min_steps: (B,) int32, see Draws; None to let every row make halt_max_steps steps.
      noise_keys: (B,), see Draws.
    """
    return _supervision_step(self, carry, prefix_rows, min_steps, noise_keys)

  def _embed(self, inputs_BxS: jax.Array, prefix_rows: jax.Array | None) -> jax.Array:
    """x (B, L, D): the prefix and the tokens, scaled by sqrt(D)."""
    config = self.config
    # A product with one-hot rows instead of a gather: its transpose, which sums over all cells of a token, is then a
    # matrix product, too, rather than a scatter of B * S rows into a handful.
    x = jnp.einsum("BSV,VD->BSD", jax.nn.one_hot(inputs_BxS, config.vocab_size, dtype=config.dtype),
                   self.embed_tokens[...].astype(config.dtype), precision=layers.precision(config.dtype))
    if prefix_rows is not None:
      B, padding = inputs_BxS.shape[0], config.prefix_len * config.hidden_size - config.puzzle_emb_ndim
      # jax2onnx cannot convert jnp.pad for a variable number of rows.
      prefix = jnp.concatenate([prefix_rows.astype(config.dtype), jnp.zeros((B, padding), config.dtype)], axis=1)
      x = jnp.concatenate([prefix.reshape(B, config.prefix_len, config.hidden_size), x], axis=1)
    if config.pos_encodings == "learned":
      x = layers.scaled(math.sqrt(0.5), x + self.embed_pos[...].astype(config.dtype)[None])
    return layers.scaled(math.sqrt(config.hidden_size), x)

  def _recurse(self, z_H: jax.Array, z_L: jax.Array | None, x: jax.Array, noise_keys: jax.Array | None = None
               ) -> tuple[jax.Array, jax.Array | None]:
    """The states after the cycles of one supervision step; see recursion.py."""
    networks = [self.L_level, self.H_level] if self.config.H_layers else [self.L_level]
    return recursion.recurse(self.config, networks, z_H, z_L, x, noise_keys)

  def _heads(self, z_H_BxLxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Answer logits (B, S, V) and halting logits (B, 2), in float32."""
    z_H_BxLxD = z_H_BxLxD.astype(jnp.float32)
    einsum = functools.partial(jnp.einsum, precision=layers.precision(jnp.float32))
    logits = einsum("BSD,DV->BSV", z_H_BxLxD[:, self.config.prefix_len:], self.lm_head[...])
    q = einsum("BD,DQ->BQ", z_H_BxLxD[:, 0], self.q_head[...]) + self.q_head_bias[...][None]
    return logits, q


# Jitted so that calls in a notebook compile only once; inside a jitted program this changes nothing.
@jax.jit
def _supervision_step(
    model: TRM, carry: Carry, prefix_rows: jax.Array | None, min_steps: jax.Array | None, noise_keys: jax.Array | None
) -> tuple[Carry, Outputs]:
  config = model.config
  x_BxLxD = model._embed(carry.batch["inputs"], prefix_rows)
  z_H, z_L = model._recurse(carry.z_H, carry.z_L, x_BxLxD, noise_keys)
  logits, q = model._heads(z_H)
  z_H, z_L = jax.lax.stop_gradient((z_H, z_L))

  steps = carry.steps + 1
  last = steps >= config.halt_max_steps
  halted, target = last, None
  if min_steps is not None and config.halt_max_steps > 1:
    # The reference's transformer also compares the two, though nothing trains the second.
    by_both = config.q_continue or config.recursion == "none"
    confident = (q[:, 0] > q[:, 1]) if by_both else (q[:, 0] > 0)
    halted = (confident | last) & (steps >= min_steps)
    if config.q_continue:
      next_q = jax.lax.stop_gradient(model)._heads(model._recurse(z_H, z_L, jax.lax.stop_gradient(x_BxLxD))[0])[1]
      target = jax.nn.sigmoid(jnp.where(last, next_q[:, 0], next_q.max(-1)))
      target = jax.lax.stop_gradient(target)
  return (
      Carry(z_H=z_H, z_L=z_L, steps=steps, halted=halted, batch=carry.batch),
      Outputs(logits=logits, q_halt=q[:, 0], q_continue=q[:, 1], target_q_continue=target),
  )


@functools.lru_cache(maxsize=8)
def abstract(config: TRMConfig) -> tuple[nnx.GraphDef, nnx.State]:
  """The structure of a model and the shapes of its variables, for nnx.merge. Nothing is drawn or allocated, and a
  config that comes again costs no second trace, which takes a tenth of a second."""
  return nnx.split(nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0))))
