# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The reference's parameters and files, in and out. That they mean the same is what the parity tests show."""

import dataclasses
import importlib.util
import json
import pathlib

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from trm_jax import interop
from trm_jax.errors import UserError
from trm_jax.model import TRM, TRMConfig

CONFIG = TRMConfig(vocab_size=7, seq_len=5, num_puzzle_identifiers=3, hidden_size=8, L_layers=2, num_heads=2,
                   puzzle_emb_ndim=12, puzzle_emb_len=3, pos_encodings="learned", dtype="float32")
BATCH = {"inputs": jnp.ones((2, 5), jnp.int32), "puzzle_identifiers": jnp.array([0, 2])}

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
needs_safetensors = pytest.mark.skipif(not importlib.util.find_spec("safetensors"),
                                       reason="safetensors is not installed")


@pytest.fixture(scope="module")
def model() -> TRM:
  return TRM(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def state(model) -> dict[str, np.ndarray]:
  """By the names of the model that is not compiled."""
  return interop.to_reference(model, compiled=False)


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


def test_names_of_the_compiled_model(model, state):
  """The reference's own checkpoints have a prefix of torch.compile in front, and so has what it loads by default."""
  prefixed = interop.to_reference(model)
  assert_same(prefixed, {f"_orig_mod.{name}": value for name, value in state.items()})
  assert_same(interop.to_reference(interop.from_reference(prefixed, CONFIG), compiled=False), state)


@pytest.mark.parametrize("recursion, names", [
    ("two_z", {"H_init", "L_init"}), ("single_z", {"L_init"}), ("none", {"H_init"}),
    ("multi_scale_z", {"H_init", "L1_init", "L2_init"})])
def test_initial_states_are_written_in_the_dtype_of_the_model(recursion, names):
  """Those alone: the reference takes over the dtype of what it loads, and computes in that of its initial states."""
  config = dataclasses.replace(CONFIG, dtype="bfloat16", recursion=recursion, L_layers=1, L_cycles=2)
  made = TRM(config, rngs=nnx.Rngs(0))
  written = interop.to_reference(made)
  assert {name for name, value in written.items() if value.dtype != np.float32} == {
      f"_orig_mod.model.inner.{name}" for name in names}
  back = nnx.to_pure_dict(nnx.state(interop.from_reference(written, config)))
  expected = nnx.to_pure_dict(nnx.state(made))
  for name in ("H_init", "L_init"):
    if name in expected:
      np.testing.assert_array_equal(back.pop(name), expected.pop(name).astype("bfloat16"))
  jax.tree.map(np.testing.assert_array_equal, back, expected)


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
  assert_same(interop.to_reference(read, compiled=False), state)


def test_errors(state):
  name = "model.inner.lm_head.weight"
  without = {key: value for key, value in state.items() if key != name}
  with pytest.raises(UserError, match=rf"missing \['{name}'\], unknown none"):
    interop.from_reference(without, CONFIG)
  with pytest.raises(UserError, match=r"missing none, unknown \['extra'\]"):
    interop.from_reference(state | {"extra": state[name]}, CONFIG)
  with pytest.raises(UserError, match=rf"{name} has the shape \(8, 7\), must have \(7, 8\); give the config"):
    interop.from_reference(state | {name: state[name].T}, CONFIG)


@pytest.mark.parametrize("suffix", [
    "pt", pytest.param("safetensors", marks=needs_safetensors)])
def test_files(model, state, tmp_path, suffix):
  path = tmp_path / f"step_1.{suffix}"
  interop.write_reference_file(model, path, compiled=False)
  assert_same(interop.read_reference_file(path), state)
  in_bfloat16 = interop.from_reference(state, dataclasses.replace(CONFIG, dtype="bfloat16"))
  interop.write_reference_file(in_bfloat16, path)
  assert_same(interop.read_reference_file(path), interop.to_reference(in_bfloat16))


@pytest.mark.parametrize("suffix", [
    "pt", pytest.param("safetensors", marks=needs_safetensors)])
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


def reference_module(state):
  """Modules with the names, shapes and dtypes of the reference's; a state dict knows no more of them."""
  import torch  # pylint: disable=g-import-not-at-top

  root = torch.nn.Module()
  for name, array in state.items():
    *path, last = name.split(".")
    module = root
    for part in path:
      if not hasattr(module, part):
        module.add_module(part, torch.nn.Module())
      module = getattr(module, part)
    if last.endswith("_init"):
      module.register_buffer(last, torch.zeros(array.shape, dtype=torch.bfloat16))
    elif last == "weights":
      module.register_buffer(last, torch.zeros(array.shape))
    else:
      module.register_parameter(last, torch.nn.Parameter(torch.zeros(array.shape)))
  return root


@needs_torch
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch, of itself
@pytest.mark.parametrize("compiled", [True, False])
def test_the_reference_loads_what_is_written(state, tmp_path, compiled):
  """As its load_checkpoint does, by default into what torch.compile returns; no dtype changes."""
  import torch  # pylint: disable=g-import-not-at-top

  inner = reference_module(state)
  module = torch.compile(inner) if compiled else inner
  before = {name: (value.dtype, value.shape) for name, value in module.state_dict().items()}
  model = interop.from_reference(state, dataclasses.replace(CONFIG, dtype="bfloat16"))
  interop.write_reference_file(model, tmp_path / "step_1", compiled=compiled)
  interop.write_reference_file(model, tmp_path / "step_2", compiled=not compiled)
  loaded = torch.load(tmp_path / "step_1", map_location="cpu")
  module.load_state_dict(loaded, assign=True)
  assert {name: (value.dtype, value.shape) for name, value in module.state_dict().items()} == before
  for name, value in inner.state_dict().items():
    np.testing.assert_array_equal(value.float(), torch.from_numpy(state[name]).to(value.dtype).float())
  assert_same(interop.to_reference(interop.from_reference(inner.state_dict(), CONFIG), compiled=False),
              {name: value.float().numpy() for name, value in inner.state_dict().items()})
  with pytest.raises(RuntimeError, match="Missing key"):
    module.load_state_dict(torch.load(tmp_path / "step_2", map_location="cpu"), assign=True)


# What the reference's all_config.yaml has of CONFIG, and of the same with attention.
ARCH = {
    "H_cycles": 3, "H_layers": 0, "L_cycles": 6, "L_layers": 2, "expansion": 4, "forward_dtype": "float32",
    "halt_exploration_prob": 0.1, "halt_max_steps": 16, "hidden_size": 8,
    "loss": {"loss_type": "stablemax_cross_entropy", "name": "losses@ACTLossHead"}, "mlp_t": True,
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", "no_ACT_continue": True, "num_heads": 2,
    "pos_encodings": "learned", "puzzle_emb_len": 3, "puzzle_emb_ndim": 12,
}
ATTENTION = {"mlp_t": False, "pos_encodings": "rope"}
DATASET = {
    "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 7, "seq_len": 5,
    "num_puzzle_identifiers": 3, "total_groups": 1, "mean_puzzle_examples": 1.0, "total_puzzles": 1, "sets": ["all"],
}


@pytest.mark.parametrize("changes, given, missing", [
    ({}, "", "vocab_size, seq_len, num_puzzle_identifiers missing: they depend on the data set; give state="),
    ({}, "state", None),
    ({"pos_encodings": "none"}, "state", None),
    ({"mlp_t": False}, "state", None),
    (ATTENTION, "state", "seq_len is missing: the weights of attention without learned positions do not show it; give "
                         "dataset=, the content of the data set's dataset.json, or add seq_len to the arch"),
    (ATTENTION, "state, dataset", None),
    (ATTENTION, "dataset", None),
    (ATTENTION | {"seq_len": 5}, "state", None),
])
def test_sizes_of_the_data_set(changes, given, missing):
  """They are not in the reference's config: the weights show them, most of the time, and the data set says them."""
  config = dataclasses.replace(CONFIG, **changes)
  weights = interop.to_reference(TRM(config, rngs=nnx.Rngs(0)))
  kwargs = {name: {"state": weights, "dataset": DATASET}[name] for name in given.split(", ") if name}
  if missing is None:
    assert TRMConfig.from_reference(ARCH | changes, **kwargs) == config
  else:
    with pytest.raises(UserError) as e:
      TRMConfig.from_reference(ARCH | changes, **kwargs)
    assert str(e.value).startswith(f"reference config: {missing}")


def test_sizes_that_contradict_each_other(state):
  with pytest.raises(UserError, match=r"seq_len differs: 9 according to dataset.json, 5 according to .*mlp_t.gate_up_"):
    TRMConfig.from_reference(ARCH, state=state, dataset=DATASET | {"seq_len": 9})
  with pytest.raises(UserError, match="vocab_size differs: 8 according to arch, 7 according to dataset.json"):
    TRMConfig.from_reference(ARCH | {"vocab_size": 8}, dataset=DATASET)


@needs_torch
@pytest.mark.parametrize("changes", [{}, ATTENTION])
def test_the_lines_of_the_documentation(changes, tmp_path, monkeypatch):
  """In a folder as the reference leaves it."""
  monkeypatch.chdir(tmp_path)
  config = dataclasses.replace(CONFIG, dtype="bfloat16", **changes)
  model = TRM(config, rngs=nnx.Rngs(0))
  interop.write_reference_file(model, "step_65100")
  arch = ARCH | {"forward_dtype": "bfloat16"} | changes
  pathlib.Path("all_config.yaml").write_text(yaml.dump({"arch": arch, "data_paths": ["data"], "ema": True}))
  dataset = pathlib.Path("data/sudoku-extreme-1k-aug-1000/train/dataset.json")
  dataset.parent.mkdir(parents=True)
  dataset.write_text(json.dumps(DATASET))
  page = (pathlib.Path(__file__).parents[1] / "docs" / "python.md").read_text()
  block, = (block for block in page.split("```python\n") if "read_reference_file" in block)
  names = {}
  exec(block.partition("```")[0], names)  # pylint: disable=exec-used
  assert names["model"].config == config
  assert_same(interop.read_reference_file("step_0"), interop.to_reference(model))


@needs_torch
def test_refuses_code(tmp_path):
  """A pickle that would run something on loading."""
  import torch  # pylint: disable=g-import-not-at-top

  path = tmp_path / "evil.pt"
  torch.save({"x": print}, path)
  with pytest.raises(UserError, match="holds more than tensors: _*builtins?_*.print, which is never called here"):
    interop.read_reference_file(path)
