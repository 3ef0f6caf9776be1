# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The training state and the jitted step. The loop around them is in loop.py."""

from collections.abc import Callable
import functools
from typing import Any

from flax import nnx
from flax import struct
import jax
from jax.sharding import Mesh, PartitionSpec as P
import jax.numpy as jnp
import optax

from trm_jax.config import LossConfig, OptimizerConfig
from trm_jax.errors import UserError
from trm_jax.model.config import TRMConfig
from trm_jax.model.trm import Batch, Carry, InitialState, PrefixTable, TRM, abstract
from trm_jax.runtime import sharding
from trm_jax.training import losses
from trm_jax.training import optim

Metrics = dict[str, jax.Array]

# After this many steps without an overflow the loss scale of float16 is doubled; an overflow halves it.
_GROWTH_INTERVAL = 2000
_FIRST_SCALE, _LARGEST_SCALE = 2.0**15, 2.0**24


@struct.dataclass
class LossScale:
  """A factor on the loss, so that its gradients do not vanish in float16 (arXiv:1710.03740).

  Attributes:
    scale: () float32, the factor.
    good_steps: () int32, number of steps since it changed.
  """

  scale: jax.Array
  good_steps: jax.Array

  def next(self, finite: jax.Array) -> "LossScale":
    """The scale after a step; `finite` says whether its gradients were finite."""
    grow = self.good_steps + 1 >= _GROWTH_INTERVAL
    scale = jnp.where(finite, self.scale * jnp.where(grow, 2, 1), self.scale / 2)
    return LossScale(scale=jnp.clip(scale, 1, _LARGEST_SCALE),
                     good_steps=jnp.where(finite & ~grow, self.good_steps + 1, 0))


@struct.dataclass
class TrainState:
  """The complete state of training; a checkpoint of it is the whole run.

  Attributes:
    step: () int32, number of optimizer steps made.
    params: nested dict of the trained parameters, float32.
    ema: their moving average, which is used for evaluations; None if there is none.
    prefix_table: {"puzzle_emb": (num_puzzle_identifiers, puzzle_emb_ndim)}, empty for a model without a prefix.
    initial: H_init and L_init.
    opt_state: of the optimizer of `params`.
    prefix_opt_state: of the prefix table's optimizer.
    carry: of every row of the global batch.
    loss_scale: None except for a model in float16.
    metrics: sums over the steps since the last record, () each. They are part of the state so that a run that was
      stopped between two records later writes the same records.
  """

  step: jax.Array
  params: dict[str, Any]
  ema: dict[str, Any] | None
  prefix_table: dict[str, jax.Array]
  initial: dict[str, jax.Array]
  opt_state: optax.OptState
  prefix_opt_state: optax.OptState
  carry: Carry
  loss_scale: LossScale | None
  metrics: Metrics


class Trainer:
  """The parts of training that do not change during a run: the model's structure, the optimizers, the mesh.

  Args:
    model_config: of the model.
    optimizer_config: of the optimizers.
    mesh: with axes `data` and `model`.
    batch_size: B, global; the loss is divided by it.
    total_steps: the step at which the learning rate's cosine ends.
    loss_config: of the loss of a supervision step.
    micro_batches: number of parts of the batch that go through the network one after another, to save memory.
    record_every: number of steps after which `TrainState.metrics` starts from 0 again.

  Raises:
    UserError: cuDNN cannot train the model.

  Attributes:
    frozen: whether only the prefix table is trained.
  """

  def __init__(self, model_config: TRMConfig, optimizer_config: OptimizerConfig, *, mesh: Mesh, batch_size: int,
               total_steps: int, loss_config: LossConfig = LossConfig(), micro_batches: int = 1,
               record_every: int = 1):
    self.model_config = model_config
    self.loss_config = loss_config
    self.mesh = mesh
    self.batch_size = batch_size
    self.micro_batches = micro_batches
    self.record_every = record_every
    if model_config.attention == "cudnn" and model_config.positions % 2:  # JAX gives it an empty bias
      raise UserError(f"config.compute.attention = 'cudnn': cannot train on an odd number of positions, and here they "
                      f"are {model_config.positions}, {model_config.prefix_len} of them the prefix "
                      "(config.model.puzzle_emb_len); use xla")
    self.graphdef, _ = abstract(model_config)
    self.frozen = optimizer_config.train == "prefix"
    chosen = optim.of(optimizer_config, batch_size=batch_size, total_steps=total_steps)
    self.schedule, self.prefix_optimizer = chosen.schedule, chosen.prefix
    self.optimizer = optax.identity() if self.frozen else chosen.parameters
    self.ema = None if self.frozen else chosen.average
    self._step = jax.jit(self.step, inline=True)  # so that it is traced once, for `init` and `steps`

  def init(self, key: jax.Array, batch: Batch) -> TrainState:
    """The state before the first step, with freshly drawn parameters. Jittable.

    Args:
      key: random key of the parameters.
      batch: any batch, for its shapes.
    """
    return self.init_from(TRM(self.model_config, rngs=nnx.Rngs(key)), batch)

  def init_from(self, model: TRM, batch: Batch) -> TrainState:
    """The state before the first step, from a model's parameters."""
    params, prefix_table, initial = (
        nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, PrefixTable, InitialState))
    state = TrainState(
        step=jnp.zeros([], jnp.int32),
        params=params,
        ema=self.ema.init(params).ema if self.ema else None,
        prefix_table=prefix_table,
        initial=initial,
        opt_state=self.optimizer.init(params),
        prefix_opt_state=self.prefix_optimizer.init(None),
        carry=model.initial_carry(batch),
        loss_scale=LossScale(scale=jnp.float32(_FIRST_SCALE), good_steps=jnp.int32(0))
        if self.model_config.dtype == "float16" else None,
        metrics={},
    )
    whole = sharding.replicated(self.mesh)  # any layout on this mesh; without one, `steps` would trace the step again
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), (state, batch))
    _, metrics = self._step.eval_shape(*shapes, jax.random.key(0))
    zeros = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)
    return state.replace(metrics=zeros | {"num_steps": jnp.float32(0), "bad_step": jnp.int32(-1)})

  def model(self, state: TrainState, *, averaged: bool) -> TRM:
    """The model with the state's parameters or, if `averaged` and there is one, with their average."""
    return self._bind(state.params if state.ema is None or not averaged else state.ema, state)

  def with_params(self, state: TrainState, params: dict[str, Any]) -> TrainState:
    """The state with these parameters, also in place of their average if there is one, for an evaluation."""
    return state.replace(params=params, ema=None if state.ema is None else params)

  def _bind(self, params: dict[str, Any], state: TrainState) -> TRM:
    return nnx.merge(self.graphdef, params, state.prefix_table, state.initial)

  def step(self, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
    """Makes one supervision step and updates the parameters.

    Args:
      state: TrainState.
      batch: inputs, labels (B, S), puzzle_identifiers (B,): the rows that halted ones take next.
      key: of exploration; folded with the step.

    Returns:
      The next state and scalars: loss and gradient norm of the global batch, the learning rate, the sums of
      `losses.act_loss`, and in float16 the loss scale and whether this step was skipped because of an overflow.
    """
    model = self.model(state, averaged=False)
    draws = model.draws(jax.random.fold_in(key, state.step), self.batch_size)
    carry = model.refill(state.carry, batch, draws.start_keys)
    prefix_rows = model.prefix_rows(carry.batch)
    (loss, metrics, grads), (carry, row_grads) = self._gradients(
        state, (carry, prefix_rows, draws.min_steps, draws.noise_keys))
    grad_norm = optax.tree.norm(row_grads if self.frozen else grads)
    finite = None if state.loss_scale is None else jnp.isfinite(optax.tree.norm((grads, row_grads)))

    params, ema, opt_state = state.params, state.ema, state.opt_state
    if not self.frozen:
      updates, opt_state = self.optimizer.update(grads, opt_state, params)
      params = optax.apply_updates(params, updates)
    if self.ema:
      _, (_, ema) = self.ema.update(updates, optim.EmaState(state.step, ema), state.params)
    prefix_table, prefix_opt_state = state.prefix_table, state.prefix_opt_state
    if row_grads is not None:
      identifiers = carry.batch["puzzle_identifiers"]
      table, prefix_opt_state = self.update_table(
          prefix_table["puzzle_emb"], prefix_opt_state, identifiers, prefix_rows, row_grads, finite)
      prefix_table = {"puzzle_emb": table}

    new_state = state.replace(
        params=params,
        ema=ema,
        prefix_table=prefix_table,
        opt_state=opt_state,
        prefix_opt_state=prefix_opt_state,
    )
    metrics |= {"loss": loss, "grad_norm": grad_norm, "lr": self.schedule(state.step)}
    if finite is not None:
      both = (s.replace(prefix_table={}) for s in (new_state, state))
      new_state = jax.tree.map(functools.partial(jnp.where, finite), *both).replace(prefix_table=prefix_table)
      # An occasional overflow is expected; it is a failure only if the scale cannot go down any more.
      metrics["grad_norm"] = jnp.where(finite | (state.loss_scale.scale <= 1), grad_norm, 0)
      metrics |= {"loss_scale": state.loss_scale.scale, "skipped": 1 - finite.astype(jnp.float32)}
      new_state = new_state.replace(loss_scale=state.loss_scale.next(finite))
    return new_state.replace(step=state.step + 1, carry=carry), metrics

  def update_table(self, table: jax.Array, opt_state: optax.OptState, identifiers: jax.Array, rows: jax.Array,
                   grads: jax.Array, finite: jax.Array | None = None) -> tuple[jax.Array, optax.OptState]:
    """Updates the rows of a batch in the prefix table, in place. Returns the table and its optimizer's state.

    Args:
      table: (identifiers, E) float32; its rows may be on any devices, and stay there.
      opt_state: of the table's optimizer.
      identifiers: (B,) int32 of the global batch.
      rows: (B, E) float32, the table's rows for these identifiers.
      grads: (B, E) float32, the gradient with respect to these rows.
      finite: () bool, whether to change the rows; None: change them.
    """
    updates, opt_state = self.prefix_optimizer.update(grads, opt_state, rows, identifiers=identifiers)
    new_rows = rows + updates
    if finite is not None:  # by row, since a choice between whole tables would need a second table
      new_rows = jnp.where(finite, new_rows, rows)
    return table.at[identifiers].set(new_rows), opt_state

  def _gradients(self, state: TrainState, rows: Any) -> tuple[Any, Any]:
    """Loss, metrics and gradients of the global batch, and the next carry of its rows.

    Every device computes its own rows, in micro-batches, and all gradients are summed over the devices at the very end,
    in float32. Otherwise XLA would all-reduce each gradient where it is produced: those of the last network application
    in bfloat16 and apart from the others.

    Args:
      state: for the parameters.
      rows: the arguments of TRM.supervision_step; every leaf has a leading batch axis.

    Returns:
      (loss, metrics, grads), the same everywhere, and (carry, gradient with respect to prefix_rows or None), by row.
      If the parameters are frozen, grads is empty.
    """

    scale = 1.0 if state.loss_scale is None else state.loss_scale.scale

    def loss_fn(params, prefix_rows, carry, min_steps, noise_keys):
      carry, outputs = self._bind(params, state).supervision_step(carry, prefix_rows, min_steps, noise_keys)
      loss, metrics = losses.act_loss(
          carry, outputs, self.loss_config, halt_max_steps=self.model_config.halt_max_steps)
      loss /= self.batch_size
      return scale * loss, (loss, carry, metrics)

    def micro_batch(params, rows):
      carry, prefix_rows, *draws = rows
      argnums = (0,) * (not self.frozen) + (1,) * (prefix_rows is not None)
      (_, (loss, carry, metrics)), found = jax.value_and_grad(loss_fn, argnums, has_aux=True)(
          params, prefix_rows, carry, *draws)
      found = dict(zip(argnums, found))
      return (loss, metrics, found.get(0, {})), (carry, found.get(1))

    def on_own_rows(params, rows):
      if self.micro_batches == 1:
        sums, rows = micro_batch(params, rows)
      else:
        split = jax.tree.map(lambda x: x.reshape(self.micro_batches, -1, *x.shape[1:]), rows)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(
            lambda: micro_batch(params, jax.tree.map(lambda x: x[0], split))[0]))

        def add(sums, rows):
          more, rows = micro_batch(params, rows)
          return jax.tree.map(jnp.add, sums, more), rows

        sums, rows = jax.lax.scan(add, zeros, split)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
      return jax.lax.psum(sums, sharding.DATA), rows

    (loss, metrics, grads), (carry, row_grads) = jax.shard_map(
        on_own_rows, mesh=self.mesh, axis_names={sharding.DATA}, check_vma=False,
        in_specs=(P(), P(sharding.DATA)), out_specs=(P(), P(sharding.DATA)))(state.params, rows)
    if state.loss_scale is not None:
      grads, row_grads = jax.tree.map(lambda g: g / scale, (grads, row_grads))
    return (loss, metrics, grads), (carry, row_grads)

  def steps(
      self, state: TrainState, num_steps: jax.Array, make_batch: Callable[[jax.Array], Batch], key: jax.Array
  ) -> tuple[TrainState, Metrics]:
    """Makes several steps without the host. Jit it once: the number of steps is data, so a new number needs no compile.

    Args:
      state: TrainState.
      num_steps: () int32.
      make_batch: step (() int32) -> batch.
      key: of exploration.

    Returns:
      The state after these steps, and a copy of its metrics: sums over the steps since the last multiple of
      `record_every`, which include `num_steps`; and `bad_step`, the first step (counted from 1) whose loss or gradient
      was not finite, or -1.
    """

    def one(_, state):
      sums = jax.tree.map(lambda x: jnp.where(state.step % self.record_every == 0, jnp.zeros_like(x), x),
                          state.metrics)
      bad_step = state.metrics["bad_step"]  # this one is not reset
      state, metrics = self._step(state.replace(metrics={}), make_batch(state.step), key)
      finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
      metrics["num_steps"] = jnp.float32(1)
      return state.replace(metrics={name: sums[name] + value for name, value in metrics.items()} | {
          "bad_step": jnp.where((bad_step < 0) & ~finite, state.step, bad_step)})

    state = jax.lax.fori_loop(0, num_steps, one, state)
    return state, state.metrics
