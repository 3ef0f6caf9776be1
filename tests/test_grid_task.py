# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles of one's own without code: CSV files and dataset folders; what is drawn of them, and what is refused."""

import csv
import dataclasses
import json
import pathlib
import runpy

from flax import nnx
import matplotlib.image
import numpy as np
import pytest
from test_load import write_reference
import tiny

from trm_jax import boards
from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.data import csv_files
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.model import TRM
from trm_jax.solve import Solver
from trm_jax.study import estimate
from trm_jax.tasks import grid
from trm_jax.training import loop

ALPHABET, SHAPE = "_ab,", (2, 3)
STATED = {"alphabet": ALPHABET, "rows": 2, "columns": 3}
CONFIGS = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "configs" / "grid.py"))


def _made(number, seed, cells=6, tokens=4):
  """Puzzles whose answer is the puzzle read backwards."""
  inputs = np.random.default_rng(seed).integers(1, 1 + tokens, (number, cells))
  return puzzles_lib.one_group_each(inputs.astype(np.uint8), inputs[:, ::-1].astype(np.int8), vocab_size=1 + tokens)


@pytest.fixture(scope="module", name="splits")
def _splits():
  return {"train": _made(40, 0), "test": _made(12, 1)}


@pytest.fixture(scope="module", name="in_csv")
def _in_csv(tmp_path_factory, splits):
  folder = tmp_path_factory.mktemp("in_csv")
  for split, puzzles in splits.items():
    csv_files.write_csv(folder / f"{split}.csv", puzzles, alphabet=ALPHABET, source="made")
  return folder


@pytest.fixture(scope="module", name="in_dataset")
def _in_dataset(tmp_path_factory, splits):
  return write_reference(tmp_path_factory.mktemp("in_dataset") / "folder", splits)


def _task(source, **knobs):
  return grid.Task(grid.Data(source=str(source), **knobs))


def _config(source, **fields):
  values = config_lib.default_config("grid")
  changes = {name: value for name, value in tiny.FIELDS.items() if not name.startswith("data.")}
  config_lib.change(values, changes | {"data.source": str(source), "eval.every": 2} | fields)
  return config_lib.parse(values)


def test_both_kinds_of_folders_give_the_same_puzzles(splits, in_csv, in_dataset):
  for task in (_task(in_csv, **STATED), _task(in_dataset), _task(in_dataset, **STATED)):
    assert (task.seq_len, task.vocab_size, task.num_puzzle_identifiers) == (6, 5, 1)
    for split in ("train", "test"):
      assert task.read(split).digest() == splits[split].digest()
  assert [_task(in_csv, **STATED).read("test").ratings is None, _task(in_dataset).read("test").ratings] == [False, None]


def test_characters_and_boards(in_csv, in_dataset):
  task = _task(in_csv, **STATED)
  tokens = task.parse("ab_,,_")
  assert tokens.tolist() == [2, 3, 1, 4, 4, 1] and task.text(tokens) == "ab_,,_" and task.name == "grid-2x3"
  assert boards.board_text(task, tokens) == " a b _\n , , _"
  assert task.cell_text(0) == " " and _task(in_csv, alphabet=" _", rows=2, columns=3).cell_text(0) == "!"
  # Of a dataset folder only the numbers of cells and tokens are known; six cells are no square.
  task = _task(in_dataset)
  assert (task.name, task.shape) == ("grid-1x6", (1, 6))
  assert task.text(tokens) == "2 3 1 4 4 1" and task.parse("2 3 1 4 4 1").tolist() == tokens.tolist()
  assert boards.board_text(task, tokens) == " 1 2 . 3 3 ."
  assert boards.board_text(_task(in_dataset, rows=3, columns=2), tokens) == " 1 2\n . 3\n 3 ."
  assert _task(in_dataset, alphabet=ALPHABET).text(tokens) == "ab_,,_"
  assert len({task.cell_text(token) for token in range(64)}) == 64


def test_squares_are_drawn_as_squares(tmp_path):
  folder = write_reference(tmp_path / "nine", {"test": _made(3, 0, cells=9)})
  task = _task(folder)  # the test puzzles alone, which are enough to evaluate
  assert (task.name, task.vocab_size, len(task.read("test"))) == ("grid-3x3", 5, 3)


def test_a_dataset_folder_says_how_large_a_run_is(in_dataset, in_csv):
  """Nothing but dataset.json and the headers of arrays is read: a preflight needs no more."""
  sizes = estimate.assumed_data(_config(in_dataset)).sizes
  assert sizes == puzzles_lib.Sizes(40, 40, 40, 6, 5, 1)
  data = estimate.assumed_data(_config(in_csv, **{f"data.{name}": value for name, value in STATED.items()}))
  assert (data.sizes.seq_len, data.sizes.vocab_size) == (6, 5) and "is not read" in data.assumptions[0]


def test_identifiers_are_those_of_the_folder(tmp_path, splits):
  folder = write_reference(tmp_path / "folder", splits)
  for split in splits:
    path = folder / split / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_puzzle_identifiers": 7}))
  assert _task(folder).num_puzzle_identifiers == 7


def test_stored_versions_are_used_as_far_as_one_asks_for_them(tmp_path, splits):
  task = _task(write_reference(tmp_path / "folder", splits, num_aug=2))
  loaded = splits_lib.load(task)
  assert loaded.notes == (f"{task.data.source} stores 2 augmented versions of each puzzle, but config.data.num_aug = "
                          "0 uses none of them",)
  assert len(loaded.train) == 40
  all_of_them = splits_lib.load(grid.Task(dataclasses.replace(task.data, num_aug=2)))
  assert len(all_of_them.train) == 120 and not all_of_them.notes


@pytest.mark.parametrize("source, knobs, message", [
    ("", {}, "config.data.source=: is empty"),
    ("{}/nope", STATED, "config.data.source = '{}/nope': no such folder; use a folder with train.csv and test.csv, "),
    ("{}/nope", {}, "config.data.source = '{}/nope': no such folder; use a folder with train.csv and test.csv, "),
    ("{}/train.csv", STATED, "config.data.source = '{}/train.csv': cannot be read (Not a directory)"),
    ("{}/empty", {}, "{}/empty: has no dataset.json in train/ or test/, and CSV files need config.data.alphabet, "),
    ("{}/empty", STATED, "{}/empty/train.csv: no such file; expected a CSV file with the columns "),
    ("{}", {}, "{}: has no dataset.json in train/ or test/, and CSV files need config.data.alphabet, config.data.row"),
    ("{}", {"alphabet": ALPHABET}, "{}: has no dataset.json in train/ or test/, and CSV files need "),
    ("{}", {"rows": 2, "columns": 3}, "{}: has no dataset.json in train/ or test/, and CSV files need "),
    ("{}", STATED | {"columns": 0}, "config.data.rows = 2, config.data.columns = 0: state both, or neither"),
    ("{}", STATED | {"alphabet": "_ab"}, "{}/train.csv, line 2: the question has ',' in row 1, column 1; must be one "),
    ("{}", STATED | {"rows": 3}, "{}/train.csv, line 2: the question has 6 characters, must have 9 (3 x 3 cells)"),
    ("{dataset}", {"rows": 3, "columns": 3}, "config.data.rows = 3, config.data.columns = 3: {dataset} has puzzles"),
    ("{dataset}", {"alphabet": "ab"}, "config.data.alphabet = 'ab': has 2 characters, but {dataset} has 5 tokens, "
     "padding among them; it needs 4"),
    ("{dataset}", STATED | {"alphabet": "ab"}, "{dataset}: 6 cells and 5 tokens, padding among them, but "
     "config.data.alphabet, config.data.rows and config.data.columns mean 6 and 3"),
])
def test_what_does_not_fit_is_named(in_csv, in_dataset, source, knobs, message):
  (in_csv / "empty").mkdir(exist_ok=True)
  place = {"dataset": str(in_dataset)}
  with pytest.raises(UserError) as e:
    task = _task(source.format(in_csv, **place), **knobs)
    assert task.seq_len
    task.read("train")
  assert str(e.value).startswith(message.format(in_csv, **place)) and "\n" not in str(e.value)


def test_splits_of_different_puzzles(tmp_path, splits):
  folder = write_reference(tmp_path / "folder", {"train": splits["train"], "test": _made(3, 0, cells=4)})
  with pytest.raises(UserError, match="4 cells and 5 tokens, padding among them, but its other split has 6 and 5$"):
    splits_lib.load(_task(folder))


@pytest.mark.parametrize("alphabet", ["aba", "a\nb", "a\tb", "\udcff", "".join(map(chr, range(0x4E00, 0x4E00 + 128)))])
def test_alphabets_that_cannot_be(alphabet):
  with pytest.raises(UserError, match="^config.data.alphabet = .*: must be at most 127 printable characters"):
    _config("x", **{"data.alphabet": alphabet})


@pytest.mark.parametrize("text, message", [
    ("ab_", "ab_: 3 characters, but grid-2x3 has 6 cells"),
    ("ab\n_ab_", "ab_ab_: row 1 has 2 cells, but a row of grid-2x3 has 3"),
    ("abcab_", "abcab_: 'c' is not in the alphabet, '_ab,'"),
])
def test_puzzles_that_cannot_be_typed(in_csv, text, message):
  with pytest.raises(UserError) as e:
    _task(in_csv, **STATED).parse(text)
  assert str(e.value) == message


def test_augmented_versions_are_refused(in_csv, tmp_path):
  config = _config(in_csv, **{f"data.{name}": value for name, value in STATED.items()}, **{"data.num_aug": 3})
  with pytest.raises(UserError, match="^grid-2x3 has no augmented versions; set config.data.num_aug to 0"):
    loop.run(config, tmp_path / "run")


def test_the_named_configs(in_dataset):
  for name in CONFIGS["CONFIGS"]:
    for option in ("", ",attention"):
      values = CONFIGS["get_config"](name + option)
      values.data.source = str(in_dataset)
      config = config_lib.parse(values)
      assert config.task == "grid" and config.model.mlp_t == (not option)
      assert estimate.model_config(config).seq_len == 6 and estimate.total_steps(config) in (500, 65_104)
  with pytest.raises(SystemExit):
    CONFIGS["get_config"]("help")


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory, in_csv, shared_programs):
  config = _config(in_csv, **{f"data.{name}": value for name, value in STATED.items()}, **{"data.num_validation": 8})
  folder = tmp_path_factory.mktemp("grid") / "run"
  return folder, loop.run(config, folder)


def test_a_folder_of_csv_files_is_trained_on(run):
  folder, results = run
  assert results["test"]["num_puzzles"] == 12
  saved = json.loads((folder / "config.json").read_text())
  assert saved["data"] == {"vocab_size": 5, "seq_len": 6, "num_puzzle_identifiers": 1}
  assert saved["config"]["data"]["alphabet"] == ALPHABET
  # Nothing tells which cells have to stay, so that the puzzle is drawn beside the answers: three boards of 270 dots.
  assert matplotlib.image.imread(folder / "solved.png").shape[1] > 3 * 270


def test_it_is_evaluated_on_other_puzzles_of_the_same_kind_alone(run, in_csv, tmp_path, in_dataset):
  folder, results = run
  assert evaluate.run(str(folder), str(in_dataset)) == results["test"]
  other = write_reference(tmp_path / "other", {"test": _made(3, 0, cells=4)})
  with pytest.raises(UserError, match="other: 4 cells and 5 tokens, padding among them, but config.data.alphabet, "):
    evaluate.run(str(folder), str(other))
  # One that was trained on a dataset folder has nothing in its config that says so.
  config = _config(in_dataset)
  weights.save(TRM(config.model.sized(vocab_size=5, seq_len=6), rngs=nnx.Rngs(0)), config, tmp_path / "saved")
  with pytest.raises(UserError, match="other: 4 cells and 5 tokens, the model has 6 and 5; the model takes no "
                                      "puzzles of other sizes: its MLP over tokens has weights for each cell$"):
    evaluate.run(str(tmp_path / "saved"), str(other))


def test_its_answers_are_written_as_a_csv_file_can_hold_them(run, solve, in_csv, tmp_path):
  status, printed, _ = solve(Solver.load(run[0]), "ab_,,_", f"{in_csv}/test.csv", f"--out={tmp_path}/x.csv", "--show=2")
  row, *labelled = csv.DictReader((tmp_path / "x.csv").read_text().splitlines())
  assert row["question"] == "ab_,,_" and len(row["answer"]) == 6 and row["proven"] == row["right"] == ""
  assert len(labelled) == 12 and {row["right"] for row in labelled} <= {"0", "1"}
  assert status == 0 and "nothing tells" in printed and "line 2" in printed and "\nsolving: " in printed
