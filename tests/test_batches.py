# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Batches are a pure function of (key, step): epochs, augmentations, devices."""

import collections
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax import errors
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import rows as rows_lib
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask

TASK = SudokuTask(SudokuData(box=2))
KEY = jax.random.key(7)


def _sudoku(groups: int) -> puzzles_lib.Puzzles:
  """4x4 puzzles, solved grids with holes; puzzle_identifiers tell the groups apart."""
  rng = np.random.default_rng(groups)
  r, c = np.indices((4, 4))
  pattern = ((2 * (r % 2) + r // 2 + c) % 4).reshape(-1)
  labels = np.stack([rng.permutation(4)[pattern] for _ in range(groups)]) + rules.FIRST_DIGIT
  inputs = np.where(rng.random(labels.shape) < 0.5, rules.BLANK, labels)
  return puzzles_lib.Puzzles(
      inputs=inputs.astype(np.uint8),
      labels=labels.astype(np.int8),
      puzzle_identifiers=np.arange(groups, dtype=np.int32),
      group_starts=np.arange(groups + 1, dtype=np.int32),
      vocab_size=TASK.vocab_size,
      num_puzzle_identifiers=groups,
  )


def _source(puzzles):
  return rows_lib.Source.of(TASK.arrays(puzzles), puzzles)


_sample_batch = jax.jit(rows_lib.sample_batch, static_argnums=1, static_argnames=("batch_size", "num_aug"))


def _sampler(puzzles, *, batch_size, num_aug):
  source = rows_lib.to_device(_source(puzzles))
  return lambda step, key=KEY: jax.tree.map(
      np.asarray, _sample_batch(source, TASK.row, key, step, batch_size=batch_size, num_aug=num_aug)
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


@pytest.mark.parametrize("num_aug, examples", [(3, 1), (rows_lib.FRESH, 1), (0, 3)])
def test_any_number_of_devices_gives_the_same_batch(num_aug, examples):
  puzzles = _sudoku(10) if examples == 1 else _pairs([(2, examples), (3, 1), (1, 2)])
  results = []
  for count in (1, 8):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), ("data",))
    source = rows_lib.to_device(_source(puzzles), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    jitted = jax.jit(
        lambda a, key, step: rows_lib.sample_batch(a, TASK.row, key, step, batch_size=16, num_aug=num_aug),
        out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")),
    )
    compiled = jitted.lower(source, KEY, jnp.int32(5)).compile()
    assert "all-" not in compiled.as_text() and "collective" not in compiled.as_text()  # rows need no other device
    results.append(compiled(source, KEY, jnp.int32(5)))
    assert all(len(x.sharding.device_set) == count for x in results[-1].values())
    assert results[-1]["inputs"].addressable_shards[0].data.shape == (16 // count, 16)
  _assert_equal(*[jax.tree.map(np.asarray, r) for r in results])
  _assert_equal(jax.tree.map(np.asarray, results[1]), _sampler(puzzles, batch_size=16, num_aug=num_aug)(5))


@pytest.mark.parametrize("num_aug", [0, 3, rows_lib.FRESH])
def test_every_puzzle_is_valid_and_its_solution_right(num_aug):
  puzzles = _sudoku(5)
  batch = _sampler(puzzles, batch_size=200, num_aug=num_aug)(2)
  assert TASK.solves(batch["inputs"], batch["labels"]).all()
  assert all(x.dtype == np.int32 for x in batch.values())
  clues = (puzzles.inputs != rules.BLANK).sum(1)[batch["puzzle_identifiers"]]
  np.testing.assert_array_equal((batch["inputs"] != rules.BLANK).sum(1), clues)  # same holes, so the same puzzle


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


def _pairs(sizes_by_group):
  """Puzzles of several examples: by group the number of versions and the examples of each. Cell 0 tells the group, cell
  1 the version, cell 2 the example."""
  rows = [(g, v, e) for g, (versions, examples) in enumerate(sizes_by_group) for v in range(versions)
          for e in range(examples)]
  inputs = np.zeros((len(rows), 16), np.uint8)
  inputs[:, :3] = rows
  puzzle_starts = np.cumsum([0, *(examples for versions, examples in sizes_by_group for _ in range(versions))])
  return puzzles_lib.Puzzles(
      inputs=inputs, labels=inputs.astype(np.int8), puzzle_identifiers=np.zeros(len(rows), np.int32),
      group_starts=np.cumsum([0, *(versions for versions, _ in sizes_by_group)]).astype(np.int32),
      puzzle_starts=puzzle_starts.astype(np.int32), vocab_size=6, num_puzzle_identifiers=1)


def test_the_examples_of_a_puzzle_come_once_an_epoch_together_and_share_a_version():
  groups = [(3, 2), (1, 4), (2, 1), (5, 3)]
  sample = _sampler(_pairs(groups), batch_size=7, num_aug=0)
  length = sum(examples for _, examples in groups)
  stream = np.concatenate([sample(step)["inputs"][:, :3] for step in range(60)])
  epochs = stream[: len(stream) // length * length].reshape(-1, length, 3)
  # One behind the other, in any order.
  assert all(len(list(itertools.groupby(epoch[:, 0]))) == len(groups) for epoch in epochs)
  assert len({tuple(epoch[epoch[:, 0] == 1, 2]) for epoch in epochs}) > 10
  expected = sorted((g, e) for g, (_, examples) in enumerate(groups) for e in range(examples))
  versions = [[set(epoch[epoch[:, 0] == g, 1]) for g in range(len(groups))] for epoch in epochs]
  for epoch, of_groups in zip(epochs, versions):
    assert sorted(map(tuple, epoch[:, [0, 2]].tolist())) == expected
    assert all(len(seen) == 1 for seen in of_groups)
  for g, (number, _) in enumerate(groups):
    assert set().union(*(of_groups[g] for of_groups in versions)) == set(range(number))


def test_a_version_that_is_made_is_the_same_for_all_examples_of_a_puzzle():
  """Two examples of each puzzle that look alike stay alike, whatever the version."""
  once = _sudoku(5)
  twice = dataclasses.replace(
      once, **{name: np.repeat(getattr(once, name), 2, 0) for name in ("inputs", "labels", "puzzle_identifiers")},
      puzzle_starts=np.arange(0, 11, 2, dtype=np.int32))
  for num_aug in (4, rows_lib.FRESH):
    batch = _sampler(twice, batch_size=10, num_aug=num_aug)(3)
    for g in range(5):
      first, second = batch["inputs"][batch["puzzle_identifiers"] == g]
      np.testing.assert_array_equal(first, second)


def test_a_permutation_of_any_size():
  for size in (1, 2, 5, 64):
    places = jnp.arange(size)
    for most in (None, 100):
      order = jax.vmap(lambda place, size=size, most=most: rows_lib.permuted(KEY, place, size, most=most))(places)
      np.testing.assert_array_equal(np.sort(order), places)


def _sizes(number, examples=1):
  return puzzles_lib.Sizes(number * examples, number, number, 16, 6, 1)


def test_steps_count_the_mean_examples_of_a_puzzle():
  assert _sizes(10, examples=3).total_steps(4, 8) == 4 * 10 * 3 // 8
  # Versions that are stored do not make an epoch longer.
  assert puzzles_lib.Sizes(num_examples=60, num_puzzles=20, num_groups=10, seq_len=16, vocab_size=6,
                           num_puzzle_identifiers=1).total_steps(4, 8) == 4 * 10 * 3 // 8


def test_total_steps():
  assert _sizes(1000).total_steps(50_000, 768) == 65_104
  assert _sizes(10).total_steps(3, 4) == 7
  with pytest.raises(errors.UserError, match="less than one step"):
    _sizes(10).total_steps(1, 11)


def test_positions_must_fit_int32():
  rows_lib.check_positions(2**31 - 1, 1)
  rows_lib.check_positions(65_104, 768)
  with pytest.raises(errors.UserError, match="make at most 2796202 steps$"):
    rows_lib.check_positions(2_796_203, 768)
