# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Turns a trained model into a function from puzzles to answers. JAX is imported only when it loads or solves.

Axes: S cells of a puzzle, M supervision steps.
"""

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import functools
import itertools
import os
from typing import Any, Self, TYPE_CHECKING

import numpy as np

from trm_jax import builtin
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.tasks import Task
from trm_jax.tasks import task as task_lib
from trm_jax.tasks import vote

if TYPE_CHECKING:
  from trm_jax.model.trm import TRM
  from trm_jax.training.attempts import Attempter, Attempts

# The address of the weights that solve ordinary Sudokus without any training.
BUILTIN = "builtin:sudoku"
EXAMPLES = builtin.FOLDER / "sudoku" / "examples.txt"  # such puzzles, one per line
# The number of batches that are passed on together, so that a row whose puzzle is done can take another one.
_BATCHES = 16


@dataclasses.dataclass(frozen=True)
class Step:
  """A model's draft of the answer after a supervision step.

  Attributes:
    cells: (S,) uint8 tokens.
    cell_confidence: (S,) float32, the probability that the model gives to each token.
    q_halt: the logit of the halting head.
  """

  cells: np.ndarray
  cell_confidence: np.ndarray
  q_halt: float

  @property
  def confidence(self) -> float:
    """The sigmoid of the halting head: the model's own estimate of the probability that every cell is right. It was
    learned from the training puzzles, so that it means less for puzzles of another kind."""
    return float(1 / (1 + np.exp(-np.float64(self.q_halt))))


@dataclasses.dataclass(frozen=True)
class Answer(Step):
  """A model's answer to a puzzle: its draft after the last step.

  Attributes:
    puzzle: (S,) uint8 tokens.
    steps: number of supervision steps.
    proven: whether the answer is right by the rules of the task: a Sudoku has every digit once in each row, column and
      box and keeps its clues; a maze has a shortest path. None for tasks without rules.
    votes: number of attempts at the puzzle with these cells. All other attributes are of the surest of these.
    attempts: number of attempts at the puzzle.
    trace: the drafts after all steps, including the last; () if they were not requested.
    candidates: the different answers of all attempts, the chosen one first; () of an answer that was not chosen so.
  """

  puzzle: np.ndarray
  steps: int
  proven: bool | None
  votes: int = 1
  attempts: int = 1
  trace: tuple[Step, ...] = ()
  candidates: tuple[vote.Candidate, ...] = ()


class Solver:
  """Solves puzzles in batches.

  A program is compiled once for each batch size, 1, 2, 4, … batch_size, that is needed: the first batch of a call
  decides, and all other batches of the call are filled up to its size. The size may change the last bits of a number,
  and a recursion that does not converge amplifies such a difference from step to step.

  Args:
    model: a trained model.
    task: that it was trained on.
    batch_size: number of attempts at once; more need more memory and, on an accelerator, less time each.
    choose: how to choose among several attempts at a puzzle, one of trm_jax.tasks.vote.BY: by `count`, the most
      frequent answer; by `halting`, that of the surest attempt; by `convergence`, that of the attempt whose state moves
      least; by `proof`, an answer that the rules prove right.
    versions: see Attempter.
    rollouts: see Attempter. Random numbers depend on a puzzle's position among the others.
    **thinking: `steps`, `stop`, `noise` and `seed` of Attempter.

  Attributes:
    model, task: as given.

  Raises:
    UserError: batch_size is below 1, or the task cannot be attempted, or answers chosen, in this way.
  """

  def __init__(self, model: "TRM", task: Task, *, batch_size: int = 256, choose: str = "count", versions: int = 0,
               rollouts: int = 1, **thinking: Any):
    self.model, self.task = model, task
    if batch_size < 1:
      raise UserError(f"batch_size = {batch_size}: must be at least 1")
    vote.check(choose, task, (1 + versions) * rollouts)
    self._batch_size, self._choose, self._rollouts = batch_size, choose, rollouts
    self._attempts = (1 + versions) * rollouts
    self._thinking = thinking | {"versions": versions, "rollouts": rollouts}
    self._attempter = functools.cache(self._new_attempter)
    self._attempter(1, 1, False)  # compiles nothing, but checks the arguments

  @classmethod
  def load(cls, path: os.PathLike | str = BUILTIN, *, data: str | None = None,
           data_changes: Mapping[str, Any] | None = None, **kwargs: Any) -> Self:
    """Loads a trained model.

    Args:
      path: a run, one of its checkpoints, or a folder that `weights.save` has written; by default the weights for
        ordinary Sudokus that come with trm_jax.
      data: where the puzzles of `task` are now (see config.data.source); None: where the run had them. A model of ARC
        needs those that it was trained on, which say what the rows of its prefix table stand for.
      data_changes: see weights.load; e.g. {"rows": 20} for mazes with more rows than those it was trained on.
      **kwargs: those of Solver.

    Raises:
      UserError: there is no checkpoint, it is damaged, the task's puzzle identifiers now stand for other puzzles, or
        the model cannot have such puzzles.
    """
    from trm_jax import evaluate  # pylint: disable=g-import-not-at-top
    from trm_jax import weights  # pylint: disable=g-import-not-at-top
    from trm_jax.data import folders  # pylint: disable=g-import-not-at-top
    from trm_jax.training import identity  # pylint: disable=g-import-not-at-top

    loaded = weights.load(os.fspath(path), data_changes=evaluate.changes_for(data, data_changes))
    task = loaded.task if data is None else evaluate.task_of(loaded, data, data_changes=data_changes)
    with folders.of_a_run(os.fspath(path), task.own_splits, data, data_changes):
      identity.check_rows(task, loaded.rows, str(loaded.folder))
    return cls(loaded.model, task, **kwargs)

  def __call__(self, puzzles: Puzzles | Iterable[str | np.ndarray], *, trace: bool = False) -> list[Answer]:
    """Solves puzzles and returns their answers.

    Args:
      puzzles: each is a string, row by row as in a CSV file, or (S,) tokens; or Puzzles, such as those of
        `task.read("test")`.
      trace: whether to keep the draft after each step.

    Raises:
      UserError: one of them is not a puzzle of the task, or obviously has no right answer; or the model computes
        numbers that are not finite.
    """
    return list(self.stream(puzzles, trace=trace))

  def stream(self, puzzles: Puzzles | Iterable[str | np.ndarray], *, trace: bool = False) -> Iterator[Answer]:
    """Does the same for any number of puzzles, of which only a limited number is in memory at a time."""
    if isinstance(puzzles, str):
      raise UserError(f"puzzles = {puzzles[:100]!r}: must be a list of puzzles, and is one string; write [puzzle]")
    sizes = self.task.seq_len, self.task.vocab_size
    if isinstance(puzzles, Puzzles) and (puzzles.seq_len, puzzles.vocab_size) != sizes:
      raise UserError(f"puzzles of {puzzles.seq_len} cells and {puzzles.vocab_size} tokens: {self.task.name} has "
                      f"{sizes[0]} cells and {sizes[1]} tokens")
    at_once = max(1, _BATCHES * self._batch_size // self._attempts)
    parts = (_parts(puzzles, at_once) if isinstance(puzzles, Puzzles)
             else self._read(iter(puzzles), at_once))
    rows = room = 0
    for part in parts:
      if len(part) > room:  # only true for the first part, unless puzzles with very many examples follow
        rows = min(self._attempts << (len(part) - 1).bit_length(), self._batch_size)
        room = rows // self._attempts if self._attempts * len(part) <= rows else max(at_once, len(part))
      attempter = self._attempter(rows, room, trace)
      yield from self._answers(attempter, part, attempter.attempt(self.model, part), trace)

  def _read(self, puzzles: Iterator[str | np.ndarray], number: int) -> Iterator[Puzzles]:
    while some := [self._tokens(puzzle) for puzzle in itertools.islice(puzzles, number)]:
      inputs = np.stack(some)
      labels = np.full(inputs.shape, puzzles_lib.IGNORE_LABEL, np.int8)
      yield puzzles_lib.one_group_each(inputs, labels, vocab_size=self.task.vocab_size)

  def _tokens(self, puzzle: str | np.ndarray) -> np.ndarray:
    if isinstance(puzzle, str):
      return self.task.parse(puzzle)
    tokens = np.asarray(puzzle)
    if tokens.shape != (self.task.seq_len,) or not np.issubdtype(tokens.dtype, np.integer) or (
        tokens.min() < 0 or tokens.max() >= self.task.vocab_size):
      raise UserError(f"a puzzle of shape {tokens.shape}, {tokens.dtype}: {self.task.name} has {self.task.seq_len} "
                      f"tokens, integers from 0 to {self.task.vocab_size - 1}")
    if fault := self.task.fault(tokens):
      raise UserError(f"{task_lib.shortened(self.task.text(tokens))}: {fault}")
    return tokens.astype(np.uint8)

  def _new_attempter(self, rows: int, room: int, trace: bool) -> "Attempter":
    import jax  # pylint: disable=g-import-not-at-top

    from trm_jax.runtime import sharding  # pylint: disable=g-import-not-at-top
    from trm_jax.training import attempts  # pylint: disable=g-import-not-at-top

    def measure(outputs, batch):
      del batch
      sure = {"cell_confidence": jax.nn.softmax(outputs.logits.astype("float32")).max(-1)}
      return ({}, sure) if trace else (sure, {})

    return attempts.Attempter(
        lambda model: model, self.task, mesh=sharding.make_mesh(jax.local_devices()[:1]), batch_size=rows,
        max_puzzles=room, keep="all" if trace else "last", measure=measure, residuals=self._choose == "convergence",
        **self._thinking)

  def _answers(self, attempter: "Attempter", puzzles: Puzzles, made: "Attempts", trace: bool) -> Iterator[Answer]:
    cells, sure, q_halt = made.answers, made.measured["cell_confidence"], made.q_halt
    if not (np.isfinite(sure).all() and np.isfinite(q_halt).all()):
      raise UserError("the model's outputs are not finite, probably because its training diverged; use an earlier "
                      "checkpoint")
    if not trace:
      cells, sure = cells[None], sure[None]
    number = len(puzzles)
    each = len(made.steps) // number
    last = attempter.put_back(puzzles, np.arange(number * each), cells[-1]).reshape(number, each, -1)
    proven = self.task.solves(puzzles.inputs[:, None], last)
    residuals = None if made.residuals is None else made.residuals[-1].reshape(number, each)
    # The versions that a puzzle lacks, of those that are stored, come last, and have no vote.
    there = np.full(number, each)
    if puzzles.versions is not None:
      there = np.minimum(each, self._rollouts * np.repeat(puzzles.num_versions, puzzles.examples_of_groups()))
    found = vote.candidates_of_each(last, q_halt[-1].reshape(number, each), by=self._choose, residuals=residuals,
                                    solved=proven, attempts=there)
    taken = each * np.arange(number) + [some[0].attempt for some in found]
    sure = np.stack([attempter.put_back(puzzles, taken, *(x[taken] for x in step)) for step in zip(sure, cells)])
    cells = np.stack([attempter.put_back(puzzles, taken, step[taken]) for step in cells])
    for i, (puzzle, place) in enumerate(zip(puzzles.inputs, taken)):
      steps = int(made.steps[place])
      yield Answer(
          cells=cells[-1, i], cell_confidence=sure[-1, i], q_halt=float(q_halt[-1, place]), puzzle=puzzle, steps=steps,
          proven=found[i][0].proven, attempts=int(there[i]), votes=found[i][0].count, candidates=tuple(found[i]),
          trace=tuple(Step(cells[m, i], sure[m, i], float(q_halt[m, place])) for m in range(steps)) if trace else ())


def _parts(puzzles: Puzzles, number: int) -> Iterator[Puzzles]:
  """Splits puzzles into parts of at most `number` examples, unless one group has more."""
  sizes, begin = puzzles.examples_of_groups(), 0
  ends = np.cumsum(sizes)
  while begin < len(sizes):
    before = ends[begin] - sizes[begin]
    end = max(begin + 1, int(np.searchsorted(ends, before + number, side="right")))
    yield puzzles.take_groups(np.arange(begin, end))
    begin = end
