# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From config.data to puzzles: the same ones whatever the source keeps them in."""

import dataclasses
import functools
import hashlib
import http.server
import json
import shutil
import threading
import time

import numpy as np
import pytest

from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import extreme
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask



def load(data):
  """The splits of config.data."""
  return splits_lib.load(SudokuTask(data))


def load_test(data):
  """The test puzzles of config.data."""
  return splits_lib.load_test(SudokuTask(data))


SMALL = SudokuData(box=2, num_train=30, num_validation=10, num_test=20)


@functools.cache
def _made(box, num_clues):
  """Puzzles of the splits train and test, with ratings that name their row."""
  splits = generate.generate_splits(box=box, num_train=80, num_validation=0, num_test=40, num_clues=num_clues, seed=1)
  return {split: dataclasses.replace(splits[split], ratings=np.arange(len(splits[split]), dtype=np.int32))
          for split in ("train", "test")}


def _write_csv(folder, box=2, num_clues=8):
  folder.mkdir()
  for split, puzzles in _made(box, num_clues).items():
    csv_files.write_csv(folder / f"{split}.csv", puzzles, source="made")
  return folder


def write_reference(folder, splits, *, num_aug=0):
  """As the reference's Sudoku builder: each puzzle is a group, `num_aug` augmented versions of training puzzles behind
  it."""
  rng = np.random.default_rng(0)
  for split, puzzles in splits.items():
    place = folder / split
    place.mkdir(parents=True)
    n, versions = len(puzzles), 1 + num_aug * (split == "train")
    values = np.tile(np.arange(puzzles.vocab_size), (n, versions, 1))
    values[:, 1:, 2:] = rng.permuted(values[:, 1:, 2:], axis=-1)  # other digits; no stored version is like another
    arrays = {name: values[np.arange(n)[:, None, None], np.arange(versions)[:, None], tokens[:, None]].reshape(
        n * versions, -1).astype(np.uint8) for name, tokens in (("inputs", puzzles.inputs), ("labels", puzzles.labels))}
    (place / "dataset.json").write_text(json.dumps({
        "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": puzzles.vocab_size,
        "seq_len": puzzles.seq_len, "num_puzzle_identifiers": 1, "total_groups": n, "mean_puzzle_examples": 1,
        "total_puzzles": n, "sets": ["all"]}))
    for field, array in {
        **arrays, "puzzle_identifiers": np.zeros(n * versions, int), "puzzle_indices": np.arange(n * versions + 1),
        "group_indices": np.arange(0, n * versions + 1, versions)}.items():
      np.save(place / f"all__{field}.npy", array)
  return folder


def _assert_same(a, b, *, ratings=True):
  for name in ("inputs", "labels", "puzzle_identifiers", "group_starts", *(["ratings"] if ratings else [])):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
  assert (a.vocab_size, a.num_puzzle_identifiers) == (b.vocab_size, b.num_puzzle_identifiers)


def _assert_same_splits(a, b, *, ratings=True):
  for split in ("train", "validation", "test"):
    _assert_same(getattr(a, split), getattr(b, split), ratings=ratings)


def _rows(puzzles):
  return [bytes(row) for row in puzzles.inputs]


def test_a_csv_folder(tmp_path):
  splits = load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv"))))
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 20)
  # Each row is the one its rating names: inputs, labels and ratings were shuffled together.
  for name, split in (("train", splits.train), ("train", splits.validation), ("test", splits.test)):
    made = _made(2, 8)[name]
    np.testing.assert_array_equal(split.inputs, made.inputs[split.ratings])
    np.testing.assert_array_equal(split.labels, made.labels[split.ratings])
    assert sorted(split.ratings) != list(range(len(split)))  # drawn from all of the source, not from its start


def test_a_reference_folder_gives_the_same_puzzles(tmp_path):
  from_csv = load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv"))))
  folder = write_reference(tmp_path / "reference", _made(2, 8))
  from_arrays = load(dataclasses.replace(SMALL, source=str(folder)))
  assert from_arrays.test.ratings is None
  _assert_same_splits(from_csv, from_arrays, ratings=False)


@pytest.mark.parametrize("num_aug", [0, 1, 2])
def test_stored_augmentations_stay_with_their_puzzle(tmp_path, num_aug):
  folder = write_reference(tmp_path / "reference", _made(2, 8), num_aug=2)
  splits = load(dataclasses.replace(SMALL, source=str(folder), num_aug=num_aug))
  # The first of them, as many as asked for, and the original.
  assert (splits.train.num_groups, len(splits.train)) == (30, 30 * (num_aug + 1))
  stored = np.load(folder / "train" / "all__inputs.npy").reshape(80, 3, 16)
  row_of = {bytes(group[0]): row for row, group in enumerate(stored)}
  rows = [row_of[bytes(row)] for row in splits.train.first_versions(1).inputs]
  np.testing.assert_array_equal(splits.train.inputs.reshape(30, num_aug + 1, 16), stored[rows, : num_aug + 1])
  # Evaluated is each original once.
  assert len(splits.validation) == splits.validation.num_groups == SMALL.num_validation
  assert set(_rows(splits.validation)) < row_of.keys()
  # The same puzzles as of a source that stores none.
  from_csv = load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_aug=0))
  _assert_same_splits(dataclasses.replace(splits, train=splits.train.first_versions(1)), from_csv, ratings=False)
  stored = f" with {30 * num_aug} stored augmentations" if num_aug else ""
  assert splits.summary == f"30 to train on{stored}, 10 for validation, 20 for the test"


@pytest.mark.parametrize("num_aug", [-1, 3, 1000])
def test_stored_augmentations_are_not_augmented_again(tmp_path, num_aug):
  folder = write_reference(tmp_path / "reference", _made(2, 8), num_aug=2)
  with pytest.raises(UserError) as e:
    load(dataclasses.replace(SMALL, source=str(folder), num_aug=num_aug))
  assert str(e.value) == (
      f"config.data.num_aug = {num_aug}: {folder} stores 2 augmented versions of each puzzle, and no others are added; "
      "set config.data.num_aug = 2, or less for the first of them, or 0 for none")


def test_a_training_set_that_the_reference_has_built_is_taken_whole(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8), num_aug=2)
  data = dataclasses.replace(SMALL, source=str(folder), num_train=80, num_aug=2)
  splits = load(data)
  assert (splits.train.num_groups, len(splits.train), splits.validation) == (80, 240, None)
  assert splits.notes == (
      f"config.data.num_train = 80 takes all puzzles of {folder}: none are held out for validation "
      "(config.data.num_validation = 10); test puzzles are evaluated during training instead, "
      "and no checkpoint is chosen by them",)
  assert splits.summary == "80 to train on with 160 stored augmentations, 0 for validation, 20 for the test"
  assert splits.test_puzzle == "unseen puzzle"
  assert load(dataclasses.replace(data, num_validation=0)).notes == ()


def test_stored_versions_of_test_puzzles_are_not_tested(tmp_path):
  made = _made(2, 8)
  folder = write_reference(tmp_path / "reference", {"train": made["train"]}, num_aug=2)
  write_reference(tmp_path / "other", {"train": made["test"]}, num_aug=2)
  (tmp_path / "other" / "train").rename(folder / "test")
  _assert_same(load_test(dataclasses.replace(SMALL, source=str(folder), num_test=0)), made["test"],
               ratings=False)


def _repeat(path, rows, into=None):
  """Writes some rows of a CSV file once more, at the end of it or of another file."""
  lines = path.read_text().splitlines()
  with open(into or path, "a", encoding="utf-8") as f:
    f.write("".join(f"{lines[1 + row]}\n" for row in rows))


def test_no_repetition_no_warning(tmp_path):
  splits = load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_aug=0))
  assert splits.notes == () and splits.all_unseen and splits.test_puzzle == "unseen puzzle"


def test_puzzles_that_are_repeated_are_counted_and_not_called_unseen(tmp_path):
  folder = _write_csv(tmp_path / "csv")
  _repeat(folder / "test.csv", [3, 3, 5])
  _repeat(folder / "train.csv", [0, 1, 2, 3, 4, 5, 6], into=folder / "test.csv")
  _repeat(folder / "train.csv", [7, 7])
  data = dataclasses.replace(SMALL, source=str(folder), num_train=0, num_validation=0, num_test=0, num_aug=0)
  splits = load(data)
  assert splits.notes == (
      "warning: 7 of 50 test puzzles are trained on, 3 of 50 test puzzles repeat other test puzzles, 2 of 82 training "
      "puzzles repeat other training puzzles (puzzles are compared as they are stored, cell by cell, without the "
      "versions of config.data.num_aug)",)
  assert not splits.all_unseen and splits.test_puzzle == "test puzzle"


def test_repeated_training_puzzles_leave_the_test_unseen(tmp_path):
  folder = _write_csv(tmp_path / "csv")
  _repeat(folder / "train.csv", [7, 7])
  splits = load(dataclasses.replace(SMALL, source=str(folder), num_train=0, num_validation=0, num_aug=0))
  assert splits.notes[0].startswith("warning: 2 of 82 training puzzles repeat other training puzzles (")
  assert splits.test_puzzle == "unseen puzzle"


def test_stored_augmentations_are_compared_with_the_test(tmp_path):
  made = _made(2, 8)
  folder = write_reference(tmp_path / "reference", made, num_aug=2)
  inputs, labels = (np.load(folder / "train" / f"all__{name}.npy") for name in ("inputs", "labels"))
  test = puzzles_lib.one_group_each(inputs[1::3], labels[1::3].astype(np.int8), vocab_size=6)
  shutil.rmtree(folder / "test")
  write_reference(folder, {"test": test})
  data = dataclasses.replace(SMALL, source=str(folder), num_train=80, num_test=0)
  assert load(dataclasses.replace(data, num_aug=2)).notes[-1].startswith(
      "warning: 80 of 80 test puzzles are trained on (")
  assert "80 of 80" not in str(load(dataclasses.replace(data, num_aug=0)).notes)


def test_augmented_4x4_puzzles_are_not_called_unseen(tmp_path):
  splits = load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_aug=1))
  assert splits.test_puzzle == "test puzzle"
  assert splits.notes == (
      "warning: config.data.num_aug = 1 turns 4x4 grids to train on into grids of the test; set "
      "config.data.num_aug = 0 to test on grids that are new to the model",)


@pytest.mark.parametrize("seed", range(5))
def test_equal_puzzles_are_never_both_trained_on_and_held_out(tmp_path, seed):
  folder = _write_csv(tmp_path / "csv")
  _repeat(folder / "train.csv", range(40))
  data = dataclasses.replace(SMALL, source=str(folder), seed=seed, num_aug=0)
  drawn = load(data)
  assert (len(drawn.train), len(drawn.validation)) == (30, 10)  # as many as asked for
  assert not set(_rows(drawn.train)) & set(_rows(drawn.validation))
  _assert_same_splits(drawn, load(data))
  # All that validation leaves.
  rest = load(dataclasses.replace(data, num_train=0))
  assert len(rest.validation) == 10 and len(set(_rows(rest.train)) | set(_rows(rest.validation))) == 80
  assert not set(_rows(rest.train)) & set(_rows(rest.validation))
  left_out = 110 - len(rest.train)
  assert left_out > 0 and f"warning: {left_out} puzzles of {folder} are not trained on, because " in rest.notes[0]


def test_puzzles_that_are_all_equal_cannot_be_held_out(tmp_path):
  folder = _write_csv(tmp_path / "csv")
  lines = (folder / "train.csv").read_text().splitlines()
  (folder / "train.csv").write_text("\n".join([lines[0]] + 50 * [lines[1]]))
  for num_train in (0, 30):
    with pytest.raises(UserError, match=rf"^config.data.num_train = {num_train} and num_validation = 10: .* repeats "
                                        r"puzzles; without the duplicates, .* lower config.data.num_validation$"):
      load(dataclasses.replace(SMALL, source=str(folder), num_train=num_train))


@pytest.mark.parametrize("field, row, cell, token, message", [
    ("labels", 7, 0, "other", "row 7: the answer contradicts the puzzle in row "),
    ("labels", 7, slice(None), 0, "row 7: the answer has no digit in row 1, column 1; must have one of 1-4 in every"),
    ("labels", 7, 5, 1, "row 7: the answer has no digit in row 2, column 2; must have one of 1-4 in every cell"),
    ("labels", 7, slice(None), 2, "row 7: the answer "),
    ("inputs", 79, 3, 0, "row 79: the puzzle has the token 0 in row 1, column 4; must be 1 (a blank) or one of 2-5"),
])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_rules_of_sudoku_hold_in_a_reference_folder(tmp_path, split, field, row, cell, token, message):
  made = _made(2, 8)
  folder = write_reference(tmp_path / "reference", {"train": made["train"], "test": made["train"]})
  path = folder / split / f"all__{field}.npy"
  array = np.load(path)
  if token == "other":
    array[row] = 7 - array[row]  # another grid, of which all clues are wrong
  else:
    array[row, cell] = token
  np.save(path, array)
  with pytest.raises(UserError) as e:
    load(dataclasses.replace(SMALL, source=str(folder)))
  assert str(e.value).startswith(f"{path}, {message}") and str(e.value).endswith(
      "; rebuild the folder with the reference's builder")


def test_an_answer_that_is_no_grid_is_found_among_stored_augmentations(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8), num_aug=2)
  path = folder / "train" / "all__labels.npy"
  labels, inputs = np.load(path), np.load(folder / "train" / "all__inputs.npy")
  blank = int(np.flatnonzero(inputs[100] == 1)[0])
  labels[100, blank] = 2 + (labels[100, blank] - 1) % 4
  np.save(path, labels)
  with pytest.raises(UserError, match=rf"^{path}, row 100: the answer is not a Sudoku grid; each row, column and box"):
    load(dataclasses.replace(SMALL, source=str(folder), num_aug=2))


def test_test_identifiers_must_be_known_from_training(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8))
  meta = json.loads((folder / "test" / "dataset.json").read_text())
  (folder / "test" / "dataset.json").write_text(json.dumps(meta | {"num_puzzle_identifiers": 3}))
  with pytest.raises(UserError, match=r"reference: the test puzzles have 3 puzzle identifiers, the training puzz"):
    load(dataclasses.replace(SMALL, source=str(folder)))


@pytest.mark.parametrize("made", [_write_csv, lambda folder: write_reference(folder, _made(2, 8))])
def test_what_must_not_be_read_is_said_to_be_so(tmp_path, as_nobody_special, made):
  folder = made(tmp_path / "folder")
  data = dataclasses.replace(SMALL, source=str(folder))
  message = r"cannot be read \(Permission denied.*check who may read"
  for path in (folder, folder / "test", folder / "test.csv", folder / "test" / "dataset.json",
               folder / "test" / "all__labels.npy"):
    if path.exists():
      mode = path.stat().st_mode
      path.chmod(0)
      with as_nobody_special(), pytest.raises(UserError, match=message):
        load(data)
      path.chmod(mode)


def test_sudoku_extreme_gives_the_same_puzzles(tmp_path, monkeypatch):
  pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
  folder = _write_csv(tmp_path / "mirror", box=3, num_clues=50)
  sha256 = {split: hashlib.sha256((folder / f"{split}.csv").read_bytes()).hexdigest() for split in ("train", "test")}

  class Quiet(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *args):
      pass

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
  thread.start()
  try:
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        extreme, "SUDOKU_EXTREME", dataclasses.replace(extreme.SUDOKU_EXTREME, base_url=url, sha256=sha256))
    data = dataclasses.replace(SMALL, box=3, source="sudoku-extreme", tfds_dir=str(tmp_path / "tfds"))
    downloaded = load(data)
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
  _assert_same_splits(downloaded, load(dataclasses.replace(data, source=str(folder))))


@pytest.mark.parametrize("box, num_clues", [(2, 8), (3, 50)])
def test_generated_puzzles_survive_a_csv_file(tmp_path, box, num_clues):
  data = SudokuData(source="generated", box=box, num_train=20, num_validation=5, num_test=9, num_clues=num_clues)
  made = load(data)
  assert (len(made.train), len(made.validation), len(made.test)) == (20, 5, 9)
  assert (made.train.inputs != rules.BLANK).sum(1).tolist() == [num_clues] * 20
  for split in (made.train, made.validation, made.test):
    csv_files.write_csv(tmp_path / "made.csv", split, source="generated")
    read = csv_files.read_csv(tmp_path / "made.csv", box=box)
    _assert_same(read, split, ratings=False)
    assert not read.ratings.any() and split.ratings is None


def test_generated_test_puzzles_alone_are_those_of_the_run():
  data = SudokuData(source="generated", box=2, num_train=20, num_validation=0, num_test=9, num_clues=8)
  test, splits = load_test(data), load(data)
  assert splits.validation is None
  _assert_same(test, splits.test)
  told = []
  splits_lib.load_test(SudokuTask(data), lambda *far: told.append(far))
  assert told[-1] == (29, 29)  # those to train on are made, too, which may take minutes


@pytest.mark.parametrize("name", ["num_train", "num_test"])
def test_generated_puzzles_need_a_number(name):
  data = SudokuData(source="generated", box=2, num_train=20, num_validation=0, num_test=9, num_clues=8)
  with pytest.raises(UserError, match=rf"^config.data.{name} = 0: means all, but 'generated' puzzles are endless"):
    load(dataclasses.replace(data, **{name: 0}))
  with pytest.raises(UserError, match=rf"^config.data.{name} = 0: means all"):
    load_test(dataclasses.replace(data, **{name: 0}))


def test_subsets_follow_the_seed(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load(data)
  _assert_same_splits(splits, load(data))
  other = load(dataclasses.replace(data, seed=1))
  for split in ("train", "validation", "test"):
    assert set(_rows(getattr(splits, split))) != set(_rows(getattr(other, split)))
  assert not set(_rows(splits.train)) & set(_rows(splits.validation))


def test_the_size_of_one_split_does_not_change_the_others(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load(data)
  more = load(dataclasses.replace(data, num_validation=20, num_test=25))
  _assert_same(more.train, splits.train)
  assert _rows(more.validation)[:10] == _rows(splits.validation)
  assert _rows(more.test)[:20] == _rows(splits.test)
  _assert_same(load_test(data), splits.test)


@pytest.mark.parametrize("change, digests", [
    ({}, ["381565c108523f08", "afed40be84cf8f88", "deaac51447c2decd"]),
    (dict(num_train=0), ["fffced93e90bdac4", "e1b872ed4e967474", "deaac51447c2decd"]),
    (dict(num_train=0, num_validation=0), ["18913cc5704f1783", None, "deaac51447c2decd"]),
])
def test_the_puzzles_that_a_seed_draws_stay_the_same_ones(tmp_path, change, digests):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_aug=0, **change)
  splits = load(data)
  assert [puzzles and puzzles.digest()[:16] for puzzles in (splits.train, splits.validation, splits.test)] == digests


def test_zero_means_all(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_train=0, num_test=0)
  splits = load(data)
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (70, 10, 40)
  assert len(set(_rows(splits.train) + _rows(splits.validation))) == 80
  _assert_same(splits.test, _made(2, 8)["test"])
  splits = load(dataclasses.replace(data, num_validation=0))
  assert len(splits.train) == 80 and splits.validation is None
  load(dataclasses.replace(data, num_train=70))  # just as many as there are


@pytest.mark.parametrize("change, message", [
    (dict(num_train=71), "config.data.num_train = 71 and num_validation = 10: {} has 80 training puzzles for both; "
                         "set config.data.num_train = 70 or config.data.num_validation = 9"),
    (dict(num_train=81), "config.data.num_train = 81 and num_validation = 10: {} has 80 training puzzles for both; set "
                         "config.data.num_train = 70"),
    (dict(num_train=80, num_validation=80), "config.data.num_train = 80 and num_validation = 80: {} has 80 training "
                                            "puzzles for both; set config.data.num_validation = 0"),
    (dict(num_train=0, num_validation=80), "config.data.num_train = 0 and num_validation = 80: {} has 80 training "
                                           "puzzles for both; set both to 0, to train on all of them"),
    (dict(num_test=41), "config.data.num_test = 41: {} has 40 test puzzles; set config.data.num_test = 0 for all of"),
    (dict(box=3), "{}/test.csv, line 2: the question has 16 characters, must have 81"),
])
def test_sizes_that_do_not_fit(tmp_path, change, message):
  folder = _write_csv(tmp_path / "csv")
  with pytest.raises(UserError) as e:
    load(dataclasses.replace(SMALL, source=str(folder), **change))
  assert str(e.value).startswith(message.format(folder)) and "\n" not in str(e.value)


def test_reference_folder_of_other_boards(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8))
  for read in (load, load_test):
    with pytest.raises(UserError) as e:
      read(dataclasses.replace(SMALL, source=str(folder), box=3))
    assert str(e.value) == f"{folder}: 16 cells and 6 tokens, but config.data.box = 3 means 81 and 11"


def test_sources_that_are_missing(tmp_path):
  with pytest.raises(UserError, match=r"^config.data.source = 'nope': no such folder; use a folder with train.csv and"):
    load(dataclasses.replace(SMALL, source="nope"))
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match=r"empty/test.csv: no such file"):
    load(dataclasses.replace(SMALL, source=str(tmp_path / "empty")))
  folder = _write_csv(tmp_path / "csv")
  (folder / "train.csv").unlink()
  with pytest.raises(UserError, match=r"csv/train.csv: no such file"):
    load(dataclasses.replace(SMALL, source=str(folder)))
  assert len(load_test(dataclasses.replace(SMALL, source=str(folder)))) == 20  # all that evaluation needs


def test_home_is_known(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  _write_csv(tmp_path / "csv")
  assert len(load(dataclasses.replace(SMALL, source="~/csv")).train) == 30


def test_watched_is_validation_or_part_of_test(monkeypatch, tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load(data)
  assert splits.watched == ("validation", splits.validation)
  splits = load(dataclasses.replace(data, num_validation=0))
  name, watched = splits.watched
  assert name == "test" and sorted(_rows(watched)) == sorted(_rows(splits.test))
  monkeypatch.setattr(splits_lib, "WATCHED_TEST_PUZZLES", 7)
  watched = splits.watched[1]
  assert len(watched) == 7 and set(_rows(watched)) < set(_rows(splits.test))
  assert _rows(watched) == _rows(splits.watched[1]) != _rows(splits.test)[:7]


def test_eleven_thousand_real_puzzles_in_two_seconds(shared_dir):
  data = SudokuData(source=str(shared_dir / "data" / "sudoku"))
  start = time.process_time()  # the machine may be busy with other things
  splits = load(data)
  seconds = time.process_time() - start
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (1000, 1024, 10_000)
  assert splits.train.ratings.max() > 0 and isinstance(splits.train, puzzles_lib.Puzzles)
  assert seconds < 2
