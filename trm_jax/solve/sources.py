# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads the puzzles that a command line names: typed ones, files, standard input. Each is read when it is needed."""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
import itertools
import pathlib
import re
import statistics
import sys
from typing import BinaryIO

import numpy as np

from trm_jax.data import csv_files
from trm_jax.data import folders
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.tasks import Task
from trm_jax.tasks import task as task_lib


_USABLE = "one puzzle a line, or a CSV file with a column 'question'"


@dataclasses.dataclass(frozen=True)
class Row:
  """A puzzle, or a row of a file that should be a puzzle and is not.

  Attributes:
    place: its origin, such as "puzzles.csv, line 7".
    inputs: (S,) uint8 tokens; None for a row that is no puzzle.
    labels: (S,) int8 tokens of the right answer, as far as it is known; None if nothing is known.
    problem: a message that says why the row is no puzzle, and begins with the place; "" for a puzzle.
    before: boards that a picture shows above it (see Task.shown_before).
  """

  place: str
  inputs: np.ndarray | None
  labels: np.ndarray | None = None
  problem: str = ""
  before: Sequence[task_lib.Shown] = ()


def of_puzzles(task: Task, puzzles: Puzzles, what: str) -> Iterator[Row]:
  """Rows of puzzles that have been read already. The place of each is `what`, such as "test puzzle", and its number."""
  for i, (inputs, labels) in enumerate(zip(puzzles.inputs, puzzles.labels)):
    yield Row(f"{what} {i + 1}", inputs, puzzles_lib.known(labels), before=task.shown_before(puzzles, i))


class Arguments:
  """The puzzles, files and "-" that a command line names.

  Attributes:
    json: paths of the files in a task's own format.
    one: whether the only argument is a puzzle.

  Args:
    task: of the puzzles.
    arguments: each is a puzzle; or a text, CSV or JSON file, local or gs://; or "-" for standard input.

  Raises:
    UserError: an argument is neither a puzzle nor a file of puzzles; this is checked before anything is solved.
  """

  def __init__(self, task: Task, arguments: list[str]):
    if arguments.count("-") > 1:
      raise UserError("-: standard input can be read once; name it once")
    self._task = task
    self.json = [argument for argument in arguments if argument.endswith(".json")]
    self._sources = [self._source(argument) for argument in arguments if not argument.endswith(".json")]
    self.one = len(arguments) == 1 and isinstance(self._sources[0], Row) if self._sources else False
    for source in self._sources:
      if isinstance(source, pathlib.Path):
        with self._open(source) as file:
          self._first_line(file, str(source))

  def rows(self) -> Iterator[Row]:
    """Yields all puzzles except those in JSON and, in their places, rows that are no puzzles; a file without any row
    counts as such a row."""
    for source in self._sources:
      if isinstance(source, Row):
        yield source
        continue
      name, row = "standard input" if source == "-" else str(source), None
      with self._open(source) as file:
        for row in self._rows(file, name):
          yield row
      if row is None:
        yield Row(name, None, problem=f"{name}: has no puzzles; expected {_USABLE}")

  def _source(self, argument: str) -> Row | pathlib.Path | str:
    """Recognises a puzzle, a file, or "-"."""
    if argument == "-":
      return argument
    path, there = pathlib.Path(argument), False
    with contextlib.suppress(OSError, ValueError):  # a puzzle may be too long for a file's name
      there = bool(argument) and path.exists()
    if there and not path.is_file():
      raise UserError(f"{argument}: is no file; name files of puzzles, or pipe puzzles to '-'")
    if there:
      return path
    if argument.startswith("gs://"):
      return folders.local_file(argument, "the argument")
    try:
      return Row("", self._task.parse(argument))
    except UserError as e:
      if re.search(r"/|\.[a-z]\w*$", argument):
        reason = str(e).removeprefix(f"{task_lib.shortened(argument)}: ")
        raise UserError(f"{argument}: no such file, nor is it a puzzle ({reason})") from e
      raise

  @contextlib.contextmanager
  def _open(self, source: pathlib.Path | str) -> Iterator[BinaryIO]:
    if source == "-":
      if sys.stdin is None:
        raise UserError("-: standard input is closed")
      yield sys.stdin.buffer
      return
    with files.reading(source, "it was there when the program began") as file:
      yield file

  def _first_line(self, file: BinaryIO, name: str) -> str:
    first = file.readline()
    if not first:
      raise UserError(f"{name}: is empty; expected {_USABLE}")
    if b"\0" in first:
      raise UserError(f"{name}, line 1: is no text in UTF-8, because it has zero bytes; unpack the file if it is "
                      "packed, or save it as text in UTF-8")
    line = _text(first).removeprefix("\ufeff")
    if name.endswith(".csv") and not csv_files.is_csv(line):
      raise UserError(f"{name}, line 1: must name the columns, one of them 'question', and is {line[:100]!r}")
    return line

  def _rows(self, file: BinaryIO, name: str) -> Iterator[Row]:
    first = self._first_line(file, name)
    lines = ((number, _text(line)) for number, line in enumerate(file, 2))
    if csv_files.is_csv(first):
      filled = ((number, line) for number, line in lines if line.strip())
      for number, row in csv_files.open_rows(filled, first, name):
        if isinstance(row, UserError):
          yield Row(f"{name}, line {number}", None, problem=str(row))
        else:
          yield self._row(f"{name}, line {number}", row["question"], row.get("answer", ""))
      return
    for number, text in _records(itertools.chain([(1, first)], lines, [(0, "")]), self._task.seq_len):
      yield self._row(f"{name}, line {number}", text)

  def _row(self, place: str, question: str, answer: str = "") -> Row:
    try:
      inputs = self._task.parse(question)
      labels = self._task.tokens(answer).astype(np.int8) if answer else None
    except UserError as e:
      return Row(place, None, problem=f"{place}: {e}")
    return Row(place, inputs, labels)


def _text(line: bytes) -> str:
  """Decodes a line without its end; each byte that is not UTF-8 becomes one character, so that lengths count cells."""
  return line.decode(errors="replace").rstrip("\r\n")


def _records(lines: Iterable[tuple[int, str]], cells: int) -> Iterator[tuple[int, str]]:
  """Yields the puzzles of a text file with the numbers of their first lines. A puzzle is on one line, or on as many as
  it needs, with or without an empty line after it.

  A row that is too short or too long spoils its own puzzle but none after it: the end of a puzzle is also found by the
  number of its lines, if all were as long as most of them are.

  Args:
    lines: with their numbers; the last line is empty.
    cells: a line with at least this many characters is a puzzle of its own.
  """
  begin, some = 0, []
  for number, line in lines:
    lengths = [len(row) for row in some]
    if some and (not line or len(line) >= cells or sum(lengths) == cells
                 or len(some) * statistics.mode(lengths) >= cells):
      yield begin, "\n".join(some)
      some = []
    if line:
      begin = begin if some else number
      some.append(line)
