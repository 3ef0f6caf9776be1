# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The network and its recursion: pure functions and modules that know nothing of tasks, files or training.

    from trm_jax.model import TRM, TRMConfig

`TRMConfig` can be imported without JAX; the other names import JAX on first use.
"""

from typing import Any

from trm_jax.model.config import TRMConfig

__all__ = ["TRM", "Carry", "Outputs", "TRMConfig"]  # noqa: F822


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  from trm_jax.model import trm  # pylint: disable=g-import-not-at-top

  return getattr(trm, name)
