# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Training batches as a pure function of (key, step), computed on the device (DESIGN.md, decision 3).

Training reads an endless stream of groups: one random permutation of all groups per epoch, one after the other. Row r
of step t is position t * batch_size + r of that stream, and its example and augmentation depend on the key and the
position alone. So there is no iterator to save, a resumed run sees the same batches, and a device computes just its
own rows.

Axes: B batch, S cells, N examples, G groups.
"""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp

from trm_jax import errors
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.runtime import sharding as sharding_lib
from trm_jax.tasks import symmetry as symmetry_lib

FRESH = -1  # num_aug: a new symmetry at every position

_MAX_POSITIONS = 2**31 - 1  # positions are int32


@flax.struct.dataclass
class DeviceArrays:
  """A `Puzzles` on the device.

  Attributes:
    inputs: (N, S) uint8.
    labels: (N, S) int8.
    puzzle_identifiers: (N,) int32.
    group_starts: (G + 1,) int32.
  """

  inputs: jax.Array
  labels: jax.Array
  puzzle_identifiers: jax.Array
  group_starts: jax.Array


def to_device_arrays(puzzles: puzzles_lib.Puzzles, sharding: jax.sharding.Sharding | None = None) -> DeviceArrays:
  """Puts the arrays that batches are drawn from on the device.

  Args:
    puzzles: one split.
    sharding: where to; replicated over the mesh in training, where every process has the same puzzles. None is the
      default device.
  """
  host = DeviceArrays(puzzles.inputs, puzzles.labels, puzzles.puzzle_identifiers, puzzles.group_starts)
  return jax.device_put(host) if sharding is None else sharding_lib.put(host, sharding)


def abstract_batch(
    batch_size: int, seq_len: int, sharding: jax.sharding.Sharding | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes and dtypes of a batch of inputs, labels (B, S) and puzzle_identifiers (B,)."""
  cells = jax.ShapeDtypeStruct((batch_size, seq_len), "int32", sharding=sharding)
  identifiers = jax.ShapeDtypeStruct((batch_size,), "int32", sharding=sharding)
  return {"inputs": cells, "labels": cells, "puzzle_identifiers": identifiers}


def total_steps(epochs: int, num_groups: int, batch_size: int) -> int:
  """Training steps of a run: floor(epochs * groups / global batch), as one example per group makes an epoch (TRM.md).

  Raises:
    UserError: not even one step.
  """
  steps = epochs * num_groups // batch_size
  if steps == 0:
    raise errors.UserError(
        f"epochs {epochs} of {num_groups} puzzles are less than one step of batch_size {batch_size}: raise"
        " epochs or lower batch_size"
    )
  return steps


def check_positions(steps: int, batch_size: int) -> None:
  """Makes sure that the positions of a run can be counted.

  Raises:
    UserError: they cannot.
  """
  if steps * batch_size > _MAX_POSITIONS:
    raise errors.UserError(
        f"{steps} steps of batch_size {batch_size} take {steps * batch_size} examples, the most is {_MAX_POSITIONS}:"
        f" make at most {_MAX_POSITIONS // batch_size} steps"
    )


def sample_batch(
    arrays: DeviceArrays,
    sample_symmetry: Callable[[jax.Array], symmetry_lib.Symmetry],
    key: jax.Array,
    step: jax.Array | int,
    *,
    batch_size: int,
    num_aug: int,
) -> dict[str, jax.Array]:
  """The batch of one training step. Runs under jit with a traced step; the same numbers on any number of devices.

  Args:
    arrays: what to draw from.
    sample_symmetry: the task's, from a key to a symmetry of S cells.
    key: the run's data key, the same at every step.
    step: () int32, steps made before this one.
    batch_size: B, of all devices together.
    num_aug: 0: examples as stored. N > 0: the original or one of the N augmentations that the key fixes for this
      example, all N + 1 equally likely. FRESH: a new symmetry at every position. Where groups have stored
      augmentations, these are the augmentations: examples are as stored then, too.

  Returns:
    inputs (B, S) int32, labels (B, S) int32 (IGNORE_LABEL kept), puzzle_identifiers (B,) int32.
  """
  assert num_aug >= FRESH, num_aug
  num_groups = arrays.group_starts.shape[0] - 1
  if arrays.inputs.shape[0] > num_groups:
    num_aug = 0
  key_epoch, key_row, key_fixed = jax.random.split(key, 3)

  start = jnp.asarray(step, jnp.int32) * batch_size

  def sample_row(position):
    key_choices, key_fresh = jax.random.split(jax.random.fold_in(key_row, position))
    epoch, place = position // num_groups, position % num_groups
    group = _shuffled(jax.random.fold_in(key_epoch, epoch), place, num_groups)
    first, end = arrays.group_starts[group], arrays.group_starts[group + 1]
    choices = jnp.stack([end - first, max(num_aug, 0) + 1])
    chosen, version = jax.random.randint(key_choices, (2,), 0, choices)
    example = first + chosen
    inputs, labels = arrays.inputs[example].astype(jnp.int32), arrays.labels[example].astype(jnp.int32)
    if num_aug != 0:
      if num_aug == FRESH:
        symmetry = sample_symmetry(key_fresh)
      else:
        symmetry = sample_symmetry(jax.random.fold_in(jax.random.fold_in(key_fixed, example), version))
        original = symmetry_lib.identity(symmetry.cells.size, symmetry.values.size)
        symmetry = jax.tree.map(lambda a, b: jnp.where(version == 0, a, b), original, symmetry)
      inputs, labels = symmetry_lib.apply(symmetry, inputs), symmetry_lib.apply(symmetry, labels)
    return {"inputs": inputs, "labels": labels, "puzzle_identifiers": arrays.puzzle_identifiers[example]}

  return jax.vmap(sample_row)(start + jnp.arange(batch_size, dtype=jnp.int32))


def _shuffled(key: jax.Array, place: jax.Array, size: int) -> jax.Array:
  """One element of a random permutation, without making the others.

  The swap-or-not shuffle (Hoang, Morris, Rogaway, CRYPTO 2012): a round pairs x with (offset - x) mod size and swaps
  each pair or not by a random bit of its own. Every round is a permutation whatever the bits are. Sorting instead
  (jax.random.permutation) takes every device through all groups at every step: 5 s for 3 million on one core.

  Args:
    key: names the permutation.
    place: () int32 in [0, size).
    size: elements of the permutation.

  Returns:
    () int32 in [0, size).
  """

  # Measured: with 3 rounds a bit the order of 3 groups is not yet uniform, from 4 on chi-squared tests see nothing.
  rounds = 6 * size.bit_length()
  key_offset, key_swap = jax.random.split(key)
  offsets = jax.random.randint(key_offset, (rounds,), 0, size)

  def swap_or_not(x, offset_and_key):
    offset, key_round = offset_and_key
    partner = (offset - x) % size
    swap = jax.random.bits(jax.random.fold_in(key_round, jnp.maximum(x, partner)), dtype=jnp.uint8) & 1
    return jnp.where(swap == 1, partner, x), None

  return jax.lax.scan(swap_or_not, place, (offsets, jax.random.split(key_swap, rounds)))[0]
