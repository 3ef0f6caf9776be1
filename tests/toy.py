# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A task that is no puzzle on a grid: to say a word backwards. It shows what a task of one's own has to have."""

import dataclasses

import numpy as np

from trm_jax import tasks
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.config import DataConfig
from trm_jax.knobs import at_least, knob
from trm_jax.tasks.symmetry import Symmetry

LETTERS = 5


@dataclasses.dataclass(frozen=True)
class Data(DataConfig):
  source: str = knob("words")
  length: int = knob(6, at_least(1))  # letters of a word


class Task(tasks.Task):
  name, vocab_size, own_splits = "backwards", 1 + LETTERS, True

  def __init__(self, data):
    super().__init__(data)
    self.seq_len = data.length

  def read(self, split, progress=None):
    number = getattr(self.data, f"num_{split}")
    words = np.random.default_rng([self.data.seed, len(split)]).integers(1, 1 + LETTERS, (number, self.seq_len))
    return puzzles_lib.one_group_each(words.astype(np.uint8), words[:, ::-1].astype(np.int8), vocab_size=1 + LETTERS)

  def symmetry(self, key):  # the letters change their names
    import jax  # pylint: disable=g-import-not-at-top
    import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

    names = jnp.concatenate([jnp.zeros(1, jnp.int32), jax.random.permutation(key, LETTERS) + 1])
    return Symmetry(cells=jnp.arange(self.seq_len), values=names)
