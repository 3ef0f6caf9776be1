# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Evaluation on whole sets of puzzles, at every supervision step."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import struct
import jax
from jax.sharding import Mesh, PartitionSpec as P
import jax.numpy as jnp
import numpy as np

from trm_jax.data import rows as rows_lib
from trm_jax.data.puzzles import IGNORE_LABEL, Puzzles
from trm_jax.model.trm import Batch, Carry, TRM
from trm_jax.runtime import sharding
from trm_jax.training import losses


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a model made of N puzzles in each of T supervision steps.

  Attributes:
    answers: (N, S) uint8, after the last step.
    right_cells: (T, N) int32, counted cells that are right. A puzzle that halted keeps what it had.
    counted_cells: (N,) int32, cells with a label.
    q_halt: (T, N) float32, logit of halting; likewise.
    losses: `lm_loss` and `q_halt_loss`, (N,) float32 each, of the last step (see losses.of_answers).
    steps: (N,) int32, supervision steps that each puzzle made.
    row_steps: supervision steps that were computed, times rows: those of rows without a puzzle too.
  """

  answers: np.ndarray
  right_cells: np.ndarray
  counted_cells: np.ndarray
  q_halt: np.ndarray
  losses: dict[str, np.ndarray]
  steps: np.ndarray
  row_steps: int

  @property
  def counted(self) -> np.ndarray:
    """(N,) bool, which puzzles have a counted cell."""
    return self.counted_cells > 0

  @property
  def exact(self) -> np.ndarray:
    """(N,) bool, whether every counted cell of the last answer is right."""
    return self.right_cells[-1] == self.counted_cells

  def metrics(self) -> dict[str, Any]:
    """Means over the puzzles that have a counted cell; accuracies are shares in [0, 1].

    Returns:
      num_puzzles, those with a counted cell; exact_accuracy, accuracy (mean share of right cells), q_halt_accuracy,
      lm_loss and q_halt_loss after the last step; steps that a puzzle made in the mean; row_steps, of all; `by_step`:
      exact_accuracy and accuracy after each step.
    """
    counted = self.counted
    exact = (self.right_cells == self.counted_cells)[:, counted]
    cells = self.right_cells[:, counted] / self.counted_cells[counted]
    return {
        "num_puzzles": int(counted.sum()),
        "exact_accuracy": float(exact[-1].mean()),
        "accuracy": float(cells[-1].mean()),
        "q_halt_accuracy": float(((self.q_halt[-1, counted] >= 0) == exact[-1]).mean()),
        **{name: float(values[counted].mean(dtype=np.float64)) for name, values in self.losses.items()},
        "steps": float(self.steps[counted].mean()),
        "row_steps": self.row_steps,
        "by_step": {
            "exact_accuracy": [float(e) for e in exact.mean(1)],
            "accuracy": [float(c) for c in cells.mean(1)],
        },
    }


@dataclasses.dataclass(frozen=True)
class Attempt:
  """What a model made of N puzzles in T supervision steps.

  Attributes:
    answers: (T, N, S) uint8.
    q_halt: (T, N) float32, logit of "every cell is right".
  """

  answers: np.ndarray
  q_halt: np.ndarray

  def hardest_solved(self, labels: np.ndarray) -> int:
    """Of the puzzles whose last answer is right, the one whose first right answer came last; 0 if there is none.

    Args:
      labels: (N, S) solutions.
    """
    right = (self.answers == labels.astype(np.uint8)).all(-1)
    return int(np.argmax(np.where(right[-1], right.argmax(axis=0), -1)))


@jax.jit
def _attempt(model: TRM, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Answers (T, B, S) uint8 and q_halt (T, B) of every supervision step, from a fresh start."""

  def step(carry, _):
    carry, outputs = model(carry, batch)
    return carry, (outputs.logits.argmax(-1).astype("uint8"), outputs.q_halt)

  return jax.lax.scan(step, model.initial_carry(batch), length=model.config.halt_max_steps)[1]


def attempt(model: TRM, inputs: np.ndarray, puzzle_identifiers: np.ndarray) -> Attempt:
  """Solves puzzles together.

  Args:
    model: TRM.
    inputs: (N, S) tokens.
    puzzle_identifiers: (N,).
  """
  batch = {"inputs": inputs.astype(np.int32), "puzzle_identifiers": puzzle_identifiers.astype(np.int32)}
  answers, q_halt = _attempt(model, batch)
  return Attempt(np.asarray(answers), np.asarray(q_halt))


@struct.dataclass
class Queue:
  """An evaluation under way. Each of the n devices along `data` has room for K puzzles, and B / n rows to solve them.

  Attributes:
    carry: of B rows.
    puzzle: (B,) int32, which of its device's puzzles a row works on; K for none.
    answers: (B, S) uint8, each row's last ones.
    waiting: (n,) int32, puzzles that no row has begun: 0 … waiting - 1 of each device.
    unfinished: () int32, puzzles that have not halted.
    num_steps: () int32, supervision steps made, each by all rows.
    results: by puzzle, (n, K, …): `answers` (S,) uint8, `steps` () int32, `lm_loss` and `q_halt_loss` () float32, of
      its last step so far; `right_cells` (T,) int32 and `q_halt` (T,) float32, of each step.
  """

  carry: Carry
  puzzle: jax.Array
  answers: jax.Array
  waiting: jax.Array
  unfinished: jax.Array
  num_steps: jax.Array
  results: dict[str, jax.Array]


class Evaluator:
  """A compiled evaluation, for any parameters of one model and any number of puzzles up to `max_puzzles`.

  Puzzles, rows and results are on the devices; a row that is done with a puzzle takes the next of its device's. The
  host starts one call after the other and reads one call late how far they got, so that the devices never wait.

  Args:
    get_model: from whatever `evaluate` is given to a TRM; runs under jit.
    mesh: rows and puzzles are split over its `data` axis; its devices may belong to several processes, each of which
      has all puzzles and gets all results.
    batch_size: B, rounded up to a multiple of the devices along `data`.
    max_puzzles: there is room for. Sets of different sizes share one compiled program.
    halting: a puzzle is done when the model halts it, by the rule of training without exploration, and its answer is
      that of the step before; otherwise, and at the latest, after halt_max_steps steps.

  Attributes:
    start: (what get_model takes, waiting (n,)) -> Queue of which no row has a puzzle yet; jitted.
    call: (what get_model takes, puzzles by device, Queue) -> the Queue halt_max_steps steps later, or fewer if all
      puzzles are finished, and its `unfinished`; jitted, donates the Queue.
  """

  def __init__(self, get_model: Callable[[Any], TRM], *, mesh: Mesh, batch_size: int, max_puzzles: int,
               halting: bool = False):
    devices = mesh.shape[sharding.DATA]
    self.batch_size = B = -(-batch_size // devices) * devices
    self._shares = devices, -(-max_puzzles // devices)
    _, K = self._shares
    self._along_data, whole = sharding.along_data(mesh), sharding.replicated(mesh)
    # What follows the rows: no device needs to know which puzzles the others' rows are at.
    on_each_device = functools.partial(jax.shard_map, mesh=mesh, axis_names={sharding.DATA}, check_vma=False,
                                       in_specs=P(sharding.DATA), out_specs=P(sharding.DATA))

    @on_each_device
    def take(puzzles, halted, puzzle, waiting):
      """Halted rows take the last of the puzzles that wait, if there are any."""
      following = waiting - jnp.cumsum(halted)
      puzzle = jnp.where(halted, jnp.where(following >= 0, following, K), puzzle)
      batch = {name: x[0].at[puzzle].get(mode="clip").astype(jnp.int32) for name, x in puzzles.items()}
      return batch, puzzle, jnp.maximum(waiting - halted.sum(), 0)

    @on_each_device
    def note(results, puzzle, last, each):
      """Results of one step: what is kept of a puzzle's last step, and what is kept of each."""
      def put(name, values, *index):
        return results[name].at[0, puzzle, *index].set(values, mode="drop")  # those of rows without a puzzle

      return {name: put(name, values) for name, values in last.items()} | {
          name: put(name, values, last["steps"] - 1) for name, values in each.items()}

    def start(source, waiting):
      model = get_model(source)
      S, T = model.config.seq_len, model.config.halt_max_steps
      kinds = {"answers": ((S,), "uint8"), "steps": ((), "int32"), "lm_loss": ((), "float32"),
               "q_halt_loss": ((), "float32"), "right_cells": ((T,), "int32"), "q_halt": ((T,), "float32")}
      return Queue(
          carry=model.initial_carry(rows_lib.abstract_batch(B, S)),
          puzzle=jnp.full(B, K, jnp.int32),
          answers=jnp.zeros((B, S), jnp.uint8),
          waiting=waiting,
          unfinished=waiting.sum(),
          num_steps=jnp.int32(0),
          results={name: jnp.zeros((*self._shares, *shape), dtype) for name, (shape, dtype) in kinds.items()})

    def call(source, puzzles, queue):
      model = get_model(source)
      min_steps = jnp.zeros(B, jnp.int32) if halting else None

      def step(queue):
        batch, puzzle, waiting = take(puzzles, queue.carry.halted, queue.puzzle, queue.waiting)
        carry = model.refill(queue.carry, batch)
        carry, outputs = model.supervision_step(carry, model.prefix_rows(carry.batch), min_steps)
        _, right_cells = losses.count_right(outputs.logits, carry.batch["labels"])
        answers = outputs.logits.argmax(-1).astype("uint8")
        if halting:  # The halting head alone may be sure of an answer that is still being improved.
          settled = (answers == queue.answers).all(-1) & (carry.steps > 1)
          carry = carry.replace(halted=carry.halted & (settled | (carry.steps == model.config.halt_max_steps)))
        return Queue(
            carry=carry,
            puzzle=puzzle,
            answers=answers,
            waiting=waiting,
            unfinished=queue.unfinished - (carry.halted & (puzzle < K)).sum(),
            num_steps=queue.num_steps + 1,
            results=note(queue.results, puzzle,
                         {"answers": answers, "steps": carry.steps} | losses.of_answers(outputs, carry.batch["labels"]),
                         {"right_cells": right_cells, "q_halt": outputs.q_halt}))

      end = queue.num_steps + model.config.halt_max_steps
      queue = jax.lax.while_loop(lambda queue: (queue.unfinished > 0) & (queue.num_steps < end), step, queue)
      return queue, queue.unfinished

    layout = Queue(carry=self._along_data, puzzle=self._along_data, answers=self._along_data,
                   waiting=self._along_data, unfinished=whole, num_steps=whole, results=self._along_data)
    self.start = jax.jit(start, out_shardings=layout)
    self.call = jax.jit(call, donate_argnums=2, out_shardings=(layout, whole))
    self._fetch = jax.jit(lambda x: x, out_shardings=whole)

  def arguments(self, source: Any) -> tuple[Any, dict[str, jax.ShapeDtypeStruct], Queue]:
    """Shapes and layouts of what `call` takes, from an abstract `source`."""
    array = functools.partial(jax.ShapeDtypeStruct, sharding=self._along_data)
    queue = self.start.eval_shape(source, array(self._shares[:1], "int32"))
    cells = queue.results["answers"].shape
    return source, {"inputs": array(cells, "uint8"), "labels": array(cells, "int8"),
                    "puzzle_identifiers": array(self._shares, "int32")}, queue

  def evaluate(
      self, source: Any, puzzles: Puzzles, progress: Callable[[int, int], None] | None = None
  ) -> Evaluation:
    """Evaluates every puzzle once.

    Args:
      source: what `get_model` takes.
      puzzles: of the model's sizes, max_puzzles at the most.
      progress: called with the number of puzzles done and their total, equally often in all processes.
    """
    num_puzzles, (devices, K) = len(puzzles), self._shares

    def deal(x):
      """Puzzle i is number i // devices of device i % devices."""
      room = np.zeros((K * devices, *x.shape[1:]), x.dtype)
      room[:num_puzzles] = x
      return room.reshape(K, devices, *x.shape[1:]).swapaxes(0, 1)

    def collect(x):
      return x.swapaxes(0, 1).reshape(K * devices, *x.shape[2:])[:num_puzzles]

    assert num_puzzles <= K * devices, (num_puzzles, K * devices)
    dealt, waiting = sharding.put(
        ({"inputs": deal(puzzles.inputs), "labels": deal(puzzles.labels),
          "puzzle_identifiers": deal(puzzles.puzzle_identifiers)},
         deal(np.ones(num_puzzles, np.int32)).sum(1, dtype=np.int32)), self._along_data)
    queue, unfinished = self.call(source, dealt, self.start(source, waiting))
    while True:
      queue, next_unfinished = self.call(source, dealt, queue)  # before the host waits for the one before
      left = int(unfinished)
      if progress:
        progress(num_puzzles - left, num_puzzles)
      if left <= 0:
        break
      unfinished = next_unfinished
    results, num_steps = jax.device_get((self._fetch(queue.results), queue.num_steps))
    results = {name: collect(x) for name, x in results.items()}
    last_made = np.minimum(np.arange(results["q_halt"].shape[1]), results["steps"][:, None] - 1)
    right_cells, q_halt = (
        np.take_along_axis(results[name], last_made, axis=1).T for name in ("right_cells", "q_halt"))
    return Evaluation(
        answers=results["answers"],
        right_cells=right_cells,
        counted_cells=(puzzles.labels != IGNORE_LABEL).sum(1),
        q_halt=q_halt,
        losses={name: results[name] for name in ("lm_loss", "q_halt_loss")},
        steps=results["steps"],
        row_steps=int(num_steps) * self.batch_size,
    )
