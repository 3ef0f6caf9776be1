# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Defines a task as the rest of the library sees it.

Axes: S cells of a puzzle, V vocabulary, N examples.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
import string
import sys
import types
from typing import Any

import numpy as np

from trm_jax.data.config import DataConfig
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.puzzles import Puzzles, Stored
from trm_jax.errors import UserError, in_one_line, mistake_in

Array = Any  # an array of NumPy or JAX
Progress = Callable[[int, int], None]  # called with the amount of work done and the total

# Number of successive tries to make a new puzzle after which there are hardly any others.
_TRIES = 10_000


@dataclasses.dataclass(frozen=True)
class Board:
  """The layout of a drawn puzzle: R rows and C columns of cells.

  Attributes:
    cells: (R, C) int, the position of each cell in the sequence.
    block: numbers of rows and columns between two heavy lines; (R, C) if there are none.
  """

  cells: np.ndarray
  block: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Shown:
  """A board that a picture shows besides the puzzle and the model's answers.

  Attributes:
    title: of the board.
    tokens: (S,), drawn like a puzzle or an answer.
    verdict: a remark about it, or "".
  """

  title: str
  tokens: np.ndarray
  verdict: str = ""


@dataclasses.dataclass(frozen=True)
class Editor:
  """The rules by which a person makes a puzzle on an empty board, whose cells are in the sequence row by row.

  Attributes:
    tokens: the tokens that a cell may get; the first is that of an empty cell.
    units: groups of cells in which no token may be repeated, except that of an empty cell.
    once: tokens that must be on the board exactly once.
  """

  tokens: Sequence[int]
  units: Sequence[Sequence[int]] = ()
  once: Sequence[int] = ()


class Task:
  """A task: its puzzles, their rows in a batch, and the rules that an answer must satisfy.

  A task overrides the methods that differ. The methods here suit puzzles whose stored tokens are those of their cells,
  and whose answers are right if they equal the labels. Methods that are not about rows run on the host and do not
  import JAX, so that the sizes of a run are known without it.

  Args:
    data: the task's knobs, an instance of its Data.

  Attributes:
    data: as given.
    name: for people, such as "sudoku-9x9".
    seq_len: S.
    vocab_size: V; token 0 is padding.
    num_puzzle_identifiers: number of rows of the prefix table.
    headline: the metric of an evaluation that is the share of puzzles solved, by which the best checkpoint is chosen.
      It is exact_accuracy, the share of answers that equal their labels, or else the share that `solves` finds right.
    scores: names of the shares that `score` reports for people; one that it leaves out is not shown.
    checked: what `solves` checks, in words; "" if only labels tell what is right.
    fills: by token, the colour that fills its cell in a picture in place of its character, and the colour's name.
    own_splits: whether `read` makes each split with the number of puzzles that `data` asks for, which is so if
      config.data.source is "generated". Otherwise it reads all puzzles, and data/splits.py draws from them.
    stores_versions: whether its puzzles have `versions` (see data/puzzles.py); `undo_stored` puts them back.
    max_versions: the most different augmented versions of a puzzle; None: any number, if there are any.
    num_votes: number of augmented versions that an evaluation attempts besides a puzzle, for `score` to vote over.
    size_fields: fields of config.data that state the size of puzzles, if puzzles of all sizes have the same tokens.
    answer_file: the name of the JSON file for `answers`, such as submission.json; None if there is no such file.
    editor: rules for making a puzzle on an empty board; None if that takes more than filling its cells.
  """

  name: str
  seq_len: int
  vocab_size: int
  num_puzzle_identifiers = 1
  headline = "exact_accuracy"
  scores: tuple[str, ...] = ()
  checked = ""
  fills: Mapping[int, tuple[str, str]] = types.MappingProxyType({})
  stores_versions = False
  max_versions: int | None = None
  num_votes = 0
  size_fields: tuple[str, ...] = ()
  answer_file: str | None = None
  editor: Editor | None = None

  def __init__(self, data: DataConfig):
    self.data = data
    self.own_splits = data.source == "generated"
    self._new: dict[str, Puzzles] | None = None

  # Puzzles.

  def read(self, split: str, progress: Progress | None = None) -> Puzzles:
    """Reads and checks the puzzles of a split. This method knows only puzzles that are generated.

    Args:
      split: "train" or "test"; also "validation" if the task has `own_splits`.
      progress: called while puzzles are made.

    Raises:
      UserError: the source is missing or malformed, or has other puzzles than the knobs say.
    """
    if not self.own_splits:
      raise UserError(f"config.data.source = {self.data.source!r}: puzzles of {self.name} are 'generated'")
    if self._new is None:
      check_numbers(self.data)
      self._new = self.generate(progress)
    return self._new[split]

  def generate(self, progress: Progress | None = None) -> dict[str, Puzzles]:
    """Makes the puzzles of "train", "validation" and "test", as many as `data` says, and no puzzle in two splits.

    This method makes them by `new_puzzle`. The number of puzzles of a split does not change those of the splits before.

    Raises:
      UserError: there are too few different puzzles, `new_puzzle` fails or makes something else, or an answer
        breaks the rules of `is_given` or `solves`.
    """
    sizes = {split: getattr(self.data, f"num_{split}") for split in ("train", "validation", "test")}
    seen, made = set(), {}
    for stream, (split, number) in enumerate(sizes.items()):
      rng, cells, tries, empty = np.random.default_rng([self.data.seed, stream]), [], 0, 0
      while len(cells) < number:
        if empty == _TRIES:
          raise UserError(f"new_puzzle of {self.name} returned None {_TRIES:,} times in succession, after {len(seen):,} "
                          f"of {sum(sizes.values()):,} puzzles; make it return a puzzle more often")
        if tries == _TRIES:
          raise UserError(f"none of {_TRIES:,} successive tries made a new puzzle of {self.name}, after {len(seen):,} "
                          f"of {sum(sizes.values()):,}; lower config.data.num_train, num_validation or num_test")
        tries += 1
        if (pair := self._drawn(rng)) is None:
          empty += 1
          continue
        if (puzzle := self._checked_cells(pair))[0].tobytes() in seen:
          continue
        seen.add(puzzle[0].tobytes())
        cells.append(puzzle)
        tries = empty = 0
        if progress and len(seen) % 100 == 0:
          progress(len(seen), sum(sizes.values()))
      inputs, labels = np.array(cells, np.int8).reshape(number, 2, self.seq_len).swapaxes(0, 1)
      inputs = inputs.astype(np.uint8)
      self._check_answers(inputs, labels)
      made[split] = puzzles_lib.one_group_each(inputs, labels, vocab_size=self.vocab_size)
    return made

  def _drawn(self, rng: np.random.Generator) -> Any:
    """Calls `new_puzzle`. Raises UserError if it fails, with the line of the task's file."""
    try:
      return self.new_puzzle(rng)
    except UserError:
      raise
    except Exception as e:
      path = getattr(sys.modules[type(self).__module__], "__file__", None) or type(self).__module__
      raise mistake_in(path, e) or UserError(f"{path}: new_puzzle(self, rng) failed: {type(e).__name__}: "
                                             f"{in_one_line(e)}") from e

  def _check_answers(self, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Raises UserError unless the answers, (N, S), of new puzzles, (N, S), keep their clues and obey the rules."""
    given, solved = self.is_given(inputs), self.solves(inputs, labels)
    for method, value, shape, words in (("is_given", given, inputs.shape, "(…, cells)"),
                                        ("solves", solved, inputs.shape[:-1], "(…)")):
      if value is not None and (np.shape(value) != shape or np.asarray(value).dtype != bool):
        raise UserError(f"{method} of {self.name} returned {np.asarray(value).dtype} of shape {np.shape(value)} for "
                        f"puzzles of shape {inputs.shape}: must be bool of shape {words}, here {shape}")
    for wrong, words in (((given & (inputs != labels)).any(-1), "changes cells that are clues by is_given"),
                         (np.zeros(len(inputs), bool) if solved is None else ~solved, "is wrong by solves")):
      if wrong.any():
        puzzle, answer = (shortened(self.text(cells[wrong.argmax()])) for cells in (inputs, labels))
        raise UserError(f"new_puzzle of {self.name} made the puzzle {puzzle} with the answer {answer}, which {words}; "
                        "correct one of the two methods")

  def _checked_cells(self, pair: Any) -> np.ndarray:
    """What `new_puzzle` has made, as (2, S) int8."""
    try:
      cells = [np.ravel(tokens) for tokens in pair] if isinstance(pair, tuple) else []
    except ValueError:  # rows of different lengths
      cells = []
    if len(cells) != 2 or any(tokens.shape != (self.seq_len,) or tokens.dtype.kind not in "iu" or tokens.min() < 1
                              or tokens.max() >= self.vocab_size for tokens in cells):
      raise UserError(f"new_puzzle of {self.name} returned {shortened(str(pair))}: must be a puzzle and its answer, "
                      f"each of {self.seq_len} tokens from 1 to {self.vocab_size - 1} (0 is padding), or None")
    return np.array(cells, np.int8)

  def new_puzzle(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Draws a puzzle and its answer, each S tokens in any shape, none of them padding. None: it was a bad try, and
    another is made."""
    del rng
    raise UserError(f"config.data.source = 'generated': {self.name} has no generator, which is a method "
                    "new_puzzle; name a folder with its puzzles")

  def stored(self, split: str) -> Stored | None:
    """The numbers that the source has of "train" or "test", if they are known before it is read; otherwise None.

    Raises:
      UserError: there is no such source, or it does not suit the other knobs.
    """
    del split
    return None

  def shared(self, run: os.PathLike | str) -> "Task":
    """The task, with its puzzles in a place that every process of the job can read. All processes call this together.

    Args:
      run: folder of the run.

    Raises:
      UserError: the puzzles cannot be put there.
    """
    del run
    return self

  def row_names(self) -> Sequence[str] | None:
    """The meaning of each row of the prefix table, by identifier: different names, or "" for a row that no puzzle has;
    None if the task does not name rows. The names identify a table, and let its rows be carried over to another."""
    return None

  def leak(self, train: Puzzles) -> str:
    """Why augmented versions of these puzzles are test puzzles, and what to do about that; "" if they are not."""
    del train
    return ""

  def read_json(self, path: str) -> Puzzles:
    """Reads puzzles from a JSON file in the task's own format. Raises UserError if they cannot be read."""
    raise UserError(f"{path}: {self.name} has no puzzles in JSON; write them into a text file, one a line, or into a "
                    "CSV file with a column 'question'")

  def parse(self, text: str) -> np.ndarray:
    """The tokens, (S,) uint8, of a puzzle that a person typed. Raises UserError if it is no puzzle or has a `fault`."""
    tokens = self.tokens(text)
    if fault := self.fault(tokens):
      raise UserError(f"{shortened(text)}: {fault}")
    return tokens

  def tokens(self, text: str) -> np.ndarray:
    """The tokens, (S,) uint8, of a puzzle or an answer in the format of `text`. Raises UserError if it has another."""
    tokens = text.split()
    if len(tokens) != self.seq_len or not all(t.isdecimal() and int(t) < self.vocab_size for t in tokens):
      raise UserError(f"{shortened(text)}: {self.name} has {self.seq_len} tokens from 0 to {self.vocab_size - 1}, with "
                      "blanks between them")
    return np.array(tokens, np.uint8)

  def characters(self, text: str) -> str:
    """The S characters of a puzzle that is written row by row, with or without line ends; empty lines do not matter.

    For tasks that write one character per cell, and have `shape`, the numbers of rows and columns. Raises UserError if
    there are more or fewer characters, or if there are line ends, but not behind every row.
    """
    rows = [row for row in text.replace("\r", "").split("\n") if row]
    if (number := sum(map(len, rows))) != self.seq_len:
      tabs = ", tabs included" if "\t" in text else ""
      raise UserError(f"{shortened(text)}: {number} characters{tabs}, but {self.name} has {self.seq_len} cells")
    for place, row in enumerate(rows if len(rows) > 1 else (), 1):
      if len(row) != self.shape[1]:
        raise UserError(f"{shortened(text)}: row {place} has {len(row)} cells, but a row of {self.name} has "
                        f"{self.shape[1]}")
    return "".join(rows)

  def text(self, tokens: np.ndarray) -> str:
    """Writes (S,) tokens on one line, which `tokens` can read."""
    return " ".join(map(str, tokens))

  def fault(self, inputs: np.ndarray) -> str:
    """The end of a message that says why a puzzle, (S,) tokens, obviously has no right answer; "" if it may have one.
    """
    del inputs
    return ""

  def diagnose(self, inputs: np.ndarray) -> str:
    """Searches for a few milliseconds whether a puzzle without a `fault` has exactly one right answer.

    Args:
      inputs: (S,) tokens.

    Returns:
      A problem such as "has no solution", or that the search was given up; "" if the puzzle has exactly one answer, or
      if there is no way to tell.
    """
    del inputs
    return ""

  # Rows of a batch.

  def arrays(self, puzzles: Puzzles) -> Any:
    """The data of puzzles that `row` needs: a pytree of NumPy arrays, which is put on the devices."""
    return {"inputs": puzzles.inputs, "labels": puzzles.labels, "puzzle_identifiers": puzzles.puzzle_identifiers}

  def row(self, arrays: Any, example: Any, version: Any | None, key: Any | None) -> dict[str, Any]:
    """Makes one row of a batch, for training or evaluation. Runs under jit and vmap.

    Args:
      arrays: see `arrays`; on the device.
      example: () int32, number of the example.
      version: () int32, the version of its puzzle: 0 or None for the stored puzzle, another number for an augmented
        version, FRESH (see data/rows.py) for the one that the key decides. If the task has `stores_versions`, the
        number of a stored version; for a missing one, any row will do.
      key: random key that decides the augmentation, the same for all examples of a puzzle; None if version is None, and
        in training if versions are stored.

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
    """Draws a tasks.symmetry.Symmetry from a random key. Runs under jit and vmap."""
    del key
    raise UserError(f"{self.name} has no augmented versions; set config.data.num_aug to 0, and ask for none elsewhere")

  def version_symmetry(self, version: Any, key: Any) -> Any:
    """The symmetry of a version; see `row`. In a task with few symmetries, the version may be a symmetry's number."""
    from trm_jax.tasks import symmetry as symmetry_lib  # pylint: disable=g-import-not-at-top

    symmetry, wanted = self.symmetry(key), ((self.seq_len,), (self.vocab_size,))
    found = tuple(np.shape(getattr(symmetry, name, None)) for name in ("cells", "values"))
    if found != wanted:
      raise UserError(f"symmetry of {self.name} returned {type(symmetry).__name__} with cells of shape {found[0]} and "
                      f"values of shape {found[1]}: must be a Symmetry with {wanted[0]} and {wanted[1]}")
    return symmetry_lib.unless_original(version, symmetry)

  def undo(self, cells: Any, version: Any, key: Any) -> Any:
    """Maps values of a version's cells back to the cells of the stored puzzle. Runs under jit and vmap.

    Args:
      cells: (S,) tokens, such as an answer to the version; or floats, which move with their cells.
      version, key: see `row`.

    Returns:
      (S,) int32 tokens or floats.
    """
    from trm_jax.tasks import symmetry as symmetry_lib  # pylint: disable=g-import-not-at-top

    return symmetry_lib.apply(symmetry_lib.inverse(self.version_symmetry(version, key)), cells)

  def undo_stored(self, cells: np.ndarray, number: int, answer: np.ndarray) -> np.ndarray:
    """The same as `undo` for a stored version, of a task that has `stores_versions`; on the host.

    Args:
      cells: (S,) tokens, the answer; or floats, one for each of its cells.
      number: of the version, in `Versions.numbers`.
      answer: (S,) tokens, the answer to the version, which may decide where its cells belong.

    Returns:
      (S,) of the dtype of `cells`.
    """
    raise NotImplementedError

  # Answers.

  def solves(self, inputs: Array, answers: Array) -> Array | None:
    """Whether answers are right by the rules.

    Args:
      inputs: (…, S) tokens, an array of NumPy, or of JAX and then maybe under jit.
      answers: (…, S) tokens of the same library, whose leading axes broadcast with those of inputs.

    Returns:
      (…) bool, of the same library; None if only labels tell.
    """
    del inputs, answers
    return None

  def score(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """Results of an evaluation that only this task reports.

    Args:
      puzzles: N puzzles that were evaluated.
      evaluation: of these puzzles, a training.evaluator.Evaluation.

    Returns:
      Numbers by name; and tables, {row: {"num_puzzles": …, shares by name, mostly the headline: …}}, whose names begin
      with "by_".
    """
    del puzzles, evaluation
    return {}

  def answers(self, puzzles: Puzzles, evaluation: Any) -> Any:
    """Answers in the format of a competition: the content of `answer_file`, for JSON. Takes the arguments of `score`."""
    raise NotImplementedError

  def submitted(self, found: Sequence[Any]) -> dict[str, Any]:
    """The best answers to one puzzle in the format of a competition that takes several: JSON contents by name.

    Args:
      found: tasks.vote.Candidate, best first.
    """
    del found
    return {}

  # Drawing.

  def board(self, tokens: np.ndarray) -> Board:
    """The layout of a puzzle or an answer, (S,) tokens."""
    del tokens
    return Board(np.arange(self.seq_len)[None], (1, self.seq_len))

  def shown_before(self, puzzles: Puzzles, example: int) -> list[Shown]:
    """Boards that a picture shows before an example and its answers, such as the demonstrations to learn from."""
    del puzzles, example
    return []

  def shown_after(self, puzzles: Puzzles, evaluation: Any, example: int) -> list[Shown]:
    """Boards that a picture shows after them, if an evaluation chooses among many answers: these, and the right one.
    The first two arguments are those of `score`."""
    del puzzles, evaluation, example
    return []

  def shown_answers(self, found: Sequence[Any], labels: np.ndarray | None) -> list[Shown]:
    """Boards of the best answers to one puzzle, and of the right one, for a task that takes several answers.

    Args:
      found: tasks.vote.Candidate, best first.
      labels: (S,) tokens or IGNORE_LABEL; None if the right answer is not known.
    """
    del found, labels
    return []

  def cell_text(self, token: int) -> str:
    """The character that stands for a token."""
    return f" .123456789{string.ascii_uppercase}{string.ascii_lowercase}#"[min(token, 63)]

  def is_given(self, inputs: np.ndarray) -> np.ndarray:
    """Whether each cell of puzzles (…, S) must be the same in the answer, (…, S) bool."""
    return np.zeros(np.shape(inputs), bool)


def shortened(text: str) -> str:
  """Prepares a puzzle for a message: on one line, not too long, and without control characters of a terminal."""
  line = text.replace("\r", "").replace("\n", "")
  line = line if len(line) <= 100 else f"{line[:97]}..."
  return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


def check_numbers(data: DataConfig) -> None:
  """Raises UserError unless the knobs say how many puzzles to generate."""
  for name in ("num_train", "num_test"):
    if not getattr(data, name):
      raise UserError(f"config.data.{name} = 0: means all, but 'generated' puzzles are endless; give a number")
