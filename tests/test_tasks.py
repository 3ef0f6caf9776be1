# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Any task: found by name, trained, evaluated, drawn and solved by programs that know nothing of it."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny
import toy

from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import tasks
from trm_jax import weights
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.runtime import sharding
from trm_jax.solve import Solver
from trm_jax.tasks import grid
from trm_jax.tasks import symmetry
from trm_jax.training import attempts
from trm_jax.training import loop


def _config(**fields):
  values = config_lib.default_config("toy")
  changes = {name: value for name, value in tiny.FIELDS.items() if not name.startswith("data.")}
  config_lib.change(values, changes | {
      "data.num_train": 32, "data.num_validation": 8, "data.num_test": 12, "data.num_aug": 3,
      "eval.every": 2} | fields)
  return config_lib.parse(values)


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory, shared_programs):
  folder = tmp_path_factory.mktemp("toy") / "run"
  return folder, loop.run(_config(), folder)


def test_a_task_of_ones_own_is_trained_and_drawn(run):
  folder, results = run
  assert results["test"]["num_puzzles"] == 12 and "by_rating" not in results["test"]
  assert {"solved.png", "learning_curve.png"} <= {path.name for path in folder.iterdir()}
  saved = json.loads((folder / "config.json").read_text())
  assert saved["config"]["task"] == "toy" and saved["config"]["data"]["length"] == 6
  assert saved["data"] == {"vocab_size": 6, "seq_len": 6, "num_puzzle_identifiers": 1}


def test_it_is_evaluated(run, tmp_path):
  folder, results = run
  assert evaluate.run(str(folder), None, out=str(tmp_path / "out")) == results["test"]
  written = folder / "words.json", tmp_path / "out" / "words.json"
  one, other = (json.loads(path.read_text()) for path in written)
  assert one == other and len(one) == 12 and {len(word) for word in one} == {6}


def test_its_answers_are_not_written_over_those_of_others(tmp_path):
  (tmp_path / "words_best.json").write_text("mine")
  with pytest.raises(UserError, match=f"^{tmp_path}: has words_best.json, but no config.json"):
    loop.run(_config(), tmp_path)
  assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["words_best.json"]


def test_it_is_solved(run, solve, tmp_path):
  solver = Solver.load(run[0], batch_size=2)
  status, printed, _ = solve(solver, "1 2 3 4 5 1", f"--out={tmp_path}/x.csv", f"--image={tmp_path}/x.png")
  [row] = csv.DictReader((tmp_path / "x.csv").read_text().splitlines())
  assert row["question"] == "1 2 3 4 5 1" and len(row["answer"].split()) == 6 and row["proven"] == row["right"] == ""
  assert status == 0 and "nothing tells whether it is right; the model is " in printed and (tmp_path / "x.png").exists()
  assert solve(solver, "1 2 9")[::2] == (
      2, "error: 1 2 9: backwards has 6 tokens from 0 to 5, with blanks between them\n")


def test_puzzles_of_several_examples_are_solved(run):
  solver = Solver.load(run[0], batch_size=2)
  words = splits_lib.load_test(solver.task)
  pairs = dataclasses.replace(words, puzzle_starts=np.arange(0, len(words) + 1, 2, dtype=np.int32),
                              group_starts=np.arange(len(words) // 2 + 1, dtype=np.int32))
  single, paired = ([answer.cells.tolist() for answer in solver(puzzles)] for puzzles in (words, pairs))
  assert single == paired and len(single) == 12


def test_versions_and_rollouts_are_attempts(run):
  """Each version of a word is attempted; its answer, put back, is one to the word itself."""
  loaded = weights.load(str(run[0]))
  task, model = loaded.task, loaded.model
  puzzles = splits_lib.load_test(task)
  attempter = attempts.Attempter(lambda model: model, task, mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=8,
                                 max_puzzles=12, versions=2, rollouts=2, noise=1e-9, seed=5)
  made = attempter.attempt(model, puzzles)
  answers = made.answers.reshape(12, 3, 2, 6)  # example, version, rollout
  plain = attempts.every_answer(model, task, puzzles).answers[-1]
  np.testing.assert_array_equal(answers[:, 0, 0], plain)
  np.testing.assert_array_equal(answers[:, :, 0], answers[:, :, 1])  # so little noise is none
  assert made.q_halt.shape == (2, 72) and made.steps.shape == (72,)
  # A version's letters are put back, and numbers of its cells, which have not moved, stay where they are.
  labels = np.stack([row["labels"] for row in map(jax.jit(attempter._row), [attempter._data(puzzles)] * 72, range(72))])
  np.testing.assert_array_equal(attempter.put_back(puzzles, np.arange(72), labels.astype(np.uint8)),
                                np.repeat(puzzles.labels, 6, axis=0).astype(np.uint8))
  sure = np.random.default_rng(0).random((5, 6), np.float32)
  np.testing.assert_array_equal(attempter.put_back(puzzles, np.arange(5), sure), sure)
  # What a version is asked is the word in other letters: two letters that are equal stay equal.
  row_of, data = jax.jit(attempter._row), attempter._data(puzzles)
  rows = [jax.tree.map(np.asarray, row_of(data, np.int32(number))) for number in range(72)]
  for number, row in enumerate(rows):
    word, version = puzzles.inputs[number // 6], number // 2 % 3
    equal = word[:, None] == word[None]
    np.testing.assert_array_equal(row["inputs"][:, None] == row["inputs"][None], equal)
    assert version or (row["inputs"] == word).all()
  assert any((rows[6 * i + 2]["inputs"] != puzzles.inputs[i]).any() for i in range(12))


def test_a_task_that_is_not_there():
  with pytest.raises(UserError, match="^config.task = 'nonsense': no such task; use one of .*sudoku, or name an"):
    tasks.data_config("nonsense")
  for name in ("", "..", ".toy", "toy.", "json.nonsense.task", "a b"):
    with pytest.raises(UserError, match="no such task"):
      tasks.data_config(name)
  with pytest.raises(UserError, match="^config.task = 'csv': csv has no Data and no Task; see trm_jax/tasks/sudoku"):
    tasks.data_config("csv")
  assert isinstance(tasks.of("toy", toy.Data()), toy.Task)


def test_knobs_of_another_task_are_named():
  with pytest.raises(UserError, match="^config.data.box: no such field; use one of length, num_aug"):
    _config(**{"data.box": 2})


def test_a_task_without_versions_says_so(tmp_path):
  task = tasks.Task(config_lib.Config().data)
  task.name = "plain"
  with pytest.raises(UserError, match="^plain has no augmented versions; set config.data.num_aug to 0"):
    task.symmetry(None)


def test_new_puzzles_are_drawn_until_there_are_enough_different_ones():
  splits = toy.Task(toy.Data(length=2, num_train=10, num_validation=7, num_test=8)).generate()
  assert [len(splits[split]) for split in ("train", "validation", "test")] == [10, 7, 8]
  words = np.concatenate([puzzles.inputs for puzzles in splits.values()])
  assert len(np.unique(words, axis=0)) == 25  # all that there are
  np.testing.assert_array_equal(words[:, ::-1], np.concatenate([puzzles.labels for puzzles in splits.values()]))
  alone = toy.Task(toy.Data(length=2, num_train=10, num_test=3)).read("train")
  assert alone.digest() == splits["train"].digest()
  other = toy.Task(toy.Data(length=2, num_train=10, num_test=3, seed=1)).read("train")
  assert other.digest() != alone.digest()
  with pytest.raises(UserError, match="^none of 10,000 successive tries made a new puzzle of backwards, after 25 of"):
    toy.Task(toy.Data(length=2, num_train=18, num_test=8)).read("test")
  with pytest.raises(UserError, match="^config.data.num_test = 0: means all, but 'generated' puzzles are endless"):
    toy.Task(toy.Data(num_train=3)).read("train")


@pytest.mark.parametrize("made", [([1, 2], [2, 9]), ([1, 2],), ([1, 2, 3], [3, 2, 1]), ([0.5, 1], [1, 0.5]),
                                  ([[1], [1, 2]], [1, 2]), ([0, 1], [1, 0]), 7])
def test_new_puzzles_that_are_none(made, monkeypatch):
  monkeypatch.setattr(toy.Task, "new_puzzle", lambda self, rng: made)
  with pytest.raises(UserError, match="^new_puzzle of backwards returned .*: must be a puzzle and its answer, each of "
                                      r"2 tokens from 1 to 5 \(0 is padding\), or None$"):
    toy.Task(toy.Data(length=2, num_train=1, num_test=1)).read("train")


def test_tries_that_led_to_nothing_are_passed_over(monkeypatch):
  word = np.array([[1, 2, 3], [4, 5, 1]])
  found = iter([None, (word, word[::-1]), None, (word, word), (word[:, ::-1], word)])
  monkeypatch.setattr(toy.Task, "new_puzzle", lambda self, rng: next(found))
  task = toy.Task(toy.Data(num_train=1, num_test=1))
  assert task.read("train").inputs.tolist() == [[1, 2, 3, 4, 5, 1]]
  assert task.read("test").inputs.tolist() == [[3, 2, 1, 1, 5, 4]]


def _fails(self, rng):
  return self.nothing


@pytest.mark.parametrize("methods, message", [
    ({"new_puzzle": lambda self, rng: None}, r"^new_puzzle of backwards returned None 10,000 times in succession, after 0 "
                                             "of 3 puzzles; make it"),
    ({"new_puzzle": _fails}, r"test_tasks.py, line \d+: AttributeError: 'Mine' object has no attribute 'nothing'$"),
    ({"new_puzzle": lambda self: None}, r"test_tasks.py: new_puzzle\(self, rng\) failed: TypeError: .* takes 1 "),
    ({"is_given": lambda self, inputs: inputs > 0}, "^new_puzzle of backwards made the puzzle .* with the answer .*, "
                                                    "which changes cells that are clues by is_given; correct"),
    ({"is_given": lambda self, inputs: True}, r"^is_given of backwards returned bool of shape \(\) for puzzles of shape "
                                              r"\(2, 6\): must be bool of shape \(…, cells\), here \(2, 6\)$"),
    ({"solves": lambda self, inputs, answers: (inputs == answers).all(-1)}, "^new_puzzle of backwards made the puzzle .* "
                                                                            "with the answer .*, which is wrong by solves"),
    ({"solves": lambda self, inputs, answers: inputs == answers}, r"^solves of backwards returned bool of shape \(2, 6\)"),
    ({"solves": lambda self, inputs, answers: (inputs == answers).sum(-1)}, "^solves of backwards returned int64 of"),
])
def test_mistakes_in_the_methods_of_a_task_are_said_before_training(methods, message):
  mine = type("Mine", (toy.Task,), {"__module__": __name__, **methods})
  with pytest.raises(UserError, match=message):
    mine(toy.Data(num_train=2, num_test=1)).read("train")


@pytest.mark.parametrize("made", [None, symmetry.Symmetry(cells=np.arange(5), values=np.arange(6))])
def test_a_symmetry_of_another_size_is_refused(made):
  mine = type("Mine", (toy.Task,), {"symmetry": lambda self, key: made})
  with pytest.raises(UserError, match=r"^symmetry of backwards returned \w+ with cells of shape \(5?,?\) and values of "
                                      r"shape \(6?,?\): must be a Symmetry with \(6,\) and \(6,\)$"):
    mine(toy.Data(num_train=2, num_test=1)).version_symmetry(1, None)


def test_a_task_without_a_generator_says_so():
  data = dict(source="generated", num_train=1, num_test=1)
  with pytest.raises(UserError, match="^config.data.source = 'generated': grid-2x3 has no generator, which is"):
    grid.Task(grid.Data(alphabet="ab", rows=2, columns=3, **data)).read("train")
  with pytest.raises(UserError, match="^config.data.source = 'generated': needs config.data.alphabet, config"):
    grid.Task(grid.Data(**data)).read("train")
  with pytest.raises(UserError, match="^config.data.source = 'words': puzzles of backwards are 'generated'$"):
    toy.Task(toy.Data(source="words", num_train=1, num_test=1)).read("train")
