# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Draws answers, and the way to them step by step, as text and as pictures.

Only functions that draw import Matplotlib, and they use its objects (no pyplot): no window, no global state.

Axes: M supervision steps, N puzzles, S cells of a puzzle, R rows and C columns of a board.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import os
import pathlib
from typing import Any

import numpy as np

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.runtime import files
from trm_jax.tasks.task import Board, Shown, Task


_TEXT_WIDTH = 80  # characters
_IN_ROW = 4  # panels of a picture, at most
_CLUE, _PREDICTED, _WRONG = "#111111", "#1b6e3c", "#b3261e"
_UNCHECKED = "#1f4e9c"  # a prediction without an answer to compare with
_CLUE_FILL, _WRONG_FILL, _WRONG_HATCH = "#ececec", "#fbe3e1", "#efb8b3"


@dataclasses.dataclass(frozen=True)
class Drawn:
  """An answer and the facts that a drawing shows about it.

  Attributes:
    title: name of the answer.
    layout: of its cells.
    answer: (S,) tokens.
    given: (S,) bool, whether the puzzle fixes this cell and the answer keeps it.
    wrong: (S,) bool, whether the cell differs from the label of an unsolved puzzle, or changes a given cell.
    checked: whether there are labels.
    verdict: words about the quality of the answer.
    halt: probability of halting; None if this is not an answer.
  """

  title: str
  layout: Board
  answer: np.ndarray
  given: np.ndarray
  wrong: np.ndarray
  checked: bool
  verdict: str
  halt: float | None


def drawn(
    task: Task, inputs: np.ndarray, answers_by_step: np.ndarray, labels: np.ndarray | None, q_halt: np.ndarray,
    first_step: int = 1,
) -> list[Drawn]:
  """One board per step; for arguments see `solving_text`."""
  kept = task.is_given(inputs) & (answers_by_step == inputs)
  wrong = task.is_given(inputs) & ~kept
  counted = None if labels is None else labels != puzzles_lib.IGNORE_LABEL
  solved = solves(task, inputs, answers_by_step, labels)
  if labels is not None:
    # The label is only one of several right answers: an answer that solves the puzzle has no wrong cell.
    wrong |= counted & (answers_by_step != labels) & ~solved[:, None]
  boards = []
  for i, answer in enumerate(answers_by_step):
    if labels is not None:
      right = counted & ~wrong[i]
      verdict = f"{right.sum()}/{counted.sum()} right" + ", solved" * bool(solved[i])
    else:
      verdict = "" if solved is None else "solved" if solved[i] else "not solved"
    halt = 1 / (1 + np.exp(-np.float64(q_halt[i])))
    boards.append(Drawn(f"step {first_step + i}", task.board(answer), answer, kept[i], wrong[i], labels is not None,
                        verdict, halt))
  return boards


def solves(task: Task, inputs: np.ndarray, answers: np.ndarray, labels: np.ndarray | None) -> np.ndarray | None:
  """Whether each answer is right, by the rules of the task or, if it has none, by the labels.

  Args:
    task: of the puzzles.
    inputs: (…, S) integer tokens.
    answers: (…, S) integer tokens, whose leading axes broadcast with those of inputs.
    labels: (…, S) integer tokens or IGNORE_LABEL; None if the right answers are not known.

  Returns:
    (…) bool; None if there are neither rules nor labels.
  """
  solved = task.solves(inputs, answers)
  if solved is None and labels is not None:
    solved = puzzles_lib.are_right(answers, labels)
  return solved


def board_text(task: Task, tokens: np.ndarray) -> str:
  """A puzzle or an answer, (S,) tokens, as lines joined by newlines."""
  return "\n".join(_board_lines(task, task.board(tokens), tokens, np.full(tokens.shape, " ")))


def solving_text(
    task: Task,
    inputs: np.ndarray,
    answers_by_step: np.ndarray,
    labels: np.ndarray | None,
    q_halt: np.ndarray,
    first_step: int = 1,
) -> str:
  """The steps to an answer, for the terminal: the puzzle, each step that changed something, and the last step.

  Args:
    task: of the puzzle.
    inputs: (S,) integer tokens.
    answers_by_step: (M, S) integer tokens, the answer after each supervision step.
    labels: (S,) integer tokens or IGNORE_LABEL; None if the right answer is not known.
    q_halt: (M,) logits of halting.
    first_step: the number of the first of these steps.

  Returns:
    Lines of at most 80 characters (unless one board is wider), joined by newlines. ASCII only. `'` stands before a cell
    that differs from the puzzle, `!` before a wrong cell.
  """
  boards = drawn(task, inputs, answers_by_step, labels, q_halt, first_step)
  before = [inputs, *answers_by_step[:-1]]
  shown = [b for b, old in zip(boards, before) if (b.answer != old).any() or b is boards[-1]]

  blocks = [["puzzle", "", "", *board_text(task, inputs).split("\n")]]
  for b in shown:
    marks = np.where(b.wrong, "!", np.where(b.answer == inputs, " ", "'"))
    blocks.append([b.title, b.verdict, f"halt {b.halt:.1%}", *_board_lines(task, b.layout, b.answer, marks)])

  width = max(len(line) for block in blocks for line in block)
  gap = 3
  columns = max(1, (_TEXT_WIDTH + gap) // (width + gap))
  lines = []
  for i in range(0, len(blocks), columns):
    for parts in itertools.zip_longest(*blocks[i : i + columns], fillvalue=""):
      lines.append((" " * gap).join(part.ljust(width) for part in parts).rstrip())
    lines.append("")
  clues = bool(task.is_given(inputs).any())
  legend = "' predicted" + (", ! wrong" if labels is not None else ", ! clue changed" * clues)
  if len(shown) < len(boards):
    legend += "; steps that changed nothing are left out"
  return "\n".join([*lines, legend])


def _board_lines(task: Task, layout: Board, tokens: np.ndarray, marks: np.ndarray) -> list[str]:
  """The lines of a board with a one-character mark before each cell."""
  (rows, columns), (block_rows, block_columns) = layout.cells.shape, layout.block
  cells = [marks[i] + task.cell_text(tokens[i]) for i in layout.cells.reshape(-1)]
  lines = []
  for r in range(rows):
    if r and r % block_rows == 0:
      lines.append("+".join(["-" * (2 * block_columns + 1)] * (columns // block_columns))[:-1])
    row = cells[r * columns : (r + 1) * columns]
    lines.append(" |".join("".join(row[c : c + block_columns]) for c in range(0, columns, block_columns)))
  return lines


def solving_picture(
    path: str | os.PathLike[str],
    task: Task,
    inputs: np.ndarray,
    answers_by_step: np.ndarray,
    labels: np.ndarray | None,
    q_halt: np.ndarray,
    before: Sequence[Shown] = (),
    after: Sequence[Shown] = (),
) -> None:
  """Writes the steps to an answer as a PNG with one board per supervision step, after the puzzle if no board shows it.

  Args:
    path: the file to write.
    task, inputs, answers_by_step, labels, q_halt: as in `solving_text`.
    before, after: boards to show above and below (see Task.shown_before).
  """
  boards = drawn(task, inputs, answers_by_step, labels, q_halt)
  if not task.is_given(inputs).any():  # the answers do not show the puzzle
    boards.insert(0, _puzzle(task, inputs, labels is not None))
  above, below = ([_shown(task, one) for one in some] for some in (before, after))
  with files.replacing(pathlib.Path(path)) as file:
    rows = [above[i : i + _IN_ROW] for i in range(0, len(above), _IN_ROW)]  # which keeps pairs together
    _figure(task, *rows, boards, below).savefig(file, format="png", dpi=150)


def solving_animation(
    path: str | os.PathLike[str],
    task: Task,
    inputs: np.ndarray,
    answers_by_step: np.ndarray,
    labels: np.ndarray | None,
    q_halt: np.ndarray,
) -> None:
  """Writes the steps to an answer as a GIF: the puzzle, then one supervision step after another, over and over."""
  from PIL import Image

  boards = [_puzzle(task, inputs, labels is not None), *drawn(task, inputs, answers_by_step, labels, q_halt)]
  room = np.max([board.layout.cells.shape for board in boards], axis=0).tolist()  # all frames are of one size
  frames = [Image.fromarray(_pixels(_figure(task, [board], room=room))).quantize(colors=64) for board in boards]
  with files.replacing(pathlib.Path(path)) as file:
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], loop=0,
                   duration=[1000] + [500] * (len(frames) - 2) + [3000])  # milliseconds


def _puzzle(task: Task, inputs: np.ndarray, checked: bool) -> Drawn:
  return dataclasses.replace(_shown(task, Shown("puzzle", inputs)), checked=checked)


def _shown(task: Task, shown: Shown) -> Drawn:
  whole = np.ones(shown.tokens.shape, bool)
  return Drawn(shown.title, task.board(shown.tokens), shown.tokens, whole, ~whole, True, shown.verdict, None)


def answers_picture(
    task: Task, inputs: np.ndarray, answers: np.ndarray, labels: np.ndarray, q_halt: np.ndarray,
    after: Sequence[Sequence[Shown]] = (),
) -> np.ndarray:
  """Draws the answers to a few puzzles, one board each; tasks that choose among many answers show the chosen ones.

  Args:
    task: of the puzzles.
    inputs: (N, S) integer tokens.
    answers: (N, S) integer tokens.
    labels: (N, S) integer tokens or IGNORE_LABEL.
    q_halt: (N,) logits of halting.
    after: for each puzzle, boards to show instead of its answer (see Task.shown_after).

  Returns:
    (height, width, 3) uint8.
  """
  if any(after):
    return _pixels(_figure(task, *(
        [_shown(task, one) for one in (Shown(f"puzzle {i}", puzzle), *shown)]
        for i, (puzzle, shown) in enumerate(zip(inputs, after), 1))))
  boards = []
  for i in range(len(inputs)):
    [board] = drawn(task, inputs[i], answers[i : i + 1], puzzles_lib.known(labels[i]), q_halt[i : i + 1])
    boards.append(dataclasses.replace(board, title=f"puzzle {i + 1}"))
  return _pixels(_figure(task, boards))


def _pixels(fig: Any) -> np.ndarray:
  """Renders a figure as (height, width, 3) uint8."""
  from matplotlib.backends import backend_agg

  canvas = backend_agg.FigureCanvasAgg(fig)
  canvas.draw()
  return np.array(canvas.buffer_rgba())[..., :3]


def _figure(task: Task, *groups: list[Drawn], room: Sequence[int] = (0, 0)) -> Any:
  """A figure with a panel per board and a legend: at most _IN_ROW panels in a row, each group in rows of its own, each
  panel with space for at least `room` rows and columns of cells."""
  from matplotlib import figure
  from matplotlib import patches

  boards, places, panel_rows = [], [], 0
  for group in filter(None, groups):
    group_rows = -(-len(group) // _IN_ROW)
    in_row = -(-len(group) // group_rows)
    places += [(panel_rows + i // in_row, i % in_row) for i in range(len(group))]
    boards += group
    panel_rows += group_rows
  panel_columns = 1 + max(c for _, c in places)
  rows, columns = np.max([room, *(board.layout.cells.shape for board in boards)], axis=0).tolist()

  # Inches, laid out by hand, since panels are alike and their headings may be wider than the panels.
  cell = max(0.11 if task.fills else 0.25, 1.8 / columns)  # characters need more room than colours
  margin, gap, heading, footer = 0.2, 0.25, 0.5, 0.5
  panel_width, panel_height = cell * columns, heading + cell * rows
  width = max(4.5, 2 * margin + panel_columns * (panel_width + gap) - gap)
  height = margin + panel_rows * (panel_height + gap) - gap + footer
  left = (width - panel_columns * (panel_width + gap) + gap) / 2
  fig = figure.Figure(figsize=(width, height))
  for board, (r, c) in zip(boards, places):
    x = left + c * (panel_width + gap)
    y = height - margin - (r + 1) * panel_height - r * gap
    own_rows, own_columns = board.layout.cells.shape
    ax = fig.add_axes((x / width, (y + cell * (rows - own_rows)) / height, cell * own_columns / width,
                       cell * own_rows / height))
    _draw_board(ax, task, board, fontsize=min(12, (54 if task.fills else 36) * cell))

  legend = [patches.Patch(facecolor=color, edgecolor="#888888", label=name) for color, name in task.fills.values()]
  legend = legend if len(legend) < 6 else []  # many colours stand only for themselves
  if not task.fills:
    predicted = ("predicted, right", _PREDICTED) if boards[0].checked else ("predicted", _UNCHECKED)
    filled = "puzzle" if boards[0].halt is None else "clue"
    legend = [patches.Patch(facecolor=_CLUE_FILL, edgecolor="#888888", label=filled),
              patches.Patch(facecolor="white", edgecolor=predicted[1], label=predicted[0])]
  if any(b.wrong.any() for b in boards):
    label = "predicted, wrong" if boards[0].checked else "clue changed"
    legend.append(patches.Patch(facecolor=_WRONG_FILL, edgecolor=_WRONG, hatch="////", linewidth=0.8, label=label))
  if legend:
    fig.legend(handles=legend, loc="lower center", ncols=len(legend), frameon=False, fontsize=9)
  return fig


def _draw_board(ax: Any, task: Task, board: Drawn, *, fontsize: float) -> None:
  """Draws a board into its panel."""
  from matplotlib import colors
  from matplotlib import patches

  (rows, columns), (block_rows, block_columns) = board.layout.cells.shape, board.layout.block
  fills = np.ones((rows, columns, 3))
  for (r, c), i in np.ndenumerate(board.layout.cells):
    text = dict(color=_PREDICTED if board.checked else _UNCHECKED)
    token = int(board.answer[i])
    filled = token in task.fills
    if board.wrong[i]:
      # It is hatched and boxed, too, for readers who cannot tell red from green.
      text, filled = dict(color=_WRONG, fontweight="bold"), False
      hatched = dict(facecolor=_WRONG_FILL, edgecolor=_WRONG_HATCH, hatch="////", linewidth=0)
      ax.add_patch(patches.Rectangle((c, r), 1, 1, **hatched))
      ax.add_patch(patches.Rectangle((c + 0.06, r + 0.06), 0.88, 0.88, fill=False, edgecolor=_WRONG, linewidth=1.0))
    elif filled:
      fills[r, c] = colors.to_rgb(task.fills[token][0])
    elif board.given[i]:
      text = dict(color=_CLUE, fontweight="bold")
      fills[r, c] = colors.to_rgb(_CLUE_FILL)
    if not filled and (character := task.cell_text(token)) != " ":
      ax.text(c + 0.5, r + 0.53, character, ha="center", va="center", fontsize=fontsize, **text)
  # One picture for all cells; one patch per cell would take seconds for mazes.
  ax.imshow(fills, extent=(0, columns, rows, 0), interpolation="nearest", aspect="auto")
  ax.hlines(range(rows + 1), 0, columns, colors="#aaaaaa", linewidth=0.5)
  ax.vlines(range(columns + 1), 0, rows, colors="#aaaaaa", linewidth=0.5)
  ax.hlines(range(0, rows + 1, block_rows), 0, columns, colors=_CLUE, linewidth=1.4, capstyle="projecting")
  ax.vlines(range(0, columns + 1, block_columns), 0, rows, colors=_CLUE, linewidth=1.4, capstyle="projecting")
  ax.set(xlim=(0, columns), ylim=(rows, 0))
  ax.set_axis_off()
  for artist in ax.collections:
    artist.set_clip_on(False)  # the outer lines lie half outside
  ax.set_title(board.title, fontsize=10, fontweight="bold", pad=17)
  halt = "" if board.halt is None else f"halt {board.halt:.0%}"
  verdict = " · ".join(filter(None, (board.verdict, halt)))
  ax.annotate(verdict, (0.5, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", ha="center", fontsize=8)
