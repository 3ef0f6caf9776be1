# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Weights that are saved without a training state, as an import saves them."""

from flax import nnx
import jax
import numpy as np
import pytest
import test_load
import tiny

from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.data import puzzles as puzzles_lib
from trm_jax.data import splits
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.runtime import sharding
from trm_jax.solve import Solver


def _model(config, seed=0):
  return TRM(config.model.sized(vocab_size=6, seq_len=16, num_puzzle_identifiers=1), rngs=nnx.Rngs(seed))


@pytest.fixture(name="saved")
def _saved(tmp_path):
  """(config, model, folder)."""
  config = tiny.config()
  model = _model(config)
  weights.save(model, config, tmp_path / "imported", step=7)
  return config, model, tmp_path / "imported"


def _assert_equal(model, other):
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True),
               nnx.to_pure_dict(nnx.state(model)), nnx.to_pure_dict(nnx.state(other)))


@pytest.mark.parametrize("devices", [1, 8])
def test_what_is_saved_is_loaded(saved, devices):
  config, model, folder = saved
  loaded = weights.load(str(folder), sharding.make_mesh(jax.devices()[:devices]))
  assert (loaded.config, loaded.step, loaded.folder) == (config, 7, folder)
  assert loaded.model.config == model.config
  _assert_equal(loaded.model, model)
  assert not np.array_equal(loaded.model.L_level.layers[0].mlp.down[...],
                            _model(config, seed=1).L_level.layers[0].mlp.down[...])


def test_it_is_evaluated_like_a_run(saved):
  *_, folder = saved
  assert evaluate.run(str(folder), None)["num_puzzles"] == 8


def test_nothing_is_written_over(saved):
  config, _, folder = saved
  with pytest.raises(UserError, match="step 7"):
    weights.save(_model(config, seed=1), config, folder, step=7)
  _assert_equal(weights.load(str(folder)).model, saved[1])


def _mazes(folder, **model):
  """Untrained weights for mazes of 4 x 5 cells."""
  config = tiny.maze(**{f"model__{name}": value for name, value in model.items()})
  model = TRM(config.model.sized(vocab_size=6, seq_len=20, num_puzzle_identifiers=1), rngs=nnx.Rngs(0))
  weights.save(model, config, folder)
  return model


def test_attention_with_rope_takes_puzzles_of_other_sizes(tmp_path):
  trained = _mazes(tmp_path)
  loaded = weights.load(str(tmp_path), data_changes={"rows": 7})
  assert loaded.task.shape == (7, 5) and loaded.model.config.seq_len == 35
  _assert_equal(loaded.model, trained)
  metrics = evaluate.run(str(tmp_path), None, data_changes={"rows": 7, "num_test": 3}, steps=4)
  assert metrics["num_puzzles"] == 3 and len(metrics["by_step"]["accuracy"]) == 4
  solver = Solver.load(tmp_path, data_changes={"rows": 7})
  assert [len(answer.cells) for answer in solver(["S" + 33 * " " + "G"])] == [35]
  with pytest.raises(UserError, match="^S.*: 20 characters, but maze-7x5 has 35 cells"):
    solver(["S" + 18 * " " + "G"])


@pytest.mark.parametrize("model, why", [
    ({"mlp_t": True, "pos_encodings": "none"}, "its MLP over tokens has"),
    ({"pos_encodings": "learned"}, "its learned positions have")])
def test_other_models_have_puzzles_of_one_size(tmp_path, model, why):
  _mazes(tmp_path, **model)
  assert weights.load(str(tmp_path), data_changes={"min_path": 2}).config.data.min_path == 2
  with pytest.raises(UserError, match=f"^maze-7x5 has 35 cells, the model 20: {why} weights for each cell; only"):
    weights.load(str(tmp_path), data_changes={"rows": 7})


_OTHER_SIZE = "has 35 characters, must have 20 (4 x 5 cells); "
_PER_CELL = "the model takes no puzzles of other sizes: its {} weights for each cell"


@pytest.mark.parametrize("model, advice", [
    ({}, "if the puzzles have another size than those of the model's run, state it by --set=data.rows=… "
         "--set=data.columns=…"),
    ({"mlp_t": True, "pos_encodings": "none"}, _PER_CELL.format("MLP over tokens has")),
    ({"pos_encodings": "learned"}, _PER_CELL.format("learned positions have"))])
def test_puzzles_of_another_size_are_said_to_be_possible_or_not(tmp_path, solve, model, advice):
  _mazes(tmp_path / "run", **model)
  (tmp_path / "large").mkdir()
  (tmp_path / "large" / "test.csv").write_text(f"question,answer\nS{33 * ' '}G,S{33 * 'o'}G\n")
  large = str(tmp_path / "large")
  with pytest.raises(UserError) as e:
    evaluate.run(str(tmp_path / "run"), large)
  assert str(e.value) == f"{large}/test.csv, line 2: the question {_OTHER_SIZE}{advice}"
  assert solve(Solver.load(tmp_path / "run", data=large), f"--data={large}")[::2] == (2, f"error: {e.value}\n")


@pytest.mark.parametrize("changes, message", [
    ({"row": 7}, "^config.data.row: no such field; did you mean data.rows"),
    ({"rows": 1}, "^config.data.rows = 1: must be at least 2"),
    ({"rows": "many"}, "^config.data.rows = 'many': must be of type int")])
def test_changes_of_the_data_that_there_are_not(tmp_path, changes, message):
  _mazes(tmp_path)
  with pytest.raises(UserError, match=message):
    weights.load(str(tmp_path), data_changes=changes)


def test_another_vocabulary_is_none_that_the_model_reads(tmp_path):
  config = tiny.config()
  weights.save(_model(config), config, tmp_path)
  with pytest.raises(UserError, match="^sudoku-9x9 has 11 tokens, the model 6: it cannot read such puzzles"):
    weights.load(str(tmp_path), data_changes={"box": 3})


def test_changes_belong_to_the_puzzles_that_are_named(tmp_path):
  made = config_lib.default_config("grid")
  made.model = tiny.values(model__mlp_t=False, model__pos_encodings="rope").model
  made.update(epochs=0, steps=4)
  made.data.source = str(tmp_path / "on_another_machine")
  config = config_lib.parse(made)
  weights.save(_model(config), config, tmp_path / "run")
  cells = np.random.default_rng(0).integers(1, 6, (5, 25))
  boards = puzzles_lib.one_group_each(cells.astype(np.uint8), cells.astype(np.int8), vocab_size=6)
  here = str(test_load.write_reference(tmp_path / "here", {"train": boards, "test": boards}))
  task = Solver.load(tmp_path / "run", data=here, data_changes={"rows": 5, "columns": 5, "num_test": 2}).task
  assert task.shape == (5, 5) and len(splits.load_test(task)) == 2
  with pytest.raises(UserError, match="^--data=.*here and --set=data.source=x: both name puzzles; leave one out"):
    evaluate.run(str(tmp_path / "run"), here, data_changes={"source": "x"})
