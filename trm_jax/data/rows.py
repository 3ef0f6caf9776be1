# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Training batches as a pure function of (key, step), computed on the device (docs/design.md).

Training reads an endless stream of examples, one epoch after the other: in every epoch all groups come in a random
order, each as one of its versions, with the examples of that version one behind the other in a random order. Row r of
step t is position t * batch_size + r of that stream, and its example and version depend on the key and the position
alone. So there is no iterator to save, a resumed run sees the same batches, a device computes just its own rows, and a
puzzle whose examples do not fit into a batch goes on in the next one.

Axes: B batch, S cells, U puzzles, G groups.
"""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from trm_jax import errors
from trm_jax.data.puzzles import Puzzles
from trm_jax.runtime import sharding as sharding_lib

# From the task's arrays, the number of an example, the number of a version and its key to a row; see tasks/task.py.
Row = Callable[[Any, jax.Array, jax.Array | None, jax.Array | None], dict[str, jax.Array]]

FRESH = -1  # num_aug: a new version at every position

_MAX_POSITIONS = 2**31 - 1  # positions are int32
_EXAMPLES = 1 << 10  # the most examples of a puzzle whose order is fully random


@flax.struct.dataclass
class Source:
  """What batches are drawn from, on the device.

  Attributes:
    arrays: the task's, for its rows.
    group_starts: (G + 1,) int32, group g holds the puzzles group_starts[g]:group_starts[g + 1].
    puzzle_starts: (U + 1,) int32, the first example of each puzzle; None where every example is a puzzle.
    sizes: (G,) int32, the examples that an epoch takes of each group; None as before.
    version_starts: (G + 1,) int32, see puzzles.Versions; None where there are none of these.
    stores_versions: whether there are groups of several puzzles, which are the augmentations then.
  """

  arrays: Any
  group_starts: jax.Array
  puzzle_starts: jax.Array | None
  sizes: jax.Array | None
  version_starts: jax.Array | None
  stores_versions: bool = flax.struct.field(pytree_node=False)

  @classmethod
  def of(cls, arrays: Any, puzzles: Puzzles) -> "Source":
    """Makes the Source of one split, on the host.

    Args:
      arrays: see Task.arrays.
      puzzles: one split.
    """
    stores_versions = puzzles.num_puzzles > puzzles.num_groups
    sizes = None if puzzles.puzzle_starts is None else np.diff(puzzles.puzzle_starts)[puzzles.group_starts[:-1]]
    return cls(arrays, puzzles.group_starts, puzzles.puzzle_starts, sizes,
               puzzles.versions and puzzles.versions.starts, stores_versions)

  @property
  def num_groups(self) -> int:
    """G."""
    return self.group_starts.shape[0] - 1


def to_device(source: Source, sharding: jax.sharding.Sharding | None = None) -> Source:
  """Puts what batches are drawn from on the device.

  Args:
    source: on the host.
    sharding: where to; replicated over the mesh in training, where every process has the same puzzles. None is the
      default device.
  """
  return jax.device_put(source) if sharding is None else sharding_lib.put(source, sharding)


def abstract_batch(
    batch_size: int, seq_len: int, sharding: jax.sharding.Sharding | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes and dtypes of a batch of inputs, labels (B, S) and puzzle_identifiers (B,)."""
  cells = jax.ShapeDtypeStruct((batch_size, seq_len), "int32", sharding=sharding)
  identifiers = jax.ShapeDtypeStruct((batch_size,), "int32", sharding=sharding)
  return {"inputs": cells, "labels": cells, "puzzle_identifiers": identifiers}


def check_positions(steps: int, batch_size: int) -> None:
  """Makes sure that the positions of a run can be counted.

  Raises:
    UserError: they cannot.
  """
  if steps * batch_size > _MAX_POSITIONS:
    raise errors.UserError(
        f"{steps} steps of batch_size {batch_size} take {steps * batch_size} examples, the limit is {_MAX_POSITIONS};"
        f" make at most {_MAX_POSITIONS // batch_size} steps"
    )


def version_key(key: jax.Array, group: jax.Array, version: jax.Array) -> jax.Array:
  """The key of a fixed version of a group's puzzle.

  Args:
    key: of all fixed versions.
    group: () int32.
    version: () int32, from 0 for the original.
  """
  return jax.random.fold_in(jax.random.fold_in(key, group), version)


def sample_batch(
    source: Source, row: Row, key: jax.Array, step: jax.Array | int, *, batch_size: int, num_aug: int,
) -> dict[str, jax.Array]:
  """The batch of one training step. Runs under jit with a traced step; the same numbers on any number of devices.

  Args:
    source: what to draw from.
    row: the task's.
    key: the run's data key, the same at every step.
    step: () int32, steps made before this one.
    batch_size: B, of all devices together.
    num_aug: 0: puzzles as stored. N > 0: the original or one of the N versions that the key determines for this puzzle,
      all N + 1 equally likely. FRESH: a new version at every position. If versions of the puzzles are stored, one of
      these is taken as it is stored.

  Returns:
    inputs (B, S) int32, labels (B, S) int32 (IGNORE_LABEL kept), puzzle_identifiers (B,) int32.
  """
  assert num_aug >= FRESH, num_aug
  if source.stores_versions:
    num_aug = 0
  key_epoch, key_row, key_fixed = jax.random.split(key, 3)

  start = jnp.asarray(step, jnp.int32) * batch_size
  find = _several_examples(source, key_epoch, start, batch_size) if source.sizes is not None else (
      lambda position: (permuted(jax.random.fold_in(key_epoch, position // source.num_groups),
                                 position % source.num_groups, source.num_groups), position, 0))

  def sample_row(position):
    # The draws for a puzzle use the position of the first of its examples in this epoch.
    group, first, number = find(position)
    key_choices, key_fresh = jax.random.split(jax.random.fold_in(key_row, first))
    first_puzzle, end = source.group_starts[group], source.group_starts[group + 1]
    num_versions = max(num_aug, 0) + 1
    if source.version_starts is not None:
      num_versions = source.version_starts[group + 1] - source.version_starts[group]
    chosen, version = jax.random.randint(key_choices, (2,), 0, jnp.stack([end - first_puzzle, num_versions]))
    example = first_puzzle + chosen
    if source.sizes is not None:
      example = source.puzzle_starts[example] + number
    if source.version_starts is not None:
      return row(source.arrays, example, version, None)
    if num_aug == 0:
      return row(source.arrays, example, None, None)
    if num_aug == FRESH:
      return row(source.arrays, example, jnp.int32(FRESH), key_fresh)
    return row(source.arrays, example, version, version_key(key_fixed, group, version))

  return jax.vmap(sample_row)(start + jnp.arange(batch_size, dtype=jnp.int32))


def _several_examples(source: Source, key: jax.Array, start: jax.Array, batch_size: int
                      ) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
  """Makes a function for groups with several examples: from a position of a batch to its group, the position of the
  group's first example, and the number of its example.

  The beginning of a group depends on the order of the whole epoch, which is computed here: such data sets have few
  groups, and a batch spans few epochs.

  Args:
    source: from which batches are drawn.
    key: of the orders of all epochs.
    start: () int32, the batch's first position.
    batch_size: B.
  """
  G, sizes = source.num_groups, source.sizes
  length = sizes.sum()
  first_epoch = start // length
  epochs = first_epoch + jnp.arange((batch_size - 2) // G + 2)  # each has one example a group or more

  def order(epoch):
    key_order = jax.random.fold_in(key, epoch)
    return jax.vmap(lambda place: permuted(key_order, place, G))(jnp.arange(G))

  groups = jax.vmap(order)(epochs).reshape(-1)
  ends = jnp.cumsum(sizes[groups])

  def find(position):
    place = position - first_epoch * length
    number = jnp.searchsorted(ends, place, side="right")
    group, end = groups[number], ends[number]
    begin = end - sizes[group]
    key_examples = jax.random.fold_in(jax.random.fold_in(key, position // length), group)
    return (group, begin + first_epoch * length,
            permuted(key_examples, place - begin, sizes[group], most=_EXAMPLES))

  return find


def permuted(key: jax.Array, place: jax.Array, size: jax.Array | int, *, most: int | None = None) -> jax.Array:
  """Computes one element of a random permutation without the others.

  The swap-or-not shuffle (Hoang, Morris, Rogaway, CRYPTO 2012): a round pairs x with (offset - x) mod size and swaps
  each pair or not by a random bit of its own. Every round is a permutation whatever the bits are.
  Sorting instead (jax.random.permutation) takes every device through all groups at every step: 5 s for 3 million on one
  core.

  Args:
    key: determines the permutation.
    place: () int32 in [0, size).
    size: number of elements, () int32 under jit.
    most: an upper bound of `size`; None for `size` itself.

  Returns:
    () int32 in [0, size).
  """

  # Measured: with 3 rounds per bit the order of 3 groups is not yet uniform; from 4 on chi-squared tests find nothing.
  rounds = 6 * (size if most is None else most).bit_length()
  key_offset, key_swap = jax.random.split(key)
  offsets = jax.random.randint(key_offset, (rounds,), 0, size)

  def swap_or_not(x, offset_and_key):
    offset, key_round = offset_and_key
    partner = (offset - x) % size
    swap = jax.random.bits(jax.random.fold_in(key_round, jnp.maximum(x, partner)), dtype=jnp.uint8) & 1
    return jnp.where(swap == 1, partner, x), None

  return jax.lax.scan(swap_or_not, place, (offsets, jax.random.split(key_swap, rounds)))[0]
