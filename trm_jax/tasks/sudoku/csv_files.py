# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku puzzles in Sudoku-Extreme's CSV format: source,question,answer,rating.

Row-major cells, '.' is a blank, the rating is the number of backtracks of the tdoku solver. Neither the published
files nor the samples of them ever write a blank as '0', so '0' is a foreign character here.
"""

import codecs
import csv
import os
import pathlib
import re
from typing import BinaryIO

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.tasks.sudoku import rules

COLUMNS = ("source", "question", "answer", "rating")

_FOREIGN = 255
_BOM = b"\xef\xbb\xbf"
_MAX_RATING_DIGITS = 9  # What surely fits int32.
# Bounds the scratch memory of parsing, about ten times this.
_CHUNK_BYTES = 8 << 20


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
  with files.reading(path, f"expected a CSV file with the columns {','.join(COLUMNS)}") as file:
    end = _end_of_text(file)
    if end == 0:
      raise UserError(f"{path}: the file is empty; expected the header {','.join(COLUMNS)} and one puzzle a line")
    start = _skip_header(file, end, path)
    cells = box**4
    # No row is shorter than its two grids, three commas, a one-digit rating and a newline. Rows that turn out not to
    # exist are pages never touched.
    max_rows = (end - start) // (2 * cells + 5) + 1
    inputs = np.empty((max_rows, cells), np.uint8)
    labels = np.empty((max_rows, cells), np.int8)
    ratings = np.empty(max_rows, np.int32)
    n = 0
    while start < end:
      file.seek(start)
      chunk = np.frombuffer(file.read(min(_CHUNK_BYTES, end - start)), np.uint8)
      if chunk.size == 0:
        raise UserError(f"{path}: ends after {start} of its {end} bytes")
      if start + chunk.size < end:
        newlines = np.flatnonzero(chunk == ord("\n"))
        if newlines.size:
          chunk = chunk[: newlines[-1] + 1]
      start += chunk.size
      parsed = _parse_fast(chunk, box) or _parse_rows(chunk, box, path, first_line=n + 2)
      rows = slice(n, n + parsed[0].shape[0])
      inputs[rows], labels[rows], ratings[rows] = parsed
      n = rows.stop
  if n == 0:
    raise UserError(f"{path}: has a header but no puzzles; expected one puzzle a line")
  return puzzles_lib.one_group_each(inputs[:n], labels[:n], vocab_size=rules.vocab_size(box), ratings=ratings[:n])


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


def _end_of_text(file: BinaryIO) -> int:
  """Bytes of the file without the white space at its end."""
  end = file.seek(0, os.SEEK_END)
  while end:
    start = max(0, end - 4096)
    file.seek(start)
    text = file.read(end - start).rstrip(b" \t\r\n")
    if text:
      return start + len(text)
    end = start
  return 0


def _skip_header(file: BinaryIO, end: int, path: pathlib.Path) -> int:
  """Checks the header; returns the offset of the first row."""
  file.seek(0)
  # A header is short: a file without a newline near its start has none.
  head = file.read(min(4096, end))
  start = len(_BOM) if head.startswith(_BOM) else 0
  line, newline, _ = head[start:].partition(b"\n")
  text = line.rstrip(b"\r").decode(errors="replace")
  if tuple(_fields(text) or ()) != COLUMNS:
    raise UserError(f"{path}, line 1: the header is {_shorten(text)}, must be '{','.join(COLUMNS)}'")
  return start + len(line) + len(newline)


def _fields(line: str) -> list[str] | None:
  """The fields of one line; None if its quotes do not match."""
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


def _parse_fast(chunk: np.ndarray, box: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """Whole lines without quotes, at once; None if anything is out of the ordinary, for _parse_rows to judge.

  Args:
    chunk: (bytes,) uint8, one line or more.
    box: side of a box.

  Returns:
    (N, S) uint8 inputs, (N, S) int8 labels, (N,) int32 ratings; or None.
  """
  cells = box**4
  if (chunk == ord('"')).any():
    return None
  if chunk[-1] != ord("\n"):
    chunk = np.append(chunk, np.uint8(ord("\n")))
  ends = np.flatnonzero(chunk == ord("\n"))
  starts = np.concatenate([[0], ends[:-1] + 1])
  ends = ends - (chunk[ends - 1] == ord("\r"))
  commas = np.flatnonzero(chunk == ord(","))
  if commas.size != 3 * ends.size:
    return None
  first, second, third = commas.reshape(-1, 3).T
  lengths = ends - third - 1
  if (
      (first < starts).any()
      or (second - first != cells + 1).any()
      or (third - second != cells + 1).any()
      or (lengths < 1).any()
      or (lengths > _MAX_RATING_DIGITS).any()
  ):
    return None
  question, answer = _tables(box)
  windows = np.lib.stride_tricks.sliding_window_view(chunk, cells)
  inputs = question[windows[first + 1]]
  labels = answer[windows[second + 1]]
  if (inputs == _FOREIGN).any() or (labels == _FOREIGN).any():
    return None
  if rules.first_fault(inputs, labels, box=box):
    return None
  ratings = np.zeros(ends.size, np.int32)
  for i in range(lengths.max()):
    used = i < lengths
    digits = chunk[np.where(used, third + 1 + i, 0)]
    if (used & ((digits < ord("0")) | (digits > ord("9")))).any():
      return None
    ratings = np.where(used, ratings * 10 + digits - ord("0"), ratings).astype(np.int32)
  return inputs, labels.astype(np.int8), ratings


def _parse_rows(
    chunk: np.ndarray, box: int, path: pathlib.Path, first_line: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """As _parse_fast, line by line: knows quotes, and says what is wrong where."""
  n, cells = box * box, box**4
  tables = _tables(box)
  allowed = f"1-{n}"
  grids, ratings = [], []
  # A byte that is not UTF-8 becomes one character, so that lengths still count cells.
  lines = chunk.tobytes().decode(errors="replace").removesuffix("\n").split("\n")
  for number, line in enumerate(lines, start=first_line):
    where = f"{path}, line {number}"
    fields = _fields(line.rstrip("\r"))
    if fields is None:
      raise UserError(f"{where}: the quotes do not match in {_shorten(line)}; a field ends on its line")
    if len(fields) != len(COLUMNS):
      raise UserError(f"{where}: has {len(fields)} columns, must have {len(COLUMNS)} ({','.join(COLUMNS)})")
    tokens = []
    for name, text, table, rule in zip(COLUMNS[1:3], fields[1:3], tables, (f"{allowed} or '.' for a blank", allowed)):
      if len(text) != cells:
        raise UserError(f"{where}: the {name} has {len(text)} characters, must have {cells} ({n} x {n} cells)")
      codes = np.array([ord(c) for c in text])
      token = np.where(codes < 256, table[codes % 256], _FOREIGN).astype(np.uint8)
      if (token == _FOREIGN).any():
        at = int(np.argmax(token == _FOREIGN))
        raise UserError(
            f"{where}: the {name} has {text[at]!r} in row {at // n + 1}, column {at % n + 1}; must be {rule}"
        )
      tokens.append(token)
    question, answer = tokens
    if fault := rules.first_fault(question[None], answer[None], box=box):
      raise UserError(f"{where}: {fault[2]}")
    if not re.fullmatch(rf"-?[0-9]{{1,{_MAX_RATING_DIGITS}}}", fields[3]):
      raise UserError(
          f"{where}: the rating is {_shorten(fields[3])}, must be an integer of at most {_MAX_RATING_DIGITS} digits"
      )
    grids.append(tokens)
    ratings.append(int(fields[3]))
  array = np.array(grids, np.uint8)
  return array[:, 0], array[:, 1].astype(np.int8), np.array(ratings, np.int32)
