# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Groups of named configs, each of which answers one question, and sweeps over them; configs/sudoku.py defines some."""

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
    text: what is held equal, the command, the source of figures, the hardware, what has been measured.
    configs: name -> function that makes the config; its docstring describes the config in one line.
    paper: name -> share of unseen puzzles that the paper reports as solved, in %.
  """

  question: str
  text: str
  configs: Mapping[str, Make]
  paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


def group(base: Make) -> Callable[[Callable[[], Iterable[tuple]]], Group]:
  """Decorator that turns a generator function into a Group. The first line of its docstring is the question.

  The function yields (name, description, {field: value}) or, if the paper has a figure, (…, figure in %).

  Args:
    base: makes the config whose fields are changed.
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
  """Configs that are run one after another.

  Attributes:
    what: the sweep's purpose, in one line.
    names: of the configs.
  """

  what: str
  names: tuple[str, ...]
