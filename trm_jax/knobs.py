# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Tools to declare a config: a knob is a field of a frozen dataclass, with its default and its rule beside it.

    batch_size: int = knob(768, at_least(1))  # rows on all devices together
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import numpy as np

from trm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rule:
  """A condition on a value. Attributes: holds, a function from a value to bool; text, the condition for users."""

  holds: Callable[[Any], bool]
  text: str


def at_least(lowest: float) -> Rule:
  """The rule of a number with a lowest value."""
  return Rule(lambda value: value >= lowest,
              "must not be negative" if lowest == 0 else f"must be at least {lowest}")


def one_of(*values: Any) -> Rule:
  """The rule of a word or number from a short list."""
  return Rule(lambda value: value in values, f"must be one of {', '.join(map(str, values))}")


POSITIVE = Rule(lambda value: 0 < value < math.inf, "must be positive and finite")
SHARE = Rule(lambda value: 0 <= value <= 1, "must lie in [0, 1]")
WEIGHT = Rule(lambda value: 0 < value <= 1, "must lie in (0, 1]")
DECAY = Rule(lambda value: 0 <= value < 1 and np.float32(value) < 1,
             "must lie in [0, 1), also when it is rounded to 32 bits")


def knob(default: Any = dataclasses.MISSING, rule: Rule | None = None, *, free: bool = False) -> Any:
  """A field of a config.

  Args:
    default: has the annotated type; without a default the field must be given.
    rule: of every value; None if the type is enough.
    free: whether a resumed run may have another value than the run that wrote the checkpoint. Such a knob changes how a
      run reports or is computed, but not what is trained.
  """
  return dataclasses.field(default=default, metadata={"rule": rule, "free": free})


def check(config: Any, where: str) -> None:
  """Checks the rules of a dataclass's own fields.

  Args:
    config: instance of a dataclass made of knobs.
    where: prefix of the fields' names, such as "config.model.".

  Raises:
    UserError: the value of a field breaks its rule; the message names both.
  """
  for field in dataclasses.fields(config):
    rule, value = field.metadata.get("rule"), getattr(config, field.name)
    if rule and not rule.holds(value):
      raise UserError(f"{where}{field.name} = {value!r}: {rule.text}")


def free(cls: type, where: str = "") -> frozenset[str]:
  """The names of a dataclass's free knobs; the name of a group's knob begins with the group's name and a dot.

  Args:
    cls: dataclass made of knobs, or of groups of them. All knobs of a class with FREE = True are free.
    where: prefix of the names.
  """
  names = set()
  for field in dataclasses.fields(cls):
    if dataclasses.is_dataclass(field.default):
      names |= free(type(field.default), f"{where}{field.name}.")
    elif field.metadata.get("free") or getattr(cls, "FREE", False):
      names.add(f"{where}{field.name}")
  return frozenset(names)
