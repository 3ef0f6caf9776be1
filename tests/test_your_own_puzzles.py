# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The files and commands of docs/your_own_puzzles.md do what the page says."""

import dataclasses
import importlib
import json
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
from trm_jax.training import loop

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your_own_puzzles.md").read_text()
# What to do with each, such as "takuzu.py" or "takuzu.py, at the end", stands in its first line.
CODE = re.findall(r"^```python\n# ([^\n]+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = {name: code for name, code in CODE if name.endswith(".py")}
MORE = [code for name, code in CODE if name == "takuzu.py, at the end"]
[KNOBS] = [code for name, code in CODE if name == "takuzu.py, in place of the line `Data = grid.Data`"]
FEWER = {"num_train=3_000": "num_train=40", "num_test=500": "num_test=12", "num_validation=256": "num_validation=8"}


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory):
  """The folder of somebody who has copied the files and has run them; with fewer puzzles."""
  place = tmp_path_factory.mktemp("place")
  (place / "configs").symlink_to(ROOT / "configs")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(place)
    patch.syspath_prepend(str(place))
    code = FILES["takuzu.py"]
    for many, few in FEWER.items():
      assert many in code
      code = code.replace(many, few)
    pathlib.Path("takuzu.py").write_text(code)
    line, = re.findall("^Data = grid.Data.*$", code, re.MULTILINE)
    pathlib.Path("takuzu_with_all.py").write_text("\n".join([code.replace(line, KNOBS), *MORE]).replace(
        "< 0.6", "< self.data.share_of_clues").replace('"takuzu"', '"takuzu_with_all"'))
    for name in ("to_csv.py", "to_dataset.py"):  # the second reads what the first has made
      runpy.run_path(pathlib.Path(name).write_text(FILES[name]) and name, run_name="__main__")
    yield place


@pytest.fixture(name="takuzu")
def _takuzu(place):
  del place
  return importlib.import_module("takuzu")


@pytest.fixture(name="with_all")
def _with_all(place):
  """The same with all that the page adds."""
  del place
  return importlib.import_module("takuzu_with_all")


def _commands(program):
  """The words behind the program's name in the page's commands."""
  lines = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
           for line in block.replace("\\\n", "").splitlines()]
  return [shlex.split(line, comments=True)[3:] for line in lines if line.startswith(f"python -m trm_jax.{program} ")]


def _trainings():
  """The flags of the page's trainings, as dictionaries."""
  return [dict(word.removeprefix("--").split("=", 1) for word in words)
          for words in _commands("main") if "--mode=eval" not in words]


def _config(flags):
  """The config of a command, with a tiny model and few steps."""
  path, _, name = flags["config"].partition(":")
  values = runpy.run_path(path)["get_config"](name)
  config_lib.change(values, {name.removeprefix("config."): int(value) if value.isdecimal() else value
                             for name, value in flags.items() if name.startswith("config.")})
  config_lib.change(values, {name: value for name, value in tiny.FIELDS.items() if not name.startswith("data.")})
  config_lib.change(values, {"eval.every": 2, "batch_size": 8})
  return config_lib.parse(values)


def test_the_shortest_task_is_short():
  lines = [line for line in FILES["takuzu.py"].splitlines() if line.strip()]
  assert len(lines) <= 40


def test_both_folders_hold_the_puzzles_of_the_generator(place, takuzu):
  made, by_csv, by_dataset = (tasks.of(task, _config(flags).data)
                              for task, flags in zip(("takuzu", "grid", "grid"), _trainings(), strict=True))
  for split in ("train", "test"):
    digest = made.read(split).digest()
    assert by_csv.read(split).digest() == by_dataset.read(split).digest() == digest
  assert (by_dataset.seq_len, by_dataset.vocab_size, by_dataset.shape) == (36, 4, (6, 6))


def _data(module, **fields):
  return dataclasses.replace(config_lib.parse(module.get_config()).data, **fields)


def test_the_rules_and_symmetries_of_the_page_are_right(with_all):
  takuzu, task = with_all, with_all.Task(_data(with_all, num_test=30))
  test = task.read("test")
  assert task.solves(test.inputs, test.labels).all() and jax.jit(task.solves)(test.inputs, test.labels).all()
  made = [task.row(task.arrays(test), version, 1, jax.random.key(version)) for version in range(30)]
  for version, row in enumerate(made):
    assert task.solves(np.asarray(row["inputs"]), np.asarray(row["labels"]))
    back = task.undo(np.asarray(row["labels"]), 1, jax.random.key(version))
    np.testing.assert_array_equal(back, test.labels[version])
  drawn = [task.symmetry(jax.random.key(i)) for i in range(99)]
  assert len({(*symmetry.cells.tolist(), *symmetry.values.tolist()) for symmetry in drawn}) == 16
  # No other grid solves them, nor does one with a changed cell.
  assert [task.solves(puzzle, takuzu.GRIDS).sum() for puzzle in test.inputs[:5]] == [1] * 5
  assert task.solves(np.full(36, takuzu.BLANK), takuzu.GRIDS).all() and len(takuzu.GRIDS) == 11_222
  cell = np.random.default_rng(0).integers(36, size=30)
  wrong = test.labels.copy()
  wrong[np.arange(30), cell] = 5 - wrong[np.arange(30), cell]
  assert not task.solves(np.full((30, 36), takuzu.BLANK), wrong).any()
  assert not task.solves(test.inputs, test.inputs).any()  # blanks are no answer
  row = re.search(r"^question,answer\n(.*)\n", PAGE, re.MULTILINE)[1]
  assert task.solves(*(task.parse(cells)[None] for cells in row.split(",")))


def test_the_clues_and_the_knob_of_the_page(with_all):
  few, many = (with_all.Task(_data(with_all, share_of_clues=share)) for share in (0.55, 0.8))
  few, many = (task.is_given(task.read("test").inputs).mean() for task in (few, many))
  assert 0.5 < few < 0.7 < many < 0.9


@pytest.mark.parametrize("number", range(4), ids=["code", "csv", "dataset", "with all"])
def test_the_commands_train(place, number, tmp_path, shared_programs):
  del place
  flags = [*_trainings(), {"config": "takuzu_with_all.py", "config.data.num_aug": "3"}][number]
  results = loop.run(_config(flags), tmp_path / "run")
  assert results["test"]["num_puzzles"] == 12
  assert evaluate.run(str(tmp_path / "run"), None) == results["test"]
  assert (tmp_path / "run" / "solved.png").exists()
  answers = json.loads((tmp_path / "run" / "takuzu.json").read_text()) if number == 3 else {}
  assert all(len(text) == 36 for pair in answers.items() for text in pair)
  assert len(answers) == (12 if number == 3 else 0)


def test_what_the_page_solves_is_a_puzzle(with_all):
  [[*_, puzzle]] = _commands("solve")
  task = with_all.Task(_data(with_all))
  tokens = task.parse(puzzle)
  assert task.text(tokens) == puzzle and task.solves(tokens, with_all.GRIDS).any()
