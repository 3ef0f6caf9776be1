# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Arrays of .npz files, read at once: NumPy would keep the file open until garbage is collected, in some later test."""

import os

import numpy as np


def read(path: os.PathLike | str) -> dict[str, np.ndarray]:
  """All arrays of a file, by name."""
  with np.load(path) as file:
    return dict(file)
