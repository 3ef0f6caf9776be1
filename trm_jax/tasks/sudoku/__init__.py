# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku: files, generator, symmetries, rules."""

from trm_jax.tasks.sudoku.config import SudokuData as Data
from trm_jax.tasks.sudoku.task import SudokuTask as Task

__all__ = ["Data", "Task"]
