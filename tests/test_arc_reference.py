# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC's data set and votes, equal to those of the reference bit for bit.

TRM_GOLDEN_ARC_DIR names the recordings, folders with colons between them; otherwise tests/golden_arc is compared.
TRM_ARC_JSON_DIR names a folder with the published files, from which the real data sets are made then.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import jax
import npz
import numpy as np
import pytest

from trm_jax.data.puzzles import IGNORE_LABEL, Sizes
from trm_jax.errors import UserError
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc import reference_folder
from trm_jax.tasks.arc import vote
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.task import ArcTask

OWN = pathlib.Path(__file__).parent / "golden_arc"
FOLDERS = [pathlib.Path(name) for name in os.environ.get("TRM_GOLDEN_ARC_DIR", str(OWN)).split(os.pathsep)]
REAL = os.environ.get("TRM_ARC_JSON_DIR")
SPLITS = ("train", "test")
# Of the real data sets: the subsets, the test set.
SETS = {"arc1": ("training,evaluation,concept", "evaluation"), "arc2": ("training2,evaluation2,concept", "evaluation2")}

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module", params=FOLDERS, ids=str, name="golden")
def _golden(request):
  return request.param


@pytest.fixture(scope="module", name="task")
def _task(golden):
  settings = json.loads((golden / "settings.json").read_text())
  return ArcTask(ArcData(source=str(golden / "json"), subsets=",".join(settings["subsets"]),
                         test_set=settings["test_set"], num_aug=settings["num_aug"], seed=settings["seed"]))


def _names(data_set_names, puzzles):
  """By identifier, from the versions of a split that has them all."""
  names = {0: "<blank>"}
  versions = puzzles.versions
  for start, end in zip(versions.starts, versions.starts[1:]):
    task = data_set_names[int(versions.identifiers[start])]
    names |= zip(versions.identifiers[start:end].tolist(), grids.names(task, versions.numbers[start:end]))
  return [names[i] for i in range(len(names))]


def _arrays(puzzles):
  """What the reference stores of a split, by its names, but for the grids."""
  sizes = np.repeat(puzzles.examples_of_groups(), puzzles.num_versions)
  return {"puzzle_identifiers": puzzles.versions.identifiers,
          "puzzle_indices": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
          "group_indices": puzzles.versions.starts}


def _every_row(puzzles):
  """Of every example of every version, in the reference's order: its example and its version."""
  sizes, versions, originals = puzzles.examples_of_groups(), puzzles.num_versions, puzzles.originals()
  return tuple(np.concatenate(parts).astype(np.int32) for parts in zip(*(
      (np.tile(first + np.arange(size), number), np.repeat(np.arange(number), size))
      for first, size, number in zip(originals, sizes, versions))))


def test_identifiers(golden, task):
  names = _names(task.task_names, task.read("train"))
  assert names == json.loads((golden / "identifiers.json").read_text())
  assert task.num_puzzle_identifiers == len(names)


@pytest.mark.parametrize("split", SPLITS)
def test_arrays(golden, task, split):
  puzzles, stored = task.read(split), npz.read(golden / "dataset.npz")
  for name, array in _arrays(puzzles).items():
    np.testing.assert_array_equal(array, stored[f"{split}/{name}"], name)
  rows = _every_row(puzzles)
  make = jax.jit(jax.vmap(lambda arrays, *numbers: task.row(arrays, *numbers, None), in_axes=(None, 0, 0)))
  made = jax.tree.map(np.asarray, make(task.arrays(puzzles), *rows))
  np.testing.assert_array_equal(made["inputs"], stored[f"{split}/inputs"])
  known = (puzzles.labels != IGNORE_LABEL).any(1)[rows[0]]  # the reference has a black cell where there is no solution
  labels = np.where(made["labels"] == IGNORE_LABEL, 0, made["labels"])
  np.testing.assert_array_equal(labels[known], stored[f"{split}/labels"][known])
  assert (labels[~known] == 0).all()
  sizes = np.diff(stored[f"{split}/puzzle_indices"])
  np.testing.assert_array_equal(made["puzzle_identifiers"], np.repeat(stored[f"{split}/puzzle_identifiers"], sizes))


@pytest.mark.parametrize("split", SPLITS)
def test_counts(golden, task, split):
  assert _counts(task.read(split)) == json.loads((golden / f"{split}_dataset.json").read_text())


def _counts(puzzles):
  examples, versions = Sizes.of(puzzles).stored
  return {"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": puzzles.vocab_size,
          "seq_len": puzzles.seq_len, "num_puzzle_identifiers": puzzles.num_puzzle_identifiers,
          "total_groups": puzzles.num_groups, "mean_puzzle_examples": examples / versions, "total_puzzles": versions,
          "sets": ["all"]}


def test_test_puzzles(golden, task):
  tested = json.loads((golden / "test_puzzles.json").read_text())
  puzzles = task.read("test")
  starts = [*puzzles.originals(), len(puzzles)]
  assert {task.task_names[int(i)] for i in puzzles.puzzle_identifiers} == tested.keys()
  for start, end in zip(starts, starts[1:]):
    pairs = tested[task.task_names[int(puzzles.puzzle_identifiers[start])]]["test"]
    assert [grids.crop(row).tolist() for row in puzzles.inputs[start:end]] == [pair["input"] for pair in pairs]
    if (puzzles.labels[start] != IGNORE_LABEL).any():
      assert [grids.crop(row).tolist() for row in puzzles.labels[start:end]] == [pair["output"] for pair in pairs]


def write_reference_folder(golden, folder):
  """The recording as the reference's builder lays it out."""
  for split in SPLITS:
    (folder / split).mkdir(parents=True)
    (folder / split / "dataset.json").write_text((golden / f"{split}_dataset.json").read_text())
    for name, array in npz.read(golden / "dataset.npz").items():
      if name.startswith(split):
        np.save(folder / split / f"all__{name.split('/')[1]}.npy", array)
  (folder / "identifiers.json").write_text((golden / "identifiers.json").read_text())
  (folder / "test_puzzles.json").write_text((golden / "test_puzzles.json").read_text())


def test_a_folder_of_the_reference_gives_the_same(golden, task, tmp_path):
  write_reference_folder(golden, tmp_path)
  other = ArcTask(ArcData(source=str(tmp_path)))
  for split in SPLITS:
    made, read = task.read(split), other.read(split)
    if (made.labels != IGNORE_LABEL).any(1).all():  # otherwise it has a black cell where there is no solution
      assert read.digest() == made.digest()
    np.testing.assert_array_equal(read.versions.moves, made.versions.moves)
  assert other.task_names.items() >= {
      i: name for i, name in task.task_names.items() if i in task.read("train").puzzle_identifiers}.items()


def test_a_changed_cell_of_a_folder_is_found(golden, tmp_path):
  write_reference_folder(golden, tmp_path)
  path = tmp_path / "test" / "all__labels.npy"
  labels = np.load(path)
  labels[-1, 0] = 2 + (labels[-1, 0] - 1) % 10
  np.save(path, labels)
  with pytest.raises(UserError, match=f"all__labels.npy, row {len(labels) - 1}: is not the version of the task"):
    ArcTask(ArcData(source=str(tmp_path))).read("train")


@pytest.fixture(name="renamed")
def _renamed(golden, tmp_path):
  """The recording twice, the second time with other names for every other task; and the names in both."""
  names = json.loads((golden / "identifiers.json").read_text())
  tasks = sorted({name.split("|||")[0] for name in names[1:]})
  others = names[:1] + [f"new {name}" if name.split("|||")[0] in tasks[::2] else name for name in names[1:]]
  for folder, identifiers in (("a", names), ("b", others)):
    write_reference_folder(golden, tmp_path / folder)
    (tmp_path / folder / "identifiers.json").write_text(json.dumps(identifiers))
  return tmp_path / "a", tmp_path / "b", names, others


def _together(*folders):
  return ArcTask(ArcData(source=",".join(map(str, folders))))


def test_folders_with_the_same_names_are_joined_as_in_the_reference(golden, task, renamed):
  first, second, *_ = renamed
  (second / "identifiers.json").write_text((first / "identifiers.json").read_text())
  stored, joined = npz.read(golden / "dataset.npz"), _together(first, second)
  train = joined.read("train")
  for name, array in _arrays(train).items():  # the arrays of both, the second ones' offsets counted on
    once = stored[f"train/{name}"]
    twice = np.concatenate([once, once] if name == "puzzle_identifiers" else [once, once[1:] + once[-1]])
    np.testing.assert_array_equal(array, twice, name)
  make = jax.jit(jax.vmap(lambda arrays, *numbers: joined.row(arrays, *numbers, None), in_axes=(None, 0, 0)))
  made = jax.tree.map(np.asarray, make(joined.arrays(train), *_every_row(train)))
  np.testing.assert_array_equal(made["inputs"], np.concatenate([stored["train/inputs"]] * 2))
  sizes = np.diff(stored["train/puzzle_indices"])
  np.testing.assert_array_equal(
      made["puzzle_identifiers"], np.tile(np.repeat(stored["train/puzzle_identifiers"], sizes), 2))
  # Its steps come from sums over the folders' dataset.json.
  meta = json.loads((golden / "train_dataset.json").read_text())
  mean = 2 * meta["mean_puzzle_examples"] * meta["total_puzzles"] / (2 * meta["total_puzzles"])
  assert Sizes.of(train).total_steps(100, 8) == int(100 * 2 * meta["total_groups"] * mean / 8)
  assert joined.num_puzzle_identifiers == task.num_puzzle_identifiers  # of its sum, half would be rows of nothing
  assert joined.read("test").digest() == _together(first).read("test").digest()  # each test input once


def test_folders_with_other_names_have_a_row_for_each_name(golden, task, renamed):
  first, second, names, others = renamed
  joined = _together(first, second)
  assert joined.row_names() == ["", *names[1:], *(name for name in others if name.startswith("new "))]
  train, half = joined.read("train"), len(npz.read(golden / "dataset.npz")["train/puzzle_identifiers"])
  meant, stored = (train.versions.identifiers[:half], train.versions.identifiers[half:]), npz.read(golden / "dataset.npz")
  for rows, known in zip(meant, (names, others)):
    assert [joined.row_names()[i] for i in rows] == [known[i] for i in stored["train/puzzle_identifiers"]]
  # Test tasks of the second folder are those whose names are new.
  test, before = joined.read("test"), [task.task_names[int(i)] for i in dict.fromkeys(
      task.read("test").puzzle_identifiers.tolist())]
  found = [joined.task_names[int(i)] for i in test.puzzle_identifiers[test.originals()]]
  assert found == before + [f"new {name}" for name in before if f"new {name}" in others]


def test_a_test_task_of_two_folders_has_the_test_inputs_of_both(task):
  test = task.read("test")
  inputs = test.inputs.copy()
  inputs[0] = test.inputs[-1]
  other = dataclasses.replace(test, inputs=inputs)
  joined = reference_folder._joined(reference_folder._each_once([test, other]), test.num_puzzle_identifiers)
  sizes = test.examples_of_groups()
  assert joined.examples_of_groups().tolist() == [sizes[0] + 1, *sizes[1:]]
  np.testing.assert_array_equal(joined.inputs, np.insert(test.inputs, sizes[0], test.inputs[-1], axis=0))
  np.testing.assert_array_equal(joined.labels, np.insert(test.labels, sizes[0], test.labels[0], axis=0))
  for name in ("starts", "identifiers", "numbers"):
    np.testing.assert_array_equal(getattr(joined.versions, name), getattr(test.versions, name))
  assert len(joined.versions.moves) == (joined.num_versions * joined.examples_of_groups()).sum()


def test_folders_that_cannot_be_named_together(golden, tmp_path):
  write_reference_folder(golden, tmp_path / "a")
  with pytest.raises(UserError, match=f"{golden / 'json'} was not written by the reference's dataset builder, and only "):
    _together(tmp_path / "a", golden / "json").read("train")
  for again in (tmp_path / "a", f"{tmp_path / 'a'}/"):
    with pytest.raises(UserError, match="names a folder twice; name each once"):
      _together(tmp_path / "a", again).read("train")
  for place in ("", f" {tmp_path / 'b'}"):
    with pytest.raises(UserError, match="must be one folder, or several with commas and no spaces between them"):
      _together(tmp_path / "a", place).read("train")
  with pytest.raises(UserError, match="config.data.source = '.*none': no such folder"):
    _together(tmp_path / "a", tmp_path / "none").read("train")
  path = tmp_path / "a" / "identifiers.json"
  names = json.loads(path.read_text())
  path.write_text(json.dumps([*names[:-1], names[1]]))
  with pytest.raises(UserError, match="identifiers.json: has a name twice, each must be another"):
    _together(tmp_path / "a").read("train")


def test_votes(golden, task):
  puzzles, predictions = task.read("test"), npz.read(golden / "predictions.npz")
  examples, versions = (numbers[predictions["rows"]] for numbers in _every_row(puzzles))
  votes = vote.count(puzzles, task.task_names, examples, versions, predictions["preds"], predictions["q_halt_logits"])
  expected, submission = (json.loads((golden / name).read_text()) for name in ("expected.json", "submission.json"))
  metrics = {f"ARC/{name}": value for name, value in votes.metrics.items()}
  assert metrics == pytest.approx(expected["metrics"], abs=1e-12)
  without = {expected["task_without_predictions"]} - {None}
  assert {text.split(",")[0] for text in votes.unanswered} == without
  for name in without:
    assert votes.submission.pop(name) and not submission.pop(name)  # the reference leaves it out
  assert votes.submission == submission


def _sha256(array):
  return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


@pytest.mark.skipif(not REAL, reason="TRM_ARC_JSON_DIR names no folder with the published files")
@pytest.mark.parametrize("name", ["arc1_aug10", "arc2_aug10", "arc1_aug1000", "arc2_aug1000"])
def test_the_real_data_sets(golden, name):
  subsets, test_set = SETS[name[:4]]
  task = ArcTask(ArcData(source=REAL, subsets=subsets, test_set=test_set, num_aug=int(name[8:])))
  names = _names(task.task_names, task.read("train"))
  if not (golden / "full.json").exists():
    pytest.skip(f"{golden} has no full.json")
  recorded = json.loads((golden / "full.json").read_text()).get(name)
  if not recorded:
    assert len(names) == 1_191_730
    return
  identifiers = recorded["identifiers"]
  assert (len(names), names[:3], names[-2:]) == (identifiers["count"], identifiers["first"], identifiers["last"])
  assert hashlib.sha256("\n".join(names).encode()).hexdigest() == identifiers["sha256_of_lines"]
  for split in SPLITS[: 2 * ("train" in recorded)]:
    puzzles = task.read(split)
    assert _counts(puzzles) == recorded[split]
    arrays = _arrays(puzzles)
    examples, versions = _every_row(puzzles)
    groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())[examples]
    numbers = puzzles.versions.numbers[puzzles.versions.starts[groups] + versions]
    for field in ("inputs", "labels"):
      canvases = np.maximum(getattr(puzzles, field).astype(np.int8), 0)
      arrays[field] = np.concatenate([
          grids.remade(canvases[examples[part]], numbers[part], puzzles.versions.moves[part].astype(np.int32), 0)
          for part in np.split(np.arange(len(examples)), range(2048, len(examples), 2048))]).astype(np.uint8)
    for field, array in arrays.items():
      assert [_sha256(array), list(array.shape), array.dtype.name] == recorded[f"{split}/{field}"], (split, field)
