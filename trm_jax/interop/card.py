# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Writes the model card of published weights: their model, their training, measured accuracy, and limits."""

import dataclasses
import math
from typing import Any

from flax import nnx
import jax

from trm_jax import knobs
from trm_jax import tasks
from trm_jax.config import Config
from trm_jax.model.trm import TRM
from trm_jax.tasks import sourced

_TEMPLATE = """---
library_name: trm_jax
tags: [tiny-recursive-model, jax, {task}]
---

# {title}

A Tiny Recursive Model ([arXiv:2510.04871](https://arxiv.org/abs/2510.04871)) for {task}:
{model}, {params} trained parameters{table}. It reads a puzzle of {cells} cells as tokens from 0 to {last_token} and
makes up to {steps} supervision steps on it.

## Use

```bash
# with trm_jax and its extra [hub]
python -m trm_jax.interop import hf://OWNER/REPO/model.safetensors --out=weights
python -m trm_jax.main --mode=eval --checkpoint=weights{data_flag}
python -m trm_jax.solve --checkpoint=weights{data_flag}
```

model.safetensors has the names of the PyTorch reference, too; config.json has every setting of the run.

## Training

{training}

| data | |
|---|---|
{data}

## Accuracy

{accuracy}

## Limits

{limits}
"""


def text(model: TRM, config: Config, step: int, results: dict[str, Any]) -> str:
  """The card, in Markdown.

  Args:
    model, config, step: of the published weights.
    results: the run's results.json; {} if there is none.
  """
  task = tasks.of(config.task, config.data)
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
  rows = model.config.num_puzzle_identifiers
  return _TEMPLATE.format(
      title=config.name or f"trm-{task.name}", task=task.name, model=model.config, params=f"{count:,}",
      table=f" and a prefix table of {rows:,} rows" * (rows > 1),
      cells=model.config.seq_len, last_token=model.config.vocab_size - 1, steps=model.config.halt_max_steps,
      data_flag=" --data=FOLDER" * _from_a_folder(task), training=_training(config, step, results),
      data="\n".join(f"| {field.name} | `{getattr(config.data, field.name)}` |"
                     for field in dataclasses.fields(config.data) if field.name not in knobs.free(type(config.data))),
      accuracy=_accuracy(task, step, results), limits="\n".join(f"* {limit}" for limit in _limits(config, task)))


def _from_a_folder(task: tasks.Task) -> bool:
  """Whether its puzzles are neither generated nor published, so that others have them elsewhere or not at all."""
  published = isinstance(task, sourced.SourcedTask) and task.data.source == task.published.source
  return not task.own_splits and not published


def _training(config: Config, step: int, results: dict[str, Any]) -> str:
  if not config.name:
    steps = f"for {step:,} steps, according to its file name" if step else "for an unknown number of steps"
    return (f"Imported: trained elsewhere, {steps}. The data below are what such a model is assumed to be for, "
            "not a record of its training.")
  seconds = f", {results['train_seconds']:,} s" if results.get("step") == step and "train_seconds" in results else ""
  begun = f" It began with the weights of `{config.init_from}`." * bool(config.init_from)
  return (f"`python -m trm_jax.main --config=configs/{config.task}.py:{config.name}`, seed {config.seed}, with the "
          f"changes that config.json shows, if any. {step:,} optimizer steps of {config.batch_size} "
          f"examples{seconds}.{begun}")


def _accuracy(task: tasks.Task, step: int, results: dict[str, Any]) -> str:
  """The accuracy that the run measured for exactly these weights."""
  for name in ("test", "test_best"):
    test = results.get(name, {})
    if test.get("step", results.get("step")) == step and test.get("num_puzzles"):
      share, num = test[task.headline], test["num_puzzles"]
      # Wilson's interval, which has a width even if none or all of a few puzzles are solved.
      z2 = 1.96**2 / num
      middle, error = (share + z2 / 2) / (1 + z2), math.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
      low, high = max(0, middle - error), min(1, middle + error)
      return (f"{share:.2%} of n = {num:,} test puzzles solved (95 % interval {low:.2%} to {high:.2%}, one run)"
              + (f", {task.checked}" if task.checked else "") + f"; {test['accuracy']:.2%} of the cells right.")
  return "Not evaluated here. `python -m trm_jax.main --mode=eval --checkpoint=weights` measures it."


def _limits(config: Config, task: tasks.Task) -> list[str]:
  limits = [f"It knows puzzles of exactly this form: {task.seq_len} cells, {task.vocab_size} tokens, as in the data "
            "above. Its answers to others mean nothing."]
  if task.checked:
    limits.append(f"An answer may be wrong: check it by the rules, as `trm_jax.solve` does ({task.checked}).")
  else:
    limits.append("An answer may be wrong, and only a known solution shows it.")
  limits.append("q_halt says how sure the model is; it was trained on these data and may be sure but wrong elsewhere.")
  if config.data.source == "generated":
    limits.append("It was trained on generated puzzles, which may be easier than published ones of the same kind.")
  if config.task == "arc":
    limits.append("Each task and version has a row of its own in the prefix table: the data must be made from the same "
                  "files with the same seed, and a task that is not among them has no row.")
  return limits
