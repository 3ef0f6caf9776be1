# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Weights of the PyTorch reference, in and out: from a file or a hub, to a file or a folder for a hub. See __main__.py.

    from trm_jax.interop import from_reference, read_reference_file
    state = read_reference_file("step_65100")
    model = from_reference(state, TRMConfig.from_reference(arch, state=state))  # arch: of its all_config.yaml

The names that need JAX import it when they are asked for, so that --help answers at once.
"""

from typing import Any

_PLACES = {"from_reference": "state_dict", "to_reference": "state_dict", "read_reference_file": "reference_files",
           "write_reference_file": "reference_files"}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
  if name not in _PLACES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  import importlib  # pylint: disable=g-import-not-at-top

  return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
