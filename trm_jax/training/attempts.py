# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A model at puzzles, some rows at a time: its answers, and how it came to them. Labels play no part here.

An attempt is one example in one version, one time: attempt j is rollout j % rollouts of version
j // rollouts % versions of example j // (rollouts * versions). Its row is made on the device from its number, as a row
of training is, so that thousands of versions of a puzzle need no more memory than the puzzle.

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

# A state is still where its root mean square change in a supervision step is below this; that of the state is about 1.
STILL_BELOW = 0.01

# From the outputs of a supervision step and its batch to numbers of each row: those of which the last is kept, and
# those of which every step's is.
Measure = Callable[[Outputs, Batch], tuple[dict[str, jax.Array], dict[str, jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Attempts:
  """What a model made of puzzles.

  Attributes:
    answers: (J, S) uint8, the last ones; (M, J, S) where all are kept. An attempt that has ended keeps what it had.
    q_halt: (M, J) float32, logit of halting after each step; also kept.
    steps: (J,) int32, supervision steps that each attempt made.
    measured: what was measured besides, by name, (J,) of the last step or (M, J).
    residuals: (M, J) float32, the root mean square change of the state z_H in each step; also kept. None where they
      were not asked for.
    row_steps: supervision steps that were computed, times rows: those of rows without an attempt too.
  """

  answers: np.ndarray
  q_halt: np.ndarray
  steps: np.ndarray
  measured: dict[str, np.ndarray]
  row_steps: int
  residuals: np.ndarray | None = None


@struct.dataclass
class Queue:
  """Attempts under way. Every device along `data` has the same share of the room for them and of the B rows.

  Attributes:
    carry: of B rows.
    attempt: (B,) int32, which of its device's attempts a row works on; their number for none.
    answers: (B, S) uint8, each row's last ones.
    waiting: by device, int32, attempts that no row has begun: 0 … waiting - 1 of each device.
    unfinished: () int32, attempts that have not ended.
    num_steps: () int32, supervision steps made, each by all rows.
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
  """What attempts are made of, on every device.

  Attributes:
    arrays: the task's.
    groups: (N,) int32, the group of each example.
    versions: () int32, of each example that are attempted.
  """

  arrays: Any
  groups: jax.Array
  versions: jax.Array


class Attempter:
  """Compiled attempts, for any parameters of one model and any number of puzzles up to `max_puzzles`.

  Puzzles, rows and results are on the devices; a row that is done with an attempt takes the next of its device's. The
  host starts one call after the other and reads one call late how far they got, so that the devices never wait.

  Args:
    get_model: from whatever `attempt` is given to a TRM; runs under jit.
    task: of the puzzles.
    mesh: rows and attempts are split over its `data` axis; its devices may belong to several processes, each of which
      has all puzzles and gets all results.
    batch_size: B, rounded up to a multiple of the devices along `data`.
    max_puzzles: examples that there is room for. Sets of different sizes share one compiled program.
    stop: one of config.STOPS.
    steps: supervision steps of an attempt, at the most; None for the model's halt_max_steps.
    keep: "last" or "all", the answers that are kept.
    versions: augmented versions of each example that are attempted besides itself. Where versions are stored, no more
      than a puzzle of the set has, and what is made of those that another puzzle lacks means nothing.
    rollouts: attempts at each version, which differ by noise, and where the model has random_init also by the initial
      states. The first ones are the same however many there are.
    noise: standard deviation of the normal noise on the latent state before each supervision step (TRM.with_noise).
    seed: of versions and rollouts.
    residuals: whether to tell how far the states moved.
    measure: see Measure; None for nothing.

  Attributes:
    start: (what get_model takes, waiting by device) -> Queue of which no row has an attempt yet; jitted.
    call: (what get_model takes, data, Queue) -> the Queue `steps` steps later, or fewer if all attempts have ended, and
      its `unfinished`; jitted, donates the Queue.

  Raises:
    UserError: a number is out of range, there is no such rule for stopping, or the task has no rules to prove an answer
      by or not so many versions; when something is attempted, rollouts would all be alike.
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
    # What follows the rows: no device needs to know which attempts the others' rows are at.
    self._on_each_device = functools.partial(
        jax.shard_map, mesh=mesh, axis_names={sharding.DATA}, check_vma=False, out_specs=P(sharding.DATA))
    rows = self._along_data
    layout = Queue(carry=rows, attempt=rows, answers=rows, waiting=rows, unfinished=self._whole, num_steps=self._whole,
                   results=rows)
    self.start = jax.jit(self._start, out_shardings=layout)
    self.call = jax.jit(self._call, donate_argnums=2, out_shardings=(layout, self._whole))
    self._fetch = jax.jit(lambda x: x, out_shardings=self._whole)

  def arguments(self, source: Any) -> tuple[Any, Any, Queue]:
    """Shapes and layouts of what `call` takes, from an abstract `source`."""
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
      source: what `get_model` takes.
      puzzles: of the model's sizes, max_puzzles examples at the most.
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
      queue, next_unfinished = self.call(source, data, queue)  # before the host waits for the one before
      left = int(unfinished)
      if progress:
        progress(number - left, number)
      if left <= 0:
        break
      unfinished = next_unfinished
    results, num_steps = jax.device_get((self._fetch(queue.results), queue.num_steps))
    last, each = (jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:number], results[name])
                  for name in ("last", "each"))
    # An attempt that has ended keeps what it had.
    made = np.minimum(np.arange(each["q_halt"].shape[1]), last["steps"][:, None] - 1)  # (J, M)
    each = {name: np.take_along_axis(x, made.reshape(*made.shape, *[1] * (x.ndim - 2)), axis=1).swapaxes(0, 1)
            for name, x in each.items()}
    found = last | each
    return Attempts(answers=found.pop("answers"), q_halt=found.pop("q_halt"), steps=found.pop("steps"),
                    residuals=found.pop("residuals", None), measured=found, row_steps=int(num_steps) * self.batch_size)

  def put_back(self, puzzles: Puzzles, attempts: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """What attempts say of their versions' cells, as it is of the cells of the puzzles.

    Args:
      puzzles: that were attempted, without versions that are stored.
      attempts: (n,) their numbers.
      cells: (n, S) tokens, or floats, which move with their cells.
    """
    if self._versions == 1:
      return cells
    assert puzzles.versions is None
    groups = np.repeat(np.arange(puzzles.num_groups), puzzles.examples_of_groups())
    example, version, _ = self._place(self._versions, attempts)
    padding = (1 << (len(attempts) - 1).bit_length()) - len(attempts)  # few sizes are compiled

    def padded(x):
      return np.concatenate([x, np.zeros((padding, *x.shape[1:]), x.dtype)])

    back = _put_back(self._task, self._seed, padded(groups[example]), padded(version), padded(cells))
    return np.asarray(back)[: len(attempts)].astype(cells.dtype)

  def _model(self, source: Any) -> TRM:
    """The model, made for so many steps. Runs under jit, where it is nobody else's."""
    model = self._get_model(source)
    if self._steps is not None:
      model.config = dataclasses.replace(model.config, halt_max_steps=self._steps)
    return model

  def _data(self, puzzles: Puzzles) -> _Data:
    groups = np.repeat(np.arange(puzzles.num_groups, dtype=np.int32), puzzles.examples_of_groups())
    versions = self._versions if puzzles.versions is None else min(self._versions, puzzles.num_versions.max())
    return _Data(self._task.arrays(puzzles), groups, np.int32(versions))

  def _place(self, versions: Any, numbers: Any) -> tuple[Any, Any, Any]:
    """The examples, versions and rollouts that attempts are, where each example has so many versions."""
    return (numbers // (versions * self._rollouts), numbers // self._rollouts % versions, numbers % self._rollouts)

  def _row(self, data: _Data, number: jax.Array) -> Batch:
    """The row of an attempt, () int32."""
    example, version, _ = self._place(data.versions, number)
    if self._versions == 1:
      return self._task.row(data.arrays, example, None, None)
    key = rows_lib.version_key(jax.random.key(self._seed), data.groups[example], version)
    return self._task.row(data.arrays, example, version, key)

  def _keys(self, data: _Data, numbers: jax.Array, steps: jax.Array | None) -> jax.Array:
    """Random keys, one for each attempt (B,), of the noise before a supervision step, or of initial states."""

    def key(*parts):
      return functools.reduce(jax.random.fold_in, parts, jax.random.key(self._seed))

    place = self._place(data.versions, numbers)
    return jax.vmap(key)(*place) if steps is None else jax.vmap(key)(*place, 2 + steps)  # refill folds in 0 and 1

  def _take(self, data: _Data, halted: jax.Array, attempt: jax.Array, waiting: jax.Array) -> tuple[jax.Array, ...]:
    """Halted rows take the last of the attempts that wait, if there are any. Returns the rows' batch, the number of
    each row's attempt, the same within its device, and how many wait then."""

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
    """The results with the values of one step, by row; see `_values`."""

    def on_device(results, attempt, values):
      step = values["last"]["steps"] - 1

      def put(results, values, *index):  # what rows without an attempt make is dropped
        return jax.tree.map(lambda all_, x: all_.at[0, attempt, *index].set(x, mode="drop"), results, values)

      return {"last": put(results["last"], values["last"]), "each": put(results["each"], values["each"], step)}

    return self._on_each_device(on_device, in_specs=P(sharding.DATA))(results, attempt, values)

  def _values(self, carry: Carry, outputs: Outputs, answers: jax.Array, before: jax.Array) -> dict[str, Any]:
    """What is noted of a supervision step, by row: what is kept of the `last`, and what is kept of `each`. `before` is
    the state z_H before the step."""
    last, each = self._measure(outputs, carry.batch) if self._measure else ({}, {})
    last, each = last | {"steps": carry.steps}, each | {"q_halt": outputs.q_halt}
    (each if self._keep == "all" else last)["answers"] = answers
    if self._residuals:
      each["residuals"] = _moved(carry.z_H, before)
    return {"last": last, "each": each}

  def _start(self, source: Any, waiting: jax.Array) -> Queue:
    model = self._model(source)
    if self._rollouts > 1 and not self._noise and not model.config.random_init:
      raise UserError(f"rollouts = {self._rollouts}: all would be alike; give them noise, such as noise = 0.3, for "
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
    """One supervision step of all rows."""
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
    """(B,) bool, by the rule of `stop`. `before` is the state z_H before the step."""
    if self._stop == "steps":
      return carry.halted
    if self._stop == "proven":
      return carry.halted | self._task.solves(carry.batch["inputs"], answers.astype(jnp.int32))
    if self._stop == "still":
      return carry.halted | (_moved(carry.z_H, before) < STILL_BELOW)
    unchanged = (answers == answers_before).all(-1) & (carry.steps > 1)
    if self._stop == "converged":
      return carry.halted | unchanged
    # The halting head alone may be sure of an answer that is still being improved.
    return carry.halted & (unchanged | (carry.steps == model.config.halt_max_steps))


def _check(task: Task, stop: str, steps: int | None, versions: int, rollouts: int, noise: float) -> None:
  """Raises UserError if there is no such attempt at the task; arguments as of Attempter."""
  if stop not in STOPS:
    raise UserError(f"stop = {stop!r}: must be one of {', '.join(STOPS)}")
  if stop == "proven" and not task.checked:
    raise UserError(f"stop = 'proven': {task.name} has no rules that tell whether an answer is right")
  for name, number, least in (("steps", steps, 1), ("rollouts", rollouts, 1), ("versions", versions, 0)):
    if number is not None and number < least:
      raise UserError(f"{name} = {number}: must be at least {least}")
  if not 0 <= noise < math.inf:
    raise UserError(f"noise = {noise}: must be 0 or more, and finite")
  if versions and not task.stores_versions:
    if task.max_versions is not None and versions > task.max_versions:
      raise UserError(f"versions = {versions}: {task.name} has {task.max_versions} besides the puzzle itself")
    jax.eval_shape(task.symmetry, jax.random.key(0))  # says whether there are any


def _moved(after: jax.Array, before: jax.Array) -> jax.Array:
  """(B,) float32, the root mean square change of states (B, L, D)."""
  return jnp.sqrt(jnp.square(after.astype(jnp.float32) - before.astype(jnp.float32)).mean((1, 2)))


@functools.partial(jax.jit, static_argnums=0)
def _put_back(task: Task, seed: jax.Array, groups: jax.Array, versions: jax.Array, cells: jax.Array) -> jax.Array:

  def undo(group_version_cells):
    group, version, cells = group_version_cells
    return task.undo(cells, version, rows_lib.version_key(jax.random.key(seed), group, version))

  return jax.lax.map(undo, (groups, versions, cells), batch_size=1024)


def every_answer(model: TRM, task: Task, puzzles: Puzzles, *, batch_size: int = 256) -> Attempts:
  """The answers of all supervision steps, on the default device. Calls with the same number of puzzles share a program.

  Args:
    model: any.
    task: of the puzzles.
    puzzles: to be solved.
    batch_size: puzzles at once.
  """
  return _solver(model.config, task, min(batch_size, len(puzzles)), len(puzzles)).attempt(model, puzzles)


@functools.lru_cache(maxsize=8)
def _solver(config: TRMConfig, task: Task, batch_size: int, max_puzzles: int) -> Attempter:
  del config  # for which it is compiled
  return Attempter(lambda model: model, task, mesh=sharding.make_mesh(jax.local_devices()[:1]), batch_size=batch_size,
                   max_puzzles=max_puzzles, keep="all")
