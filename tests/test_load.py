# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From config.data to puzzles: the same ones whatever the source keeps them in."""

import dataclasses
import functools
import hashlib
import http.server
import json
import threading
import time

import numpy as np
import pytest

from trm_jax.config import DataConfig
from trm_jax.data import load
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data.sudoku import csv_files
from trm_jax.data.sudoku import extreme
from trm_jax.data.sudoku import generate
from trm_jax.errors import UserError

SMALL = DataConfig(box=2, num_train=30, num_validation=10, num_test=20)


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


def write_reference(folder, splits):
  """As the reference's Sudoku builder without augmentation: each puzzle is a group of one example."""
  for split, puzzles in splits.items():
    place = folder / split
    place.mkdir(parents=True)
    n = len(puzzles)
    (place / "dataset.json").write_text(json.dumps({
        "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": puzzles.vocab_size,
        "seq_len": puzzles.seq_len, "num_puzzle_identifiers": 1, "total_groups": n, "mean_puzzle_examples": 1,
        "total_puzzles": n, "sets": ["all"]}))
    for field, array in {
        "inputs": puzzles.inputs, "labels": puzzles.labels.astype(np.uint8), "puzzle_identifiers": np.zeros(n, int),
        "puzzle_indices": np.arange(n + 1), "group_indices": np.arange(n + 1)}.items():
      np.save(place / f"all__{field}.npy", array)
  return folder


def _assert_same(a, b, *, ratings=True):
  for name in ("inputs", "labels", "puzzle_identifiers", "group_starts", *(["ratings"] if ratings else [])):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
  assert (a.vocab_size, a.num_puzzle_identifiers) == (b.vocab_size, b.num_puzzle_identifiers)


def _assert_same_splits(a, b, *, ratings=True):
  assert a.task == b.task
  for split in ("train", "validation", "test"):
    _assert_same(getattr(a, split), getattr(b, split), ratings=ratings)


def _rows(puzzles):
  return [bytes(row) for row in puzzles.inputs]


def test_a_csv_folder(tmp_path):
  splits = load.load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv"))))
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 20)
  assert splits.task.box == 2
  # Each row is the one its rating names: inputs, labels and ratings were shuffled together.
  for name, split in (("train", splits.train), ("train", splits.validation), ("test", splits.test)):
    made = _made(2, 8)[name]
    np.testing.assert_array_equal(split.inputs, made.inputs[split.ratings])
    np.testing.assert_array_equal(split.labels, made.labels[split.ratings])
    assert sorted(split.ratings) != list(range(len(split)))  # drawn from all of the source, not from its start


def test_a_reference_folder_gives_the_same_puzzles(tmp_path):
  from_csv = load.load(dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv"))))
  from_arrays = load.load(dataclasses.replace(SMALL, source=str(write_reference(tmp_path / "reference", _made(2, 8)))))
  assert from_arrays.test.ratings is None
  _assert_same_splits(from_csv, from_arrays, ratings=False)


def test_stored_augmentations_stay_with_their_puzzle(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8))
  # Three examples a group, which are told apart by their last cell.
  place = folder / "train"
  inputs = np.repeat(np.load(place / "all__inputs.npy"), 3, axis=0)
  inputs[:, -1] = np.arange(240) % 3
  np.save(place / "all__inputs.npy", inputs)
  np.save(place / "all__labels.npy", np.repeat(np.load(place / "all__labels.npy"), 3, axis=0))
  np.save(place / "all__puzzle_indices.npy", np.arange(0, 241, 3))
  meta = json.loads((place / "dataset.json").read_text())
  (place / "dataset.json").write_text(json.dumps(meta | {"mean_puzzle_examples": 3}))
  splits = load.load(dataclasses.replace(SMALL, source=str(folder)))
  assert (splits.train.num_groups, len(splits.train)) == (30, 90)
  np.testing.assert_array_equal(splits.train.inputs[:, -1], np.tile([0, 1, 2], 30))
  np.testing.assert_array_equal(splits.train.labels[0::3], splits.train.labels[2::3])
  # Evaluated is each original once.
  assert len(splits.validation) == splits.validation.num_groups == SMALL.num_validation
  np.testing.assert_array_equal(splits.validation.inputs[:, -1], 0)


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
        extreme, "read_extreme", functools.partial(extreme.read_extreme, base_url=url, sha256=sha256))
    data = dataclasses.replace(SMALL, box=3, source="sudoku-extreme", tfds_dir=str(tmp_path / "tfds"))
    downloaded = load.load(data)
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
  _assert_same_splits(downloaded, load.load(dataclasses.replace(data, source=str(folder))))


@pytest.mark.parametrize("box, num_clues", [(2, 8), (3, 50)])
def test_generated_puzzles_survive_a_csv_file(tmp_path, box, num_clues):
  data = DataConfig(source="generated", box=box, num_train=20, num_validation=5, num_test=9, num_clues=num_clues)
  made = load.load(data)
  assert (len(made.train), len(made.validation), len(made.test)) == (20, 5, 9)
  assert (made.train.inputs != generate.BLANK).sum(1).tolist() == [num_clues] * 20
  for split in (made.train, made.validation, made.test):
    csv_files.write_csv(tmp_path / "made.csv", split, source="generated")
    read = csv_files.read_csv(tmp_path / "made.csv", box=box)
    _assert_same(read, split, ratings=False)
    assert not read.ratings.any() and split.ratings is None


def test_generated_test_puzzles_alone_are_those_of_the_run():
  data = DataConfig(source="generated", box=2, num_train=20, num_validation=0, num_test=9, num_clues=8)
  task, test = load.load_test(data)
  splits = load.load(data)
  assert task == splits.task and splits.validation is None
  _assert_same(test, splits.test)


@pytest.mark.parametrize("name", ["num_train", "num_test"])
def test_generated_puzzles_need_a_number(name):
  data = DataConfig(source="generated", box=2, num_train=20, num_validation=0, num_test=9, num_clues=8)
  with pytest.raises(UserError, match=rf"^config.data.{name} = 0: means all, but 'generated' puzzles have no end"):
    load.load(dataclasses.replace(data, **{name: 0}))
  with pytest.raises(UserError, match=rf"^config.data.{name} = 0: means all"):
    load.load_test(dataclasses.replace(data, **{name: 0}))


def test_subsets_follow_the_seed(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load.load(data)
  _assert_same_splits(splits, load.load(data))
  other = load.load(dataclasses.replace(data, seed=1))
  for split in ("train", "validation", "test"):
    assert set(_rows(getattr(splits, split))) != set(_rows(getattr(other, split)))
  assert not set(_rows(splits.train)) & set(_rows(splits.validation))


def test_the_size_of_one_split_does_not_change_the_others(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load.load(data)
  more = load.load(dataclasses.replace(data, num_validation=20, num_test=25))
  _assert_same(more.train, splits.train)
  assert _rows(more.validation)[:10] == _rows(splits.validation)
  assert _rows(more.test)[:20] == _rows(splits.test)
  _assert_same(load.load_test(data)[1], splits.test)


def test_zero_means_all(tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")), num_train=0, num_test=0)
  splits = load.load(data)
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (70, 10, 40)
  assert len(set(_rows(splits.train) + _rows(splits.validation))) == 80
  _assert_same(splits.test, _made(2, 8)["test"])
  splits = load.load(dataclasses.replace(data, num_validation=0))
  assert len(splits.train) == 80 and splits.validation is None
  load.load(dataclasses.replace(data, num_train=70))  # just as many as there are


@pytest.mark.parametrize("change, message", [
    (dict(num_train=71), "config.data.num_train = 71 and num_validation = 10: {} has 80 training puzzles for both"),
    (dict(num_train=0, num_validation=80), "config.data.num_train = 0 and num_validation = 80: {} has 80 training"),
    (dict(num_test=41), "config.data.num_test = 41: {} has 40 test puzzles"),
    (dict(box=3), "{}/test.csv, line 2: the question has 16 characters, must have 81"),
])
def test_sizes_that_do_not_fit(tmp_path, change, message):
  folder = _write_csv(tmp_path / "csv")
  with pytest.raises(UserError) as e:
    load.load(dataclasses.replace(SMALL, source=str(folder), **change))
  assert str(e.value).startswith(message.format(folder)) and "\n" not in str(e.value)


def test_reference_folder_of_other_boards(tmp_path):
  folder = write_reference(tmp_path / "reference", _made(2, 8))
  for read in (load.load, load.load_test):
    with pytest.raises(UserError) as e:
      read(dataclasses.replace(SMALL, source=str(folder), box=3))
    assert str(e.value) == f"{folder}: 16 cells and 6 tokens, but config.data.box = 3 means 81 and 11"


def test_sources_that_are_missing(tmp_path):
  with pytest.raises(UserError, match=r"^config.data.source = 'nope': no such folder; use a folder with train.csv and"):
    load.load(dataclasses.replace(SMALL, source="nope"))
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match=r"empty/test.csv: no such file"):
    load.load(dataclasses.replace(SMALL, source=str(tmp_path / "empty")))
  folder = _write_csv(tmp_path / "csv")
  (folder / "train.csv").unlink()
  with pytest.raises(UserError, match=r"csv/train.csv: no such file"):
    load.load(dataclasses.replace(SMALL, source=str(folder)))
  assert len(load.load_test(dataclasses.replace(SMALL, source=str(folder)))[1]) == 20  # all that evaluation needs


def test_home_is_known(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  _write_csv(tmp_path / "csv")
  assert len(load.load(dataclasses.replace(SMALL, source="~/csv")).train) == 30


def test_watched_is_validation_or_part_of_test(monkeypatch, tmp_path):
  data = dataclasses.replace(SMALL, source=str(_write_csv(tmp_path / "csv")))
  splits = load.load(data)
  assert splits.watched == ("validation", splits.validation)
  splits = load.load(dataclasses.replace(data, num_validation=0))
  name, watched = splits.watched
  assert name == "test" and sorted(_rows(watched)) == sorted(_rows(splits.test))
  monkeypatch.setattr(load, "WATCHED_TEST_PUZZLES", 7)
  watched = splits.watched[1]
  assert len(watched) == 7 and set(_rows(watched)) < set(_rows(splits.test))
  assert _rows(watched) == _rows(splits.watched[1]) != _rows(splits.test)[:7]


def test_eleven_thousand_real_puzzles_in_two_seconds(shared_dir):
  data = DataConfig(source=str(shared_dir / "data" / "sudoku"))
  start = time.process_time()  # the machine may be busy with other things
  splits = load.load(data)
  seconds = time.process_time() - start
  assert (len(splits.train), len(splits.validation), len(splits.test)) == (1000, 1024, 10_000)
  assert splits.train.ratings.max() > 0 and isinstance(splits.train, puzzles_lib.Puzzles)
  assert seconds < 2
