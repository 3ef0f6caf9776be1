# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC's small tasks that are made from a seed, on canvases of their own size, and pictures of them."""

import json
import re

import chromium
from flax import nnx
import jax
from matplotlib import image
import numpy as np
import pytest
import tiny

from trm_jax import boards
from trm_jax import evaluate
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.report import write as report
from trm_jax.solve import Solver
from trm_jax.tasks.arc import generate
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.task import ArcTask
from trm_jax.training import loop
from trm_jax.training.evaluator import Evaluation

SIDE = 5

pytestmark = pytest.mark.usefixtures("own_cache")


def _data(**fields):
  return ArcData(**{"source": "generated", "side": SIDE, "num_train": 5, "num_test": 5, "num_aug": 3, "num_votes": 3,
                    "seed": 1} | fields)


@pytest.fixture(scope="module", name="task")
def _task():
  return ArcTask(_data())


def _by_rule(rule, grid, output):
  """Whether an output is what a rule makes, worked out otherwise."""
  changed = grid != output if grid.shape == output.shape else None
  if rule in ("recolour", "fill"):
    filled = rule == "recolour" or (output > 0).all()
    return len(set(grid[changed])) <= 1 and len(set(output[changed])) <= 1 and filled
  if rule == "paint":
    return ((output > 0) == (grid > 0)).all() and len(set(output[grid > 0])) == 1
  if rule == "frame":
    inner = slice(1, -1), slice(1, -1)
    edge = np.concatenate([output[0], output[-1], output[:, 0], output[:, -1]])
    return (output[inner] == grid[inner]).all() and len(set(edge)) == 1 and edge[0] > 0
  return output.shape == (3, 5) and (grid[:3] == output).all()


def test_tasks_follow_their_rules_and_the_seed_alone():
  made = generate.subsets(5, 6, 6, seed=3)
  assert made == generate.subsets(5, 6, 6, seed=3) != generate.subsets(5, 6, 6, seed=4)
  assert list(made["training"]) == ["recolour-3-1", "crop-3-2", "frame-3-3", "fill-3-4", "paint-3-5"]
  assert len(made["evaluation"]) == 6 and "recolour-3-11" in made["evaluation"]
  changed = []
  for tasks in made.values():
    for name, kinds in tasks.items():
      assert len(kinds["train"]) == generate.NUM_TRAIN and len(kinds["test"]) == generate.NUM_TEST
      for pair in (*kinds["train"], *kinds["test"]):
        assert _by_rule(name.split("-")[0], np.array(pair["input"]), np.array(pair["output"])), (name, pair)
        changed.append(pair["input"] != pair["output"])
  assert np.mean(changed) > 0.8
  many = generate.subsets(50, 50, 4, seed=3)
  inputs = [json.dumps(pair["input"]) for tasks in many.values() for kinds in tasks.values()
            for pair in (*kinds["train"], *kinds["test"])]
  assert len(set(inputs)) == len(inputs) == 100 * (generate.NUM_TRAIN + generate.NUM_TEST)


def test_no_version_of_a_test_input_is_trained_on(task):
  splits = splits_lib.load(task)
  assert (splits.train.num_groups, splits.test.num_groups, len(splits.test)) == (10, 5, 20) and splits.all_unseen
  rows = {}
  for name in ("train", "test"):
    puzzles = getattr(splits, name)
    versions, sizes = puzzles.versions, puzzles.examples_of_groups()
    assert puzzles.num_versions.tolist() == [4] * puzzles.num_groups
    groups = np.repeat(np.arange(puzzles.num_groups), sizes)
    numbers = versions.numbers.reshape(-1, 4)[groups].astype(np.int32)
    made = grids.remade(np.repeat(puzzles.inputs[:, None], 4, 1), numbers, np.zeros_like(numbers), 0)
    rows[name] = {(identifier, cells.tobytes()) for identifier, some in zip(versions.identifiers.reshape(-1, 4)[groups],
                                                                            made) for identifier, cells in
                  zip(identifier, some)}
  assert rows["test"] and not rows["test"] & rows["train"]
  assert {identifier for identifier, _ in rows["test"]} < {identifier for identifier, _ in rows["train"]}


def test_canvases_of_another_side():
  rng = np.random.default_rng(0)
  for transform in range(8):
    grid = rng.integers(0, 10, (3, 4)).astype(np.uint8)
    version = transform * 10**8 + int("".join(map(str, rng.permutation(9)[:8] + 1)))
    changed = grids.apply(grid, version)
    expected = grids.canvas(changed, 1, 1, side=SIDE)
    square = expected.reshape(SIDE, SIDE)
    np.testing.assert_array_equal(square[1 : 1 + changed.shape[0], 1 : 1 + changed.shape[1]], changed + 2)
    made = grids.remade(grids.canvas(grid, side=SIDE)[None], np.array([version], np.int32),
                        np.array([SIDE + 1], np.int32), 0)
    np.testing.assert_array_equal(made[0], expected)
  np.testing.assert_array_equal(grids.crop(grids.canvas(grid, side=SIDE)), grid)


@pytest.mark.parametrize("fields, message", [
    (dict(num_train=0), "config.data.num_train = 0: means all, but 'generated' puzzles are endless"),
    (dict(num_validation=4), "config.data.num_validation = 4: no generated tasks are held out"),
    (dict(subsets="training,concept"), "^config.data.subsets = 'training,concept': is about JSON files, and generated"),
    (dict(test_set="training"), "^config.data.test_set = 'training': is about JSON files, and generated tasks come"),
])
def test_knobs_that_generated_tasks_cannot_have(fields, message):
  with pytest.raises(UserError, match=message):
    splits_lib.load(ArcTask(_data(**fields)))


def test_grids_must_fit_the_canvas(task, tmp_path):
  path = tmp_path / "recolour-1-1.json"
  path.write_text(json.dumps(generate.subsets(1, 1, SIDE + 2, seed=1)["training"]["recolour-1-1"]))
  with pytest.raises(UserError, match="train pair 1, input: has 6 rows of 6 cells; must have 1 to 5 of 1 to 5"):
    task.read_json(str(path))


# Votes and pictures.


def _evaluation(task, right):
  """Of every version of every test input: those versions answer it that are `right`, and of the others no two alike."""
  puzzles = task.read("test")
  groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
  answers = []
  for labels, numbers in zip(puzzles.labels, puzzles.versions.numbers.reshape(puzzles.num_groups, -1)[groups]):
    for version, number in enumerate(numbers.tolist()):
      grid = grids.crop(labels) if version in right else np.array([[version + 1]], np.uint8)
      answers.append(grids.canvas(grids.apply(grid, number), side=SIDE))
  number, versions = len(answers), puzzles.num_versions[0]
  zeros = np.zeros(number, np.int32)
  return Evaluation(answers=np.stack(answers), right_cells=zeros[None], by_rules={}, counted_cells=zeros,
                    q_halt=np.zeros((1, number), np.float32), losses={}, steps=zeros, row_steps=0, versions=versions)


def test_fewer_votes_are_counted_of_the_same_evaluation():
  task = ArcTask(_data(num_aug=7, num_votes=7))
  scored = task.score(task.read("test"), _evaluation(task, {1, 4, 6}))
  # One of eight versions is right in three cases; the right answer is the only one that two versions give.
  assert list(scored["by_votes"]) == ["1", "3", "8"]
  assert scored["by_votes"]["1"] == {"num_puzzles": 5, "pass@1": 3 / 8, "pass@2": 3 / 8}
  assert scored["by_votes"]["8"] == {"num_puzzles": 5, "pass@1": 1.0, "pass@2": 1.0} and scored["pass@1"] == 1.0


def test_pictures_show_demonstrations_votes_and_the_solution(task, tmp_path):
  puzzles, evaluation = task.read("test"), _evaluation(task, {1, 2})
  before, after = task.shown_before(puzzles, 3), task.shown_after(puzzles, evaluation, 3)
  train = task.read("train")
  of_task = np.flatnonzero(train.puzzle_identifiers == puzzles.puzzle_identifiers[3])
  assert [shown.title for shown in before] == [title for i in range(1, 5) for title in (f"pair {i}", "output")]
  np.testing.assert_array_equal([shown.tokens for shown in before[::2]], train.inputs[of_task[:4]])
  np.testing.assert_array_equal([shown.tokens for shown in before[1::2]], np.maximum(train.labels[of_task[:4]], 0))
  assert [(shown.title, shown.verdict) for shown in after] == [
      ("answer 1", "2 of 4 votes, right"), ("answer 2", "1 of 4 votes"), ("solution", "")]
  solution = np.maximum(puzzles.labels[3], 0)
  for shown in (after[0], after[2]):
    np.testing.assert_array_equal(shown.tokens, solution)

  drawing = task, puzzles.inputs[3], solution[None], puzzles.labels[3], np.zeros(1)
  boards.solving_picture(tmp_path / "alone.png", *drawing)
  boards.solving_picture(tmp_path / "whole.png", *drawing, before, after)
  alone, whole = (image.imread(tmp_path / f"{name}.png") for name in ("alone", "whole"))
  assert len(whole) > 3 * len(alone) - 200 and whole.shape[1] > alone.shape[1]  # two rows above, one below
  for pairs in (2, 3):  # the two boards of a pair stand in one row of four, so three pairs are no narrower
    boards.solving_picture(tmp_path / f"{pairs}.png", *drawing, before[: 2 * pairs])
  assert len({image.imread(tmp_path / f"{pairs}.png").shape[1] for pairs in (2, 3)}) == 1
  answers = boards.answers_picture(task, puzzles.inputs[:2], puzzles.inputs[:2], puzzles.labels[:2], np.zeros(2),
                                   [task.shown_after(puzzles, evaluation, i) for i in range(2)])
  drawn = {tuple(pixel) for pixel in answers.reshape(-1, 3)}
  colours = {tuple(int(task.fills[token][0][i : i + 2], 16) for i in (1, 3, 5))
             for token in np.unique(np.maximum(puzzles.labels[:2], 0)) if token in task.fills}
  assert colours and colours <= drawn


def test_the_whole_path(tmp_path, shared_programs, solve, capsys):
  """Training, votes, submission, pictures; then tasks in JSON, one that the model has a row for and one that is new."""
  fields = {f"data.{name}": getattr(_data(), name) for name in (
      "source", "side", "num_train", "num_test", "num_aug", "num_votes", "seed")}
  results = loop.run(tiny.arc(**fields, steps=2), tmp_path / "run")
  assert list(results["test"]["by_votes"]) == ["1", "3", "4"] and results["test"]["num_puzzles"] == 80
  assert len(json.loads((tmp_path / "run" / "submission.json").read_text())) == 5
  # Two rows of demonstrations, one of the puzzle and two steps, one of votes and the solution; drawn at 150 an inch.
  assert image.imread(tmp_path / "run" / "solved.png").shape[0] > 4 * 150 * 1.8
  capsys.readouterr()
  assert evaluate.run(str(tmp_path / "run"), None)["by_votes"] == results["test"]["by_votes"]
  printed = capsys.readouterr().out
  assert re.search(r"votes +pass@1 +pass@2 +puzzles\n +1 +\S+% +\S+% +5\n +3 ", printed)
  report.report([str(tmp_path / "run")], tmp_path / "report")
  assert {"by_votes_1.png", "answers.png"} < {path.name for path in (tmp_path / "report" / "figures").iterdir()}

  solver = Solver.load(tmp_path / "run", batch_size=2)
  tasks = generate.subsets(5, 5, SIDE, seed=1)["evaluation"]
  path = tmp_path / "fill-1-9.json"
  path.write_text(json.dumps(tasks["fill-1-9"]))
  status, printed, _ = solve(solver, str(path), "--json", f"--image={tmp_path}/x.png")
  assert status == 0 and [line["place"] for line in map(json.loads, printed.splitlines())] == [
      f"{path}, test input {i}" for i in (1, 2, 3, 4)]
  assert len(image.imread(tmp_path / "x_2.png")) > 3 * 150 * 1.8
  path = path.rename(tmp_path / "new.json")
  with pytest.raises(UserError, match="the task 'new' is not in 'generated', on which the model was trained, and it "
                                      "has rows of the prefix table for no other; .* by config.init_from"):
    solver.task.read_json(str(path))


@pytest.fixture(scope="module", name="solver")
def _solver(task):
  """Of a model that has learned nothing; all four versions of a test input vote."""
  fields = {f"data.{name}": getattr(_data(), name) for name in ("source", "side", "num_train", "num_test", "num_aug")}
  config = tiny.arc(**fields).model.sized(**Sizes.of(task.read("train")).of_model())
  model = TRM(config, rngs=nnx.Rngs(0))
  model.puzzle_emb[...] = jax.random.normal(jax.random.key(0), model.puzzle_emb.shape)  # begins as zeros
  return Solver(model, task, batch_size=4, versions=3)


@pytest.fixture(name="html_file")
def _html_file(solver, solve, tmp_path):
  assert solve(solver, "--num=1", f"--html={tmp_path}/x.html")[0] == 0
  return tmp_path / "x.html"


def test_the_page_has_demonstrations_and_votes(html_file, task):
  data = json.loads(html_file.read_text().partition('type="application/json">')[2].partition("</script>")[0])
  first, puzzles, train = data["puzzles"][0], task.read("test"), task.read("train")
  assert [shown["title"] for shown in first["before"]] == [
      *(title for i in range(1, 5) for title in (f"pair {i}", "output")), "puzzle"]
  pair = np.flatnonzero(train.puzzle_identifiers == puzzles.puzzle_identifiers[0])[2]
  for shown, cells in zip(first["before"][4:6], (train.inputs[pair], train.labels[pair])):
    grid = grids.crop(cells)
    assert np.reshape(shown["tokens"], (-1, shown["columns"])).tolist() == (grid + grids.FIRST_COLOUR).tolist()
  assert re.fullmatch("answer 1 \\([1-4] of 4 votes\\)", first["after"][0]["title"])
  assert first["after"][-1]["title"] == "solution"


@pytest.mark.skipif(not chromium.PROGRAM, reason="no Chromium is installed")
def test_the_page_shows_them_in_a_browser(html_file, task, tmp_path):
  """Demonstrations at every step, votes after the last one."""
  with chromium.opened(tmp_path / "browser") as page:
    page.open(html_file.as_uri())
    page.wait("document.querySelectorAll('#before figure').length === 9")
    assert page.value("document.querySelectorAll('#after figure').length") == 0
    assert page.value("document.querySelector('#before figcaption').textContent") == "pair 1"
    drawn = page.value("[...document.querySelectorAll('#before figure')[1].querySelectorAll('td')].map("
                       "cell => getComputedStyle(cell).backgroundColor)")
    train = task.read("train")
    output = grids.crop(train.labels[np.flatnonzero(
        train.puzzle_identifiers == task.read("test").puzzle_identifiers[0])[0]])
    assert drawn == [f"rgb{tuple(bytes.fromhex(task.fills[colour + grids.FIRST_COLOUR][0][1:]))}"
                     for colour in output.reshape(-1).tolist()]
    page.key("ArrowRight")
    assert page.value("document.querySelectorAll('#after figure').length") == 0
    page.key("ArrowRight")
    titles = page.value("[...document.querySelectorAll('#after figcaption')].map(title => title.textContent)")
    assert titles[0].startswith("answer 1 (") and titles[-1] == "solution" and not page.said
