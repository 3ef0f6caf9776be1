# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Formats values for a report; runtime/console.py formats times, sizes and counts, as everywhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trm_jax.runtime import console


def text(value: Any) -> str:
  """A knob's value: 2e-4, 0.05, True, 2,048."""
  if isinstance(value, float):
    if 0 < abs(value) < 1e-2:
      mantissa, exponent = f"{value:.5e}".split("e")
      return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}"
  return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def percent(value: float) -> str:
  """0.874 -> "87.4 %"."""
  return f"{value * 100:.1f} %"


def points(value: float) -> str:
  """A difference of shares: 0.021 -> "+2.1"."""
  return f"{value * 100:+.1f}".replace("-", "−")


def interval(ends: tuple[float, float]) -> str:
  """The interval of a difference of shares: "+1.0 to +3.2"."""
  return f"{points(ends[0])} to {points(ends[1])}"


def signed(value: float) -> str:
  """A coefficient: "−0.31"."""
  return f"{value:+.2f}".replace("-", "−")


def flops(value: float) -> str:
  """1.2e15 -> "1.2 PFLOP"."""
  return f"{console.count(value)}FLOP"


def number(value: float) -> str:
  """Three digits, or the whole integer part if that is longer."""
  return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def hours(value: float) -> str:
  """0.25 -> "0.25"; 1234.5 -> "1,234"."""
  return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def span(values: np.ndarray) -> str:
  """The range of some shares, from the least to the greatest."""
  return f"{percent(values.min())} to {percent(values.max())}"


def listed(names: Sequence[str], most: int = 4) -> str:
  """The first few names of a list, and the number of others."""
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return "; ".join(names[:most]) + more
