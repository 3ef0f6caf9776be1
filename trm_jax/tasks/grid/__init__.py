# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles of one's own, without code: CSV files or a dataset folder."""

from trm_jax.tasks.grid.config import GridData as Data
from trm_jax.tasks.grid.task import GridTask as Task

__all__ = ["Data", "Task"]
