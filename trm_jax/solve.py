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
from trm_jax import weights
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.runtime import compilation_cache
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import hosts
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.tasks import Task
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


def _chosen(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """What the flags name.

  Args:
    task: what the puzzles are of.

  Returns:
    inputs (N, S), puzzle identifiers (N,), and labels (N, S), None where they are not known.
  """
  if _PUZZLE.value:
    inputs = np.stack([_parse(task, text) for text in _PUZZLE.value])
    return inputs, np.zeros(len(inputs), np.int32), None  # no identifier of their own
  puzzles = task.read_file(_CSV.value) if _CSV.value is not None else splits_lib.load_test(task)
  first = slice(_NUM.value)
  return puzzles.inputs[first], puzzles.puzzle_identifiers[first], puzzles.labels[first]


def _parse(task: Task, text: str) -> np.ndarray:
  try:
    return task.parse(text)
  except UserError as e:
    raise UserError(f"--puzzle={e}") from e


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


def _show(task: Task, out: workdir_lib.Workdir, number: int, *puzzle: np.ndarray | None) -> None:
  """Prints and draws a puzzle.

  Args:
    task: what the puzzle is of.
    out: folder for the picture.
    number: of the puzzle, from 1.
    *puzzle: its inputs, answers_by_step, labels and q_halt, as boards.solving_text takes them.
  """
  inputs, answers, labels, _ = puzzle
  name = f"{number}.png"
  print(boards.solving_text(task, *puzzle))
  boards.solving_picture(out.local / name, task, *puzzle)
  solved = boards.solves(task, inputs, answers[-1], labels)
  words = "" if solved is None else "solved; " if solved else "NOT solved; "
  print(f"{words}picture: {out.path / name}\n", flush=True)


def _solve(model: TRM, task: Task, inputs: np.ndarray, identifiers: np.ndarray, labels: np.ndarray | None,
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
      solved = boards.solves(task, inputs[rows], made.answers[-1], None if labels is None else labels[rows])
      known = solved is not None
      if not known:
        solved = np.zeros(len(made.answers[-1]), bool)
      for i, (question, answer, good) in enumerate(zip(inputs[rows], made.answers[-1], solved)):
        f.write(f"{task.text(question)},{task.text(answer)},{int(good) if known else ''}\n".encode())
        if rows.start + i < num_shown:
          _show(task, out, rows.start + i + 1, question, made.answers[:, i],
                None if labels is None else labels[rows.start + i], made.q_halt[:, i])
      num_solved += int(solved.sum())
      progress(rows.stop, num)
  what = f"{num_solved:,} of {num:,} solved" if known else f"{num:,} answers"
  progress.done(f"{what}, {task.checked}" if task.checked else what)
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
  loaded = weights.load(_CHECKPOINT.value)
  task = loaded.task
  inputs, identifiers, labels = _chosen(task)
  target = loaded.folder / "solved" if _OUT.value is None else _OUT.value
  with workdir_lib.Workdir(target, main=True, flag="--out") as out:
    _solve(loaded.model, task, inputs, identifiers, labels, out)


if __name__ == "__main__":
  cli.run(main)
