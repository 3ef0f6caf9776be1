# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Folders in the reference's dataset format."""

import json
import os

import numpy as np
import pytest

from trm_jax.data import puzzles as puzzles_lib, reference_format
from trm_jax.errors import TryAgain, UserError

# Five examples of four cells: puzzle 0 has two, puzzles 1 and 2 one each, puzzle 3 one; groups {0, 1} and {2, 3}.
ARRAYS = {
    "inputs": np.array([[1, 2, 3, 0], [2, 2, 2, 2], [3, 1, 1, 1], [4, 4, 4, 4], [1, 1, 1, 1]]),
    "labels": np.array([[4, 2, 3, 0], [1, 1, 1, 1], [2, 2, 0, 2], [3, 3, 3, 3], [4, 4, 4, 4]], np.uint8),
    "puzzle_indices": np.array([0, 2, 3, 4, 5], np.int32),
    "group_indices": np.array([0, 2, 4], np.int32),
    "puzzle_identifiers": np.array([3, 1, 2, 0], np.int32),
}
META = {
    "pad_id": 0,
    "ignore_label_id": 0,
    "blank_identifier_id": 0,
    "vocab_size": 5,
    "seq_len": 4,
    "num_puzzle_identifiers": 4,
    "total_groups": 2,
    "mean_puzzle_examples": 1.25,
    "total_puzzles": 4,
    "sets": ["all"],
}


def _write(folder, meta=META, names=("all",), **arrays):
  place = folder / "train"
  place.mkdir(exist_ok=True)
  (place / "dataset.json").write_text(json.dumps(meta))
  for name in names:
    for field, array in (ARRAYS | arrays).items():
      np.save(place / f"{name}__{field}.npy", array)
  return place


def _message(folder):
  with pytest.raises(UserError) as e:
    reference_format.read_split(folder, "train")
  assert "\n" not in str(e.value)
  return str(e.value)


def test_arrays(tmp_path):
  assert not reference_format.is_reference_folder(tmp_path)
  _write(tmp_path)
  assert reference_format.is_reference_folder(tmp_path)
  puzzles = reference_format.read_split(tmp_path, "train")
  np.testing.assert_array_equal(puzzles.inputs, ARRAYS["inputs"].astype(np.uint8), strict=True)
  labels = ARRAYS["labels"].astype(np.int8)
  labels[[0, 2], [3, 2]] = puzzles_lib.IGNORE_LABEL
  np.testing.assert_array_equal(puzzles.labels, labels, strict=True)
  assert puzzles.puzzle_identifiers.tolist() == [3, 3, 1, 2, 0]
  assert puzzles.puzzle_starts.tolist() == [0, 2, 3, 4, 5] and puzzles.group_starts.tolist() == [0, 2, 4]
  assert (puzzles.vocab_size, puzzles.num_puzzle_identifiers, puzzles.ratings) == (5, 4, None)


def test_nothing_is_ignored_without_an_ignored_label(tmp_path):
  _write(tmp_path, META | {"ignore_label_id": None})
  np.testing.assert_array_equal(reference_format.read_split(tmp_path, "train").labels, ARRAYS["labels"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_rows_are_converted_in_pieces(tmp_path, monkeypatch, dtype):
  monkeypatch.setattr(reference_format, "_ROWS", 2)
  _write(tmp_path, inputs=ARRAYS["inputs"].astype(dtype), labels=ARRAYS["labels"].astype(dtype))
  puzzles = reference_format.read_split(tmp_path, "train")
  np.testing.assert_array_equal(puzzles.inputs, ARRAYS["inputs"])
  assert (puzzles.labels == puzzles_lib.IGNORE_LABEL).sum() == 2
  bad = ARRAYS["inputs"].astype(dtype)
  bad[3, 1] = 5
  _write(tmp_path, inputs=bad)
  assert "all__inputs.npy, row 3: the value 5 is out of range, must be from 0 to 4 (vocab_size" in _message(tmp_path)


def test_sets_follow_each_other(tmp_path):
  _write(tmp_path, META | {"sets": ["a", "b"], "total_groups": 4}, names=("a", "b"))
  puzzles = reference_format.read_split(tmp_path, "train")
  np.testing.assert_array_equal(puzzles.inputs, np.tile(ARRAYS["inputs"], (2, 1)))
  assert puzzles.puzzle_starts.tolist() == [0, 2, 3, 4, 5, 7, 8, 9, 10]
  assert puzzles.group_starts.tolist() == [0, 2, 4, 6, 8]
  assert puzzles.puzzle_identifiers.tolist() == [3, 3, 1, 2, 0] * 2


def test_sudoku_counts_groups_as_puzzles(tmp_path):
  _write(tmp_path, META | {"total_puzzles": 2})
  assert reference_format.read_split(tmp_path, "train").num_groups == 2


def _with(key, row, value):
  array = ARRAYS[key].astype(np.int64)
  array[row] = value
  return {key: array}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (_with("inputs", (1, 0), -1), "all__inputs.npy, row 1: the value -1 is out of range"),
        (_with("labels", (4, 3), 5), "all__labels.npy, row 4: the value 5 is out of range"),
        (_with("labels", (4, 3), -100), "all__labels.npy, row 4: the value -100 is out of range"),
        (_with("puzzle_identifiers", 1, 4), "all__puzzle_identifiers.npy, row 1: the value 4 is out of range"),
        (_with("puzzle_indices", 1, 4), "all__puzzle_indices.npy: must rise from 0 to 5, the number of examples"),
        (_with("puzzle_indices", -1, 4), "all__puzzle_indices.npy: must rise from 0 to 5, the number of examples"),
        (_with("group_indices", 0, 1), "all__group_indices.npy: must rise from 0 to 4, the number of puzzles"),
        (dict(group_indices=np.array([0, 4, 4])), "all__group_indices.npy: group 1 has no examples"),
        (dict(puzzle_indices=np.array([0, 2, 5])), "all__puzzle_indices.npy: has 3 entries, must have one more than"),
        (dict(labels=ARRAYS["labels"][:4]), "all__labels.npy: has 4 rows, the inputs 5"),
        (dict(inputs=ARRAYS["inputs"][:, :3]), "all__inputs.npy: has rows of 3 cells, but seq_len"),
        (dict(inputs=ARRAYS["inputs"][0]), "all__inputs.npy: is int64 of shape (4,), must be an integer array with 2"),
        (dict(inputs=ARRAYS["inputs"] + 0.5), "all__inputs.npy: is float64 of shape (5, 4), must be an integer"),
        (dict(labels=ARRAYS["labels"].astype(object)), "all__labels.npy: is object of shape (5, 4), must be an"),
        (dict(inputs=np.zeros((0, 4), int), labels=np.zeros((0, 4), int)), "must rise from 0 to 0, the number"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
  _write(tmp_path, **arrays)
  assert message in _message(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(total_groups=3), "total_groups is 3, but the sets have 2"),
        (dict(total_puzzles=3), "total_puzzles is 3, but there are 4 puzzles in 2 groups"),
        (dict(mean_puzzle_examples=1.0), "mean_puzzle_examples is 1.0, but there are 5 examples of 4 puzzles"),
        (dict(mean_puzzle_examples="x"), "mean_puzzle_examples is 'x', must be a number"),
        (dict(seq_len=5), "all__inputs.npy: has rows of 4 cells, but seq_len in dataset.json is 5"),
        (dict(vocab_size=200), "vocab_size is 200, must be from 1 to 128"),
        (dict(vocab_size="5"), "vocab_size is '5', must be an integer"),
        (dict(pad_id=1), "pad_id is 1, must be 0"),
        (dict(ignore_label_id=0.5), "ignore_label_id is 0.5, must be an integer or null"),
        (dict(sets=[]), "sets is []"),
        (dict(sets=["../all"]), "sets is ['../all']"),
        (dict(sets=["none"]), "none__inputs.npy: no such file"),
        (dict(sets=["all", "all"], total_groups=4), "sets is ['all', 'all'], must name each set once"),
        (dict(num_puzzle_identifiers=2**31), "num_puzzle_identifiers is 2147483648, must be from 1 to 2147483647"),
        (dict(total_groups=0), "total_groups is 0, must be from 1 to"),
    ],
)
def test_bad_metadata(tmp_path, change, message):
  _write(tmp_path, META | change)
  assert message in _message(tmp_path)


@pytest.mark.parametrize("key", list(META))
def test_missing_keys(tmp_path, key):
  _write(tmp_path, {k: v for k, v in META.items() if k != key})
  assert f"dataset.json: the key '{key}' is missing" in _message(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"sets": '])
def test_dataset_json_that_is_not_json(tmp_path, text):
  (_write(tmp_path) / "dataset.json").write_text(text)
  assert "dataset.json: " in _message(tmp_path)


def test_missing_split(tmp_path):
  assert "dataset.json: no such file" in _message(tmp_path)


@pytest.mark.parametrize("keep, message", [
    *((n, "is truncated or not a plain .npy array (") for n in (0, 5, 100)),
    (-1, "is truncated (159 bytes for 160, of int64 of shape (5, 4))"),
])
def test_truncated_array(tmp_path, keep, message):
  path = _write(tmp_path) / "all__inputs.npy"
  path.write_bytes(path.read_bytes()[:keep])
  assert f"all__inputs.npy: {message}" in _message(tmp_path)


def test_more_than_an_array(tmp_path):
  with open(_write(tmp_path) / "all__labels.npy", "ab") as f:
    f.write(b"\0")
  assert "all__labels.npy: has data after its array (21 bytes for 20, of uint8 of shape (5, 4))" in _message(tmp_path)


@pytest.mark.parametrize("keep", [None, 100, 150])
def test_a_file_that_is_cut_short_while_it_is_read_is_refused(tmp_path, monkeypatch, keep):
  monkeypatch.setattr(reference_format, "_ROWS", 2)
  path = _write(tmp_path) / "all__inputs.npy"
  os.utime(path, (0, 0))
  check = reference_format._check_range

  def check_and_cut(array, checked, *args, **kwargs):
    if checked == path:
      os.truncate(path, keep) if keep else os.utime(path)
    check(array, checked, *args, **kwargs)

  monkeypatch.setattr(reference_format, "_check_range", check_and_cut)
  with pytest.raises(TryAgain, match=r"all__inputs.npy: was written while it was read; start the same command again"):
    reference_format.read_split(tmp_path, "train")


def test_columns_that_are_stored_first(tmp_path):
  _write(tmp_path, inputs=np.asfortranarray(ARRAYS["inputs"]), labels=np.asfortranarray(ARRAYS["labels"]))
  np.testing.assert_array_equal(reference_format.read_split(tmp_path, "train").inputs, ARRAYS["inputs"])


def test_headers_of_which_a_byte_has_changed_are_one_line_or_right(tmp_path):
  path = _write(tmp_path) / "all__inputs.npy"
  good = path.read_bytes()
  rng = np.random.default_rng(0)
  for at in range(128):
    damaged = bytearray(good)
    damaged[at] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    try:
      reference_format.read_split(tmp_path, "train")
    except UserError as e:
      assert "\n" not in str(e)


def test_sizes_are_told_without_reading_the_arrays(tmp_path):
  place = _write(tmp_path, META | {"sets": ["a", "b"], "total_groups": 4}, names=("a", "b"))
  (place / "a__labels.npy").unlink()
  assert reference_format.stored(tmp_path, "train") == puzzles_lib.Stored(4, num_versions=1, num_examples=10 / 8)


def test_rows_are_found_in_their_files(tmp_path):
  place = _write(tmp_path, META | {"sets": ["a", "b"], "total_groups": 4}, names=("a", "b"))
  found = [reference_format.file_of(tmp_path, "train", "labels", row) for row in (4, 5)]
  assert found == [f"{place}/a__labels.npy, row 4", f"{place}/b__labels.npy, row 0"]


def test_archive_instead_of_an_array(tmp_path):
  path = _write(tmp_path) / "all__inputs.npy"
  with open(path, "wb") as f:
    np.savez(f, inputs=ARRAYS["inputs"])
  assert "all__inputs.npy: is truncated or not a plain .npy array" in _message(tmp_path)
