# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku as a task."""

import os
from typing import Any

import numpy as np

from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.tasks import sourced
from trm_jax.tasks import task
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import extreme
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData

# Lower ends of the rating buckets that are reported separately. Sudoku-Extreme's rating counts a solver's backtracks.
RATING_BUCKETS = (0, 1, 10, 30, 100)
# Number of cells to fill in before the search for a second solution is given up: a third of a second. 99 of 100 puzzles
# of Sudoku-Extreme need at most 7,000, and a newspaper's needs a hundred.
MAX_FILLS = 10_000


class SudokuTask(sourced.SourcedTask):
  """Sudoku with boxes of box x box cells.

  Args:
    data: its knobs.
  """

  checked = "every row, column and box checked"

  def __init__(self, data: SudokuData):
    super().__init__(data, extreme.SUDOKU_EXTREME)
    self.box = data.box
    self.side = data.box**2  # cells in a row
    self.shape = self.side, self.side
    self.name = f"sudoku-{self.side}x{self.side}"
    self.seq_len = self.side**2
    self.vocab_size = rules.vocab_size(data.box)
    self.editor = task.Editor(range(rules.BLANK, self.vocab_size), rules.units(data.box).tolist())

  # Puzzles.

  @property
  def size_knobs(self) -> str:
    return f"config.data.box = {self.box}"

  def read_csv(self, path: os.PathLike | str) -> Puzzles:
    return csv_files.read_csv(path, box=self.box)

  def first_fault(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[int, str, str] | None:
    return rules.first_fault(inputs, labels, box=self.box)

  def generate(self, progress: task.Progress | None) -> dict[str, Puzzles]:
    data = self.data
    return generate.generate_splits(
        box=data.box, num_train=data.num_train, num_validation=data.num_validation, num_test=data.num_test,
        num_clues=data.num_clues, max_clues=data.max_clues, seed=data.seed, progress=progress)

  def leak(self, train: Puzzles) -> str:
    # Up to symmetry there are only two grids of 4x4 cells.
    if self.box != 2 or self.data.num_aug == 0 or train.num_puzzles > train.num_groups:
      return ""
    return (f"config.data.num_aug = {self.data.num_aug} turns 4x4 grids to train on into grids of the test; set "
            "config.data.num_aug = 0 to test on grids that are new to the model")

  def tokens(self, text: str) -> np.ndarray:
    """Reads a puzzle row by row, with or without line ends; '.' or 0 is a blank."""
    cells = self.characters(text)
    if foreign := sorted(set(cells) - set("123456789"[: self.side] + ".0")):
      raise UserError(f"{task.shortened(text)}: {''.join(foreign)!r} "
                      f"is neither a digit 1-{self.side} nor '.' or 0 for blank")
    return np.array([rules.BLANK + int(c) for c in cells.replace(".", "0")], np.uint8)

  def text(self, tokens: np.ndarray) -> str:
    return "".join(map(self.cell_text, tokens))

  def fault(self, inputs: np.ndarray) -> str:
    repeated = rules.repeated_clue(inputs, box=self.box)
    return f"has no solution, because it has more than one {repeated}" if repeated else ""

  def diagnose(self, inputs: np.ndarray) -> str:
    number = generate.count_solutions(inputs, box=self.box, max_fills=MAX_FILLS)
    if number is None:
      return "not checked for other solutions, which takes too long"
    return ("has no solution", "", "has several solutions")[number]

  # Rows of a batch.

  def symmetry(self, key: Any) -> Any:
    from trm_jax.tasks.sudoku import augment  # pylint: disable=g-import-not-at-top

    return augment.sample_symmetry(key, self.box)

  # Answers.

  def solves(self, inputs: task.Array, answers: task.Array) -> task.Array:
    return rules.valid_grids(answers, box=self.box) & rules.keep_clues(inputs, answers)

  def score(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """Reports by_rating, if puzzles are rated, and by_clues, if the numbers of clues differ."""
    exact = evaluation.exact[evaluation.counted]

    def table(kinds):
      return {name: {"num_puzzles": int(rows.sum()), "exact_accuracy": float(exact[rows].mean())}
              for name, rows in kinds if rows.any()}

    found = {}
    if puzzles.ratings is not None:
      bucket = np.searchsorted(RATING_BUCKETS, puzzles.ratings[evaluation.counted], side="right") - 1
      ends = [*(f"{low}-{high - 1}" if high > low + 1 else f"{low}"
                for low, high in zip(RATING_BUCKETS, RATING_BUCKETS[1:])), f"{RATING_BUCKETS[-1]}+"]
      found["by_rating"] = table((name, bucket == i) for i, name in enumerate(ends))
    clues = self.is_given(puzzles.inputs[evaluation.counted]).sum(1)
    if len(numbers := np.unique(clues)) > 1:
      found["by_clues"] = table((str(number), clues == number) for number in numbers)
    return found

  # Drawing.

  def board(self, tokens: np.ndarray) -> task.Board:
    del tokens  # all boards look alike
    return task.Board(np.arange(self.seq_len).reshape(self.side, self.side), (self.box, self.box))

  def cell_text(self, token: int) -> str:
    return " .123456789"[token]

  def is_given(self, inputs: np.ndarray) -> np.ndarray:
    """Whether each cell is a clue."""
    return np.asarray(inputs) >= rules.FIRST_DIGIT
