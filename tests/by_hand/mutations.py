# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Shows that each detail of the model, the loss and the optimizers is held by a test: breaks it and sees red.

    python tests/by_hand/mutations.py                  # all of them, about 10 minutes on 2 idle cores
    python tests/by_hand/mutations.py --only=rope,ema  # those whose name contains one of these

Every mutation is made in a temporary copy of the checkout, never in the checkout itself. The tests named must first
pass in the untouched copy. Prints one line a detail and exits with 1 if a mutant survives: if no test named for it
fails. An error while collecting is not a failing test, nor is code that cannot run. To add a detail, add a Mutation;
test_mutations.py says, in the default run of the tests, when an edit no longer fits the code.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
COPIED = ("trm_jax", "tests", "configs", "benchmarks", "docs", "pyproject.toml", "setup.cfg", "README.md")


@dataclasses.dataclass(frozen=True)
class Mutation:
  """One detail, broken.

  Attributes:
    detail: what is broken.
    file: under trm_jax/; its name, with its folder where others have that name, too.
    edits: pairs of text that occurs exactly once in the file, and what takes its place.
    tests: pytest node ids under tests/, at least one of which must fail.
  """

  detail: str
  file: str
  edits: tuple[tuple[str, str], ...]
  tests: tuple[str, ...]


  @property
  def path(self) -> pathlib.Path:
    direct = ROOT / "trm_jax" / self.file
    [path] = [direct] if direct.is_file() else (ROOT / "trm_jax").rglob(self.file)
    return path

  def apply(self, text: str) -> str:
    """The file's text, edited.

    Raises:
      ValueError: an edit does not occur exactly once.
    """
    for old, new in self.edits:
      if text.count(old) != 1:
        raise ValueError(f"STALE: {self.file} holds {text.count(old)} times {old!r}")
      text = text.replace(old, new)
    return text


def mutation(detail: str, file: str, old: str, new: str, *tests: str) -> Mutation:
  return Mutation(detail, file, ((old, new),), tests)


NUMPY_MLP = "test_model.py::test_against_numpy[token_mlp]"
NUMPY_ROPE = "test_model.py::test_against_numpy[attention_rope]"
NUMPY_LEARNED = "test_model.py::test_against_numpy[token_mlp_learned]"
LAST_CYCLE = "test_model.py::test_gradient_only_through_the_last_cycle"
ONE_STEP = "test_model.py::test_one_step_gradient"
VARIANT = "test_reference_parity.py::"
INITIALISATION = "test_model.py::test_initialisation"
STEP = "test_train_step.py::"
LOSS_EXTRAS = "test_losses.py::test_act_loss_weighs_supervision_steps_and_makes_them_cost"
EXACT = "test_train_step.py::test_products_in_float32_are_exact"
REPORT = "test_report.py::"

ARC_FEW = "test_arc_files.py::test_a_task_of_few_versions"

MUTATIONS = [
    # A block.
    mutation("token mixer: rms over tokens", "layers.py", "self.mix_norm_axis = token_axis if mlp_t else -1",
             "self.mix_norm_axis = -1", NUMPY_MLP),
    mutation("rms: epsilon", "model/config.py", "RMS_EPS = 1e-5", "RMS_EPS = 1e-6", "test_layers.py::test_rms_norm"),
    mutation("rms: in float32", "layers.py", "h_f32 = h.astype(jnp.float32)", "h_f32 = h",
             "test_layers.py::test_rms_norm_computes_in_float32"),
    mutation("rms: mean, not sum", "layers.py", "jnp.mean(jnp.square(h_f32), axis, keepdims=True)",
             "jnp.sum(jnp.square(h_f32), axis, keepdims=True)", "test_layers.py::test_rms_norm"),
    mutation("token mixer: rows first", "layers.py", 'shape, before, after = h.shape, "B"[:self.token_axis]',
             'shape, before, after = h.shape, "B"[:0]', "test_model.py::test_positions_or_rows_first[baseline]"),
    mutation("post-norm, mixer", "layers.py", "h = rms_norm(h + self.mix(h), self.mix_norm_axis)",
             "h = h + self.mix(rms_norm(h, self.mix_norm_axis))", NUMPY_ROPE),
    mutation("post-norm, feed-forward", "layers.py", "return rms_norm(h + self.mlp(h), -1)",
             "return h + self.mlp(rms_norm(h, -1))", NUMPY_ROPE),
    mutation("residual around the mixer", "layers.py", "rms_norm(h + self.mix(h), self.mix_norm_axis)",
             "rms_norm(self.mix(h), self.mix_norm_axis)", NUMPY_ROPE),
    mutation("gate before up, features", "layers.py", "h, gate_up[:, i]) for i in range(2))",
             "h, gate_up[:, i]) for i in (1, 0))", NUMPY_ROPE),
    mutation("gate before up, tokens", "layers.py", "gate_up[i], h) for i in range(2))",
             "gate_up[i], h) for i in (1, 0))", NUMPY_MLP),
    mutation("gate before up, kernel", "model/kernels.py", "zip((0, -1), sums)", "zip((-1, 0), sums)",
             "test_layers.py::test_the_kernel_of_a_swiglu"),
    mutation("kernel: nothing beyond an array's end", "model/kernels.py", "mask=mask, other=0)", "other=0)",
             "test_layers.py::test_the_kernel_of_a_swiglu"),
    mutation("silu", "layers.py", "(gate_f32 * _sigmoid(gate_f32)", "(jax.nn.gelu(gate_f32)", NUMPY_ROPE),
    mutation("inner norm: of the product", "layers.py", "_sigmoid(gate_f32) * rms_norm(gate_f32 * up_f32, norm_axis)",
             "gate_f32 * _sigmoid(gate_f32) * rms_norm(up_f32, norm_axis)", "test_layers.py::test_inner_norm"),
    mutation("gradient of a product's first operand", "layers.py", '{out},{in_b}->{in_a}", g, b)',
             '{out},{in_b}->{in_a}", -g, b)', "test_layers.py::test_product"),
    mutation("gradient of a product's second operand", "layers.py", '{in_a},{out}->{in_b}", a, g)',
             '{in_a},{out}->{in_b}", a, -g)', "test_layers.py::test_product"),
    mutation("SwiGLU's width: two thirds", "model/config.py", "expansion * size * 2 / 3", "expansion * size",
             "test_layers.py::test_swiglu_width"),
    mutation("SwiGLU's width: rounded up to 256", "model/config.py", "/ 256) * 256", "/ 128) * 128",
             "test_layers.py::test_swiglu_width"),
    mutation("rope: rotate-half, not interleaved", "layers.py",
             "first, second = jnp.split(q_BxLxHxK.astype(jnp.float32), 2, axis=-1)",
             "first, second = (q_BxLxHxK.astype(jnp.float32)[..., i::2] for i in (0, 1))",
             "test_layers.py::test_rotate"),
    mutation("rope: direction", "layers.py", "first * cos - second * sin, second * cos + first * sin",
             "first * cos + second * sin, second * cos - first * sin", "test_layers.py::test_rotate"),
    mutation("rope: theta", "model/config.py", "ROPE_THETA = 10000.0", "ROPE_THETA = 1000.0",
             "test_layers.py::test_rotate"),
    mutation("rope: queries and keys", "layers.py", "q, k = rotate(q), rotate(k)", "q = rotate(q)", NUMPY_ROPE),
    mutation("rope: not on values", "layers.py", "q, k = rotate(q), rotate(k)",
             "q, k, v = rotate(q), rotate(k), rotate(v)", NUMPY_ROPE),
    mutation("attention: scale", "layers.py", "jax.nn.dot_product_attention(q, k, v,",
             "jax.nn.dot_product_attention(q, k, v, scale=1.0,", NUMPY_ROPE),
    mutation("attention: not causal", "layers.py", "jax.nn.dot_product_attention(q, k, v,",
             "jax.nn.dot_product_attention(q, k, v, is_causal=True,", NUMPY_ROPE),
    mutation("attention: order of q, k, v", "layers.py", "q, k, v = (product", "k, q, v = (product",
             "test_reference_parity.py::test_evaluation[attention-guided]"),
    # Initial values.
    mutation("initialisation: rescaled after the cut", "layers.py", "stddev / 0.87962566103423978", "stddev",
             "test_layers.py::test_truncated_normal"),
    mutation("initialisation: cut at two sigma", "layers.py", "lower=-2.0, upper=2.0", "lower=-3.0, upper=3.0",
             "test_layers.py::test_truncated_normal"),
    mutation("initialisation: fan in", "layers.py", "truncated_normal(width**-0.5)(rngs.params(), (width, hidden_size)",
             "truncated_normal(hidden_size**-0.5)(rngs.params(), (width, hidden_size)", INITIALISATION),
    mutation("initialisation: token table", "trm.py",
             "self.embed_tokens = nnx.Param(layers.truncated_normal(D**-0.5)",
             "self.embed_tokens = nnx.Param(layers.truncated_normal(1.0)", INITIALISATION),
    mutation("initialisation: halting head's bias", "trm.py", "jnp.full((2,), -5.0)", "jnp.full((2,), 0.0)",
             INITIALISATION),
    mutation("initialisation: halting head's weight", "trm.py", "self.q_head = nnx.Param(jnp.zeros((D, 2)))",
             "self.q_head = nnx.Param(jnp.ones((D, 2)))", INITIALISATION),
    mutation("initialisation: H_init", "trm.py", "self.H_init = InitialState(layers.truncated_normal(1.0)",
             "self.H_init = InitialState(layers.truncated_normal(D**-0.5)", INITIALISATION),
    mutation("initialisation: prefix table zero", "trm.py", "self.puzzle_emb = PrefixTable(jnp.zeros(",
             "self.puzzle_emb = PrefixTable(jnp.ones(", INITIALISATION),
    mutation("initial states not trained", "trm.py", "self.H_init = InitialState(", "self.H_init = nnx.Param(",
             "test_model.py::test_parameter_count"),
    mutation("prefix table apart from the parameters", "trm.py", "self.puzzle_emb = PrefixTable(",
             "self.puzzle_emb = nnx.Param(", "test_model.py::test_parameter_count"),
    # Input and output.
    mutation("x scaled by sqrt(D)", "trm.py", "layers.scaled(math.sqrt(config.hidden_size), x)", "x", NUMPY_MLP),
    mutation("x rounded once by its scale", "trm.py", "layers.scaled(math.sqrt(config.hidden_size), x)",
             "math.sqrt(config.hidden_size) * x", VARIANT + "test_evaluation[bf16_attention-guided]"),
    mutation("learned positions: 1/sqrt(2)", "trm.py", "layers.scaled(math.sqrt(0.5), x + ", "(x + ", NUMPY_LEARNED),
    mutation("learned positions: rounded once by their scale", "trm.py", "layers.scaled(math.sqrt(0.5), x + ",
             "math.sqrt(0.5) * (x + ", "test_model.py::test_bfloat16_input_is_rounded_once_by_each_factor[learned]"),
    mutation("prefix: zeros after it", "trm.py",
             "[prefix_rows.astype(config.dtype), jnp.zeros((B, padding), config.dtype)]",
             "[jnp.zeros((B, padding), config.dtype), prefix_rows.astype(config.dtype)]", NUMPY_MLP),
    mutation("prefix: in front", "trm.py",
             "[prefix.reshape(B, config.prefix_len, config.hidden_size), x]",
             "[x, prefix.reshape(B, config.prefix_len, config.hidden_size)]", NUMPY_MLP),
    mutation("prefix: length from puzzle_emb_ndim", "model/config.py",
             "self.puzzle_emb_len or math.ceil(self.puzzle_emb_ndim / self.hidden_size)",
             "self.puzzle_emb_len or self.puzzle_emb_ndim // self.hidden_size + 1", "test_model.py::test_prefix_len"),
    mutation("answer: behind the prefix", "trm.py", "z_H_BxLxD[:, self.config.prefix_len:]",
             "z_H_BxLxD[:, :self.config.seq_len]", NUMPY_MLP),
    mutation("halting head: position 0", "trm.py", "z_H_BxLxD[:, 0], self.q_head",
             "z_H_BxLxD[:, -1], self.q_head", NUMPY_MLP),
    mutation("halting head: q_halt first", "trm.py", "logits=logits, q_halt=q[:, 0], q_continue=q[:, 1]",
             "logits=logits, q_halt=q[:, 1], q_continue=q[:, 0]", NUMPY_MLP),
    # Recursion.
    mutation("z_L sees z_H", "recursion.py", "f(z_L + (z_H + x), key)", "f(z_L + x, key)", NUMPY_MLP),
    mutation("z_L sees x", "recursion.py", "f(z_L + (z_H + x), key)", "f(z_L + z_H, key)", NUMPY_MLP),
    mutation("z_H does not see x", "recursion.py", "return answer(networks[-1], z_H, z_L, ",
             "return answer(networks[-1], z_H + x, z_L, ", NUMPY_MLP),
    mutation("z_H after the updates of z_L", "recursion.py", "    z_H, z_L = think(",
             "    z_H = answer(networks[-1], z_H, z_L, None)\n    z_H, z_L = think(", NUMPY_MLP),
    mutation("n updates of z_L", "recursion.py", "T, n = config.H_cycles, config.L_cycles",
             "T, n = config.H_cycles, config.L_cycles + 1", NUMPY_MLP),
    mutation("T cycles", "recursion.py", "length=T - 1)", "length=T)", NUMPY_MLP),
    mutation("no gradient through T-1 cycles: parameters", "recursion.py",
             "networks, x_cut, states = jax.lax.stop_gradient((networks, x, (z_H, z_L)))",
             "x_cut, states = jax.lax.stop_gradient((x, (z_H, z_L)))", LAST_CYCLE),
    mutation("no gradient through T-1 cycles: x", "recursion.py",
             "networks, x_cut, states = jax.lax.stop_gradient((networks, x, (z_H, z_L)))",
             "x_cut, (networks, states) = x, jax.lax.stop_gradient((networks, (z_H, z_L)))", LAST_CYCLE),
    mutation("gradient through the last cycle: parameters", "recursion.py", "cycle(with_gradient, *states, x, n,",
             "cycle(networks, *states, x, n,", LAST_CYCLE,
             "test_reference_parity.py::test_first_gradients[attention-free]"),
    mutation("gradient through the last cycle: x", "recursion.py", "cycle(with_gradient, *states, x, n,",
             "cycle(with_gradient, *states, x_cut, n,",
             "test_reference_parity.py::test_first_gradients[attention-free]"),
    mutation("gradient through all n updates of the last cycle", "recursion.py", "return f(z_H + z_L, key)\n",
             "return f(z_H + jax.lax.stop_gradient(z_L), key)\n",
             "test_reference_parity.py::test_first_gradients[attention-free]"),
    mutation("the carry is detached", "trm.py", "z_H, z_L = jax.lax.stop_gradient((z_H, z_L))", "",
             "test_model.py::test_carry_is_detached"),
    mutation("no gradient from the state that comes in", "recursion.py",
             "networks, x_cut, states = jax.lax.stop_gradient((networks, x, (z_H, z_L)))",
             "states, (networks, x_cut) = (z_H, z_L), jax.lax.stop_gradient((networks, x))",
             "test_model.py::test_carry_is_detached"),
    # The comparison models.
    mutation("variant, two networks: its own for z_H", "recursion.py", "answer(networks[-1], z_H",
             "answer(networks[0], z_H", VARIANT + "test_evaluation[hrm-guided]"),
    mutation("variant, one step: all updates are made", "recursion.py", "x_cut, n - 1, first, unroll=False",
             "x_cut, n - 2, first, unroll=False", VARIANT + "test_evaluation[hrm-guided]"),
    mutation("variant, one step: no gradient before the last two", "recursion.py",
             "think(networks[0], *states, x_cut, n - 1,", "think(with_gradient[0], *states, x, n - 1,", ONE_STEP,
             VARIANT + "test_first_gradients[hrm-free]"),
    mutation("variant, one step: not the whole cycle", "recursion.py", 'config.gradient == "one_step"', "False",
             ONE_STEP, VARIANT + "test_first_gradients[hrm-free]"),
    mutation("variant, single z: sees x", "recursion.py", "(f(z_H + x, key), None)", "(f(z_H, key), None)",
             VARIANT + "test_evaluation[single_z-guided]"),
    mutation("variant, single z: an update without x", "recursion.py", "  return f(z_H, key)\n", "  return z_H\n",
             VARIANT + "test_evaluation[single_z-guided]"),
    mutation("variant, multi-scale z: updates see all states", "recursion.py", "f(z_L.sum(1) + (z_H + x), key)",
             "f(z_L[:, i] + (z_H + x), key)", VARIANT + "test_evaluation[multi_scale_z-guided]"),
    mutation("variant, multi-scale z: updates see z_H", "recursion.py", "f(z_L.sum(1) + (z_H + x), key)",
             "f(z_L.sum(1) + x, key)", VARIANT + "test_evaluation[multi_scale_z-guided]"),
    mutation("variant, multi-scale z: in their order", "recursion.py", "(jnp.arange(n), keys)",
             "(jnp.arange(n)[::-1], keys)", VARIANT + "test_evaluation[multi_scale_z-guided]"),
    mutation("variant, multi-scale z: all states answer", "recursion.py", "f(z_H + z_L.sum(1), key)",
             "f(z_H + z_L[:, -1], key)", VARIANT + "test_evaluation[multi_scale_z-guided]"),
    mutation("variant, multi-scale z: its own start for each", "state_dict.py", "row=i)",
             "row=config.L_cycles - 1 - i)", VARIANT + "test_evaluation[multi_scale_z-guided]"),
    mutation("variant, transformer: sees x", "recursion.py", "with_gradient[0](states[0] + x, noise_keys)",
             "with_gradient[0](states[0], noise_keys)", VARIANT + "test_evaluation[transformer-guided]"),
    mutation("variant, transformer: gradient by x", "recursion.py", "with_gradient[0](states[0] + x, noise_keys)",
             "with_gradient[0](states[0] + x_cut, noise_keys)", VARIANT + "test_first_gradients[transformer-free]"),
    mutation("variant, transformer: halting", "trm.py", 'config.q_continue or config.recursion == "none"',
             "config.q_continue", VARIANT + "test_training_steps[transformer-free]"),
    mutation("variant, HRM: learns q_continue", "model/config.py", '"no_ACT_continue": not hrm}',
             '"no_ACT_continue": True}', VARIANT + "test_first_gradients[hrm-free]"),
    mutation("variant, one step: its FLOPs", "flops.py",
             'updates = 1 if config.gradient == "one_step" else config.L_cycles', "updates = config.L_cycles",
             "test_flops.py::test_train_step_is_exact[one step]",
             "test_flops.py::test_train_step_is_exact[hrm]"),
    # Carry and halting.
    mutation("first step: all rows halted", "trm.py", "halted=jnp.ones(B, bool)", "halted=jnp.zeros(B, bool)",
             "test_model.py::test_first_step_takes_the_whole_batch"),
    mutation("refill: z_H", "trm.py", "z_H=choose(fresh(self.H_init, 0), carry.z_H)", "z_H=carry.z_H",
             "test_model.py::test_refill"),
    mutation("refill: z_L from L_init", "trm.py", "choose(fresh(self.L_init, 1), carry.z_L)",
             "choose(fresh(self.H_init, 1), carry.z_L)", "test_model.py::test_refill"),
    mutation("refill: steps", "trm.py", "steps=choose(0, carry.steps)", "steps=carry.steps",
             "test_model.py::test_refill"),
    mutation("refill: others ignore the new puzzle", "trm.py", "batch=jax.tree.map(choose, batch, carry.batch)",
             "batch=batch", "test_model.py::test_rows_that_go_on_ignore_the_offered_puzzle"),
    mutation("refill: halted rows take the new puzzle", "trm.py", "batch=jax.tree.map(choose, batch, carry.batch)",
             "batch=carry.batch", "test_model.py::test_first_step_takes_the_whole_batch"),
    mutation("refill: the row's own labels", "trm.py", "batch=jax.tree.map(choose, batch, carry.batch)",
             'batch=jax.tree.map(choose, batch, carry.batch) | {k: v for k, v in batch.items() if k == "labels"}',
             "test_model.py::test_refill"),
    mutation("steps + 1", "trm.py", "steps = carry.steps + 1", "steps = carry.steps",
             "test_model.py::test_training_halts_where_q_halt_is_positive"),
    mutation("halting at halt_max_steps, not after it", "trm.py", "last = steps >= config.halt_max_steps",
             "last = steps > config.halt_max_steps", "test_model.py::test_evaluation_makes_all_steps[0.0]"),
    mutation("halting: q_halt > 0", "trm.py", "(q[:, 0] > 0)", "(q[:, 0] >= 0)",
             "test_model.py::test_halting_threshold"),
    mutation("halting: in training only", "trm.py", "self.prefix_rows(carry.batch), None)",
             "self.prefix_rows(carry.batch), jnp.zeros_like(carry.steps))",
             "test_model.py::test_evaluation_makes_all_steps[0.0]"),
    mutation("exploration: its probability", "trm.py", "bernoulli(explore_key, config.halt_exploration_prob,",
             "bernoulli(explore_key, 1 - config.halt_exploration_prob,",
             "test_model.py::test_exploration_probability"),
    mutation("exploration: at least 2", "trm.py", "shape, 2, config.halt_max_steps + 1)",
             "shape, 1, config.halt_max_steps + 1)", "test_model.py::test_exploration_bounds"),
    mutation("exploration: up to halt_max_steps", "trm.py", "shape, 2, config.halt_max_steps + 1)",
             "shape, 2, config.halt_max_steps)", "test_model.py::test_exploration_bounds"),
    mutation("exploration: may halt at its minimum", "trm.py", "(steps >= min_steps)", "(steps > min_steps)",
             "test_model.py::test_exploration_bounds"),
    mutation("exploration: holds back, forces nothing", "trm.py",
             "halted = (confident | last) & (steps >= min_steps)",
             "halted = jnp.where(min_steps > 0, steps >= min_steps, confident | last)",
             "test_model.py::test_exploration_makes_nobody_halt"),
    mutation("Q variant: halting", "trm.py", "by_both = config.q_continue or", "by_both =",
             "test_model.py::test_q_continue_variant"),
    mutation("Q variant: target at the last step", "trm.py", "jnp.where(last, next_q[:, 0], next_q.max(-1))",
             "next_q.max(-1)", "test_model.py::test_q_continue_variant"),
    mutation("Q variant: target by the better of both", "trm.py", "jnp.where(last, next_q[:, 0], next_q.max(-1))",
             "jnp.where(last, next_q[:, 0], next_q[:, 1])", "test_model.py::test_q_continue_variant"),
    Mutation("Q variant: no gradient from the target", "trm.py", (
        ("next_q = jax.lax.stop_gradient(model)._heads", "next_q = model._heads"),
        ("target = jax.lax.stop_gradient(target)", "")), ("test_model.py::test_q_continue_variant",)),
    # Loss and metrics.
    mutation("stablemax: x + 1 for x >= 0", "losses.py", "jnp.log1p(jnp.maximum(x, 0))", "jnp.maximum(x, 0)",
             "test_losses.py::test_stablemax_against_float64"),
    mutation("stablemax: 1 / (1 - x) below", "losses.py", "jnp.log1p(jnp.maximum(-x, 0))", "jnp.maximum(-x, 0)",
             "test_losses.py::test_stablemax_against_float64"),
    mutation("stablemax: no division by zero", "losses.py",
             "return jnp.log1p(jnp.maximum(x, 0)) - jnp.log1p(jnp.maximum(-x, 0))",
             "return jnp.log(jnp.where(x < 0, 1 / (1 - x), x + 1))", "test_losses.py::test_stablemax_at_the_edges"),
    mutation("stablemax: no overflow of the sum", "losses.py", "jax.nn.logsumexp(log_s, axis=-1)",
             "jnp.log(jnp.exp(log_s).sum(-1))", "test_losses.py::test_stablemax_at_the_edges"),
    mutation("ignored cells have no loss", "losses.py", "jnp.where(counted, loss, 0)", "loss",
             "test_losses.py::test_ignored_cells_have_no_gradient"),
    mutation("mean over the row's counted cells", "losses.py", ").sum(-1) / jnp.maximum(num_counted, 1)",
             ").mean(-1)", "test_losses.py::test_act_loss"),
    mutation("halting learns whether every counted cell is right", "losses.py",
             "(num_right == num_counted).astype(", "(num_right == labels_BxS.shape[-1]).astype(",
             "test_losses.py::test_act_loss"),
    mutation("evaluation: losses of the last step", "attempts.py", 'put(results["last"], values["last"]),',
             'jax.tree.map(jnp.add, results["last"], put(results["last"], values["last"])),',
             "test_evaluate.py::test_losses_of_the_last_step[False]"),
    mutation("every counted cell right", "losses.py", "exact = num_right == num_counted",
             "exact = num_right == labels.shape[-1]", "test_losses.py::test_act_loss"),
    mutation("weight of the halting losses", "losses.py", '"q_halt_loss": config.halting_weight',
             '"q_halt_loss": 1.0',
             "test_losses.py::test_act_loss"),
    mutation("weight of q_continue's loss", "losses.py", '"q_continue_loss": config.halting_weight',
             '"q_continue_loss": 1.0',
             "test_losses.py::test_act_loss_q_continue"),
    mutation("metrics over rows that halt", "losses.py", "carry.halted & (num_counted > 0)", "(num_counted > 0)",
             "test_losses.py::test_act_loss"),
    mutation("metrics over rows with a counted cell", "losses.py", "carry.halted & (num_counted > 0)", "carry.halted",
             "test_losses.py::test_act_loss"),
    mutation("halting accuracy: from 0 on", "losses.py", "(outputs.q_halt >= 0) == exact",
             "(outputs.q_halt > 0) == exact", "test_losses.py::test_act_loss"),
    mutation("division by the global batch", "train_step.py", "loss /= self.batch_size", "loss /= 1",
             STEP + "test_loss_is_divided_by_the_global_batch"),
    # Optimizers.
    mutation("AdamATan2: m is corrected outside", "optim.py", "jnp.arctan2(m, jnp.sqrt(v) / second) / first",
             "jnp.arctan2(m / first, jnp.sqrt(v) / second)", "test_optim.py::test_adam_atan2_first_step"),
    mutation("AdamATan2: v is corrected inside", "optim.py", "jnp.arctan2(m, jnp.sqrt(v) / second) / first",
             "jnp.arctan2(m, jnp.sqrt(v)) / first", "test_optim.py::test_adam_atan2_first_step"),
    mutation("AdamATan2: no factor in front", "optim.py", "jnp.arctan2(m, jnp.sqrt(v) / second) / first",
             "1.27 * jnp.arctan2(m, jnp.sqrt(v) / second) / first", "test_optim.py::test_adam_atan2_first_step"),
    mutation("AdamATan2: b1 and b2", "optim.py", "scale_by_adam_atan2(b1, b2),", "scale_by_adam_atan2(b2, b1),",
             "test_optim.py::test_adam_atan2"),
    mutation("AdamATan2: decoupled decay", "optim.py",
             "scale_by_adam_atan2(b1, b2),\n      optax.add_decayed_weights(weight_decay),",
             "optax.add_decayed_weights(weight_decay),\n      scale_by_adam_atan2(b1, b2),",
             "test_optim.py::test_adam_atan2"),
    mutation("AdamATan2: decay of biases too", "optim.py",
             "scale_by_adam_atan2(b1, b2),\n      optax.add_decayed_weights(weight_decay),",
             "scale_by_adam_atan2(b1, b2),\n      optax.add_decayed_weights("
             "weight_decay, lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),",
             "test_optim.py::test_decay_reaches_every_parameter[adam_atan2]"),
    mutation("AdamW: configured moments", "optim.py", '"adamw": optax.adamw',
             '"adamw": lambda rate, b1, b2, weight_decay: optax.adamw(rate, weight_decay=weight_decay)',
             "test_optim.py::test_adamw"),
    mutation("sign-SGD: sum over equal identifiers", "optim.py",
             "(identifiers[:, None] == identifiers[None, :]).astype(grads.dtype)",
             "jnp.eye(len(identifiers), dtype=grads.dtype)", "test_optim.py::test_sign_sgd_rows"),
    mutation("sign-SGD: the sign", "optim.py",
             "jnp.sign(jnp.matmul(same_BxB, grads, precision=jax.lax.Precision.HIGHEST))",
             "jnp.matmul(same_BxB, grads, precision=jax.lax.Precision.HIGHEST)", "test_optim.py::test_sign_sgd_rows"),
    mutation("sign-SGD: decay", "optim.py",
             "sign_of_row_sums(),\n      optax.add_decayed_weights(weight_decay),", "sign_of_row_sums(),",
             "test_optim.py::test_sign_sgd_rows"),
    mutation("sign-SGD: no decay of rows not in the batch", "train_step.py", "table.at[identifiers].set(",
             "(0.999 * table).at[identifiers].set(", STEP + "test_prefix_table_rows_of_the_carry"),
    mutation("sign-SGD: identifiers of the carry", "train_step.py", 'identifiers = carry.batch["puzzle_identifiers"]',
             'identifiers = batch["puzzle_identifiers"]', STEP + "test_prefix_table_rows_of_the_carry"),
    mutation("sign-SGD: its own learning rate", "optim.py", "schedule(scale * config.prefix_learning_rate)",
             "schedule(scale * config.learning_rate)", STEP + "test_prefix_table_rows_of_the_carry"),
    mutation("prefix table: no other one in float16", "train_step.py", "s.replace(prefix_table={}) for s in",
             "s for s in", "test_program.py::test_a_big_prefix_table_is_there_once[1-float16]"),
    mutation("prefix table: shared out over six devices", "model/config.py", "3 * 1024", "1024",
             "test_program.py::test_a_big_prefix_table_is_there_once[6-float32]"),
    mutation("prefix table: rows carried over by name", "warm_start.py", "pairs = [(i, places[name])",
             "pairs = [(i, min(i, len(there) - 1))", "test_warm_start.py::test_rows_are_carried_over_by_name[zero]"),
    mutation("prefix table: identifiers of the checkpoint", "identity.py", "if ours is None or ours == digest:",
             "if True:", "test_arc_task.py::test_a_checkpoint_is_not_evaluated_with_other_identifiers"),
    mutation("prefix table: trained alone", "train_step.py", "params, ema, opt_state = state.params,",
             "params, ema, opt_state = jax.tree.map(lambda p: 0.999 * p, state.params),",
             STEP + "test_the_prefix_table_alone_is_trained"),
    # Evaluation.
    mutation("evaluation: only settled answers halt", "attempts.py", "(answers == answers_before).all(-1) &", "",
             "test_evaluate.py::test_halting_keeps_what_each_puzzle_had_when_it_halted[8]"),
    mutation("evaluation: an answer settles against one before", "attempts.py", "& (carry.steps > 1)", "",
             "test_evaluate.py::test_a_row_does_not_compare_its_puzzle_with_the_one_before"),
    mutation("evaluation: all halt in the end", "attempts.py",
             "(unchanged | (carry.steps == model.config.halt_max_steps))", "unchanged",
             "test_evaluate.py::test_halting_keeps_what_each_puzzle_had_when_it_halted[8]"),
    # Thinking longer.
    mutation("thinking: as many steps as asked for", "attempts.py", "if self._steps is not None:", "if False:",
             "test_evaluate.py::test_more_steps_than_the_model_was_trained_for"),
    mutation("thinking: a state that is still ends its attempt", "attempts.py", "< STILL_BELOW", "> STILL_BELOW",
             "test_evaluate.py::test_an_attempt_ends_by_its_rule[still-8]"),
    mutation("thinking: noise on the latent state alone", "trm.py", 'name = "z_H" if carry.z_L is None else "z_L"',
             'name = "z_H"', "test_model.py::test_noise_on_the_latent_state_between_steps[two_z-z_L-z_H]"),
    mutation("thinking: new noise before each step", "attempts.py", "(*place, 2 + steps)", "(*place, 2 + 0 * steps)",
             "test_evaluate.py::test_noise_is_the_same_wherever_it_is_made"),
    mutation("thinking: noise of each rollout's own", "attempts.py", "numbers // self._rollouts % versions, numbers %",
             "numbers // self._rollouts % versions, 0 * numbers %",
             "test_evaluate.py::test_noise_is_the_same_wherever_it_is_made"),
    mutation("thinking: initial states of each rollout's own", "attempts.py",
             "batch, self._keys(data, number, None) if self._rollouts > 1 else None)", "batch)",
             "test_evaluate.py::test_rollouts_begin_from_random_initial_states"),
    mutation("thinking: versions are put back", "attempts.py", "jax.random.key(seed), group, version))",
             "jax.random.key(seed), group * 0, version))", "test_evaluate.py::test_attempts_are_chosen_among"),
    mutation("thinking: numbers of cells move with them", "tasks/symmetry.py", "return tokens[symmetry.cells]",
             "return tokens", "test_augment.py::test_floats_move_with_their_cells"),
    mutation("thinking: chosen by the surest", "tasks/vote.py", "(q_halt[candidate.attempt],)",
             "(candidate.probability,)", "test_vote.py::test_by_the_surest_attempt_and_not_by_the_mean"),
    mutation("thinking: chosen by the stillest", "tasks/vote.py", "(-min(residuals[i]", "(max(residuals[i]",
             "test_vote.py::test_by_the_state_that_moved_least"),
    mutation("thinking: one right attempt is enough to pass", "training/evaluator.py", "row(solved.any(1))",
             "row(solved.all(1))", "test_evaluate.py::test_attempts_are_chosen_among"),
    mutation("thinking: the first attempts", "training/evaluator.py", "[:, :first]", "",
             "test_evaluate.py::test_the_first_attempts_are_chosen_among"),
    mutation("thinking: solve chooses as told", "solve/solver.py", "by=self._choose,", "",
             "test_solve.py::test_it_chooses_what_is_proven"),
    mutation("thinking: --halting of old is --stop=settled", "config.py", '"settled" if known.pop',
             '"steps" if known.pop', "test_config.py::test_a_config_of_the_first_version_is_read"),
    # Many devices.
    mutation("gradients: summed over the devices", "train_step.py", "return jax.lax.psum(sums, sharding.DATA), rows",
             "return sums, rows", STEP + "test_the_same_steps_on_any_mesh_and_in_micro_batches[8-1-1]"),
    mutation("micro-batches: all of them", "train_step.py", "return jax.tree.map(jnp.add, sums, more), rows",
             "return more, rows", STEP + "test_the_same_steps_on_any_mesh_and_in_micro_batches[1-1-4]"),
    mutation("matrices: shared out", "sharding.py", '("*/mlp/down", P(MODEL))', '("*/mlp/down", P())',
             STEP + "test_the_same_steps_on_any_mesh_and_in_micro_batches[8-2-1]",
             "test_sharding.py::test_all_shardings_are_as_written_down"),
    mutation("linear scaling: of the parameters' rate", "optim.py",
             "schedule(scale * config.learning_rate)", "schedule(config.learning_rate)",
             STEP + "test_rates_grow_with_the_batch_over_a_base_batch"),
    mutation("linear scaling: of the prefix table's rate", "optim.py",
             "schedule(scale * config.prefix_learning_rate)", "schedule(config.prefix_learning_rate)",
             STEP + "test_rates_grow_with_the_batch_over_a_base_batch"),
    mutation("metrics: start anew after a record", "train_step.py", "state.step % self.record_every == 0",
             "state.step < 0", STEP + "test_metrics_start_anew_after_a_record"),
    mutation("a step that was not finite is not forgotten", "train_step.py",
             '(bad_step < 0) & ~finite, state.step, bad_step)', '~finite, state.step, -1)',
             STEP + "test_metrics_start_anew_after_a_record"),
    mutation("warmup: the first step is t = 1", "optim.py", "t = jnp.asarray(count + 1, jnp.float32)",
             "t = jnp.asarray(count, jnp.float32)", "test_optim.py::test_warmup_cosine"),
    mutation("warmup: linear to the peak", "optim.py", "warm = t / max(1, warmup_steps)",
             "warm = t / max(1, warmup_steps + 1)", "test_optim.py::test_warmup_cosine"),
    mutation("cosine: starts after the warmup", "optim.py", "(t - warmup_steps) / max(1, total_steps - warmup_steps)",
             "t / max(1, total_steps)", "test_optim.py::test_warmup_cosine"),
    mutation("cosine: ends at lr_min_ratio", "optim.py", "min_ratio + (1 - min_ratio) * 0.5", "0.5",
             "test_optim.py::test_warmup_cosine"),
    mutation("EMA: starts at the parameters", "optim.py", "jnp.int32), jax.tree.map(jnp.copy, params))",
             "jnp.int32), jax.tree.map(jnp.zeros_like, params))", "test_optim.py::test_ema"),
    mutation("EMA: starts late", "optim.py", "state.count < start", "state.count <= start",
             "test_optim.py::test_the_average_may_start_later[2]"),
    mutation("Muon: inputs and outputs", "optim.py", '"mix/gate_up": (2, 1)', '"mix/gate_up": (1, 2)',
             "test_optim.py::test_muon_orthogonalises_every_matrix_of_the_networks_by_itself"),
    mutation("label smoothing", "losses.py", "smoothing * (log_sum - log_s.mean(-1))", "smoothing * log_sum",
             "test_losses.py::test_the_target_of_a_cell_may_be_smooth[0.2-softmax]"),
    mutation("EMA: takes the new parameters", "optim.py", "now * e + (1 - now) * (p + u)",
             "now * e + (1 - now) * p", "test_optim.py::test_ema"),
    mutation("EMA: its rate", "optim.py", "now * e + (1 - now) * (p + u)", "(1 - now) * e + now * (p + u)",
             "test_optim.py::test_ema"),
    mutation("EMA: not of the prefix table", "train_step.py", "return self._bind(state.params if state.ema is None",
             "if averaged:\n"
             "      state = state.replace(prefix_table=jax.tree.map(jnp.zeros_like, state.prefix_table))\n"
             "    return self._bind(state.params if state.ema is None", STEP + "test_what_is_not_trained"),
    # What the study adds to training.
    mutation("weights of supervision steps: 1 at the first", "losses.py", "step_decay ** (carry.steps - 1)",
             "step_decay ** carry.steps", LOSS_EXTRAS),
    mutation("halting cost: over the steps that are left", "losses.py", "k <= steps_left_B[:, None]", "k <= max_steps",
             "test_losses.py::test_expected_extra_steps"),
    mutation("halting cost: in the loss", "losses.py", '"extra_steps": config.halt_cost}', '"extra_steps": 0.0}',
             LOSS_EXTRAS),
    mutation("loss scale: halved by an overflow", "train_step.py", "self.scale / 2)", "self.scale)",
             STEP + "test_float16_gives_up_at_the_smallest_scale"),
    mutation("loss scale: an overflow changes no parameter", "train_step.py",
             "jax.tree.map(functools.partial(jnp.where, finite), *both)", "next(both)",
             STEP + "test_float16_skips_steps_that_overflow"),
    mutation("loss scale: an overflow changes no row", "train_step.py", "new_rows = jnp.where(finite, new_rows, rows)",
             "pass", STEP + "test_float16_skips_steps_that_overflow"),
    mutation("loss scale: out of the gradients again", "train_step.py", "lambda g: g / scale", "lambda g: g",
             STEP + "test_float16_skips_steps_that_overflow"),
    mutation("depth schedule: the stage that has begun", "program.py", "if stage.start <= step)",
             "if stage.start < step or i == 0)", "test_loop.py::test_a_depth_schedule"),
    mutation("depth schedule: each stage's cycles", "config.py", "H_cycles=stage.H_cycles, L_cycles=stage.L_cycles",
             "L_cycles=stage.L_cycles", "test_loop.py::test_a_depth_schedule"),
    mutation("mean of checkpoints: of the newest", "checkpoint.py", "self.steps()[-num:]", "self.steps()[:num]",
             "test_loop.py::test_the_mean_of_the_last_checkpoints"),
    mutation("mean of checkpoints: evaluated", "train_step.py",
             "ema=None if state.ema is None else params)", "ema=state.ema)",
             "test_loop.py::test_the_mean_of_the_last_checkpoints"),
    mutation("Muon: stacked matrices each by itself", "optim.py", "optax.contrib.MuonDimensionNumbers(*axes)",
             "optax.contrib.MuonDimensionNumbers(tuple(range(p.ndim - 1)), p.ndim - 1)",
             "test_optim.py::test_muon_orthogonalises_every_matrix_of_the_networks_by_itself"),
    mutation("clipping: by the norm of all gradients", "optim.py", "optax.clip_by_global_norm(config.clip_norm)",
             "optax.clip(config.clip_norm)", "test_optim.py::test_gradients_are_clipped_together"),
    mutation("random initial states: by row", "trm.py",
             "jax.random.key(0)[None] if start_keys is None else start_keys",
             "jax.random.key(0)[None]", "test_model.py::test_random_initial_states"),
    mutation("noise: none in evaluation", "trm.py",
             "return self.supervision_step(carry, self.prefix_rows(carry.batch), None)",
             "return self.supervision_step(carry, self.prefix_rows(carry.batch), None, "
             "jax.random.split(jax.random.key(0), carry.steps.shape[0]))", "test_model.py::test_noise_on_the_states"),
    mutation("noise: on every application anew", "recursion.py", "jax.random.split(key, (T, n + 1))",
             "jnp.broadcast_to(jax.random.split(key, 1), (T, n + 1))",
             "test_model.py::test_every_application_has_noise_of_its_own"),
    mutation("random initial states: drawn in float32", "trm.py", "shape=shape, dtype=jnp.float32)",
             "shape=shape, dtype=self.config.dtype)", "test_model.py::test_random_initial_states"),
    # Precision.
    mutation("precision: all products in float32", "layers.py",
             "return jax.lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None", "return None", EXACT),
    mutation("precision: of the heads", "trm.py", "precision=layers.precision(jnp.float32)", "precision=None", EXACT),
    mutation("precision: of the tokens", "trm.py", ", precision=layers.precision(config.dtype))", ")", EXACT),
    mutation("precision: of attention", "layers.py", '"highest" if precision(self.dtype) else None', "None", EXACT),
    mutation("precision: of gradients", "layers.py", "b, precision=precision(a.dtype))\n\n\ndef _sigmoid",
             "b)\n\n\ndef _sigmoid", EXACT),
    # The reference's files.
    mutation("export: initial states in the model's dtype", "state_dict.py",
             "jnp.dtype(model.config.dtype) if isinstance(flat[path], InitialState) else np.float32", "np.float32",
             "test_interop.py::test_initial_states_are_written_in_the_dtype_of_the_model"),
    mutation("export: names of the compiled model", "state_dict.py", "state[_COMPILED * compiled + name]",
             "state[name]", "test_interop.py::test_names_of_the_compiled_model"),
    mutation("import: the prefix is no part of the puzzle", "model/config.py", 'gate_up_proj.weight", 1, prefix_len)',
             'gate_up_proj.weight", 1, 0)', "test_interop.py::test_sizes_of_the_data_set"),
    mutation("import: sizes agree", "model/config.py", "if len(set(found.values())) > 1:", "if False:",
             "test_interop.py::test_sizes_that_contradict_each_other"),
    mutation("import: no default of ours for what is missing", "model/config.py", "if missing := sorted(required - ",
             "if missing := sorted(set() - ", "test_model.py::test_config_from_reference_errors"),
    mutation("import: nothing but tensors", "torch_zip.py", "if named not in (_ORDERED_DICT, _REBUILD) and not (",
             "if False and not (", "test_torch_zip.py::test_nothing_but_tensors"),
    mutation("import: no archive that unfolds", "torch_zip.py", "if any(info.compress_type != zipfile.ZIP_STORED or ",
             "if any(", "test_torch_zip.py::test_archives_that_unfold"),
    mutation("import: bytes of a tensor", "torch_zip.py", "if (offset + size) * dtype.itemsize > info.file_size:",
             "if False:", "test_torch_zip.py::test_what_is_said_of_tensors_is_checked"),
    mutation("import: dtype of the initial states", "archs.py", 'if initial else {})', 'if False else {})',
             "test_import.py::test_products_have_the_dtype_of_the_initial_states_as_in_the_reference"),
    mutation("export: states go on from step to step", "export.py", "(now[0], step(*now[0], *now[1][2:]))",
             "(now[0], step(*now[0], *start(*now[0])))", "test_export.py::test_programs_need_jax_alone"),
    mutation("export: accuracy of these weights", "card.py", 'if test.get("step", results.get("step")) == step and',
             "if", "test_export.py::test_the_card_has_what_was_measured_of_these_weights"),
    # The report.
    mutation("report: standard deviation of a sample", "analysis.py", "base.var(ddof=1)", "base.var()",
             REPORT + "test_welch"),
    mutation("report: Welch's degrees of freedom", "analysis.py",
             "freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(base), len(other)]) - 1)).sum() if error else 0",
             "freedom = len(base) + len(other) - 2", REPORT + "test_welch"),
    mutation("report: a single run's gap against the known spread", "analysis.py",
             "abs(gap) < 2 * KNOWN_SPREAD - 1e-6", "abs(gap) < KNOWN_SPREAD", REPORT + "test_single_runs"),
    mutation("report: an interval with 0 establishes nothing", "analysis.py",
             "if interval and interval[0] <= 0 <= interval[1]:", "if False:", REPORT + "test_welch"),
    mutation("report: slopes are resampled", "analysis.py", ".integers(len(x), size=(_RESAMPLES, len(x)))",
             ".permuted(np.tile(np.arange(len(x)), (_RESAMPLES, 1)), axis=1)", REPORT + "test_fit"),
    mutation("report: no fit through two values", "analysis.py", "if len(set(x)) < 3:", "if len(set(x)) < 2:",
             REPORT + "test_fit"),
    mutation("report: the same seed counts once", "analysis.py", "by_seed.setdefault(run.seed, run)",
             "by_seed.setdefault(run.path, run)",
             REPORT + "test_runs_that_differ_in_the_seed_and_in_free_knobs_are_one_setting"),
    mutation("report: free knobs make no setting", "runs.py",
             'if k != "seed" and k not in free}', 'if k != "seed"}',
             REPORT + "test_runs_that_differ_in_the_seed_and_in_free_knobs_are_one_setting"),
    mutation("report: what stopped has no result", "analysis.py", "if run.result() is not None:",
             "if run.records:", REPORT + "test_missing_and_failed_runs_are_shown"),
    mutation("report: effective depth", "sections.py", "return t * (n + 1) * layers", "return t * n * layers",
             REPORT + "test_grids_show_what_is_missing"),
    mutation("report: the front", "analysis.py", "if points[i][1] > best:", "if points[i][1] >= best:",
             REPORT + "test_front"),
    mutation("report: what HTML takes for its own", "report/page.py",
             "yield f'<p class=\"sentence\">{escape(section.sentence)}</p>'",
             "yield f'<p class=\"sentence\">{section.sentence}</p>'", REPORT + "test_page"),
    # Sweeps.
    mutation("sweep: equal configs once", "plan.py", 'same = dataclasses.replace(config, name="")', "same = config",
             "test_sweep.py::test_the_same_config_is_run_once_in_all_sweeps"),
    mutation("sweep: a config's first name in the file", "plan.py", "first.setdefault(same, name)",
             "first[same] = name", "test_sweep.py::test_the_same_config_is_run_once_in_all_sweeps"),
    mutation("sweep: each seed", "plan.py", "dataclasses.replace(made[name][0], seed=seed)", "made[name][0]",
             "test_sweep.py::test_the_same_config_is_run_once_in_all_sweeps"),
    mutation("sweep: finished is the last step", "identity.py", '["step"] == saved["total_steps"]', '["step"] > 0',
             "test_sweep.py::test_finished_is_what_has_results_of_the_same_config"),
    mutation("folder: another run's", "identity.py", "  if different:\n", "  if False:\n",
             "test_sweep.py::test_finished_is_what_has_results_of_the_same_config"),
    mutation("folder: other puzzles", "identity.py", 'if run["puzzles"][name] != before.get(name)]', "if False]",
             "test_identity.py::test_what_else_makes_a_run_another_one"),
    mutation("folder: without its checkpoints", "identity.py", '"checkpoints" not in there and', "False and",
             "test_identity.py::test_what_would_be_written_over_is_refused"),
    mutation("lock: a file that its owner has removed is none", "lock.py", "if not self._is(file):", "if False:",
             "test_lock.py::test_a_lock_that_its_owner_removes_just_now_is_made_again"),
    mutation("lock: an object that is there is not made again", "lock.py", 'while not self._write("0"):',
             "while not self._write(self._object.read() and self._object.read().generation or '0'):",
             "test_lock.py::test_a_folder_in_a_bucket_has_one_owner"),
    mutation("lock: silence ends it", "lock.py", "or found.age_s > _EXPIRE_SECONDS:\n        if",
             "or False:\n        if",
             "test_lock.py::test_an_owner_on_another_machine_that_has_been_silent_has_lost_the_folder"),
    mutation("sweep: a log has one writer", "running.py", "if lock.try_lock(log) is False:", "if False:",
             "test_sweep.py::test_two_sweeps_share_a_folder"),
    mutation("sweep: skips what is finished", "running.py", 'if found == "finished":\n        say(',
             'if found == "never":\n        say(',
             "test_sweep.py::test_skips_what_is_finished_and_tells_of_failures"),
    mutation("sweep: goes on after a failure", "running.py", "    else:\n      self._failed[number] = run",
             "    else:\n      self._ended = True",
             "test_sweep.py::test_runs_passes_over_what_fails_and_stops_when_told"),
    mutation("sweep: hands signals on", "running.py", "process.send_signal(number)", "pass",
             "test_sweep.py::test_runs_passes_over_what_fails_and_stops_when_told"),
    mutation("sweep: outlives its reader", "sweep.py", "  output.outlive()\n", "",
             "test_sweep.py::test_a_sweep_outlives_its_reader"),
    mutation("stopping: a run outlives its reader", "main.py", "    output.outlive()\n", "    pass\n",
             "test_stopping.py::test_a_run_outlives_its_reader"),
    mutation("stopping: a reader that has stopped", "output.py", "elif _hurried:", "elif False:",
             "test_stopping.py::test_a_run_that_is_stopped_again_and_again_ends_as_one_that_was_not"),
    mutation("stopping: pictures are not waited for", "loop.py", "with signals.released():", "if True:",
             "test_stopping.py::test_a_run_that_is_stopped_again_and_again_ends_as_one_that_was_not"),
    mutation("stopping: one press of Ctrl-C is one", "signals.py", "now - self._pressed_at < _ONE_PRESS_SECONDS",
             "False", "test_distributed.py::test_signals_are_noted_and_a_second_ctrl_c_is_not"),
    mutation("stopping: nohup", "signals.py", """for number in STOPPING
                             if signal.getsignal(number) != signal.SIG_IGN}""", "for number in STOPPING}",
             "test_distributed.py::test_an_ignored_signal_stays_ignored"),
    mutation("stopping: what is ignored is not handed on", "guard.py",
             "(number for number in signals.STOPPING if signal.getsignal(number) != signal.SIG_IGN)",
             "signals.STOPPING",
             "test_distributed.py::test_the_guard_says_how_it_ended[nohup-0-]"),
    mutation("FLOPs of a curriculum: by stages", "flops.py", "min(steps, end) - start", "min(steps, end)",
             "test_study.py::test_flops_of_a_curriculum"),
    mutation("a config of a group: its changes", "groups.py", "    config_lib.change(config, changes)\n", "",
             "test_study.py::test_what_is_held_equal"),
    # The whole of it, as the golden files see it.
    mutation("interop: H_init and L_init", "state_dict.py", 'names["L_init"] = _Place(("L_init",))',
             'names["L_init"] = _Place(("H_init",))', "test_reference_parity.py::test_evaluation[attention-free]"),
    mutation("trajectory: weight decay", "optim.py",
             "make(rate, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay)",
             "make(rate, b1=config.b1, b2=config.b2)",
             "test_reference_parity.py::test_final_parameters[attention-free-final_state]"),
    mutation("trajectory: schedule", "optim.py", "t = jnp.asarray(count + 1, jnp.float32)",
             "t = jnp.asarray(count, jnp.float32)", "test_reference_parity.py::test_training_steps[mlp_t-guided]"),
    mutation("trajectory: EMA", "optim.py", "now * e + (1 - now) * (p + u)", "now * e + (1 - now) * p",
             "test_reference_parity.py::test_final_parameters[attention-free-final_ema]",
             "test_reference_parity.py::test_final_parameters[mlp_t-guided-final_ema]"),
    # Mazes.
    mutation("maze: walls stay", "maze/rules.py", "((answers == PATH) & (inputs == FREE))", "(answers == PATH)",
             "test_maze_rules.py::test_paths_are_those_of_a_slow_walker"),
    mutation("maze: nothing left over", "maze/rules.py", "(_moves(answers, line, shape) == path_moves(answers))",
             "(_moves(answers, line, shape) > 0)", "test_maze_rules.py::test_a_ring_beside_the_path_is_left_over"),
    mutation("maze: shortest", "maze/rules.py",
             "return valid_paths(inputs, answers, shape) & (path_moves(answers) == fewest_moves(inputs, shape))",
             "return valid_paths(inputs, answers, shape)", "test_maze_rules.py::test_paths_are_those_of_a_slow_walker"),
    mutation("maze: one shortest path", "maze/generate.py", "several[ahead] = True", "pass",
             "test_maze_generate.py::test_exactly_one_shortest_path_is_marked[shape2-10-0.4]"),
    mutation("maze: loops", "maze/generate.py", "round(loops * len(walls))", "0",
             "test_maze_generate.py::test_loops_make_ways_besides_the_shortest"),
    mutation("maze: none twice, reflected", "maze/generate.py", "*(image.T for image in turned)", "",
             "test_maze_generate.py::test_no_maze_comes_twice_turned_or_reflected_either"),
    mutation("maze: order of the transforms", "tasks/symmetry.py", "np.fliplr,\n          np.flipud",
             "np.flipud,\n          np.fliplr",
             "test_maze_task.py::test_versions_are_the_transforms_of_the_reference_in_its_order"),
    mutation("maze: fresh versions", "maze/task.py", "jnp.where(version < 0, drawn.cells, numbered.cells)",
             "numbered.cells", "test_maze_task.py::test_fresh_versions_are_all_eight"),
    mutation("maze: scored by the rules", "training/evaluator.py",
             'task.solves(batch["inputs"], jnp.argmax(outputs.logits, -1))',
             'right_cells == (batch["labels"] >= 0).sum(-1)',
             "test_maze_task.py::test_what_is_solved_is_told_by_the_rules_at_every_step"),
    mutation("buckets: listings are not kept", "runtime/buckets.py", "dircache.use_listings_cache = False",
             "dircache.use_listings_cache = True", "test_gcs.py::test_what_other_processes_write_is_seen_at_once"),
    mutation("board: what is solved has no wrong cell", "boards.py", " & ~solved[:, None]", "",
             "test_maze_task.py::test_pictures_have_walls_paths_and_wrong_cells"),
    # ARC: draws, grids, votes.
    mutation("arc: a trial that repeats a version is no version", "draws.py", "first[~np.isin(made[first], seen)]",
             "first", "test_arc_reference.py::test_identifiers"),
    mutation("arc: no more trials than five a version", "draws.py", "_TRIALS = 5", "_TRIALS = 50", ARC_FEW),
    mutation("arc: the transform turns pairs of versions alike", "draws.py", "for transform in range(8) for grid",
             "for transform in [0] * 8 for grid", ARC_FEW),
    mutation("arc: one pair is not moved", "draws.py", "if pair != fixed:", "if pair >= 0:",
             "test_arc_reference.py::test_arrays"),
    mutation("arc: a turned grid has its columns for rows", "draws.py", "[sizes[::-1] for sizes in room]",
             "[sizes for sizes in room]", "test_arc_reference.py::test_arrays"),
    mutation("arc: test pairs of the test set are not trained on", "builder.py",
             "(self.in_test_set and pair.is_test) == (split", "(False and pair.is_test) == (split",
             "test_arc_reference.py::test_counts"),
    mutation("arc: a name of two subsets has one identifier", "builder.py", "if len(set(names)) < len(names):",
             "if not names:", "test_arc_files.py::test_tasks_of_several_subsets"),
    mutation("arc: what is kept is checked", "builder.py", "if draws.digest() != digest:", "if not digest:",
             "test_arc_files.py::test_kept_draws_that_are_damaged"),
    mutation("arc: end marks", "grids.py", "xp.where(is_end, END", "xp.where(is_end & False, END",
             "test_arc_task.py::test_canvases_are_remade_in_other_versions"),
    mutation("arc: the first of equally large rectangles", "grids.py", "rows = int(np.argmax(areas))",
             "rows = side - 1 - int(np.argmax(areas[::-1]))",
             "test_arc_task.py::test_an_answer_is_cropped_to_its_largest_rectangle"),
    mutation("arc: transforms are undone", "grids.py", "_INVERSE = (0, 3, 2, 1", "_INVERSE = (0, 1, 2, 3",
             "test_arc_task.py::test_versions_are_undone_and_named"),
    mutation("arc: a folder's grids are compared", "reference_folder.py", "if (made != cells).any():",
             "if made is None:", "test_arc_reference.py::test_a_changed_cell_of_a_folder_is_found"),
    mutation("arc: votes count before belief", "tasks/vote.py", "False, candidate.count, candidate.probability",
             "False, candidate.probability, candidate.count", "test_arc_task.py::test_votes_by_hand"),
    mutation("arc: the first of equal votes", "tasks/vote.py", "sorted(found, key=rank", "sorted(found[::-1], key=rank",
             "test_arc_task.py::test_votes_by_hand"),
    mutation("arc: inputs alike share their votes", "arc/vote.py", "(group, cells.tobytes()), example)",
             "(group, example), example)", "test_arc_task.py::test_a_task_of_several_test_inputs_scores_their_share"),
    mutation("arc: a task scores a share", "arc/vote.py", "np.mean(np.array(ranks) < k)", "(np.array(ranks) < k).all()",
             "test_arc_task.py::test_a_task_of_several_test_inputs_scores_their_share"),
    mutation("arc: sets of votes share no version", "arc/vote.py", "order[i * number : (i + 1) * number]",
             "order[:number]", "test_arc_generate.py::test_fewer_votes_are_counted_of_the_same_evaluation"),
    mutation("arc: a test input of the generator is new", "arc/generate.py", "and grid.tobytes() not in seen", "",
             "test_arc_generate.py::test_tasks_follow_their_rules_and_the_seed_alone"),
    mutation("arc: a version that a task lacks has no vote in solve", "solve/solver.py",
             "np.minimum(each, self._rollouts", "np.maximum(each, self._rollouts",
             "test_arc_task.py::test_versions_that_a_task_lacks_have_no_vote"),
    mutation("arc: solve puts versions back", "arc/grids.py", "canvas(undo(grid, version), side=side)",
             "canvas(grid, side=side)", "test_arc_task.py::test_versions_are_undone_and_named"),
    mutation("arc: another task under a known name", "arc/task.py", "for grid in (pair.input, pair.output)) not in known:",
             "for grid in (pair.input, pair.output)) in ():",
             "test_arc_task.py::test_tasks_in_json_are_those_that_the_model_knows"),
    mutation("arc: rows of several folders belong to names", "reference_folder.py",
             "np.array([rows.setdefault(name, len(rows)) for name in names], np.int32)",
             "np.arange(len([rows.setdefault(name, len(rows)) for name in names]), dtype=np.int32)",
             "test_arc_reference.py::test_folders_with_other_names_have_a_row_for_each_name"),
    mutation("arc: a test task of several folders is tested once", "reference_folder.py",
             "_joined(_each_once(parts[\"test\"]), len(rows))", "_joined(parts[\"test\"], len(rows))",
             "test_arc_reference.py::test_folders_with_the_same_names_are_joined_as_in_the_reference"),
    mutation("evaluation: no score without solutions", "training/evaluator.py", "    if not number:", "    if number < 0:",
             "test_arc_task.py::test_a_run_without_solutions_has_no_score_anywhere"),
    mutation("arc: the votes of the puzzle that is drawn", "training/loop.py", "task.shown_before(few, i), after[i])",
             "task.shown_before(few, i), [])", "test_arc_generate.py::test_the_whole_path"),
    mutation("batches: groups whole, one behind the other", "rows.py", "permuted(key_examples, place - begin, sizes",
             "permuted(key_examples, place * 0, sizes", "test_batches.py::test_the_examples_of_a_puzzle_come_once_an_"
             "epoch_together_and_share_a_version"),
    mutation("batches: a stored version of each group", "rows.py",
             "num_versions = source.version_starts[group + 1] - source.version_starts[group]", "num_versions = 1",
             "test_arc_task.py::test_batches_are_whole_versions_as_the_reference_has_stored_them"),
    # Files of puzzles, and puzzles of one's own.
    mutation("csv: the first character is token 1", "data/csv_files.py", "enumerate(alphabet, 1)",
             "enumerate(alphabet, 2)", "test_csv_files.py::test_arrays"),
    mutation("csv: what an answer may have", "data/csv_files.py", "if character in characters:", "if True:",
             "test_csv_files.py::test_other_characters_are_named"),
    mutation("csv: all characters count", "data/csv_files.py", '.encode("utf-32-le"), "<u4")',
             '.encode("latin-1", "replace"), np.uint8)', "test_csv_files.py::test_any_characters_can_be_an_alphabet"),
    mutation("csv: rules, with the line", "data/csv_files.py", "line {lines[row][0]}: {rule}", "line {row}: {rule}",
             "test_csv_files.py::test_the_rules_of_a_task_are_checked_in_every_chunk"),
    mutation("csv: no rating, none", "data/csv_files.py", 'ratings if "rating" in columns else None', "ratings",
             "test_csv_files.py::test_a_file_of_questions_and_answers_alone"),
    mutation("grid: sizes of a dataset folder", "grid/task.py",
             "if (puzzles.seq_len, puzzles.vocab_size) != self._sizes:", "if False:",
             "test_grid_task.py::test_splits_of_different_puzzles"),
    mutation("grid: identifiers of a dataset folder", "grid/task.py",
             'self._dataset["num_puzzle_identifiers"] if self._dataset else 1', "1",
             "test_grid_task.py::test_identifiers_are_those_of_the_folder"),
    mutation("grid: a square", "grid/task.py", "if side**2 == self.seq_len else", "if False else",
             "test_grid_task.py::test_squares_are_drawn_as_squares"),
    mutation("answers.csv: quoted", "solve/__main__.py", r'lineterminator="\n")',
             r'lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")',
             "test_grid_task.py::test_its_answers_are_written_as_a_csv_file_can_hold_them"),
    mutation("solve: one program a size", "solve/solver.py",
             "rows = min(self._attempts << (len(part) - 1).bit_length(), ", "rows = min(self._attempts * len(part), ",
             "test_solve.py::test_text_arrays_and_puzzles_are_the_same_to_it_and_batches_are_"
             "filled_up"),
    mutation("solve: as many as there is room for", "solve/solver.py", 'side="right"', 'side="left"',
             "test_solve.py::test_parts_keep_groups_together"),
    mutation("solve: clues that contradict each other", "solve/solver.py", "if fault := self.task.fault(tokens):",
             "if fault := '':", "test_solve.py::test_what_is_no_puzzle"),
    mutation("solve: a bad row is no end", "solve/sources.py", 'return Row(place, None, problem=f"{place}: {e}")',
             "raise", "test_solve.py::test_json_and_bad_rows"),
    mutation("solve: a row spoils its puzzle alone", "solve/sources.py",
             "or len(some) * statistics.mode(lengths) >= cells", "",
             "test_solve.py::test_a_row_of_another_length_spoils_its_puzzle_alone"),
    mutation("solve: a second solution", "sudoku/generate.py", "if next(fills) == max_fills:", "if False:",
             "test_solve.py::test_puzzles_without_one_solution_are_said_to_be_so"),
    mutation("solve: steps of a page", "solve/page.py", "np.where(wrong, ", "np.where(given & False, ",
             "test_solve.py::test_the_page_holds_the_steps_and_needs_nothing_else"),
    mutation("solve: what is shown ends no script", "solve/page.py", r'.replace("<", "\\u003c")', "",
             "test_solve.py::test_what_is_shown_cannot_end_the_script"),
    mutation("board: the puzzle, where answers do not show it", "boards.py",
             "if not task.is_given(inputs).any():  # the answers do not show the puzzle", "if False:",
             "test_grid_task.py::test_a_folder_of_csv_files_is_trained_on"),
]


def copy_checkout(to: pathlib.Path) -> None:
  for name in COPIED:
    source = ROOT / name
    if source.is_dir():
      shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    elif source.exists():
      shutil.copy(source, to / name)


def run_tests(root: pathlib.Path, tests: tuple[str, ...]) -> tuple[int, str]:
  """pytest's exit status (0 passed, 1 failed, others: could not run) and its output."""
  environment = os.environ | {
      "PYTHONPATH": str(root),  # before an installed trm_jax
      "PYTHONDONTWRITEBYTECODE": "1",
  }
  environment.pop("TRM_GOLDEN_DIR", None)
  command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
  result = subprocess.run(
      command + [f"tests/{test}" for test in tests], cwd=root, env=environment, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, check=False)
  return result.returncode, result.stdout


def run_mutant(mutant: Mutation) -> tuple[bool, str]:
  """Whether a test failed, and what to print."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    copy_checkout(root)
    file = root / mutant.path.relative_to(ROOT)
    try:
      file.write_text(mutant.apply(file.read_text()))
    except ValueError as e:
      return False, str(e)
    status, output = run_tests(root, mutant.tests)
  if status == 1 and (crash := re.search(r"\b(Name|Type|Attribute|Import|UnboundLocal)Error: .*", output)):
    return False, f"CRASHED: {crash[0][:200]}"
  if status == 1:
    return True, "red"
  if status == 0:
    return False, "GREEN: " + ", ".join(mutant.tests)
  return False, f"ERROR: pytest ended with {status}\n{output[-2000:]}"


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default="", help="comma-separated parts of names of details")
  wanted = parser.parse_args().only.lower().split(",")
  mutants = [m for m in MUTATIONS if any(part in m.detail.lower() for part in wanted)]
  if not mutants:
    parser.error("no detail has such a name")

  with tempfile.TemporaryDirectory() as folder:
    copy_checkout(pathlib.Path(folder))
    status, output = run_tests(pathlib.Path(folder), tuple(sorted({test for m in mutants for test in m.tests})))
  if status:
    print(f"the tests do not pass before anything is broken\n{output[-4000:]}")
    return 1

  survived = 0
  for mutant in mutants:
    start = time.perf_counter()
    red, result = run_mutant(mutant)
    survived += not red
    print(f"{mutant.detail:55s} {mutant.file:12s} {time.perf_counter() - start:5.1f} s  {result}", flush=True)
  print(f"{len(mutants)} details, {survived} survived")
  return 1 if survived else 0


if __name__ == "__main__":
  sys.exit(main())
