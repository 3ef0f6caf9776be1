# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The files and commands of docs/your_own_puzzles.md do what the page says."""

import importlib
import pathlib
import re
import runpy
import shlex

import jax
import numpy as np
import pytest
import tiny

from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import tasks
from trm_jax.tasks import grid
from trm_jax.training import loop

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your_own_puzzles.md").read_text()
# Their names stand in their first lines.
FILES = {name: code for name, code in re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)}
FEWER = {"num_train=3_000": "num_train=40", "num_test=500": "num_test=12", "num_validation=256": "num_validation=8"}


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory):
  """The folder of somebody who has copied the files and has run them; with fewer puzzles."""
  place = tmp_path_factory.mktemp("place")
  (place / "configs").symlink_to(ROOT / "configs")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(place)
    patch.syspath_prepend(str(place))
    for name in ("takuzu.py", "to_dataset.py"):  # the second reads what the first has made
      code = FILES[name]
      for many, few in FEWER.items():
        code = code.replace(many, few)
      pathlib.Path(name).write_text(code)
      runpy.run_path(name, run_name="__main__")
    yield place


@pytest.fixture(name="takuzu")
def _takuzu(place):
  del place
  return importlib.import_module("takuzu")


def _commands(program):
  """The words behind the program's name in the page's commands."""
  lines = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
           for line in block.replace("\\\n", "").splitlines()]
  return [shlex.split(line, comments=True)[3:] for line in lines if line.startswith(f"python -m trm_jax.{program} ")]


def _trainings():
  """The flags of the page's trainings, as dictionaries."""
  return [dict(word.removeprefix("--").split("=", 1) for word in words) for words in _commands("main")]


def _config(flags):
  """The config of a command, with a tiny model and few steps."""
  path, _, name = flags["config"].partition(":")
  values = runpy.run_path(path)["get_config"](name)
  config_lib.change(values, {name.removeprefix("config."): int(value) if value.isdecimal() else value
                             for name, value in flags.items() if name.startswith("config.")})
  config_lib.change(values, {name: value for name, value in tiny.FIELDS.items() if not name.startswith("data.")})
  config_lib.change(values, {"eval.every": 2, "batch_size": 8})
  return config_lib.parse(values)


def test_both_folders_hold_the_puzzles_of_the_generator(place, takuzu):
  made = takuzu.Task(takuzu.Data(num_train=40, num_test=12))
  by_csv, by_dataset = (tasks.of("grid", _config(flags).data) for flags in _trainings()[:2])
  for split in ("train", "test"):
    digest = made.read(split).digest()
    assert by_csv.read(split).digest() == by_dataset.read(split).digest() == digest
  assert (by_dataset.seq_len, by_dataset.vocab_size, by_dataset.shape) == (36, 4, (6, 6))
  row = re.search(r"^question,answer\n(.*)\n", PAGE, re.MULTILINE)[1]
  assert takuzu.Task(takuzu.Data()).solves(*(made.parse(cells)[None] for cells in row.split(",")))


def test_the_rules_and_symmetries_of_the_page_are_right(takuzu):
  task = takuzu.Task(takuzu.Data(num_train=0, num_validation=0, num_test=30))
  test = task.read("test")
  assert task.solves(test.inputs, test.labels).all() and jax.jit(task.solves)(test.inputs, test.labels).all()
  for version in range(20):
    symmetry = jax.random.key(version)
    row = task.row(task.arrays(test), version, 1, symmetry)
    assert task.solves(np.asarray(row["inputs"]), np.asarray(row["labels"]))
    np.testing.assert_array_equal(task.undo(np.asarray(row["labels"]), 1, symmetry), test.labels[version])
  # No other grid solves them, nor does one with a changed cell.
  assert [task.solves(puzzle, takuzu.GRIDS).sum() for puzzle in test.inputs[:5]] == [1] * 5
  assert all(task.solves(np.full(36, takuzu.BLANK), takuzu.GRIDS))
  cell = np.random.default_rng(0).integers(36, size=30)
  wrong = test.labels.copy()
  wrong[np.arange(30), cell] = 5 - wrong[np.arange(30), cell]
  assert not task.solves(np.full((30, 36), takuzu.BLANK), wrong).any()


@pytest.mark.parametrize("number", range(3), ids=["csv", "dataset", "code"])
def test_the_commands_train(place, number, tmp_path, shared_programs):
  del place
  flags = _trainings()[number]
  results = loop.run(_config(flags), tmp_path / "run")
  assert results["test"]["num_puzzles"] == 12
  assert evaluate.run(str(tmp_path / "run"), None) == results["test"]
  assert (tmp_path / "run" / "solved.png").exists()


def test_what_the_page_solves_is_a_puzzle(place):
  [[*_, puzzle]] = _commands("solve")
  task = grid.Task(_config(_trainings()[0]).data)
  assert task.text(task.parse(puzzle)) == puzzle
