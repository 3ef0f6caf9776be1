# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Mazes as a task."""

import os
from typing import Any

import numpy as np

from trm_jax.data import csv_files
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.tasks import sourced
from trm_jax.tasks import task
from trm_jax.tasks.maze import generate
from trm_jax.tasks.maze import hard
from trm_jax.tasks.maze import rules
from trm_jax.tasks.maze.config import MazeData

# Lower ends, in moves, of the buckets of shortest paths that are reported separately. Maze-Hard's begin at 111.
PATH_BUCKETS = (1, 10, 20, 30, 50, 80, 111, 121, 131, 151)


class MazeTask(sourced.SourcedTask):
  """Mazes of rows x columns cells, in which a shortest path from start to goal must be marked.

  Args:
    data: its knobs.
  """

  # The label has one of perhaps several shortest paths, so that a right answer may differ from it.
  headline = "shortest_paths"
  scores = "valid_paths", "shortest_paths"
  checked = "each a shortest path from S to G through free cells"
  vocab_size = rules.VOCAB_SIZE
  size_fields = "rows", "columns"
  editor = task.Editor((rules.FREE, rules.WALL, rules.START, rules.GOAL), once=(rules.START, rules.GOAL))
  fills = {rules.WALL: ("#33363b", "wall"), rules.PATH: ("#7fc8a9", "path")}

  def __init__(self, data: MazeData):
    super().__init__(data, hard.MAZE_HARD)
    self.shape = data.rows, data.columns
    if data.rows != data.columns and data.num_aug > 3:
      raise UserError(f"config.data.num_aug = {data.num_aug}: mazes of {data.rows} x {data.columns} cells have only "
                      "3 turned or reflected versions of the same shape; set it to 3 or less")
    self.name = f"maze-{data.rows}x{data.columns}"
    self.seq_len = data.rows * data.columns
    self.max_versions = 7 if data.rows == data.columns else 3

  # Puzzles.

  @property
  def size_knobs(self) -> str:
    return f"config.data.rows x columns = {self.shape[0]} x {self.shape[1]}"

  def read_csv(self, path: os.PathLike | str) -> Puzzles:
    return csv_files.read_csv(path, shape=self.shape, alphabet=rules.CHARACTERS, fault=self.first_fault)

  def first_fault(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[int, str, str] | None:
    return rules.first_fault(inputs, labels, self.shape)

  def generate(self, progress: task.Progress | None) -> dict[str, Puzzles]:
    data = self.data
    return generate.generate_splits(
        rows=data.rows, columns=data.columns, num_train=data.num_train, num_validation=data.num_validation,
        num_test=data.num_test, min_path=data.min_path, loops=data.loops, seed=data.seed, progress=progress)

  def tokens(self, text: str) -> np.ndarray:
    """Reads a maze row by row, with or without line ends."""
    cells = self.characters(text)
    if foreign := sorted(set(cells) - set(rules.CHARACTERS)):
      raise UserError(f"{task.shortened(text)}: {''.join(foreign)!r} "
                      f"is none of the characters {rules.CHARACTERS[:rules.GOAL]!r}")
    return np.array([rules.CHARACTERS.index(c) + 1 for c in cells], np.uint8)

  def text(self, tokens: np.ndarray) -> str:
    return "".join(map(self.cell_text, tokens))

  def fault(self, inputs: np.ndarray) -> str:
    return rules.fault_of_maze(inputs, self.shape) or ""

  # Rows of a batch.

  def symmetry(self, key: Any) -> Any:
    import jax  # pylint: disable=g-import-not-at-top

    from trm_jax.tasks.maze import augment  # pylint: disable=g-import-not-at-top

    return augment.symmetry(jax.random.randint(key, (), 0, 1 + self.max_versions), self.shape)

  def version_symmetry(self, version: Any, key: Any) -> Any:
    """Symmetry v makes version v, so that no two versions are equal; a random symmetry makes a fresh one."""
    import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

    from trm_jax.tasks.maze import augment  # pylint: disable=g-import-not-at-top

    numbered, drawn = augment.symmetry(version, self.shape), self.symmetry(key)
    return numbered.replace(cells=jnp.where(version < 0, drawn.cells, numbered.cells))

  # Answers.

  def solves(self, inputs: task.Array, answers: task.Array) -> task.Array:
    return rules.shortest_paths(inputs, answers, self.shape)

  def score(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """Reports the share of valid paths, and that of shortest paths by their length, which is that of the labels."""
    shortest = evaluation.by_rules[self.headline][-1]
    moves = rules.path_moves(puzzles.labels)
    bucket = np.searchsorted(PATH_BUCKETS, moves, side="right") - 1
    names = [*(f"{low}-{high - 1}" for low, high in zip(PATH_BUCKETS, PATH_BUCKETS[1:])), f"{PATH_BUCKETS[-1]}+"]
    return {
        "valid_paths": float(rules.valid_paths(puzzles.inputs, evaluation.answers, self.shape).mean()),
        "by_moves": {name: {"num_puzzles": int((bucket == i).sum()),
                            self.headline: float(shortest[bucket == i].mean())}
                     for i, name in enumerate(names) if (bucket == i).any()},
    }

  # Drawing.

  def board(self, tokens: np.ndarray) -> task.Board:
    del tokens  # all boards look alike
    return task.Board(np.arange(self.seq_len).reshape(self.shape), self.shape)

  def cell_text(self, token: int) -> str:
    return f"?{rules.CHARACTERS}"[token]

  def is_given(self, inputs: np.ndarray) -> np.ndarray:
    """Whether each cell is a wall, the start or the goal."""
    return np.asarray(inputs) != rules.FREE
