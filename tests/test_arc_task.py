# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC as a task: batches of stored versions, transforms, votes, a run from its start to its submission."""

import collections
import dataclasses
import itertools
import json
import re
import shutil

from flax import nnx
import jax
import npz
import numpy as np
import pytest
import tiny

from trm_jax import boards
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import IGNORE_LABEL, Sizes
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.report import write as report
from trm_jax.runtime import sharding
from trm_jax.solve import Solver
from trm_jax.study import running
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc import vote
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.task import ArcTask
from trm_jax.training import attempts
from trm_jax.training import identity
from trm_jax.training import loop
from trm_jax.training import metrics_log
from trm_jax.training.evaluator import Evaluation

GOLDEN = tiny.GOLDEN_ARC
GRID = np.array([[1, 2, 3], [4, 0, 9]], np.uint8)

pytestmark = pytest.mark.usefixtures("own_cache")


def _data(**fields):
  return ArcData(**{"source": str(GOLDEN / "json"), "num_aug": 12} | fields)


def _config(**changes):
  return tiny.arc(**{"data.num_votes": 2, "steps": 2, "eval.every": 2} | changes)


@pytest.fixture(scope="module", name="task")
def _task():
  return ArcTask(_data())


# Grids.


def test_the_eight_transforms():
  expected = [GRID, np.rot90(GRID), np.rot90(GRID, 2), np.rot90(GRID, 3), np.fliplr(GRID), np.flipud(GRID), GRID.T,
              np.fliplr(np.rot90(GRID))]
  for transform, grid in enumerate(expected):
    np.testing.assert_array_equal(grids.turned(GRID, transform), grid)


def test_versions_are_undone_and_named():
  for version in (grids.ORIGINAL, *(transform * 10**8 + 61239784 for transform in range(8))):
    changed = grids.apply(GRID, version)
    assert version == grids.ORIGINAL or (changed != 0).sum() == 5 and changed.max() > 3
    np.testing.assert_array_equal(grids.undo(changed, version), GRID)
    answer, sure = grids.canvas(changed), np.zeros((30, 30), np.float32)
    answer[-1] = 7  # lost
    sure[: changed.shape[0], : changed.shape[1]] = grids.turned(GRID + 0.5, version // 10**8)
    np.testing.assert_array_equal(grids.put_back(answer, version, answer), grids.canvas(GRID))
    back = grids.put_back(sure.reshape(-1), version, answer).reshape(30, 30)
    np.testing.assert_array_equal(back[:2, :3], GRID + np.float32(0.5))
    assert back.sum() == pytest.approx(sure.sum())
    [name] = grids.names("a", np.array([version], np.int32))
    assert grids.parse(name) == ("a", version)
  assert grids.names("a", np.array([7 * 10**8 + 61239784, 4 * 10**8 + grids.ORIGINAL, grids.ORIGINAL], np.int32)) == [
      "a|||t7|||0612397845", "a|||t4|||0123456789", "a"]
  for name in ("a|||t8|||0123456789", "a|||t1|||0123456788", "a|||t1|||123456789", "a|||t1"):
    assert grids.parse(name) is None


def test_canvases_are_remade_in_other_versions():
  rng = np.random.default_rng(0)
  made, expected, versions, moves = [], [], [], []
  for transform in range(8):
    for size in ((1, 1), (3, 7), (30, 30), (30, 4), (2, 30)):
      grid = rng.integers(0, 10, size).astype(np.uint8)
      version = transform * 10**8 + int("".join(map(str, rng.permutation(9)[:8] + 1)))
      changed = grids.apply(grid, version)
      row, column = (int(rng.integers(0, 31 - length)) for length in changed.shape)
      made.append(grids.canvas(grid))
      expected.append(grids.canvas(changed, row, column))
      versions.append(version)
      moves.append(30 * row + column)
  versions, moves = np.array(versions, np.int32), np.array(moves, np.int32)
  expected = np.stack(expected).astype(np.int32)
  np.testing.assert_array_equal(grids.remade(np.stack(made), versions, moves, 0), expected)
  on_device = jax.jit(jax.vmap(lambda *canvas: grids.remade(*canvas, -100)))(np.stack(made), versions, moves)
  np.testing.assert_array_equal(np.asarray(on_device), np.where(expected == 0, -100, expected))
  nothing = grids.remade(np.zeros((1, 900), np.int32), versions[:1], moves[:1], -100)
  assert (nothing == -100).all()


def test_an_answer_is_cropped_to_its_largest_rectangle():
  def cropped(*rows):
    cells = np.zeros((30, 30), np.uint8)
    for i, row in enumerate(rows):
      cells[i, : len(row)] = row
    return grids.crop(cells.reshape(-1)).tolist()

  assert cropped() == [] and grids.crop(np.zeros(900, np.uint8)).shape == (0, 0)
  assert cropped([1, 5, 5]) == []  # it begins at the corner or nowhere
  assert cropped([3, 4, 1], [5, 6, 1], [1, 1]) == [[1, 2], [3, 4]]
  assert cropped([3, 4, 5], [6, 1], [7]) == [[1, 2, 3]]  # of two with three cells the one with fewer rows
  assert cropped([3, 4, 5], [6, 1], [7], [8]) == [[1], [4], [5], [6]]
  assert grids.crop(np.full(900, 2)).shape == (30, 30)


# Batches.


def _stored(golden=GOLDEN):
  """By identifier, the rows of the train split as the reference has stored them."""
  arrays = npz.read(golden / "dataset.npz")
  starts = arrays["train/puzzle_indices"]
  return {int(identifier): [(inputs.tobytes(), labels.tobytes()) for inputs, labels in zip(
      arrays["train/inputs"][start:end], arrays["train/labels"][start:end])]
          for identifier, start, end in zip(arrays["train/puzzle_identifiers"], starts, starts[1:])}


def test_batches_are_whole_versions_as_the_reference_has_stored_them(task):
  puzzles, stored = task.read("train"), _stored()
  source = rows_lib.to_device(rows_lib.Source.of(task.arrays(puzzles), puzzles))
  sample = jax.jit(lambda step: rows_lib.sample_batch(
      source, task.row, jax.random.key(3), step, batch_size=50, num_aug=12))
  batches = [jax.tree.map(np.asarray, sample(step)) for step in range(30)]
  length = len(puzzles)
  assert length == puzzles.examples_of_groups().sum() and 1500 // length > 10
  rows = [(int(identifier), (inputs.astype(np.uint8).tobytes(),
                             np.where(labels == IGNORE_LABEL, 0, labels).astype(np.uint8).tobytes()))
          for batch in batches
          for identifier, inputs, labels in zip(batch["puzzle_identifiers"], batch["inputs"], batch["labels"])]
  versions = collections.Counter()
  for start in range(0, 1500 - length, length):
    # Group by group, each in one version, all its pairs, also where a batch ends between them.
    parts = [(identifier, [cells for _, cells in some]) for identifier, some in
             itertools.groupby(rows[start : start + length], key=lambda row: row[0])]
    assert len(parts) == puzzles.num_groups == len({(identifier - 1) // 13 for identifier, _ in parts})
    for identifier, cells in parts:
      assert sorted(cells) == sorted(stored[identifier])
    versions.update((identifier - 1) % 13 for identifier, _ in parts)
  assert set(versions) == set(range(13)) and max(versions.values()) < 50  # of 12 x 24, each about 22 times


def test_steps_and_sizes_are_the_references(task):
  puzzles = task.read("train")
  sizes = Sizes.of(puzzles)
  assert sizes.stored == (1391, 312)
  assert sizes.total_steps(100, 16) == int(100 * 24 * (1391 / 312) / 16)
  blank = sizes.blank_puzzles()
  assert Sizes.of(blank).num_versions == 312
  shapes = [jax.tree.map(np.shape, rows_lib.Source.of(task.arrays(p), p)) for p in (puzzles, blank)]
  assert shapes[0] == shapes[1]


def test_what_is_compiled_ahead_is_what_runs(task):
  """Shapes of an evaluation, from numbers alone and from test sets of other sizes, are one."""
  puzzles = task.read("test")
  config = tiny.config().model.sized(**Sizes.of(puzzles).of_model())
  model = jax.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0)))
  attempter = attempts.Attempter(lambda model: model, task, mesh=sharding.make_mesh(jax.devices()[:1]), batch_size=4,
                                 max_puzzles=len(puzzles), versions=4)
  _, expected, _ = attempter.arguments(model)
  for some in (puzzles, puzzles.take_groups(np.array([3])), puzzles.first_versions(2)):
    data = attempter._data(some.first_versions(5).padded(len(puzzles), 5))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), data) == jax.tree.map(lambda x: (x.shape, x.dtype), expected)
    assert data.versions == min(5, some.num_versions.max())


def test_parts_of_a_data_set(task):
  puzzles = task.read("train")
  part = puzzles.take_groups(np.array([5, 2])).first_versions(4)
  assert part.versions.starts.tolist() == [0, 4, 8]
  np.testing.assert_array_equal(part.versions.identifiers, [*range(66, 70), *range(27, 31)])
  row = jax.jit(lambda arrays, example, version: task.row(arrays, example, version, None))
  for group, old in enumerate((5, 2)):
    for version in range(4):
      for example in range(part.examples_of_groups()[group]):
        rows = [row(task.arrays(p), np.int32(p.originals()[g] + example), np.int32(version))
                for p, g in ((part, group), (puzzles, old))]
        for name in rows[0]:
          np.testing.assert_array_equal(*(r[name] for r in rows))
  # Fewer versions are the first of them, and test puzzles keep theirs, for the vote.
  fewer = splits_lib.load(ArcTask(_data()))
  assert fewer.train.num_versions.tolist() == [13] * 24 and fewer.test.num_versions.tolist() == [13] * 8
  name, watched = fewer.watched
  assert name == "test" and watched.num_versions.tolist() == [13] * 8
  assert fewer.train.digest() != dataclasses.replace(
      fewer.train, versions=dataclasses.replace(fewer.train.versions, moves=fewer.train.versions.moves * 0)).digest()


# Votes.


def _votes(task, answers, *, puzzles=None):
  """Of (example, version, grid that answers the original, q_halt)."""
  puzzles = puzzles or task.read("test")
  groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
  rows = [grids.canvas(grids.apply(grid, int(puzzles.versions.numbers[puzzles.versions.starts[groups[e]] + v])))
          if grid is not None else np.zeros(900, np.uint8) for e, v, grid, _ in answers]
  examples, versions = (np.array([answer[i] for answer in answers], int) for i in (0, 1))
  return vote.count(puzzles, task.task_names, examples, versions, np.array(rows, np.uint8).reshape(-1, 900),
                    np.array([answer[3] for answer in answers]))


def _truth(puzzles, example):
  return grids.crop(puzzles.labels[example])


def test_votes_by_hand(task):
  puzzles = task.read("test")
  sizes, names = puzzles.examples_of_groups(), [
      task.task_names[int(i)] for i in puzzles.puzzle_identifiers[puzzles.originals()]]
  wrong, other = np.array([[1]], np.uint8), np.array([[2, 3]], np.uint8)
  # Two against one, though the one is surer; then equally many, the surer one; then equally sure, the first.
  votes = _votes(task, [(0, 1, _truth(puzzles, 0), -5.0), (0, 2, _truth(puzzles, 0), -5.0), (0, 3, wrong, 9.0),
                        (1, 1, wrong, 0.5), (1, 4, _truth(puzzles, 1), 1.0),
                        (2, 0, other, 0.0), (2, 5, _truth(puzzles, 2), 0.0), (2, 7, wrong, -1.0)])
  assert sizes[:3].tolist() == [1, 1, 1]
  assert votes.metrics["pass@1"] == 2 / 8 and votes.metrics["pass@2"] == votes.metrics["pass@1000"] == 3 / 8
  first = votes.submission[names[0]]
  assert first == [{"attempt_1": _truth(puzzles, 0).tolist(), "attempt_2": [[1]]}]
  assert votes.submission[names[2]] == [{"attempt_1": [[2, 3]], "attempt_2": _truth(puzzles, 2).tolist()}]
  # What nobody has answered is said, and the format is kept.
  assert votes.submission[names[3]] == [{"attempt_1": [[0, 0], [0, 0]], "attempt_2": [[0, 0], [0, 0]]}]
  assert len(votes.unanswered) == sizes.sum() - 3 and f"{names[3]}, test input 1" in votes.unanswered
  assert {name: len(attempts) for name, attempts in votes.submission.items()} == dict(zip(names, sizes.tolist()))


def test_test_inputs_without_an_answer_are_named(capsys):
  task = ArcTask(_data())
  puzzles = task.read("test")
  puzzles = dataclasses.replace(puzzles, versions=dataclasses.replace(
      puzzles.versions, starts=np.where(np.arange(9) < 8, 0, puzzles.versions.starts)))  # only the last has versions
  evaluation = Evaluation(answers=np.zeros((9, 900), np.uint8), right_cells=np.zeros((1, 9), np.int32), by_rules={},
                          counted_cells=np.zeros(9, np.int32), q_halt=np.zeros((1, 9), np.float32), losses={},
                          steps=np.zeros(9, np.int32), row_steps=0)
  number = 9 - puzzles.examples_of_groups()[-1]
  assert task.score(puzzles, evaluation)["unanswered"] == number
  names = [f"{task.task_names[int(i)]}, test input 1" for i in puzzles.puzzle_identifiers]
  said = capsys.readouterr().err
  assert f"warning: no version of {number} of 9 test inputs was answered, so that they count as not solved: " in said
  assert f": {names[0]}; {names[1]}; " in said and said.endswith(f" and {number - 5} more\n")


def test_one_answer_is_submitted_twice_and_no_rectangle_is_an_answer(task):
  name = task.task_names[int(task.read("test").puzzle_identifiers[0])]
  assert _votes(task, [(0, 3, None, 0.0)]).submission[name] == [{"attempt_1": [], "attempt_2": []}]
  votes = _votes(task, [(0, 3, GRID, 0.0), (0, 2, None, 0.0), (0, 1, GRID, 0.0)])
  assert votes.submission[name] == [{"attempt_1": GRID.tolist(), "attempt_2": []}]


def test_a_task_of_several_test_inputs_scores_their_share(task):
  puzzles = task.read("test")
  [group] = np.flatnonzero(puzzles.examples_of_groups() == 2)
  first = puzzles.originals()[group]
  votes = _votes(task, [(first + 1, 2, _truth(puzzles, first + 1), 0.0)])
  assert votes.metrics["pass@1"] == 0.5 / 8
  # Test inputs that look alike share their votes.
  twins = puzzles.inputs.copy()
  twins[first + 1] = twins[first]
  twins = dataclasses.replace(puzzles, inputs=twins)
  votes = _votes(task, [(first + 1, 2, _truth(puzzles, first), 0.0)], puzzles=twins)
  assert votes.metrics["pass@1"] == 0.5 / 8 and len(votes.unanswered) == 7


def test_without_solutions_there_is_no_score(task):
  puzzles = task.read("test")
  unknown = dataclasses.replace(puzzles, labels=np.full_like(puzzles.labels, IGNORE_LABEL))
  votes = _votes(task, [(0, 3, GRID, 0.0)], puzzles=unknown)
  assert votes.metrics == {} and len(votes.submission) == 8


# A run.


def test_a_grid_is_drawn_in_its_size(task):
  assert boards.board_text(task, grids.canvas(GRID)) == " 1 2 3\n 4 0 9"
  assert task.board(np.zeros(900, np.uint8)).cells.shape == (30, 30)


def test_tasks_in_json_are_those_that_the_model_knows(task, tmp_path):
  [path] = (GOLDEN / "json").glob("*_evaluation_challenges.json")
  challenges, test = json.loads(path.read_text()), task.read("test")
  every = task.read_json(str(path))
  assert len(every) == len(test) and (every.labels == IGNORE_LABEL).all()  # its solutions are in another file
  [name] = [name for name, kinds in challenges.items() if len(kinds["test"]) == 2]
  challenges[name]["test"][1]["output"] = GRID.tolist()
  (tmp_path / f"{name}.json").write_text(json.dumps(challenges[name]))
  one = task.read_json(str(tmp_path / f"{name}.json"))
  rows = np.flatnonzero(test.puzzle_identifiers == one.puzzle_identifiers[0])
  np.testing.assert_array_equal(one.inputs, test.inputs[rows])
  assert task.task_names[int(one.puzzle_identifiers[1])] == name and (one.labels[0] == IGNORE_LABEL).all()
  np.testing.assert_array_equal(one.labels[1] == IGNORE_LABEL, grids.canvas(GRID) == 0)
  of_one, of_test = (jax.jit(lambda arrays, row: task.row(arrays, row, None, None)["inputs"])(
      task.arrays(puzzles), row) for puzzles, row in ((one, 1), (test, rows[1])))
  np.testing.assert_array_equal(of_one, of_test)
  # A new test input of the same task is welcome, in whatever order its demonstrations are; another task is not.
  challenges[name]["test"][0]["input"] = GRID.tolist()
  challenges[name]["train"].reverse()
  (tmp_path / f"{name}.json").write_text(json.dumps(challenges[name]))
  assert grids.crop(task.read_json(str(tmp_path / f"{name}.json")).inputs[0]).tolist() == GRID.tolist()
  other = next(kinds for other, kinds in challenges.items() if other != name)
  for kind in ("input", "output"):
    changed = json.loads(json.dumps(challenges[name]))
    changed["train"][1][kind] = other["train"][0][kind]
    (tmp_path / f"{name}.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=f"{name}.json, task {name}: its train pair 2 is not in the task of this name in "
                                        "'.*json', on which the model was trained, so this is another task"):
      task.read_json(str(tmp_path / f"{name}.json"))
  (tmp_path / "mine.json").write_text(json.dumps(challenges[name]))
  with pytest.raises(UserError, match="mine.json: the task 'mine' is not in '.*json', on which the model was trained"):
    task.read_json(str(tmp_path / "mine.json"))


@pytest.fixture(scope="module", name="trained")
def _trained(tmp_path_factory, shared_programs):
  """A run whose prefix table is not zero."""
  # An untrained model fills the canvas with colours, and drawing some thousand cells takes a minute.
  folder = tmp_path_factory.mktemp("trained") / "run"
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "_pictures", lambda *run: None)
    patch.setattr(boards, "answers_picture", lambda *answers: np.zeros((1, 1, 3), np.uint8))
    loop.run(_config(), folder)
  return folder


def test_a_run_votes_and_submits(trained, tmp_path, solve):
  results = json.loads((trained / "results.json").read_text())
  assert results["test"]["num_puzzles"] == 27 and {"pass@1", "pass@1000"} < results["test"].keys()
  assert results["test"]["unanswered"] == 0
  submission = json.loads((trained / "submission.json").read_text())
  assert submission.keys() == json.loads((GOLDEN / "test_puzzles.json").read_text()).keys()
  assert {key for attempts in submission.values() for attempt in attempts for key in attempt} == {
      "attempt_1", "attempt_2"}
  assert evaluate.run(str(trained), None) == results["test"]
  assert evaluate.run(str(trained), None, versions=0, out=str(tmp_path / "out"))["num_puzzles"] == 9
  assert json.loads((tmp_path / "out" / "submission.json").read_text()).keys() == submission.keys()
  # Rollouts vote, too; they are alike with so little noise.
  thought = evaluate.run(str(trained), None, rollouts=2, noise=1e-9)
  assert thought["num_puzzles"] == 54 and thought["pass@2"] == results["test"]["pass@2"]
  with pytest.raises(UserError, match=r"^--versions=13: the run has only 12 augmented versions of each task"):
    evaluate.run(str(trained), None, versions=13)
  with pytest.raises(UserError, match="^--choose=halting: arc counts votes in its own way; leave it out$"):
    evaluate.run(str(trained), None, choose="halting")
  # And is solved with: a task in JSON as it stands, which is its first version.
  solver = Solver.load(trained, batch_size=2)
  status, printed, _ = solve(solver, str(next((GOLDEN / "json").glob("*_evaluation_challenges.json"))), "--json",
                             f"--html={tmp_path}/x.html", "--show=1")
  lines = [json.loads(line) for line in printed.splitlines()]
  assert status == 0 and len(lines) == 9 and all(line["proven"] is None for line in lines)
  with pytest.raises(UserError, match="^versions = 13: arc has 12 besides the puzzle itself$"):
    Solver(solver.model, solver.task, versions=13)
  with pytest.raises(UserError, match=r"^1 1 1 .*\.\.\.: is a grid alone, without a task; name the JSON file of its "):
    solver([np.ones(900, np.uint8)])
  answers = {line["question"]: line["answer"] for line in lines}
  text = solver.task.text
  assert {text(answer.puzzle): text(answer.cells) for answer in solver(solver.task.read("test"), trace=True)} == answers
  assert '"#f012be"' in (tmp_path / "x.html").read_text()


def test_solve_votes_as_the_evaluation_does(trained, solve, monkeypatch, tmp_path):
  """Two versions besides the original: the attempts are those of the run's submission, in JSON, print and picture."""
  submission = json.loads((trained / "submission.json").read_text())
  [path] = (GOLDEN / "json").glob("*_evaluation_challenges.json")
  expected = [attempts for name in json.loads(path.read_text()) for attempts in submission[name]]
  solver = Solver.load(trained, batch_size=4, versions=2)
  status, printed, _ = solve(solver, str(path), "--json", "--show=0")
  lines = [json.loads(line) for line in printed.splitlines()]
  assert status == 0 and [{key: line[key] for key in ("attempt_1", "attempt_2")} for line in lines] == expected
  assert {line["attempts"] for line in lines} == {3} and {line["votes"] for line in lines} <= {1, 2, 3}
  assert any(attempts["attempt_1"] != attempts["attempt_2"] for attempts in expected)
  # The best answer is the one whose steps are kept, and its test input may be any of a task's.
  answers = solver(solver.task.read("test"), trace=True)
  for answer, line in zip(solver(solver.task.read_json(str(path)), trace=True), lines):
    assert grids.crop(answer.cells).tolist() == line["attempt_1"] and len(answer.trace) == answer.steps == 2
    np.testing.assert_array_equal(answer.cells, answer.trace[-1].cells)
    assert answer.votes == answer.candidates[0].count and sum(one.count for one in answer.candidates) == 3
    assert ((answer.cell_confidence > 0) >= (answer.cells > grids.END)).all()
  assert sorted(answer.cells.tobytes() for answer in answers) == sorted(
      grids.canvas(np.array(line["attempt_1"], np.uint8).reshape(len(line["attempt_1"]), -1)).tobytes()
      if line["attempt_1"] else bytes(900) for line in lines)
  drawn = []
  monkeypatch.setattr(boards, "solving_picture", lambda *args: drawn.append(args))
  status, printed, _ = solve(solver, "--num=1", f"--image={tmp_path}/x.png")
  *_, before, after = drawn[0]
  assert [shown.title for shown in before[:2]] == ["pair 1", "output"]
  assert [shown.title for shown in after] == ["answer 1", "answer 2", "solution"]
  assert after[0].verdict == "2 of 3 votes" or "1 of 3 votes" in after[0].verdict
  assert re.search(r"steps; [12] of 3 attempts came to it\n\nanswer 2 \(1 of 3 votes\)\n [0-9]", printed)


def test_versions_that_a_task_lacks_have_no_vote(trained):
  solver, puzzles = Solver.load(trained, batch_size=4, versions=3), ArcTask(_data()).read("test")
  groups = np.array([0, 1])
  fewer = puzzles._take(groups, np.ones(2, int), np.array([2, 4]))
  answers = solver(fewer)
  assert [answer.attempts for answer in answers] == [2, 4]
  for answer, group, versions in zip(answers, groups, (2, 4)):
    alone = Solver(solver.model, solver.task, batch_size=4, versions=versions - 1)
    alone, = alone(puzzles.take_groups(groups[[group]]))
    assert [one.count for one in alone.candidates] == [one.count for one in answer.candidates]
    np.testing.assert_array_equal(alone.cells, answer.cells)


def test_a_run_from_another_machine_is_solved_with_where_its_puzzles_are_now(trained, solve, tmp_path):
  loaded = weights.load(str(trained))
  config = dataclasses.replace(loaded.config, data=dataclasses.replace(loaded.config.data, source="theirs"))
  weights.save(loaded.model, config, tmp_path / "run", rows=loaded.rows)
  with pytest.raises(UserError, match="^config.data.source = 'theirs': no such folder; .*, and --data=FOLDER says"):
    Solver.load(tmp_path / "run")
  solver = Solver.load(tmp_path / "run", data=str(GOLDEN / "json"), batch_size=2)
  assert solver.task.row_names() == ArcTask(_data()).row_names()
  [path] = (GOLDEN / "json").glob("*_evaluation_challenges.json")
  assert solve(solver, str(path), f"--data={GOLDEN / 'json'}", "--json", "--show=0")[0] == 0


def test_an_evaluation_without_solutions_says_so_and_submits(trained, tmp_path, capsys):
  shutil.copytree(GOLDEN / "json", tmp_path / "json", copy_function=shutil.copyfile)
  [path] = (tmp_path / "json").glob("*_evaluation_solutions.json")
  loaded = weights.load(str(trained))
  path.unlink()
  task = ArcTask(_data(source=str(tmp_path / "json")))
  # Which versions are new depends on the solutions, too.
  weights.save(loaded.model, loaded.config, tmp_path / "run", rows=identity.rows_digest(task))
  evaluate.run(str(tmp_path / "run"), str(tmp_path / "json"), versions=0, out=str(tmp_path / "out"))
  said = capsys.readouterr()
  assert "answered without a score, because no solution is known" in said.out + said.err
  assert "solved" not in said.out and len(json.loads((tmp_path / "out" / "submission.json").read_text())) == 8


def test_a_run_without_solutions_has_no_score_anywhere(tmp_path, shared_programs, monkeypatch, capfd):
  """Neither zeros nor a right answer: in no file, line or report."""
  shutil.copytree(GOLDEN / "json", tmp_path / "json", copy_function=shutil.copyfile)
  [path] = (tmp_path / "json").glob("*_evaluation_solutions.json")
  path.unlink()
  monkeypatch.setattr(boards, "answers_picture", lambda *answers: np.zeros((1, 1, 3), np.uint8))  # takes long
  monkeypatch.setattr(boards, "solving_picture", lambda path, task, inputs, answers, labels, *more: drawn.append(labels))
  drawn, folder = [], tmp_path / "run"
  results = loop.run(_config(**{"data.source": str(tmp_path / "json"), "save.average": 1}), folder)
  assert results == json.loads((folder / "results.json").read_text()) and drawn == [None]
  names = {"num_puzzles", "row_steps", "unanswered"}
  assert results["test"].keys() == names and results["test"]["num_puzzles"] == 0
  recorded = {name.removeprefix(f"{of}/") for record in metrics_log.read_metrics(folder / "metrics.jsonl")
              for name in record for of in ("test", "test_average") if name.startswith(f"{of}/")}
  assert recorded == names | {"num_checkpoints"}
  said = capfd.readouterr().out
  assert "test: 9 puzzles answered without a score, because no solution is known" in said
  assert "last checkpoint: answered without a score, because no solution is known" in said
  assert "results.json        the test, without a score" in said and "solved," not in said and "solved by" not in said
  for name in ("submission.json", "submission_average.json"):
    assert len(json.loads((folder / name).read_text())) == 8 and re.search(f"^  {name} +the answers", said, re.M)
  assert running.solved(running.results_of(folder), _config()) == (
      "answered without a score, because no solution is known")
  report.report([str(folder)], tmp_path / "report")
  page = (tmp_path / "report" / "report.md").read_text()
  assert "1 run of 1 setting: 0 finished, 1 finished without a score, because no solution is known. None has a" in page
  assert "%" not in page.partition("## Every run")[2].partition("csv")[0]


# Identifiers.


def test_rows_are_named_as_the_reference_names_them(task):
  names = task.row_names()
  recorded = json.loads((GOLDEN / "identifiers.json").read_text())
  assert recorded[0] == "<blank>" and names == ["", *recorded[1:]]


def test_a_checkpoint_is_not_evaluated_with_other_identifiers(trained):
  """Another seed numbers other versions, and every one of them would get a prefix that was trained for another."""
  loaded = weights.load(str(trained))
  assert loaded.rows == identity.rows_digest(ArcTask(_data()))
  other = ArcTask(_data(seed=1))
  with pytest.raises(UserError, match=f"^{GOLDEN / 'json'}: its puzzle identifiers stand for other puzzles than those "
                                      f"that {trained} was trained on"):
    identity.check_rows(other, loaded.rows, str(trained))


@pytest.mark.parametrize("use", [lambda run: evaluate.run(run, None), Solver.load], ids=["evaluate", "solve"])
def test_other_identifiers_are_refused_before_anything_is_answered(use, trained, monkeypatch):
  monkeypatch.setattr(grids, "names", lambda task, versions, names=grids.names: names(f"new {task}", versions))
  with pytest.raises(UserError, match="its puzzle identifiers stand for other puzzles"):
    use(str(trained))


def test_a_checkpoint_that_does_not_say_what_its_rows_stand_for_is_warned_of(task, capsys):
  identity.check_rows(task, None, "somewhere")
  assert "somewhere: does not say which puzzles the rows of its prefix table stand for" in capsys.readouterr().err
