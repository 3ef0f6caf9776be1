# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The arrays that every task hands to the trainer."""

import dataclasses
import time

import numpy as np
import pytest

from trm_jax.data import puzzles as puzzles_lib


def _puzzles():
  """Two groups of three examples of four cells."""
  return puzzles_lib.Puzzles(
      inputs=np.arange(24, dtype=np.uint8).reshape(6, 4), labels=np.arange(24, dtype=np.int8).reshape(6, 4),
      puzzle_identifiers=np.array([0, 0, 0, 1, 1, 1], np.int32), group_starts=np.array([0, 3, 6], np.int32),
      vocab_size=24, num_puzzle_identifiers=2)


def test_digest_is_that_of_the_contents(monkeypatch):
  puzzles = _puzzles()
  digest = puzzles.digest()
  # Stored by runs: it must not change between versions of this library.
  assert digest == "e57cd0537293360c283cf7193b9409eecaac5e55afe3d62422e9c966499a1004"
  assert puzzles.take_groups(np.arange(2)).digest() == digest
  assert dataclasses.replace(puzzles, inputs=np.asfortranarray(puzzles.inputs)).digest() == digest
  monkeypatch.setattr(puzzles_lib, "_ROWS", 4)  # in pieces, the last of them not full
  assert puzzles.digest() == digest


@pytest.mark.parametrize("name", ["inputs", "labels", "puzzle_identifiers", "group_starts"])
def test_digest_sees_a_change_of_one_number(name):
  puzzles = _puzzles()
  array = getattr(puzzles, name).copy()
  array.flat[1] += 1
  assert dataclasses.replace(puzzles, **{name: array}).digest() != puzzles.digest()


def test_digest_sees_the_order_of_the_groups():
  puzzles = _puzzles()
  assert puzzles.take_groups(np.array([1, 0])).digest() != puzzles.digest()


def _slow_first_alike(tables):
  seen, found = {}, []
  for row in map(bytes, np.concatenate(tables)):
    found.append(seen.setdefault(row, len(found)))
  return np.split(np.array(found), np.cumsum([len(t) for t in tables])[:-1])


@pytest.mark.parametrize("cells, tokens", [(3, 2), (16, 2), (9, 128), (81, 2)])
@pytest.mark.parametrize("collide", [False, True])
def test_rows_that_are_alike_are_found(monkeypatch, cells, tokens, collide):
  rng = np.random.default_rng(cells)
  tables = [rng.integers(0, tokens, (n, cells), dtype=np.uint8) for n in (30, 0, 20)]
  tables[2][:8] = tables[0][[3, 3, 29, 0, 0, 0, 7, 3]]
  tables[0][20:22] = tables[0][5]
  monkeypatch.setattr(puzzles_lib, "_ROWS", 7)
  if collide:  # most rows, which are not alike
    hashes = puzzles_lib._hashes
    monkeypatch.setattr(puzzles_lib, "_hashes", lambda rows: hashes(rows) % np.uint64(3))
  for found, expected in zip(puzzles_lib.first_alike(tables), _slow_first_alike(tables), strict=True):
    np.testing.assert_array_equal(found, expected)


def test_every_cell_counts():
  rows = np.repeat(np.zeros((1, 81), np.uint8), 82, axis=0)
  rows[np.arange(81), np.arange(81)] = 1
  np.testing.assert_array_equal(puzzles_lib.first_alike([rows])[0], np.arange(82))


def test_kin_are_groups_with_an_equal_puzzle_also_by_way_of_others():
  groups = [[0, 1], [2, 3], [1, 4], [5], [6, 3], [4, 5], [8, 8]]
  inputs = np.repeat(np.concatenate(groups).astype(np.uint8)[:, None], 4, axis=1)
  puzzles = puzzles_lib.Puzzles(
      inputs=inputs, labels=inputs.astype(np.int8), puzzle_identifiers=np.zeros(len(inputs), np.int32),
      group_starts=np.cumsum([0, *map(len, groups)], dtype=np.int32), vocab_size=9, num_puzzle_identifiers=1)
  assert puzzles.kin().tolist() == [0, 1, 0, 0, 1, 0, 6]


def test_many_puzzles_are_compared_in_seconds():
  rows = np.random.default_rng(0).integers(1, 11, (100_000, 81), dtype=np.uint8)
  start = time.process_time()  # the machine may be busy with other things
  first, again = puzzles_lib.first_alike([rows, rows])
  assert time.process_time() - start < 2
  np.testing.assert_array_equal(first, again)
