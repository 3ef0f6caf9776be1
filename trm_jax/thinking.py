# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Flags that let a trained model think longer, for every program that asks it for answers (docs/evaluate.md)."""

from typing import Any

from absl import flags

from trm_jax.config import STOPS
from trm_jax.tasks import vote

# Benchmarks have other --steps; tests import both in one process.
_STEPS = flags.DEFINE_integer(
    "steps", None, "Maximum number of supervision steps of an attempt; default: the model's halt_max_steps.",
    lower_bound=1, allow_override=True)
_STOP = flags.DEFINE_enum(
    "stop", None, STOPS, "When an attempt ends: after all `steps`; `settled`, when the model is sure and the answer "
    "stays; `converged`, when the answer stays; `still`, when the state hardly moves; `proven`, when the rules say "
    "that the answer is right. Default: steps; in an evaluation, as the run was configured.")
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
FLAGS = _STEPS, _STOP, _VERSIONS, _ROLLOUTS, _NOISE, _CHOOSE


def arguments() -> dict[str, Any]:
  """The flags that were given, as arguments of Solver and of evaluate.run."""
  return {flag.name: flag.value for flag in FLAGS if flag.value is not None}
