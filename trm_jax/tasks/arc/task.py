# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC-AGI as a task."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

from etils import epath
import numpy as np

from trm_jax.data import folders
from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles, Stored
from trm_jax.errors import UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import console
from trm_jax.runtime import paths
from trm_jax.tasks import task
from trm_jax.tasks import vote as vote_lib
from trm_jax.tasks.arc import builder
from trm_jax.tasks.arc import generate
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc import json_files
from trm_jax.tasks.arc import reference_folder
from trm_jax.tasks.arc import vote
from trm_jax.tasks.arc.config import ArcData

_SHOWN_PAIRS = 4  # in a picture
_NAMED = 5  # test inputs without an answer, in a warning
_USABLE = ("name the folder of the JSON files of ARC's tasks, one or several written by the reference's dataset builder, "
           "with commas between them, or 'generated'")


class ArcTask(task.Task):
  """ARC's tasks: a group is a task, an example is one of its pairs, and versions are stored as recipes, not as cells.

  Args:
    data: its knobs.
  """

  name, vocab_size = "arc", grids.VOCAB_SIZE
  scores = "pass@1", "pass@2"
  # The colours in which ARC is shown everywhere, from 0 on.
  fills = {grids.FIRST_COLOUR + i: colour for i, colour in enumerate((
      ("#000000", "black"), ("#0074d9", "blue"), ("#ff4136", "red"), ("#2ecc40", "green"), ("#ffdc00", "yellow"),
      ("#aaaaaa", "grey"), ("#f012be", "magenta"), ("#ff851b", "orange"), ("#7fdbff", "light blue"),
      ("#870c25", "maroon")))}
  stores_versions = True
  answer_file = "submission.json"

  def __init__(self, data: ArcData):
    super().__init__(data)
    self.seq_len = data.side**2
    for name in ("subsets", "test_set") if self.own_splits else ():
      value, default = (getattr(some, name) for some in (data, ArcData))
      if value != default:
        raise UserError(f"config.data.{name} = {value!r}: is about JSON files, and generated tasks come from none; "
                        "leave it out")
    self.num_votes, self.max_versions = min(data.num_votes, data.num_aug), data.num_aug
    self._made: builder.DataSet | None = None
    self._counted: tuple[Any, vote.Votes] | None = None

  # Puzzles.

  @property
  def num_puzzle_identifiers(self) -> int:
    return self._data_set().splits["train"].num_puzzle_identifiers

  @property
  def task_names(self) -> dict[int, str]:
    """The names of tasks, by the identifier of the original."""
    return self._data_set().names

  def row_names(self) -> list[str]:
    """The reference's names of tasks and versions."""
    names = [""] * self.num_puzzle_identifiers
    for puzzles in self._data_set().splits.values():
      made = puzzles.versions
      for start, end in zip(made.starts, made.starts[1:]):
        identifiers = made.identifiers[start:end].tolist()
        for identifier, name in zip(identifiers, grids.names(self.task_names[identifiers[0]], made.numbers[start:end])):
          names[identifier] = name
    return names

  def stored(self, split: str) -> Stored | None:
    if self.own_splits:
      return None
    return Stored.of(self._data_set().splits[split])

  def read(self, split: str, progress: task.Progress | None = None) -> Puzzles:
    if split == "validation":
      raise UserError(f"config.data.num_validation = {self.data.num_validation}: no generated tasks are held out; "
                      "set it to 0, and test inputs are evaluated during training instead")
    return self._data_set(progress).splits[split]

  def read_json(self, path: str) -> Puzzles:
    """The test inputs of tasks that are published as json_files.read_file says. A model knows the versions of a task by
    their rows of the prefix table, so that it must have been trained on it: on a task of the same name with the same
    demonstrations. Test inputs may be new."""
    tasks = json_files.read_file(folders.local_file(path, "the argument"), self.data.side)
    train = self.read("train")  # has all tasks
    places = {self.task_names[identifier]: group for group, identifier in enumerate(
        train.puzzle_identifiers[train.originals()].tolist())}
    for name in tasks:
      if name not in places:
        raise UserError(f"{path}: the task {name!r} is not in {self.data.source!r}, on which the model was trained, "
                        "and it has rows of the prefix table for no other; name a file after its task, as "
                        "007bbfb7.json, or train rows for new tasks by config.init_from (docs/runs.md)")
      self._check_demonstrations(f"{path}, task {name}", tasks[name], places[name])
    pairs = [[pair for pair in pairs if pair.is_test] for pairs in tasks.values()]
    sizes, flat = np.array([len(some) for some in pairs]), [pair for some in pairs for pair in some]
    versions = train.take_groups(np.array([places[name] for name in tasks])).versions
    moves = np.zeros((np.diff(versions.starts) * sizes).sum(), np.int16)  # test inputs stay at the top left
    return builder.of_pairs(flat, self.data.side, sizes=sizes, versions=dataclasses.replace(versions, moves=moves),
                            num_puzzle_identifiers=self.num_puzzle_identifiers)

  def _check_demonstrations(self, where: str, pairs: Sequence[json_files.Pair], group: int) -> None:
    """Raises UserError unless the training puzzles have these demonstrations in the task of a group."""
    train = self.read("train")
    rows = np.flatnonzero(train.puzzle_identifiers == train.puzzle_identifiers[train.originals()[group]])
    known = {train.inputs[row].tobytes() + np.maximum(train.labels[row], 0).tobytes() for row in rows}
    for number, pair in enumerate([pair for pair in pairs if not pair.is_test], 1):
      if b"".join(grids.canvas(grid, side=self.data.side).tobytes() for grid in (pair.input, pair.output)) not in known:
        raise UserError(f"{where}: its train pair {number} is not in the task of this name in {self.data.source!r}, on "
                        "which the model was trained, so this is another task, for which it has no rows of the prefix "
                        "table; give the pairs of that task, or give this one another name and train rows for it by "
                        "config.init_from (docs/runs.md)")

  def _data_set(self, progress: task.Progress | None = None) -> builder.DataSet:
    """Returns both splits, which are made together."""
    if self._made is None:
      self._made = self._read(progress)
    return self._made

  def _read(self, progress: task.Progress | None) -> builder.DataSet:
    source = self.data.source
    if self.own_splits:
      return self._generated(progress)
    places = source.split(",")
    if len(places) > 1 and any(not place or place != place.strip() for place in places):
      raise UserError(f"config.data.source = {source!r}: must be one folder, or several with commas and no spaces "
                      "between them")
    if len({place if "://" in place else os.path.realpath(place) for place in places}) < len(places):
      raise UserError(f"config.data.source = {source!r}: names a folder twice; name each once")
    built = [self._reference_folder(place) for place in places]
    if None not in built:
      if self.data.side != grids.SIDE:
        raise UserError(f"config.data.side = {self.data.side}: {source} was written by the reference's builder, whose "
                        f"canvases have {grids.SIDE}; set config.data.side = {grids.SIDE}")
      return reference_folder.read(built)
    if len(places) > 1:
      raise UserError(f"config.data.source = {source!r}: {places[built.index(None)]} was not written by the reference's "
                      "dataset builder, and only folders that it wrote can be named together; put JSON files into one "
                      "folder, and name them in config.data.subsets")
    folder = paths.user_path(source, "config.data.source")
    names = buckets.names(folder) if buckets.is_remote(folder) else sorted(os.listdir(folder))
    wanted = [name for name in names if name.endswith(".json")]
    if buckets.is_remote(folder) and wanted:
      folder = epath.Path(buckets.local_copy(folder, wanted))
    return builder.build(builder.read(folder, names, self.data), self.data.test_set, self.data, progress)

  @staticmethod
  def _reference_folder(source: str) -> pathlib.Path | None:
    """A local folder with the files of a folder that the reference's builder wrote; None for another folder."""
    local, _ = (folders.dataset(source, split, _USABLE) for split in ("train", "test"))
    folder = paths.user_path(source, "config.data.source")
    if local is not None and buckets.is_remote(folder):
      buckets.local_copy(folder, ["identifiers.json"])
    return local

  def _generated(self, progress: task.Progress | None) -> builder.DataSet:
    data = self.data
    task.check_numbers(data)
    made = generate.subsets(data.num_train, data.num_test, data.side, data.seed)
    subsets = {name: json_files.of_json(tasks, f"generated, {name}", data.side) for name, tasks in made.items()}
    return builder.build(subsets, "evaluation", data, progress)

  # Rows of a batch.

  def arrays(self, puzzles: Puzzles) -> Any:
    """The originals, the numbers and moves that make versions of them, and for each example: the first version of its
    task, the number of versions, the example's first move, and the distance to its move in the next version."""
    versions, sizes = puzzles.versions, puzzles.examples_of_groups()
    groups = np.repeat(np.arange(puzzles.num_groups), sizes)
    place = np.arange(len(puzzles)) - puzzles.originals()[groups]
    return {
        "inputs": puzzles.inputs, "labels": puzzles.labels, "identifiers": versions.identifiers,
        "numbers": versions.numbers, "moves": versions.moves, "first_version": versions.starts[groups],
        "num_versions": puzzles.num_versions[groups].astype(np.int32),
        "first_move": (versions.example_starts(sizes)[groups] + place).astype(np.int32),
        "num_examples": sizes[groups].astype(np.int32)}

  def row(self, arrays: Any, example: Any, version: Any | None, key: Any | None) -> dict[str, Any]:
    """Makes a row. A version that a task lacks is replaced by its original: few tasks lack any."""
    import jax.numpy as jnp  # pylint: disable=g-import-not-at-top

    del key  # versions are stored
    version = jnp.int32(0) if version is None else version
    version = jnp.where(version < arrays["num_versions"][example], version, 0)
    number = arrays["first_version"][example] + version
    move = arrays["moves"][arrays["first_move"][example] + version * arrays["num_examples"][example]]
    made_by = arrays["numbers"][number], move.astype(jnp.int32)
    return {"inputs": grids.remade(arrays["inputs"][example], *made_by, 0),
            "labels": grids.remade(arrays["labels"][example], *made_by, IGNORE_LABEL),
            "puzzle_identifiers": arrays["identifiers"][number]}

  # Answers.

  def undo_stored(self, cells: np.ndarray, number: int, answer: np.ndarray) -> np.ndarray:
    """See Task. Only the grid of an answer is kept, with end marks behind it."""
    return grids.put_back(cells, number, answer)

  def fault(self, inputs: np.ndarray) -> str:
    del inputs
    return "is a grid alone, without a task; name the JSON file of its task"

  def submitted(self, found: Sequence[vote_lib.Candidate]) -> dict[str, Any]:
    return vote.submitted(found)

  def score(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """Reports `pass@1` and so on, and `by_votes` (see vote.Votes); `unanswered` counts test inputs without a vote,
    which a warning names."""
    votes = self._votes(puzzles, evaluation)
    table = {"by_votes": votes.by_votes} if votes.by_votes else {}
    return votes.metrics | table | {"unanswered": len(votes.unanswered)}

  def answers(self, puzzles: Puzzles, evaluation: Any) -> dict[str, Any]:
    """The competition's submission."""
    return self._votes(puzzles, evaluation).submission

  def _votes(self, puzzles: Puzzles, evaluation: Any) -> vote.Votes:
    """Counts the votes, once per evaluation."""
    if self._counted is None or self._counted[0] is not evaluation:
      examples = np.repeat(np.arange(len(puzzles)), evaluation.attempts)
      versions = np.tile(np.repeat(np.arange(evaluation.versions), evaluation.rollouts), len(puzzles))
      there = versions < np.repeat(puzzles.num_versions, puzzles.examples_of_groups())[examples]
      votes = vote.count(puzzles, self.task_names, examples[there], versions[there], evaluation.answers[there],
                         evaluation.q_halt[-1, there])
      self._counted = evaluation, votes
      if votes.unanswered:
        more = f" and {len(votes.unanswered) - _NAMED:,} more" if len(votes.unanswered) > _NAMED else ""
        console.warn(f"no version of {len(votes.unanswered):,} of {len(puzzles):,} test inputs was answered, so that "
                     f"they count as not solved: {'; '.join(votes.unanswered[:_NAMED])}{more}")
    return self._counted[1]

  # Drawing.

  def board(self, tokens: np.ndarray) -> task.Board:
    """The layout of the rectangle of colours at the top left; of the whole canvas if there is none."""
    rows, columns = grids.crop(tokens).shape
    if not rows:
      rows = columns = self.data.side
    cells = np.arange(self.seq_len).reshape(self.data.side, self.data.side)[:rows, :columns]
    return task.Board(cells, cells.shape)

  def shown_before(self, puzzles: Puzzles, example: int) -> list[task.Shown]:
    """Boards of the task's demonstrations, each with its output."""
    train, shown = self.read("train"), []
    examples = np.flatnonzero(train.puzzle_identifiers == puzzles.puzzle_identifiers[example])
    for number, pair in enumerate(examples[:_SHOWN_PAIRS], 1):
      shown += [task.Shown(f"pair {number}", train.inputs[pair]),
                task.Shown("output", np.maximum(train.labels[pair], 0))]  # IGNORE_LABEL is padding
    return shown

  def shown_after(self, puzzles: Puzzles, evaluation: Any, example: int) -> list[task.Shown]:
    """Boards of the two answers with the most votes, and of the solution if it is known."""
    return self.shown_answers(self._votes(puzzles, evaluation).found[example], puzzles.labels[example])

  def shown_answers(self, found: Sequence[vote_lib.Candidate], labels: np.ndarray | None) -> list[task.Shown]:
    solution = np.zeros(self.seq_len, np.int8) if labels is None else np.maximum(labels, 0)  # IGNORE_LABEL is padding
    votes = sum(candidate.count for candidate in found)
    known = [task.Shown("solution", solution)] * bool(solution.any())
    return [task.Shown(f"answer {number}", candidate.answer, ", ".join(
        [f"{candidate.count:,} of {votes:,} votes", *["right"] * bool((candidate.answer == solution).all())]))
            for number, candidate in enumerate(found[: vote.ATTEMPTS], 1)] + known

  def cell_text(self, token: int) -> str:
    return " .0123456789"[token]
