# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Flags of every program that asks a trained model for answers (docs/evaluate.md): to think longer, and about other
puzzles than those of its run."""

from typing import Any

from absl import flags

from trm_jax import config as config_lib
from trm_jax.errors import UserError
from trm_jax.tasks import vote

# Benchmarks have other --steps; tests import both in one process.
_STEPS = flags.DEFINE_integer(
    "steps", None, "Maximum number of supervision steps of an attempt; default: the model's halt_max_steps.",
    lower_bound=1, allow_override=True)
_STOP = flags.DEFINE_enum(
    "stop", None, config_lib.STOPS, "When an attempt ends: after all `steps`; `settled`, when the model is sure and the "
    "answer stays; `converged`, when the answer stays; `still`, when the state hardly moves; `proven`, when the rules "
    "say that the answer is right. Default: steps; in an evaluation, as the run was configured.")
_VERSIONS = flags.DEFINE_integer(
    "versions", None, "Number of augmented versions of each puzzle that are attempted besides the puzzle itself; "
    "default: 0; in an evaluation of ARC, as the run was configured.", lower_bound=0)
_ROLLOUTS = flags.DEFINE_integer(
    "rollouts", None, "Number of attempts at each version, which differ by --noise, and by their initial states if the "
    "model was trained with random ones (config.model.random_init, EqR); others need --noise. Default: 1.",
    lower_bound=1)
_NOISE = flags.DEFINE_float(
    "noise", None, "Standard deviation of the noise on the latent state before each step; default: 0. Published "
    "values are 0.3 for Sudoku and 1 for mazes.", lower_bound=0.0)
_CHOOSE = flags.DEFINE_enum(
    "choose", None, vote.BY, "How to choose among several answers: `count` takes the most frequent; `halting`, that "
    "of the surest attempt; `convergence`, that of the attempt whose state moves least; `proof`, one that the rules "
    "prove right. Default: count.")
_SET = flags.DEFINE_multi_string(
    "set", None, "data.FIELD=VALUE instead of that of the checkpoint's run, e.g. data.rows=20. A model with attention "
    "and rotary positions may have puzzles of another size than it was trained on.", allow_override=True)
THINKING = _STEPS, _STOP, _VERSIONS, _ROLLOUTS, _NOISE, _CHOOSE
FLAGS = *THINKING, _SET


def arguments() -> dict[str, Any]:
  """The flags that were given, as arguments of Solver.load and of evaluate.run.

  Raises:
    UserError: --set names no field of config.data.
  """
  given = {flag.name: flag.value for flag in THINKING if flag.value is not None}
  if not _SET.value:
    return given
  changes = dict(config_lib.parse_change(text, "data.rows=20") for text in _SET.value)
  for field in changes:
    if not field.startswith("data."):
      raise UserError(f"--set={field}=…: only fields of config.data can be set here, e.g. --set=data.rows=20; a flag "
                      "of its own changes the steps, and the rest of a model is as it was trained")
  return given | {"data_changes": {field.removeprefix("data."): value for field, value in changes.items()}}
