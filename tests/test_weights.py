# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Weights that are saved without a training state, as an import saves them."""

from flax import nnx
import jax
import numpy as np
import pytest
import tiny

from trm_jax import evaluate
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.model.trm import TRM
from trm_jax.runtime import sharding


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
