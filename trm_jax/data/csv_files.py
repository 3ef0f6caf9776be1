# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads and writes puzzles on grids as CSV, a puzzle per line, a character per cell: source,question,answer,rating.

Sudoku-Extreme and Maze-Hard are published like this. A user's own file may have only the columns question,answer.
Cells are written row by row. Character i of a task's alphabet, counted from 0, is token i + 1; token 0 is padding,
which no cell of a file has.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
import csv
import itertools
import os
import pathlib
import re

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import OtherSizeError, UserError
from trm_jax.runtime import files

COLUMNS = ("source", "question", "answer", "rating")
_CELLS = ("question", "answer")  # the columns that a file needs
# A function that finds the first puzzle that breaks the rules of its task: (N, S) uint8 tokens of the puzzles, and of
# their answers -> its row, the faulty array ("inputs" or "labels"), and the rule in words; None if all are right.
Fault = Callable[[np.ndarray, np.ndarray], tuple[int, str, str] | None]
# Labels are int8, and token 0 is padding.
MAX_ALPHABET = 127

_FOREIGN = 255
_MAX_RATING_DIGITS = 9  # What surely fits int32.
# Number of lines that are checked at once; it limits scratch memory.
_LINES = 1 << 16


def read_csv(
    path: str | os.PathLike, *, shape: tuple[int, int], alphabet: str, answers: str | None = None,
    fault: Fault | None = None,
) -> puzzles_lib.Puzzles:
  """Reads a file of puzzles and checks each of them.

  Quoted fields, a byte order mark, either line ending, a missing last newline and blank lines at the end are fine; the
  source column is ignored, whatever its encoding.

  Args:
    path: of the file.
    shape: rows and columns of a puzzle, R and C.
    alphabet: the characters that a cell may have, each once; at most MAX_ALPHABET.
    answers: those of them that a cell of an answer may have; None for all. A single other character is a blank.
    fault: the rules of the task, if it has any.

  Returns:
    Puzzles with N >= 1 and S = R * C, in the order of the file; with ratings if the file has that column.

  Raises:
    UserError: the file is missing, cannot be read, is empty or has another header; or a row has a wrong number of
      columns, a cell string of the wrong length, a foreign character, a rating that is not an integer, or a fault. The
      message names file, line and rule.
    TryAgain: the file was written while it was read.
  """
  assert len(set(alphabet)) == len(alphabet) <= MAX_ALPHABET, alphabet
  path = pathlib.Path(path)
  wanted, parts = f"'{','.join(COLUMNS)}' or '{','.join(_CELLS)}'", []
  with files.reading(path, f"expected a CSV file with the columns {wanted}") as file:
    # A byte that is not UTF-8 becomes one character, so that lengths still count cells.
    lines = enumerate(_without_blank_end(line.decode(errors="replace") for line in file), 1)
    _, header = next(lines, (1, None))
    if header is None:
      raise UserError(f"{path}: the file is empty; expected the header {wanted} and one puzzle a line")
    columns = tuple(_fields(header.removeprefix("\ufeff")) or ())
    if columns not in (COLUMNS, _CELLS):
      raise UserError(f"{path}, line 1: the header is {_shorten(header)}, must be {wanted}")
    tables = _tables(alphabet, alphabet if answers is None else answers)
    while some := list(itertools.islice(lines, _LINES)):
      parts.append(_parse(some, columns, shape, tables, fault, path))
  if not parts:
    raise UserError(f"{path}: has a header but no puzzles; expected one puzzle a line")
  inputs, labels, ratings = map(np.concatenate, zip(*parts))
  return puzzles_lib.one_group_each(
      inputs, labels, vocab_size=1 + len(alphabet), ratings=ratings if "rating" in columns else None)


def is_csv(header: str) -> bool:
  """Whether a first line names columns of a CSV file of puzzles, with or without their answers."""
  return "question" in _columns(header)


def open_rows(lines: Iterable[tuple[int, str]], header: str, where: str
              ) -> Iterator[tuple[int, dict[str, str] | UserError]]:
  """Yields the rows of a CSV file whose puzzles need not be labelled, nor all be right.

  Args:
    lines: the lines after the header, without their ends, with their numbers in the file.
    header: a header that `is_csv` accepts. Files published elsewhere may name their columns puzzle and solution, or
      quizzes and solutions.
    where: name of the file, for messages.

  Yields:
    The number of the line, and its fields by column, including "question"; or the error in it.
  """
  columns = _columns(header)
  for number, line in lines:
    try:
      yield number, _row(line, columns, f"{where}, line {number}")
    except UserError as e:
      yield number, e


def _columns(header: str) -> tuple[str, ...]:
  """The columns of a header, by the names used here."""
  ours = {"puzzle": "question", "quizzes": "question", "solution": "answer", "solutions": "answer"}
  names = [name.strip().lower() for name in _fields(header) or ()]
  return tuple(ours.get(name, name) for name in names)


def write_csv(path: str | os.PathLike, puzzles: puzzles_lib.Puzzles, *, alphabet: str, source: str) -> None:
  """Writes puzzles so that read_csv, and the reference's builders, can read them.

  The format cannot say "not rated": puzzles without ratings are written, and read back, with rating 0.

  Args:
    path: of the file, which appears only when it is complete.
    puzzles: all cells of the puzzles and their answers must be characters of the alphabet.
    alphabet: see `read_csv`.
    source: text of the first column, which says where the puzzles come from.

  Raises:
    UserError: if the file cannot be written.
  """
  assert (puzzles.inputs > 0).all() and (puzzles.labels > 0).all()
  path = pathlib.Path(path)
  characters = np.array([0, *map(ord, alphabet)], "<u4")
  ratings = np.zeros(len(puzzles), np.int32) if puzzles.ratings is None else puzzles.ratings
  with files.replacing(path) as file:
    writer = csv.writer(codecs.getwriter("utf-8")(file))
    writer.writerow(COLUMNS)
    for question, answer, rating in zip(puzzles.inputs, puzzles.labels, ratings):
      cells = (characters[tokens].tobytes().decode("utf-32-le") for tokens in (question, answer))
      writer.writerow((source, *cells, rating))


def _without_blank_end(lines: Iterable[str]) -> Iterator[str]:
  """Yields lines without their ends, except blank lines at the end of the file."""
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


def _row(line: str, columns: tuple[str, ...], where: str) -> dict[str, str]:
  """The fields of one line by their columns. Raises UserError if they cannot be told apart, or are too many or few."""
  fields = _fields(line)
  if fields is None and "\r" in line:
    raise UserError(f"{where}: has a carriage return in the middle; lines must end with a line feed, or with both")
  if fields is None:
    raise UserError(f"{where}: the quotes do not match, or a line ends inside quotes, in {_shorten(line)}")
  if len(fields) != len(columns):
    raise UserError(f"{where}: has {len(fields)} columns, must have {len(columns)} ({','.join(columns)})")
  return dict(zip(columns, fields))


def _shorten(text: str) -> str:
  return repr(text if len(text) <= 100 else text[:97] + "...")


def _tables(alphabet: str, answers: str) -> list[tuple[np.ndarray, str]]:
  """For questions and answers: a table from code point to token, (0x110000,) uint8, and words for the characters."""
  digits = "123456789"
  some = f"1-{answers[-1]}" if digits.startswith(answers) and len(answers) > 1 else f"one of {answers!r}"
  more = "".join(c for c in alphabet if c not in answers)
  rules = [f"{some} or {more!r} for a blank" if len(more) == 1 else f"one of {alphabet!r}" if more else some, some]
  tables = []
  for characters, rule in zip((alphabet, answers), rules):
    table = np.full(0x110000, _FOREIGN, np.uint8)
    for token, character in enumerate(alphabet, 1):
      if character in characters:
        table[ord(character)] = token
    tables.append((table, rule))
  return tables


def _parse(lines: Sequence[tuple[int, str]], columns: tuple[str, ...], shape: tuple[int, int],
           tables: list[tuple[np.ndarray, str]], fault: Fault | None, path: pathlib.Path) -> tuple[np.ndarray, ...]:
  """Parses and checks lines.

  Args:
    lines: with their numbers in the file.
    columns: of the file.
    shape: rows and columns of a puzzle.
    tables: see `_tables`.
    fault: see `read_csv`.
    path: of the file, for messages.

  Returns:
    (N, S) uint8 inputs, (N, S) int8 labels, (N,) int32 ratings, 0 where the file has none.
  """
  width, cells = shape[1], shape[0] * shape[1]
  rows = []
  for number, line in lines:
    where = f"{path}, line {number}"
    row = _row(line, columns, where)
    for name in _CELLS:
      if len(row[name]) != cells:
        raise OtherSizeError(f"{where}: the {name} has {len(row[name])} characters, must have {cells} ({shape[0]} x "
                             f"{width} cells)")
    rating = row.get("rating", "0")
    if not re.fullmatch(rf"[0-9]{{1,{_MAX_RATING_DIGITS}}}", rating):
      raise UserError(f"{where}: the rating is {_shorten(rating)}, must be an integer of 1 to {_MAX_RATING_DIGITS} "
                      "digits")
    rows.append((row["question"], row["answer"], rating))
  *texts, ratings = zip(*rows)
  tokens = []
  for name, column, (table, rule) in zip(_CELLS, texts, tables):
    tokens.append(table[np.frombuffer("".join(column).encode("utf-32-le"), "<u4")].reshape(-1, cells))
    foreign = tokens[-1] == _FOREIGN
    if foreign.any():
      i, at = (int(place[0]) for place in np.nonzero(foreign))
      raise UserError(f"{path}, line {lines[i][0]}: the {name} has {column[i][at]!r} in row {at // width + 1}, column "
                      f"{at % width + 1}; must be {rule}")
  if fault and (found := fault(*tokens)):
    row, _, rule = found
    raise UserError(f"{path}, line {lines[row][0]}: {rule}")
  return tokens[0], tokens[1].astype(np.int8), np.array(ratings, np.int32)
