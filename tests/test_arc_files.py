# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC's files: what is wrong with them is said in one line that names file, task and rule."""

import json
import re

import npz
import numpy as np
import pytest

from trm_jax import config as config_lib
from trm_jax.data.puzzles import IGNORE_LABEL
from trm_jax.errors import UserError
from trm_jax.tasks.arc import draws
from trm_jax.tasks.arc import grids
from trm_jax.tasks.arc import json_files
from trm_jax.tasks.arc.config import ArcData
from trm_jax.tasks.arc.task import ArcTask

_GRIDS = ([[1, 2], [3, 0]], [[4]], [[0, 5, 6]], [[7, 7]])


def _pair(i):
  return {"input": _GRIDS[i % 4], "output": _GRIDS[(i + 1) % 4]}


def _subset(names):
  challenges = {name: {"train": [_pair(i), _pair(i + 1)], "test": [{"input": _pair(i + 2)["input"]}]}
                for i, name in enumerate(names)}
  return challenges, {name: [_pair(i + 2)["output"]] for i, name in enumerate(names)}


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  folder = tmp_path / "arc"
  folder.mkdir()
  for subset, names in (("training", "ab"), ("evaluation", "cde")):
    for kind, content in zip(("challenges", "solutions"), _subset(names)):
      (folder / f"arc-agi_{subset}_{kind}.json").write_text(json.dumps(content))
  return folder


def _task(folder, **fields):
  return ArcTask(ArcData(**{"source": str(folder), "subsets": "training,evaluation", "num_aug": 3} | fields))


def _config(subsets):
  config = config_lib.default_config("arc")
  config.data.subsets = subsets
  return config


def _edit(folder, name, change):
  path = folder / f"arc-agi_{name}.json"
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def _set(*keys, to):
  def change(content):
    for key in keys[:-1]:
      content = content[key]
    content[keys[-1]] = to
  return change


def _removing(*keys):
  def change(content):
    for key in keys[:-1]:
      content = content[key]
    del content[keys[-1]]
  return change


_PAIR = "arc-agi_training_challenges.json, task a, train pair 2"
BAD = {
    "ragged": ("training_challenges", _set("a", "train", 1, "input", to=[[1, 2], [3]]),
               f"{_PAIR}, input: is ragged, with rows of 1 and 2 cells; all must be equally long"),
    "too wide": ("training_challenges", _set("a", "train", 1, "output", to=[[1] * 31]),
                 f"{_PAIR}, output: has 1 rows of 31 cells; must have 1 to 30 of 1 to 30"),
    "too high": ("training_challenges", _set("a", "train", 1, "output", to=[[1]] * 31), "has 31 rows of 1 cells"),
    "empty": ("training_challenges", _set("a", "train", 1, "output", to=[]), "has 0 rows of 0 cells"),
    "no grid": ("training_challenges", _set("a", "train", 1, "input", to=[1, 2]), f"{_PAIR}, input: is not a grid"),
    "ten": ("training_challenges", _set("a", "train", 1, "input", to=[[1, 10]]),
            f"{_PAIR}, input: has the colour 10; colours are the integers 0 to 9"),
    "negative": ("training_challenges", _set("a", "train", 1, "input", to=[[-1]]), "has the colour -1"),
    "float": ("training_challenges", _set("a", "train", 1, "input", to=[[1.0]]), "has the colour 1.0"),
    "large": ("training_challenges", _set("a", "train", 1, "input", to=[[300]]), "has the colour 300"),
    "word": ("training_challenges", _set("a", "train", 1, "input", to=[["1"]]), "has the colour '1'"),
    "no output": ("training_challenges", _removing("a", "train", 1, "output"), f"{_PAIR}: has no 'output'"),
    "no pairs": ("training_challenges", _set("a", "test", to=[]), "task a: 'test' must be a list of at least one pair"),
    "no kind": ("training_challenges", _removing("a", "test"), "task a: must have 'train' and 'test' and nothing else"),
    "few solutions": ("evaluation_solutions", _set("c", to=[]),
                      "arc-agi_evaluation_solutions.json, task c: has 0 solutions of 1 test inputs"),
    "many solutions": ("evaluation_solutions", _set("c", to=[[[1]], [[2]]]), "c: has 2 solutions of 1 test inputs"),
    "a bad solution": ("evaluation_solutions", _set("c", to=[[[11]]]),
                       "arc-agi_evaluation_solutions.json, task c, solution 1: has the colour 11"),
    "true": ("training_challenges", _set("a", "train", 1, "input", to=[[True]]),
             f"{_PAIR}, input: has the colour True"),
    "null for solutions": ("evaluation_solutions", _set("c", to=None),
                           "arc-agi_evaluation_solutions.json, task c: must be a list of grids"),
    "lacks a solution": ("evaluation_solutions", _removing("d"), "has no solutions of task d; use the two files"),
    "another's solution": ("evaluation_solutions", _set("x", to=[[[1]]]),
                           "has solutions of task x, which arc-agi_evaluation_challenges.json has not"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(folder, name):
  file, change, message = BAD[name]
  _edit(folder, file, change)
  with pytest.raises(UserError, match=re.escape(message)) as raised:
    _task(folder).read("train")
  assert str(raised.value).startswith(str(folder)) and "\n" not in str(raised.value)
  assert not (folder.parent / "cache").exists()


def test_a_task_that_is_there_twice(folder):
  path = folder / "arc-agi_training_challenges.json"
  path.write_text(path.read_text().replace('"b":', '"a":'))
  with pytest.raises(UserError, match="arc-agi_training_challenges.json: has 'a' more than once"):
    _task(folder).read("train")


def test_files_that_are_cut_off_or_not_there(folder):
  path = folder / "arc-agi_training_challenges.json"
  text = path.read_text()
  path.write_text(text[:100])
  with pytest.raises(UserError, match="arc-agi_training_challenges.json: is cut off in line 1"):
    _task(folder).read("train")
  path.unlink()
  with pytest.raises(UserError, match="has no …_training_challenges.json, which config.data.subsets asks for"):
    _task(folder).read("train")
  for number in "12":
    (folder / f"{number}_training_challenges.json").write_text(text)
  with pytest.raises(UserError, match="1_training_challenges.json and 2_training_challenges.json are both challenges"):
    _task(folder).read("train")
  with pytest.raises(UserError, match="^config.data.source = '/nowhere': no such folder; name the folder of the JSON"):
    _task("/nowhere").read("train")


def test_a_file_of_one_task_that_is_not_as_it_must_be(tmp_path):
  """The task is named after its file, also where it lacks a part or has one more."""
  path = tmp_path / "a.json"
  for change in (lambda task: task.pop("test"), lambda task: task.update(name="a")):
    task = _subset("a")[0]["a"]
    change(task)
    path.write_text(json.dumps(task))
    with pytest.raises(UserError, match=f"^{path}, task a: must have 'train' and 'test' and nothing else"):
      json_files.read_file(path, grids.SIDE)


def test_knobs_that_do_not_go_together(folder):
  with pytest.raises(UserError, match="config.data.subsets = .*: must be names of subsets, each once, with commas and "
                                      "no spaces between them"):
    config_lib.parse(_config("training, evaluation"))
  with pytest.raises(UserError, match="config.data.test_set = 'public': must be one of config.data.subsets"):
    _task(folder, test_set="public").read("train")
  with pytest.raises(UserError, match="config.data.seed = 4294967296: must be below 2"):
    _task(folder, seed=2**32).read("train")


def test_tasks_that_are_larger_than_the_canvas_are_left_out(folder, capsys):
  """A solution is too tall in one task, an input too wide in another; the rest is the data set without these two."""
  for name, side, key in (("training_solutions", (5, 1), ("a", 0)), ("evaluation_challenges", (1, 5), (
      "c", "train", 1, "input"))):
    _edit(folder, name, _set(*key, to=np.ones(side, int).tolist()))
  train = _task(folder, side=4).read("train")
  assert f"warning: 2 of 5 tasks in {folder} have a grid with more than config.data.side = 4 rows" in (
      capsys.readouterr().err)
  for subset, name in (("training", "a"), ("evaluation", "c")):
    for kind in ("challenges", "solutions"):
      _edit(folder, f"{subset}_{kind}", _removing(name))
  expected = _task(folder, side=4).read("train")
  assert train.num_groups == expected.num_groups == 3 and not capsys.readouterr().err
  np.testing.assert_array_equal(train.inputs, expected.inputs)
  for name in "de":
    _edit(folder, "evaluation_solutions", _set(name, 0, to=[[1] * 5]))
  with pytest.raises(UserError, match="^config.data.side = 4: each task of .*'s evaluation has a grid with more rows "
                                      "or columns; raise it$"):
    _task(folder, side=4).read("test")
  assert _task(folder, side=5).read("test").num_groups == 2


def test_solutions_that_are_missing(folder):
  before = _task(folder).read("train")
  (folder / "arc-agi_evaluation_solutions.json").unlink()
  task = _task(folder)
  test = task.read("test")
  assert (test.labels == IGNORE_LABEL).all() and len(test) == 3
  assert task.read("train").num_groups == before.num_groups == 5


def test_tasks_of_several_subsets(folder):
  """A task that two subsets have has one identifier for what is the same version of it."""
  alone = _task(folder).read("train")
  _edit(folder, "training_challenges", lambda content: content.update(c=content.pop("a")))
  _edit(folder, "training_solutions", lambda content: content.update(c=content.pop("a")))
  both = _task(folder).read("train")
  originals = both.versions.identifiers[both.versions.starts[:-1]]
  assert len(set(originals)) == 4 and both.num_puzzle_identifiers < alone.num_puzzle_identifiers
  names = _task(folder).task_names
  assert sorted(names.values()) == list("bcde")


def _slow_versions(rng, pairs, num_aug):
  """As the reference finds them, with every grid made."""
  def made(version):
    return sorted((grids.apply(a, version).tolist(), grids.apply(b, version).tolist()) for a, b in pairs)

  found, seen = [grids.ORIGINAL], [made(grids.ORIGINAL)]
  for _ in range(5 * num_aug):
    transform = rng.randint(0, 8)
    colours = rng.permutation(np.arange(1, 10, dtype=np.uint8))
    version = transform * 10**8 + int("".join(map(str, colours[:8])))
    if made(version) not in seen:
      seen.append(made(version))
      found.append(version)
    if len(found) > num_aug:
      break
  return found


def test_a_task_of_few_versions():
  """Black and one colour: 9 colours and up to 8 transforms; the generator is left where the reference leaves it."""
  arrays = [[np.array(grid, np.uint8) for grid in pair] for pair in (
      ([[0, 1]], [[1]]), ([[0]], [[0]]), ([[1, 0], [0, 1]], [[0, 1], [1, 0]]), ([[2, 1], [0, 0]], [[1, 2, 3]]))]
  for pairs, num_aug in ((arrays[:1], 60), (arrays[1:2], 10), (arrays[2:3], 30), (arrays[3:], 40), (arrays[:3], 50)):
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    found = draws.versions(ours, pairs, num_aug)
    assert found.tolist() == _slow_versions(theirs, pairs, num_aug)
    assert ours.randint(2**31) == theirs.randint(2**31)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # of the emulator's client
def test_a_bucket(folder, bucket):
  """The published files, and a folder of the reference, in gs://."""
  from etils import epath
  import test_arc_reference

  test_arc_reference.write_reference_folder(test_arc_reference.OWN, folder.parent / "written")
  for name, local in (("json", folder), ("written", folder.parent / "written")):
    for path in local.rglob("*"):
      if path.is_file():
        remote = epath.Path(f"gs://{bucket}/{name}") / str(path.relative_to(local))
        remote.parent.mkdir(parents=True, exist_ok=True)
        remote.write_bytes(path.read_bytes())
    for split in ("train", "test"):
      assert _task(f"gs://{bucket}/{name}").read(split).digest() == _task(local).read(split).digest()
  with pytest.raises(UserError, match="has no …_training_challenges.json"):
    _task(f"gs://{bucket}/nothing").read("train")


def test_the_draws_are_kept_and_found(folder, monkeypatch):
  first = _task(folder).read("train")
  [kept] = (folder.parent / "cache").rglob("*.npz")
  monkeypatch.setattr("trm_jax.tasks.arc.draws.versions", None)  # not drawn again
  assert _task(folder).read("train").digest() == first.digest()
  monkeypatch.undo()
  monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
  assert _task(folder, seed=7).read("train").digest() != first.digest()
  assert len(list(kept.parent.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "emptied", "one byte", "another array", "text"])
def test_kept_draws_that_are_damaged(folder, damage):
  _task(folder).read("train")
  [kept] = (folder.parent / "cache").rglob("*.npz")
  content = kept.read_bytes()
  if damage == "truncated":
    kept.write_bytes(content[: len(content) // 2])
  elif damage == "emptied":
    kept.write_bytes(b"")
  elif damage == "one byte":
    at = len(content) // 2
    kept.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
  elif damage == "another array":
    arrays = npz.read(kept)
    arrays["numbers"][1] = grids.ORIGINAL
    np.savez(kept, **arrays)
  else:
    kept.write_text("no draws")
  with pytest.raises(UserError, match=f"^{re.escape(str(kept))}: is c.*; delete it, and the same command makes it"):
    _task(folder).read("train")


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
  def full(file, **arrays):
    file.write(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(UserError, match="cannot be written"):
    _task(folder).read("train")
  assert not [path for path in (folder.parent / "cache").rglob("*") if path.is_file()]
