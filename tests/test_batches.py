# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Batches are a pure function of (key, step): epochs, augmentations, devices."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax import errors
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import rows as rows_lib
from trm_jax.tasks.sudoku import task as task_lib

TASK = task_lib.SudokuTask(2)
KEY = jax.random.key(7)


def _sudoku(groups: int) -> puzzles_lib.Puzzles:
  """4x4 puzzles, solved grids with holes; puzzle_identifiers tell the groups apart."""
  rng = np.random.default_rng(groups)
  r, c = np.indices((4, 4))
  pattern = ((2 * (r % 2) + r // 2 + c) % 4).reshape(-1)
  labels = np.stack([rng.permutation(4)[pattern] for _ in range(groups)]) + task_lib.FIRST_DIGIT
  inputs = np.where(rng.random(labels.shape) < 0.5, task_lib.BLANK, labels)
  return puzzles_lib.Puzzles(
      inputs=inputs.astype(np.uint8),
      labels=labels.astype(np.int8),
      puzzle_identifiers=np.arange(groups, dtype=np.int32),
      group_starts=np.arange(groups + 1, dtype=np.int32),
      vocab_size=TASK.vocab_size,
      num_puzzle_identifiers=groups,
  )


_sample_batch = jax.jit(rows_lib.sample_batch, static_argnums=1, static_argnames=("batch_size", "num_aug"))


def _sampler(puzzles, *, batch_size, num_aug):
  arrays = rows_lib.to_device_arrays(puzzles)
  return lambda step, key=KEY: jax.tree.map(
      np.asarray, _sample_batch(arrays, TASK.sample_symmetry, key, step, batch_size=batch_size, num_aug=num_aug)
  )


def _assert_equal(a, b):
  assert a.keys() == b.keys() == {"inputs", "labels", "puzzle_identifiers"}
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])


# Batches within an epoch, straddling epochs, of several epochs, of exactly one epoch; one group alone.
@pytest.mark.parametrize("groups, batch_size", [(12, 4), (10, 4), (5, 13), (6, 6), (1, 3)])
def test_each_group_comes_once_an_epoch(groups, batch_size):
  sample = _sampler(_sudoku(groups), batch_size=batch_size, num_aug=0)
  steps = 3 * groups
  stream = np.concatenate([sample(step)["puzzle_identifiers"] for step in range(steps)])
  epochs = stream[: stream.size // groups * groups].reshape(-1, groups)
  assert len(epochs) >= 3
  np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(groups), (len(epochs), 1)))
  if groups > 1:
    assert len(np.unique(epochs, axis=0)) > 1  # epochs come in different orders


def test_orders_of_an_epoch_are_equally_likely():
  groups, epochs = 4, 4800
  stream = _sampler(_sudoku(groups), batch_size=groups * epochs, num_aug=0)(0)["puzzle_identifiers"]
  _, counts = np.unique(stream.reshape(epochs, groups), axis=0, return_counts=True)
  assert len(counts) == 24
  assert np.sum((counts - 200) ** 2 / 200) < 60  # chi squared with 23 degrees of freedom: 1 in 30,000


def test_batch_depends_on_key_and_step_alone():
  puzzles = _sudoku(10)
  sample = _sampler(puzzles, batch_size=6, num_aug=3)
  in_order = [sample(step) for step in range(4)]
  _assert_equal(_sampler(puzzles, batch_size=6, num_aug=3)(3), in_order[3])
  _assert_equal(sample(np.int32(1)), in_order[1])
  assert any((sample(3, jax.random.key(8))[name] != in_order[3][name]).any() for name in in_order[3])
  assert (in_order[2]["inputs"] != in_order[3]["inputs"]).any()


def test_rows_depend_on_their_position_alone():
  puzzles = _sudoku(10)
  small, large = (_sampler(puzzles, batch_size=b, num_aug=3) for b in (4, 12))
  halves = [small(step) for step in (3, 4, 5)]
  _assert_equal({name: np.concatenate([h[name] for h in halves]) for name in halves[0]}, large(1))


@pytest.mark.parametrize("num_aug", [3, rows_lib.FRESH])
def test_any_number_of_devices_gives_the_same_batch(num_aug):
  puzzles = _sudoku(10)
  results = []
  for count in (1, 8):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), ("data",))
    arrays = rows_lib.to_device_arrays(puzzles, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    jitted = jax.jit(
        lambda a, key, step: rows_lib.sample_batch(a, TASK.sample_symmetry, key, step, batch_size=16, num_aug=num_aug),
        out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")),
    )
    compiled = jitted.lower(arrays, KEY, jnp.int32(5)).compile()
    assert "all-" not in compiled.as_text() and "collective" not in compiled.as_text()  # rows need no other device
    results.append(compiled(arrays, KEY, jnp.int32(5)))
    assert all(len(x.sharding.device_set) == count for x in results[-1].values())
    assert results[-1]["inputs"].addressable_shards[0].data.shape == (16 // count, 16)
  _assert_equal(*[jax.tree.map(np.asarray, r) for r in results])
  _assert_equal(jax.tree.map(np.asarray, results[1]), _sampler(puzzles, batch_size=16, num_aug=num_aug)(5))


@pytest.mark.parametrize("num_aug", [0, 3, rows_lib.FRESH])
def test_every_puzzle_is_valid_and_its_solution_right(num_aug):
  puzzles = _sudoku(5)
  batch = _sampler(puzzles, batch_size=200, num_aug=num_aug)(2)
  assert TASK.is_solution(batch["inputs"], batch["labels"]).all()
  assert all(x.dtype == np.int32 for x in batch.values())
  clues = (puzzles.inputs != task_lib.BLANK).sum(1)[batch["puzzle_identifiers"]]
  np.testing.assert_array_equal((batch["inputs"] != task_lib.BLANK).sum(1), clues)  # same holes, so the same puzzle


def test_num_aug_versions_and_no_more():
  groups, num_aug = 3, 4
  puzzles = _sudoku(groups)
  sample = _sampler(puzzles, batch_size=150, num_aug=num_aug)
  first, later = sample(0), sample(11)
  for g in range(groups):
    seen, again = _versions(first, g), _versions(later, g)
    assert seen.keys() == again.keys() and len(seen) == num_aug + 1
    assert (*puzzles.inputs[g], *puzzles.labels[g]) in seen
    assert min(seen.values()) > 2  # about 50 draws of 5 versions: each of them often
  assert _versions(sample(0, jax.random.key(8)), 0).keys() != _versions(first, 0).keys()


def _versions(batch, group: int) -> collections.Counter:
  mine = batch["puzzle_identifiers"] == group
  return collections.Counter(zip(*np.concatenate([batch["inputs"][mine], batch["labels"][mine]], axis=1).T))


def test_no_augmentation_gives_the_examples_as_stored():
  puzzles = _sudoku(5)
  batch = _sampler(puzzles, batch_size=20, num_aug=0)(0)
  np.testing.assert_array_equal(batch["inputs"], puzzles.inputs[batch["puzzle_identifiers"]])
  np.testing.assert_array_equal(batch["labels"], puzzles.labels[batch["puzzle_identifiers"]])


def test_fresh_augmentation_never_settles():
  batch = _sampler(_sudoku(1), batch_size=200, num_aug=rows_lib.FRESH)(0)
  rows = np.concatenate([batch["inputs"], batch["labels"]], axis=1)
  assert len(np.unique(rows, axis=0)) > 150


def test_ignored_labels_stay_ignored():
  puzzles = _sudoku(6)
  puzzles.labels[:, 0] = puzzles_lib.IGNORE_LABEL
  batch = _sampler(puzzles, batch_size=400, num_aug=2)(0)
  np.testing.assert_array_equal((batch["labels"] == puzzles_lib.IGNORE_LABEL).sum(1), np.ones(400))


@pytest.mark.parametrize("num_aug", [0, 2, rows_lib.FRESH])
def test_stored_augmentations_are_the_augmentations(num_aug):
  puzzles = dataclasses.replace(_sudoku(6), group_starts=np.array([0, 1, 6], np.int32))
  batch = _sampler(puzzles, batch_size=400, num_aug=num_aug)(0)
  for name in ("inputs", "labels"):
    np.testing.assert_array_equal(batch[name], getattr(puzzles, name)[batch["puzzle_identifiers"]])
  counts = np.bincount(batch["puzzle_identifiers"], minlength=6)
  assert counts[0] == 200 and counts[1:].sum() == 200
  assert counts[1:].min() >= 20 and counts[1:].max() <= 65  # 40 each, standard deviation 5.7


def test_total_steps():
  assert rows_lib.total_steps(50_000, 1000, 768) == 65_104
  assert rows_lib.total_steps(3, 10, 4) == 7
  with pytest.raises(errors.UserError, match="less than one step"):
    rows_lib.total_steps(1, 10, 11)


def test_positions_must_fit_int32():
  rows_lib.check_positions(2**31 - 1, 1)
  rows_lib.check_positions(65_104, 768)
  with pytest.raises(errors.UserError, match="make at most 2796202 steps$"):
    rows_lib.check_positions(2_796_203, 768)
