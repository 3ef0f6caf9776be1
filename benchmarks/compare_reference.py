# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times one training step of the PyTorch reference and of this library, by turns in one process.

    git clone https://github.com/SamsungSAILMontreal/TinyRecursiveModels
    pip install torch einops pydantic
    python -m benchmarks.compare_reference --reference=TinyRecursiveModels

Both sides start from the same parameters, see the same batch and do the same optimizer work (AdamATan2, sign-SGD of the
prefix, EMA); see side_by_side.py. The losses of the first steps are compared, to make sure that both are the same
computation. learning_parity.py shows whether both also learn alike.
"""

import statistics
import sys

from absl import flags
from absl import logging
import jax
import numpy as np

from benchmarks import measure
from benchmarks import side_by_side
from trm_jax import cli
from trm_jax.config import OptimizerConfig
from trm_jax.model import flops
from trm_jax.model import TRMConfig
from trm_jax.runtime import chips

_REFERENCE = flags.DEFINE_string("reference", None, "Folder of a checkout of the reference. Required.")
_MODES = flags.DEFINE_multi_enum("mode", ["eager", "compiled"], ["eager", "compiled"],
                                 "How the reference is run: as it is, under torch.compile (repeat for both).")
_BATCH = flags.DEFINE_integer("batch", 32, "Examples per step.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Dtype of the matrix products.")
_MIXER = flags.DEFINE_enum("mixer", "mlp", ["mlp", "attention"], "Mixer of tokens; attention has rope.")
_SEQ_LEN = flags.DEFINE_integer("seq_len", 81, "Cells: 81 for Sudoku, 900 for mazes and ARC.", lower_bound=1)
_HIDDEN = flags.DEFINE_integer("hidden_size", 512, "Features.", lower_bound=1)
_CYCLES = flags.DEFINE_integer("cycles", 3, "T, H_cycles.", lower_bound=1)
_ATTENTION = flags.DEFINE_enum("attention", "xla", ["xla", "cudnn"], "For our side: config.compute.attention.")
_MICRO_BATCHES = flags.DEFINE_integer("micro_batches", 1, "For our side: config.compute.micro_batches.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 1, "Steps that are timed together, in one call of ours.", lower_bound=1)

VOCAB = 11


def model_config() -> TRMConfig:
  """The model that both sides have."""
  return TRMConfig(vocab_size=VOCAB, seq_len=_SEQ_LEN.value, hidden_size=_HIDDEN.value, H_cycles=_CYCLES.value,
                   num_heads=max(1, _HIDDEN.value // 64), puzzle_emb_ndim=_HIDDEN.value,
                   mlp_t=_MIXER.value == "mlp", pos_encodings="none" if _MIXER.value == "mlp" else "rope",
                   dtype=_DTYPE.value, attention=_ATTENTION.value)


def make_batch() -> dict[str, np.ndarray]:
  """Random tokens: time does not depend on their values."""
  rng = np.random.default_rng(0)
  cells = rng.integers(1, VOCAB, (2, _BATCH.value, _SEQ_LEN.value)).astype(np.int32)
  return {"inputs": cells[0], "labels": cells[1], "puzzle_identifiers": np.zeros(_BATCH.value, np.int32)}


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  logging.set_verbosity(logging.WARNING)
  folder = side_by_side.check_reference(_REFERENCE.value)
  config, optimizer, batch = model_config(), OptimizerConfig(), make_batch()
  sizes = {"batch_size": _BATCH.value, "total_steps": 10**6}
  references = {
      f"reference, {mode}": side_by_side.Reference(folder, config, optimizer, compiled=mode == "compiled", **sizes)
      for mode in dict.fromkeys(_MODES.value)}
  first = next(iter(references.values()))
  their_batch = first.put(batch)
  ours = side_by_side.Ours(config, optimizer, make_batch=lambda batch, step: batch,
                           micro_batches=_MICRO_BATCHES.value, **sizes)
  ours.start(first.state, jax.device_put(batch), jax.random.key(0))

  # Later steps drift apart by rounding (docs/parity.md), also between the reference's two modes.
  worst = 0.0
  for step in range(3):
    for reference in references.values():
      reference.step(their_batch)
    losses = {name: reference.metrics()["loss"] for name, reference in references.items()}
    losses["trm_jax"] = ours.steps(1)["loss"]
    print("loss", ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items()), file=sys.stderr)
    if step == 0:
      worst = max(abs(loss / losses["trm_jax"] - 1) for loss in losses.values())
  side_by_side.check_first_losses(worst, config.dtype)

  def run(reference):
    for _ in range(_STEPS.value):
      reference.step(their_batch)
    reference.metrics()  # waits

  calls = {name: lambda reference=reference: run(reference) for name, reference in references.items()}
  times = measure.by_turns({"trm_jax": lambda: ours.steps(_STEPS.value), **calls}, measure.ROUNDS.value)
  peak = chips.peak_flops(jax.devices()[0])
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
