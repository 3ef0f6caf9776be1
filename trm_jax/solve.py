# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles in, answers and pictures out.

    python -m trm_jax.solve --checkpoint=runs/…                     # test puzzles of its run
    python -m trm_jax.solve --checkpoint=runs/… --puzzle=1...3..…   # your own: row by row, '.' or 0 for blank
    python -m trm_jax.solve --checkpoint=runs/… --csv=puzzles.csv --num=10000   # Sudoku-Extreme's format

Every answer is written to answers.csv, whose columns are the puzzle, the answer and whether it solves the puzzle. The
first --show puzzles are printed and drawn as well.
"""

from collections.abc import Iterator

from absl import flags
import numpy as np

from trm_jax import boards
from trm_jax import cli
from trm_jax.config import DataConfig
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.runtime import buckets
from trm_jax.runtime import compilation_cache
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import hosts
from trm_jax.runtime import paths
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku.task import BLANK, SudokuTask
from trm_jax.training import checkpoint
from trm_jax.training import evaluator as evaluator_lib

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/.",
                                  allow_override=True)  # trm_jax.main, which a process may import, has it, too
_PUZZLE = flags.DEFINE_multi_string("puzzle", [], "A puzzle, row by row; '.' or 0 for blank. May be given repeatedly.")
_CSV = flags.DEFINE_string("csv", None, "A file of puzzles in Sudoku-Extreme's format.")
_NUM = flags.DEFINE_integer("num", 1, "How many puzzles of the file or of the test set to solve.", lower_bound=1)
_SHOW = flags.DEFINE_integer("show", 10, "How many of the puzzles to print and to draw: a picture takes half a second.",
                             lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Folder for answers and pictures; the default is solved/ in the run's folder.")

# Puzzles that are solved together, which bounds the memory that is needed.
_BATCH = 256


def _read_puzzle(text: str, task: SudokuTask) -> np.ndarray:
  """(S,) tokens from the characters of a puzzle."""
  if len(text) != task.seq_len:
    raise UserError(f"--puzzle={text}: {len(text)} characters, but {task.name} has {task.seq_len} cells")
  digits = "123456789"[: task.side]
  foreign = sorted(set(text) - set(digits + ".0"))
  if foreign:
    raise UserError(f"--puzzle={text}: {''.join(foreign)!r} is neither a digit 1-{task.side} nor '.' or 0 for blank")
  tokens = np.array([BLANK + int(c.replace(".", "0")) for c in text], np.uint8)
  if repeated := task.repeated_clue(tokens):
    raise UserError(f"--puzzle={text}: has no solution, because it has more than one {repeated}")
  return tokens


def _read_csv(path: str, task: SudokuTask) -> Puzzles:
  """The puzzles of --csv."""
  file = paths.user_path(path, "--csv")
  if buckets.is_remote(file):
    file = buckets.local_copy(file.parent, [file.name]) / file.name
  return csv_files.read_csv(file, box=task.box)


def _chosen(task: SudokuTask, data: DataConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """What the flags name.

  Args:
    task: what the puzzles are of.
    data: of the checkpoint's run.

  Returns:
    inputs (N, S), puzzle identifiers (N,), and labels (N, S), None where they are not known.
  """
  if _PUZZLE.value:
    inputs = np.stack([_read_puzzle(text, task) for text in _PUZZLE.value])
    return inputs, np.zeros(len(inputs), np.int32), None  # no identifier of their own
  puzzles = _read_csv(_CSV.value, task) if _CSV.value is not None else splits_lib.load_test(data)[1]
  first = slice(_NUM.value)
  return puzzles.inputs[first], puzzles.puzzle_identifiers[first], puzzles.labels[first]


def _attempts(model: TRM, inputs: np.ndarray, identifiers: np.ndarray) -> Iterator[tuple[slice, evaluator_lib.Attempt]]:
  """Solves puzzles batch by batch, with one compiled program.

  Args:
    model: TRM.
    inputs: (N, S) tokens.
    identifiers: (N,) puzzle identifiers.

  Yields:
    Which puzzles a batch holds, and what the model made of them.
  """
  num, size = len(inputs), min(_BATCH, len(inputs))
  for start in range(0, num, size):
    # The last batch repeats its last puzzle, so that it has the shape of the others.
    rows = np.minimum(np.arange(start, start + size), num - 1)
    made = evaluator_lib.attempt(model, inputs[rows], identifiers[rows])
    end = min(start + size, num)
    yield slice(start, end), evaluator_lib.Attempt(made.answers[:, : end - start], made.q_halt[:, : end - start])


def _show(task: SudokuTask, out: workdir_lib.Workdir, number: int, *puzzle: np.ndarray | None) -> None:
  """Prints and draws a puzzle.

  Args:
    task: what the puzzle is of.
    out: folder for the picture.
    number: of the puzzle, from 1.
    *puzzle: its inputs, answers_by_step, labels and q_halt, as boards.solving_text takes them.
  """
  inputs, answers, *_ = puzzle
  name = f"{number}.png"
  print(boards.solving_text(task, *puzzle))
  boards.solving_picture(out.local / name, task, *puzzle)
  solved = task.is_solution(inputs, answers[-1])
  print(f"{'solved' if solved else 'NOT solved'}; picture: {out.path / name}\n", flush=True)


def _solve(model: TRM, task: SudokuTask, inputs: np.ndarray, identifiers: np.ndarray, labels: np.ndarray | None,
           out: workdir_lib.Workdir) -> None:
  """Solves puzzles, shows the first ones, writes answers.csv and says how many are solved.

  Args:
    model: TRM.
    task: what the puzzles are of.
    inputs: (N, S) tokens.
    identifiers: (N,) puzzle identifiers.
    labels: (N, S) solutions; None where they are not known.
    out: folder for answers and pictures.
  """
  num, num_shown, num_solved = len(inputs), min(_SHOW.value, len(inputs)), 0
  file, progress = out.local / "answers.csv", console.Progress("solving")
  with files.replacing(file) as f:
    f.write(b"question,answer,solved\n")
    for rows, made in _attempts(model, inputs, identifiers):
      solved = task.is_solution(inputs[rows], made.answers[-1])
      for i, (question, answer, good) in enumerate(zip(inputs[rows], made.answers[-1], solved)):
        texts = ("".join(map(task.cell_text, tokens)) for tokens in (question, answer))
        f.write(f"{','.join(texts)},{int(good)}\n".encode())
        if rows.start + i < num_shown:
          _show(task, out, rows.start + i + 1, question, made.answers[:, i],
                None if labels is None else labels[rows.start + i], made.q_halt[:, i])
      num_solved += int(solved.sum())
      progress(rows.stop, num)
  progress.done(f"{num_solved:,} of {num:,} solved, every row, column and box checked")
  shown = "" if num_shown == num else f"; of them the first {num_shown:,} are shown and drawn (--show={_SHOW.value})"
  print(f"all answers: {out.path / file.name}{shown}")


def main(argv: list[str]) -> None:
  """Reads the flags and solves."""
  cli.no_arguments(argv)
  if _CHECKPOINT.value is None:
    raise UserError("--checkpoint is missing: give the folder of a run, e.g. --checkpoint=runs/quickstart")
  if _PUZZLE.value:
    cli.refuse("--puzzle says which puzzles to solve", _CSV, _NUM)
  hosts.stay_alone()
  compilation_cache.enable()
  loaded = checkpoint.load_model(_CHECKPOINT.value)
  task = SudokuTask(loaded.config.data.box)
  inputs, identifiers, labels = _chosen(task, loaded.config.data)
  directory, _ = checkpoint.find(_CHECKPOINT.value)
  target = directory.parent / "solved" if _OUT.value is None else _OUT.value
  with workdir_lib.Workdir(target, main=True, flag="--out") as out:
    _solve(loaded.model, task, inputs, identifiers, labels, out)


if __name__ == "__main__":
  cli.run(main)
