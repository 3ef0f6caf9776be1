# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""`python -m trm_jax.interop export`: files for the reference, for a hub, and programs that need JAX alone."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

from flax import nnx
import jax
import jax.numpy as jnp
import npz
import numpy as np
import pytest
import tiny

from trm_jax import interop
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.interop import export
from trm_jax.model import TRM

needs_safetensors = pytest.mark.skipif(not importlib.util.find_spec("safetensors"),
                                       reason="safetensors is not installed")
needs_flatbuffers = pytest.mark.skipif(not importlib.util.find_spec("flatbuffers"),
                                       reason="flatbuffers is not installed")

RESULTS = {"step": 9, "train_seconds": 12.5, "test": {"exact_accuracy": 0.25, "accuracy": 0.5, "num_puzzles": 400},
           "test_best": {"step": 5, "exact_accuracy": 0.75, "accuracy": 0.9, "num_puzzles": 400}}


def make_model(config, **sizes):
  return TRM(config.model.sized(vocab_size=6, seq_len=16, **sizes), rngs=nnx.Rngs(0))


@needs_safetensors
def test_a_folder_for_a_hub_comes_back(tmp_path):
  """With all that the reference's own file does not have."""
  config = tiny.config(name="quickstart,mine", model__inner_norm=True, model__random_init=True, data__num_test=3,
                       data__tfds_dir="/home/me/secret", init_from="/home/me/secret/first/")
  model = make_model(config)
  export.hub_folder(model, config, 9, tmp_path / "hub", {})
  assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == ["README.md", "config.json", "model.safetensors"]
  assert "secret" not in "".join((tmp_path / "hub" / name).read_text() for name in ("README.md", "config.json"))
  assert "It began with the weights of `first`." in (tmp_path / "hub" / "README.md").read_text()
  imported = weights.import_reference(os.fspath(tmp_path / "hub"), tmp_path / "run")
  loaded = weights.load(os.fspath(tmp_path / "run"))
  assert loaded.step == imported.step == 9 and loaded.config.model == config.model
  assert loaded.config.data.box == 2 and loaded.config.init_from == "first"
  assert dataclasses.replace(loaded.config, data=config.data, init_from=config.init_from) == config
  jax.tree.map(np.testing.assert_array_equal, *(nnx.to_pure_dict(nnx.state(m)) for m in (loaded.model, model)))


@pytest.mark.parametrize("step, results, says", [
    (9, RESULTS, "25.00% of n = 400 test puzzles solved (95 % interval 21.01% to 29.47%, one run), every row, column"),
    (5, RESULTS, "75.00% of n = 400 test puzzles"),
    (9, {"step": 9, "test": RESULTS["test"] | {"exact_accuracy": 0.0, "num_puzzles": 8}},
     "0.00% of n = 8 test puzzles solved (95 % interval 0.00% to 32.44%, one run)"),
    (4, RESULTS, "Not evaluated here."),
    (9, {}, "Not evaluated here."),
])
@needs_safetensors
def test_the_card_has_what_was_measured_of_these_weights(tmp_path, step, results, says):
  config = tiny.config(name="quickstart")
  export.hub_folder(make_model(config), config, step, tmp_path, results)
  card = (tmp_path / "README.md").read_text()
  assert f"## Accuracy\n\n{says}" in card
  assert f"configs/sudoku.py:quickstart`, seed 0, with the changes that config.json shows, if any. {step} optim" in card
  assert (", 12.5 s." in card) == (results == RESULTS and step == 9)  # of the whole run
  assert "| num_clues | `8` |" in card and "tfds_dir" not in card
  assert "trained on generated puzzles" in card
  count = sum(x.size for x in jax.tree.leaves(nnx.state(make_model(config), nnx.Param)))
  assert f"{count:,} trained parameters. It reads a puzzle of 16 cells as tokens from 0 to 5 and" in card


@needs_safetensors
@pytest.mark.parametrize("source, flag", [("generated", ""), ("sudoku-extreme", ""), ("my/puzzles", " --data=FOLDER")])
def test_the_card_says_where_puzzles_must_be_named(tmp_path, source, flag):
  config = tiny.config(data__source=source)
  export.hub_folder(make_model(config), config, 9, tmp_path, {})
  card = (tmp_path / "README.md").read_text()
  for program in ("main --mode=eval", "solve"):
    assert f"python -m trm_jax.{program} --checkpoint=weights{flag}\n" in card


@needs_safetensors
@pytest.mark.parametrize("step, says", [(7, "for 7 steps, according to its file name"),
                                        (0, "for an unknown number of steps")])
def test_the_card_of_imported_weights(tmp_path, step, says):
  """The config that they were imported with says what the model is, and not how it was trained."""
  config = tiny.config(name="quickstart")
  file = tmp_path / (f"step_{step}" if step else "weights.pt")
  interop.write_reference_file(make_model(config), file)
  weights.import_reference(os.fspath(file), tmp_path / "run", config=config)
  loaded = weights.load(os.fspath(tmp_path / "run"))
  export.hub_folder(loaded.model, loaded.config, loaded.step, tmp_path / "hub", {})
  assert f"## Training\n\nImported: trained elsewhere, {says}. " in (tmp_path / "hub" / "README.md").read_text()


# Runs what was exported where nothing of the library is loaded.
ALONE = """
import sys
import jax, numpy as np
folder = sys.argv[1]
step, start, solve = (jax.export.deserialize(open(f"{folder}/{name}.stablehlo", "rb").read())
                      for name in ("step", "start", "solve"))
puzzles = np.load(f"{folder}/inputs.npy"), np.load(f"{folder}/identifiers.npy")
made = dict(zip(("answers", "q_halt"), solve.call(*puzzles)))
states, answers = start.call(*puzzles), []
for _ in range(int(sys.argv[2])):
  logits, _, *states = step.call(*puzzles, *states)
  answers.append(np.asarray(logits).argmax(-1))
np.savez(f"{folder}/made.npz", by_step=answers, **made)
print(any(name.startswith(("trm_jax", "flax", "orbax")) for name in sys.modules))
"""


@needs_flatbuffers
@pytest.mark.parametrize("changes, num", [
    ({"model__halt_max_steps": 3}, 5),
    ({"model__mlp_t": False, "model__pos_encodings": "rope", "model__recursion": "single_z",
      "model__puzzle_emb_ndim": 0, "model__puzzle_emb_len": 0}, 1)])
def test_programs_need_jax_alone(tmp_path, changes, num):
  """The same answers, at any batch size, at once or step by step."""
  config = tiny.config(**changes)
  sizes = {"num_puzzle_identifiers": 4} if config.model.puzzle_emb_ndim else {}
  model = make_model(config, **sizes)
  if sizes:
    model.puzzle_emb[...] = jax.random.normal(jax.random.key(1), model.puzzle_emb.shape)
  export.stablehlo(model, tmp_path)
  rng = np.random.default_rng(0)
  batch = {"inputs": rng.integers(0, 6, (num, 16), np.int32), "puzzle_identifiers": rng.integers(0, 4, num, np.int32)}
  np.save(tmp_path / "inputs.npy", batch["inputs"])
  np.save(tmp_path / "identifiers.npy", batch["puzzle_identifiers"])
  steps = config.model.halt_max_steps
  done = subprocess.run([sys.executable, "-c", ALONE, os.fspath(tmp_path), str(steps)], capture_output=True, text=True,
                        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
  assert done.stdout == "False\n", done.stderr
  made = npz.read(tmp_path / "made.npz")
  carry, answers = model.initial_carry(batch), []
  for _ in range(steps):
    carry, outputs = model(carry, {name: jnp.asarray(value) for name, value in batch.items()})
    answers.append(outputs.logits.argmax(-1))
  np.testing.assert_array_equal(made["by_step"], answers)
  np.testing.assert_array_equal(made["answers"], answers[-1])
  np.testing.assert_allclose(made["q_halt"], outputs.q_halt, atol=1e-4)
  signature = json.loads((tmp_path / "signature.json").read_text())
  assert signature["solve"] == {
      "arguments": {"inputs": "int32[batch_size,16]", "puzzle_identifiers": "int32[batch_size]"},
      "results": {"answers": "int32[batch_size,16]", "q_halt": "float32[batch_size]"}}


def test_a_jax_that_is_too_new_for_onnx_is_said_to_be_so(monkeypatch):
  monkeypatch.setitem(sys.modules, "jax2onnx", types.ModuleType("jax2onnx"))
  monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
  with pytest.raises(UserError, match=r'^--web: jax2onnx cannot convert what jax .* makes; install an earlier one: pip '
                                      r'install -e ".\[onnx\]"$'):
    export.jax2onnx("--web")


@pytest.mark.skipif(not importlib.util.find_spec("jax2onnx") or not importlib.util.find_spec("onnxruntime"),
                    reason="jax2onnx or onnxruntime is not installed")
@pytest.mark.filterwarnings("ignore")  # theirs, of themselves
@pytest.mark.parametrize("changes", [
    {"model__puzzle_emb_len": 2}, {"model__mlp_t": False, "model__pos_encodings": "rope"}])
def test_programs_for_onnxruntime(tmp_path, changes):
  """The same answers as those of the model in float32, at any batch size, at once or step by step."""
  import onnxruntime  # pylint: disable=g-import-not-at-top

  config = tiny.config(model__dtype="bfloat16", model__halt_max_steps=3, **changes)
  model = make_model(config, num_puzzle_identifiers=4)
  model.puzzle_emb[...] = jax.random.normal(jax.random.key(1), model.puzzle_emb.shape)
  export.onnx(model, tmp_path)
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3
  start, step, solve = (onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", options)
                        for name in ("start", "step", "solve"))
  wide = make_model(tiny.config(model__halt_max_steps=3, **changes), num_puzzle_identifiers=4)
  nnx.update(wide, nnx.state(model))
  rng = np.random.default_rng(0)
  for num in (1, 5):
    batch = {"inputs": rng.integers(0, 6, (num, 16), np.int32),
             "puzzle_identifiers": rng.integers(0, 4, num, np.int32)}
    carry, states = wide.initial_carry(batch), start.run(None, batch)
    for _ in range(3):
      carry, outputs = wide(carry, {name: jnp.asarray(value) for name, value in batch.items()})
      logits, q_halt, *states = step.run(None, batch | dict(zip(("z_H", "z_L"), states)))
      np.testing.assert_allclose(logits, outputs.logits, atol=1e-3)
      np.testing.assert_allclose(q_halt, outputs.q_halt, atol=1e-3)
    answers, _ = solve.run(None, batch)
    np.testing.assert_array_equal(answers, outputs.logits.argmax(-1))


@needs_flatbuffers
def test_a_table_that_is_too_large_for_a_program(tmp_path, monkeypatch):
  monkeypatch.setattr(export, "_MAX_TABLE", 100)
  with pytest.raises(UserError, match="a prefix table of 5 rows is too large to be a constant of a program; "):
    export.stablehlo(make_model(tiny.config(), num_puzzle_identifiers=5), tmp_path / "x")
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments, message", [
    (("export", "runs/x"), "--out is missing"),
    (("export", "runs/x", "--out=x", "--arch=maze"), "--arch: only import reads it; leave it out"),
    (("export", "runs/x", "--out=x", "--format=hub", "--nocompiled"), "--compiled: only --format=reference reads it"),
    (("export", "runs/x", f"--out={__file__}"), "exists already and is not overwritten; name another file"),
    (("export", "runs/x", "--out=tests", "--format=hub"), "exists already and is not overwritten; name another "
     "folder"),
    (("import", "x", "--out=x", "--format=hub"), "--format: only export reads it; leave it out"),
])
def test_flags_that_nothing_would_read(arguments, message):
  done = subprocess.run([sys.executable, "-m", "trm_jax.interop", *arguments], capture_output=True, text=True)
  assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and message in done.stderr, done.stderr


def test_the_program(tmp_path):
  """From a run's folder to a file of the reference."""
  config = tiny.config(model__dtype="bfloat16")
  model = make_model(config)
  weights.save(model, config, tmp_path / "run", step=3)
  done = subprocess.run([sys.executable, "-m", "trm_jax.interop", "export", os.fspath(tmp_path / "run"),
                         f"--out={tmp_path}/made/step_3", "--nocompiled"], capture_output=True, text=True)
  assert done.stdout == (
      f"{tmp_path}/run: step 3, TRM mlp T=1 n=1 1x8 bfloat16; in {tmp_path}/made/step_3\n"), done.stderr
  read = interop.read_reference_file(pathlib.Path(tmp_path, "made", "step_3"))
  expected = interop.to_reference(model, compiled=False)
  assert read.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(np.asarray(read[name]), array, strict=True)


def test_a_norm_that_the_reference_lacks_is_not_left_out_in_silence(tmp_path):
  config = tiny.config(model__inner_norm=True)
  weights.save(make_model(config), config, tmp_path / "run", step=3)
  done = subprocess.run([sys.executable, "-m", "trm_jax.interop", "export", os.fspath(tmp_path / "run"),
                         f"--out={tmp_path}/made"], capture_output=True, text=True)
  assert done.returncode == 2 and not (tmp_path / "made").exists()
  assert done.stderr.splitlines()[-1] == (
      f"error: {tmp_path}/run: config.model.inner_norm = True: the reference has no norm there, and would compute "
      "something else with these parameters; use another --format")
