# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What the rest of the library knows of a task.

Axes: S cells of a puzzle, V vocabulary, N examples.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import string
import types
from typing import Any

import numpy as np

from trm_jax.data.config import DataConfig
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import UserError

Array = Any  # of NumPy or JAX
Progress = Callable[[int, int], None]  # called with what is done and what there is to do


@dataclasses.dataclass(frozen=True)
class Board:
  """How a puzzle is drawn: R rows and C columns of cells.

  Attributes:
    cells: (R, C) int, the place in the sequence that each cell is at.
    block: rows and columns between two heavy lines; (R, C) where there are none.
  """

  cells: np.ndarray
  block: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Shown:
  """What a picture shows of a puzzle besides the model's answers.

  Attributes:
    title: what it is.
    tokens: (S,), drawn as a puzzle or an answer is.
    verdict: what there is to say of it, or "".
  """

  title: str
  tokens: np.ndarray
  verdict: str = ""


@dataclasses.dataclass(frozen=True)
class Editor:
  """How a person makes a puzzle out of an empty board, whose cells lie in the sequence row by row.

  Attributes:
    tokens: that a cell may get, the empty cell's first.
    units: groups of cells in which no token but the empty cell's may be twice.
    once: tokens that must be on the board exactly once.
  """

  tokens: Sequence[int]
  units: Sequence[Sequence[int]] = ()
  once: Sequence[int] = ()


class Task:
  """A task: its puzzles, their rows in a batch, the rules by which an answer is right.

  A task overrides what is different with it. As they stand, the methods suit puzzles that are kept as they are seen,
  one token a cell, and are right where they are equal to their labels. What is not about rows runs on the host and
  imports no JAX, so that the sizes of a run are known without it.

  Args:
    data: the task's knobs, an instance of its Data.

  Attributes:
    data: as given.
    name: for people, such as "sudoku-9x9".
    seq_len: S.
    vocab_size: V; token 0 is padding.
    num_puzzle_identifiers: rows of the prefix table.
    headline: the metric of an evaluation that is the share of puzzles solved; the best checkpoint is chosen by it. Any
      other than exact_accuracy, the share of answers that equal their labels, is the share that `solves` finds right.
    scores: of the numbers that `score` reports those that are shares, for people; one that it leaves out is not shown.
    checked: what `solves` checks, for people; "" where labels alone tell what is right.
    fills: by token, a colour that fills its cell in a picture in place of its character, and its name.
    own_splits: whether `read` makes of each split the number of puzzles that `data` asks for, as a generator does.
      Otherwise it reads all there are, and data/splits.py draws from them.
    stores_versions: whether its puzzles have `versions` (see data/puzzles.py).
    max_versions: augmented versions of a puzzle that differ, at the most; None: as many as one likes, if there are any.
    num_votes: augmented versions of a puzzle that an evaluation attempts besides itself, for `score` to vote over.
    editor: how a person makes a puzzle on an empty board; None where that takes more than filling its cells.
  """

  name: str
  seq_len: int
  vocab_size: int
  num_puzzle_identifiers = 1
  headline = "exact_accuracy"
  scores: tuple[str, ...] = ()
  checked = ""
  fills: Mapping[int, tuple[str, str]] = types.MappingProxyType({})
  own_splits = False
  stores_versions = False
  max_versions: int | None = None
  num_votes = 0
  editor: Editor | None = None

  def __init__(self, data: DataConfig):
    self.data = data

  # Puzzles.

  def read(self, split: str, progress: Progress | None = None) -> Puzzles:
    """The puzzles of a split, checked.

    Args:
      split: "train" or "test"; "validation", too, where the task has `own_splits`.
      progress: called while puzzles are made.

    Raises:
      UserError: the source is missing, malformed, or of other puzzles than the knobs say.
    """
    raise NotImplementedError

  def stored(self, split: str) -> Stored | None:
    """What the source has of "train" or "test", as far as that is known before it is read; None where it is not.

    Raises:
      UserError: there is no such source, or it does not go with the other knobs.
    """
    del split
    return None

  def shared(self, run: os.PathLike | str) -> "Task":
    """The task with its puzzles where every process of the job can read them. All processes call this together.

    Args:
      run: folder of the run.

    Raises:
      UserError: they cannot be provided.
    """
    del run
    return self

  def row_names(self) -> Sequence[str] | None:
    """What each row of the prefix table stands for, by identifier: names that are different, or "" for a row that no
    puzzle has. None where a task does not name them. With it a table is told from others, and its rows carried over."""
    return None

  def leak(self, train: Puzzles) -> str:
    """Why augmented versions of these puzzles are test puzzles, and what to do about it; "" where they are not."""
    del train
    return ""

  def read_json(self, path: str) -> Puzzles:
    """Puzzles in a JSON file of the task's own format. Raises UserError if they cannot be read."""
    raise UserError(f"{path}: {self.name} has no puzzles in JSON; write them into a text file, one a line, or into a "
                    "CSV file with a column 'question'")

  def parse(self, text: str) -> np.ndarray:
    """(S,) uint8 tokens of a puzzle that a person has typed. Raises UserError if it is none, or has a `fault`."""
    tokens = self.tokens(text)
    if fault := self.fault(tokens):
      raise UserError(f"{shortened(text)}: {fault}")
    return tokens

  def tokens(self, text: str) -> np.ndarray:
    """(S,) uint8 tokens of a puzzle or an answer that is written as `text` writes it. Raises UserError if it is not."""
    tokens = text.split()
    if len(tokens) != self.seq_len or not all(t.isdecimal() and int(t) < self.vocab_size for t in tokens):
      raise UserError(f"{shortened(text)}: {self.name} has {self.seq_len} tokens from 0 to {self.vocab_size - 1}, with "
                      "blanks between them")
    return np.array(tokens, np.uint8)

  def characters(self, text: str) -> str:
    """The S characters of a puzzle that is written row by row, without the ends of its lines. Raises UserError if there
    are more or fewer of them. For tasks that write one character a cell."""
    cells = text.replace("\r", "").replace("\n", "")
    if len(cells) != self.seq_len:
      raise UserError(f"{shortened(text)}: {len(cells)} characters, but {self.name} has {self.seq_len} cells")
    return cells

  def text(self, tokens: np.ndarray) -> str:
    """(S,) tokens on one line; what `tokens` reads."""
    return " ".join(map(str, tokens))

  def fault(self, inputs: np.ndarray) -> str:
    """Why a puzzle, (S,) tokens, can be seen at once to have no right answer, as the end of a message; "" if it cannot.
    """
    del inputs
    return ""

  def diagnose(self, inputs: np.ndarray) -> str:
    """What keeps a puzzle without a `fault` from having exactly one right answer, as far as a search of milliseconds
    finds out.

    Args:
      inputs: (S,) tokens.

    Returns:
      Such as "has no solution", or that the search was given up; "" where the puzzle is as it should be, and where
      nothing tells.
    """
    del inputs
    return ""

  # Rows of a batch.

  def arrays(self, puzzles: Puzzles) -> Any:
    """What `row` needs of puzzles, a pytree of NumPy arrays, which is put on the devices."""
    return {"inputs": puzzles.inputs, "labels": puzzles.labels, "puzzle_identifiers": puzzles.puzzle_identifiers}

  def row(self, arrays: Any, example: Any, version: Any | None, key: Any | None) -> dict[str, Any]:
    """One row of a batch, of training or of evaluation. Runs under jit and vmap.

    Args:
      arrays: see `arrays`; on the device.
      example: () int32, number of the example.
      version: () int32, the version of its puzzle: 0 as it is stored, any other one augmented; FRESH (see data/rows.py)
        is whichever the key decides. None: as it is stored. Where the task has `stores_versions`, one that is stored;
        for one that is not, any row will do.
      key: random key that decides what the version is, the same for all examples of a puzzle; None with version None,
        and in training where versions are stored.

    Returns:
      `inputs` and `labels`, (S,) int32, where a label may be IGNORE_LABEL; `puzzle_identifiers`, () int32.
    """
    import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

    from trm_jax.tasks import symmetry as symmetry_lib  # pylint: disable=g-import-not-at-top

    inputs, labels = (arrays[name][example].astype(jnp.int32) for name in ("inputs", "labels"))
    if version is not None:
      symmetry = self.version_symmetry(version, key)
      inputs, labels = symmetry_lib.apply(symmetry, inputs), symmetry_lib.apply(symmetry, labels)
    return {"inputs": inputs, "labels": labels, "puzzle_identifiers": arrays["puzzle_identifiers"][example]}

  def symmetry(self, key: Any) -> Any:
    """The tasks.symmetry.Symmetry that a random key decides. Runs under jit and vmap."""
    del key
    raise UserError(f"{self.name} has no augmented versions; set config.data.num_aug to 0, and ask for none elsewhere")

  def version_symmetry(self, version: Any, key: Any) -> Any:
    """The symmetry of a version; see `row`. A task that has few of them may have versions number them."""
    from trm_jax.tasks import symmetry as symmetry_lib  # pylint: disable=g-import-not-at-top

    return symmetry_lib.unless_original(version, self.symmetry(key))

  def undo(self, cells: Any, version: Any, key: Any) -> Any:
    """What is said of the cells of a version, put back on the puzzle as it is stored. Runs under jit and vmap.

    Args:
      cells: (S,) tokens, as in an answer to the version; or floats, which move with their cells.
      version, key: see `row`.

    Returns:
      (S,) int32 tokens or floats.
    """
    from trm_jax.tasks import symmetry as symmetry_lib  # pylint: disable=g-import-not-at-top

    return symmetry_lib.apply(symmetry_lib.inverse(self.version_symmetry(version, key)), cells)

  # Answers.

  def solves(self, inputs: Array, answers: Array) -> Array | None:
    """Which answers are right by the rules.

    Args:
      inputs: (…, S) tokens, of NumPy, or of JAX and then maybe under jit.
      answers: (…, S) tokens of the same library, whose leading axes broadcast with those of inputs.

    Returns:
      (…) bool, of the same library; None where labels alone tell.
    """
    del inputs, answers
    return None

  def score(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """What an evaluation reports besides what it reports of every task.

    Args:
      puzzles: N that were evaluated.
      evaluation: of them, a training.evaluator.Evaluation.

    Returns:
      By name: numbers, or tables, {row: {"num_puzzles": …, shares by name, mostly the headline: …}}, whose names begin
      with "by_".
    """
    del puzzles, evaluation
    return {}

  def answer_files(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """Answers in the format of a competition: by the name of a file what JSON it gets. Arguments as of `score`."""
    del puzzles, evaluation
    return {}

  # Drawing.

  def board(self, tokens: np.ndarray) -> Board:
    """How a puzzle or an answer, (S,) tokens, is drawn."""
    del tokens
    return Board(np.arange(self.seq_len)[None], (1, self.seq_len))

  def shown_before(self, puzzles: Puzzles, example: int) -> list[Shown]:
    """What a picture of an example shows before it and its answers, such as what is to be learned of others."""
    del puzzles, example
    return []

  def shown_after(self, puzzles: Puzzles, evaluation: Any, example: int) -> list[Shown]:
    """What it shows after them, where an evaluation chooses among many answers: these, and the right one. Arguments as
    of `score`."""
    del puzzles, evaluation, example
    return []

  def cell_text(self, token: int) -> str:
    """The one character for a token."""
    return f" .123456789{string.ascii_uppercase}{string.ascii_lowercase}#"[min(token, 63)]

  def is_given(self, inputs: np.ndarray) -> np.ndarray:
    """(…, S) bool, which cells of puzzles (…, S) have to stay in the answer."""
    return np.zeros(np.shape(inputs), bool)


def shortened(text: str) -> str:
  """A puzzle for a message: on one line, not endless, and without anything that a terminal obeys."""
  line = text.replace("\r", "").replace("\n", "")
  line = line if len(line) <= 100 else f"{line[:97]}..."
  return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
