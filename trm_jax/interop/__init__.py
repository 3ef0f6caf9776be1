# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Imports weights of the PyTorch reference from a file or a hub, and exports them to a file or a folder for a hub.

See __main__.py for the program. In Python:

    from trm_jax.interop import from_reference, read_reference_file
    state = read_reference_file("step_65100")
    model = from_reference(state, TRMConfig.from_reference(arch, state=state))  # arch: of its all_config.yaml

Names that need JAX import it on first use, so that --help answers at once.
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
