# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The arrays that every task hands to the trainer."""

import dataclasses

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


def test_digest_sees_the_order_and_the_shape():
  puzzles = _puzzles()
  assert puzzles.take_groups(np.array([1, 0])).digest() != puzzles.digest()
  # The same bytes in the same order, in rows of another length.
  wide, narrow = (
      dataclasses.replace(puzzles, inputs=puzzles.inputs.reshape(shape), labels=puzzles.labels.reshape(shape),
                          puzzle_identifiers=np.zeros(shape[0], np.int32), group_starts=np.array([0, shape[0]], np.int32))
      for shape in ((3, 8), (6, 4)))
  assert wide.digest() != narrow.digest()
