# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Evaluation against a plain loop that solves one puzzle at a time and counts by hand."""

import dataclasses
import json

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import tasks
from trm_jax import weights
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import IGNORE_LABEL
from trm_jax.errors import UserError
from trm_jax.runtime import sharding
from trm_jax.tasks.maze.config import MazeData
from trm_jax.tasks.maze.task import MazeTask
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku import rules
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import attempts
from trm_jax.training import checkpoint
from trm_jax.training import evaluator as evaluator_lib
from trm_jax.training.train_step import Trainer

# Batches of another size round otherwise and the recursion amplifies it: of logits up to 7, by 2e-5 after T steps.
ROUNDING = 1e-4
T, N, S, V = 6, 21, 16, 6
BATCH = 8  # the last batch has five puzzles
NOT_COUNTED = 5  # the puzzle that has no label at all
TASK = SudokuTask(SudokuData(box=2))


def _config():
  return tiny.config(data__num_train=9, data__num_validation=0, data__num_test=N, model__H_cycles=2,
                     model__halt_max_steps=T, eval__batch_size=BATCH)


def _metrics(evaluation, puzzles):
  return evaluation.metrics() | TASK.score(puzzles, evaluation)


def _varied(state):
  """Random prefix rows and halting head, which start as zeros: all puzzles would look alike to them. And a network so
  weak that answers settle."""
  rng = np.random.default_rng(0)
  params = state.params | {"q_head": jnp.asarray(rng.normal(size=(8, 2)), jnp.float32), "q_head_bias": jnp.zeros(2),
                           "L_level": jax.tree.map(lambda weights: 0.3 * weights, state.params["L_level"])}
  table = {"puzzle_emb": jnp.asarray(rng.normal(size=state.prefix_table["puzzle_emb"].shape), jnp.float32)}
  return dataclasses.replace(state, params=params, prefix_table=table)


def _everywhere(source, devices=8):
  """Parameters on the first devices."""
  return jax.device_put(source, sharding.replicated(sharding.make_mesh(jax.devices()[:devices])))


def _evaluator(devices=8, get_model=lambda model: model, **kwargs):
  return evaluator_lib.Evaluator(get_model, TASK, mesh=sharding.make_mesh(jax.devices()[:devices]),
                                 **{"batch_size": BATCH, "max_puzzles": N} | kwargs)


@pytest.fixture(scope="module", name="trainer")
def _trainer():
  model = _config().model.sized(vocab_size=V, seq_len=S, num_puzzle_identifiers=2)
  return Trainer(model, _config().optimizer, mesh=sharding.make_mesh(), batch_size=8, total_steps=10)


@pytest.fixture(scope="module", name="state")
def _state(trainer):
  cells = jnp.zeros((8, S), jnp.int32)
  batch = {"inputs": cells, "labels": cells, "puzzle_identifiers": jnp.zeros(8, jnp.int32)}
  return _varied(jax.jit(trainer.init)(jax.random.key(0), batch))


@pytest.fixture(scope="module", name="model")
def _model(trainer, state):
  return trainer.model(state, averaged=False)


@pytest.fixture(scope="module", name="logits")
def _logits():
  """Logits (T, N, S, V) of the answers in `alone`, which fills them in."""
  return np.zeros((T, N, S, V))


@pytest.fixture(scope="module", name="alone")
def _alone(model, logits):
  """What the model makes of each puzzle on its own: inputs (N, S), answers (T, N, S), q_halt (T, N)."""
  made = generate.generate_splits(box=2, num_train=N, num_validation=0, num_test=0, num_clues=8, seed=0)
  inputs = made["train"].inputs
  step = jax.jit(lambda model, carry, batch: model(carry, batch))
  answers, q_halt = np.zeros((T, N, S), np.uint8), np.zeros((T, N), np.float32)
  for i in range(N):
    batch = {"inputs": jnp.asarray(inputs[i : i + 1], jnp.int32), "puzzle_identifiers": jnp.full(1, i % 2, jnp.int32)}
    carry = model.initial_carry(batch)
    for t in range(T):
      carry, outputs = step(model, carry, batch)
      logits[t, i] = outputs.logits[0]
      answers[t, i] = logits[t, i].argmax(-1)
      q_halt[t, i] = outputs.q_halt[0]
  return inputs, answers, q_halt


@pytest.fixture(scope="module", name="puzzles")
def _puzzles(alone):
  """Puzzles of which the model gets some right: labels made from its own answers."""
  inputs, answers, _ = alone
  labels = answers[-1].astype(np.int8)
  for i in range(N):
    if i % 3 == 1:
      labels[i, : 1 + i % 5] = (labels[i, : 1 + i % 5] + 1) % V  # some cells wrong
    if i % 4 == 0:
      labels[i, 2 : 2 + i % 7] = IGNORE_LABEL  # some not counted, right and wrong ones
  labels[NOT_COUNTED] = IGNORE_LABEL
  return puzzles_lib.Puzzles(
      inputs=inputs, labels=labels, puzzle_identifiers=np.arange(N, dtype=np.int32) % 2,
      group_starts=np.arange(N + 1, dtype=np.int32), vocab_size=V, num_puzzle_identifiers=2,
      ratings=(np.arange(N) ** 2 // 2).astype(np.int32))


@pytest.fixture(scope="module", name="evaluated")
def _evaluated(model, puzzles):
  """By number of devices: the Evaluation, and what its progress was told."""

  def run(devices):
    seen = []
    return _evaluator(devices).evaluate(_everywhere(model, devices), puzzles, lambda *done: seen.append(done)), seen

  return {devices: run(devices) for devices in (1, 8)}


@pytest.mark.parametrize("devices", [1, 8])
def test_whole_set_equals_one_puzzle_at_a_time(evaluated, alone, puzzles, devices):
  evaluation, progress = evaluated[devices]
  _, answers, q_halt = alone
  np.testing.assert_array_equal(evaluation.answers, answers[-1], strict=True)
  np.testing.assert_allclose(evaluation.q_halt, q_halt, atol=ROUNDING)
  np.testing.assert_array_equal(evaluation.counted_cells, (puzzles.labels != IGNORE_LABEL).sum(1))
  np.testing.assert_array_equal(evaluation.right_cells, (answers == puzzles.labels).sum(-1))
  assert progress == [(8, N), (16, N), (N, N)]
  assert (evaluation.steps == T).all() and evaluation.row_steps == 24 * T


def test_devices_make_no_difference(evaluated):
  one, eight = (evaluated[devices][0].metrics() for devices in (1, 8))
  for name in ("lm_loss", "q_halt_loss"):
    assert one.pop(name) == pytest.approx(eight.pop(name), abs=ROUNDING)
  assert one == eight


def _losses(alone, logits, puzzles, t, i):
  """lm_loss and q_halt_loss of a puzzle at one step, by the formulas of the paper's code."""
  cells = np.flatnonzero(puzzles.labels[i] != IGNORE_LABEL)
  s = np.where(logits[t, i] >= 0, logits[t, i] + 1, 1 / (1 - np.minimum(logits[t, i], 0)))
  p = s / s.sum(-1, keepdims=True)
  right = (alone[1][t, i, cells] == puzzles.labels[i, cells]).all()
  halt = 1 / (1 + np.exp(-np.float64(alone[2][t, i])))
  return np.mean(-np.log(p[cells, puzzles.labels[i, cells]])), -np.log(halt if right else 1 - halt)


@pytest.mark.parametrize("halting", [False, True])
def test_losses_of_the_last_step(model, alone, logits, puzzles, halts, evaluated, halting):
  """Means over puzzles; the one without a label counts in neither."""
  evaluation = evaluated[8][0]
  if halting:
    evaluation = _evaluator(stop="settled").evaluate(_everywhere(model), puzzles)
  last = halts if halting else np.full(N, T - 1)
  expected = np.array([_losses(alone, logits, puzzles, last[i], i) for i in range(N) if i != NOT_COUNTED])
  assert np.ptp(expected, axis=0).min() > 0.3  # they are not all alike
  metrics = evaluation.metrics()
  np.testing.assert_allclose([metrics["lm_loss"], metrics["q_halt_loss"]], expected.mean(0), atol=ROUNDING)


@pytest.fixture(scope="module", name="halts")
def _halts(alone):
  """The index of the step at which each puzzle halts, (N,)."""
  _, answers, q_halt = alone
  done = q_halt > 0
  done[1:] &= (answers[1:] == answers[:-1]).all(-1)
  done[0] = False
  assert done.any(0).sum() < (q_halt > 0).any(0).sum()  # both conditions matter
  return np.where(done.any(0), done.argmax(0), T - 1)


def _assert_ends_where_it_halts(evaluation, alone, puzzles, halts):
  _, answers, q_halt = alone
  assert len(set(halts)) > 3 and (halts < T - 1).sum() > N // 3
  each, so_far = np.arange(N), np.minimum(np.arange(T)[:, None], halts)
  np.testing.assert_array_equal(evaluation.steps, halts + 1)
  np.testing.assert_array_equal(evaluation.answers, answers[halts, each], strict=True)
  np.testing.assert_array_equal(evaluation.right_cells, (answers == puzzles.labels).sum(-1)[so_far, each])
  np.testing.assert_allclose(evaluation.q_halt, q_halt[so_far, each], atol=ROUNDING)


@pytest.mark.parametrize("devices", [1, 8])
def test_halting_keeps_what_each_puzzle_had_when_it_halted(model, alone, puzzles, halts, devices):
  seen = []
  evaluation = _evaluator(devices, stop="settled").evaluate(
      _everywhere(model, devices), puzzles, lambda *done: seen.append(done))
  _assert_ends_where_it_halts(evaluation, alone, puzzles, halts)
  assert seen == sorted(seen) and len(seen) == -(-evaluation.row_steps // (BATCH * T)) and seen[-1] == (N, N)
  assert evaluation.metrics()["steps"] == pytest.approx(np.delete(halts + 1, NOT_COUNTED).mean())
  if devices == 8:  # One row on each, which solves its puzzles one after the other.
    assert evaluation.row_steps == 8 * max((halts[i::8] + 1).sum() for i in range(8))
  else:
    assert (halts + 1).sum() <= evaluation.row_steps < (halts + 1).sum() + BATCH * T


def test_halting_with_split_matrices(trainer, state, alone, puzzles, halts):
  mesh = sharding.make_mesh(model=2)
  layout = sharding.state_shardings(mesh, state)
  assert any("model" in s.spec for s in jax.tree.leaves(layout.params))
  evaluator = evaluator_lib.Evaluator(lambda state: trainer.model(state, averaged=False), TASK, mesh=mesh,
                                      batch_size=BATCH, max_puzzles=N, stop="settled")
  _assert_ends_where_it_halts(evaluator.evaluate(jax.device_put(state, layout), puzzles), alone, puzzles, halts)


@pytest.mark.parametrize("halting", [False, True])
def test_sets_of_all_sizes_share_a_program(model, alone, halts, puzzles, halting):
  traced = []

  def get_model(model):
    traced.append(model)
    return model

  evaluator = _evaluator(get_model=get_model, max_puzzles=2 * N, stop="settled" if halting else "steps")
  steps = halts + 1 if halting else np.full(N, T)
  for size in (N, BATCH, 3, 1):
    evaluation = evaluator.evaluate(_everywhere(model), puzzles.take_groups(np.arange(size)))
    np.testing.assert_array_equal(evaluation.steps, steps[:size])
    np.testing.assert_array_equal(evaluation.answers, alone[1][steps - 1, np.arange(N)][:size], strict=True)
  assert len(traced) == 2  # one for `start`, one for `call`


def test_metrics_by_hand(evaluated, alone, puzzles):
  _, answers, q_halt = alone
  counted = [i for i in range(N) if i != NOT_COUNTED]

  def shares(t, i):
    cells = [s for s in range(S) if puzzles.labels[i, s] != IGNORE_LABEL]
    return sum(answers[t, i, s] == puzzles.labels[i, s] for s in cells) / len(cells)

  def mean(values):
    return pytest.approx(sum(values) / len(values), abs=1e-9)

  evaluation = evaluated[8][0]
  metrics = evaluation.metrics() | TASK.score(puzzles, evaluation)
  assert metrics["num_puzzles"] == N - 1
  for t in range(T):
    assert metrics["by_step"]["accuracy"][t] == mean([shares(t, i) for i in counted])
    assert metrics["by_step"]["exact_accuracy"][t] == mean([shares(t, i) == 1 for i in counted])
  assert metrics["accuracy"] == metrics["by_step"]["accuracy"][-1]
  assert metrics["exact_accuracy"] == metrics["by_step"]["exact_accuracy"][-1]
  assert (metrics["steps"], metrics["row_steps"]) == (T, 24 * T)
  assert metrics["q_halt_accuracy"] == mean([(q_halt[-1, i] >= 0) == (shares(-1, i) == 1) for i in counted])
  # Nothing of this may hold by accident.
  assert 0.3 < metrics["exact_accuracy"] < 0.9 < metrics["accuracy"] < 1
  assert 0.1 < metrics["q_halt_accuracy"] < 0.9
  assert len(set(metrics["by_step"]["accuracy"])) == T
  buckets = {"0": (0, 0), "1-9": (1, 9), "10-29": (10, 29), "30-99": (30, 99), "100+": (100, 10**9)}
  assert list(metrics["by_rating"]) == list(buckets)
  for name, (low, high) in buckets.items():
    rows = [i for i in counted if low <= puzzles.ratings[i] <= high]
    assert metrics["by_rating"][name] == {
        "num_puzzles": len(rows), "exact_accuracy": mean([shares(-1, i) == 1 for i in rows])}
  assert json.loads(json.dumps(metrics)) == metrics


def test_buckets_that_are_empty_or_unknown_are_left_out(evaluated, puzzles):
  easy = TASK.score(dataclasses.replace(puzzles, ratings=np.full(N, 3, np.int32)), evaluated[1][0])
  assert list(easy["by_rating"]) == ["1-9"] and easy["by_rating"]["1-9"]["num_puzzles"] == N - 1
  assert TASK.score(dataclasses.replace(puzzles, ratings=None), evaluated[1][0]) == {}


def test_puzzles_with_other_numbers_of_clues_are_reported_apart(evaluated, puzzles):
  evaluation, inputs = evaluated[8][0], puzzles.inputs.copy()
  easier = [i for i in range(0, N, 3)]
  for i in easier:
    inputs[i, np.flatnonzero(inputs[i] == rules.BLANK)[:2]] = 2
  found = TASK.score(dataclasses.replace(puzzles, inputs=inputs, ratings=None), evaluation)
  expected = {clues: evaluation.exact[[i for i in range(N) if (i in easier) == more and i != NOT_COUNTED]]
              for clues, more in (("8", False), ("10", True))}
  assert found == {"by_clues": {clues: {"num_puzzles": len(exact), "exact_accuracy": pytest.approx(exact.mean())}
                                for clues, exact in expected.items()}}


def test_batch_size_is_rounded_up_to_the_devices():
  mesh = sharding.make_mesh()
  for size, rounded in ((1, 8), (8, 8), (9, 16)):
    made = attempts.Attempter(lambda m: m, TASK, mesh=mesh, batch_size=size, max_puzzles=1)
    assert made.batch_size == rounded


def test_attempt_shows_every_step(model, alone, puzzles):
  inputs, answers, q_halt = alone
  attempt = attempts.every_answer(model, TASK, puzzles, batch_size=BATCH)
  np.testing.assert_array_equal(attempt.answers, answers, strict=True)
  np.testing.assert_allclose(attempt.q_halt, q_halt, atol=ROUNDING)


class _Ruled(SudokuTask):
  """A task by whose rules an answer is right if its first two cells differ."""

  def solves(self, inputs, answers):
    return answers[..., 0] != answers[..., 1]


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("stop", ["converged", "still", "proven"])
def test_an_attempt_ends_by_its_rule(model, alone, puzzles, stop, devices, monkeypatch):
  inputs, answers, _ = alone
  task = _Ruled(TASK.data)
  moved = _moves(model, puzzles)
  threshold = float(np.sort(moved[2])[N // 2 : N // 2 + 2].mean())  # between two puzzles
  monkeypatch.setattr(attempts, "STILL_BELOW", threshold)
  made = attempts.Attempter(lambda model: model, task, mesh=sharding.make_mesh(jax.devices()[:devices]),
                            batch_size=BATCH, max_puzzles=N, stop=stop).attempt(_everywhere(model, devices), puzzles)

  def ends(t, i):
    if stop == "proven":
      return task.solves(inputs[i], answers[t, i])
    if stop == "still":
      return moved[t, i] < threshold
    return t > 0 and (answers[t, i] == answers[t - 1, i]).all()

  steps = np.array([next((t + 1 for t in range(T) if ends(t, i)), T) for i in range(N)])
  assert len(set(steps)) > (1 if stop == "still" else 2)  # some end early, and not all at once
  np.testing.assert_array_equal(made.steps, steps)
  np.testing.assert_array_equal(made.answers, answers[steps - 1, np.arange(N)], strict=True)


def _moves(model, puzzles):
  """(T, N), how far the state z_H moves in each step: of all puzzles in one batch, outside of any Attempter."""
  batch = {"inputs": jnp.asarray(puzzles.inputs, jnp.int32), "puzzle_identifiers": puzzles.puzzle_identifiers}
  carry, moved = model.refill(model.initial_carry(batch), batch), []
  for _ in range(T):
    before = np.asarray(carry.z_H)
    carry, _ = model.supervision_step(carry, model.prefix_rows(batch), None)
    moved.append(np.sqrt(((np.asarray(carry.z_H) - before) ** 2).mean((1, 2))))
  return np.stack(moved)


class _Unruled(SudokuTask):
  checked = ""


def test_attempts_that_there_are_not(model, puzzles):
  unruled, plain = _Unruled(TASK.data), tasks.Task(TASK.data)
  plain.name = "plain"
  maze = MazeTask(MazeData(rows=3, columns=4, num_aug=0))
  for kwargs, task, message in (
      ({"stop": "never"}, TASK, "^stop = 'never': must be one of steps, settled, converged, still, proven$"),
      ({"stop": "proven"}, unruled, "has no rules that tell whether an answer is right"),
      ({"steps": 0}, TASK, "^steps = 0: must be at least 1$"),
      ({"rollouts": 0}, TASK, "^rollouts = 0: must be at least 1$"),
      ({"versions": -1}, TASK, "^versions = -1: must be at least 0$"),
      ({"noise": -0.1}, TASK, "^noise = -0.1: must be 0 or more, and finite$"),
      ({"versions": 1}, plain, "^plain has no augmented versions; "),
      ({"versions": 4}, maze, "^versions = 4: maze-3x4 has 3 besides the puzzle itself$")):
    with pytest.raises(UserError, match=message):
      attempts.Attempter(lambda m: m, task, mesh=sharding.make_mesh(), batch_size=8, max_puzzles=1, **kwargs)
  with pytest.raises(UserError, match="^rollouts = 2: all would be the same; add noise"):
    _evaluator(rollouts=2).evaluate(_everywhere(model), puzzles)


def test_more_steps_than_the_model_was_trained_for(model, puzzles, evaluated):
  seen = _evaluator(steps=2 * T).evaluate(_everywhere(model), puzzles)
  assert model.config.halt_max_steps == T and (seen.steps == 2 * T).all() and seen.right_cells.shape == (2 * T, N)
  np.testing.assert_array_equal(seen.right_cells[:T], evaluated[8][0].right_cells)
  assert (seen.answers != evaluated[8][0].answers).any()
  np.testing.assert_array_equal(_evaluator(steps=2).evaluate(_everywhere(model), puzzles).right_cells,
                                seen.right_cells[:2])


@pytest.fixture(scope="module", name="thought")
def _thought(model, puzzles):
  """By number of devices: the Evaluator and the Evaluation of two versions x three rollouts at each puzzle."""

  def run(devices):
    evaluator = _evaluator(devices, versions=1, rollouts=3, noise=0.5, batch_size=16)
    return evaluator, evaluator.evaluate(_everywhere(model, devices), puzzles)

  return {devices: run(devices) for devices in (1, 8)}


def test_noise_is_the_same_wherever_it_is_made(thought, model, puzzles, alone):
  one, eight = (thought[devices][1] for devices in (1, 8))
  np.testing.assert_array_equal(one.answers, eight.answers)
  np.testing.assert_allclose(one.residuals, eight.residuals, atol=ROUNDING)
  assert one.attempts == 6 and one.row_steps == 8 * 16 * T  # 126 attempts
  of_puzzles = one.answers.reshape(N, 2, 3, S)
  differ = (of_puzzles[:, :, 1:] != of_puzzles[:, :, :1]).any(-1).mean()
  assert 0.2 < differ  # rollouts
  assert (of_puzzles[:, 0, 0] != alone[1][-1]).any()
  # Each attempt and step has a key of its own.
  attempter, numbers = thought[1][0].attempter, jnp.arange(6 * N)
  data = attempter._data(puzzles)
  keys = [attempter._keys(data, numbers, steps) for steps in (None, numbers * 0, numbers * 0 + 1)]
  assert len(np.unique(np.concatenate([jax.random.key_data(k) for k in keys]), axis=0)) == 3 * 6 * N
  # The first rollouts are the same however many there are. And there may be one.
  fewer = _evaluator(versions=1, rollouts=1, noise=0.5).evaluate(_everywhere(model), puzzles)
  np.testing.assert_array_equal(fewer.answers.reshape(N, 2, S), of_puzzles[:, :, 0])


def _begun_at_random(model):
  """The model with random initial states."""
  model.config = dataclasses.replace(model.config, random_init=True)
  return model


def test_rollouts_begin_from_random_initial_states(model, puzzles):
  """Of a model that was trained with them, without noise; here all rows at once, outside of any Attempter."""
  evaluator = _evaluator(get_model=_begun_at_random, steps=2, rollouts=3)
  made = evaluator.evaluate(_everywhere(model), puzzles).answers.reshape(N, 3, S)
  alone = _begun_at_random(nnx.clone(model))
  batch = {name: jnp.repeat(jnp.asarray(getattr(puzzles, name), jnp.int32), 3, axis=0)
           for name in ("inputs", "puzzle_identifiers")}
  keys = evaluator.attempter._keys(evaluator.attempter._data(puzzles), jnp.arange(3 * N), None)
  carry = alone.refill(alone.initial_carry(batch), batch, keys)
  for _ in range(2):
    carry, outputs = alone.supervision_step(carry, alone.prefix_rows(batch), None)
  np.testing.assert_array_equal(made.reshape(-1, S), outputs.logits.argmax(-1))
  assert 0.2 < (made[:, 1:] != made[:, :1]).any(-1).mean()
  fewer = _evaluator(get_model=_begun_at_random, steps=2, rollouts=2).evaluate(_everywhere(model), puzzles)
  np.testing.assert_array_equal(fewer.answers.reshape(N, 2, S), made[:, :2])


def test_attempts_are_chosen_among(thought, puzzles):
  evaluator, evaluation = thought[1]
  back = evaluator.attempter.put_back(puzzles, np.arange(6 * N), evaluation.answers)
  # Counted here in another way: of the answers to the puzzles, as they were put back.
  labels = np.repeat(puzzles.labels, 6, axis=0)
  exact = ((back == labels) | (labels == IGNORE_LABEL)).all(-1)
  np.testing.assert_array_equal(exact, evaluation.exact)
  counted = np.delete(np.arange(N), NOT_COUNTED)
  chosen, tables = evaluator.choose(puzzles, evaluation, "halting")
  surest = evaluation.q_halt[-1].reshape(N, 6).argmax(1)
  np.testing.assert_array_equal(chosen.answers, back.reshape(N, 6, S)[np.arange(N), surest])
  np.testing.assert_array_equal(chosen.exact, exact.reshape(N, 6)[np.arange(N), surest])
  assert chosen.metrics()["exact_accuracy"] == exact.reshape(N, 6)[counted, surest[counted]].mean()
  assert chosen.metrics()["row_steps"] == evaluation.row_steps and chosen.attempts == 1
  assert {way: row["exact_accuracy"] for way, row in tables["by_choice"].items()} == {
      "count": evaluator.choose(puzzles, evaluation)[0].metrics()["exact_accuracy"],
      "halting": chosen.metrics()["exact_accuracy"],
      "convergence": evaluator.choose(puzzles, evaluation, "convergence")[0].metrics()["exact_accuracy"]}
  least = evaluation.residuals[-1].reshape(N, 6).argmin(1)
  np.testing.assert_array_equal(evaluator.choose(puzzles, evaluation, "convergence")[0].answers,
                                back.reshape(N, 6, S)[np.arange(N), least])
  assert tables["by_check"] == {  # no grid is valid
      "proof": {"num_puzzles": N - 1, "exact_accuracy": tables["by_choice"]["count"]["exact_accuracy"]},
      "pass@6": {"num_puzzles": N - 1, "exact_accuracy": exact.reshape(N, 6)[counted].any(1).mean()}}


def test_the_first_attempts_are_chosen_among(thought, puzzles):
  evaluator, evaluation = thought[1]
  chosen, tables = evaluator.choose(puzzles, evaluation, first=1)
  np.testing.assert_array_equal(chosen.exact, evaluation.exact.reshape(N, 6)[:, 0])
  assert tables["by_check"]["pass@1"]["exact_accuracy"] == chosen.metrics()["exact_accuracy"]


def test_one_attempt_leaves_nothing_to_choose(evaluated, puzzles):
  evaluation = evaluated[1][0]
  assert evaluation.residuals is None
  assert _evaluator(1).choose(puzzles, evaluation) == (evaluation, {})


def test_hardest_solved():
  def hardest(*right):
    """Right answers by puzzle and step, as strings of 0 and 1."""
    answers = np.array([[[int(r[t])] * 4 for r in right] for t in range(len(right[0]))], np.uint8)
    return evaluator_lib.hardest_solved(answers, np.ones((len(right), 4), np.int8))

  assert hardest("1111", "0111", "0011", "0000") == 2
  assert hardest("1111", "1101", "0111") == 2  # found late, not lost and found again
  assert hardest("1110", "0000", "1111") == 2  # lost at the end: not solved
  assert hardest("0000", "1110") == 0  # none is solved
  answers, labels = np.ones((2, 2, 4), np.uint8), np.ones((2, 4), np.int8)
  answers[0, 1, 2], answers[:, 1, 3], labels[1, 3] = 0, 0, IGNORE_LABEL
  assert evaluator_lib.hardest_solved(answers, labels) == 1  # what has no label is not looked at


@pytest.fixture(name="saved")
def _saved(tmp_path, trainer, state):
  """A run's folder with a checkpoint of the random model; its config asks for generated puzzles."""
  run = {"config": config_lib.to_dict(_config()), "total_steps": 10,
         "data": {"vocab_size": V, "seq_len": S, "num_puzzle_identifiers": 2}}
  checkpoints = checkpoint.Checkpoints(tmp_path / "run" / "checkpoints")
  checkpoints.save(7, state, run)
  checkpoints.wait()
  checkpoints.close()
  return tmp_path / "run"


def test_a_checkpoint_is_evaluated_on_all_devices_and_on_any_data(saved, trainer, state, tmp_path, capsys):
  evaluator = _evaluator(get_model=lambda state: trainer.model(state, averaged=True), max_puzzles=30)
  own = splits_lib.load_test(SudokuTask(_config().data))
  metrics = evaluate.run(str(saved), None)
  assert metrics["num_puzzles"] == N and metrics == _metrics(evaluator.evaluate(_everywhere(state), own), own)

  assert "steps a puzzle" not in capsys.readouterr().out
  metrics = evaluate.run(str(saved), None, batch_size=2 * BATCH, stop="settled")
  assert metrics["row_steps"] == 32 * T and metrics["steps"] == T  # it is as unsure as a new model
  assert f", {T:.2f} steps a puzzle (" in capsys.readouterr().out

  metrics = evaluate.run(str(saved), None, rollouts=2, noise=2.0, steps=2, choose="halting")
  thinker = _evaluator(get_model=lambda state: trainer.model(state, averaged=True), rollouts=2, noise=2.0, steps=2)
  evaluation = thinker.evaluate(_everywhere(state), own)
  chosen, tables = thinker.choose(own, evaluation, "halting")
  assert metrics == _metrics(chosen, own) | tables | {"attempts": 2, "passes": 4.0}
  printed = capsys.readouterr().out
  assert ", 2 attempts and 4.0 passes a puzzle" in printed
  assert [line.split()[0] for line in printed.splitlines()[4:-1]] == [
      "choice", "count", "halting", "convergence", "check", "proof", "pass@2"]

  ratings = np.arange(30, dtype=np.int32)
  made = generate.generate_splits(box=2, num_train=0, num_validation=0, num_test=30, num_clues=9, seed=5)["test"]
  made = dataclasses.replace(made, ratings=ratings)
  csv_files.write_csv(tmp_path / "test.csv", made, source="made")
  capsys.readouterr()
  metrics = evaluate.run(str(saved), str(tmp_path))
  assert metrics["num_puzzles"] == 30 and metrics == _metrics(evaluator.evaluate(_everywhere(state), made), made)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith(f"step 7 on 30 puzzles of {tmp_path}: ")
  assert [line.split()[0] for line in lines[2 : 2 + T]] == [str(t + 1) for t in range(T)]  # supervision steps
  assert [line.split()[0] for line in lines[3 + T : -1]] == ["0", "1-9", "10-29"]  # ratings
  assert json.loads(lines[-1]) == {"step": 7} | metrics


def test_other_data_is_evaluated_whole(saved, monkeypatch):
  asked = []

  def stop(task, progress):
    del progress
    asked.append((task.data.source, task.data.num_test))
    raise UserError("stop")

  monkeypatch.setattr(splits_lib, "load_test", stop)
  for source in (None, "folder", "generated"):
    with pytest.raises(UserError, match="stop"):
      evaluate.run(str(saved), source)
  assert asked == [("generated", N), ("folder", 0), ("generated", N)]


def test_puzzles_of_a_run_that_are_not_here_can_be_named_by_data(saved, tmp_path):
  config = dataclasses.replace(_config(), data=dataclasses.replace(_config().data, source="theirs/data"))
  loaded = weights.load(str(saved))
  weights.save(loaded.model, config, tmp_path / "downloaded")
  with pytest.raises(UserError, match=(
      r"^config.data.source = 'theirs/data': no such folder; .*; .*/downloaded had its puzzles there, and "
      "--data=FOLDER says where they are now$")):
    evaluate.run(str(tmp_path / "downloaded"), None)
  with pytest.raises(UserError, match="^config.data.source = 'nor/here': no such folder; [^;]*$"):
    evaluate.run(str(tmp_path / "downloaded"), "nor/here")
  with pytest.raises(UserError, match="^config.data.source = 'nor/here': no such folder; [^;]*$"):
    evaluate.run(str(tmp_path / "downloaded"), None, data_changes={"source": "nor/here"})


def test_a_checkpoint_on_data_it_was_not_made_for(saved, tmp_path):
  made = generate.generate_splits(box=3, num_train=0, num_validation=0, num_test=1, num_clues=70, seed=0)["test"]
  csv_files.write_csv(tmp_path / "test.csv", made, source="made")
  with pytest.raises(UserError, match="test.csv, line 2: the question has 81 characters, must have 16"):
    evaluate.run(str(saved), str(tmp_path))


def test_a_checkpoint_that_knows_fewer_identifiers(saved, tmp_path, monkeypatch):
  more = dataclasses.replace(splits_lib.load_test(SudokuTask(_config().data)), num_puzzle_identifiers=3)
  monkeypatch.setattr(splits_lib, "load_test", lambda task, progress: more)
  with pytest.raises(UserError, match="^folder: 3 puzzle identifiers, the model has 2$"):
    evaluate.run(str(saved), "folder")


def test_a_row_does_not_compare_its_puzzle_with_the_one_before(model, alone, puzzles, halts):
  """Copies of one puzzle, whose first answer is what the copy before it ended with."""
  sure_at_once = (halts == 1) & (alone[2][0] > 0)
  assert sure_at_once.any()
  copies = puzzles.take_groups(np.full(2 * BATCH, sure_at_once.argmax()))
  evaluation = _evaluator(stop="settled").evaluate(_everywhere(model), copies)
  np.testing.assert_array_equal(evaluation.steps, np.full(2 * BATCH, 2))
