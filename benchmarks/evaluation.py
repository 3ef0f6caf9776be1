# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times evaluation and bare supervision steps of the same batch without gradient, by turns, on all devices.

    python -m benchmarks.evaluation --name=baseline --batch=1024

`plain` makes all steps of every puzzle. In `halting` an untrained halting head ends puzzles after any number of steps,
and their rows take others. Rates count all rows that were computed, with a puzzle or without. The difference
from the rate of bare steps is the cost of evaluation itself: dealing, refilling, noting results, the host.
"""

import functools
import statistics

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.model import flops
from trm_jax.runtime import chips
from trm_jax.runtime import sharding
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training import program
from trm_jax.training import train_step

_BATCHES = flags.DEFINE_integer("batches", 4, "Puzzles of the evaluation, in batches.", lower_bound=1)


class Case:
  """One config, with the timed functions by name in `calls`, and afterwards their results in `evaluations`."""

  def __init__(self, config: Config):
    self.config, batch = config, config.eval.batch_size
    mesh = sharding.make_mesh(model=config.compute.model_devices)
    self._puzzles = cases.make_puzzles(config, _BATCHES.value * batch)
    task = tasks.of(config.task, config.data)
    made = program.Program(config, task, Sizes.of(self._puzzles), mesh)
    self.model_config = made.model_config
    source = rows_lib.Source.of(task.arrays(self._puzzles), self._puzzles)
    state = made.init(np.uint32(config.seed), rows_lib.to_device(source, sharding.replicated(mesh)))
    get_model = functools.partial(made.trainer.model, averaged=False)
    plain, halting = (
        evaluator_lib.Evaluator(get_model, task, mesh=mesh, batch_size=batch, max_puzzles=len(self._puzzles),
                                stop=stop) for stop in ("steps", "settled"))

    def with_q_head(q_head, bias):
      return state.replace(params=state.params | {
          "q_head": q_head, "q_head_bias": jnp.full((2,), bias), "lm_head": jnp.zeros_like(state.params["lm_head"])})

    # A halting head that is sure half of the time, and answers that are settled because they never change.
    q_head = jax.random.normal(jax.random.key(1), state.params["q_head"].shape)
    q_halt = plain.evaluate(with_q_head(q_head, 0.0), self._puzzles.take_groups(np.arange(batch))).q_halt
    self._state = with_q_head(q_head, -np.median(q_halt))
    self.calls = {"bare steps": self._bare, "plain": functools.partial(self._evaluate, "plain", plain),
                  "halting": functools.partial(self._evaluate, "halting", halting)}
    self.evaluations = {}
    self._batch = sharding.put({"inputs": self._puzzles.inputs[:batch].astype("int32"),
                                "puzzle_identifiers": self._puzzles.puzzle_identifiers[:batch]},
                               sharding.along_data(mesh))

    @jax.jit
    def bare(state: train_step.TrainState, batch):
      model = get_model(state)
      carry = model.refill(model.initial_carry(batch), batch)

      def step(_, carry_and_answers):
        carry, outputs = model.supervision_step(carry_and_answers[0], model.prefix_rows(batch), None)
        return carry, outputs.logits.argmax(-1)

      return jax.lax.fori_loop(0, model.config.halt_max_steps, step, (carry, batch["inputs"]))[1]

    self._bare_steps = bare

  def _bare(self) -> None:
    jax.block_until_ready(self._bare_steps(self._state, self._batch))

  def _evaluate(self, name: str, evaluator: evaluator_lib.Evaluator) -> None:
    self.evaluations[name] = evaluator.evaluate(self._state, self._puzzles)

  def row_steps(self, name: str) -> int:
    """Number of rows times steps in a call."""
    made = self.evaluations.get(name)
    return made.row_steps if made else self.config.eval.batch_size * self.model_config.halt_max_steps


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  found = [Case(config) for config in cases.configs("eval.batch_size")]
  times = measure.by_turns({(i, name): call for i, case in enumerate(found) for name, call in case.calls.items()},
                           measure.ROUNDS.value)
  peak = chips.peak_flops(jax.devices()[0])
  rows, details = [], []
  for (i, name), seconds in times.items():
    case = found[i]
    config, batch, made = case.config, case.config.eval.batch_size, case.evaluations.get(name)
    row_steps, bare_row_steps = case.row_steps(name), case.row_steps("bare steps")
    rate = row_steps / statistics.median(seconds) * flops.eval_step_flops(case.model_config)
    row = cases.label(config, batch) | {
        "": name,
        "ms a step: median (least .. most)": measure.spread(1000 * s * batch / row_steps for s in seconds),
        "TFLOP/s": f"{rate / 1e12:.3g}",
        "rate over that of bare steps, round by round": measure.spread(
            row_steps / s / (bare_row_steps / bare) for s, bare in zip(seconds, times[i, "bare steps"]))}
    if peak:
      row["of bfloat16 peak"] = f"{rate / peak / len(jax.devices()):.1%}"
    if made:
      row["puzzles/s"] = f"{len(made.steps) / statistics.median(seconds):,.4g}"
      row["steps a puzzle"] = f"{made.steps.mean():.2f}"
      row["rows with a puzzle"] = f"{made.steps.sum() / row_steps:.1%}"
    rows.append(row)
    details.append({"seconds": seconds, "row_steps": row_steps})
  measure.report(f"Evaluation of {_BATCHES.value} batches of puzzles", rows, {"rows": details})


if __name__ == "__main__":
  cli.run(main)
