# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The reference's parameters and files, in and out. That they mean the same is what the parity tests show."""

import importlib.util

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax import interop
from trm_jax.errors import UserError
from trm_jax.model import TRM, TRMConfig

CONFIG = TRMConfig(vocab_size=7, seq_len=5, num_puzzle_identifiers=3, hidden_size=8, L_layers=2, num_heads=2,
                   puzzle_emb_ndim=12, puzzle_emb_len=3, pos_encodings="learned", dtype="float32")
BATCH = {"inputs": jnp.ones((2, 5), jnp.int32), "puzzle_identifiers": jnp.array([0, 2])}

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs the extra [torch]")
needs_safetensors = pytest.mark.skipif(not importlib.util.find_spec("safetensors"), reason="needs the extra [torch]")


@pytest.fixture(scope="module")
def model() -> TRM:
  return TRM(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def state(model) -> dict[str, np.ndarray]:
  return interop.to_reference(model)


def test_names_and_shapes(state):
  """As the reference's state_dict() has them; matrices are (out, in)."""
  layer = {"mlp.gate_up_proj.weight": (512, 8), "mlp.down_proj.weight": (8, 256),
           "mlp_t.gate_up_proj.weight": (512, 8), "mlp_t.down_proj.weight": (8, 256)}  # 3 prefix tokens and 5 cells
  expected = {
      "H_init": (8,), "L_init": (8,), "embed_tokens.embedding_weight": (7, 8), "embed_pos.embedding_weight": (8, 8),
      "puzzle_emb.weights": (3, 12), "lm_head.weight": (7, 8), "q_head.weight": (2, 8), "q_head.bias": (2,),
  } | {f"L_level.layers.{i}.{name}": shape for i in range(2) for name, shape in layer.items()}
  assert {name: value.shape for name, value in state.items()} == {
      f"model.inner.{name}": shape for name, shape in expected.items()}
  assert {value.dtype for value in state.values()} == {np.dtype(np.float32)}


def assert_same(back, state):
  assert back.keys() == state.keys()
  for name, value in state.items():
    np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_round_trip_through_torch_compile(state):
  """Whose checkpoints have a prefix of their own."""
  prefixed = {f"_orig_mod.{name}": value for name, value in state.items()}
  assert_same(interop.to_reference(interop.from_reference(prefixed, CONFIG)), state)


def test_usable_at_once(model, state):
  """Eagerly, and as a constant of a jitted function."""
  read = interop.from_reference(state, CONFIG)
  carry = model.initial_carry(BATCH)
  expected = model(carry, BATCH)[1].logits
  np.testing.assert_array_equal(read(carry, BATCH)[1].logits, expected)
  jitted = jax.jit(lambda batch: read(read.initial_carry(batch), batch)[1].logits)
  np.testing.assert_allclose(jitted(BATCH), expected, atol=1e-3)


def test_does_not_share_memory(state):
  """Writing to the arrays afterwards does not change the model."""
  own = {name: value.copy() for name, value in state.items()}
  read = interop.from_reference(own, CONFIG)
  for value in own.values():
    value[:] = np.nan
  assert_same(interop.to_reference(read), state)


def test_errors(state):
  name = "model.inner.lm_head.weight"
  without = {key: value for key, value in state.items() if key != name}
  with pytest.raises(UserError, match=rf"missing \['{name}'\], unknown none"):
    interop.from_reference(without, CONFIG)
  with pytest.raises(UserError, match=r"missing none, unknown \['extra'\]"):
    interop.from_reference(state | {"extra": state[name]}, CONFIG)
  with pytest.raises(UserError, match=rf"{name}: shape \(8, 7\) does not fit"):
    interop.from_reference(state | {name: state[name].T}, CONFIG)


@pytest.mark.parametrize("suffix", [
    pytest.param("pt", marks=needs_torch), pytest.param("safetensors", marks=needs_safetensors)])
def test_files(model, state, tmp_path, suffix):
  path = tmp_path / f"step_1.{suffix}"
  interop.write_reference_file(model, path)
  assert_same(interop.read_reference_file(path), state)


@pytest.mark.parametrize("suffix", [
    pytest.param("pt", marks=needs_torch), pytest.param("safetensors", marks=needs_safetensors)])
def test_bad_files(model, tmp_path, suffix):
  path = tmp_path / f"step_1.{suffix}"
  with pytest.raises(UserError, match="no such file"):
    interop.read_reference_file(path)
  interop.write_reference_file(model, path)
  content = path.read_bytes()
  for bad in (b"", b"not a checkpoint", content[:len(content) // 2]):
    path.write_bytes(bad)
    with pytest.raises(UserError, match=f"step_1.{suffix}: not a readable state dict"):
      interop.read_reference_file(path)


@needs_torch
def test_refuses_code(tmp_path):
  """A pickle that would run something on loading."""
  import torch  # pylint: disable=g-import-not-at-top

  path = tmp_path / "evil.pt"
  torch.save({"x": print}, path)
  with pytest.raises(UserError, match="not a readable state dict"):
    interop.read_reference_file(path)


@pytest.mark.skipif(bool(importlib.util.find_spec("torch")), reason="torch is installed")
def test_says_what_to_install(tmp_path):
  path = tmp_path / "step_1"
  path.write_bytes(b"")
  with pytest.raises(UserError, match=r"needs torch; pip install -e '.\[torch\]'"):
    interop.read_reference_file(path)
