# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Solving: the Solver, what people name to be solved, and what they get. test_cli.py has the mistakes in commands."""

import csv
import gzip
import html.parser
import itertools
import json
import pathlib
import re
import subprocess
import sys

import chromium
from flax import nnx
import jax
import numpy as np
from PIL import Image
import pytest
import tiny

from trm_jax import weights
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.errors import UserError
from trm_jax.model import TRM
from trm_jax.solve import page
from trm_jax.solve import Solver
from trm_jax.solve import solver as solver_lib
from trm_jax.solve import sources
from trm_jax.tasks.grid.config import GridData
from trm_jax.tasks.grid.task import GridTask
from trm_jax.tasks.maze.config import MazeData
from trm_jax.tasks.maze.task import MazeTask
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku import task as sudoku_task
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import attempts

TASK = SudokuTask(SudokuData(box=2))
ONE, FAULTY, NONE, SEVERAL = "1...3..4.3..4..2", "1..1............", ".1234...........", "1..............."
GRID = "1423321423414132"


class _Odd(SudokuTask):
  """Sudokus that are right where the first cell is odd, so that some answers of a model that learned nothing are."""

  def solves(self, inputs, answers):
    return answers[..., 0] % 2 == 0  # token 2 is the digit 1


@pytest.fixture(scope="module", name="puzzles")
def _puzzles():
  return generate.generate_splits(box=2, num_train=10, num_validation=0, num_test=0, num_clues=9, seed=0)["train"]


@pytest.fixture(scope="module", name="model")
def _model():
  config = tiny.config(model__halt_max_steps=3)
  model = TRM(config.model.sized(vocab_size=6, seq_len=16), rngs=nnx.Rngs(0))
  for key, parameter in enumerate((model.puzzle_emb, model.q_head)):  # both begin as zeros
    parameter[...] = jax.random.normal(jax.random.key(key), parameter.shape)
  return model


@pytest.fixture(scope="module", name="run")
def _run(model, tmp_path_factory):
  """The folder of a run with that model."""
  folder = tmp_path_factory.mktemp("solve") / "run"
  weights.save(model, tiny.config(model__halt_max_steps=3), folder)
  return folder


@pytest.fixture(scope="module", name="solver")
def _solver(run):
  """One that all tests share; loaded as a user loads it."""
  return Solver.load(run, batch_size=4)


# The Solver.


def test_importing_it_defines_no_flag_and_needs_no_jax():
  code = ("import sys; from absl import flags; before = set(flags.FLAGS); from trm_jax.solve import Solver\n"
          "assert set(flags.FLAGS) == before and 'jax' not in sys.modules")
  subprocess.run([sys.executable, "-c", code], check=True)


def test_answers_are_those_of_the_model(solver, model, puzzles):
  made = attempts.every_answer(model, TASK, puzzles)
  answers = solver(puzzles, trace=True)
  assert len(answers) == 10
  for i, answer in enumerate(answers):
    np.testing.assert_array_equal(answer.puzzle, puzzles.inputs[i])
    np.testing.assert_array_equal([step.cells for step in answer.trace], made.answers[:, i])
    np.testing.assert_allclose([step.q_halt for step in answer.trace], made.q_halt[:, i], rtol=1e-5)
    np.testing.assert_array_equal(answer.cells, made.answers[-1, i])
    np.testing.assert_array_equal(answer.cell_confidence, answer.trace[-1].cell_confidence)
    assert answer.confidence == pytest.approx(1 / (1 + np.exp(-made.q_halt[-1, i])), rel=1e-4)
    assert answer.steps == len(answer.trace) == 3
    assert answer.proven is bool(TASK.solves(puzzles.inputs[i], answer.cells))
  assert len({answer.confidence for answer in answers}) == 10


def test_confidence_of_a_cell_is_the_probability_of_its_token(solver, model, puzzles):
  batch = {"inputs": puzzles.inputs.astype(int), "puzzle_identifiers": np.zeros(10, int)}
  _, outputs = nnx.jit(lambda model, carry, batch: model(carry, batch))(model, model.initial_carry(batch), batch)
  first = [answer.trace[0] for answer in solver(puzzles, trace=True)]
  wanted = np.asarray(jax.nn.softmax(outputs.logits)).max(-1)
  np.testing.assert_allclose([step.cell_confidence for step in first], wanted, rtol=1e-4)
  assert wanted.min() < 0.9


def test_text_arrays_and_puzzles_are_the_same_to_it_and_batches_are_filled_up(solver, puzzles):
  texts = [TASK.text(inputs) for inputs in puzzles.inputs]
  wanted = [(answer.cells.tolist(), answer.q_halt) for answer in solver(puzzles)]
  for some in (texts, puzzles.inputs, iter(texts)):
    assert [(answer.cells.tolist(), answer.q_halt) for answer in solver(some)] == wanted
  programs = solver._attempter.cache_info().misses
  for number in (3, 4, 9, 10):
    assert [answer.cells.tolist() for answer in solver(texts[:number])] == [cells for cells, _ in wanted[:number]]
  assert solver([]) == []
  # Batches of four, in a room for four and in a room for many; the second is there already.
  assert solver._attempter.cache_info().misses <= programs + 1
  assert solver._attempter(4, 4, False).call._cache_size() == 1


def test_any_number_of_puzzles_is_solved_as_they_come(solver):
  taken = itertools.count()
  endless = (ONE for _ in taken)
  answers = [answer.cells.tolist() for answer in itertools.islice(solver.stream(endless), 70)]
  assert len(answers) == 70 and len({tuple(cells) for cells in answers}) == 1
  assert next(taken) <= 2 * 64 + 1  # two parts, each of 16 batches


def test_parts_keep_groups_together(puzzles):
  starts = np.array([0, 1, 4, 6, 9, 10], np.int32)
  grouped = puzzles_lib.Puzzles(**{**vars(puzzles), "group_starts": starts})
  parts = list(solver_lib._parts(grouped, 4))
  assert [len(part) for part in parts] == [4, 2, 4]
  np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts]), puzzles.inputs)
  assert [len(part) for part in solver_lib._parts(grouped, 1)] == [1, 3, 2, 3, 1]  # a group may have more


def test_it_stops_when_an_answer_is_proven(model, puzzles):
  answers = Solver(model, _Odd(SudokuData(box=2)), batch_size=4, stop="proven")(puzzles, trace=True)
  for answer in answers:
    odd = [step.cells[0] % 2 == 0 for step in answer.trace]
    assert answer.proven is bool(odd[-1]) and not any(odd[:-1]) and len(odd) == answer.steps
    assert answer.proven or answer.steps == 3
  assert {answer.proven for answer in answers} == {True, False}


@pytest.fixture(scope="module", name="thinker")
def _thinker(model):
  return Solver(model, _Odd(SudokuData(box=2)), batch_size=4, steps=4, versions=1, rollouts=3, noise=0.5)


def test_it_chooses_among_several_attempts(thinker, puzzles):
  answers = thinker(puzzles, trace=True)
  assert [answer.cells.tolist() for answer in thinker(puzzles)] == [answer.cells.tolist() for answer in answers]
  # The same attempts, made and put back here.
  attempter = thinker._attempter(4, 10, True)
  made = attempter.attempt(thinker.model, puzzles)
  numbers = np.arange(60)
  cells, sure = (np.stack([attempter.put_back(puzzles, numbers, step) for step in x])
                 for x in (made.answers, made.measured["cell_confidence"]))
  assert (cells[-1] != made.answers[-1]).any()
  for i, answer in enumerate(answers):
    own = slice(6 * i, 6 * i + 6)
    votes = [tuple(one) for one in cells[-1, own].tolist()]
    assert answer.attempts == 6 and answer.votes == votes.count(tuple(answer.cells)) == max(map(votes.count, votes))
    chosen = next(j for j in range(60) if j // 6 == i and made.q_halt[-1, j] == answer.q_halt)
    assert tuple(answer.cells) == votes[chosen - 6 * i]
    np.testing.assert_array_equal([step.cells for step in answer.trace], cells[:, chosen])
    np.testing.assert_array_equal([step.cell_confidence for step in answer.trace], sure[:, chosen])
    assert answer.steps == len(answer.trace) == 4 and answer.proven is bool(answer.cells[0] % 2 == 0)
  assert {answer.votes for answer in answers} != {6}


def test_it_chooses_what_is_proven(thinker, model, puzzles):
  proven = Solver(model, thinker.task, batch_size=4, choose="proof", **thinker._thinking)(puzzles)
  assert sum(answer.proven for answer in proven) > sum(answer.proven for answer in thinker(puzzles))


def test_several_attempts_are_said_to_be_so(solve, thinker):
  votes = re.search("; the model is .* after 4 steps; ([1-6]) of 6 attempts came to it\n", solve(thinker, ONE)[1])[1]
  said = json.loads(solve(thinker, ONE, "--json", "--show=0")[1])
  assert (said["votes"], said["attempts"]) == (int(votes), 6)


def test_what_is_no_puzzle(solver, model):
  for puzzle, message in (
      (ONE[:-1], "^1...3..4.3..4..: 15 characters, but sudoku-4x4 has 16 cells$"),
      (f"{ONE[:4]}\n{ONE[4:7]}\n{ONE[7:]}", "^1...3..4.3..4..2: row 2 has 3 cells, but a row of sudoku-4x4 has 4$"),
      (FAULTY, "^1..1............: has no solution, because it has more than one 1 in row 1$"),
      (TASK.tokens(FAULTY), "^1..1............: has no solution, because it has more than one 1 in row 1$"),
      (np.zeros(15, int), r"^a puzzle of shape \(15,\), int64: sudoku-4x4 has 16 tokens, integers from 0 to 5$"),
      (np.full(16, 6), "integers from 0 to 5"), (np.ones(16), "float64: sudoku-4x4 has 16 tokens")):
    with pytest.raises(UserError, match=message):
      solver([puzzle])
  with pytest.raises(UserError, match=f"^puzzles = '{ONE}': must be a list of puzzles, and is one string"):
    solver(ONE)
  large = puzzles_lib.one_group_each(np.ones((1, 81), np.uint8), np.ones((1, 81), np.int8), vocab_size=11)
  with pytest.raises(UserError, match="^puzzles of 81 cells and 11 tokens: sudoku-4x4 has 16 cells and 6 tokens$"):
    solver(large)
  with pytest.raises(UserError, match="^batch_size = 0: must be at least 1$"):
    Solver(model, TASK, batch_size=0)
  with pytest.raises(UserError, match="^stop = 'soon': must be one of steps, settled, converged, still, proven$"):
    Solver(model, TASK, stop="soon")
  with pytest.raises(UserError, match="^choose = 'luck': must be one of count, halting, convergence, proof$"):
    Solver(model, TASK, choose="luck")


def test_a_model_whose_numbers_are_not_finite_has_no_answers(model):
  diverged = nnx.clone(model)
  diverged.q_head[...] = np.nan
  with pytest.raises(UserError, match="^the model's outputs are not finite, .*; use an earlier checkpoint$"):
    Solver(diverged, TASK, batch_size=4)([ONE])


# What is to be solved.


def _read(task, *arguments):
  return [(row.place.partition(", ")[2],
           row.problem.rpartition(": ")[2] if row.inputs is None else task.text(row.inputs))
          for row in sources.Arguments(task, [str(argument) for argument in arguments]).rows()]


def test_a_text_file_has_a_puzzle_a_line_or_row_by_row(tmp_path):
  path = tmp_path / "puzzles.txt"
  path.write_bytes(b"\xef\xbb\xbf" + ONE.encode() + b"\r\n\r\n1...\n3..4\n.3..\n4..2\n12\n" + SEVERAL.encode()
                   + b"\n\n1...\n3..4\n\xff\n" + FAULTY.encode())
  faults = "2 characters, but sudoku-4x4 has 16 cells", "9 characters, but sudoku-4x4 has 16 cells"
  assert _read(TASK, path) == [("line 1", ONE), ("line 3", ONE), ("line 7", faults[0]), ("line 8", SEVERAL),
                               ("line 10", faults[1]),
                               ("line 13", "has no solution, because it has more than one 1 in row 1")]


@pytest.mark.parametrize("rows", [("1...", "3..4", ".3.", "4..2"), ("1..", "3..4", ".3..", "4..2"),
                                  ("1...", "3...4", ".3..", "4..2"), ("1.....", "3..4", ".3..", "4..2")])
def test_a_row_of_another_length_spoils_its_puzzle_alone(tmp_path, rows):
  path = tmp_path / "puzzles.txt"
  whole = [ONE[i : i + 4] for i in range(0, 16, 4)]
  path.write_text("\n".join([*whole, *rows, *whole, *whole]))
  fault = f"{len(''.join(rows))} characters, but sudoku-4x4 has 16 cells"
  assert _read(TASK, path) == [("line 1", ONE), ("line 5", fault), ("line 9", ONE), ("line 13", ONE)]


def test_ends_of_lines_of_any_kind_and_what_a_terminal_obeys(tmp_path):
  whole = [ONE[i : i + 4] for i in range(0, 16, 4)]
  path = tmp_path / "puzzles.txt"
  for end in ("\r\n", "\r"):
    path.write_text(end.join(whole), newline="")
    assert _read(TASK, path) == [("line 1", ONE)]
    assert _read(TASK, end.join(whole)) == [("", ONE)]
  path.write_text("\33[2J1\t2")
  row, = sources.Arguments(TASK, [str(path)]).rows()
  assert row.problem == f"{path}, line 1: \\x1b[2J1\\t2: 7 characters, tabs included, but sudoku-4x4 has 16 cells"


def test_a_file_without_puzzles_is_said_to_be_so(solve, solver, tmp_path):
  for name, text in (("x.txt", "\n\n"), ("x.csv", "question\n\n")):
    (tmp_path / name).write_text(text)
  status, _, errors = solve(solver, ONE, *(str(tmp_path / name) for name in ("x.txt", "x.csv")))
  assert status == 3 and errors.splitlines()[:2] == [
      f"error: {tmp_path}/{name}: has no puzzles; expected one puzzle a line, or a CSV file with a column 'question'"
      for name in ("x.txt", "x.csv")]


def test_mazes_and_grids(tmp_path):
  maze = MazeTask(MazeData(rows=3, columns=4))
  rows = "S ##", "    ", "## G"
  path = tmp_path / "mazes.txt"
  path.write_text("\n".join([*rows, *rows, "", "S   ", *rows[1:], "".join(rows)]))
  assert [what for _, what in _read(maze, path)] == ["".join(rows)] * 2 + ["S       ## G", "".join(rows)]
  assert _read(maze, "\n".join(rows)) == [("", "".join(rows))]
  with pytest.raises(UserError, match="the maze has no 'G'; must have exactly one, the goal"):
    sources.Arguments(maze, ["S  #    ##  "])
  grid = GridTask(GridData(source="x", alphabet="ab,", rows=1, columns=3))
  path.write_text('question,answer\n"a,b",bba\nabb,"a,a"\n')
  assert _read(grid, path, "bbb") == [("line 2", "a,b"), ("line 3", "abb"), ("", "bbb")]
  path.write_text("question\nab\n")
  assert _read(grid, path) == [("line 2", "2 characters, but grid-1x3 has 3 cells")]


@pytest.mark.parametrize("header", ["source,question,answer,rating", "question,answer", "quizzes,solutions", "puzzle"])
def test_csv_files_of_any_origin(tmp_path, header):
  def line(question, answer):
    row = {"question": question, "quizzes": question, "puzzle": question, "answer": answer, "solutions": answer}
    return ",".join(row.get(column, "7") for column in header.split(","))

  path = tmp_path / "puzzles.csv"
  bad = [line(ONE, "12")] if header != "puzzle" else []
  path.write_text("\n".join([header, line(ONE, GRID), line("12", GRID), "", line(SEVERAL, GRID) + ",9", *bad,
                             line(SEVERAL, GRID), ""]))
  rows = list(sources.Arguments(TASK, [str(path)]).rows())
  assert rows[0].place == f"{path}, line 2" and TASK.text(rows[0].inputs) == ONE
  assert [row.problem for row in rows[1:-1]] == [
      f"{path}, line 3: 12: 2 characters, but sudoku-4x4 has 16 cells",
      f"{path}, line 5: has {header.count(',') + 2} columns, must have {header.count(',') + 1} "
      f"({header.replace('quizzes', 'question').replace('solutions', 'answer').replace('puzzle', 'question')})",
      *[f"{path}, line 6: 12: 2 characters, but sudoku-4x4 has 16 cells"] * len(bad)]
  labels = [None if row.labels is None else TASK.text(row.labels) for row in (rows[0], rows[-1])]
  assert labels == [None if header == "puzzle" else GRID] * 2


def test_files_that_are_none(tmp_path):
  (tmp_path / "empty").touch()
  (tmp_path / "x.csv").write_text(f"a,b\n{ONE},{GRID}\n")
  (tmp_path / "utf16.txt").write_text(ONE, encoding="utf-16")
  (tmp_path / "utf16.csv").write_text(f"question\n{ONE}\n", encoding="utf-16")
  (tmp_path / "x.gz").write_bytes(gzip.compress(ONE.encode()))
  zeros = "line 1: is no text in UTF-8, because it has zero bytes; unpack the file if it is packed, or save it as text"
  cells = "characters, but sudoku-4x4 has 16 cells"
  for argument, message in (("puzzles.txt", rf"^puzzles.txt: no such file, nor is it a puzzle \(11 {cells}\)$"),
                            ("no/puzzles", rf"^no/puzzles: no such file, nor is it a puzzle \(10 {cells}\)$"),
                            (ONE[:-1] + "x", r"nor is it a puzzle \('x' is neither a digit 1-4 nor '.' or 0 for"),
                            *((tmp_path / name, zeros) for name in ("utf16.txt", "utf16.csv", "x.gz")),
                            (tmp_path / "empty", "empty: is empty; expected one puzzle a line, or a CSV"),
                            (tmp_path / "x.csv", "x.csv, line 1: must name the columns, one of them 'question', and is "
                             "'a,b'"),
                            ("1..3x", "^1..3x: 5 characters, but"), ("", "^: 0 characters, but")):
    with pytest.raises(UserError, match=message):
      sources.Arguments(TASK, [str(argument)])
  with pytest.raises(UserError, match="^-: standard input can be read once; name it once$"):
    sources.Arguments(TASK, ["-", ONE, "-"])
  with pytest.raises(UserError, match="^x.json: sudoku-4x4 has no puzzles in JSON; write them into a text file"):
    TASK.read_json("x.json")


# Sudokus without exactly one solution.


def test_puzzles_without_one_solution_are_said_to_be_so(monkeypatch):
  large = SudokuTask(SudokuData(box=3))
  few = large.tokens("1" + "." * 80)
  assert [TASK.diagnose(TASK.parse(text)) for text in (ONE, NONE, SEVERAL)] == [
      "", "has no solution", "has several solutions"]
  assert large.diagnose(few) == "has several solutions"
  assert TASK.fault(TASK.tokens(FAULTY)) and not TASK.fault(TASK.tokens(NONE))
  monkeypatch.setattr(sudoku_task, "MAX_FILLS", 20)
  assert TASK.diagnose(TASK.parse(ONE)) == ""
  assert large.diagnose(few) == "not checked for other solutions, which takes too long"


def test_an_endless_search_is_given_up():
  """A puzzle without a solution that takes minutes to see (P. Norvig's, in "Solving Every Sudoku Puzzle")."""
  hard = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."
  task = SudokuTask(SudokuData(box=3))
  assert task.diagnose(task.parse(hard)) == "not checked for other solutions, which takes too long"


# What people get.


def test_answers_go_to_a_file_and_the_first_are_printed(solve, solver, puzzles, tmp_path):
  csv_files.write_csv(tmp_path / "some.csv", puzzles, source="made")
  status, printed, _ = solve(solver, str(tmp_path / "some.csv"), f"--out={tmp_path}/out/answers.csv", "--show=2")
  assert status == 0
  answers = solver(puzzles)
  with (tmp_path / "out" / "answers.csv").open() as f:
    rows = list(csv.DictReader(f))
  assert list(rows[0]) == ["question", "answer", "proven", "right", "confidence", "steps", "votes", "attempts", "note"]
  assert len(rows) == 10
  for row, answer, label in zip(rows, answers, puzzles.labels):
    assert (row["question"], row["answer"]) == (TASK.text(answer.puzzle), TASK.text(answer.cells))
    assert (row["proven"], row["right"]) == (str(int(answer.proven)), str(int((answer.cells == label).all())))
    assert float(row["confidence"]) == pytest.approx(answer.confidence, abs=1e-6)
    assert (row["steps"], row["votes"], row["attempts"], row["note"]) == ("3", "1", "1", "")
  titles = [line for line in printed.splitlines() if "line " in line]
  assert titles == [f"{tmp_path}/some.csv, line {i}" for i in (2, 3)]
  assert printed.count("NOT right, by the rules; the model is ") == 2 and printed.count("after 3 steps") == 2
  assert "step 3" in printed and "step 1" not in printed  # not asked for
  assert "\nsolving: 0 of 10 solved, every row, column and box checked (" in printed
  assert {path.name for path in tmp_path.iterdir()} == {"some.csv", "out"}  # nothing is drawn


def test_json_and_bad_rows(solve, solver):
  status, printed, errors = solve(solver, "-", "--json", "--trace", stdin=f"{ONE}\n{FAULTY}\n12\n{SEVERAL}\n")
  assert status == 3
  lines = [json.loads(line) for line in printed.splitlines()]
  first, = solver([ONE], trace=True)
  assert {frozenset(line) for line in lines} == {
      frozenset({"place", "error"}),
      frozenset({"place", "question", "answer", "proven", "right", "confidence", "steps", "votes", "attempts", "note",
                 "trace"})}
  answered = {line["place"]: line for line in lines if "answer" in line}
  assert list(answered) == ["standard input, line 1", "standard input, line 4"]
  one = answered["standard input, line 1"]
  assert one["answer"] == TASK.text(first.cells) and one["proven"] is first.proven and one["right"] is None
  assert [step["answer"] for step in one["trace"]] == [TASK.text(step.cells) for step in first.trace]
  assert answered["standard input, line 4"]["note"] == "has several solutions"
  assert errors.splitlines()[:2] == [
      f"error: standard input, line 2: {FAULTY}: has no solution, because it has more than one 1 in row 1",
      "error: standard input, line 3: 12: 2 characters, but sudoku-4x4 has 16 cells"]
  assert errors.splitlines()[2].startswith("solving: 0 of 2 solved")
  assert errors.splitlines()[3:] == ["error: 2 rows are no puzzles, see above; 2 others were tried"]
  status, printed, _ = solve(solver, "-", "--json", "--nodiagnose", stdin=f"{SEVERAL}\n")
  assert status == 0 and json.loads(printed)["note"] == "" and "trace" not in printed


def test_test_puzzles_of_the_run(solve, solver):
  status, printed, errors = solve(solver, "--num=3", "--json")
  assert status == 0
  lines = [json.loads(line) for line in printed.splitlines()]
  assert [line["place"] for line in lines] == ["test puzzle 1", "test puzzle 2", "test puzzle 3"]
  test = solver.task.read("test")
  assert errors.startswith(f"generated puzzles: {len(test)} for the test (")
  assert [line["question"] for line in lines] == [TASK.text(inputs) for inputs in test.inputs[:3]]
  assert [line["right"] for line in lines] == [
      bool((answer.cells == label).all()) for answer, label in zip(solver(test), test.labels[:3])]


@pytest.mark.parametrize("named", ["", "--data=nowhere", "--set=data.source=nowhere"])
def test_puzzles_that_are_not_there_are_looked_for_elsewhere_unless_the_command_named_them(solve, model, named):
  solver = Solver(model, SudokuTask(SudokuData(box=2, source="nowhere")), batch_size=4)
  status, _, errors = solve(solver, *named.split())
  assert status == 2 and errors.startswith("error: config.data.source = 'nowhere': no such folder; ")
  assert ("--data=FOLDER says where they are now" in errors) == (not named)


def test_steps_are_printed_and_drawn(solve, solver, tmp_path):
  status, printed, _ = solve(solver, ONE, "--trace", f"--image={tmp_path}/x.gif")
  assert status == 0 and "step 1" in printed and "step 3" in printed
  with Image.open(tmp_path / "x.gif") as gif:
    assert gif.n_frames == 4 and gif.format == "GIF"
  assert solve(solver, ONE, SEVERAL, f"--image={tmp_path}/x.png", "--show=1")[0] == 0
  assert {path.name for path in tmp_path.iterdir()} == {"x.gif", "x_1.png"}
  with Image.open(tmp_path / "x_1.png") as png:
    assert png.format == "PNG" and png.width > 500


@pytest.mark.parametrize("flag", ["--image=x.jpg", "--image=x", "--html=x.txt", "--out=x.json", "--out=gs://b/x.csv"])
def test_files_that_cannot_be_made(solve, solver, flag):
  status, _, errors = solve(solver, ONE, flag)
  assert status == 2 and errors.startswith(f"error: {flag}: must be a file of this machine that ends in .")


def test_answers_do_not_take_the_place_of_their_puzzles(solve, solver, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "x.csv").write_text(f"question\n{ONE}\n")
  status, _, errors = solve(solver, ONE, str(tmp_path / "x.csv"), "--out=x.csv")
  assert status == 2 and errors == ("error: --out=x.csv: is one of the files to be solved, and would be lost; name "
                                    "another file\n")
  assert (tmp_path / "x.csv").read_text() == f"question\n{ONE}\n"


@pytest.mark.parametrize("flag", ["--image=x.png", "--html=x.html"])
def test_drawings_of_no_puzzle_are_refused(solve, solver, tmp_path, monkeypatch, flag):
  monkeypatch.chdir(tmp_path)
  status, printed, errors = solve(solver, ONE, "--show=0", flag)
  assert (status, printed) == (2, "")
  assert errors == f"error: {flag.partition('=')[0]}: draws nothing with --show=0; leave it out\n"


# The page.


class _Page(html.parser.HTMLParser):
  """Attributes: data, what the page shows; attributes, of all tags."""

  def __init__(self, text):
    super().__init__()
    self.attributes, self.data, self._stack, self._is_data = [], None, [], False
    self.feed(text)
    assert not set(self._stack) & {"script", "style", "table"}, "not closed"

  def handle_starttag(self, tag, attrs):
    self._stack.append(tag)
    self.attributes += attrs
    self._is_data = ("type", "application/json") in attrs

  def handle_endtag(self, tag):
    while self._stack.pop() != tag:
      pass

  def handle_data(self, data):
    if self._is_data and self._stack[-1] == "script":
      self.data = json.loads(data)


@pytest.fixture(name="html_file")
def _html_file(solve, solver, tmp_path):
  path = tmp_path / "x.html"
  assert solve(solver, ONE, SEVERAL, f"--html={path}")[0] == 0
  return path


def test_the_page_holds_the_steps_and_needs_nothing_else(html_file, solver):
  text = html_file.read_text()
  shown = _Page(text)
  assert [value for name, value in shown.attributes if name in {"src", "href", "srcset", "action"}] == [
      "data:,"]  # the icon, which browsers ask servers for where there is none
  assert not any(word in text for word in ("http", "://", "url(", "@import", "import(", "fetch("))
  assert shown.data["task"] == "sudoku-4x4" and shown.data["text"] == list(" .1234")
  assert [puzzle["title"] for puzzle in shown.data["puzzles"]] == ["puzzle 1", "puzzle 2"]
  assert [puzzle["note"] for puzzle in shown.data["puzzles"]] == ["", "has several solutions"]
  for puzzle, answer in zip(shown.data["puzzles"], solver([ONE, SEVERAL], trace=True)):
    first, *steps = puzzle["frames"]
    assert first["tokens"] == answer.puzzle.tolist() and first["sure"] is None
    assert first["marks"] == "".join("g" if token > 1 else "." for token in answer.puzzle)
    assert [frame["tokens"] for frame in steps] == [step.cells.tolist() for step in answer.trace]
    for frame, step in zip(steps, answer.trace):
      assert frame["sure"] == np.floor(100 * step.cell_confidence).astype(int).tolist()
      assert frame["halt"] == round(100 * step.confidence, 1) and frame["columns"] == 4 and frame["block"] == [2, 2]
      changed = (step.cells != answer.puzzle) & (answer.puzzle > 1)
      assert [mark == "w" for mark in frame["marks"]] == changed.tolist()


def test_what_is_shown_cannot_end_the_script(tmp_path, solver):
  answer, = solver([ONE], trace=True)
  shown = page.puzzle(TASK, "</script><b>", answer, None, "", "")
  page.write(tmp_path / "x.html", TASK, [shown])
  assert _Page((tmp_path / "x.html").read_text()).data["puzzles"][0]["title"] == "</script><b>"


@pytest.mark.skipif(not chromium.PROGRAM, reason="no Chromium is installed")
def test_the_page_works_in_a_browser(html_file, tmp_path, solver):
  """Keys move through steps and puzzles, the board shows the answer, and nothing is written to the console."""
  keys = "['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowRight', 'ArrowRight']"
  html_file.write_text(html_file.read_text() + f"<script>for (const key of {keys}) document.body.dispatchEvent("
                       "new KeyboardEvent('keydown', {key, bubbles: true}));"
                       "for (const held of ['altKey', 'ctrlKey', 'metaKey']) document.body.dispatchEvent("
                       "new KeyboardEvent('keydown', {key: 'ArrowLeft', [held]: true, bubbles: true}));</script>")
  done = subprocess.run(
      [chromium.PROGRAM, *chromium.FLAGS, "--enable-logging=stderr", "--dump-dom",
       f"--user-data-dir={tmp_path}/browser", html_file.as_uri() + "#-3"], capture_output=True, text=True, timeout=120)
  assert "CONSOLE" not in done.stderr, done.stderr
  answer = solver([ONE, SEVERAL])[1]
  assert '<p id="status" aria-live="polite">step 3 of 3: ' in done.stdout
  assert f"that all are right {round(100 * answer.confidence, 1)} %; NOT right, by the rules</p>" in done.stdout
  assert '<p id="note">has several solutions</p>' in done.stdout
  board = done.stdout.partition('id="board"')[2].partition("</table>")[0]
  assert "".join(cell.partition(">")[2][0] for cell in board.split("<td")[1:]) == TASK.text(answer.cells)


def test_the_package_has_the_page():
  assert (pathlib.Path(page.__file__).parent / "page.html").read_text().count(page._DATA) == 1


def test_the_weights_that_come_along_solve_ordinary_sudokus(capsys):
  """Each has 30 clues or more and needs no guess; the first is the one that stands in the README."""
  puzzles = ["53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
             "..3.2.6..9..3.5..1..18.64....81.29..7.......8..67.82....26.95..8..2.3..9..5.1.3.."]
  answers = Solver.load(batch_size=2)(puzzles)
  assert [answer.proven for answer in answers] == [True, True]
  loaded = weights.load(solver_lib.BUILTIN)
  assert loaded.task.name == "sudoku-9x9"
  assert sum(file.stat().st_size for file in pathlib.Path(loaded.folder).rglob("*") if file.is_file()) < 12e6
  assert not capsys.readouterr().err
