# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is kept, what comes back, and what a damaged one or a full disk does."""

import collections
import contextlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import Damaged, TryAgain, UserError
from trm_jax.model import TRMConfig
from trm_jax.runtime import sharding
from trm_jax.training import checkpoint

NOISE = jnp.asarray(np.random.default_rng(0).integers(-2**31, 2**31, 1000, np.int32))  # does not compress
RUN = {"config": {"name": "x"}, "total_steps": 9}


def save(checkpoints, *steps):
  for step in steps:
    checkpoints.save(step, state(step), RUN)
  checkpoints.wait()
  checkpoints.close()


def state(value):
  return {"layers": {0: jnp.full((5, 3), value), 1: NOISE}, "step": jnp.int32(value)}


def abstract(value=0):
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return sharding.abstract(state(value), jax.tree.map(lambda _: one, state(value)))


@pytest.fixture
def saved(tmp_path):
  """Checkpoints of steps 1 … 3 in tmp_path/checkpoints."""
  save(checkpoint.Checkpoints(tmp_path / "checkpoints"), 1, 2, 3)
  return tmp_path / "checkpoints"


def test_what_is_saved_comes_back(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.steps() == [1, 2, 3] and checkpoints.latest_step() == 3
  restored = checkpoints.restore(2, abstract())
  jax.tree.map(np.testing.assert_array_equal, restored, state(2))
  assert checkpoints.read_run(2) == RUN


def test_a_table_whose_rows_are_shared_out_comes_back_on_any_devices(tmp_path):
  """On 8, 6 or 4 it is shared out; 5 do not divide it, so each has all of it."""
  rows = TRMConfig(vocab_size=2, seq_len=2, num_puzzle_identifiers=3_100).prefix_table_rows
  table = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)

  def layout(devices):
    return sharding.state_shardings(sharding.make_mesh(jax.devices()[:devices]),
                                    {"prefix_table": {"puzzle_emb": jax.ShapeDtypeStruct(table.shape, "float32")}})

  with contextlib.closing(checkpoint.Checkpoints(tmp_path)) as checkpoints:
    checkpoints.save(1, jax.device_put({"prefix_table": {"puzzle_emb": table}}, layout(8)), RUN)
    checkpoints.wait()
    for devices, share in ((8, rows // 8), (6, rows // 6), (4, rows // 4), (5, rows), (1, rows)):
      shape = {"prefix_table": {"puzzle_emb": jax.ShapeDtypeStruct(table.shape, "float32")}}
      restored = checkpoints.restore(1, sharding.abstract(shape, layout(devices)))["prefix_table"]["puzzle_emb"]
      np.testing.assert_array_equal(restored, table)
      assert {shard.data.shape[0] for shard in restored.addressable_shards} == {share}


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
  restored = checkpoints.restore(1, sharding.abstract(live, {"x": one}))
  np.testing.assert_array_equal(restored["x"], 0)


def test_the_last_five_and_the_best_are_kept(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
  for step, accuracy in enumerate((0.1, 0.9, None, 0.3, 0.2, None, 0.4, 0.5, None), start=1):
    if accuracy is not None:
      checkpoints.add_evaluation(step, accuracy)
    checkpoints.save(step, state(step), RUN)
  checkpoints.wait()
  assert checkpoints.steps() == [2, 5, 6, 7, 8, 9]
  assert checkpoints.best_step() == 2
  checkpoints.close()
  again = checkpoint.Checkpoints(tmp_path / "checkpoints")
  assert again.best_step() == 2, "the accuracies must outlive the process"
  assert [step for step in range(10) if again.evaluated(step)] == [2, 5, 7, 8]


def test_a_checkpoint_can_be_evaluated_after_it_was_saved(saved):
  checkpoints = checkpoint.Checkpoints(saved, keep=1)
  checkpoints.add_evaluation(2, 0.5)
  checkpoints.add_evaluation(3, 0.25)
  checkpoints.save(4, state(4), RUN)
  checkpoints.wait()
  assert checkpoint.Checkpoints(saved).best_step() == 2 and checkpoints.steps() == [2, 4]


def test_an_evaluation_that_is_not_followed_by_its_checkpoint_counts_for_nothing(saved):
  """As after a kill between the two: the best of the checkpoints that are there is as it was."""
  checkpoints = checkpoint.Checkpoints(saved)
  checkpoints.add_evaluation(1, 0.5)
  checkpoints.add_evaluation(4, 0.9)
  again = checkpoint.Checkpoints(saved)
  assert again.best_step() == 1 and not again.evaluated(4)


def test_of_equal_checkpoints_the_newest_is_the_best(saved):
  checkpoints = checkpoint.Checkpoints(saved)
  for step in (1, 2, 3):
    checkpoints.add_evaluation(step, 0.0 if step == 3 else 0.5)
  assert checkpoints.best_step() == 2


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


def files_of(step):
  return [file for file in step.rglob("*") if file.is_file()]


def damage(file, how):
  if how == "truncated":
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  elif how == "deleted":
    file.unlink()
  elif how == "emptied":
    file.write_bytes(b"")


@pytest.mark.parametrize("how", ["truncated", "deleted", "emptied"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(saved, how):
  for file in files_of(saved / "3" / "state"):
    damage(file, how)
  checkpoints = checkpoint.Checkpoints(saved)
  with pytest.raises(Damaged) as e:
    checkpoints.restore(3, abstract())
  assert str(e.value).startswith(f"{saved}/3: damaged or incomplete checkpoint (")
  assert str(e.value).endswith("; the one of step 2 is whole; to go on from it, move the damaged one aside and give "
                               f"the same command again: mv {saved}/3 {saved.parent}/damaged-3")
  subprocess.run(str(e.value).rpartition(": ")[2].split(), check=True)
  again = checkpoint.Checkpoints(saved)
  assert again.latest_step() == 2
  jax.tree.map(np.testing.assert_array_equal, again.restore(2, abstract()), state(2))


@pytest.mark.parametrize("how", ["truncated", "deleted", "emptied"])
def test_a_damaged_note_is_named_with_what_to_do(saved, how):
  damage(saved / "3" / "run" / "metadata", how)
  damage(saved / "2" / "run" / "metadata", how)
  with pytest.raises(Damaged, match=r"checkpoints/3: (damaged|incomplete) .*run/metadata.*; the one of step "
                                               "1 is whole; .*: mv .*/checkpoints/3 .*/damaged-3"):
    checkpoint.Checkpoints(saved).read_run(3)


def test_nobody_is_told_to_give_up_the_only_checkpoint(tmp_path):
  save(checkpoint.Checkpoints(tmp_path / "checkpoints"), 1)
  damage(tmp_path / "checkpoints" / "1" / "state" / "_METADATA", "emptied")
  with pytest.raises(Damaged) as e:
    checkpoint.Checkpoints(tmp_path / "checkpoints").restore(1, abstract())
  assert str(e.value).endswith("; no other one is whole; put a copy of one in its place, or start the run in another "
                               "folder")


def test_a_checkpoint_that_its_run_deletes_meanwhile_is_not_called_damaged(saved):
  with contextlib.closing(checkpoint.Checkpoints(saved, read_only=True)) as checkpoints:
    assert checkpoints.steps() == [1, 2, 3]
    shutil.rmtree(saved / "1")
    for read in (lambda: checkpoints.restore(1, abstract()), lambda: checkpoints.read_run(1),
                 lambda: checkpoints.fields(1)):
      with pytest.raises(TryAgain, match=r"checkpoints/1: deleted while it was read, .* the same command again$"):
        read()


def test_a_checkpoint_under_the_name_of_another_step_is_noticed(saved):
  (saved / "2").rename(saved / "7")
  with pytest.raises(Damaged, match=r"checkpoints/7: damaged .*saved as that of step 2.* step 3 is whole"):
    checkpoint.Checkpoints(saved).read_run(7)


def same(one, other):
  return all(a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
             for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_no_flipped_bit_changes_what_comes_back(saved):
  """In any file of a checkpoint: either it does not matter, or it is said which checkpoint is damaged."""
  random = np.random.default_rng(0)
  noticed = collections.Counter()
  for file in files_of(saved / "3"):
    whole = file.read_bytes()
    for bit in random.integers(8 * len(whole), size=10):
      flipped = bytearray(whole)
      flipped[bit // 8] ^= 1 << bit % 8
      file.write_bytes(flipped)
      checkpoints = checkpoint.Checkpoints(saved, read_only=True)
      try:
        assert checkpoints.read_run(3) == RUN
        assert same(checkpoints.restore(3, abstract()), state(3)), (file, bit)
      except Damaged as e:
        noticed[file.relative_to(saved / "3").parts[0]] += 1
        assert str(e).startswith(f"{saved}/3: damaged ") and "the one of step 2 is whole" in str(e)
    file.write_bytes(whole)
  assert noticed["run"] > 5 and noticed["state"] > 20


def test_a_flipped_bit_names_the_array(saved):
  """As it lies in the file, uncompressed, so that nothing but the digest can notice it."""
  noise = state(3)["layers"][1].tobytes()
  [file] = [file for file in files_of(saved / "3") if noise in file.read_bytes()]
  content = bytearray(file.read_bytes())
  content[content.index(noise) + 1000] ^= 4
  file.write_bytes(content)
  with pytest.raises(Damaged, match="layers/1 is not what was saved; 1 of 3 arrays in all"):
    checkpoint.Checkpoints(saved).restore(3, abstract())
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.fields(3) == {"layers", "step"}
  assert checkpoints.restore_parts(3, {"step": abstract()["step"]}) == {"step": 3}  # what is not read is not looked at
  with pytest.raises(UserError, match="does not hold the state of this model.*1 of 1 arrays differ .step: int32"):
    checkpoints.restore_parts(3, {"step": jax.ShapeDtypeStruct((2,), "int32", sharding=abstract()["step"].sharding)})


# What lies outside: the checkpoint is good, and nobody is told to move it or to delete it.


@contextlib.contextmanager
def few_open_files():
  before = resource.getrlimit(resource.RLIMIT_NOFILE)
  resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # those that are open stay open
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def as_somebody_else():
  """Who may not enter pytest's folder."""
  if os.geteuid():
    pytest.skip("only root can become somebody else")
  os.seteuid(65534)
  try:
    yield
  finally:
    os.seteuid(0)


@contextlib.contextmanager
def nothing():
  yield


@pytest.mark.parametrize("outside, file, cause", [
    (few_open_files, "", "Too many open files"),
    (as_somebody_else, "", "Permission denied"),
    (nothing, "run/metadata", "Input/output error"),
    (nothing, "state/_METADATA", "Input/output error"),
])
def test_a_good_checkpoint_is_not_called_damaged(saved, outside, file, cause):
  checkpoints = checkpoint.Checkpoints(saved, read_only=True)
  if file:
    (saved / "3" / file).unlink()
    (saved / "3" / file).symlink_to("/proc/self/mem")  # fails when it is read, as a disk does
  with pytest.raises(UserError) as e, outside():
    checkpoints.read_run(3)
    checkpoints.restore(3, abstract())
  assert cause in str(e.value) and str(e.value).startswith(f"{saved}/3")
  assert not isinstance(e.value, Damaged) and not any(word in str(e.value) for word in ("damaged", "mv "))


def test_a_damaged_list_of_accuracies_is_named_and_the_checkpoints_are_not(saved):
  checkpoint.Checkpoints(saved).add_evaluation(2, 0.5)
  file = saved / "evaluations.json"
  file.write_text(file.read_text().replace("0.5", "0.4"))
  with pytest.raises(Damaged, match="evaluations.json: damaged .* to go on without their accuracies: mv ") as e:
    checkpoint.Checkpoints(saved)
  subprocess.run(str(e.value).rpartition(": ")[2].split(), check=True)
  again = checkpoint.Checkpoints(saved)
  assert again.steps() == [1, 2, 3] and again.best_step() is None


def test_a_checkpoint_of_another_shape_is_refused(saved):
  other = abstract() | {"step": jax.ShapeDtypeStruct((7,), jnp.int32, sharding=abstract()["step"].sharding)}
  with pytest.raises(UserError, match=r"checkpoints/3: does not hold .* 1 of 3 arrays differ \(step: int32\[\]"
                                      r" there, int32\[7\] here\)"):
    checkpoint.Checkpoints(saved).restore(3, other)


def test_find_takes_a_run_its_checkpoints_or_one_of_them(saved):
  assert checkpoint.find(str(saved.parent)) == (saved, None)
  assert checkpoint.find(str(saved)) == (saved, None)
  assert checkpoint.find(str(saved / "2")) == (saved, 2)
  for missing in (saved / "7", saved.parent / "nothing"):
    with pytest.raises(UserError, match="no checkpoint here"):
      checkpoint.find(str(missing))


def test_find_says_why_there_is_no_checkpoint(saved):
  (saved / "3").rename(saved / "3.orbax-checkpoint-tmp")
  (saved / "file").write_text("x")
  for path, reason in ((saved / "3.orbax-checkpoint-tmp", "only half written"),
                       (saved / "file", r"cannot be read \(Not a directory\); a file stands where a folder is needed")):
    with pytest.raises(UserError, match=f"--checkpoint={path}: {reason}"):
      checkpoint.find(str(path))
  with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); check who may read"), as_somebody_else():
    checkpoint.find(str(saved))


def test_reading_changes_nothing(saved):
  debris = saved / "4.orbax-checkpoint-tmp"  # which another run may be writing
  debris.mkdir()
  before = {path: path.stat() for path in saved.rglob("*")}
  with contextlib.closing(checkpoint.Checkpoints(saved, read_only=True)) as checkpoints:
    checkpoints.restore(checkpoints.latest_step(), abstract())
  after = {path: path.stat() for path in saved.rglob("*")}
  assert {path: stat.st_mtime_ns for path, stat in after.items()} == {p: s.st_mtime_ns for p, s in before.items()}


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="checkpoints cannot be kept here .Not a directory"):
    checkpoint.Checkpoints(tmp_path / "file" / "checkpoints")


def test_a_save_that_fails_says_why_and_earlier_checkpoints_survive(saved):
  program = f"""
      import os, resource, signal
      import jax, jax.numpy as jnp, numpy as np
      from trm_jax.training import checkpoint
      signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
      checkpoints = checkpoint.Checkpoints({str(saved)!r})
      noise = jnp.asarray(np.random.default_rng(0).normal(size=400_000))  # does not compress

      def save(step):
        try:
          checkpoints.save(step, {{"x": noise}}, {{}})
          checkpoints.wait()
        except checkpoint.UserError as e:
          print("UserError:", e, flush=True)

      limits = resource.getrlimit(resource.RLIMIT_FSIZE)
      resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as a full disk: writing more fails
      save(4)
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
      limits = resource.getrlimit(resource.RLIMIT_NOFILE)
      resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # those that are open stay open
      save(5)
      os._exit(0)  # Orbax's threads wait for what never comes
  """
  ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
  lines = [line for line in ran.stdout.splitlines() if line.startswith("UserError: ")]
  assert len(lines) == 2, ran.stdout + ran.stderr
  for line, cause, advice in zip(lines, ("File too large", "Too many open files"), ("free some space", "`ulimit -n`")):
    assert "a checkpoint could not be written; the newest complete one is of step 3 (" in line
    assert cause in line and line.endswith(advice)
  checkpoints = checkpoint.Checkpoints(saved)
  assert checkpoints.latest_step() == 3
  jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(3, abstract()), state(3))
