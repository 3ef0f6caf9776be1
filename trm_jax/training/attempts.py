# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Lets a model attempt puzzles, a batch of rows at a time, and records its answers. Labels play no part here.

An attempt is one try at one version of an example: attempt j is rollout j % rollouts of version
j // rollouts % versions of example j // (rollouts * versions). The device makes its row from this number, as it makes
rows of training, so that thousands of versions of a puzzle need no more memory than the puzzle.

Axes: J attempts, M supervision steps, S cells, B rows.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from flax import struct
import jax
from jax.sharding import Mesh, PartitionSpec as P
import jax.numpy as jnp
import numpy as np

from trm_jax.config import STOPS
from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import Puzzles, Sizes
from trm_jax.errors import UserError
from trm_jax.model.config import TRMConfig
from trm_jax.model.trm import TRM, Batch, Carry, Outputs
from trm_jax.runtime import sharding
from trm_jax.tasks import Task

# A state is still if its root mean square change in a supervision step is below this; its own root mean square is about
# 1.
STILL_BELOW = 0.01

# Computes numbers for each row from the outputs of a supervision step and its batch: first those that are kept for the
# last step only, then those that are kept for every step.
Measure = Callable[[Outputs, Batch], tuple[dict[str, jax.Array], dict[str, jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Attempts:
  """The results of a model's attempts. After an attempt has ended, its values of further steps repeat the last ones.

  Attributes:
    answers: (J, S) uint8, the last answers; (M, J, S) if all are kept.
    q_halt: (M, J) float32, logit of halting after each step.
    steps: (J,) int32, supervision steps that each attempt made.
    measured: results of Measure by name, (J,) for the last step or (M, J).
    residuals: (M, J) float32, the root mean square change of the state z_H in each step; None if not requested.
    row_steps: supervision steps that were computed, times rows, including rows without an attempt.
  """

  answers: np.ndarray
  q_halt: np.ndarray
  steps: np.ndarray
  measured: dict[str, np.ndarray]
  row_steps: int
  residuals: np.ndarray | None = None


@struct.dataclass
class Queue:
  """The attempts in progress. Every device along `data` has an equal share of them and of the B rows.

  Attributes:
    carry: of B rows.
    attempt: (B,) int32, number, within its device, of the attempt that a row works on; the number of places for none.
    answers: (B, S) uint8, the last answer of each row.
    waiting: number of attempts per device, int32, that no row has begun; they are attempts 0 … waiting - 1.
    unfinished: () int32, number of attempts that have not ended.
    num_steps: () int32, number of supervision steps made, each by all rows.
    results: `last` and `each`, by name: (devices, attempts of a device, …) of the last step so far, and
      (devices, attempts of a device, M, …) of each step.
  """

  carry: Carry
  attempt: jax.Array
  answers: jax.Array
  waiting: jax.Array
  unfinished: jax.Array
  num_steps: jax.Array
  results: dict[str, dict[str, jax.Array]]


@struct.dataclass
class _Data:
  """The data from which attempts are made, the same on every device.

  Attributes:
    arrays: of the task.
    groups: (N,) int32, the group of each example.
    versions: () int32, number of versions of each example that are attempted.
  """

  arrays: Any
  groups: jax.Array
  versions: jax.Array


class Attempter:
  """Compiled attempts, for any parameters of one model and any number of puzzles up to `max_puzzles`.

  Puzzles, rows and results are on the devices; a row that has finished an attempt takes the next one of its device. The
  host starts one call after another and reads their progress one call later, so that the devices never wait.

  Args:
    get_model: makes a TRM from the `source` that `attempt` is given; runs under jit.
    task: of the puzzles.
    mesh: rows and attempts are split over its `data` axis; its devices may belong to several processes, each of which
      has all puzzles and gets all results.
    batch_size: B, rounded up to a multiple of the devices along `data`.
    max_puzzles: number of examples that fit. Sets of different sizes share one compiled program.
    stop: one of config.STOPS.
    steps: the most supervision steps of an attempt; None for the model's halt_max_steps.
    keep: "last" or "all", the answers that are kept.
    versions: number of augmented versions of each example that are attempted besides the example itself. If versions
      are stored, it is capped at the most that a puzzle of the set has; results for missing versions are meaningless.
    rollouts: number of attempts at each version, which differ by noise and, if the model has random_init, by initial
      states. The first ones do not depend on the number, except that a single one begins from the same initial states
      for all puzzles.
    noise: standard deviation of the normal noise on the latent state before each supervision step (TRM.with_noise).
    seed: of versions and rollouts.
    residuals: whether to record how far the states moved.
    measure: see Measure; None for nothing.

  Attributes:
    start: (source, waiting by device) -> a Queue in which no row has an attempt yet; jitted.
    call: (source, data, Queue) -> the Queue after `steps` steps, or fewer if all attempts have ended, and its
      `unfinished`; jitted, donates the Queue.

  Raises:
    UserError: a number is out of range, there is no such rule for stopping, or the task has no rules to prove an answer
      by, or fewer versions. `attempt` raises it if all rollouts would be the same.
  """

  def __init__(self, get_model: Callable[[Any], TRM], task: Task, *, mesh: Mesh, batch_size: int, max_puzzles: int,
               stop: str = "steps", steps: int | None = None, keep: str = "last", versions: int = 0, rollouts: int = 1,
               noise: float = 0.0, seed: int = 0, measure: Measure | None = None, residuals: bool = False):
    _check(task, stop, steps, versions, rollouts, noise)
    self._get_model, self._task, self._stop, self._keep, self._measure = get_model, task, stop, keep, measure
    self._versions, self._rollouts, self._seed = 1 + versions, rollouts, seed
    self._steps, self._noise, self._residuals = steps, noise, residuals
    self._devices = devices = mesh.shape[sharding.DATA]
    self._max_puzzles = max_puzzles
    self.batch_size = -(-batch_size // devices) * devices
    self._room = -(-max_puzzles * self._versions * rollouts // devices)  # attempts of a device
    self._along_data, self._whole = sharding.along_data(mesh), sharding.replicated(mesh)
    # For code that works on rows: no device needs to know which attempts the rows of others work on.
    self._on_each_device = functools.partial(
        jax.shard_map, mesh=mesh, axis_names={sharding.DATA}, check_vma=False, out_specs=P(sharding.DATA))
    rows = self._along_data
    layout = Queue(carry=rows, attempt=rows, answers=rows, waiting=rows, unfinished=self._whole, num_steps=self._whole,
                   results=rows)
    self.start = jax.jit(self._start, out_shardings=layout)
    self.call = jax.jit(self._call, donate_argnums=2, out_shardings=(layout, self._whole))
    self._fetch = jax.jit(lambda x: x, out_shardings=self._whole)

  def arguments(self, source: Any) -> tuple[Any, Any, Queue]:
    """Shapes and layouts of the arguments of `call`, for an abstract `source`."""
    model = jax.eval_shape(self._model, source)
    number, config = self._max_puzzles, model.config
    stored = (number * self._versions,) * 2 if self._task.stores_versions else ()
    blank = Sizes(number, number, number, config.seq_len, config.vocab_size, config.num_puzzle_identifiers,
                  *stored).blank_puzzles()
    data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._whole), self._data(blank))
    waiting = jax.ShapeDtypeStruct((self._devices,), "int32", sharding=self._along_data)
    return source, data, self.start.eval_shape(source, waiting)

  def attempt(self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None) -> Attempts:
    """Makes every attempt once.

    Args:
      source: the argument of `get_model`.
      puzzles: of the model's sizes; at most max_puzzles examples.
      progress: called with the number of attempts that have ended and their total, equally often in all processes.
    """
    assert len(puzzles) <= self._max_puzzles, (len(puzzles), self._max_puzzles)
    data = self._data(puzzles.first_versions(self._versions).padded(self._max_puzzles, self._versions))
    number, devices = len(puzzles) * int(data.versions) * self._rollouts, self._devices
    data = sharding.put(data, self._whole)
    # Attempt j is number j // devices of device j % devices.
    waiting = sharding.put(((number + devices - 1 - np.arange(devices)) // devices).astype(np.int32), self._along_data)
    queue, unfinished = self.call(source, data, self.start(source, waiting))
    while True:
      queue, next_unfinished = self.call(source, data, queue)  # starts before the host waits for the previous call
      left = int(unfinished)
      if progress:
        progress(number - left, number)
      if left <= 0:
        break
      unfinished = next_unfinished
    results, num_steps = jax.device_get((self._fetch(queue.results), queue.num_steps))
    last, each = (jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:number], results[name])
                  for name in ("last", "each"))
    # An attempt that has ended repeats its last values.
    made = np.minimum(np.arange(each["q_halt"].shape[1]), last["steps"][:, None] - 1)  # (J, M)
    each = {name: np.take_along_axis(x, made.reshape(*made.shape, *[1] * (x.ndim - 2)), axis=1).swapaxes(0, 1)
            for name, x in each.items()}
    found = last | each
    return Attempts(answers=found.pop("answers"), q_halt=found.pop("q_halt"), steps=found.pop("steps"),
                    residuals=found.pop("residuals", None), measured=found, row_steps=int(num_steps) * self.batch_size)

  def put_back(self, puzzles: Puzzles, attempts: np.ndarray, cells: np.ndarray, answers: np.ndarray | None = None
               ) -> np.ndarray:
    """Maps values of the cells of attempted versions back to the cells of the puzzles.

    Args:
      puzzles: that were attempted.
      attempts: (some,) numbers of attempts.
      cells: (some, S) tokens, or floats, which move with their cells.
      answers: (some, S) tokens of the cells; None if these are `cells`. Stored versions need them (see Task.undo_stored);
        for a version that a puzzle does not have, the result is meaningless.
    """
    if self._versions == 1 and puzzles.versions is None:
      return cells
    groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
    if (stored := puzzles.versions) is not None:
      example, version, _ = self._place(min(self._versions, puzzles.num_versions.max()), attempts)
      number = stored.numbers[np.minimum(stored.starts[groups[example]] + version, len(stored.numbers) - 1)].tolist()
      answers = cells if answers is None else answers
      return np.stack([self._task.undo_stored(*one) for one in zip(cells, number, answers)])
    example, version, _ = self._place(self._versions, attempts)
    padding = (1 << (len(attempts) - 1).bit_length()) - len(attempts)  # so that few sizes are compiled

    def padded(x):
      return np.concatenate([x, np.zeros((padding, *x.shape[1:]), x.dtype)])

    back = _put_back(self._task, self._seed, padded(groups[example]), padded(version), padded(cells))
    return np.asarray(back)[: len(attempts)].astype(cells.dtype)

  def _model(self, source: Any) -> TRM:
    """The model, set to the number of steps. Runs under jit, where nobody else uses the model."""
    model = self._get_model(source)
    if self._steps is not None:
      model.config = dataclasses.replace(model.config, halt_max_steps=self._steps)
    return model

  def _data(self, puzzles: Puzzles) -> _Data:
    groups = np.repeat(np.arange(puzzles.num_groups, dtype=np.int32), puzzles.examples_of_groups())
    versions = self._versions if puzzles.versions is None else min(self._versions, puzzles.num_versions.max())
    return _Data(self._task.arrays(puzzles), groups, np.int32(versions))

  def _place(self, versions: Any, numbers: Any) -> tuple[Any, Any, Any]:
    """The example, version and rollout of each attempt, given the number of versions per example."""
    return (numbers // (versions * self._rollouts), numbers // self._rollouts % versions, numbers % self._rollouts)

  def _row(self, data: _Data, number: jax.Array) -> Batch:
    """The row of an attempt, given its number, () int32."""
    example, version, _ = self._place(data.versions, number)
    if self._versions == 1:
      return self._task.row(data.arrays, example, None, None)
    key = rows_lib.version_key(jax.random.key(self._seed), data.groups[example], version)
    return self._task.row(data.arrays, example, version, key)

  def _keys(self, data: _Data, numbers: jax.Array, steps: jax.Array | None) -> jax.Array:
    """Random keys, (B,), one for each attempt: for the noise before supervision step `steps` or, if that is None, for
    the initial states."""

    def key(*parts):
      return functools.reduce(jax.random.fold_in, parts, jax.random.key(self._seed))

    place = self._place(data.versions, numbers)
    return jax.vmap(key)(*place) if steps is None else jax.vmap(key)(*place, 2 + steps)  # refill folds in 0 and 1

  def _take(self, data: _Data, halted: jax.Array, attempt: jax.Array, waiting: jax.Array) -> tuple[jax.Array, ...]:
    """Gives halted rows the last of the waiting attempts, if there are any. Returns the rows' batch, the number of each
    row's attempt, its number within its device, and the number of attempts that still wait."""

    def on_device(data, halted, attempt, waiting):
      following = waiting - jnp.cumsum(halted)
      attempt = jnp.where(halted, jnp.where(following >= 0, following, self._room), attempt)
      number = attempt * self._devices + jax.lax.axis_index(sharding.DATA)
      last = self._max_puzzles * data.versions * self._rollouts - 1
      batch = jax.vmap(functools.partial(self._row, data))(jnp.minimum(number, last))
      return batch, number, attempt, jnp.maximum(waiting - halted.sum(), 0)

    rows = P(sharding.DATA)
    return self._on_each_device(on_device, in_specs=(P(), rows, rows, rows))(data, halted, attempt, waiting)

  def _note(self, results: dict[str, Any], attempt: jax.Array, values: dict[str, Any]) -> dict[str, Any]:
    """Adds the values of one step, by row, to the results; see `_values`."""

    def on_device(results, attempt, values):
      step = values["last"]["steps"] - 1

      def put(results, values, *index):  # drops values of rows without an attempt
        return jax.tree.map(lambda all_, x: all_.at[0, attempt, *index].set(x, mode="drop"), results, values)

      return {"last": put(results["last"], values["last"]), "each": put(results["each"], values["each"], step)}

    return self._on_each_device(on_device, in_specs=P(sharding.DATA))(results, attempt, values)

  def _values(self, carry: Carry, outputs: Outputs, answers: jax.Array, before: jax.Array) -> dict[str, Any]:
    """The values of a supervision step that are recorded, by row: those of the `last` step, and those of `each` step.
    `before` is the state z_H before the step."""
    last, each = self._measure(outputs, carry.batch) if self._measure else ({}, {})
    last, each = last | {"steps": carry.steps}, each | {"q_halt": outputs.q_halt}
    (each if self._keep == "all" else last)["answers"] = answers
    if self._residuals:
      each["residuals"] = _moved(carry.z_H, before)
    return {"last": last, "each": each}

  def _start(self, source: Any, waiting: jax.Array) -> Queue:
    model = self._model(source)
    if self._rollouts > 1 and not self._noise and not model.config.random_init:
      raise UserError(f"rollouts = {self._rollouts}: all would be the same; add noise, such as noise = 0.3, since "
                      "this model was not trained with random initial states (config.model.random_init)")
    B, S, M = self.batch_size, model.config.seq_len, model.config.halt_max_steps
    batch = rows_lib.abstract_batch(B, S)

    def values(carry):
      after, outputs = model.supervision_step(carry, model.prefix_rows(carry.batch), None)
      return self._values(after, outputs, outputs.logits.argmax(-1).astype("uint8"), carry.z_H)

    def room(kinds, *steps):
      return jax.tree.map(lambda x: jnp.zeros((self._devices, self._room, *steps, *x.shape[1:]), x.dtype), kinds)

    carry = model.initial_carry(batch)
    kinds = jax.eval_shape(values, carry)
    results = {"last": room(kinds["last"]), "each": room(kinds["each"], M)}
    return Queue(carry=carry, attempt=jnp.full(B, self._room, jnp.int32), answers=jnp.zeros((B, S), jnp.uint8),
                 waiting=waiting, unfinished=waiting.sum(), num_steps=jnp.int32(0), results=results)

  def _call(self, source: Any, data: _Data, queue: Queue) -> tuple[Queue, jax.Array]:
    model = self._model(source)
    end = queue.num_steps + model.config.halt_max_steps
    queue = jax.lax.while_loop(lambda queue: (queue.unfinished > 0) & (queue.num_steps < end),
                               functools.partial(self._step, model, data), queue)
    return queue, queue.unfinished

  def _step(self, model: TRM, data: _Data, queue: Queue) -> Queue:
    """Makes one supervision step of all rows."""
    batch, number, attempt, waiting = self._take(data, queue.carry.halted, queue.attempt, queue.waiting)
    carry = model.refill(queue.carry, batch, self._keys(data, number, None) if self._rollouts > 1 else None)
    if self._noise:
      carry = model.with_noise(carry, self._keys(data, number, carry.steps), self._noise)
    before = carry.z_H
    min_steps = jnp.zeros(self.batch_size, jnp.int32) if self._stop == "settled" else None
    carry, outputs = model.supervision_step(carry, model.prefix_rows(carry.batch), min_steps)
    answers = outputs.logits.argmax(-1).astype("uint8")
    carry = carry.replace(halted=self._ended(model, carry, answers, queue.answers, before))
    return Queue(
        carry=carry,
        attempt=attempt,
        answers=answers,
        waiting=waiting,
        unfinished=queue.unfinished - (carry.halted & (attempt < self._room)).sum(),
        num_steps=queue.num_steps + 1,
        results=self._note(queue.results, attempt, self._values(carry, outputs, answers, before)))

  def _ended(self, model: TRM, carry: Carry, answers: jax.Array, answers_before: jax.Array, before: jax.Array
             ) -> jax.Array:
    """Whether each row's attempt ends, (B,) bool, by the rule of `stop`. `before` is the state z_H before the step."""
    if self._stop == "steps":
      return carry.halted
    if self._stop == "proven":
      return carry.halted | self._task.solves(carry.batch["inputs"], answers.astype(jnp.int32))
    if self._stop == "still":
      return carry.halted | (_moved(carry.z_H, before) < STILL_BELOW)
    unchanged = (answers == answers_before).all(-1) & (carry.steps > 1)
    if self._stop == "converged":
      return carry.halted | unchanged
    # "settled": the halting head alone may be sure of an answer that is still being improved.
    return carry.halted & (unchanged | (carry.steps == model.config.halt_max_steps))


def _check(task: Task, stop: str, steps: int | None, versions: int, rollouts: int, noise: float) -> None:
  """Raises UserError if the task cannot be attempted in this way. Takes arguments of Attempter."""
  if stop not in STOPS:
    raise UserError(f"stop = {stop!r}: must be one of {', '.join(STOPS)}")
  if stop == "proven" and not task.checked:
    raise UserError(f"stop = 'proven': {task.name} has no rules that tell whether an answer is right")
  for name, number, least in (("steps", steps, 1), ("rollouts", rollouts, 1), ("versions", versions, 0)):
    if number is not None and number < least:
      raise UserError(f"{name} = {number}: must be at least {least}")
  if not 0 <= noise < math.inf:
    raise UserError(f"noise = {noise}: must be 0 or more, and finite")
  if task.max_versions is not None and versions > task.max_versions:
    raise UserError(f"versions = {versions}: {task.name} has {task.max_versions} besides the puzzle itself")
  if versions and not task.stores_versions:
    jax.eval_shape(task.symmetry, jax.random.key(0))  # raises if there are no versions


def _moved(after: jax.Array, before: jax.Array) -> jax.Array:
  """The root mean square change of states (B, L, D), (B,) float32."""
  return jnp.sqrt(jnp.square(after.astype(jnp.float32) - before.astype(jnp.float32)).mean((1, 2)))


@functools.partial(jax.jit, static_argnums=0)
def _put_back(task: Task, seed: jax.Array, groups: jax.Array, versions: jax.Array, cells: jax.Array) -> jax.Array:

  def undo(group_version_cells):
    group, version, cells = group_version_cells
    return task.undo(cells, version, rows_lib.version_key(jax.random.key(seed), group, version))

  return jax.lax.map(undo, (groups, versions, cells), batch_size=1024)


def every_answer(model: TRM, task: Task, puzzles: Puzzles, *, batch_size: int = 256) -> Attempts:
  """Solves puzzles on the default device and keeps the answers of all supervision steps.

  Calls with the same number of puzzles share a program.

  Args:
    model: any model.
    task: of the puzzles.
    puzzles: to be solved.
    batch_size: number of puzzles at once.
  """
  return _solver(model.config, task, min(batch_size, len(puzzles)), len(puzzles)).attempt(model, puzzles)


@functools.lru_cache(maxsize=8)
def _solver(config: TRMConfig, task: Task, batch_size: int, max_puzzles: int) -> Attempter:
  del config  # only a key of the cache
  return Attempter(lambda model: model, task, mesh=sharding.make_mesh(jax.local_devices()[:1]), batch_size=batch_size,
                   max_puzzles=max_puzzles, keep="all")
