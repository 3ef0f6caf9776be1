# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles as CSV files: the arrays of good ones, the one-line errors for bad ones."""

import os
import re

import numpy as np
import pytest

from trm_jax.data import csv_files
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import TryAgain, UserError

HEADER = "source,question,answer,rating"
MAZES = {"shape": (2, 3), "alphabet": "# SGo"}
SMALL = ["a,S  # G,Soo#oG,3", "b,#S##G ,#S##G ,0"]


def _write(path, lines, newline="\r\n", last="\r\n"):
  path.write_text(newline.join(lines) + last, encoding="utf-8", newline="")
  return path


@pytest.fixture(name="good")
def _good(tmp_path):
  return csv_files.read_csv(_write(tmp_path / "good.csv", [HEADER, *SMALL]), **MAZES)


def _assert_same(a, b):
  for name in ("inputs", "labels", "ratings"):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


def test_arrays(good):
  np.testing.assert_array_equal(good.inputs, np.array([[3, 2, 2, 1, 2, 4], [1, 3, 1, 1, 4, 2]], np.uint8), strict=True)
  np.testing.assert_array_equal(good.labels, np.array([[3, 5, 5, 1, 5, 4], [1, 3, 1, 1, 4, 2]], np.int8), strict=True)
  np.testing.assert_array_equal(good.ratings, np.array([3, 0], np.int32), strict=True)
  assert (good.vocab_size, good.num_puzzle_identifiers, good.num_groups, good.seq_len) == (6, 1, 2, 6)


@pytest.mark.parametrize(
    "edit",
    [
        lambda b: b.replace(b"\r\n", b"\n"),
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.rstrip(b"\r\n"),
        lambda b: b + b"\r\n\r\n \n",
        lambda b: re.sub(rb"\r\na,", b'\r\n"a, ""the"" first",', b),
        lambda b: re.sub(rb"[^,\r\n]+", rb'"\g<0>"', b),
        lambda b: b.replace(b"\r\nb,", b"\r\nb\xff\xfe\xc3\xa9,"),
    ],
    ids=["lf", "bom", "no last newline", "blank last lines", "a quoted field", "all quoted", "source not utf-8"],
)
def test_harmless_variations(good, tmp_path, edit):
  path = tmp_path / "varied.csv"
  path.write_bytes(edit((tmp_path / "good.csv").read_bytes()))
  _assert_same(csv_files.read_csv(path, **MAZES), good)


def test_a_file_of_questions_and_answers_alone(good, tmp_path):
  rows = ["question,answer", *(line[2:].rpartition(",")[0] for line in SMALL)]
  puzzles = csv_files.read_csv(_write(tmp_path / "own.csv", rows), **MAZES)
  assert puzzles.digest() == good.digest() and puzzles.ratings is None
  with pytest.raises(UserError, match=r"own.csv, line 3: has 3 columns, must have 2 \(question,answer\)"):
    csv_files.read_csv(_write(tmp_path / "own.csv", rows[:2] + [rows[2] + ",5"]), **MAZES)
  with pytest.raises(UserError, match="line 1: the header is 'answer,question', must be "
                                      "'source,question,answer,rating' or 'question,answer'"):
    csv_files.read_csv(_write(tmp_path / "own.csv", ["answer,question", *rows[1:]]), **MAZES)


@pytest.mark.parametrize("answers, line, message", [
    (None, "a,S  #xG,Soo#oG,3", "the question has 'x' in row 2, column 2; must be one of '# SGo'"),
    (None, "a,S  # G,Soo#xG,3", "the answer has 'x' in row 2, column 2; must be one of '# SGo'"),
    ("#So", "a,S  # G,Soo#oG,3", "the answer has 'G' in row 2, column 3; must be one of '#So'"),
    ("#SGo", "a,Sx # G,Soo#oG,3", "the question has 'x' in row 1, column 2; must be one of '#SGo' or ' ' for a blank"),
    (None, "a,S  #G,Soo#oG,3", "the question has 5 characters, must have 6 (2 x 3 cells)"),
])
def test_other_characters_are_named(tmp_path, answers, line, message):
  path = _write(tmp_path / "bad.csv", [HEADER, line])
  with pytest.raises(UserError) as e:
    csv_files.read_csv(path, **MAZES, answers=answers)
  assert str(e.value) == f"{path}, line 2: {message}"


def test_the_rules_of_a_task_are_checked_in_every_chunk(tmp_path, monkeypatch):
  monkeypatch.setattr(csv_files, "_LINES", 3)
  path = _write(tmp_path / "bad.csv", [HEADER, *4 * SMALL[:1], *SMALL])

  def no_start_in_the_second_cell(inputs, labels):
    assert inputs.shape == labels.shape
    wrong = inputs[:, 1] == 3
    return (int(np.argmax(wrong)), "inputs", "starts in the second cell") if wrong.any() else None

  with pytest.raises(UserError, match="bad.csv, line 7: starts in the second cell$"):
    csv_files.read_csv(path, **MAZES, fault=no_start_in_the_second_cell)


def test_any_characters_can_be_an_alphabet(tmp_path):
  alphabet = "é?\U0001f642,\" "  # two outside of Latin-1 or of 16 bits, and those that CSV quotes
  tokens = np.array([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
  made = puzzles_lib.one_group_each(tokens.astype(np.uint8), tokens[::-1].astype(np.int8), vocab_size=7)
  csv_files.write_csv(tmp_path / "odd.csv", made, alphabet=alphabet, source="mine")
  assert csv_files.read_csv(tmp_path / "odd.csv", shape=(1, 6), alphabet=alphabet).digest() == made.digest()


def test_byte_that_is_not_utf8(tmp_path):
  path = tmp_path / "bad.csv"
  path.write_bytes("\n".join([HEADER, SMALL[0]]).encode().replace(b"S  ", b"S \xff"))
  with pytest.raises(UserError, match="line 2: the question has '\ufffd' in row 1, column 3"):
    csv_files.read_csv(path, **MAZES)


def test_line_numbers_hold_across_chunks(good, tmp_path, monkeypatch):
  monkeypatch.setattr(csv_files, "_LINES", 3)
  path = _write(tmp_path / "long.csv", [HEADER] + 10 * SMALL)
  np.testing.assert_array_equal(csv_files.read_csv(path, **MAZES).ratings, np.tile(good.ratings, 10))
  path = _write(tmp_path / "long.csv", [HEADER] + 10 * SMALL + ["x"] + SMALL)
  with pytest.raises(UserError, match="line 22: has 1 columns"):
    csv_files.read_csv(path, **MAZES)


def test_missing_and_empty_file(tmp_path):
  with pytest.raises(UserError, match=r"none.csv: no such file"):
    csv_files.read_csv(tmp_path / "none.csv", **MAZES)
  for text in (b"", b"\n\n", 9000 * b" "):
    (tmp_path / "empty.csv").write_bytes(text)
    with pytest.raises(UserError, match=r"empty.csv: the file is empty"):
      csv_files.read_csv(tmp_path / "empty.csv", **MAZES)
  (tmp_path / "folder.csv").mkdir()
  with pytest.raises(UserError, match=r"folder.csv: cannot be read \(Is a directory\)"):
    csv_files.read_csv(tmp_path / "folder.csv", **MAZES)


@pytest.mark.parametrize("edit", [
    lambda path: os.truncate(path, path.stat().st_size // 2),
    lambda path: path.write_bytes(path.read_bytes() + b"\r\n" + SMALL[0].encode()),
    lambda path: path.write_bytes(path.read_bytes().replace(b"a,S", b"a,#")),
], ids=["cut short", "longer", "of the same length"])
def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path, monkeypatch, edit):
  monkeypatch.setattr(csv_files, "_LINES", 20)
  path = _write(tmp_path / "long.csv", [HEADER] + 1000 * SMALL)
  os.utime(path, (0, 0))
  parse, parts = csv_files._parse, []

  def parse_and_edit(lines, *args):
    if not parts:
      edit(path)
    parts.append(lines)
    return parse(lines, *args)

  monkeypatch.setattr(csv_files, "_parse", parse_and_edit)
  with pytest.raises(TryAgain, match=r"long.csv: was written while it was read; start the same command again once"):
    csv_files.read_csv(path, **MAZES)


def test_write_then_read(good, tmp_path):
  path = tmp_path / "written.csv"
  csv_files.write_csv(path, good, alphabet=MAZES["alphabet"], source="mine, all mine")
  _assert_same(csv_files.read_csv(path, **MAZES), good)
  unrated = puzzles_lib.one_group_each(good.inputs, good.labels, vocab_size=6)
  csv_files.write_csv(path, unrated, alphabet=MAZES["alphabet"], source="mine")
  assert csv_files.read_csv(path, **MAZES).ratings.tolist() == [0, 0]
  assert path.read_text().splitlines()[1] == "mine,S  # G,Soo#oG,0"
  with pytest.raises(UserError, match="cannot be written"):
    csv_files.write_csv(tmp_path / "nowhere" / "x.csv", good, alphabet=MAZES["alphabet"], source="mine")
