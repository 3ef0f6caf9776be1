# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Generates a family of small tasks from a seed, in the published form of ARC's, so that the whole path from training
through votes to a submission can be seen without files and within minutes.

A task has one rule: recolour the cells of one colour, fill the black ones, paint all others, frame the grid, or crop it
to its upper half. Tasks with the same rule differ in their grids and, if the rule has colours, in these. No rule moves
colours over the grid: a model that learns within minutes does not learn to reflect.

Axes: R rows, C columns of a grid.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

NUM_TRAIN, NUM_TEST = 12, 4  # pairs of a task
_COLOURS = 3  # of a task, besides black

# Makes the output from a grid of colours, (R, C) uint8, and the different colours of the task.
_Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _frame(grid: np.ndarray, colours: np.ndarray) -> np.ndarray:
  framed = np.full_like(grid, colours[0])
  framed[1:-1, 1:-1] = grid[1:-1, 1:-1]
  return framed


RULES: dict[str, _Rule] = {
    "recolour": lambda grid, colours: np.where(grid == colours[0], colours[1], grid),
    "crop": lambda grid, colours: grid[: -(-len(grid) // 2)],
    "frame": _frame,
    "fill": lambda grid, colours: np.where(grid == 0, colours[0], grid),
    "paint": lambda grid, colours: np.where(grid > 0, colours[0], grid),
}


def subsets(num_train: int, num_test: int, side: int, seed: int) -> dict[str, dict[str, Any]]:
  """Makes tasks for json_files.of_json, with the outputs of their test inputs; no two inputs are equal.

  Args:
    num_train: number of tasks in the subset "training".
    num_test: number of tasks in the subset "evaluation". The rules take turns in each subset.
    side: of the canvases; inputs have side - 1 rows and columns, so that end marks fit.
    seed: determines all tasks.

  Returns:
    {subset: {name: task}}; a name is the rule, the seed and a number, such as "recolour-0-1".
  """
  rng, seen = np.random.default_rng(seed), set()
  made, number = {"training": {}, "evaluation": {}}, 0
  for tasks, many in zip(made.values(), (num_train, num_test)):
    for i in range(many):
      number += 1
      name, rule = list(RULES.items())[i % len(RULES)]
      colours = rng.permutation(np.arange(1, 10, dtype=np.uint8))[:_COLOURS]
      inputs = [_input(rng, colours, side, seen) for _ in range(NUM_TRAIN + NUM_TEST)]
      pairs = [{"input": grid.tolist(), "output": rule(grid, colours).tolist()} for grid in inputs]
      tasks[f"{name}-{seed}-{number}"] = {"train": pairs[:NUM_TRAIN], "test": pairs[NUM_TRAIN:]}
  return made


def _input(rng: np.random.Generator, colours: np.ndarray, side: int, seen: set[bytes]) -> np.ndarray:
  """A new input, (side - 1, side - 1) uint8: a smaller grid of the task's colours on black, unlike any seen before."""
  while True:
    top, left = rng.integers(0, side - 2, 2)
    bottom, right = rng.integers((top + 2, left + 2), side)
    grid = np.zeros((side - 1, side - 1), np.uint8)
    grid[top:bottom, left:right] = np.append(colours, np.uint8(0))[
        rng.integers(0, _COLOURS + 1, (bottom - top, right - left))]
    if grid.any() and grid.tobytes() not in seen:
      seen.add(grid.tobytes())
      return grid
