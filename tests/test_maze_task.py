# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Mazes as a task: read from wherever they are, turned and reflected, trained on, scored, drawn."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import json
import pathlib
import runpy
import threading

import jax
from matplotlib import colors
from matplotlib import image
import numpy as np
import pytest
import test_load
import tiny

from trm_jax import boards
from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import study
from trm_jax.data import csv_files
from trm_jax.data import rows as rows_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Puzzles
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.model.trm import Outputs
from trm_jax.report import runs
from trm_jax.runtime import sharding
from trm_jax.study import estimate
from trm_jax.tasks import symmetry as symmetry_lib
from trm_jax.tasks.maze import generate
from trm_jax.tasks.maze import hard
from trm_jax.tasks.maze import rules
from trm_jax.tasks.maze.config import MazeData
from trm_jax.tasks.maze.task import MazeTask
from trm_jax.training import evaluator
from trm_jax.training import loop
from trm_jax.training import program

_CONFIGS = pathlib.Path(__file__).parents[1] / "configs" / "maze.py"
SMALL = MazeData(rows=6, columns=6, num_train=8, num_validation=2, num_test=4)


def _made(rows=6, columns=6) -> dict[str, Puzzles]:
  splits = generate.generate_splits(rows=rows, columns=columns, num_train=10, num_validation=0, num_test=4, min_path=4,
                                    loops=0.2, seed=0)
  return {split: splits[split] for split in ("train", "test")}


def _write_csv(folder: pathlib.Path, splits: dict[str, Puzzles]) -> pathlib.Path:
  folder.mkdir()
  for split, puzzles in splits.items():
    csv_files.write_csv(folder / f"{split}.csv", puzzles, alphabet=rules.CHARACTERS, source="made")
  return folder


def _load(data: MazeData) -> splits_lib.Splits:
  return splits_lib.load(MazeTask(data))


# Where mazes come from.


def test_the_same_mazes_from_csv_files_and_a_folder_of_the_reference(tmp_path):
  made = _made()
  csv = _write_csv(tmp_path / "csv", made)
  reference = test_load.write_reference(tmp_path / "reference", made)
  loaded = [_load(dataclasses.replace(SMALL, source=str(folder))) for folder in (csv, reference)]
  for split in ("train", "validation", "test"):
    a, b = (getattr(splits, split) for splits in loaded)
    np.testing.assert_array_equal(a.inputs, b.inputs)
    np.testing.assert_array_equal(a.labels, b.labels, strict=True)
    assert a.vocab_size == b.vocab_size == 6
  assert (len(loaded[0].train), len(loaded[0].validation), len(loaded[0].test)) == (8, 2, 4)
  for folder in (csv, reference):
    with pytest.raises(UserError, match="25|5 x 5"):
      _load(dataclasses.replace(SMALL, rows=5, columns=5, source=str(folder)))


def test_a_folder_with_stored_versions(tmp_path):
  """As the reference's builder writes it with --aug: the eight of a training maze in one group."""
  made = _made()
  folder = test_load.write_reference(tmp_path / "reference", made)
  place = folder / "train"
  for name in ("inputs", "labels"):
    boards_ = np.load(place / f"all__{name}.npy").reshape(-1, 6, 6)
    stored = np.stack([np.stack([transform(board) for transform in NUMPY]) for board in boards_])
    np.save(place / f"all__{name}.npy", stored.reshape(-1, 36))
  np.save(place / "all__puzzle_identifiers.npy", np.zeros(80, int))
  np.save(place / "all__puzzle_indices.npy", np.arange(81))
  np.save(place / "all__group_indices.npy", np.arange(0, 81, 8))
  data = dataclasses.replace(SMALL, source=str(folder), num_train=10, num_aug=7)
  assert MazeTask(data).stored("train").num_versions == 7
  splits = _load(data)
  assert (splits.train.num_groups, len(splits.train), splits.validation) == (10, 80, None)
  assert len(_load(dataclasses.replace(data, num_aug=0)).train) == 10
  with pytest.raises(UserError, match="config.data.num_aug = -1: .* stores 7 augmented versions"):
    _load(dataclasses.replace(data, num_aug=-1))


def test_the_published_mazes(tmp_path, monkeypatch, capsys):
  """A mirror on this machine with mazes of the published size."""
  pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
  made = _made(30, 30)
  folder = _write_csv(tmp_path / "mirror", made)
  sha256 = {split: hashlib.sha256((folder / f"{split}.csv").read_bytes()).hexdigest() for split in ("train", "test")}
  requests = []

  class Handler(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *args):
      requests.append(self.path)

  with contextlib.ExitStack() as exits:
    server = exits.enter_context(
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    exits.callback(thread.join)
    exits.callback(server.shutdown)
    published = dataclasses.replace(hard.MAZE_HARD, base_url=f"http://127.0.0.1:{server.server_port}")
    data = MazeData(num_train=10, tfds_dir=str(tmp_path / "tfds"))
    # What is not the published file is refused.
    monkeypatch.setattr(hard, "MAZE_HARD", published)
    with pytest.raises(UserError, match=f"train.csv: the downloaded file has the SHA-256 {sha256['train']}, must have "
                                        f"{hard.MAZE_HARD.sha256['train']}"):
      _load(data)
    monkeypatch.setattr(hard, "MAZE_HARD", dataclasses.replace(published, sha256=sha256))
    for _ in range(2):
      loaded = _load(data)
      np.testing.assert_array_equal(loaded.test.inputs, made["test"].inputs)
      np.testing.assert_array_equal(np.sort(loaded.train.labels, axis=0), np.sort(made["train"].labels, axis=0))
  assert sorted(requests) == ["/test.csv", "/train.csv", "/train.csv"]
  assert (tmp_path / "tfds" / "maze_hard" / "1.0.0").is_dir()


def test_what_the_published_mazes_are_known_to_be():
  assert hard.MAZE_HARD.source == MazeData().source == "maze-hard"
  assert MazeTask(MazeData()).stored("train").num_groups == MazeTask(MazeData()).stored("test").num_groups == 1_000
  assert hard.MAZE_HARD.base_url.startswith("https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k/resolve/")
  assert {len(checksum) for checksum in hard.MAZE_HARD.sha256.values()} == {64}


def test_generated_mazes():
  splits = _load(dataclasses.replace(SMALL, source="generated", min_path=5, seed=3))
  assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [8, 2, 4] and splits.all_unseen
  assert (rules.path_moves(splits.train.labels) >= 5).all() and splits.notes == ()
  with pytest.raises(UserError, match="config.data.num_test = 0: means all, but 'generated' puzzles are endless"):
    _load(dataclasses.replace(SMALL, source="generated", num_test=0))


GOOD = "S  #" "# ##" "   G" "    ", "So #" "#o##" " ooG" "    "


@pytest.mark.parametrize("question, answer, message", [
    (GOOD[0].replace("S", " "), GOOD[1], "the maze has no 'S'; must have exactly one, the start"),
    (GOOD[0][:-1] + "G", GOOD[1], "the maze has 2 'G' (row 3, column 4, and row 4, column 4); must have exactly one"),
    (GOOD[0].replace("# ##", "####"), GOOD[1], "no way leads from 'S' to 'G'; there must be one"),
    (GOOD[0].replace("G", "X"), GOOD[1], "the question has 'X' in row 3, column 4; must be one of '# SGo'"),
    (GOOD[0], GOOD[1].replace("G", "."), "the answer has '.' in row 3, column 4; must be one of '# SGo'"),
    (GOOD[1], GOOD[1], "the maze has 'o' in row 1, column 2; must be one of"),
    (GOOD[0][:-1], GOOD[1], "the question has 15 characters, must have 16 (4 x 4 cells)"),
    (GOOD[0], GOOD[1] + " ", "the answer has 17 characters, must have 16 (4 x 4 cells)"),
    (GOOD[0], GOOD[1].replace("#o##", "#oo#"), "the answer has 'o' in row 2, column 3, the maze '#'"),
    (GOOD[0], GOOD[1].replace(" oo", "o o"), "the answer is no path from 'S' to 'G': 'o' in row 2, column 2 touches 1"),
    (GOOD[0], GOOD[0], "the answer is no path from 'S' to 'G': 'S' in row 1, column 1 touches 0 of its cells, must"),
])
def test_bad_mazes_are_named_by_file_and_line(tmp_path, question, answer, message):
  path = tmp_path / "train.csv"
  path.write_text(f"source,question,answer,rating\nmine,{GOOD[0]},{GOOD[1]},0\nmine,{question},{answer},0\n")
  with pytest.raises(UserError) as e:
    MazeTask(MazeData(rows=4, columns=4)).read_csv(path)
  assert str(e.value).startswith(f"{path}, line 3: {message}") and "\n" not in str(e.value)


def test_bad_mazes_of_a_reference_folder_are_named(tmp_path):
  made = _made()
  labels = made["train"].labels.copy()
  labels[3] = made["train"].inputs[3]
  made["train"] = dataclasses.replace(made["train"], labels=labels)
  folder = test_load.write_reference(tmp_path / "reference", made)
  with pytest.raises(UserError, match=r"all__labels.npy, row 3: the answer is no path from 'S' to 'G'"):
    _load(dataclasses.replace(SMALL, source=str(folder)))


# Versions.

NUMPY = (lambda a: a, lambda a: np.rot90(a, 1), lambda a: np.rot90(a, 2), lambda a: np.rot90(a, 3), np.fliplr,
         np.flipud, np.transpose, lambda a: np.fliplr(np.rot90(a, 1)))


def test_versions_are_the_transforms_of_the_reference_in_its_order():
  task = MazeTask(dataclasses.replace(SMALL, source="generated", min_path=4))
  arrays = task.arrays(task.read("train"))
  row = jax.jit(lambda version, key: task.row(arrays, 2, version, key))
  for version, transform in enumerate(NUMPY):
    made = row(np.int32(version), jax.random.key(version))
    for name in ("inputs", "labels"):
      np.testing.assert_array_equal(made[name], transform(arrays[name][2].reshape(6, 6)).reshape(-1))
    np.testing.assert_array_equal(task.undo(np.asarray(made["labels"]), version, jax.random.key(version)),
                                  arrays["labels"][2])
    assert task.solves(np.asarray(made["inputs"]), np.asarray(made["labels"]))


def test_fresh_versions_are_all_eight():
  task = MazeTask(dataclasses.replace(SMALL, source="generated", min_path=4, num_aug=rows_lib.FRESH))
  puzzles = task.read("train").take_groups(np.array([2]))
  source = rows_lib.to_device(rows_lib.Source.of(task.arrays(puzzles), puzzles))
  for num_aug, least in ((rows_lib.FRESH, 20), (7, 20), (0, 256)):
    batch = rows_lib.sample_batch(source, task.row, jax.random.key(0), 0, batch_size=256, num_aug=num_aug)
    seen, counts = np.unique(np.asarray(batch["inputs"]), axis=0, return_counts=True)
    expected = {transform(puzzles.inputs.reshape(6, 6)).tobytes() for transform in (NUMPY if num_aug else NUMPY[:1])}
    assert {maze.astype(np.uint8).tobytes() for maze in seen} == expected and counts.min() >= least


def test_boards_that_are_not_square_keep_their_shape():
  task = MazeTask(MazeData(rows=2, columns=3, num_aug=3))
  numbers = np.arange(6).reshape(2, 3)
  for version, image_ in enumerate((numbers, np.rot90(numbers, 2), np.fliplr(numbers), np.flipud(numbers))):
    symmetry = task.version_symmetry(np.int32(version), jax.random.key(0))
    np.testing.assert_array_equal(symmetry.cells, image_.reshape(-1))
    np.testing.assert_array_equal(symmetry_lib.inverse(symmetry).cells, image_.reshape(-1))
  with pytest.raises(UserError, match="^config.data.num_aug = 4: mazes of 2 x 3 cells have only 3 turned or"):
    MazeTask(MazeData(rows=2, columns=3, num_aug=4))


# Trained, scored, drawn.


def _config(**fields):
  values = config_lib.default_config("maze")
  changes = {name: value for name, value in tiny.FIELDS.items() if not name.startswith("data.")}
  config_lib.change(values, changes | {
      "steps": 2, "data.source": "generated", "data.rows": 4, "data.columns": 5, "data.min_path": 3,
      "data.num_train": 16, "data.num_validation": 8, "data.num_test": 8, "data.num_aug": 3} | fields)
  return config_lib.parse(values)


def test_it_is_trained_evaluated_and_drawn(tmp_path, capsys):
  results = loop.run(_config(), tmp_path / "run")
  assert {"valid_paths", "shortest_paths", "exact_accuracy", "by_moves"} <= set(results["test"])
  assert results["test"]["num_puzzles"] == 8 and (tmp_path / "run" / "solved.png").exists()
  said = capsys.readouterr().out
  assert "unseen puzzles solved" in said and ", valid paths " in said and ", exact accuracy " in said
  records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert any("validation/shortest_paths" in record for record in records)
  by_step = results["test"]["by_step"]
  assert by_step["shortest_paths"][-1] == results["test"]["shortest_paths"]
  assert len(by_step["shortest_paths"]) == len(by_step["exact_accuracy"])
  assert evaluate.run(str(tmp_path / "run"), None) == results["test"]
  assert f"supervision step   solved    cells\n{1:>16}  {by_step['shortest_paths'][0]:7.2%}" in capsys.readouterr().out
  (run,), _ = runs.read_all([str(tmp_path / "run")])
  assert run.result() == results["test"]["shortest_paths"]
  np.testing.assert_array_equal(run.watched()[1], run.curve("validation/shortest_paths")[1])


class _Evaluation:
  """What score needs of one."""

  def __init__(self, task, inputs, answers):
    self.answers, self.by_rules = answers, {"shortest_paths": task.solves(inputs, answers)[None]}


def test_score_is_by_the_rules_and_not_by_labels():
  task = MazeTask(MazeData(rows=3, columns=3))
  maze = np.array([3, 2, 2, 2, 2, 2, 2, 2, 4], np.uint8)
  over, under, longer = maze.copy(), maze.copy(), maze.copy()
  over[[1, 2, 5]] = under[[3, 6, 7]] = rules.PATH
  longer[[1, 2, 5, 3]] = rules.PATH  # a branch
  answers, labels = np.stack([over, under, longer, maze]), np.stack([over] * 4).astype(np.int8)
  puzzles = dataclasses.replace(_made()["test"], inputs=np.stack([maze] * 4), labels=labels)
  score = task.score(puzzles, _Evaluation(task, puzzles.inputs, answers))
  assert score["valid_paths"] == 0.5
  assert score["by_moves"] == {"1-9": {"num_puzzles": 4, "shortest_paths": 0.5}}
  assert task.headline == "shortest_paths" and set(task.scores) == {"shortest_paths", *score} - {"by_moves"}


def test_what_is_solved_is_told_by_the_rules_at_every_step():
  """Of answers that a stand-in for the model has at hand: two ways that are as short, one of which is the label."""
  task, config = MazeTask(MazeData(rows=3, columns=3)), config_lib.parse(config_lib.default_config("maze"))
  maze = np.array([3, 2, 2, 2, 2, 2, 2, 2, 4], np.int32)
  label, other, wrong = maze.copy(), maze.copy(), maze.copy()
  label[[1, 2, 5]] = other[[3, 6, 7]] = wrong[[1, 2]] = rules.PATH
  logits = jax.nn.one_hot(np.stack([label, other, wrong]), task.vocab_size, dtype=np.float32)
  batch = {"inputs": np.stack([maze] * 3), "labels": np.stack([label] * 3)}
  outputs = Outputs(logits=logits, q_halt=np.zeros(3, np.float32), q_continue=None)
  _, each = evaluator.against_labels(outputs, batch, config.loss, task)
  np.testing.assert_array_equal(each["right_cells"], [9, 3, 8])
  np.testing.assert_array_equal(each["shortest_paths"], [True, True, False])


def test_rules_run_on_rows_that_are_spread_over_devices():
  """As attempts that end once they are proven have them."""
  puzzles = _made()["train"]
  task, mesh = MazeTask(SMALL), sharding.make_mesh()
  spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(sharding.DATA))
  inputs, answers = (np.concatenate([rows, rows])[:16].astype(np.int32) for rows in (puzzles.inputs, puzzles.labels))
  answers[5] = inputs[5]
  solved = jax.jit(task.solves)(*(jax.device_put(rows, spread) for rows in (inputs, answers)))
  np.testing.assert_array_equal(solved, np.arange(16) != 5)


def _share(picture: np.ndarray, color: str) -> float:
  return (np.abs(picture[..., :3] - np.array(colors.to_rgb(color), np.float32)) < 0.01).all(-1).mean()


def test_pictures_have_walls_paths_and_wrong_cells(tmp_path):
  task = MazeTask(MazeData(rows=3, columns=3))
  maze = np.array([3, 2, 1, 2, 2, 1, 2, 2, 4], np.uint8)
  label = maze.copy()
  label[[1, 4, 7]] = rules.PATH
  other, wrong = maze.copy(), label.copy()
  other[[3, 6, 7]] = rules.PATH
  wrong[[3, 2]] = rules.PATH
  q_halt = np.zeros(1)
  pictures = {}
  for name, answer in (("label", label), ("other", other), ("wrong", wrong)):
    boards.solving_picture(tmp_path / f"{name}.png", task, maze, answer[None], label.astype(np.int8), q_halt)
    pictures[name] = image.imread(tmp_path / f"{name}.png")
  wall, path = (task.fills[token][0] for token in (rules.WALL, rules.PATH))
  for picture in pictures.values():
    assert _share(picture, wall) > 0.02 and _share(picture, path) > 0.02
  assert _share(pictures["label"], boards._WRONG) == _share(pictures["other"], boards._WRONG) == 0  # both are right
  assert _share(pictures["wrong"], boards._WRONG) > 0.002 and _share(pictures["wrong"], wall) < _share(
      pictures["label"], wall)

  text = boards.solving_text(task, maze, np.stack([wrong, other]), label.astype(np.int8), np.zeros(2))
  assert "9/9 right, solved" in text and "7/9 right" in text
  assert " S'o!o" in text and " S   #" in text


# Configs.


def test_baseline_is_the_references_run():
  config = config_lib.parse(runpy.run_path(str(_CONFIGS))["get_config"]("baseline"))
  model, optimizer = config.model, config.optimizer
  assert (model.mlp_t, model.pos_encodings, model.H_cycles, model.L_cycles, model.halt_max_steps) == (
      False, "rope", 3, 4, 16)
  assert (model.hidden_size, model.L_layers, model.puzzle_emb_len, model.dtype) == (512, 2, 16, "bfloat16")
  assert (config.batch_size, optimizer.learning_rate, optimizer.prefix_learning_rate, optimizer.weight_decay,
          optimizer.prefix_weight_decay, config.epochs) == (768, 1e-4, 1e-4, 1.0, 1.0, 50_000)
  assert (config.data.num_train, config.data.num_aug, config.data.num_validation) == (1_000, 0, 0)
  assert estimate.total_steps(config) == 65_104
  assert not estimate.assumed_data(config).assumptions


@pytest.mark.parametrize("name, num_params", [
    ("baseline", 6_822_914), ("quickstart", None), ("attention", None),
    ("mini_attention_lr_0.0025", None), ("mini_t3_n3_lr_0.01", None)])
def test_every_config_takes_a_step(name, num_params):
  config = config_lib.parse(runpy.run_path(str(_CONFIGS))["get_config"](name))
  made = program.Program(config, MazeTask(config.data), estimate.assumed_data(config).sizes,
                         sharding.make_mesh(jax.devices()[:1]))
  assert num_params is None or made.num_params == num_params
  jax.eval_shape(made.stages[0].steps, made.state, jax.ShapeDtypeStruct((), "int32"),
                 jax.ShapeDtypeStruct((), "uint32"), made.source)
  assert flops.train_step_flops(estimate.model_config(config)) > 0


def test_help_lists_the_configs(capsys):
  with pytest.raises(SystemExit):
    runpy.run_path(str(_CONFIGS))["get_config"]("help")
  names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
  assert names[:5] == ["configs:", "baseline", "quickstart", "attention", "small"] and "mini_t1_n1_lr_0.01" in names


def test_the_miniature_study_changes_one_thing_and_the_rate():
  file = study.File.load(str(_CONFIGS))
  names = file.sweeps["miniature"].names
  flat = {name: config_lib.flatten(config_lib.to_dict(config_lib.parse(file.get_config(name)))) for name in names}
  base = flat["mini_base_lr_0.01"]
  assert len(names) == 27
  assert (base["model.H_cycles"], base["model.L_cycles"], base["model.halt_max_steps"]) == (2, 2, 2)
  for name, knobs in flat.items():
    changed = {knob for knob in knobs if knobs[knob] != base[knob]} - {"name"}
    what, rate = name.removeprefix("mini_").split("_lr_")
    assert knobs["optimizer.muon_learning_rate"] == float(rate)
    assert changed - {"optimizer.muon_learning_rate"} == {
        "base": set(), "t1_n1": {"model.H_cycles", "model.L_cycles"}, "t1_n2": {"model.H_cycles"},
        "t3_n3": {"model.H_cycles", "model.L_cycles"}, "nsup_1": {"model.halt_max_steps"},
        "nsup_4": {"model.halt_max_steps"}, "nsup_8": {"model.halt_max_steps"}, "ema_off": {"optimizer.ema_rate"},
        "attention": {"model.mlp_t", "model.pos_encodings", "model.num_heads"}}[what]
