# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The library against numbers that the PyTorch reference computed on a CPU, value by value.

Runs on every *.npz of the folder named by TRM_GOLDEN_DIR (default: golden/ beside this file). A file holds a tiny
model's config, parameters and eight batches, and what the reference made of them: an evaluation pass, and eight
training steps down to the final parameters and their average. Of the comparison models it holds one batch and the first
training step. Every array of a file is compared; `test_covers` fails if one is not.

Some models are chaotic: the reference itself, run again on another CPU, leaves its own trajectory as fast as we do. Two
things keep the comparison sharp all the same:

* Each pass is made twice: *free*, from the initial state to the end, and *guided*, in which every step starts from the
  golden's result of the step before, so that errors cannot pile up in the state (in training the file holds z_H,
  halted and steps, and the gradients of the first step, which its update then uses, because an optimizer that takes
  signs turns the noise of tiny gradients into steps of full size; z_L and the parameters remain our own).
* How far rounding may carry a value is not guessed but measured, by passes that are rounded differently (`Variation`):
  in float32 from parameters and states that are a few units in the last place off; in bfloat16, where every sum is
  rounded to 8 bits, with the same numbers summed in another order. A value must agree to a floor of 1e-5, or to SLACK
  times the largest deviation of those passes. Where that is more than a quarter of the value's own scale the comparison
  would say nothing and is not made; how many steps must remain is asserted. Evaluation, the first loss and the first
  gradients have a fixed ceiling besides, so that nothing hides behind a model that became more sensitive by mistake.

What goes into the recursion needs no sums: a bfloat16 file has it, and it must be equal element by element.
"""

from collections.abc import Callable
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np
import optax
import pytest

from trm_jax import interop
from trm_jax.config import OptimizerConfig
from trm_jax.data.config import DataConfig
from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles
from trm_jax.model import Carry, TRM, TRMConfig
from trm_jax.model.trm import Batch
from trm_jax.runtime import sharding
from trm_jax.tasks import Task
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training import losses
from trm_jax.training.train_step import TrainState, Trainer

GOLDEN_DIR = pathlib.Path(os.environ.get("TRM_GOLDEN_DIR") or pathlib.Path(__file__).parent / "golden")
PATHS = sorted(GOLDEN_DIR.glob("*.npz"))

FLOOR = 1e-5  # relative to the largest element of an array, and to at least 1 for scalars
CEILING = {"float32": 5e-3, "bfloat16": 5e-2}  # of what does not depend on an earlier step; relative, too
SAYS_NOTHING = 0.25  # a tolerance above this share of a value's scale
SLACK = 4.0
VARIED_RUNS = 8
PERTURBATION = 2  # units in the last place of float32
QUANTILES = np.array([0.5, 0.9, 0.99, 1.0])  # of |difference| over the elements of a parameter
COUNTS = ("count", "steps", "q_halt_accuracy", "exact_accuracy")  # metrics that are whole numbers

# Training steps that must be comparable (free, guided). Of other files: the first, and the second, which has seen an
# update of the parameters, when guided, if the file has a second.
COMPARABLE_STEPS = {"attention": (8, 8), "bf16_attention": (2, 8), "mlp_t": (2, 5)}
COMPARABLE_STEPS_ELSEWHERE = (1, 2)

Values = dict[str, np.ndarray]  # by the golden file's names


class Variation:
  """A pass that is rounded as ours is: nothing is varied. Those below are rounded in other ways, as good as ours."""

  def give(self, name: str, array: np.ndarray) -> np.ndarray:
    """What this pass takes for a parameter, gradient or state of the golden file."""
    del name
    return array

  def take(self, name: str, array: np.ndarray) -> np.ndarray:
    """What this pass computed, as the golden file would hold it."""
    del name
    return array

  def nudge(self, z: jax.Array) -> jax.Array:
    """A state before each step."""
    return z

  def evaluated(self, state: "Values") -> "Values":
    """The parameters that are evaluated."""
    return state


class Perturbed(Variation):
  """Every element is moved by PERTURBATION units in the last place, up or down."""

  def __init__(self, golden: "Golden", seed: int):
    del golden
    self._rng = np.random.default_rng(seed)

  def give(self, name, array):
    if name.startswith("z_"):
      return array  # `nudge` moves states
    signs = self._rng.choice(np.float32([-PERTURBATION, PERTURBATION]), np.shape(array))
    return np.asarray(array) + signs * np.spacing(np.asarray(array))

  def nudge(self, z):
    return jnp.asarray(self.give("", z))


class Reordered(Variation):
  """The same model with its hidden features and the inner features of its SwiGLUs in another order.

  In exact arithmetic nothing changes; every sum over features is taken in another order.
  """

  # Axes of the reference's arrays that are in the order of the hidden features (D) and of the inner ones (F).
  _AXES = {
      "embedding_weight": " D", "puzzle_emb.weights": " D", "puzzle_emb_local": " D", "_head.weight": " D",
      "qkv_proj.weight": " D", "o_proj.weight": "D ", "_init": "D", "mlp.gate_up_proj.weight": "FD",
      "mlp.down_proj.weight": "DF", "mlp_t.gate_up_proj.weight": "F ", "mlp_t.down_proj.weight": " F",
      "z_H": "  D", "z_L": "  D",
  }

  def __init__(self, golden: "Golden", seed: int):
    self._size = golden.config.hidden_size
    self._seed = seed
    # What is left of a prefix row after its last whole token stays in front.
    self._front = golden.config.puzzle_emb_ndim % self._size

  def _order(self, letter: str, length: int) -> np.ndarray:
    rng = np.random.default_rng((self._seed, ord(letter)))
    if letter == "F":  # gate and up have the same order; `down` has it once
      return rng.permutation(length)
    order = np.r_[rng.permutation(self._front), self._front + rng.permutation(self._size - self._front)]
    return np.concatenate([order + start for start in range(0, length, self._size)])[:length]

  def _along(self, name: str, array: np.ndarray, invert: bool) -> np.ndarray:
    array = np.asarray(array)
    name = name.rstrip("0123456789")  # of z_L1, z_L2, …
    for axis, letter in enumerate(next((axes for end, axes in self._AXES.items() if name.endswith(end)), "")):
      if letter == " ":
        continue
      stacked = 2 if letter == "F" and name.endswith("gate_up_proj.weight") else 1
      length = array.shape[axis] // stacked
      order = self._order(letter, length)
      order = np.argsort(order) if invert else order
      array = array.take(np.concatenate([order + i * length for i in range(stacked)]), axis)
    return array

  def give(self, name, array):
    return self._along(name, array, invert=False)

  def take(self, name, array):
    return self._along(name, array, invert=True)

  def evaluated(self, state):
    """The reference rounds its heads' parameters to bfloat16; our heads are float32."""
    return {name: value.astype(jnp.bfloat16).astype(np.float32) if "_head." in name else value
            for name, value in state.items()}


VARIATIONS = {"float32": Perturbed, "bfloat16": Reordered}


class TappedState(NamedTuple):
  """Of `tapped`: the gradients that came in last, those to use instead if `replace`, the optimizer's own state."""

  seen: Any
  given: Any
  replace: jax.Array
  inner: Any


def tapped(optimizer: optax.GradientTransformation, like: Any) -> optax.GradientTransformationExtraArgs:
  """The optimizer, with its gradients to be read from the state, and to be replaced there for the next step."""

  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, like)
    return TappedState(zeros, zeros, jnp.array(False), optimizer.init(params))

  def update(grads, state, params=None, **kwargs):
    used = jax.tree.map(lambda seen, given: jnp.where(state.replace, given, seen), grads, state.given)
    updates, inner = optimizer.update(used, state.inner, params, **kwargs)
    return updates, TappedState(grads, state.given, jnp.array(False), inner)

  return optax.GradientTransformationExtraArgs(init, update)


@dataclasses.dataclass(frozen=True)
class Golden:
  """A golden file with the model, trainer and jitted steps of its config."""

  name: str
  values: Values
  config: TRMConfig
  trainer: Trainer
  train_step: Callable
  eval_step: Callable
  embed: Callable
  init: Callable

  @property
  def num_steps(self) -> int:
    return self.values["batch/inputs"].shape[0]

  @functools.cached_property
  def state(self) -> Values:
    """The reference's parameters."""
    return self.part("state/")

  def part(self, prefix: str) -> Values:
    return {name.removeprefix(prefix): value for name, value in self.values.items() if name.startswith(prefix)}

  def batch(self, i: int) -> Batch:
    return {name: jnp.asarray(value[i]) for name, value in self.part("batch/").items()}

  def states(self, carry: Carry) -> dict[str, jax.Array]:
    """z_H and z_L by the reference's names."""
    match self.config.recursion:
      case "two_z":
        return {"z_H": carry.z_H, "z_L": carry.z_L}
      case "single_z":
        return {"z_L": carry.z_H}
      case "multi_scale_z":
        return {"z_H": carry.z_H} | {f"z_L{i + 1}": carry.z_L[:, i] for i in range(self.config.L_cycles)}
      case "none":
        return {"z_H": carry.z_H}

  def guide(self, carry: Carry, s: int, variation: Variation) -> Carry:
    """The carry with the states that the reference has after step s of the evaluation."""
    first, *others = (jnp.asarray(variation.give(name, self.values[f"eval/{name}/{s}"]), self.config.dtype)
                      for name in self.states(carry))
    return carry.replace(z_H=first, z_L=carry.z_L if carry.z_L is None else (
        jnp.stack(others, 1) if self.config.recursion == "multi_scale_z" else others[0]))

  def close_names(self, mode: str, i: int) -> list[str]:
    """What the file holds of a step, apart from what is exact."""
    names = (name.removesuffix(f"/{i}") for name in self.part(f"{mode}/") if name.endswith(f"/{i}"))
    exact = {"halted", "steps", *(f"metrics/{name}" for name in (*COUNTS, "accuracy"))}
    return [f"{mode}/{name}/{i}" for name in names if name not in exact]


def pure_params(model: TRM) -> dict[str, Any]:
  return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def load(path: pathlib.Path) -> Golden:
  with np.load(path) as file:
    values = dict(file)
  arch = json.loads(str(values.pop("config")))
  if "reference_model" in values:
    arch["name"] = "recursive_reasoning." + str(values.pop("reference_model")).replace(".", "@")
  config = TRMConfig.from_reference(arch)
  batch_size = values["batch/inputs"].shape[1]
  optimizer = OptimizerConfig()  # no update is recorded where the file does not say
  if "train/hparams" in values:
    hparams = json.loads(str(values.pop("train/hparams")))
    assert hparams["lr_min_ratio"] == 1.0, "the file would have to say where the cosine ends"
    assert hparams["global_batch_size"] == batch_size
    optimizer = OptimizerConfig(
        name="adam_atan2",
        learning_rate=hparams["lr"],
        weight_decay=hparams["weight_decay"],
        b1=hparams["beta1"],
        b2=hparams["beta2"],
        warmup_steps=hparams["lr_warmup_steps"],
        lr_min_ratio=hparams["lr_min_ratio"],
        prefix_learning_rate=hparams["puzzle_emb_lr"],
        prefix_weight_decay=hparams["puzzle_emb_weight_decay"],
        ema_rate=hparams["ema_rate"],
    )
  trainer = Trainer(
      config, optimizer, mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=batch_size, total_steps=10_000)
  params = pure_params(nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0))))
  rows = jnp.zeros((batch_size, config.puzzle_emb_ndim))
  trainer.optimizer = tapped(trainer.optimizer, params)
  trainer.prefix_optimizer = tapped(trainer.prefix_optimizer, rows)

  @nnx.jit
  def eval_step(model, carry, batch):
    carry, outputs = model(carry, batch)
    return carry, outputs, losses.act_loss(carry, outputs)

  @nnx.jit
  def embed(model, batch):
    return model._embed(batch["inputs"], model.prefix_rows(batch))

  return Golden(
      path.stem, values, config, trainer, jax.jit(trainer.step), eval_step, embed, jax.jit(trainer.init_from))


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def golden(request) -> Golden:
  return load(request.param)


def varied_state(golden: Golden, variation: Variation, changes: Values | None = None) -> Values:
  """The reference's parameters, some of them changed, as a pass takes them."""
  return {name: variation.give(name, value) for name, value in (golden.state | (changes or {})).items()}


def nudge(carry: Carry, variation: Variation) -> Carry:
  z_H, z_L = jax.tree.map(variation.nudge, (carry.z_H, carry.z_L))
  return carry.replace(z_H=z_H, z_L=z_L)


def run_evaluation(golden: Golden, *, guided: bool, variation: Variation) -> Values:
  """eval/* and extra/* as we compute them."""
  model = interop.from_reference(variation.evaluated(varied_state(golden, variation)), golden.config)
  batch = golden.batch(0)
  values = {"extra/input_embeddings": golden.embed(model, batch)}
  carry = model.initial_carry(batch)
  for s in range(golden.config.halt_max_steps):
    carry, outputs, (loss, metrics) = golden.eval_step(model, nudge(carry, variation), batch)
    step = {
        "logits": outputs.logits, "q_halt_logits": outputs.q_halt, "q_continue_logits": outputs.q_continue,
        "z_H": carry.z_H, "loss": loss, "halted": carry.halted, "steps": carry.steps,
    } | golden.states(carry) | {f"metrics/{name}": value for name, value in metrics.items()}
    values |= {f"eval/{name}/{s}": variation.take(name, np.asarray(value)) for name, value in step.items()}
    if guided:
      carry = golden.guide(carry, s, variation)
  return values


def run_training(golden: Golden, *, guided: bool, variation: Variation) -> Values:
  """train/* as we compute them, and what halting and the answer were decided by: train/{q,logits,labels}/i."""
  trainer = golden.trainer
  train_state = golden.init(interop.from_reference(varied_state(golden, variation), golden.config), golden.batch(0))
  if guided:
    train_state = give_gradients(golden, train_state, variation)
  values = {}
  for i in range(golden.num_steps):
    head = trainer.model(train_state, averaged=False)
    # All of it on the mesh, given values as well: otherwise the step would be compiled once more for those.
    train_state = jax.device_put(
        train_state.replace(carry=nudge(train_state.carry, variation)), NamedSharding(trainer.mesh, PartitionSpec()))
    train_state, metrics = golden.train_step(train_state, golden.batch(i), jax.random.key(0))
    carry = train_state.carry
    if i == 0:
      grads, row_grads = train_state.opt_state.seen, train_state.prefix_opt_state.seen
      by_name = to_reference(trainer.model(train_state.replace(params=grads), averaged=False), variation)
      values |= {f"train/grad0/{name}": by_name[name] for name in trained_names(golden)}
      if golden.config.puzzle_emb_ndim:
        values["train/grad0/puzzle_emb_local"] = variation.take("puzzle_emb_local", np.asarray(row_grads))
    z_H = np.asarray(carry.z_H, np.float64)
    q = z_H[:, 0] @ np.asarray(head.q_head[...], np.float64) + np.asarray(head.q_head_bias[...])[None]
    step = {
        "z_H": carry.z_H, "halted": carry.halted, "steps": carry.steps, "q": np.stack([q[:, 0], q[:, 0] - q[:, 1]]),
        "logits": z_H[:, golden.config.prefix_len:] @ np.asarray(head.lm_head[...], np.float64),
        "labels": carry.batch["labels"], "loss": metrics["loss"],
    } | {f"metrics/{name}": value for name, value in metrics.items() if name not in ("loss", "grad_norm", "lr")}
    values |= {f"train/{name}/{i}": variation.take(name, np.asarray(value)) for name, value in step.items()}
    if guided and i + 1 < golden.num_steps:
      z_H, halted, steps = (golden.values[f"train/{name}/{i}"] for name in ("z_H", "halted", "steps"))
      z_H = jnp.asarray(variation.give("z_H", z_H), golden.config.dtype)
      train_state = train_state.replace(
          carry=carry.replace(z_H=z_H, halted=jnp.asarray(halted), steps=jnp.asarray(steps)))
  return values | final_values(golden, train_state, variation)


def give_gradients(golden: Golden, train_state: TrainState, variation: Variation) -> TrainState:
  """Makes the first update use the golden's gradients."""
  given = golden.part("train/grad0/")
  row_grads = given.pop("puzzle_emb_local", None)
  if row_grads is None:
    row_grads = train_state.prefix_opt_state.given
  else:
    row_grads = variation.give("puzzle_emb_local", row_grads)
  grads = pure_params(interop.from_reference(varied_state(golden, variation, given), golden.config))
  replace = jnp.array(True)
  return train_state.replace(
      opt_state=train_state.opt_state._replace(given=grads, replace=replace),
      prefix_opt_state=train_state.prefix_opt_state._replace(given=jnp.asarray(row_grads), replace=replace))


def trained_names(golden: Golden) -> set[str]:
  """What gradients, weight decay and the average are about: not the prefix table, not the initial states."""
  return {name for name in golden.state if not name.endswith(("_init", ".weights"))}


def to_reference(model: TRM, variation: Variation) -> Values:
  return {name: variation.take(name, value) for name, value in interop.to_reference(model, compiled=False).items()}


def final_values(golden: Golden, train_state: TrainState, variation: Variation) -> Values:
  final, ema = (
      to_reference(golden.trainer.model(train_state, averaged=averaged), variation) for averaged in (False, True))
  return ({f"train/final_state/{name}": value for name, value in final.items()}
          | {f"train/final_ema/{name}": ema[name] for name in trained_names(golden)})


@dataclasses.dataclass(frozen=True)
class Pass:
  """Our values and those of the varied runs."""

  ours: Values
  others: list[Values]

  def noise(self, name: str) -> float:
    """The largest deviation of a varied run, anywhere in the array."""
    ours = self.ours[name].astype(np.float64)
    return max(np.abs(other[name] - ours).max(initial=0) for other in self.others)


def make_pass(run: Callable[..., Values], golden: Golden, guided: bool) -> Pass:
  vary = VARIATIONS[golden.config.dtype]
  others = [run(golden, guided=guided, variation=vary(golden, seed)) for seed in range(VARIED_RUNS)]
  return Pass(run(golden, guided=guided, variation=Variation()), others)


@pytest.fixture(scope="module", params=[False, True], ids=["free", "guided"])
def guided(request) -> bool:
  return request.param


@pytest.fixture(scope="module")
def evaluation(golden, guided) -> Pass:
  return make_pass(run_evaluation, golden, guided)


@pytest.fixture(scope="module")
def training(golden, guided) -> Pass:
  return make_pass(run_training, golden, guided)


def scale_of(array: np.ndarray) -> float:
  """Of an array its largest element; of a sum of logarithms that happens to be small, not less than 1."""
  return max(np.abs(array).max(initial=0), 0.0 if np.ndim(array) else 1.0)


class Comparison:
  """Collects what disagrees, so that one failure shows all of it."""

  def __init__(self, golden: Golden, compared: Pass):
    self.golden = golden
    self.compared = compared
    self.failures = []

  def tolerance(self, name: str, expected: np.ndarray) -> float:
    return max(FLOOR * scale_of(expected), SLACK * self.compared.noise(name))

  def close(self, name: str, under_ceiling: bool) -> None:
    expected = self.golden.values[name]
    ours = self.compared.ours[name]
    if ours.shape != expected.shape:
      self.failures.append(f"{name}: shape {ours.shape}, the reference's is {expected.shape}")
      return
    ceiling = CEILING[self.golden.config.dtype] if under_ceiling else np.inf
    tolerance = min(self.tolerance(name, expected), ceiling * scale_of(expected))
    error = np.abs(ours.astype(np.float64) - expected).max(initial=0)
    if not error <= tolerance:
      self.failures.append(f"{name}: off by {error:.2e}, allowed is {tolerance:.1e}, "
                           f"the reference's largest is {np.abs(expected).max():.2e}")

  def equal(self, name: str, where: np.ndarray | bool = True) -> None:
    ours, expected = self.compared.ours[name], self.golden.values[name]
    if not np.array_equal(ours[where], expected[where]):
      self.failures.append(f"{name}: {np.count_nonzero(ours != expected)} of {expected.size} elements are not the "
                           f"reference's, which are {np.array2string(expected, threshold=20)}")

  def done(self) -> None:
    if self.failures:
      more = f"\n… and {len(self.failures) - 12} more" if len(self.failures) > 12 else ""
      pytest.fail(f"{self.golden.name}: {len(self.failures)} values differ from the reference's\n"
                  + "\n".join(self.failures[:12]) + more, pytrace=False)


def compare_counts(comparison: Comparison, mode: str, step: int, halted_surely: bool, num_close_cells: int) -> None:
  """Metrics over the rows that halt. All but accuracy are whole numbers."""
  if not halted_surely or f"{mode}/metrics/count/{step}" not in comparison.golden.values:
    return  # rounding decides who is counted, or the file does not say
  name = f"{mode}/metrics/accuracy/{step}"
  ours, expected = comparison.compared.ours[name], comparison.golden.values[name]
  # A cell whose two best tokens are closer to each other than the tolerance may be right or wrong, which is at the
  # most one share of a row that has one counted cell.
  if abs(ours - expected) > 1e-5 + num_close_cells:
    comparison.failures.append(f"{name}: {ours}, the reference's is {expected}")
  for metric in COUNTS:
    if metric != "exact_accuracy" or not num_close_cells:
      comparison.equal(f"{mode}/metrics/{metric}/{step}")


def count_close_cells(logits_BxSxV: np.ndarray, labels_BxS: np.ndarray, rows: np.ndarray, tolerance: float) -> float:
  """Share of cells, summed over rows, in which the best two tokens are nearer to each other than both may move."""
  best = np.sort(logits_BxSxV, -1)
  counted = labels_BxS != IGNORE_LABEL
  close = counted & (best[..., -1] - best[..., -2] <= 2 * tolerance)
  return float((close.sum(-1) / np.maximum(counted.sum(-1), 1))[rows].sum())


def test_golden_folder():
  assert PATHS, f"{GOLDEN_DIR} holds no *.npz"


def test_covers(golden, evaluation, training):
  """Nothing in the file goes unread, and the averaged names are the trained ones."""
  computed = evaluation.ours.keys() | training.ours.keys()
  given = {name for name in golden.values if not name.startswith(("state/", "batch/"))}
  assert given <= computed, sorted(given - computed)
  if golden.num_steps > 1:
    assert golden.part("train/final_ema/").keys() == trained_names(golden)
    assert golden.part("train/final_state/").keys() == golden.state.keys()
  assert golden.part("train/grad0/").keys() - {"puzzle_emb_local"} == trained_names(golden)


def test_interop_round_trip(golden):
  back = to_reference(interop.from_reference(golden.state, golden.config), Variation())
  assert back.keys() == golden.state.keys()
  for name, value in golden.state.items():
    dtype = golden.config.dtype if name.endswith("_init") else np.float32
    assert back[name].dtype == dtype and back[name].shape == value.shape, name
    assert back[name].astype(np.float32).tobytes() == value.tobytes(), name


def test_evaluation(golden, evaluation, guided):
  """Free: until rounding has taken over. Guided: every step, under the ceiling."""
  comparison = Comparison(golden, evaluation)
  if "extra/input_embeddings" in golden.values:
    comparison.equal("extra/input_embeddings")
  steps = golden.config.halt_max_steps
  for s in range(steps):
    z_H = evaluation.ours[f"eval/z_H/{s}"]
    if not guided and comparison.tolerance(f"eval/z_H/{s}", z_H) > SAYS_NOTHING * scale_of(z_H):
      assert s >= 2, f"{golden.name}: not even two steps of evaluation can be compared"
      break
    for name in golden.close_names("eval", s):
      comparison.close(name, under_ceiling=guided or s == 0)
    q_halt = evaluation.ours[f"eval/q_halt_logits/{s}"]
    sure = np.abs(q_halt) > comparison.tolerance(f"eval/q_halt_logits/{s}", q_halt)
    halted = np.full(len(q_halt), s == steps - 1)
    assert (evaluation.ours[f"eval/halted/{s}"] == halted).all()
    assert (evaluation.ours[f"eval/steps/{s}"] == s + 1).all()
    logits = evaluation.ours[f"eval/logits/{s}"]
    compare_counts(comparison, "eval", s, sure.all() or not halted.any(), count_close_cells(
        logits, golden.values["batch/labels"][0], halted, comparison.tolerance(f"eval/logits/{s}", logits)))
  comparison.done()


def test_losses_of_a_whole_evaluation(golden):
  """As trm_jax.evaluate reports them, after one step, at which rounding has not been amplified."""
  if "eval/metrics/lm_loss/0" not in golden.values:
    pytest.skip("the file has no losses")
  if golden.config.dtype == "bfloat16":
    pytest.skip("in bfloat16 another order of sums is farther off; test_evaluation compares these losses")
  batch = golden.values["batch/labels"][0]
  puzzles = Puzzles(
      inputs=golden.values["batch/inputs"][0].astype(np.uint8), labels=batch.astype(np.int8),
      puzzle_identifiers=golden.values["batch/puzzle_identifiers"][0].astype(np.int32),
      group_starts=np.arange(len(batch) + 1, dtype=np.int32), vocab_size=golden.config.vocab_size,
      num_puzzle_identifiers=golden.config.num_puzzle_identifiers)
  model = interop.from_reference(golden.state, dataclasses.replace(golden.config, halt_max_steps=1))
  evaluator = evaluator_lib.Evaluator(lambda model: model, Task(DataConfig()), mesh=golden.trainer.mesh,
                                      batch_size=len(puzzles), max_puzzles=len(puzzles))
  metrics = evaluator.evaluate(model, puzzles).metrics()
  for name in ("lm_loss", "q_halt_loss"):
    np.testing.assert_allclose(len(puzzles) * metrics[name], golden.values[f"eval/metrics/{name}/0"], rtol=FLOOR)


def test_first_gradients(golden, training):
  comparison = Comparison(golden, training)
  for name in golden.part("train/grad0/"):
    comparison.close(f"train/grad0/{name}", under_ceiling=True)
  comparison.done()


def test_training_steps(golden, training, guided):
  """Loss, metrics, halting, refilling and state of every step, parameters updated in between."""
  comparison = Comparison(golden, training)
  compared = 0
  for i in range(golden.num_steps):
    z_H = training.ours[f"train/z_H/{i}"]
    if comparison.tolerance(f"train/z_H/{i}", z_H) > SAYS_NOTHING * scale_of(z_H):
      if guided:
        continue
      break
    compared += 1
    for name in golden.close_names("train", i):
      comparison.close(name, under_ceiling=i == 0)
    # Rows whose halting logit is farther from 0, and from q_continue, than the tolerance must halt exactly as the
    # reference's do.
    q = training.ours[f"train/q/{i}"]
    sure = (np.abs(q) > comparison.tolerance(f"train/q/{i}", q)).all(0)
    comparison.equal(f"train/halted/{i}", sure)
    comparison.equal(f"train/steps/{i}")
    logits = training.ours[f"train/logits/{i}"]
    compare_counts(comparison, "train", i, sure.all(), count_close_cells(
        logits, training.ours[f"train/labels/{i}"], training.ours[f"train/halted/{i}"],
        comparison.tolerance(f"train/logits/{i}", logits)))
  comparison.done()
  required = min(golden.num_steps, COMPARABLE_STEPS.get(golden.name, COMPARABLE_STEPS_ELSEWHERE)[guided])
  assert compared >= required, f"{golden.name}: rounding leaves {compared} steps to compare, {required} are needed"


@pytest.mark.parametrize("which", ["final_state", "final_ema"])
def test_final_parameters(golden, training, guided, which):
  """The distribution of |difference| over each parameter's elements, at several quantiles.

  The largest difference alone would be weak: AdamATan2's first updates are signs of gradients, so an element whose
  gradient is no larger than rounding ends up a whole learning rate away, in the reference's own repeated run too. The
  prefix table's updates are nothing but signs: there SLACK times as many elements may differ, not SLACK times as far.
  """
  failures, compared = [], 0
  for name in golden.part(f"train/{which}/"):
    key = f"train/{which}/{name}"
    expected, initial = golden.values[key], golden.state[name]

    def quantiles(values, reference, at=QUANTILES):
      return np.quantile(np.abs(values.astype(np.float64) - reference), at)

    movement = quantiles(expected, initial)
    if not movement.any():
      assert np.array_equal(training.ours[key].astype(np.float32), expected), f"{key} moved; the reference's does not"
      continue
    at, slack = (1 - (1 - QUANTILES) / SLACK, 1) if name.endswith("puzzle_emb.weights") else (QUANTILES, SLACK)
    noise = np.max([quantiles(other[key], training.ours[key], at) for other in training.others], axis=0)
    tolerance = np.maximum(FLOOR * scale_of(expected), slack * noise)
    says_something = tolerance < np.maximum(0.5 * movement, 2 * FLOOR * scale_of(expected))
    compared += says_something[0]
    error = quantiles(training.ours[key], expected)
    for i in np.flatnonzero(says_something & ~(error <= tolerance)):
      failures.append(f"{key}: {100 * QUANTILES[i]:g} % of the elements are within {error[i]:.1e}, should be within "
                      f"{tolerance[i]:.1e}; they moved by {movement[i]:.1e}")
  assert not failures, f"{golden.name}: {len(failures)} differ\n" + "\n".join(failures[:12])
  if golden.name in COMPARABLE_STEPS and (guided or COMPARABLE_STEPS[golden.name][0] == golden.num_steps):
    assert compared == len(trained_names(golden)) + (which == "final_state" and golden.config.puzzle_emb_ndim > 0)
