# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What every test runs under: eight CPU devices, whatever the machine has, and no silent broadcasting of ranks."""

import os
import pathlib

# In the environment too, so that the programs which tests start stay off the machine's accelerators.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import pytest  # noqa: E402

# All three raise, here and not in some test, if a plugin has touched a device before.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
  """The folder of real puzzles and reference outputs beside the checkout; it is not part of the repository."""
  path = pathlib.Path(__file__).parents[2] / "shared"
  if not path.is_dir():
    pytest.skip(f"needs {path}, which is not part of the repository")
  return path
