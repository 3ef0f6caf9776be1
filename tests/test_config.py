# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The knobs: each is declared once, checked and read; every named config makes a model that can take a step."""

import dataclasses
import importlib.util
import json
import pathlib
import sys

from flax import nnx
import jax
import pytest
import tiny

from trm_jax import config as config_lib
from trm_jax import weights
from trm_jax.config import Config
from trm_jax.data import hub
from trm_jax.data import splits as splits_lib
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.model.trm import TRM
from trm_jax.runtime import sharding
from trm_jax.study import estimate
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import loop
from trm_jax.training.train_step import Trainer

_ROOT = pathlib.Path(__file__).parents[1]

def _sudoku():
  """configs/sudoku.py, which is no module of the package."""
  spec = importlib.util.spec_from_file_location("sudoku_config", _ROOT / "configs" / "sudoku.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _message(values):
  with pytest.raises(UserError) as e:
    config_lib.parse(values)
  assert "\n" not in str(e.value)
  return str(e.value)


def _with(**changes):
  """The default values with some changed; `__` stands for a dot."""
  values = config_lib.to_dict(Config())
  for name, value in changes.items():
    *groups, leaf = name.split("__")
    place = values
    for group in groups:
      place = place[group]
    place[leaf] = value
  return values


def _trace(config):
  """Abstract state before and after a step, and the metrics."""
  task = SudokuTask(config.data)
  model = config.model.sized(vocab_size=task.vocab_size, seq_len=task.seq_len)
  trainer = Trainer(model, config.optimizer, mesh=sharding.make_mesh(jax.devices()[:1]),
                    batch_size=config.batch_size, total_steps=10)
  cells = jax.ShapeDtypeStruct((config.batch_size, task.seq_len), "int32")
  batch = {"inputs": cells, "labels": cells, "puzzle_identifiers": jax.ShapeDtypeStruct((config.batch_size,), "int32")}
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(trainer.init, key, batch)
  return state, *jax.eval_shape(trainer.step, state, batch, key)


def _size(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("change, num_params", [
    # Attention: per block 4 * 512^2 + 3 * 512 * 1536.
    (dict(mlp_t=False, pos_encodings="rope"), 2 * (4 * 512**2 + 3 * 512 * 1536) + 22 * 512 + 1026),
    (dict(pos_encodings="learned"), 5_028_866 + 97 * 512),
    (dict(puzzle_emb_ndim=0, puzzle_emb_len=0), 5_028_866 - 2 * 3 * (97 * 512 - 81 * 256)),
    (dict(q_continue=True, halt_exploration_prob=0.0), 5_028_866),
    # The comparison models. The initial states are not trained.
    (dict(recursion="single_z"), 5_028_866),
    (dict(recursion="multi_scale_z"), 5_028_866),
    (dict(gradient="one_step"), 5_028_866),
    (dict(H_layers=2), 5_028_866 + 2 * 3 * (97 * 512 + 512 * 1536)),
    (dict(H_layers=4, L_layers=4, H_cycles=2, L_cycles=2, gradient="one_step", q_continue=True, mlp_t=False,
          pos_encodings="rope", puzzle_emb_len=0), 27_275_266),  # HRM
    (dict(recursion="none", L_layers=8, mlp_t=False, pos_encodings="rope", puzzle_emb_len=0), 27_275_266),
    (dict(L_layers=1, H_cycles=1, L_cycles=1, halt_max_steps=1), (5_028_866 - 22 * 512 - 1026) // 2 + 22 * 512 + 1026),
])
def test_other_models_trace(change, num_params):
  config = config_lib.parse(_with(**{f"model__{name}": value for name, value in change.items()}))
  state, _, metrics = _trace(config)
  assert _size(state.params) == num_params
  assert ("q_continue_loss" in metrics) == config.model.q_continue


@pytest.mark.parametrize("name", ["adam_atan2", "adamw"])
@pytest.mark.parametrize("ema_rate", [0.0, 0.9])
def test_optimizers_trace(name, ema_rate):
  config = config_lib.parse(_with(optimizer__name=name, optimizer__ema_rate=ema_rate, model__hidden_size=8,
                                  model__puzzle_emb_ndim=8))
  state, *_ = _trace(config)
  # Two moments, the average, and counters.
  floats = sum(x.size for x in jax.tree.leaves((state.opt_state, state.ema)) if x.dtype == "float32")
  assert floats == (3 if ema_rate else 2) * _size(state.params)


def test_baseline_is_the_references_run():
  config = config_lib.parse(_sudoku().baseline())
  assert config == Config()
  assert estimate.total_steps(config) == 65_104


def test_round_trip_through_json():
  for config in (Config(), config_lib.parse(_sudoku().get_config("quickstart,laptop"))):
    assert config_lib.parse(json.loads(json.dumps(config_lib.to_dict(config)))) == config
  assert config_lib.parse(config_lib.default_config()) == Config()


@pytest.mark.parametrize("change, message", [
    (dict(batchsize=3), "config.batchsize: no such field; did you mean batch_size?"),
    (dict(model__hiden_size=3), "config.model.hiden_size: no such field; did you mean model.hidden_size?"),
    (dict(data__zzz=3), "config.data.zzz: no such field; use one of box, max_clues, num_aug, num_clues, "),
    # What the data determines is no knob.
    (dict(model__vocab_size=11), "config.model.vocab_size: no such field"),
    (dict(batch_size="768"), "config.batch_size = '768': must be of type int, not str"),
    (dict(batch_size=768.0), "config.batch_size = 768.0: must be of type int, not float"),
    (dict(batch_size=True), "config.batch_size = True: must be of type int, not bool"),
    (dict(batch_size=None), "config.batch_size = None: must be of type int, not NoneType"),
    (dict(model__mlp_t=1), "config.model.mlp_t = 1: must be of type bool, not int"),
    (dict(data__source=3), "config.data.source = 3: must be of type str, not int"),
    (dict(optimizer__b1="x"), "config.optimizer.b1 = 'x': must be of type float, not str"),
    (dict(model=3), "config.model = 3: must be a group of fields"),
    (dict(seed={"a": 1}), "config.seed = {'a': 1}: must be of type int, not dict"),
])
def test_fields_that_are_unknown_or_mistyped(change, message):
  assert message in _message(_with(**change))


def test_whole_numbers_are_floats_too():
  config = config_lib.parse(_with(optimizer__weight_decay=1))
  assert config.optimizer.weight_decay == 1.0 and type(config.optimizer.weight_decay) is float


@pytest.mark.parametrize("path", ["seed", "model.dtype", "optimizer.b2", "data", "optimizer"])
def test_missing_fields(path):
  values = config_lib.to_dict(Config())
  *groups, leaf = path.split(".")
  place = values
  for group in groups:
    place = place[group]
  del place[leaf]
  assert _message(values) == f"config.{path} is missing"


def test_a_stop_by_rules_needs_a_task_with_rules():
  values = config_lib.to_dict(tiny.arc())
  values["eval"]["stop"] = "proven"
  assert _message(values) == ("config.eval.stop = 'proven': puzzles of arc have no rules that tell whether an answer "
                              "is right; choose steps, settled, converged or still")
  config_lib.parse(_with(eval__stop="proven"))


def test_check_field():
  for path in config_lib.flatten(config_lib.to_dict(Config())):
    config_lib.check_field(path)
  config_lib.check_field("model")
  for path, message in {
      "batchsize": "config.batchsize: no such field; did you mean batch_size?",
      "model.dtyp": "config.model.dtyp: no such field; did you mean model.dtype?",
      "modell.dtype": "config.modell: no such field; did you mean model?",
      "seed.x": "config.seed.x: no such field; config.seed is a value",
      "model.vocab_size": "config.model.vocab_size: no such field; use one of ",
  }.items():
    with pytest.raises(UserError) as e:
      config_lib.check_field(path)
    assert message in str(e.value)


# Field, values that must be refused, values at the edge that must not, what the message says.
RULES = [
    *((name, [0, -1], [1], "must be at least 1")
      for name in ("batch_size", "log.every", "eval.batch_size", "save.every", "compute.micro_batches",
                   "log.profile_from")),
    *((name, [-1], [0, 1], "must not be negative")
      for name in ("eval.every", "data.num_train", "data.num_validation", "data.num_test", "optimizer.warmup_steps",
                   "seed", "data.seed", "log.profile_steps", "save.average")),
    ("epochs", [-1], [1], "must not be negative"),
    ("steps", [-1], [0], "must not be negative"),
    *((name, [-0.1], [0.0, 2.0], "must not be negative")
      for name in ("optimizer.learning_rate", "optimizer.weight_decay", "optimizer.prefix_learning_rate",
                   "optimizer.prefix_weight_decay", "optimizer.clip_norm", "loss.halt_cost")),
    *((name, [-0.1, 1.0], [0.0, 0.999], "must lie in [0, 1), also when it is rounded to 32 bits")
      for name in ("optimizer.b1", "optimizer.b2", "optimizer.ema_rate")),
    ("optimizer.lr_min_ratio", [-0.1, 1.1], [0.0, 1.0], "must lie in [0, 1]"),
    ("loss.step_decay", [0.0, 1.1], [0.7, 1.0], "must lie in (0, 1]"),
    ("optimizer.name", ["adam", ""], ["adamw", "adam_atan2", "muon"], "must be one of adam_atan2, adamw, muon"),
    ("depth_schedule", ["0:1x2", "0.1:3x6", "0:1x2,0.5:2x4,0.5:3x6", "0:1x2,1:3x6", "0:1x2,0.3:3x", "0:0x2,.5:3x6",
                        "3x6"],
     ["0:3x6", "0:1x2,0.3:2x4, .6:3x6"], ""),
    ("data.box", [1, 4], [2, 3], "must be 3 (9x9 boards) or 2 (4x4)"),
    ("data.num_aug", [-2], [-1, 0, 7], "must be -1 (fresh ones), 0 (none) or a number of versions"),
    *((f"model.{name}", [0, -1], [1], "must be at least 1")
      for name in ("L_layers", "num_heads", "H_cycles", "L_cycles", "halt_max_steps")),
    ("model.recursion", ["one_z"], ["single_z", "multi_scale_z", "none"], "must be one of two_z, single_z, "),
    ("model.gradient", ["full"], ["one_step"], "must be one of cycle, one_step"),
    ("model.H_layers", [-1], [2], "must not be negative"),
    ("model.hidden_size", [0, -1], [32], "must be at least 1"),
    *((f"model.{name}", [-1], [1], "must not be negative") for name in ("puzzle_emb_ndim", "puzzle_emb_len")),
    ("model.expansion", [0.0, -1.0], [0.5], "must be positive and finite"),
    ("model.halt_exploration_prob", [-0.1, 1.1], [0.0, 1.0], "must lie in [0, 1]"),
    ("model.dtype", ["float64", "bf16"], ["float32", "float16"], "must be one of bfloat16, float32, float16"),
    ("model.pos_encodings", ["rotary"], ["none", "learned"], "must be one of none, rope, learned"),
]


@pytest.mark.parametrize("path, bad, good, rule", RULES, ids=[rule[0] for rule in RULES])
def test_rules(path, bad, good, rule):
  name = path.replace(".", "__")
  for value in bad:
    message = _message(_with(**{name: value}))
    assert f"{path} = {value!r}: " in message and rule in message
  for value in good:
    config_lib.parse(_with(**{"model__puzzle_emb_ndim": 8, name: value}))  # a prefix that fits into one token


@pytest.mark.parametrize("change, message", [
    (dict(epochs=10, steps=10), "config.epochs = 10, config.steps = 10: exactly one of them must say"),
    (dict(epochs=0, steps=0), "config.epochs = 0, config.steps = 0: exactly one of them must say how long to train"),
    (dict(model__pos_encodings="rope"), "model.pos_encodings = 'rope': rope rotates queries and keys, but model.mlp_t"),
    (dict(model__mlp_t=False, model__num_heads=3), "model.num_heads = 3: must divide model.hidden_size = 512"),
    (dict(model__mlp_t=False, model__pos_encodings="rope", model__num_heads=512),
     "model.num_heads = 512: rope needs an even head dimension, not 512 / 512"),
    (dict(model__puzzle_emb_ndim=0), "model.puzzle_emb_len = 16: must be 0 where model.puzzle_emb_ndim = 0"),
    (dict(model__puzzle_emb_ndim=1025, model__puzzle_emb_len=2),
     "model.puzzle_emb_ndim = 1025: does not fit in model.puzzle_emb_len = 2 tokens of 512 features"),
])
def test_combinations(change, message):
  assert message in _message(_with(**change))


@pytest.mark.parametrize("schedule, rule", [
    ("0:1x2,0.3:2x4", "the last stage must have config.model.H_cycles x L_cycles = 3x6"),
    ("0.1:3x6", "the starts must begin at 0, rise, and stay below 1"),
    ("0:1x2,0.3;3x6", "'0.3;3x6' is not START:H_CYCLESxL_CYCLES, such as 0.3:2x4"),
])
def test_depth_schedules_that_cannot_be(schedule, rule):
  assert _message(_with(depth_schedule=schedule)) == f"config.depth_schedule = {schedule!r}: {rule}"


def test_depth_schedule():
  config = config_lib.parse(_with(depth_schedule="0:1x2,0.3:2x4,0.6:3x6"))
  assert config_lib.stages(config.depth_schedule, config.model) == (
      config_lib.Stage(0.0, 1, 2), config_lib.Stage(0.3, 2, 4), config_lib.Stage(0.6, 3, 6))


def test_combinations_at_the_edge_are_fine():
  for change in (dict(epochs=0, steps=1), dict(model__num_heads=3), dict(model__mlp_t=False, model__num_heads=512),
                 dict(model__mlp_t=False, model__num_heads=256, model__pos_encodings="rope"),
                 dict(model__puzzle_emb_ndim=0, model__puzzle_emb_len=0),
                 dict(model__puzzle_emb_ndim=1024, model__puzzle_emb_len=2),
                 dict(model__puzzle_emb_ndim=1025, model__puzzle_emb_len=0)):
    config_lib.parse(_with(**change))


def test_differences_name_what_matters_to_training():
  run = config_lib.to_dict(Config())
  assert config_lib.differences(run, run) == []
  leaves = config_lib.flatten(run)
  free = config_lib.free_on_resume("sudoku")
  assert free < set(leaves) and {"eval.every", "compute.micro_batches", "data.num_test"} < free
  for path, value in leaves.items():
    if path == "task":
      continue  # whose knobs are others
    found = config_lib.differences(_with(**{path.replace(".", "__"): "other"}), run)
    assert found == ([] if path in free else [f"{path}: {value!r} -> 'other'"])
  # A knob that came or went since the checkpoint was written.
  old = _with(model__former=1)
  del old["seed"]
  assert config_lib.differences(run, old) == ["model.former: 1 -> 'absent'", "seed: 'absent' -> 0"]


class _Reads:
  """Notes which fields of dataclasses the package reads, apart from reading them all (copies, checks)."""

  def __init__(self):
    self.paths = set()
    self._paused = False

  def watch(self, value, where=""):
    """The same value as an instance of a class that notes its reads."""
    names = [f.name for f in dataclasses.fields(value)]
    paths = self.paths
    reads = self

    def note(name, caller):
      path = pathlib.Path(caller.f_code.co_filename)
      if not reads._paused and path.is_relative_to(_ROOT / "trm_jax") and path != pathlib.Path(config_lib.__file__):
        paths.add(where + name)

    class Watched(type(value)):

      def __getattribute__(self, name):
        if name in names:
          note(name, sys._getframe(1))
        return super().__getattribute__(name)

      def __post_init__(self):
        if hasattr(super(), "__post_init__"):
          reads._paused = True  # a rule about a knob is no use of it
          try:
            super().__post_init__()
          finally:
            reads._paused = False

      def sized(self, **sizes):
        reads._paused = True
        try:
          sized = super().sized(**sizes)
        finally:
          reads._paused = False
        return reads.watch(sized, where)

    fields = {name: getattr(value, name) for name in names}
    fields = {name: self.watch(field, f"{where}{name}.") if dataclasses.is_dataclass(field) else field
              for name, field in fields.items()}
    return Watched(**fields)


def test_every_knob_is_read(tmp_path, monkeypatch):
  reads = _Reads()
  config = config_lib.parse(_with(
      data__source="generated", data__box=2, data__num_train=16, data__num_validation=8, data__num_test=8,
      data__num_clues=8, model__hidden_size=8, model__L_layers=1, model__num_heads=2, model__H_cycles=1,
      model__L_cycles=1, model__puzzle_emb_ndim=8, model__puzzle_emb_len=1, model__halt_max_steps=2,
      model__dtype="float32", batch_size=8, epochs=1, eval__batch_size=8, log__profile_steps=1, log__profile_from=1,
      init_from=str(tmp_path / "other")))
  sizes = {"vocab_size": 6, "seq_len": 16, "num_puzzle_identifiers": 1}
  weights.save(TRM(config.model.sized(**sizes), rngs=nnx.Rngs(0)), config, tmp_path / "other")
  one_device = sharding.make_mesh(jax.devices()[:1])  # compiles faster than eight
  monkeypatch.setattr(sharding, "make_mesh", lambda model: one_device)
  loop.run(reads.watch(config), tmp_path / "run")
  # Where the published puzzles are kept matters to them alone.
  made = generate.generate_splits(box=3, num_train=2, num_validation=0, num_test=1, num_clues=70, seed=0)
  monkeypatch.setattr(hub.Published, "read", lambda published, folder, split: made[split])
  splits_lib.load(SudokuTask(reads.watch(dataclasses.replace(Config().data, num_train=1, num_validation=1), "data.")))

  knobs = set(config_lib.flatten(config_lib.to_dict(Config())))
  assert knobs - reads.paths == set()


def test_a_knob_that_nobody_reads_is_noticed():
  # The test above would be worth nothing if copying and checking counted as reading.
  reads = _Reads()
  config = reads.watch(Config())
  config_lib.to_dict(config)
  dataclasses.replace(config.model, H_cycles=2)
  hash(config), repr(config)
  assert reads.paths == set()
  flops.eval_step_flops(dataclasses.replace(config.model, mlp_t=False).sized(vocab_size=11, seq_len=81))
  assert reads.paths == {f"model.{name}" for name in (
      "H_cycles", "H_layers", "L_cycles", "L_layers", "expansion", "hidden_size", "mlp_t", "puzzle_emb_len",
      "recursion", "seq_len", "vocab_size")}


def test_a_knob_that_is_added_or_moved_says_what_older_configs_are_taken_to_have():
  """tests/golden/knobs.json: the knobs of the first version, with their defaults. Configs saved since have them all.

  Red where a knob was added, moved or renamed: give it an entry in config._ADDED, _ADDED_DATA or _MOVED. Where a
  default was changed, the old one matters to nobody but those who named no value and want the results of before: say so
  in CHANGELOG.md and change the file. An entry of _ADDED stays as it is, since older configs were run with it.
  """
  first = json.loads((_ROOT / "tests" / "golden" / "knobs.json").read_text())
  now = config_lib.flatten(config_lib.to_dict(Config()))
  added, moved = config_lib._ADDED | config_lib._ADDED_DATA["sudoku"], config_lib._MOVED
  names = {moved.get(name, name): value for name, value in first.items()}
  # What has another type now.
  assert not names.pop("eval.halting")
  names["eval.stop"] = "steps"
  assert moved.keys() <= first.keys()
  assert now.keys() - names.keys() == added.keys()
  assert names.keys() - now.keys() == set(), "checkpoints that have this knob can no longer be read"
  assert {name: now[name] for name in names} == names
  assert {name: type(value) for name, value in added.items()} == {name: type(now[name]) for name in added}


def test_a_config_of_the_first_version_is_read():
  saved = {}
  for name, value in json.loads((_ROOT / "tests" / "golden" / "knobs.json").read_text()).items():
    group, _, leaf = name.rpartition(".")
    (saved.setdefault(group, {}) if group else saved)[leaf] = value
  saved["eval_every"], saved["model"]["attention"] = 7, "cudnn"
  parsed = config_lib.parse_saved(saved, "x")
  assert parsed == dataclasses.replace(
      Config(), eval=config_lib.EvalConfig(every=7), compute=config_lib.ComputeConfig(attention="cudnn"))
  assert config_lib.differences(config_lib.to_dict(Config()), saved) == []  # what is moved is free to change
  saved["batch_size"] = 64
  assert config_lib.differences(config_lib.to_dict(Config()), saved) == ["batch_size: 64 -> 768"]
  for halting, stop in ((False, "steps"), (True, "settled")):
    saved["eval_halting"] = halting
    assert config_lib.parse_saved(saved, "x").eval.stop == stop


def test_a_saved_config_of_arc_may_lack_the_side_of_its_canvases():
  now = config_lib.parse(config_lib.default_config("arc"))
  saved = config_lib.to_dict(now)
  del saved["data"]["side"]
  assert config_lib.parse_saved(saved, "x") == now
  del saved["data"]["num_votes"]
  with pytest.raises(UserError, match="^x: config.data.num_votes is missing$"):
    config_lib.parse_saved(saved, "x")


def test_a_saved_config_may_lack_knobs_that_were_added_since_and_no_others(monkeypatch):
  today = config_lib.to_dict(Config())
  assert config_lib.parse_saved(today, "x") == Config()
  for name in ("optimizer.b1", "loss.halt_cost", "loss.step_decay", "save.average"):
    old = _with()
    *group, leaf = name.split(".")
    del (old[group[0]] if group else old)[leaf]
    with pytest.raises(UserError, match=f"^x: config.{name} is missing$"):
      config_lib.parse_saved(old, "x")
  # As if these had been added after that was saved, with other defaults than today's; the loss as a whole.
  monkeypatch.setattr(config_lib, "_ADDED", config_lib._ADDED | {
      "optimizer.b1": 0.5, "loss.halt_cost": 0.25, "loss.step_decay": 1.0, "save.average": 3})
  old = _with()
  del old["loss"], old["optimizer"]["b1"], old["save"]["average"]
  before = json.dumps(old)
  parsed = config_lib.parse_saved(old, "x")
  assert (parsed.optimizer.b1, parsed.loss.halt_cost, parsed.save.average) == (0.5, 0.25, 3)
  assert json.dumps(old) == before
  # What people write is complete: nothing is filled in.
  with pytest.raises(UserError, match="^config.optimizer.b1 is missing$|^config.loss is missing$"):
    config_lib.parse(old)
  # Comparing takes the same values: b1 was 0.5 then, and matters.
  assert config_lib.differences(_with(optimizer__b1=0.5, loss__halt_cost=0.25), old) == []
  assert config_lib.differences(_with(loss__halt_cost=0.25), old) == ["optimizer.b1: 0.5 -> 0.9"]


@pytest.mark.parametrize("saved, message", [
    (None, "x: holds no config"),
    ([], "x: holds no config"),
    (_with(model__dtype="float31"), "x: model.dtype = 'float31': must be "),
    (_with(optimizer=3), "x: config.optimizer = 3: must be a group of fields"),
    (_with() | {"new": 1}, "x: config.new is not known to this version of trm_jax; use the version that wrote it"),
    (_with(model=_with()["model"] | {"more": {"a": 1}}), "x: config.model.more.a is not known to this version of "),
])
def test_a_saved_config_that_cannot_be_used_is_named(saved, message):
  with pytest.raises(UserError) as e:
    config_lib.parse_saved(saved, "x")
  assert str(e.value).startswith(message)


_KNOBS = config_lib.flatten(config_lib.to_dict(Config()))


@pytest.mark.parametrize("name", [name for name, value in _KNOBS.items() if type(value) in (int, float)])
def test_every_number_must_fit_32_bits(name):
  kind = type(_KNOBS[name])
  rule = "must lie within 32 bits, " if kind is int else "must be a finite number that 32 bits can hold, "
  values = (2**31, -(2**31) - 1, 10**30) if kind is int else (float("nan"), float("inf"), -float("inf"), 1e39)
  for value in values:
    assert _message(_with(**{name.replace(".", "__"): value})).startswith(f"config.{name} = {value}: {rule}")
  # What Python itself refuses to write out, or to turn into a floating-point number.
  assert _message(_with(**{name.replace(".", "__"): 10**5000})).startswith(
      f"config.{name} = 2^16609 and more: must lie within 32 bits")


def test_a_rate_that_is_1_in_32_bits_is_refused():
  assert _message(_with(optimizer__ema_rate=1 - 1e-9)).startswith(
      "config.optimizer.ema_rate = 0.999999999: must lie in [0, 1), also when it is rounded to 32 bits")


def test_what_is_no_config():
  for value in (None, 3, "x"):
    assert _message(value) == (f"the config is {value!r}, must be a ConfigDict, such as "
                               "config.default_config() returns")


def test_a_run_is_refused_where_jax_computes_in_64_bits(tmp_path):
  with jax.enable_x64(True), pytest.raises(UserError, match="^jax_enable_x64 is on: this library computes in 32 bits"):
    loop.run(Config(), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text, value", [
    ("data.alphabet=123", "123"), ("data.alphabet=1e5", "1e5"), ("data.source=None", "None"), ("name=True", "True"),
    ("data.rows=20", 20), ("model.mlp_t=False", False), ("optimizer.ema_rate=0.9", 0.9),
    ("model.dtype=float16", "float16"), ("data.rows=many", "many"), ("log.wandb=a=b", "a=b")])
def test_a_value_on_the_command_line_has_the_type_of_its_field(text, value):
  values = config_lib.default_config("grid")
  field, written = config_lib.parse_change(text)
  config_lib.change(values, {field: written})
  found = config_lib.flatten(values.to_dict())[field]
  assert found == value and type(found) is type(value)
