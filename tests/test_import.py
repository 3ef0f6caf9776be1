# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""`python -m trm_jax.interop`: published weights become what evaluate and solve read, and go back bit for bit."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

from benchmarks import import_published
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import yaml

from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import interop
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.interop import archs
from trm_jax.interop import state_dict
from trm_jax.interop import torch_zip
from trm_jax.model import TRM, TRMConfig

needs_safetensors = pytest.mark.skipif(not importlib.util.find_spec("safetensors"),
                                       reason="safetensors is not installed")


def save(state, path):
  with path.open("wb") as file:
    torch_zip.write(file, state)
  return path


def assert_same(there, state):
  assert there.keys() == state.keys()
  for name, array in state.items():
    np.testing.assert_array_equal(np.asarray(there[name]), array, strict=True)


@pytest.fixture(name="tiny_model", scope="module")
def _tiny_model():
  """(its config, a model of it as the reference would have it)."""
  config = tiny.config(model__dtype="bfloat16")
  return config, TRM(config.model.sized(vocab_size=6, seq_len=16), rngs=nnx.Rngs(0))


@pytest.fixture(name="tiny_file")
def _tiny_file(tiny_model, tmp_path):
  """In a folder as the reference leaves it."""
  config, model = tiny_model
  fields = ("hidden_size", "num_heads", "expansion", "H_layers", "L_layers", "H_cycles", "L_cycles", "mlp_t",
            "pos_encodings", "puzzle_emb_ndim", "puzzle_emb_len", "halt_max_steps", "halt_exploration_prob")
  arch = {name: getattr(config.model, name) for name in fields} | {
      "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", "forward_dtype": "bfloat16"}
  (tmp_path / "all_config.yaml").write_text(yaml.dump({"arch": arch, "ema": True}))
  interop.write_reference_file(model, tmp_path / "step_7")
  return tmp_path / "step_7"


# The published files by their names (docs/published_weights.md), each with a number of prefix rows.
@pytest.mark.parametrize("preset, name, rows", [
    ("sudoku_mlp", "step_16275", 1), ("sudoku_attention", "step_21700", 1), ("maze", "maze_hard_step_32550", 1),
    ("arc", "step_155718", 1500)])
def test_published_files_go_the_whole_way(tmp_path, preset, name, rows):
  state = import_published.published_state(preset, rows)
  imported = weights.import_reference(os.fspath(save(state, tmp_path / name)), tmp_path / "run", arch=preset)
  loaded = weights.load(os.fspath(tmp_path / "run"))
  assert loaded.step == imported.step == int(name.rpartition("_")[2])
  assert loaded.config == imported.config and loaded.config.model.dtype == "bfloat16"
  assert loaded.task.vocab_size == import_published.TOKENS[preset] == loaded.model.config.vocab_size
  assert loaded.model.config.num_puzzle_identifiers == rows
  assert_same(interop.to_reference(loaded.model), state)
  interop.write_reference_file(loaded.model, tmp_path / "back")
  assert_same(interop.read_reference_file(tmp_path / "back"), state)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("by", ["file", "folder", pytest.param("safetensors", marks=needs_safetensors)])
def test_it_is_evaluated_and_solved_like_a_run(tiny_model, tiny_file, tmp_path, by, compiled):
  config, model = tiny_model
  if by == "safetensors":
    tiny_file = tiny_file.rename(tiny_file.with_name("model.safetensors"))
  path = tiny_file
  interop.write_reference_file(model, path, compiled=compiled)
  source = tiny_file.parent if by == "folder" else path
  weights.import_reference(os.fspath(source), tmp_path / "run")
  loaded = weights.load(os.fspath(tmp_path / "run"))
  assert loaded.config.model == config.model and loaded.step == (0 if by == "safetensors" else 7)
  assert_same(interop.to_reference(loaded.model), interop.to_reference(model))
  if by == "folder" and compiled:
    assert loaded.config.data.box == 2
    weights.import_reference(os.fspath(source), tmp_path / "own", config=config)
    assert evaluate.run(os.fspath(tmp_path / "own"), None)["num_puzzles"] == 8


@pytest.mark.parametrize("end, values, count, of", [
    ("L_level.layers.0.mlp.down_proj.weight", (np.nan, np.inf), 2, None), ("puzzle_emb.weights", (-np.inf,), 1, 8),
    ("q_head.bias", (np.nan,), 1, 2)])
def test_values_that_are_not_finite_are_refused(tiny_model, end, values, count, of, tmp_path, monkeypatch):
  monkeypatch.setattr(state_dict, "_AT_ONCE", 4)
  config, model = tiny_model
  state = {name: np.array(value) for name, value in interop.to_reference(model).items()}
  [name] = [name for name in state if name.endswith(end)]
  state[name].reshape(-1)[1 : 1 + count] = values
  of = of or state[name].size
  path = save(state, tmp_path / "step_7")
  with pytest.raises(UserError, match=f"^reference parameters: model.inner.{end} has {count} of {of:,} values that are "
                                      "not finite numbers; its training has diverged, or the file is damaged: take an"):
    weights.import_reference(os.fspath(path), tmp_path / "run", config=config)
  assert not (tmp_path / "run").exists()


def test_dtypes_may_be_mixed(tiny_model):
  """Parameters become float32 whatever they were."""
  config, model = tiny_model
  kinds = [np.float16, np.float64, np.float32, jnp.bfloat16]
  state = {name: np.asarray(value, np.float32).astype(np.dtype(kinds[i % 4])) for i, (name, value) in enumerate(
      interop.to_reference(model).items())}
  made = state_dict.from_reference(state, model.config)
  assert {str(x.dtype) for x in jax.tree.leaves(nnx.state(made, nnx.Param))} == {"float32"}


def run_program(*arguments, **env):
  return subprocess.run([sys.executable, "-m", "trm_jax.interop", *arguments], capture_output=True, text=True,
                        env=os.environ | env)


def test_the_program(tiny_file, tmp_path):
  done = run_program("import", f"{tiny_file}", f"--out={tmp_path}/run")
  assert done.stderr == "" and done.stdout == (
      f"{tiny_file}: TRM mlp T=1 n=1 1x8 bfloat16, sudoku-4x4 (16 cells, 6 tokens), step 7; in {tmp_path}/run\n"
      f"next: python -m trm_jax.main --mode=eval --checkpoint={tmp_path}/run\n")
  assert weights.load(f"{tmp_path}/run").step == 7
  for arguments, message in [
      (("import", f"{tiny_file}"), "--out is missing"),
      (("imprt", "x"), "imprt x: must be python -m trm_jax.interop import"),
      (("import", f"{tiny_file}", f"--out={tmp_path}/x", "--arch=maze", "--config=configs/sudoku.py:quickstart"),
       "--arch: --config says what model it is; leave it out")]:
    done = run_program(*arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and message in done.stderr, done.stderr
  assert not (tmp_path / "x").exists()
  with pytest.raises(UserError, match=f"--out={tmp_path}/run: holds checkpoints already, which are not overwritten"):
    weights.import_reference(os.fspath(tiny_file), tmp_path / "run")
  assert refusal(tmp_path / "no", tmp_path) == f"{tmp_path}/no: no such file"


def refusal(source, tmp_path, **options):
  with pytest.raises(UserError) as e:
    weights.import_reference(os.fspath(source), tmp_path / "refused", **options)
  assert not (tmp_path / "refused").exists()
  return str(e.value)


def test_what_shapes_do_not_tell(tmp_path):
  state = import_published.published_state("sudoku_attention")
  path = save(state, tmp_path / "step_21700")
  assert refusal(path, tmp_path) == (
      f"{path}: no all_config.yaml lies beside it, and the shapes do not show H_cycles, L_cycles, num_heads, "
      "pos_encodings, puzzle_emb_len and halt_max_steps; import it by python -m trm_jax.interop import with "
      "--arch=sudoku_attention, whose shapes these are, if it is the reference's")
  assert refusal(path, tmp_path, arch="sudoku_mlp").endswith("; sudoku_attention would fit")
  assert "it knows 11 tokens and 81 cells, which are not those of maze" in refusal(path, tmp_path, arch="maze")
  assert "no such file, and no such preset; use one of sudoku_mlp, sudoku_attention, maze, arc" in (
      refusal(path, tmp_path, arch="sudoko"))
  (tmp_path / "mine.yaml").write_text("arch: {hidden_size: 512}")
  assert "mine.yaml: reference config: H_cycles, L_cycles, L_layers, expansion" in (
      refusal(path, tmp_path, arch=f"{tmp_path}/mine.yaml"))
  for content, message in [("[1", "not YAML"), ("[" * 5000, "not YAML"), ("a: 2001-99-99", "not YAML"),
                           ("1", "not the reference's all_config.yaml"),
                           ("arch: 1", "not a mapping")]:
    (tmp_path / "mine.yaml").write_text(content)
    assert message in refusal(path, tmp_path, arch=f"{tmp_path}/mine.yaml")


def test_parameters_of_another_model(tiny_file, tmp_path):
  state = dict(interop.read_reference_file(tiny_file))
  name = "_orig_mod.model.inner.lm_head.weight"
  without = {key: np.asarray(value) for key, value in state.items() if key != name}
  plain = name.removeprefix("_orig_mod.")
  for other, message in [
      (without, rf"does not fit {tmp_path}/all_config.yaml: missing ['{plain}'], unknown none; give the config that"),
      (without | {name: np.ones((6, 8), np.float32), "model.more": np.ones(3, np.float32)},
       "missing none, unknown ['model.more']"),
      (without | {name: np.ones((6, 9), np.float32)}, f"{plain} has the shape (6, 9), must have (6, 8)")]:
    save(other, tiny_file)
    assert message in refusal(tiny_file, tmp_path)
  tiny_file.write_bytes(tiny_file.read_bytes()[:-100])
  assert "step_7: not a readable state dict (cut off or damaged: download or copy it again)" in (
      refusal(tiny_file, tmp_path))
  save({}, tiny_file.with_name("step_8"))
  assert "has 2 files with weights (step_7, step_8); name the file itself" in refusal(tmp_path, tmp_path)


@pytest.mark.parametrize("name, array, message", [
    ("puzzle_emb.weights", np.array(1.0), "num_puzzle_identifiers missing"),
    ("embed_tokens.embedding_weight", np.array(1.0), "vocab_size missing"),
    ("L_level.layers.0.mlp_t.gate_up_proj.weight", np.array(1.0), "seq_len is missing"),
    ("lm_head.weight", np.ones((6, 8), np.int8), "lm_head.weight has the dtype int8, must have one of floating-point"),
])
def test_parameters_that_are_none(tiny_file, tmp_path, name, array, message):
  state = {key: np.asarray(value) for key, value in interop.read_reference_file(tiny_file).items()}
  save(state | {f"_orig_mod.model.inner.{name}": array}, tiny_file)
  assert message in refusal(tiny_file, tmp_path)
  assert f"model.inner.{name} has the " in refusal(tiny_file, tmp_path, config=tiny.config())
  save(state | {f"model.inner.{name}": array}, tiny_file)
  assert f"model.inner.{name} is there twice, with _orig_mod. in front and without it" in refusal(tiny_file, tmp_path)


def test_parameters_of_something_else(tiny_file, tmp_path):
  save({f"bert.{i:03}": np.ones(1) for i in range(400)}, tiny_file)
  assert "all_config.yaml: not the parameters of a model of the reference's: model.inner.embed_" in (
      refusal(tiny_file, tmp_path))
  assert "unknown ['bert.000', 'bert.001', 'bert.002', 'bert.003'] and 396 more" in (
      refusal(tiny_file, tmp_path, config=tiny.config()))


@pytest.mark.parametrize("name, value, message", [
    ("hidden_size", "8", "hidden_size is of type str, must be of type int"),
    ("name", [["trm"]], "name is of type list, must be of type str"), (3, 4, "unknown names 3; use one of"),
    ("L_layers", 10_000_000, "11 parameters are too few for 10000000 layers"),
    ("mlp_t", "false", "mlp_t is of type str, must be of type bool"), ("H_cycles", None, "H_cycles missing")])
def test_values_of_all_config_that_cannot_be(tiny_file, tmp_path, name, value, message):
  path = tmp_path / "all_config.yaml"
  content = yaml.safe_load(path.read_text())
  path.write_text(yaml.dump(content | {"arch": content["arch"] | {name: value}}))
  assert message in refusal(tiny_file, tmp_path)


def test_nothing_that_lies_beside_is_run(tiny_model, tiny_file, tmp_path, monkeypatch):
  """A config may name a module as its task; one that came with the weights is not imported."""
  (tmp_path / "evil.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'was_run').touch()")
  monkeypatch.syspath_prepend(tmp_path)
  saved = config_lib.to_dict(tiny_model[0])
  for content, message in [
      ({"trm_jax": saved | {"task": "evil"}, "step": 1}, "its task 'evil' is not one of trm_jax, and no module"),
      ({"trm_jax": saved, "step": -1}, "step is not a number of optimizer steps"),
      ({"trm_jax": saved, "step": "1"}, "step is not a number of optimizer steps")]:
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert f"{tmp_path}/config.json: {message}" in refusal(tiny_file, tmp_path)
  assert not (tmp_path / "was_run").exists()


def test_products_have_the_dtype_of_the_initial_states_as_in_the_reference(tiny_model, tiny_file, tmp_path):
  _, model = tiny_model
  state = interop.to_reference(model)
  wider = {name: array.astype(np.float32) for name, array in state.items()}
  save(wider, tiny_file)
  assert weights.import_reference(os.fspath(tiny_file), tmp_path / "run").config.model.dtype == "float32"
  assert_same(interop.to_reference(weights.load(os.fspath(tmp_path / "run")).model), wider)


def test_hrm_as_its_authors_save_it(tmp_path):
  """Names and arch of github.com/sapientinc/HRM."""
  config = dataclasses.replace(tiny.config().model, gradient="one_step", H_layers=1, mlp_t=False, pos_encodings="rope",
                               q_continue=True, dtype="bfloat16", puzzle_emb_len=0, H_cycles=2, L_cycles=2)
  model = TRM(config.sized(vocab_size=11, seq_len=81), rngs=nnx.Rngs(0))
  interop.write_reference_file(model, tmp_path / "checkpoint")
  arch = {"name": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1", "loss": {"name": "losses@ACTLossHead"},
          "H_cycles": 2, "L_cycles": 2, "H_layers": 1, "L_layers": 1, "hidden_size": 8, "num_heads": 2, "expansion": 4,
          "puzzle_emb_ndim": 8, "pos_encodings": "rope", "halt_max_steps": 2, "halt_exploration_prob": 0.1}
  (tmp_path / "all_config.yaml").write_text(yaml.dump({"arch": arch}))
  imported = weights.import_reference(os.fspath(tmp_path), tmp_path / "run")
  assert imported.config.model == config and imported.config.task == "sudoku"


def test_presets_are_the_configs_of_the_reference():
  """As configs/ have them."""
  from configs import arc, maze, sudoku  # pylint: disable=g-import-not-at-top

  attention = sudoku.get_config("t1_attention")
  for preset, config in [("sudoku_mlp", sudoku.baseline()), ("sudoku_attention", attention), ("maze", maze.baseline()),
                         ("arc", arc.arc1())]:
    task, arch = archs.PRESETS[preset]
    model = TRMConfig.from_reference(arch | {"vocab_size": 11, "seq_len": 81, "num_puzzle_identifiers": 1})
    assert task == config.task
    assert {name: getattr(model, name) for name in config.model} == config.model.to_dict()


def test_a_large_table_is_read_without_a_second_copy(tmp_path, monkeypatch):
  """Piece by piece into memory that the device takes over."""
  from trm_jax.interop import state_dict  # pylint: disable=g-import-not-at-top

  monkeypatch.setattr(state_dict, "_AT_ONCE", 1000)
  rows = []
  table = np.arange(40 * 100, dtype=np.float32).reshape(40, 100)
  stored = torch_zip.Tensor(table.shape, np.float32, lambda wanted: (rows.append(wanted), table[wanted])[1])
  made = state_dict._table("", stored, 64)
  np.testing.assert_array_equal(made, np.concatenate([table, np.zeros((24, 100), np.float32)]))
  assert rows == [slice(0, 10), slice(10, 20), slice(20, 30), slice(30, 40)]
  assert state_dict.jax.device_put(made).unsafe_buffer_pointer() == made.ctypes.data
