# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Mazes: files, generator, symmetries, rules."""

from trm_jax.tasks.maze.config import MazeData as Data
from trm_jax.tasks.maze.task import MazeTask as Task

__all__ = ["Data", "Task"]
