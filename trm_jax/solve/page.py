# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes one HTML file in which a person scrubs through the supervision steps of puzzles. It needs no network.

page.html beside this file is the page; its data are inserted as JSON:

  task: the task's name.
  text, fill: for each token, its cell's character, and its cell's colour or null.
  puzzles: title, verdict, note, and `frames`: the puzzle, then each step. A frame has columns and block (rows and
    columns between heavy lines) of the board; for each cell, in the order of the board, tokens, marks ("g" given, "w"
    wrong, "." neither) and sure, the confidence in percent; and halt. For the puzzle, sure and halt are null. Further
    boards are `before`, such as demonstrations, and `after`, which belongs to the last step: each a frame with a title.

web.py turns it into a page on which a person types the puzzle.
"""

from collections.abc import Sequence
from importlib import resources
import json
import os
import pathlib
from typing import Any

import numpy as np

from trm_jax import boards
from trm_jax.runtime import files
from trm_jax.solve.solver import Answer
from trm_jax.tasks import Task
from trm_jax.tasks.task import Shown

_DATA = "PUZZLES_AS_JSON"  # the place for the data in page.html


def puzzle(task: Task, title: str, answer: Answer, labels: np.ndarray | None, verdict: str, note: str,
           before: Sequence[Shown] = (), after: Sequence[Shown] = ()) -> dict[str, Any]:
  """The page's data for one puzzle.

  Args:
    task: of the puzzle.
    title: of the puzzle.
    answer: with its trace.
    labels: (S,) tokens or IGNORE_LABEL; None if the right answer is not known.
    verdict: says whether the answer is right.
    note: a remark about the puzzle itself, or "".
    before, after: boards that are shown before its board, and after the last step (see Task.shown_before).
  """
  cells = np.stack([step.cells for step in answer.trace])
  drawn = boards.drawn(task, answer.puzzle, cells, labels, np.array([step.q_halt for step in answer.trace]))
  steps = [_frame(board.layout, board.answer, board.given, board.wrong) | {
      "sure": np.floor(100 * step.cell_confidence[board.layout.cells.reshape(-1)]).astype(int).tolist(),
      "halt": round(100 * step.confidence, 1)} for board, step in zip(drawn, answer.trace)]
  if before and not task.is_given(answer.puzzle).any():  # answers do not show it
    before = [*before, Shown("puzzle", answer.puzzle)]
  others = {name: [_other(task, shown) for shown in some] for name, some in (("before", before), ("after", after))}
  return {"title": title, "verdict": verdict, "note": note, "frames": [unsolved(task, answer.puzzle), *steps]} | others


def unsolved(task: Task, inputs: np.ndarray) -> dict[str, Any]:
  """The frame of a puzzle, (S,) tokens, before the first step."""
  given = task.is_given(inputs)
  return _frame(task.board(inputs), inputs, given, np.zeros_like(given)) | {"sure": None, "halt": None}


def _other(task: Task, shown: Shown) -> dict[str, Any]:
  title = f"{shown.title} ({shown.verdict})" if shown.verdict else shown.title
  return unsolved(task, shown.tokens) | {"title": title}


def _frame(layout: boards.Board, tokens: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
  order = layout.cells.reshape(-1)
  marks = np.where(wrong, "w", np.where(given, "g", "."))
  return {"columns": layout.cells.shape[1], "block": list(layout.block), "tokens": tokens[order].tolist(),
          "marks": "".join(marks[order])}


def write(path: os.PathLike | str, task: Task, puzzles: list[dict[str, Any]]) -> None:
  """Writes the page.

  Args:
    path: of the file.
    task: of the puzzles.
    puzzles: at least one; see `puzzle`.

  Raises:
    UserError: the file cannot be written.
  """
  files.replace_text(pathlib.Path(path), text(task, {"puzzles": puzzles}))


def text(task: Task, shown: dict[str, Any]) -> str:
  """The page, with the data in `shown` added to those of the task."""
  tokens = range(task.vocab_size)
  data = {"task": task.name, "text": [task.cell_text(token) for token in tokens],
          "fill": [task.fills[token][0] if token in task.fills else None for token in tokens]} | shown
  # "<" is escaped, since it might end the script that contains the data.
  return source("page.html").replace(_DATA, json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


def source(name: str) -> str:
  """The content of a file beside this one."""
  return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
