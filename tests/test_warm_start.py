# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Runs that begin with the weights of another one. test_loop.py has a whole one, because it has a run to begin with."""

import contextlib
import dataclasses

import chex
import jax
import numpy as np
import pytest
import tiny

from trm_jax import config as config_lib
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.runtime import sharding
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.task import ArcTask
from trm_jax.training import checkpoint
from trm_jax.training import identity
from trm_jax.training import program
from trm_jax.training import warm_start

GOLDEN = tiny.GOLDEN_ARC

pytestmark = pytest.mark.usefixtures("own_cache")


def _begin(devices, config):
  """The state before the first step of a run, and what is said of it."""
  task = ArcTask(config.data)
  train = splits_lib.load(task).train
  mesh = sharding.make_mesh(jax.devices()[:devices])
  made = program.Program(config, task, Sizes.of(train), mesh)
  state = made.init(np.uint32(config.seed), rows_lib.to_device(
      rows_lib.Source.of(task.arrays(train), train), sharding.replicated(mesh)))
  said = ""
  if config.init_from:
    state, said = warm_start.begin(config, task, made, state, identity.rows_digest(task))
  assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(lambda x: x.sharding, made.state)
  return task, state, said


def _save(folder, config, state, **run):
  sizes = {"vocab_size": 12, "seq_len": 900, "num_puzzle_identifiers": ArcTask(config.data).num_puzzle_identifiers}
  with contextlib.closing(checkpoint.Checkpoints(folder / "checkpoints")) as checkpoints:
    checkpoints.save(3, state, {"config": config_lib.to_dict(config), "data": sizes, "total_steps": 4,
                                "rows": identity.rows_digest(ArcTask(config.data))} | run)
    checkpoints.wait()


@pytest.fixture(scope="module", name="trained")
def _trained(tmp_path_factory):
  """A run's folder with a checkpoint whose average and prefix table are of random numbers, and its state."""
  config = tiny.arc()
  _, state, _ = _begin(1, config)
  rng = np.random.default_rng(0)

  def drawn(x):
    return jax.device_put(rng.normal(size=x.shape).astype(np.float32), x.sharding)

  state = state.replace(ema=jax.tree.map(drawn, state.ema), prefix_table=jax.tree.map(drawn, state.prefix_table))
  folder = tmp_path_factory.mktemp("trained")
  _save(folder, config, state)
  return folder, jax.device_get(state)


def test_the_same_puzzles_take_over_everything(trained):
  """Onto other devices; what belongs to the steps begins anew."""
  folder, before = trained
  _, state, said = _begin(8, tiny.arc(init_from=str(folder), seed=5))
  assert said == (f"begins with the averaged weights of step 3 of {folder}; 313 of 313 rows of the prefix table are "
                  "taken from it")
  chex.assert_trees_all_equal(jax.device_get(state.params), before.ema)
  chex.assert_trees_all_equal(jax.device_get((state.ema, state.initial, state.prefix_table)),
                              (before.ema, before.initial, before.prefix_table))
  assert state.step == 0 and not any(np.asarray(x).any() for x in jax.tree.leaves(state.opt_state))


@pytest.mark.parametrize("init_rows", ["zero", "mean"])
def test_rows_are_carried_over_by_name(trained, init_rows, monkeypatch):
  """Other versions are drawn, so that the same names have other numbers; in portions that do not divide them."""
  monkeypatch.setattr(warm_start, "_ROWS", 7)
  folder, before = trained
  named = []
  row_names = ArcTask.row_names
  monkeypatch.setattr(ArcTask, "row_names", lambda task: named.append(task.data.seed) or row_names(task))
  task, state, said = _begin(8, tiny.arc(init_from=str(folder), data__seed=1, init_rows=init_rows))
  assert named == [1, 42, 1]  # for the digest, then to compare: there may be a million
  old = before.prefix_table["puzzle_emb"]
  names, table = ArcTask(tiny.arc().data).row_names(), np.asarray(state.prefix_table["puzzle_emb"])
  others = old[: len(names)].mean(0) if init_rows == "mean" else np.zeros(old.shape[1])
  carried = 0
  for name, row in zip(task.row_names(), table):
    if name and name in names:
      carried += 1
      np.testing.assert_array_equal(row, old[names.index(name)])
    else:
      np.testing.assert_allclose(row, others, atol=1e-6)
  assert 24 <= carried < len(names) and f"; {carried} of {len(task.row_names())} rows of the prefix table are" in said
  assert said.endswith(f"the others begin {'at zero' if init_rows == 'zero' else 'with the mean of its rows'}")


def test_what_does_not_fit_is_refused_in_one_line(trained, tmp_path):
  folder, before = trained
  for changes, message in (
      ({"model__hidden_size": 16}, r"its model has other sizes: .* there and .* here \(model.hidden_size = 8 there and "
                                   r"16 here\); give this run the same config.model"),
      ({"model__mlp_t": True, "model__pos_encodings": "none", "data__side": 29},
       r" here \(cells 900 there and 841 here, model.mlp_t = False there and True here, model.pos_encodings = "),
      ({"init_from": str(tmp_path)}, f"config.init_from={tmp_path}: no checkpoint here; give a run's folder"),
      ({"init_from": f"{folder}/checkpoints/7"}, "no checkpoint here; give a run's folder")):
    with pytest.raises(UserError, match=message) as e:
      _begin(1, tiny.arc(**{"init_from": str(folder)} | changes))
    assert "\n" not in str(e.value)


def test_names_are_needed_from_the_puzzles_of_before(trained, tmp_path):
  """They are not in the checkpoint but follow from its puzzles."""
  folder, before = trained
  gone = dataclasses.replace(tiny.arc(), data=ArcData(source=str(tmp_path / "gone"), num_aug=12))
  state = jax.tree.map(jax.numpy.asarray, before)
  sizes = {"vocab_size": 12, "seq_len": 900, "num_puzzle_identifiers": 313}
  for number, (config, message) in enumerate((
      (gone, "to carry rows of its prefix table over by name, the puzzles that it was trained on are needed at .*"
             r"gone', where that run had them; put them there, or a symbolic link to them \(config.data.source = .*no such"),
      (tiny.arc(data__seed=2), "are needed, and .* does not give the same any more"))):
    place = tmp_path / str(number) / "run"
    with contextlib.closing(checkpoint.Checkpoints(place / "checkpoints")) as checkpoints:
      checkpoints.save(3, state, {"config": config_lib.to_dict(config), "data": sizes, "total_steps": 4, "rows": "abc"})
      checkpoints.wait()
    with pytest.raises(UserError, match=message):
      _begin(1, tiny.arc(init_from=str(place), data__seed=1))


@pytest.mark.parametrize("changes, message", [
    ({"optimizer__train": "prefix", "model__puzzle_emb_ndim": 0, "model__puzzle_emb_len": 0},
     "config.optimizer.train = 'prefix': a model with config.model.puzzle_emb_ndim = 0 has no prefix"),
    ({"init_rows": "mean"}, "config.init_rows = 'mean': needs config.init_from, whose rows it averages")])
def test_knobs_that_mean_nothing_are_refused(changes, message):
  with pytest.raises(UserError, match=f"^{message}$"):
    tiny.config(**changes)
