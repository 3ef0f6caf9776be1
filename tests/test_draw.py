# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What a person sees of a puzzle being solved, in the terminal and in pictures."""

from matplotlib import colors
from matplotlib import image
import numpy as np
import pytest

from trm_jax import boards
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import curves

TASK = SudokuTask(SudokuData(box=2))
LABELS = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1], np.int8) + 1
INPUTS = np.where(np.arange(16) % 3 == 0, LABELS, rules.BLANK).astype(np.uint8)  # clues 0, 3, 6, 9, 12, 15


def _with(*changes: tuple[int, int]) -> np.ndarray:
  """The right answer but for (cell, digit)."""
  answer = LABELS.astype(np.uint8)
  for cell, digit in changes:
    answer[cell] = digit + 1
  return answer


# Step 2 changes nothing, step 3 mends cell 1, step 4 solves it, step 5 and 6 change nothing.
ANSWERS = np.stack([_with((1, 3), (2, 4)), _with((1, 3), (2, 4)), _with((2, 4)), _with(), _with(), _with()])
Q_HALT = np.array([-4.0, -3.0, -2.0, 0.0, 2.0, 5.0], np.float32)


def test_text_shows_the_puzzle_the_steps_that_matter_and_marks():
  text = boards.solving_text(TASK, INPUTS, ANSWERS, LABELS, Q_HALT)
  lines = text.split("\n")
  assert lines[0].split() == ["puzzle", "step", "1", "step", "3"]
  assert lines[1].split("  ")[-1].strip() == "15/16 right" and "14/16 right" in lines[1]
  assert lines[2].split() == ["halt", "1.8%", "halt", "11.9%"]
  assert lines[3].startswith(" 1 . | . 4")
  assert " 1!3 |!4 4" in lines[3] and " 1'2 |!4 4" in lines[3]  # clue, wrong; clue, right, wrong
  assert "'3'4 | 1'2" in lines[4]
  assert lines[5].startswith("-----+----")
  assert "step 4" in text and "step 6" in text and "step 2" not in text and "step 5" not in text
  assert text.count("16/16 right, solved") == 2 and "halt 50.0%" in text and "halt 99.3%" in text
  assert lines[-1] == "' predicted, ! wrong; steps that changed nothing are left out"
  assert text.isascii() and max(map(len, lines)) <= 80
  task, board = SudokuTask(SudokuData(box=3)), np.ones(81, np.uint8)
  assert max(map(len, boards.solving_text(task, board, np.stack([board] * 3), None, np.zeros(3)).split("\n"))) <= 80


def test_a_board_alone():
  assert boards.board_text(TASK, LABELS).split("\n")[2] == "-----+----"
  assert boards.board_text(SudokuTask(SudokuData(box=3)), np.arange(81) % 9 + 2).split("\n")[0] == (
      " 1 2 3 | 4 5 6 | 7 8 9")


def test_text_without_labels_marks_changed_clues_and_says_whether_it_is_solved():
  answers = np.stack([_with((1, 3), (3, 1)), _with()])
  text = boards.solving_text(TASK, INPUTS, answers, None, Q_HALT[:2])
  assert "not solved" in text and "right" not in text
  assert " 1'3 |'3!1" in text
  assert text.endswith("' predicted, ! clue changed")


def test_ignored_cells_do_not_count():
  labels = LABELS.copy()
  labels[:4] = puzzles_lib.IGNORE_LABEL
  text = boards.solving_text(TASK, INPUTS, ANSWERS[:1], labels, Q_HALT[:1])
  assert "12/12 right" in text and "solved" not in text
  assert " 1'3 |'4 4" in text


def _share(picture: np.ndarray, color: str) -> float:
  """Share of pixels of one colour."""
  return (np.abs(picture[..., :3] - np.array(colors.to_rgb(color), np.float32)) < 0.01).all(-1).mean()


def test_picture_has_a_panel_a_step_and_marks_wrong_cells(tmp_path):
  solved, wrong, six = tmp_path / "solved.png", tmp_path / "wrong.png", tmp_path / "six.png"
  boards.solving_picture(solved, TASK, INPUTS, ANSWERS[-1:], LABELS, Q_HALT[-1:])
  boards.solving_picture(wrong, TASK, INPUTS, ANSWERS[:1], LABELS, Q_HALT[:1])
  boards.solving_picture(six, TASK, INPUTS, ANSWERS, LABELS, Q_HALT)
  solved, wrong, six = map(image.imread, (solved, wrong, six))

  assert solved.shape == wrong.shape
  # Three panels abreast and two below each other.
  assert six.shape[1] > 1.3 * solved.shape[1] and six.shape[0] > 1.7 * solved.shape[0]
  assert max(six.shape) < 2000
  for picture in (solved, wrong, six):
    assert _share(picture, boards._CLUE_FILL) > 0.03 and _share(picture, "white") > 0.3
  assert _share(solved, boards._WRONG) == _share(solved, boards._WRONG_FILL) == 0
  assert _share(wrong, boards._WRONG) > 0.002 and _share(wrong, boards._WRONG_FILL) > 0.01
  assert _share(wrong, boards._PREDICTED) < _share(solved, boards._PREDICTED)
  # Hatched, for those who cannot tell red from green.
  assert _share(wrong, boards._WRONG_HATCH) > 0.001 and _share(solved, boards._WRONG_HATCH) == 0


def test_picture_without_labels(tmp_path):
  path = tmp_path / "p.png"
  boards.solving_picture(path, TASK, INPUTS, ANSWERS[:1], None, Q_HALT[:1])
  picture = image.imread(path)
  assert _share(picture, boards._UNCHECKED) > 0.001
  assert _share(picture, boards._PREDICTED) == _share(picture, boards._WRONG) == 0


def test_answers_have_a_panel_a_puzzle_and_their_own_wrong_cells():
  right, wrong = np.stack([ANSWERS[-1]] * 4), np.stack([*ANSWERS[-1:].repeat(3, 0), ANSWERS[0]])
  pictures = [boards.answers_picture(TASK, np.stack([INPUTS] * 4), answers, np.stack([LABELS] * 4), Q_HALT[-4:])
              for answers in (right, wrong)]
  assert pictures[0].shape == pictures[1].shape and pictures[0].dtype == np.uint8
  solved, one_wrong = (picture / np.float32(255) for picture in pictures)
  assert _share(solved, boards._CLUE_FILL) > 0.03 and _share(solved, boards._WRONG) == 0
  width = solved.shape[1]
  assert _share(one_wrong[:-40], boards._WRONG) > 0  # above the legend
  assert _share(one_wrong[:-40, : width * 3 // 4], boards._WRONG) == 0  # in the fourth alone


RECORDS = [
    {"step": 1, "train/loss": 2.0, "train/accuracy": 0.5, "train/exact_accuracy": 0.1, "train/lr": 1e9},
    {"step": 2, "train/loss": 1.0},
    {"step": 3, "train/loss": 0.7, "train/accuracy": 0.6, "train/exact_accuracy": 0.2, "train/lr": 1e9},
    {"step": 3, "compile_s": 7.0},
    {"step": 3, "test/accuracy": 0.9, "test/exact_accuracy": 0.8, "test/by_step": {"accuracy": [0.1]}},
]


@pytest.mark.parametrize("records", [RECORDS, []])
def test_learning_curve(tmp_path, records):
  path = tmp_path / "curve.png"
  curves.learning_curve(path, records, "a title")
  picture = image.imread(path)
  assert picture.shape == (600, 1500, 4)
  assert (_share(picture, "C0") > 0) == (_share(picture, "C1") > 0) == bool(records)  # train and test
  assert (picture[:60] < 0.5).any()  # the title
