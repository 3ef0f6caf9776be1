# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""One training step of the PyTorch reference and of this library, by turns in one process.

    git clone https://github.com/SamsungSAILMontreal/TinyRecursiveModels
    pip install torch einops pydantic
    python -m benchmarks.compare_reference --reference=TinyRecursiveModels

The model and loss are imported from that checkout. Both sides start from the same parameters, see the same batch and do
the same optimizer work (AdamATan2, sign-SGD of the prefix, EMA); AdamATan2 is written here with PyTorch's foreach
operations, for the package that the reference uses has CUDA kernels only. The losses of the first steps are compared,
so that what is timed is known to be the same computation.
"""

import os
import pathlib
import statistics
import sys
import time

# The two share one GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# pylint: disable=wrong-import-position
from absl import flags
from absl import logging
import jax
import numpy as np

from benchmarks import measure
from trm_jax import cli
from trm_jax import flops
from trm_jax import interop
from trm_jax import sharding
from trm_jax import train
from trm_jax.config import OptimizerConfig
from trm_jax.errors import UserError
from trm_jax.model import TRMConfig

_REFERENCE = flags.DEFINE_string("reference", None, "Folder of a checkout of the reference. Required.")
_MODES = flags.DEFINE_multi_enum("mode", ["eager", "compiled"], ["eager", "compiled"],
                                 "How the reference is run: as it is, under torch.compile (repeat for both).")
_BATCH = flags.DEFINE_integer("batch", 32, "Examples a step.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the matrix products.")
_MIXER = flags.DEFINE_enum("mixer", "mlp", ["mlp", "attention"], "Over tokens; attention has rope.")
_SEQ_LEN = flags.DEFINE_integer("seq_len", 81, "Cells: 81 of a Sudoku, 900 of a maze or ARC grid.", lower_bound=1)
_HIDDEN = flags.DEFINE_integer("hidden_size", 512, "Features.", lower_bound=1)
_CYCLES = flags.DEFINE_integer("cycles", 3, "T, H_cycles.", lower_bound=1)
_MICRO_BATCHES = flags.DEFINE_integer("micro_batches", 1, "Of ours, see config.micro_batches.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 1, "Steps that are timed together, in one call of ours.", lower_bound=1)

VOCAB = 11


def model_config() -> TRMConfig:
  """The model that both sides have."""
  return TRMConfig(vocab_size=VOCAB, seq_len=_SEQ_LEN.value, hidden_size=_HIDDEN.value, H_cycles=_CYCLES.value,
                   num_heads=max(1, _HIDDEN.value // 64), puzzle_emb_ndim=_HIDDEN.value,
                   mlp_t=_MIXER.value == "mlp", pos_encodings="none" if _MIXER.value == "mlp" else "rope",
                   dtype=_DTYPE.value)


def make_batch() -> dict[str, np.ndarray]:
  """Random tokens: time does not depend on what they say."""
  rng = np.random.default_rng(0)
  cells = rng.integers(1, VOCAB, (2, _BATCH.value, _SEQ_LEN.value)).astype(np.int32)
  return {"inputs": cells[0], "labels": cells[1], "puzzle_identifiers": np.zeros(_BATCH.value, np.int32)}


class Reference:
  """The reference's `train_batch` on one device, without its logging.

  Attributes:
    state: parameters at the start, reference name -> NumPy array.
    loss: of the last step, mean over the batch.
  """

  def __init__(self, folder: str, config: TRMConfig, optimizer: OptimizerConfig, compiled: bool):
    if not (pathlib.Path(folder) / "models" / "recursive_reasoning" / "trm.py").is_file():
      raise UserError(f"--reference={folder}: no models/recursive_reasoning/trm.py there; it must be a checkout of "
                      "github.com/SamsungSAILMontreal/TinyRecursiveModels")
    sys.path.insert(0, folder)
    try:
      import torch  # pylint: disable=g-import-not-at-top
      from models import ema, losses, sparse_embedding  # pylint: disable=g-import-not-at-top
      from models.recursive_reasoning import trm  # pylint: disable=g-import-not-at-top
    except ImportError as e:
      raise UserError(f"--reference={folder}: importing it needs {e.name}; pip install torch einops pydantic") from e
    self._torch, self._o = torch, optimizer
    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest")  # as XLA on a CPU; with bfloat16 it does not matter
    with torch.device(device):
      model = trm.TinyRecursiveReasoningModel_ACTV1(dict(
          batch_size=_BATCH.value, seq_len=config.seq_len, vocab_size=VOCAB, num_puzzle_identifiers=1,
          puzzle_emb_ndim=config.puzzle_emb_ndim, puzzle_emb_len=config.puzzle_emb_len, H_cycles=config.H_cycles,
          L_cycles=config.L_cycles, H_layers=0, L_layers=config.L_layers, hidden_size=config.hidden_size,
          expansion=config.expansion, num_heads=config.num_heads, pos_encodings=config.pos_encodings,
          halt_max_steps=config.halt_max_steps, halt_exploration_prob=config.halt_exploration_prob,
          forward_dtype=config.dtype, mlp_t=config.mlp_t))
      self._head = losses.ACTLossHead(model, "stablemax_cross_entropy")
      self.state = {name: value.detach().cpu().float().numpy().copy()
                    for name, value in self._head.state_dict().items()}
      self._prefix = sparse_embedding.CastedSparseEmbeddingSignSGD_Distributed(
          model.puzzle_emb.buffers(), lr=0, weight_decay=optimizer.prefix_weight_decay, world_size=1)
      self._params = [p for p in self._head.parameters() if p.requires_grad]
      self._m, self._v = ([torch.zeros_like(p) for p in self._params] for _ in range(2))
      self._batch = {name: torch.tensor(value, device=device) for name, value in make_batch().items()}
      self._module = torch.compile(self._head) if compiled else self._head
      self._carry = self._module.initial_carry(self._batch)
    self._ema = ema.EMAHelper(optimizer.ema_rate)
    self._ema.register(self._head)
    self._device, self._t = device, 0
    self.loss = 0.0

  def step(self) -> None:
    """Forward, backward, both optimizers, EMA."""
    torch = self._torch
    with torch.device(self._device):
      self._carry, loss, _, _, _ = self._module(carry=self._carry, batch=self._batch, return_keys=[])
    (loss / _BATCH.value).backward()
    self._t += 1
    warm = min(1.0, self._t / self._o.warmup_steps)
    self._prefix.param_groups[0]["lr"] = warm * self._o.prefix_learning_rate
    self._prefix.step()
    self._prefix.zero_grad()
    self._adam_atan2(warm * self._o.learning_rate)
    self._ema.update(self._head)
    self.loss = loss.detach() / _BATCH.value

  def wait(self) -> None:
    """Until all steps are done."""
    self.loss = float(self.loss)

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
  """`Trainer.steps` on one device, as in a run, from the reference's parameters. Attributes as of `Reference`."""

  def __init__(self, config: TRMConfig, optimizer: OptimizerConfig, state: dict[str, np.ndarray]):
    mesh = sharding.make_mesh(jax.devices()[:1])
    trainer = train.Trainer(config, optimizer, mesh=mesh, batch_size=_BATCH.value, total_steps=10**6,
                            micro_batches=_MICRO_BATCHES.value)
    batch = jax.device_put(make_batch())
    self._state = jax.jit(trainer.init_from)(interop.from_reference(state, config), batch)
    self._batch, self._key = batch, jax.random.key(0)
    steps = jax.jit(lambda state, num, batch, key: trainer.steps(state, num, lambda step: batch, key),
                    donate_argnums=0)
    start = time.perf_counter()
    self._steps = steps.lower(self._state, np.int32(1), batch, self._key).compile()
    self.compile_s = time.perf_counter() - start
    self.loss = 0.0

  def steps(self, num: int) -> None:
    """So many, and waits for them."""
    self._state, metrics = self._steps(self._state, np.int32(num), self._batch, self._key)
    self.loss = float(metrics["loss"])


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  logging.set_verbosity(logging.WARNING)
  if not _REFERENCE.value:
    raise UserError("--reference is missing: the folder of a checkout of the reference")
  config, optimizer = model_config(), OptimizerConfig()
  references = {f"reference, {mode}": Reference(_REFERENCE.value, config, optimizer, mode == "compiled")
                for mode in dict.fromkeys(_MODES.value)}
  ours = Ours(config, optimizer, next(iter(references.values())).state)

  # Later steps drift apart by rounding (docs/parity.md), the reference's two from each other as well.
  worst = 0.0
  for step in range(3):
    for reference in references.values():
      reference.step()
      reference.wait()
    ours.steps(1)
    losses = {name: reference.loss for name, reference in references.items()} | {"trm_jax": ours.loss}
    print("loss", ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items()), file=sys.stderr)
    if step == 0:
      worst = max(abs(loss / ours.loss - 1) for loss in losses.values())
  if worst > (1e-5 if config.dtype == "float32" else 1e-2):
    raise UserError(f"the losses of the first step differ by {worst:.1e}: the two do not compute the same")

  def run(reference):
    for _ in range(_STEPS.value):
      reference.step()
    reference.wait()

  calls = {name: lambda reference=reference: run(reference) for name, reference in references.items()}
  times = measure.by_turns({"trm_jax": lambda: ours.steps(_STEPS.value), **calls}, measure.ROUNDS.value)
  peak = flops.peak_flops(jax.devices()[0])
  rows = []
  for name, seconds in times.items():
    per_step = [s / _STEPS.value for s in seconds]
    rate = _BATCH.value / statistics.median(per_step)
    row = {"": name, "ms a step: median (least .. most)": measure.spread(1000 * s for s in per_step),
           "examples/s": f"{rate:,.4g}", "TFLOP/s": f"{rate * flops.train_step_flops(config) / 1e12:.3g}"}
    if peak:
      row["of peak"] = f"{rate * flops.train_step_flops(config) / peak:.1%}"
    row["its time over ours, round by round"] = measure.spread(
        theirs / own for theirs, own in zip(seconds, times["trm_jax"]))
    rows.append(row)
  measure.report(
      f"One training step: {_MIXER.value}, {config.positions} tokens, batch {_BATCH.value}, {config.dtype}; losses "
      f"of the first step within {worst:.0e}", rows,
      {"seconds": times, "steps_a_call": _STEPS.value, "compile_s": ours.compile_s,
       "torch": sys.modules["torch"].__version__})


if __name__ == "__main__":
  cli.run(main)
