# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a config is declared with: a knob is a field of a frozen dataclass with its default and its rule beside it.

    batch_size: int = knob(768, at_least(1))  # of all devices together
"""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import numpy as np

from trm_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a value must be. Attributes: holds, from a value to bool; text, which says it to a person."""

  holds: Callable[[Any], bool]
  text: str


def at_least(lowest: float) -> Rule:
  """For numbers."""
  return Rule(lambda value: value >= lowest,
              "must not be negative" if lowest == 0 else f"must be at least {lowest}")


def one_of(*values: Any) -> Rule:
  """For words and small numbers."""
  return Rule(lambda value: value in values, f"must be one of {', '.join(map(str, values))}")


POSITIVE = Rule(lambda value: 0 < value < math.inf, "must be positive and finite")
SHARE = Rule(lambda value: 0 <= value <= 1, "must lie in [0, 1]")
WEIGHT = Rule(lambda value: 0 < value <= 1, "must lie in (0, 1]")
DECAY = Rule(lambda value: 0 <= value < 1 and np.float32(value) < 1,
             "must lie in [0, 1), also when it is rounded to 32 bits")


def knob(default: Any = dataclasses.MISSING, rule: Rule | None = None, *, free: bool = False) -> Any:
  """A field of a config.

  Args:
    default: of the type that the annotation names; without one the field has to be given.
    rule: that every value keeps; None where its type says all.
    free: whether a run that goes on from a checkpoint may have another value than the one that wrote it: it changes how
      often and on what a run reports, or how it is computed, and not what is trained.
  """
  return dataclasses.field(default=default, metadata={"rule": rule, "free": free})


def check(config: Any, where: str) -> None:
  """Checks the rules of a dataclass's own fields.

  Args:
    config: instance of a dataclass made of knobs.
    where: what stands before the names of its fields, such as "config.model.".

  Raises:
    UserError: the value of a field breaks its rule; the message names both.
  """
  for field in dataclasses.fields(config):
    rule, value = field.metadata.get("rule"), getattr(config, field.name)
    if rule and not rule.holds(value):
      raise UserError(f"{where}{field.name} = {value!r}: {rule.text}")


def free(cls: type, where: str = "") -> frozenset[str]:
  """The names of a dataclass's free knobs; those of a group have the group's name and a dot before theirs.

  Args:
    cls: dataclass made of knobs, or of groups of them. All knobs of a class with FREE = True are free.
    where: what stands before the names.
  """
  names = set()
  for field in dataclasses.fields(cls):
    if dataclasses.is_dataclass(field.default):
      names |= free(type(field.default), f"{where}{field.name}.")
    elif field.metadata.get("free") or getattr(cls, "FREE", False):
      names.add(f"{where}{field.name}")
  return frozenset(names)
