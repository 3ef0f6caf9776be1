# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What is laid out how.

`python tests/test_sharding.py` writes golden/shardings.txt; look at the diff.
"""

import dataclasses
import difflib
import pathlib

import jax
from jax.sharding import AbstractMesh, PartitionSpec as P
import numpy as np
import pytest

from trm_jax.config import OptimizerConfig
from trm_jax.errors import UserError
from trm_jax.model import TRMConfig
from trm_jax.runtime import sharding
from trm_jax.training.train_step import Trainer

GOLDEN = pathlib.Path(__file__).parent / "golden" / "shardings.txt"
SUDOKU = TRMConfig(vocab_size=11, seq_len=81)
ATTENTION = TRMConfig(vocab_size=12, seq_len=900, num_puzzle_identifiers=5_000, mlp_t=False, pos_encodings="rope")
# title, model, batch size, devices along data, devices along model
CASES = [
    ("Sudoku, 1 device", SUDOKU, 768, 1, 1),
    ("Sudoku, 8 devices", SUDOKU, 768, 8, 1),
    ("Sudoku, 32 devices as 8 data x 4 model", SUDOKU, 1024, 8, 4),
    ("attention with 5,000 identifiers, 32 devices", ATTENTION, 1024, 32, 1),
    ("attention with 5,000 identifiers, 32 devices as 16 data x 2 model", ATTENTION, 1024, 16, 2),
]


def abstract_state(model, batch_size):
  mesh = sharding.make_mesh(jax.devices()[:1])
  trainer = Trainer(model, OptimizerConfig(), mesh=mesh, batch_size=batch_size, total_steps=10)
  cells = jax.ShapeDtypeStruct((batch_size, model.seq_len), "int32")
  batch = {"inputs": cells, "labels": cells, "puzzle_identifiers": jax.ShapeDtypeStruct((batch_size,), "int32")}
  return jax.eval_shape(trainer.init, jax.random.key(0), batch)


def all_shardings() -> str:
  sections = []
  for title, model, batch_size, data, along_model in CASES:
    mesh = AbstractMesh((data, along_model), (sharding.DATA, sharding.MODEL))
    sections.append(f"# {title}\n{sharding.describe(mesh, abstract_state(model, batch_size))}")
  return "\n".join(sections)


def test_all_shardings_are_as_written_down():
  expected, now = GOLDEN.read_text(), all_shardings()
  assert now == expected, "\n" + "".join(difflib.unified_diff(
      expected.splitlines(keepends=True), now.splitlines(keepends=True), "golden", "now"))


def test_other_models():
  """The network of z_H is shared out as that of z_L; the states of all latent updates go with their row."""
  mesh = AbstractMesh((4, 2), (sharding.DATA, sharding.MODEL))
  shardings = sharding.state_shardings(mesh, abstract_state(dataclasses.replace(SUDOKU, H_layers=2), 8))
  assert shardings.params["H_level"] == shardings.params["L_level"]
  state = abstract_state(dataclasses.replace(SUDOKU, recursion="multi_scale_z"), 8)
  shardings = sharding.state_shardings(mesh, state)
  assert (state.carry.z_L.shape, shardings.carry.z_L.spec) == ((8, 6, 97, 512), P("data"))
  assert (state.initial["L_init"].shape, shardings.initial["L_init"].spec) == ((6, 512), P())


def test_an_array_without_a_layout_is_an_error():
  mesh = sharding.make_mesh()
  with pytest.raises(KeyError, match="params/new_matrix: no layout"):
    sharding.state_shardings(mesh, {"params": {"new_matrix": jax.ShapeDtypeStruct((2, 2), "float32")}})


def test_an_axis_that_does_not_divide_is_left_out():
  mesh = sharding.make_mesh(model=2)
  assert sharding.spec("prefix_table/puzzle_emb", (1, 8), mesh) == P(None)
  assert sharding.spec("prefix_table/puzzle_emb", (1024, 8), mesh) == P(("data", "model"))
  assert sharding.spec("params/x/mlp/down", (3, 8), mesh) == P(None)


def test_model_neighbours_are_device_neighbours():
  mesh = sharding.make_mesh(model=4)
  assert mesh.shape == {"data": 2, "model": 4}
  np.testing.assert_array_equal([[d.id for d in row] for row in mesh.devices], np.arange(8).reshape(2, 4))


def test_model_devices_must_divide():
  with pytest.raises(UserError, match="config.compute.model_devices = 3: must divide the 8 devices"):
    sharding.make_mesh(model=3)


if __name__ == "__main__":
  GOLDEN.write_text(all_shardings())
