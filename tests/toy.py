# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A task that is no puzzle on a grid: to say a word backwards. It shows what a task of one's own has to have."""

import dataclasses

from trm_jax import tasks
from trm_jax.data.config import DataConfig
from trm_jax.knobs import at_least, knob
from trm_jax.tasks.symmetry import Symmetry

LETTERS = 5


@dataclasses.dataclass(frozen=True)
class Data(DataConfig):
  source: str = knob("generated")
  length: int = knob(6, at_least(1))  # letters of a word


class Task(tasks.Task):
  name, vocab_size, answer_file = "backwards", 1 + LETTERS, "words.json"

  def __init__(self, data):
    super().__init__(data)
    self.seq_len = data.length

  def new_puzzle(self, rng):
    word = rng.integers(1, 1 + LETTERS, self.seq_len)
    return word, word[::-1]

  def answers(self, puzzles, evaluation):
    return evaluation.answers.tolist()

  def symmetry(self, key):  # the letters change their names
    import jax  # pylint: disable=g-import-not-at-top
    import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

    names = jnp.concatenate([jnp.zeros(1, jnp.int32), jax.random.permutation(key, LETTERS) + 1])
    return Symmetry(cells=jnp.arange(self.seq_len), values=names)
