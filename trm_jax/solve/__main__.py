# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Solves puzzles with a trained model.

    python -m trm_jax.solve 53..7....6..195....98....6.8…             # a Sudoku, by the weights that come with trm_jax
    python -m trm_jax.solve --checkpoint=runs/… 53..7....6..195....98….          # by your own: row by row
    python -m trm_jax.solve --checkpoint=runs/… puzzles.txt                      # one a line, or row by row
    python -m trm_jax.solve --checkpoint=runs/… puzzles.csv --out=answers.csv    # a column "question", maybe "answer"
    some_program | python -m trm_jax.solve --checkpoint=runs/… --json -          # standard input
    python -m trm_jax.solve --checkpoint=runs/… puzzles.txt --rollouts=16 --noise=0.3 --choose=proof  # thinks longer
    python -m trm_jax.solve --checkpoint=runs/… --num=3 --html=three.html        # test puzzles of its run, to watch
    python -m trm_jax.solve --checkpoint=runs/… --serve                          # a page to type puzzles on

The first --show answers are printed, each with whether the rules prove it right, how sure the model is that all its
cells are right, and the number of supervision steps. All answers go to --out, which appears when it is complete, or,
with --json, to standard output.

--serve, or --web=FOLDER for a server elsewhere, solves nothing here: its page does so in the browser, and has the named
puzzles, or --num test puzzles, as examples.

Exit status: 0 if every puzzle was tried, solved or not; 2 for a mistake in the command; 3 if some rows are no puzzles:
standard error names them, and all others were tried.
"""

from collections.abc import Callable, Iterator
import codecs
import collections
import contextlib
import csv
import functools
import itertools
import json
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any

from absl import flags
import numpy as np

from trm_jax import boards
from trm_jax import cli
from trm_jax import thinking
from trm_jax.data import folders
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import hosts
from trm_jax.runtime import signals
from trm_jax.solve import page
from trm_jax.solve import sources
from trm_jax.solve.solver import BUILTIN, EXAMPLES, Answer, Solver
from trm_jax.solve.sources import Row
from trm_jax.tasks import Task

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's folder, or one of the folders in its checkpoints/; "
                                  f"default: {BUILTIN}, weights for ordinary Sudokus that come with trm_jax.",
                                  allow_override=True)  # trm_jax.main has it, too
_DATA = flags.DEFINE_string("data", None, "Where the run's puzzles are now, if they are not where it had them, or "
                            "others, whose test puzzles are solved (see config.data.source). A model of ARC needs the "
                            "tasks that it was trained on.", allow_override=True)  # trm_jax.main has it, too
_NUM = flags.DEFINE_integer("num", 1, "How many test puzzles of the run, or of --data, to solve, where no puzzle is "
                            "named.", lower_bound=1)
_SHOW = flags.DEFINE_integer("show", 10, "How many of the first answers to print, and to draw where a picture or page "
                             "is asked for.", lower_bound=0)
_TRACE = flags.DEFINE_bool("trace", False, "Print the answer after each supervision step.")
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a puzzle, on one line, in place of boards.")
_OUT = flags.DEFINE_string("out", None, "A CSV file for all answers.")
_IMAGE = flags.DEFINE_string("image", None, "A picture of the steps, x.png, or an animation, x.gif; of several puzzles "
                             "x_1.png, x_2.png, …")
_HTML = flags.DEFINE_string("html", None, "A page to scrub through the steps in a browser, x.html; needs no network.")
_SERVE = flags.DEFINE_bool("serve", False, "Serve a page, to this machine only, on which you type a puzzle and the "
                           "model solves it in the browser; Ctrl-C ends it.")
_PORT = flags.DEFINE_integer("port", 8000, "For --serve; 0: any that is free.", 0, 65535)
_WEB = flags.DEFINE_string("web", None, "Write that page to this folder, for any static server, such as GitHub Pages.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Maximum number of attempts per batch.", lower_bound=1)
_DIAGNOSE = flags.DEFINE_bool("diagnose", True, "Say which Sudokus have no or several solutions; that takes a few "
                              "milliseconds for an ordinary one, and a third of a second at the most.")

flags.adopt_module_key_flags(thinking)

_COLUMNS = ("question", "answer", "proven", "right", "confidence", "steps", "votes", "attempts", "note")


class _BadRowsError(UserError):
  """Some rows were no puzzles."""

  status = 3


def _file(flag: flags.FlagHolder, *endings: str) -> pathlib.Path | None:
  """The local file that a flag names. Raises UserError if it cannot be written or has another ending."""
  if flag.value is None:
    return None
  path = pathlib.Path(flag.value).expanduser()
  if path.suffix.lower() not in endings or "://" in flag.value:
    raise UserError(f"--{flag.name}={flag.value}: must be a file of this machine that ends in {' or '.join(endings)}")
  files.make_folder(path.parent, f"--{flag.name}")
  return path


def _web_folder() -> pathlib.Path | None:
  """The folder that --web names. Raises UserError if the page cannot be put there."""
  if _WEB.value is None:
    return None
  folder = pathlib.Path(_WEB.value).expanduser()
  if not _WEB.value or "://" in _WEB.value:
    raise UserError(f"--web={_WEB.value}: must be a folder of this machine")
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f"--web={_WEB.value}: exists already and is not overwritten; name another folder")
  files.make_folder(folder.resolve().parent, "--web")
  return folder


class _Report:
  """Shows answers to a person, one after another, apart from the CSV file.

  Attributes:
    num: number of answers so far.
    told: number of those that the rules or a given answer can judge.
    solved: number of those that are right.
    bad: number of rows that were no puzzles.
  """

  def __init__(self, task: Task, image: pathlib.Path | None, html: pathlib.Path | None, several: bool):
    self._task, self._image, self._html, self._several = task, image, html, several
    self._pages = []
    self.num = self.told = self.solved = self.bad = 0

  def refused(self, row: Row) -> None:
    """Reports a row that is no puzzle."""
    self.bad += 1
    print(f"error: {row.problem}", file=sys.stderr, flush=True)
    if _JSON.value:
      print(json.dumps({"place": row.place, "error": row.problem}))

  def answered(self, row: Row, answer: Answer) -> dict[str, Any]:
    """Shows an answer. Returns its values in the CSV file, by column."""
    self.num += 1
    right = None if row.labels is None else bool(puzzles_lib.are_right(answer.cells, row.labels))
    solved = right if answer.proven is None else answer.proven
    self.told += solved is not None
    self.solved += bool(solved)
    note = self._task.diagnose(answer.puzzle) if _DIAGNOSE.value else ""
    said = dict(zip(_COLUMNS, (self._task.text(answer.puzzle), self._task.text(answer.cells), answer.proven, right,
                               round(answer.confidence, 6), answer.steps, answer.votes, answer.attempts, note)))
    if _JSON.value:
      steps = {"trace": [{"answer": self._task.text(step.cells), "confidence": round(step.confidence, 6)}
                         for step in answer.trace]}
      print(json.dumps({"place": row.place} | said | self._task.submitted(answer.candidates)
                       | (steps if _TRACE.value else {})))
    if self.num <= _SHOW.value:
      self._show(row, answer, right, note)
    return said

  def _show(self, row: Row, answer: Answer, right: bool | None, note: str) -> None:
    title = row.place or f"puzzle {self.num}"
    verdict = ("proven right" if answer.proven else "NOT right, by the rules" if answer.proven is False else
               "right" if right else "NOT right" if right is False else "nothing tells whether it is right")

    after = self._task.shown_answers(answer.candidates, row.labels) if answer.attempts > 1 else []

    def drawing(steps):
      return (self._task, answer.puzzle, np.stack([step.cells for step in steps]), row.labels,
              np.array([step.q_halt for step in steps]))

    if not _JSON.value:
      steps = answer.trace if _TRACE.value else (answer,)
      print(f"{title}{note and f': {note}'}\n")
      print(boards.solving_text(*drawing(steps), first_step=answer.steps + 1 - len(steps)))
      votes = f"; {answer.votes} of {answer.attempts} attempts came to it" if answer.attempts > 1 else ""
      print(f"\n{verdict}; the model is {answer.confidence:.1%} sure after {console.plural(answer.steps, 'step')}"
            f"{votes}\n", flush=True)
      for shown in after[1:]:  # the first is the answer above
        verdict = shown.verdict and f" ({shown.verdict})"
        print(f"{shown.title}{verdict}\n{boards.board_text(self._task, shown.tokens)}\n", flush=True)
    if self._image:
      path = self._image.with_stem(f"{self._image.stem}_{self.num}") if self._several else self._image
      if path.suffix.lower() == ".gif":
        boards.solving_animation(path, *drawing(answer.trace))
      else:
        boards.solving_picture(path, *drawing(answer.trace), row.before, after)
    if self._html:
      self._pages.append(page.puzzle(self._task, title, answer, row.labels, verdict, note, row.before,
                                     after))

  def finished(self) -> None:
    """Writes the page, after the last answer."""
    if self._html and self._pages:
      page.write(self._html, self._task, self._pages)


def _solved(solver: Solver, rows: Iterator[Row], puzzles: Puzzles | None, trace: bool,
            refused: Callable[[Row], None]) -> Iterator[tuple[Row, Answer]]:
  """Yields rows with their answers, in their order.

  Args:
    solver: solves them.
    rows: read as they are needed.
    puzzles: the puzzles of these rows, to be solved in their place; None: the inputs of the rows are solved.
    trace: see Solver.
    refused: called with rows that are no puzzles, as soon as they are read.
  """
  if puzzles is not None:
    yield from zip(rows, solver.stream(puzzles, trace=trace))
    return
  waiting = collections.deque()

  def inputs():
    for row in rows:
      if row.inputs is None:
        refused(row)
        continue
      waiting.append(row)
      yield row.inputs

  for answer in solver.stream(inputs(), trace=trace):
    yield waiting.popleft(), answer


def _named(task: Task, arguments: list[str]) -> tuple[list[tuple[Iterator[Row], Puzzles | None]], bool]:
  """What the command line names: rows, and what they are to be solved as (see _solved); whether it is one puzzle."""
  found = sources.Arguments(task, arguments)
  in_json = [(f"{path}, test input", task.read_json(path)) for path in found.json]
  return [(found.rows(), None),
          *((sources.of_puzzles(task, puzzles, what), puzzles) for what, puzzles in in_json)], found.one


def _to_the_browser(solver: Solver, arguments: list[str], folder: pathlib.Path | None) -> None:
  """Writes the page that solves puzzles, into a temporary folder if none is given, and serves it with --serve."""
  from trm_jax.solve import web  # pylint: disable=g-import-not-at-top

  task = solver.task
  rows = (itertools.chain.from_iterable(part for part, _ in _named(task, arguments)[0]) if arguments else
          sources.of_puzzles(task, _test_puzzles(solver), "test puzzle"))
  examples = list(itertools.islice(rows, _SHOW.value))
  if bad := next((row for row in examples if row.inputs is None), None):
    raise UserError(bad.problem)
  with contextlib.ExitStack() as stack:
    where = folder
    if where is None:
      where = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
      signals.tidy_up.append(functools.partial(shutil.rmtree, where, ignore_errors=True))
    web.write(where, solver.model, task, [row.inputs for row in examples], "--web" if folder else "--serve")
    if folder:
      total = sum(path.stat().st_size for path in folder.rglob("*"))
      print(f"{folder}: {console.size(total)}, for any server of files, e.g. python -m http.server -d {folder}")
    if _SERVE.value:
      web.serve(where, _PORT.value, lambda address: print(f"open {address} in a browser; Ctrl-C ends this", flush=True))


def _test_puzzles(solver: Solver) -> Puzzles:
  task = solver.task
  progress = console.Progress(f"{task.data.source} puzzles", sys.stderr)
  with (folders.of_a_run(_CHECKPOINT.value, task.own_splits, _DATA.value, thinking.arguments().get("data_changes")),
        folders.of_a_model(task.size_fields, solver.model.config.one_size)):
    puzzles = splits_lib.load_test(task, progress)
  if task.own_splits:  # they were made, which may have taken minutes
    progress.done(f"{len(puzzles):,} for the test")
  return puzzles.take_groups(np.arange(min(_NUM.value, puzzles.num_groups)))


def main(argv: list[str]) -> None:
  """Reads the flags and solves."""
  if argv[1:]:
    cli.refuse("the arguments say which puzzles to solve", _NUM)
  in_browser = _SERVE.value or _WEB.value is not None
  # Test puzzles of weights that come along would have to be made first, beside all those they were trained on.
  has_puzzles = _DATA.value is not None or _CHECKPOINT.value not in (None, BUILTIN)
  if not has_puzzles:
    cli.refuse(f"only --checkpoint of a run has test puzzles, and {BUILTIN} comes without", _NUM)
  if not argv[1:] and not has_puzzles and not in_browser:
    raise UserError("nothing to solve: give a Sudoku, row by row with '.' for a blank, or a file of some; or, with "
                    "--checkpoint, the folder of a run, whose test puzzles are solved then")
  if in_browser:
    cli.refuse("the page solves puzzles in the browser, and nothing is solved here", _TRACE, _JSON, _OUT, _IMAGE, _HTML,
               _BATCH_SIZE, _DIAGNOSE, *thinking.THINKING)
  if not _SERVE.value:
    cli.refuse("only --serve reads it", _PORT)
  if not _SHOW.value:
    cli.refuse("draws nothing with --show=0", _IMAGE, _HTML, _SERVE, _WEB)
  folder, out, image, html = _web_folder(), _file(_OUT, ".csv"), _file(_IMAGE, ".png", ".gif"), _file(_HTML, ".html")
  if out and out.exists() and any(os.path.exists(argument) and out.samefile(argument) for argument in argv[1:]):
    raise UserError(f"--out={out}: is one of the files to be solved, and would be lost; name another file")
  hosts.stay_alone()
  # What needs JAX is imported here, so that --help and a misspelt flag answer at once.
  from trm_jax.runtime import compilation_cache  # pylint: disable=g-import-not-at-top

  compilation_cache.enable()
  if _CHECKPOINT.value is None:
    print(f"no --checkpoint: {BUILTIN}, weights for ordinary Sudokus that come with trm_jax", file=sys.stderr)
  path = BUILTIN if _CHECKPOINT.value is None else _CHECKPOINT.value
  solver = Solver.load(path, data=_DATA.value, batch_size=_BATCH_SIZE.value, **thinking.arguments())
  task = solver.task
  if argv[1:] and task.row_names() is None:
    cli.refuse("the arguments say which puzzles to solve", _DATA)
  if in_browser:
    _to_the_browser(solver, argv[1:] or ([] if has_puzzles else [os.fspath(EXAMPLES)]), folder)
    return
  trace = bool(_TRACE.value or image or html)
  if argv[1:]:
    parts, one = _named(task, argv[1:])
  else:
    puzzles = _test_puzzles(solver)
    parts, one = [(sources.of_puzzles(task, puzzles, "test puzzle"), puzzles)], len(puzzles) == 1
  report = _Report(task, image, html, not one)
  progress = console.Progress("solving", file=sys.stderr if _JSON.value else sys.stdout)
  with contextlib.ExitStack() as stack:
    writer = None
    if out:
      writer = csv.writer(codecs.getwriter("utf-8")(stack.enter_context(files.replacing(out))), lineterminator="\n")
      writer.writerow(_COLUMNS)
    for row, answer in itertools.chain.from_iterable(
        _solved(solver, *part, trace, report.refused) for part in parts):
      said = report.answered(row, answer)
      if writer:
        writer.writerow("" if value is None else int(value) if isinstance(value, bool) else value
                        for value in said.values())
      progress(report.num, None)
  report.finished()
  by = f", {task.checked}" if task.checked else ""
  progress.done(f"{report.solved:,} of {report.told:,} solved{by}" if report.told else
                console.plural(report.num, "answer"))
  if report.bad:
    which = "1 row is no puzzle" if report.bad == 1 else f"{report.bad:,} rows are no puzzles"
    others = "1 other was" if report.num == 1 else f"{report.num:,} others were"
    raise _BadRowsError(f"{which}, see above; {others} tried")


if __name__ == "__main__":
  cli.run(main)
