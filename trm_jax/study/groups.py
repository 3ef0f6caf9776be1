# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Named configs in groups that answer one question each, and sweeps over them: what configs/sudoku.py is made of."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import inspect
from typing import Any

import ml_collections

from trm_jax import config as config_lib


Make = Callable[[], ml_collections.ConfigDict]


@dataclasses.dataclass(frozen=True)
class Group:
  """Named configs that answer one question together.

  Attributes:
    question: one line.
    text: what is held equal, the command, whose figures there are, the hardware, what has been measured.
    configs: name -> function that makes it, whose docstring says in one line what it is.
    paper: name -> share of unseen puzzles solved that the paper reports, in %.
  """

  question: str
  text: str
  configs: Mapping[str, Make]
  paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


def group(base: Make) -> Callable[[Callable[[], Iterable[tuple]]], Group]:
  """Decorator: makes a Group of a generator function, whose docstring's first line is the question.

  The function yields (name, what it is, {field: value}) or, where the paper has a figure, (…, figure in %).

  Args:
    base: makes the config in which the fields are changed.
  """

  def decorate(generate: Callable[[], Iterable[tuple]]) -> Group:
    configs, paper = {}, {}
    for name, what, changes, *figure in generate():
      if figure:
        paper[name], = figure
        what += f" (the paper: {paper[name]} %)"
      configs[name] = _changed(base, what, changes)
    question, _, text = inspect.getdoc(generate).partition("\n")
    return Group(question, text.strip(), configs, paper)

  return decorate


def _changed(base: Make, what: str, changes: Mapping[str, Any]) -> Make:

  def make():
    config = base()
    config_lib.change(config, changes)
    return config

  make.__doc__ = what
  return make


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Configs that are run one after another. Attributes: what it is for, in one line; their names."""

  what: str
  names: tuple[str, ...]
