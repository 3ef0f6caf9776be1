# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The tasks that a model can be trained on, each a folder here. config.task names one of them, or a module elsewhere.

The module of a task has `Data`, the frozen dataclass of its knobs (see data/config.py), and `Task`, a class as in
task.py, whose argument is an instance of `Data`.
"""

import functools
import importlib
import pathlib
import pkgutil
import types

from trm_jax.data.config import DataConfig
from trm_jax.errors import UserError, mistake_in
from trm_jax.tasks.task import Task

__all__ = ["Task", "answer_file", "data_config", "has_rules", "headline", "known", "mistake", "of"]

_own: set[types.ModuleType] = set()  # the modules elsewhere that were imported


@functools.cache
def known() -> tuple[str, ...]:
  """The names of the tasks here."""
  return tuple(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def _module(name: str) -> types.ModuleType:
  """The module of a task.

  Raises:
    UserError: there is no such task.
  """
  path = f"{__name__}.{name}" if name in known() else name
  unknown = UserError(f"config.task = {name!r}: no such task; use one of {', '.join(known())}, or name an importable "
                      "module of your own")
  if not all(part.isidentifier() for part in path.split(".")):
    raise unknown
  try:
    module = importlib.import_module(path)
  except ModuleNotFoundError as e:
    if not f"{path}.".startswith(f"{e.name}."):
      raise  # the module exists, but imports something that does not
    raise unknown from e
  if missing := [wanted for wanted in ("Data", "Task") if not hasattr(module, wanted)]:
    raise UserError(f"config.task = {name!r}: {module.__name__} has no {' and no '.join(missing)}; see "
                    "trm_jax/tasks/sudoku for an example")
  if path == name:
    _own.add(module)
  return module


def data_config(name: str) -> type[DataConfig]:
  """The class of config.data for config.task. Raises UserError if there is no such task."""
  return _module(name).Data


def headline(name: str) -> str:
  """The metric of config.task that is the share of puzzles solved (see Task). Raises UserError if there is no task."""
  return _module(name).Task.headline


def has_rules(name: str) -> bool:
  """Whether config.task has rules that tell whether an answer is right. Raises UserError if there is no such task."""
  return bool(_module(name).Task.checked)


def answer_file(name: str, which: str = "") -> str | None:
  """The name of the file in which a run of config.task leaves its answers; None if it leaves none.

  Args:
    name: config.task.
    which: "best" or "average", if they are the answers of that checkpoint and not of the last one.

  Raises:
    UserError: there is no such task.
  """
  last = _module(name).Task.answer_file
  if last is None or not which:
    return last
  path = pathlib.PurePath(last)
  return path.with_stem(f"{path.stem}_{which}").name


def of(name: str, data: DataConfig) -> Task:
  """Makes a task.

  Args:
    name: config.task.
    data: config.data.

  Raises:
    UserError: there is no such task.
  """
  return _module(name).Task(data)


def mistake(error: Exception) -> UserError | None:
  """The mistake in a user's own task that made a program fail, with its line; None if it comes from elsewhere."""
  found = (mistake_in(module.__file__, error) for module in _own if module.__file__)
  return next(filter(None, found), None)
