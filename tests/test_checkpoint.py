# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is kept, what comes back, and what a damaged one or a full disk does."""

import contextlib
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax import checkpoint
from trm_jax.errors import UserError

RUN = {"config": {"name": "x"}, "total_steps": 9}


def state(value):
  return {"layers": {0: jnp.full((5, 3), value), 1: jnp.arange(4)}, "step": jnp.int32(value)}


def abstract(value=0):
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return checkpoint.abstract(state(value), jax.tree.map(lambda _: one, state(value)))


@pytest.fixture
def saved(tmp_path):
  """Checkpoints of steps 1 … 3 in tmp_path/checkpoints."""
  checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
  for step in (1, 2, 3):
    checkpoints.save(step, state(step), RUN)
  checkpoints.wait()
  checkpoints.close()
  return tmp_path / "checkpoints"


def test_what_is_saved_comes_back(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.steps() == [1, 2, 3] and checkpoints.latest_step() == 3
  restored = checkpoints.restore(2, abstract())
  jax.tree.map(np.testing.assert_array_equal, restored, state(2))
  assert checkpoints.read_run(2) == RUN


@pytest.mark.parametrize("name", ["a b", "ünï", "a#b", "50%20", "a]b", "x/", "x/./y", "{a,b}", "link/../z"])
def test_what_is_saved_comes_back_whatever_the_folder_is_called(tmp_path, monkeypatch, name):
  """A path that leads up from a symbolic link is the operating system's, as it is for a run's other files."""
  (tmp_path / "here").mkdir()
  (tmp_path / "there" / "target").mkdir(parents=True)
  monkeypatch.chdir(tmp_path / "here")
  pathlib.Path("link").symlink_to(tmp_path / "there" / "target")
  with contextlib.closing(checkpoint.Checkpoints(f"{name}/checkpoints")) as checkpoints:
    checkpoints.save(1, state(1), RUN)
    checkpoints.wait()
  assert {path.name for path in pathlib.Path(name).joinpath("checkpoints").iterdir()} == {"1"}
  with contextlib.closing(checkpoint.Checkpoints(f"{name}/checkpoints", read_only=True)) as checkpoints:
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(1, abstract()), state(1))


def test_donating_the_state_after_a_save_does_not_change_what_is_written(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
  live = {"x": jnp.zeros(300_000)}
  bump = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  checkpoints.save(1, live, RUN)
  for _ in range(5):
    live = bump(live)
  checkpoints.wait()
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  restored = checkpoints.restore(1, checkpoint.abstract(live, {"x": one}))
  np.testing.assert_array_equal(restored["x"], 0)


def test_the_last_five_and_the_best_are_kept(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
  for step, accuracy in enumerate((0.1, 0.9, None, 0.3, 0.2, None, 0.4, 0.5, None), start=1):
    checkpoints.save(step, state(step), RUN, exact_accuracy=accuracy)
  checkpoints.wait()
  assert checkpoints.steps() == [2, 5, 6, 7, 8, 9]
  assert checkpoints.best_step() == 2
  checkpoints.close()
  again = checkpoint.Checkpoints(tmp_path / "checkpoints")
  assert again.best_step() == 2, "the accuracies must outlive the process"


def test_no_accuracy_no_best(saved):
  assert checkpoint.Checkpoints(saved).best_step() is None


def test_debris_of_a_killed_save_is_passed_over_and_removed(saved):
  debris = saved / "4.orbax-checkpoint-tmp"
  debris.mkdir()
  (debris / "half").write_bytes(b"x")
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.latest_step() == 3
  checkpoints.save(4, state(4), RUN)  # Orbax cleans up in the background, and is done before it saves.
  checkpoints.wait()
  assert checkpoints.steps() == [1, 2, 3, 4]
  assert not debris.exists()


@pytest.mark.parametrize("damage", ["truncate", "delete", "empty"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(saved, damage):
  for file in (saved / "3" / "state").rglob("*"):
    if not file.is_file():
      continue
    if damage == "truncate" and file.stat().st_size > 1:
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "delete":
      file.unlink()
    elif damage == "empty":
      file.write_bytes(b"")
  checkpoints = checkpoint.Checkpoints(saved)
  with pytest.raises(UserError, match=r"checkpoints/3: damaged or incomplete .*; delete it to go on from step 2"):
    checkpoints.restore(3, abstract())
  jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(2, abstract()), state(2))


def test_a_checkpoint_of_another_shape_is_refused(saved):
  other = abstract() | {"step": jax.ShapeDtypeStruct((7,), jnp.int32, sharding=abstract()["step"].sharding)}
  with pytest.raises(UserError, match="checkpoints/3"):
    checkpoint.Checkpoints(saved).restore(3, other)


def test_find_takes_a_run_its_checkpoints_or_one_of_them(saved):
  assert checkpoint.find(str(saved.parent)) == (saved, None)
  assert checkpoint.find(str(saved)) == (saved, None)
  assert checkpoint.find(str(saved / "2")) == (saved, 2)
  for missing in (saved / "7", saved.parent / "nothing"):
    with pytest.raises(UserError, match="no checkpoint here"):
      checkpoint.find(str(missing))


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot keep checkpoints here"):
    checkpoint.Checkpoints(tmp_path / "file" / "checkpoints")


def test_a_full_disk_is_one_clear_error_and_earlier_checkpoints_survive(saved):
  program = f"""
      import resource, signal
      import jax, jax.numpy as jnp, numpy as np
      from trm_jax import checkpoint
      signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
      checkpoints = checkpoint.Checkpoints({str(saved)!r})
      noise = jnp.asarray(np.random.default_rng(0).normal(size=400_000))  # does not compress
      resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk: writing more fails
      try:
        checkpoints.save(4, {{"x": noise}}, {{}})
        checkpoints.wait()
      except checkpoint.UserError as e:
        print("UserError:", e)
  """
  ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
  assert "UserError: " in ran.stdout, ran.stdout + ran.stderr
  assert "could not be written" in ran.stdout and "the newest complete one is of step 3" in ran.stdout
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.latest_step() == 3
  jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(3, abstract()), state(3))
