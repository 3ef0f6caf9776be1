# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles in, answers and pictures out.

    python -m trm_jax.solve --checkpoint=runs/…                     # test puzzles of its run
    python -m trm_jax.solve --checkpoint=runs/… --puzzle=1...3..…   # your own: row by row
    python -m trm_jax.solve --checkpoint=runs/… --csv=puzzles.csv --num=10000   # source,question,answer,rating

Every answer is written to answers.csv, whose columns are the puzzle, the answer and whether it solves the puzzle. The
first --show puzzles are printed and drawn as well.
"""

import codecs
import csv
from typing import TYPE_CHECKING

from absl import flags
import numpy as np

from trm_jax import boards
from trm_jax import cli
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import hosts
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.tasks import Task

if TYPE_CHECKING:
  from trm_jax.model.trm import TRM

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/.",
                                  allow_override=True)  # trm_jax.main, which a process may import, has it, too
_PUZZLE = flags.DEFINE_multi_string("puzzle", [], "A puzzle, row by row as in a CSV file; in a Sudoku 0 is a blank, "
                                    "too. May be given repeatedly.")
_CSV = flags.DEFINE_string("csv", None, "A CSV file of puzzles, with the columns question,answer or "
                           "source,question,answer,rating.")
_NUM = flags.DEFINE_integer("num", 1, "How many puzzles of the file or of the test set to solve.", lower_bound=1)
_SHOW = flags.DEFINE_integer("show", 10, "How many of the puzzles to print and to draw: a picture takes half a second.",
                             lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Folder for answers and pictures; the default is solved/ in the run's folder.")

# Puzzles whose answers of all steps are kept at a time, which bounds the memory that is needed.
_AT_ONCE = 4096


def _chosen(task: Task) -> tuple[Puzzles, bool]:
  """The puzzles that the flags name, and whether their labels are known."""
  if _PUZZLE.value:
    inputs = np.stack([_parse(task, text) for text in _PUZZLE.value])
    labels = np.full(inputs.shape, puzzles_lib.IGNORE_LABEL, np.int8)
    return puzzles_lib.one_group_each(inputs, labels, vocab_size=task.vocab_size), False
  puzzles = task.read_file(_CSV.value) if _CSV.value is not None else splits_lib.load_test(task)
  return puzzles.take_groups(np.arange(min(_NUM.value, puzzles.num_groups))), True


def _parse(task: Task, text: str) -> np.ndarray:
  try:
    return task.parse(text)
  except UserError as e:
    raise UserError(f"--puzzle={e}") from e


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


def _solve(model: "TRM", task: Task, puzzles: Puzzles, labelled: bool, out: workdir_lib.Workdir) -> None:
  """Solves puzzles, shows the first ones, writes answers.csv and says how many are solved.

  Args:
    model: TRM.
    task: what the puzzles are of.
    puzzles: N.
    labelled: whether their labels are the right answers.
    out: folder for answers and pictures.
  """
  from trm_jax.training import attempts  # pylint: disable=g-import-not-at-top

  num, num_shown, num_done, num_solved = len(puzzles), min(_SHOW.value, len(puzzles)), 0, 0
  file, progress = out.local / "answers.csv", console.Progress("solving")
  with files.replacing(file) as f:
    writer = csv.writer(codecs.getwriter("utf-8")(f), lineterminator="\n")
    writer.writerow(("question", "answer", "solved"))
    at_once = np.split(np.arange(puzzles.num_groups), range(_AT_ONCE, puzzles.num_groups, _AT_ONCE))
    most = max(int(puzzles.examples_of_groups()[groups].sum()) for groups in at_once)
    for groups in at_once:
      some = puzzles.take_groups(groups)
      made = attempts.every_answer(model, task, some.padded(most))  # filled up, so that all share the program
      answers, labels = made.answers[:, : len(some)], some.labels if labelled else None
      solved = boards.solves(task, some.inputs, answers[-1], labels)
      for i, (question, answer) in enumerate(zip(some.inputs, answers[-1])):
        good = "" if solved is None else int(solved[i])
        writer.writerow((task.text(question), task.text(answer), good))
        if num_done + i < num_shown:
          _show(task, out, num_done + i + 1, question, answers[:, i], labels[i] if labelled else None,
                made.q_halt[:, i])
      num_solved += 0 if solved is None else int(solved.sum())
      num_done += len(some)
      progress(num_done, num)
  what = f"{num:,} answers" if solved is None else f"{num_solved:,} of {num:,} solved"
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
  # What needs JAX is imported here, so that --help and a misspelt flag answer at once.
  from trm_jax import weights  # pylint: disable=g-import-not-at-top
  from trm_jax.runtime import compilation_cache  # pylint: disable=g-import-not-at-top

  compilation_cache.enable()
  loaded = weights.load(_CHECKPOINT.value)
  task = loaded.task
  puzzles, labelled = _chosen(task)
  target = loaded.folder / "solved" if _OUT.value is None else _OUT.value
  with workdir_lib.Workdir(target, main=True, flag="--out") as out:
    _solve(loaded.model, task, puzzles, labelled, out)


if __name__ == "__main__":
  cli.run(main)
