# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku-Extreme's CSV format: the arrays of good files, the one-line errors for bad ones. See test_csv_files.py."""

import csv
import pathlib
import time

import numpy as np
import pytest

from trm_jax.errors import UserError
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import rules

REAL = pathlib.Path(__file__).parents[2] / "shared" / "data" / "sudoku"

HEADER = "source,question,answer,rating"
SMALL = ["a,1..4...2.1..4321,1234341221434321,0", "b,.234341221434321,1234341221434321,12"]


def _write(path, lines, newline="\r\n", last="\r\n"):
  path.write_text(newline.join(lines) + last, encoding="utf-8", newline="")
  return path


@pytest.fixture(name="good")
def _good(tmp_path):
  return csv_files.read_csv(_write(tmp_path / "good.csv", [HEADER, *SMALL]), box=2)


def test_arrays(good):
  np.testing.assert_array_equal(good.inputs[0], [2, 1, 1, 5, 1, 1, 1, 3, 1, 2, 1, 1, 5, 4, 3, 2])
  np.testing.assert_array_equal(good.labels[1], [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2])
  np.testing.assert_array_equal(good.ratings, [0, 12])
  assert (good.vocab_size, good.num_puzzle_identifiers, good.num_groups, good.seq_len) == (6, 1, 2, 16)


@pytest.mark.parametrize(
    "lines, line, message",
    [
        (["question,answer,rating", *SMALL], 1, "the header is 'question,answer,rating', must be"),
        (SMALL, 1, "the header is"),
        ([HEADER, SMALL[0].replace(",", "\r,", 1)], 2, "has a carriage return in the middle"),
        ([HEADER, SMALL[0], "a,1,2"], 3, "has 3 columns, must have 4"),
        ([HEADER, SMALL[0] + ",5"], 2, "has 5 columns, must have 4"),
        ([HEADER, SMALL[0], "", SMALL[1]], 3, "has 0 columns, must have 4"),
        ([HEADER, SMALL[0].replace(".", "", 1)], 2, "the question has 15 characters, must have 16"),
        ([HEADER, SMALL[0].replace(",0", "1,0")], 2, "the answer has 17 characters, must have 16"),
        ([HEADER, SMALL[1], SMALL[0].replace("..4", ".x4")], 3, "the question has 'x' in row 1, column 3"),
        ([HEADER, SMALL[0].replace("..4", ".04")], 2, "the question has '0' in row 1, column 3; must be 1-4 or '.'"),
        ([HEADER, SMALL[0].replace("..4", ".é4")], 2, "the question has 'é' in row 1, column 3"),
        ([HEADER, SMALL[0].replace("..4", ".ı4")], 2, "the question has 'ı' in row 1, column 3"),
        ([HEADER, SMALL[0].replace(",123434", ",12343.")], 2, "the answer has '.' in row 2, column 2; must be 1-4"),
        ([HEADER, SMALL[0].replace(",0", ",easy")], 2, "the rating is 'easy', must be an integer"),
        ([HEADER, SMALL[0].replace(",0", ",1.5")], 2, "the rating is '1.5'"),
        ([HEADER, SMALL[0].replace(",0", ",-5")], 2, "the rating is '-5', must be an integer of 1 to 9 digits"),
        (["", HEADER, *SMALL], 1, "the header is '', must be"),
        ([HEADER, SMALL[0].replace(",0", ",")], 2, "the rating is ''"),
        ([HEADER, SMALL[0].replace(",0", ",9999999999")], 2, "the rating is '9999999999'"),
        ([HEADER, SMALL[0].replace("a,1..4", "a,2..4")], 2, "contradicts the puzzle in row 1, column 1: the clue is 2"),
        ([HEADER, "a,................,1234341221431234,0"], 2, "the answer is not a Sudoku grid"),
        ([HEADER, 'a,"' + SMALL[0][2:]], 2, "the quotes do not match"),
        ([HEADER], None, "has a header but no puzzles"),
    ],
)
def test_bad_rows_are_named(tmp_path, lines, line, message):
  path = _write(tmp_path / "bad.csv", lines)
  with pytest.raises(UserError) as e:
    csv_files.read_csv(path, box=2)
  text = str(e.value)
  assert text.startswith(f"{path}, line {line}: " if line else f"{path}: ") and message in text and "\n" not in text


@pytest.mark.parametrize("box", [2, 3])
def test_every_broken_unit_is_seen(box):
  n = box * box
  r, c = np.divmod(np.arange(n * n), n)
  grid = (r % box * box + r // box + c) % n + 2
  assert rules.valid_grids(grid[None], box=box).all()
  # Swapping two different cells breaks some unit, wherever they are.
  rng = np.random.default_rng(0)
  for _ in range(100):
    a, b = rng.choice(n * n, 2, replace=False)
    swapped = grid.copy()
    swapped[[a, b]] = grid[[b, a]]
    assert rules.valid_grids(swapped[None], box=box)[0] == (grid[a] == grid[b])
  # Rows and columns are right, only boxes are not.
  latin = (r + c) % n + 2
  assert not rules.valid_grids(latin[None], box=box).any()


def test_write_then_read(good, tmp_path):
  path = tmp_path / "written.csv"
  csv_files.write_csv(path, good, source="mine")
  assert path.read_text().splitlines() == [HEADER, *("mine" + line[1:] for line in SMALL)]
  again = csv_files.read_csv(path, box=2)
  assert again.digest() == good.digest() and again.ratings.tolist() == good.ratings.tolist()


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data/sudoku is not here")
@pytest.mark.parametrize("split, count", [("train", 11000), ("test", 10000)])
def test_real_puzzles(split, count):
  path = REAL / f"{split}.csv"
  started = time.thread_time()  # not the clock: other things run beside tests
  puzzles = csv_files.read_csv(path)
  assert time.thread_time() - started < 2
  assert len(puzzles) == count and puzzles.vocab_size == 11
  with open(path, newline="", encoding="utf-8") as f:
    rows = list(csv.DictReader(f))
  for name, array in (("question", puzzles.inputs), ("answer", puzzles.labels)):
    assert ["".join(".123456789"[t - 1] for t in row) for row in array.tolist()] == [row[name] for row in rows]
  assert puzzles.ratings.tolist() == [int(row["rating"]) for row in rows]
