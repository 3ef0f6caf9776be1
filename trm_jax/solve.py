# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles in, answers and pictures out.

    python -m trm_jax.solve --checkpoint=runs/…                     # test puzzles of its run
    python -m trm_jax.solve --checkpoint=runs/… --puzzle=1...3..…   # your own: row by row, '.' or 0 for blank
    python -m trm_jax.solve --checkpoint=runs/… --csv=puzzles.csv   # Sudoku-Extreme's format
"""

from absl import flags
import numpy as np

from trm_jax import checkpoint
from trm_jax import cli
from trm_jax import compilation_cache
from trm_jax import draw
from trm_jax import evaluate
from trm_jax import storage
from trm_jax.data import load
from trm_jax.data.puzzles import Puzzles
from trm_jax.data.sudoku import csv_files
from trm_jax.data.sudoku.task import SudokuTask
from trm_jax.errors import UserError

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/.")
_PUZZLE = flags.DEFINE_multi_string("puzzle", [], "A puzzle, row by row; '.' or 0 for blank. May be given repeatedly.")
_CSV = flags.DEFINE_string("csv", None, "A file of puzzles in Sudoku-Extreme's format.")
_NUM = flags.DEFINE_integer("num", 1, "How many puzzles of the file or of the test set to solve.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "Folder for the pictures; the default is solved/ in the run's folder.")


def _read_puzzle(text: str, task: SudokuTask) -> np.ndarray:
  """(S,) tokens from the characters of a puzzle."""
  if len(text) != task.seq_len:
    raise UserError(f"--puzzle={text}: {len(text)} characters, but {task.name} has {task.seq_len} cells")
  digits = "123456789"[: task.side]
  foreign = sorted(set(text) - set(digits + ".0"))
  if foreign:
    raise UserError(f"--puzzle={text}: {''.join(foreign)!r} is neither a digit 1-{task.side} nor '.' or 0 for blank")
  return np.array([1 + int(c.replace(".", "0")) for c in text], np.uint8)


def _read_csv(path: str, task: SudokuTask) -> Puzzles:
  """The puzzles of --csv."""
  file = storage.user_path(path, "--csv")
  if storage.is_remote(file):
    file = storage.local_copy(file.parent, [file.name]) / file.name
  return csv_files.read_csv(file, box=task.box)


def main(argv: list[str]) -> None:
  """Reads the flags, solves, prints and draws."""
  cli.no_arguments(argv)
  if _CHECKPOINT.value is None:
    raise UserError("--checkpoint is missing: give the folder of a run, e.g. --checkpoint=runs/quickstart")
  if _PUZZLE.value and _CSV.value is not None:
    raise UserError("--puzzle and --csv: give one of them")
  compilation_cache.enable()
  loaded = checkpoint.load_model(_CHECKPOINT.value)
  task = SudokuTask(loaded.config.data.box)
  labels = None
  if _PUZZLE.value:
    inputs = np.stack([_read_puzzle(text, task) for text in _PUZZLE.value])
  else:
    puzzles = _read_csv(_CSV.value, task) if _CSV.value is not None else load.load_test(loaded.config.data)[1]
    inputs, labels = puzzles.inputs[: _NUM.value], puzzles.labels[: _NUM.value]
  solved = evaluate.attempt(loaded.model, inputs, np.zeros(len(inputs)))

  directory, _ = checkpoint.find(_CHECKPOINT.value)
  target = directory.parent / "solved" if _OUT.value is None else _OUT.value
  with storage.Workdir(target, main=True, flag="--out") as out:
    for i, puzzle in enumerate(inputs):
      label = None if labels is None else labels[i]
      print(draw.solving_text(task, puzzle, solved.answers[:, i], label, solved.q_halt[:, i]))
      right = task.is_solution(puzzle, solved.answers[-1, i])
      name = f"{i + 1}.png"
      draw.solving_picture(out.local / name, task, puzzle, solved.answers[:, i], label, solved.q_halt[:, i])
      print(f"{'solved' if right else 'NOT solved'}; picture: {out.path / name}\n", flush=True)
  good = int(task.is_solution(inputs, solved.answers[-1]).sum())
  print(f"{good} of {len(inputs)} solved, every row, column and box checked")


if __name__ == "__main__":
  cli.run(main)
