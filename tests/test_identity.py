# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Whose folder it is, from what lies there. Whole runs are in test_loop.py."""

import dataclasses
import json

from etils import epath
import pytest

from trm_jax import config as config_lib
from trm_jax.config import Config
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import identity

_PUZZLES = {"train": "a", "validation": "b", "test": "c"}
_RUN = {"config": config_lib.to_dict(Config()), "data": {"seq_len": 81}, "total_steps": 9, "puzzles": _PUZZLES}
_RESULTS = '{"step": 9, "train_seconds": 1.0, "test": {"exact_accuracy": 0.5}}'


def _make(folder, *names, config=None):
  """Files with these names; config.json of a run, others as a run leaves them, folders where a name ends in /."""
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
      path.mkdir(exist_ok=True)
    else:
      path.write_text({"config.json": json.dumps(config or _RUN), "results.json": _RESULTS,
                       "metrics.jsonl": '{"step": 0, "compile_s": 1.0}\n{"step": 5}\n'}.get(name, ""))
  return epath.Path(folder)


@pytest.mark.parametrize("names, found", [
    ((), "new"),
    (("notes.txt", "data/", ".lock", "logs/20260101T000000/host.log"), "new"),
    (("checkpoints/",), "new"),  # of a start that failed
    (("config.json", "parameters.txt", "checkpoints/"), "new"),
    (("config.json", "metrics.jsonl", "checkpoints/"), "new"),  # killed before its first checkpoint
    (("config.json", "metrics.jsonl", "checkpoints/5/"), "begun"),
    (("checkpoints/5/",), "begun"),
    (("config.json", "metrics.jsonl", "results.json", "checkpoints/9/"), "finished"),
    (("config.json", "metrics.jsonl", "results.json"), "finished"),  # fetched
])
def test_what_lies_in_a_folder_of_the_same_run(tmp_path, names, found):
  assert identity.state(_RUN, epath.Path(tmp_path) / "none") == "new"
  assert identity.state(_RUN, _make(tmp_path, *names)) == found


@pytest.mark.parametrize("names, message", [
    (("metrics.jsonl",), "has metrics.jsonl, but no config.json: they belong to no run"),
    (("results.json", "solved.png"), "has results.json, solved.png, but no config.json"),
    (("tensorboard/",), "has tensorboard, but no config.json"),
    (("checkpoints/best.pt",), "has checkpoints, but no config.json"),
    (("checkpoints",), "has checkpoints, but no config.json"),
    (("config.json", "metrics.jsonl"), "this run has begun, but its checkpoints are not here"),
])
def test_what_would_be_written_over_is_refused(tmp_path, names, message):
  folder = _make(tmp_path, *names)
  with pytest.raises(UserError) as e:
    identity.state(_RUN, folder)
  assert str(e.value).startswith(f"{tmp_path}: {message}") and "name another folder" in str(e.value)


@pytest.mark.parametrize("names", [("submission.json",), ("submission_average.json", "submission_best.json")])
def test_the_answers_of_a_task_are_not_written_over(tmp_path, names):
  folder = _make(tmp_path, *names)
  assert identity.state(_RUN, folder) == "new"  # a Sudoku's run writes none
  with pytest.raises(UserError, match=f"has {', '.join(names)}, but no config.json: they belong to no run"):
    identity.state({"config": {"task": "arc"}}, folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"config": 3, "total_steps": 9}', '{"config": {}}', "name: x\n"])
@pytest.mark.parametrize("beside", [(), ("metrics.jsonl", "results.json")])
def test_a_config_file_of_something_else_is_refused(tmp_path, content, beside):
  folder = _make(tmp_path, *beside)
  (folder / "config.json").write_text(content)
  with pytest.raises(UserError, match=f"^{tmp_path}/config.json.*; it belongs to no run, or is damaged; name another"):
    identity.state(_RUN, folder)


@pytest.mark.parametrize("names", [
    ("metrics.jsonl",), ("results.json",), ("checkpoints/5/",), ("metrics.jsonl", "results.json", "checkpoints/9/")])
def test_another_run_is_refused_whatever_is_left_of_it(tmp_path, names):
  other = _RUN | {"config": _RUN["config"] | {"seed": 3}}
  folder = _make(tmp_path, "config.json", *names, config=other)
  with pytest.raises(UserError, match=f"^{tmp_path}: holds another run; it differs in seed: 3 -> 0. Name another "):
    identity.state(_RUN, folder)


def test_a_run_that_has_made_no_step_keeps_no_other_out(tmp_path):
  """A batch that was too large, say: nothing is lost."""
  other = _RUN | {"config": _RUN["config"] | {"batch_size": 3}}
  folder = _make(tmp_path, "config.json", "checkpoints/", "parameters.txt", config=other)
  (folder / "metrics.jsonl").write_text('{"step": 0, "compile_s": 9.0}\n')
  assert identity.state(_RUN, folder) == "new"


@pytest.mark.parametrize("change, message", [
    ({"puzzles": _PUZZLES | {"train": "x"}}, "does not give the same training puzzles any more"),
    ({"puzzles": _PUZZLES | {"train": "x", "validation": None}}, "the same training and validation puzzles any more"),
    ({"puzzles": _PUZZLES | {"test": "x"}}, "does not give the same test puzzles any more"),
    ({"data": {"seq_len": 16}}, "it differs in seq_len of the data: 16 -> 81"),
    ({"total_steps": 8}, "it differs in total steps: 8 -> 9"),
])
def test_what_else_makes_a_run_another_one(change, message):
  with pytest.raises(UserError, match=message):
    identity.check_same(_RUN, _RUN | change, "here")
  identity.check_same({"config": _RUN["config"]}, _RUN | change, "here")  # as far as is known


def test_the_number_of_test_puzzles_is_free():
  fewer = _RUN["config"] | {"data": _RUN["config"]["data"] | {"num_test": 5}}
  identity.check_same(_RUN, _RUN | {"config": fewer, "puzzles": _PUZZLES | {"test": "x"}}, "here")


def test_files_that_were_replaced_are_other_puzzles(tmp_path):
  """By the same path, and in the same number."""
  sizes = dict(box=2, num_train=9, num_validation=0, num_test=5, num_clues=9)
  data = SudokuData(source=str(tmp_path), box=2, num_train=6, num_validation=3)

  def found(seed):
    for split, puzzles in generate.generate_splits(**sizes, seed=seed).items():
      if puzzles is not None:
        csv_files.write_csv(tmp_path / f"{split}.csv", puzzles, source="made")
    return identity.digests(splits_lib.load(SudokuTask(data)))

  first = found(0)
  assert found(0) == first
  other = found(1)
  assert all(other[name] != first[name] for name in ("train", "validation", "test"))
  none = identity.digests(splits_lib.load(SudokuTask(dataclasses.replace(data, num_validation=0))))
  assert none["validation"] is None and none["test"] == other["test"]
