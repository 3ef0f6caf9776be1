# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The PyTorch reference and this library with one interface, to train from the same parameters on the same batches.

The reference's model, loss, average and prefix optimizer are imported from a checkout of it. AdamATan2 is written here
with PyTorch's foreach operations, because the package that the reference uses has only CUDA kernels.
"""

from collections.abc import Callable
import contextlib
import copy
import functools
import math
import os
import pathlib
import sys
import time
from typing import Any
from unittest import mock

# PyTorch and JAX share one GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# pylint: disable=wrong-import-position
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from trm_jax import interop
from trm_jax.config import OptimizerConfig
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.model import TRMConfig
from trm_jax.model.trm import abstract
from trm_jax.runtime import sharding
from trm_jax.training import train_step

Batch = dict[str, np.ndarray]


def check_reference(folder: str | None) -> str:
  """Returns the folder of the reference. Raises UserError if none was named, or if the reference is not there."""
  if not folder:
    raise UserError("--reference is missing: the folder of a checkout of the reference, "
                    "github.com/SamsungSAILMontreal/TinyRecursiveModels")
  if not (pathlib.Path(folder) / "models" / "recursive_reasoning" / "trm.py").is_file():
    raise UserError(f"--reference={folder}: no models/recursive_reasoning/trm.py there; it must be a checkout of "
                    "github.com/SamsungSAILMontreal/TinyRecursiveModels")
  return folder


def check_first_losses(difference: float, dtype: str) -> None:
  """Raises UserError if the losses of the first step differ, relatively, by more than rounding explains."""
  if difference > (1e-5 if dtype == "float32" else 1e-2):
    raise UserError(f"the losses of the first step differ by {difference:.1e} in {dtype}: the reference and trm_jax do "
                    "not compute the same")


def _bfloat16_products(torch: Any) -> contextlib.AbstractContextManager:
  """Makes PyTorch multiply bfloat16 matrices in float32 and round once, as its own products do.

  If a CPU has no instructions for the latter they are plain loops, and a training step takes four times as long.
  Both round all but about one in 10,000 elements of a product correctly.
  """
  aten = torch.ops.aten
  products = {aten.mm.default, aten.bmm.default, aten.addmm.default, aten.linear.default, aten.matmul.default}

  class InFloat32(torch.utils._python_dispatch.TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
      if func not in products or args[0].dtype != torch.bfloat16:
        return func(*args, **kwargs or {})
      return func(*(x.float() if isinstance(x, torch.Tensor) else x for x in args), **kwargs or {}).bfloat16()

  return InFloat32()


class Reference:
  """The reference's `train_batch` and `evaluate` on one device, without its logging.

  Args:
    folder: of a checkout of the reference.
    config: of the model.
    optimizer: of AdamATan2, sign-SGD and the average.
    batch_size: B.
    total_steps: the end of the learning rate's cosine.
    seed: of the initial parameters.
    compiled: whether the training step runs under torch.compile.
    products_in_float32: see `_bfloat16_products`; not for timing, nor for a compiled reference.

  Attributes:
    state: parameters before the first step, reference name -> NumPy array.

  Raises:
    UserError: the folder has no reference, or a package that it imports is missing.
  """

  def __init__(self, folder: str, config: TRMConfig, optimizer: OptimizerConfig, *, batch_size: int, total_steps: int,
               seed: int = 0, compiled: bool = False, products_in_float32: bool = False):
    if folder not in sys.path:
      sys.path.insert(0, check_reference(folder))
    try:
      import torch  # pylint: disable=g-import-not-at-top
      from models import ema, losses, sparse_embedding  # pylint: disable=g-import-not-at-top
      from models.recursive_reasoning import trm  # pylint: disable=g-import-not-at-top
    except ImportError as e:
      raise UserError(f"--reference={folder}: importing it needs {e.name}; pip install torch einops pydantic") from e
    self._torch, self._o = torch, optimizer
    self._products = functools.partial(_bfloat16_products, torch) if products_in_float32 else contextlib.nullcontext
    self._batch_size, self._total_steps = batch_size, total_steps
    self._device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("highest")  # like XLA on a CPU; with bfloat16 it does not matter
    with torch.device(self._device):
      model = trm.TinyRecursiveReasoningModel_ACTV1(dict(
          batch_size=batch_size, seq_len=config.seq_len, vocab_size=config.vocab_size,
          num_puzzle_identifiers=config.num_puzzle_identifiers, puzzle_emb_ndim=config.puzzle_emb_ndim,
          puzzle_emb_len=config.puzzle_emb_len, H_cycles=config.H_cycles, L_cycles=config.L_cycles, H_layers=0,
          L_layers=config.L_layers, hidden_size=config.hidden_size, expansion=config.expansion,
          num_heads=config.num_heads, pos_encodings=config.pos_encodings, halt_max_steps=config.halt_max_steps,
          halt_exploration_prob=config.halt_exploration_prob, forward_dtype=config.dtype, mlp_t=config.mlp_t))
      self._head = losses.ACTLossHead(model, "stablemax_cross_entropy")
      self.state = {name: value.detach().cpu().float().numpy().copy()
                    for name, value in self._head.state_dict().items()}
      self._prefix = sparse_embedding.CastedSparseEmbeddingSignSGD_Distributed(
          model.puzzle_emb.buffers(), lr=0, weight_decay=optimizer.prefix_weight_decay, world_size=1)
      self._params = [p for p in self._head.parameters() if p.requires_grad]
      self._m, self._v = ([torch.zeros_like(p) for p in self._params] for _ in range(2))
    self._module = torch.compile(self._head) if compiled else self._head
    self._ema = ema.EMAHelper(optimizer.ema_rate)
    self._ema.register(self._head)
    self._carry, self._t, self._metrics = None, 0, {}

  def put(self, batch: Batch) -> dict[str, Any]:
    """The batch as tensors on the device."""
    return {name: self._torch.tensor(np.asarray(value), device=self._device) for name, value in batch.items()}

  def step(self, batch: dict[str, Any], min_steps: np.ndarray | None = None) -> None:
    """Makes one step: forward, backward, both optimizers, EMA.

    Args:
      batch: from `put`; halted rows take their next puzzle from it.
      min_steps: (B,) integers, the least supervision steps that exploration draws for each row, or 0. None: the
        reference draws its own. Not for a compiled reference.
    """
    torch = self._torch
    with self._products():
      with torch.device(self._device), self._draws(min_steps):
        if self._carry is None:
          self._carry = self._module.initial_carry(batch)
        self._carry, loss, metrics, _, _ = self._module(carry=self._carry, batch=batch, return_keys=[])
      loss = loss / self._batch_size
      loss.backward()
    self._t += 1
    share = self._share_of_peak()
    self._prefix.param_groups[0]["lr"] = share * self._o.prefix_learning_rate
    self._prefix.step()
    self._prefix.zero_grad()
    self._adam_atan2(share * self._o.learning_rate)
    self._ema.update(self._head)
    self._metrics = metrics | {"loss": loss.detach()}

  def metrics(self) -> dict[str, float]:
    """Waits for the last step and returns `loss`, the mean over the batch, and the reference's sums over rows."""
    return {name: float(value) for name, value in self._metrics.items()}

  def evaluate(self, puzzles: Puzzles) -> dict[str, float]:
    """Evaluates the averaged parameters with halt_max_steps supervision steps, all puzzles in one batch.

    Returns:
      The reference's accuracy (cells), exact_accuracy (puzzles) and q_halt_accuracy, means over the puzzles.
    """
    batch = self.put({"inputs": puzzles.inputs.astype(np.int32), "labels": puzzles.labels.astype(np.int32),
                      "puzzle_identifiers": puzzles.puzzle_identifiers})
    with self._torch.inference_mode(), self._torch.device(self._device), self._products():
      head = copy.deepcopy(self._head)
      self._ema.ema(head)
      head.eval()
      carry, done = head.initial_carry(batch), False
      while not done:
        carry, _, metrics, _, done = head(carry=carry, batch=batch, return_keys=[])
    return {name: float(metrics[name]) / float(metrics["count"])
            for name in ("accuracy", "exact_accuracy", "q_halt_accuracy")}

  def _draws(self, min_steps: np.ndarray | None) -> contextlib.AbstractContextManager:
    """Replaces the two random draws of the reference's step, which multiplies (first < probability) by the second."""
    if min_steps is None:
      return contextlib.nullcontext()
    torch = self._torch
    chosen = torch.tensor(np.asarray(min_steps), device=self._device)
    return mock.patch.multiple(torch, rand_like=lambda x: torch.where(chosen > 0, -1.0, 2.0),
                               randint_like=lambda x, low, high: chosen.to(x.dtype))

  def _share_of_peak(self) -> float:
    """The learning rate of this step over its peak: linear warmup, then a cosine to lr_min_ratio."""
    o = self._o
    if self._t < o.warmup_steps:
      return self._t / o.warmup_steps
    progress = (self._t - o.warmup_steps) / max(1, self._total_steps - o.warmup_steps)
    return o.lr_min_ratio + (1 - o.lr_min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

  def _adam_atan2(self, rate: float) -> None:
    torch, o = self._torch, self._o
    with torch.no_grad():
      grads = [p.grad for p in self._params]
      torch._foreach_mul_(self._params, 1 - rate * o.weight_decay)
      torch._foreach_lerp_(self._m, grads, 1 - o.b1)
      torch._foreach_mul_(self._v, o.b2)
      torch._foreach_addcmul_(self._v, grads, grads, 1 - o.b2)
      scale = torch._foreach_sqrt(self._v)
      torch._foreach_div_(scale, (1 - o.b2**self._t) ** 0.5)
      for p, m, s in zip(self._params, self._m, scale):
        p.add_(torch.atan2(m, s), alpha=-rate / (1 - o.b1**self._t))
        p.grad = None


class Ours:
  """`Trainer.steps` on one device, as in a run. One compiled program serves any parameters, data and keys.

  Args:
    config: of the model.
    optimizer: of all parameters.
    batch_size: B.
    total_steps: the end of the learning rate's cosine.
    make_batch: (data, step () int32) -> batch, under jit, with data from `start`.
    micro_batches: see config.compute.micro_batches.

  Attributes:
    trainer: Trainer.
    state: TrainState after the steps made so far.
    compile_s: seconds that compiling the step took.
  """

  def __init__(self, config: TRMConfig, optimizer: OptimizerConfig, *, batch_size: int, total_steps: int,
               make_batch: Callable[[Any, jax.Array], Batch], micro_batches: int = 1):
    self.trainer = trainer = train_step.Trainer(
        config, optimizer, mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=batch_size, total_steps=total_steps,
        micro_batches=micro_batches)
    self._init = jax.jit(lambda model, data: trainer.init_from(model, make_batch(data, jnp.int32(0))))
    self._steps = jax.jit(
        lambda state, num, data, key: trainer.steps(state, num, lambda step: make_batch(data, step), key),
        donate_argnums=0)
    self._compiled = None

  def start(self, parameters: dict[str, np.ndarray], data: Any, key: jax.Array) -> None:
    """Begins again from the reference's parameters, and compiles the step if that is not done yet.

    Args:
      parameters: `Reference.state`.
      data: for make_batch; always of the same shapes.
      key: of exploration.
    """
    self.state = self._init(interop.from_reference(parameters, self.trainer.model_config), data)
    self._data, self._key = data, key
    if self._compiled is None:
      start = time.perf_counter()
      self._compiled = self._steps.lower(self.state, np.int32(1), data, key).compile()
      self.compile_s = time.perf_counter() - start

  def min_steps(self, key: jax.Array, step: jax.Array) -> jax.Array:
    """The draws of exploration in a step with the key from `start`: (B,) int32, for `Reference.step`."""
    model = nnx.merge(*abstract(self.trainer.model_config))
    return model.draws(jax.random.fold_in(key, step), self.trainer.batch_size).min_steps

  def steps(self, num: int) -> dict[str, float]:
    """Makes this number of steps, waits for them, and returns the metrics of the last one (`Trainer.step`)."""
    self.state, metrics = self._compiled(self.state, np.int32(num), self._data, self._key)
    return {name: float(value) for name, value in metrics.items()}
