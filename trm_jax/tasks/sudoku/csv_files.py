# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku puzzles in Sudoku-Extreme's CSV format: source,question,answer,rating.

Row-major cells, '.' is a blank, the rating is the number of backtracks of the tdoku solver. Neither the published
files nor the samples of them ever write a blank as '0', so '0' is a foreign character here.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
import csv
import itertools
import os
import pathlib
import re

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.tasks.sudoku import rules

COLUMNS = ("source", "question", "answer", "rating")

_FOREIGN = 255
_MAX_RATING_DIGITS = 9  # What surely fits int32.
# Lines that are checked at once: bounds scratch memory.
_LINES = 1 << 16


def read_csv(path: str | os.PathLike, *, box: int = 3) -> puzzles_lib.Puzzles:
  """Reads a file of puzzles and checks every one of them.

  Quoted fields, a byte order mark, either line ending, a missing last newline and blank lines at the end are fine; the
  source column is not looked at, whatever its encoding.

  Args:
    path: the file.
    box: side of a box; grids are box**2 x box**2.

  Returns:
    Puzzles with N >= 1, S = box**4 and ratings, in the order of the file.

  Raises:
    UserError: naming file, line and rule, for a file that is missing, cannot be read, is empty or has another header,
      and for a row with a wrong number of columns, a cell string of the wrong length, a foreign character, a rating
      that is not an integer, an answer that breaks the rules of Sudoku or contradicts its puzzle.
    TryAgain: the file was written while it was read.
  """
  path = pathlib.Path(path)
  parts = []
  with files.reading(path, f"expected a CSV file with the columns {','.join(COLUMNS)}") as file:
    # A byte that is not UTF-8 becomes one character, so that lengths still count cells.
    lines = enumerate(_without_blank_end(line.decode(errors="replace") for line in file), 1)
    _, header = next(lines, (1, None))
    if header is None:
      raise UserError(f"{path}: the file is empty; expected the header {','.join(COLUMNS)} and one puzzle a line")
    if tuple(_fields(header.removeprefix("\ufeff")) or ()) != COLUMNS:
      raise UserError(f"{path}, line 1: the header is {_shorten(header)}, must be '{','.join(COLUMNS)}'")
    while some := list(itertools.islice(lines, _LINES)):
      parts.append(_parse(some, box, path))
  if not parts:
    raise UserError(f"{path}: has a header but no puzzles; expected one puzzle a line")
  inputs, labels, ratings = map(np.concatenate, zip(*parts))
  return puzzles_lib.one_group_each(inputs, labels, vocab_size=rules.vocab_size(box), ratings=ratings)


def write_csv(path: str | os.PathLike, puzzles: puzzles_lib.Puzzles, *, source: str) -> None:
  """Writes puzzles so that read_csv, and the reference's builder, can read them.

  The format has no way to say "not rated": puzzles without ratings are written, and read back, with rating 0.

  Args:
    path: the file; it appears only when it is complete.
    puzzles: Sudokus, blanks in the inputs, none in the labels.
    source: where they come from, the first column.

  Raises:
    UserError: if the file cannot be written.
  """
  assert (puzzles.inputs >= rules.BLANK).all() and (puzzles.labels > rules.BLANK).all()
  path = pathlib.Path(path)
  characters = np.array([ord(c) for c in " .123456789"], np.uint8)
  ratings = np.zeros(len(puzzles), np.int32) if puzzles.ratings is None else puzzles.ratings
  with files.replacing(path) as file:
    writer = csv.writer(codecs.getwriter("utf-8")(file))
    writer.writerow(COLUMNS)
    for question, answer, rating in zip(characters[puzzles.inputs], characters[puzzles.labels], ratings):
      writer.writerow((source, question.tobytes().decode(), answer.tobytes().decode(), rating))


def _without_blank_end(lines: Iterable[str]) -> Iterator[str]:
  """Lines without their ends, and without those at the end of the file that are blank."""
  blank = []
  for line in lines:
    line = line.rstrip("\r\n")
    if line.strip():
      yield from blank
      blank = []
      yield line
    else:
      blank.append(line)


def _fields(line: str) -> list[str] | None:
  """The fields of one line; None if they cannot be told apart."""
  try:
    return next(csv.reader([line], strict=True), [])
  except csv.Error:
    return None


def _shorten(text: str) -> str:
  return repr(text if len(text) <= 100 else text[:97] + "...")


def _tables(box: int) -> tuple[np.ndarray, np.ndarray]:
  """Byte to token, for questions and for answers: two (256,) uint8."""
  answer = np.full(256, _FOREIGN, np.uint8)
  digits = np.arange(box * box, dtype=np.uint8)
  answer[ord("1") + digits] = rules.BLANK + 1 + digits
  question = answer.copy()
  question[ord(".")] = rules.BLANK
  return question, answer


def _parse(lines: Sequence[tuple[int, str]], box: int, path: pathlib.Path) -> tuple[np.ndarray, ...]:
  """Parses and checks lines.

  Args:
    lines: with their numbers in the file.
    box: side of a box.
    path: of the file, for messages.

  Returns:
    (N, S) uint8 inputs, (N, S) int8 labels, (N,) int32 ratings.
  """
  n, cells = box * box, box**4
  columns: tuple[list[str], ...] = ([], [], [])
  for number, line in lines:
    where, fields = f"{path}, line {number}", _fields(line)
    if fields is None and "\r" in line:
      raise UserError(f"{where}: has a carriage return within it; lines must end with a line feed, or with both")
    if fields is None:
      raise UserError(f"{where}: the quotes do not match, or a line ends within one, in {_shorten(line)}")
    if len(fields) != len(COLUMNS):
      raise UserError(f"{where}: has {len(fields)} columns, must have {len(COLUMNS)} ({','.join(COLUMNS)})")
    for name, text in zip(COLUMNS[1:3], fields[1:3]):
      if len(text) != cells:
        raise UserError(f"{where}: the {name} has {len(text)} characters, must have {cells} ({n} x {n} cells)")
    if not re.fullmatch(rf"[0-9]{{1,{_MAX_RATING_DIGITS}}}", fields[3]):
      raise UserError(
          f"{where}: the rating is {_shorten(fields[3])}, must be an integer of 1 to {_MAX_RATING_DIGITS} digits")
    for column, text in zip(columns, fields[1:]):
      column.append(text)
  questions, answers, ratings = columns
  tokens = []
  for name, texts, table, rule in zip(COLUMNS[1:3], (questions, answers), _tables(box),
                                      (f"1-{n} or '.' for a blank", f"1-{n}")):
    tokens.append(table[np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)].reshape(-1, cells))
    foreign = tokens[-1] == _FOREIGN
    if foreign.any():
      i, at = (int(place[0]) for place in np.nonzero(foreign))
      raise UserError(f"{path}, line {lines[i][0]}: the {name} has {texts[i][at]!r} in row {at // n + 1}, column "
                      f"{at % n + 1}; must be {rule}")
  if fault := rules.first_fault(*tokens, box=box):
    row, _, rule = fault
    raise UserError(f"{path}, line {lines[row][0]}: {rule}")
  return tokens[0], tokens[1].astype(np.int8), np.array(ratings, np.int32)
