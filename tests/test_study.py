# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Every named config can be made, has the size that is written down here, and takes a step; docs/study.md has it.

    UPDATE_GOLDEN=1 pytest tests/test_study.py     # writes docs/study.md again from configs/sudoku.py
"""

import dataclasses
import functools
import os
import pathlib
import re

import jax
import pytest

from trm_jax import config as config_lib
from trm_jax import study
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.runtime import sharding
from trm_jax.study import estimate
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import program

_ROOT = pathlib.Path(__file__).parents[1]
_PAGE = _ROOT / "docs" / "study.md"
_FILE = study.File.load(str(_ROOT / "configs" / "sudoku.py"))
_GROUPS = _FILE.get_config.__globals__["GROUPS"]

# Trained parameters, without the prefix table. By hand: 2 V D + 2 D + 2, and for each layer 3 D mlp and either 3 L mix
# or 4 D^2 (V tokens, D features, L positions; mlp and mix: widths of the SwiGLUs).
NUM_PARAMS = {
    5_028_866: """
        baseline e1_1_replication e1_2_port_check
        e1_3_batch_256 e1_3_batch_512 e1_3_batch_1024 e1_3_batch_2048 e1_3_batch_4096 e2_1_ema_on e2_1_ema_off
        e2_2_t2_n2 e2_2_t2_n6 e2_2_t3_n4 e2_2_t3_n6 e2_2_t4_n6 e2_3_mlp
        e2_4_nsup_4 e2_4_nsup_8 e2_4_nsup_16 e2_4_nsup_32 e3_1_base e3_2_data_1k e3_2_data_5k e3_2_data_10k
        e3_3_aug_100 e3_3_aug_500 e3_3_aug_1000 e3_3_aug_2000
        e3_4_lr_5e-5_batch_256 e3_4_lr_5e-5_batch_1024 e3_4_lr_5e-5_batch_4096
        e3_4_lr_1e-4_batch_256 e3_4_lr_1e-4_batch_1024 e3_4_lr_1e-4_batch_4096
        e3_4_lr_2e-4_batch_256 e3_4_lr_2e-4_batch_1024 e3_4_lr_2e-4_batch_4096
        e3_4_lr_5e-4_batch_256 e3_4_lr_5e-4_batch_1024 e3_4_lr_5e-4_batch_4096
        e3_4_lr_1e-3_batch_256 e3_4_lr_1e-3_batch_1024 e3_4_lr_1e-3_batch_4096
        e4_1_depth_curriculum e4_1_cgar e4_2_halt_cost_0 e4_2_halt_cost_0.001 e4_2_halt_cost_0.01 e4_2_halt_cost_0.1
        e4_3_float32 e4_3_bfloat16 e4_3_float16 e4_4_checkpoint_average
        longer_training no_warmup larger_batch muon eqr
        t1_q_continue t1_no_ema t1_t2_n2 t1_one_step_gradient t2_single_z t2_multi_scale_z
        t3_k1_t1 t3_k2_t2 t3_k3_t3 t3_k4_t4 t3_k6_t3 t3_k3_t6 t3_k6_t6
        fast_without_one_prefix_token fast_plain""",
    4_856_834: """
        fast fast_without_muon fast_without_softmax fast_without_smoothing fast_without_light_halting
        fast_without_cosine fast_without_late_ema fast_without_depth fast_without_inner_norm
        fast_without_fresh_augmentation fast_cgar""",
    10_045_442: "deeper_model t1_4_layers_n3 t1_separate_nets",
    6_828_034: "e2_3_attention t1_attention",
    14_621_186: "e3_1_medium",
    35_223_554: "e3_1_large",
    27_275_266: "plain_transformer t1_hrm",
    125_314: """
        quickstart mini_fast_plain mini_fast_all mini_fast_only_muon mini_fast_without_muon
        mini_fast_only_softmax mini_fast_without_softmax mini_fast_only_smoothing mini_fast_without_smoothing
        mini_fast_only_light_halting mini_fast_without_light_halting mini_fast_only_cosine mini_fast_without_cosine
        mini_fast_only_late_ema mini_fast_without_late_ema mini_fast_only_depth mini_fast_without_depth
        mini_fast_only_inner_norm mini_fast_without_inner_norm mini_fast_without_muon_and_depth""",
    522_242: "quickstart_9x9 newspaper newspaper_2 baseline,laptop quickstart_9x9,laptop",
    421_122: "quickstart,laptop",
    75_714: """
        mini_t1_n1 mini_t1_n2 mini_t2_n2 mini_t3_n2 mini_t2_n4 mini_t3_n4 mini_ema_on mini_ema_off mini_mlp
        mini_nsup_1 mini_nsup_2 mini_nsup_4 mini_nsup_8 mini_nsup_16
        mini_batch_32_lr_3e-4 mini_batch_32_lr_1e-3 mini_batch_32_lr_3e-3
        mini_batch_64_lr_3e-4 mini_batch_64_lr_1e-3 mini_batch_64_lr_3e-3
        mini_batch_128_lr_3e-4 mini_batch_128_lr_1e-3 mini_batch_128_lr_3e-3""",
    57_794: "mini_attention",
}
_COUNTED = {name: number for number, names in NUM_PARAMS.items() for name in names.split()}


def _config(name: str) -> Config:
  return config_lib.parse(_FILE.get_config(name))


@functools.cache
def _traced(config: Config) -> int:
  """Its number of parameters, after its program has been traced: that checks everything but what compilers do."""
  task = SudokuTask(config.data)
  mesh = sharding.make_mesh(jax.devices()[:1])
  made = program.Program(config, task, estimate.assumed_data(config).sizes, mesh)
  for stage in made.stages:
    after, metrics = jax.eval_shape(stage.steps, made.state, jax.ShapeDtypeStruct((), "int32"),
                                    jax.ShapeDtypeStruct((), "uint32"), made.source)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), made.state)
    assert {x.dtype for x in jax.tree.leaves(after.params)} == {jax.numpy.dtype("float32")}
    assert metrics["loss"].shape == ()
  return made.num_params


def _essence(config: Config) -> Config:
  """The config without what a trace holds as a number; a loop of two turns is traced as a longer one is."""
  model, o, plain = config.model, config.optimizer, Config()
  if not config.depth_schedule and model.recursion != "multi_scale_z":
    model = dataclasses.replace(model, H_cycles=min(2, model.H_cycles), L_cycles=min(2, model.L_cycles))
  return dataclasses.replace(
      plain, epochs=0, steps=20, batch_size=8,
      model=dataclasses.replace(model, halt_max_steps=min(2, model.halt_max_steps)),
      data=dataclasses.replace(plain.data, box=config.data.box, num_aug=min(1, config.data.num_aug)),
      optimizer=dataclasses.replace(plain.optimizer, name=o.name, ema_rate=0.9 if o.ema_rate else 0.0,
                                    ema_start=min(1, o.ema_start),
                                    clip_norm=1.0 if o.clip_norm else 0.0),
      loss=config.loss, depth_schedule=config.depth_schedule, save=config.save)


@pytest.mark.parametrize("name", _COUNTED)
def test_every_config_has_its_size_and_takes_a_step(name):
  config = _config(name)
  assert config.name == name
  assert estimate.total_steps(config) >= 250
  assert _traced(_essence(config)) == _COUNTED[name]


def test_every_config_is_counted():
  assert set(_FILE.configs) == {name for name in _COUNTED if "," not in name}
  for name in _FILE.configs:  # with the option, too, every one is a run
    shrunk = _config(f"{name},laptop")
    assert (shrunk.model.hidden_size, shrunk.batch_size, shrunk.steps) == (128, 32, 2_500)


def test_an_option_keeps_what_an_experiment_is_about():
  assert _config("e2_1_ema_off,laptop").optimizer.ema_rate == 0 and _config("t3_k1_t1,laptop").model.H_cycles == 1
  assert _config("e2_4_nsup_32,laptop").model.halt_max_steps == 32
  baseline = _config("baseline,laptop")
  assert (baseline.model.H_cycles, baseline.model.L_cycles, baseline.model.halt_max_steps) == (2, 2, 8)
  assert baseline.optimizer.ema_rate == 0.99
  # A rate in proportion to a batch that the option does not have would be a twenty-fourth of it.
  assert _config("larger_batch,laptop") == dataclasses.replace(baseline, name="larger_batch,laptop")


def test_what_is_held_equal():
  configs = {name: _config(name) for name in _FILE.configs}
  # Puzzles seen, over batches, but for the last incomplete batch.
  for name, config in configs.items():
    if re.match("e1_1|e1_3|e3_1|e3_4|larger", name):
      assert 0 <= 50_000_000 - estimate.total_steps(config) * config.batch_size < config.batch_size
    if re.match("e2_[24]|e3_[23]|e4|t1|t2|t3", name):
      assert estimate.total_steps(config) == 65_104
    if name.startswith("mini_batch"):
      assert config.steps * config.batch_size == configs["mini_t2_n2"].steps * configs["mini_t2_n2"].batch_size
    assert config.batch_size in (768, 2048) or not re.match("e2_[234]|e3_[23]|e4|t1|t2|t3", name)
    if re.match("e1_3|larger|e3_1|e2_1", name):
      assert config.optimizer.base_batch_size == 768 and 2_000 <= config.optimizer.warmup_steps <= 5_000
    if name.startswith("e3_4"):
      assert config.optimizer.base_batch_size == 0 and config.optimizer.warmup_steps == 2_000
  for one, other in (("e2_3_mlp", "e2_3_attention"), ("mini_mlp", "mini_attention")):
    first, second = (estimate.training_flops(configs[name]) for name in (one, other))
    assert abs(second / first - 1) < 1 / configs[other].steps
  assert configs["e2_3_attention"].steps == 58_395
  whole, plain = configs["fast"], configs["fast_plain"]
  for name, config in configs.items():
    if name.startswith("fast"):
      assert (config.steps, config.batch_size) == (8_000, 384)
    if name.startswith("mini_fast"):
      assert (config.steps, config.batch_size) == (500, 32)
    if name.startswith("fast_without"):  # the reference's value where it differs
      for field, value in config_lib.flatten(config_lib.to_dict(config)).items():
        both = [config_lib.flatten(config_lib.to_dict(c))[field] for c in (whole, plain)]
        assert value in both or field == "name"
  reference = dataclasses.replace(configs["baseline"], name="fast_plain", epochs=0, steps=8_000, batch_size=384)
  assert plain == reference
  assert configs["e3_4_lr_5e-4_batch_1024"].optimizer.learning_rate == 5e-4


def test_the_papers_figures():
  paper = {name: figure for group in _GROUPS for name, figure in group.paper.items()}
  assert [paper[f"t1_{name}"] for name in (
      "q_continue", "separate_nets", "no_ema", "4_layers_n3", "attention", "t2_n2", "one_step_gradient", "hrm")] == [
          86.1, 82.4, 79.9, 79.5, 74.7, 73.7, 56.5, 55.0]
  assert {name: figure for name, figure in paper.items() if name.startswith("t3")} == {
      "t3_k1_t1": 63.2, "t3_k2_t2": 81.9, "t3_k3_t3": 87.4, "t3_k4_t4": 84.2, "t3_k3_t6": 85.8}
  assert (paper["t2_single_z"], paper["t2_multi_scale_z"], paper["baseline"]) == (71.9, 77.6, 87.4)


def test_flops_of_a_curriculum():
  cgar, whole = _config("e4_1_cgar"), _config("baseline")
  model = estimate.model_config(whole)
  stages = [flops.train_step_flops(dataclasses.replace(model, H_cycles=T, L_cycles=n)) * steps
            for T, n, steps in ((1, 2, 19_531), (2, 4, 39_062 - 19_531), (3, 6, 65_104 - 39_062))]
  assert estimate.training_flops(cgar) == 768 * sum(stages)
  assert estimate.training_flops(whole) == 768 * 65_104 * flops.train_step_flops(model)


def test_help_lists_every_config_under_its_question(capsys):
  with pytest.raises(SystemExit) as e:
    _FILE.get_config("help")
  assert e.value.code == 0
  lines = capsys.readouterr().out.splitlines()
  listed = [line.split() for line in lines if line.startswith("  ")]
  assert [words[0] for words in listed] == [*_FILE.configs, "laptop"]
  assert all(len(words) > 1 for words in listed)
  assert [line for line in lines if not line.startswith("  ")] == [
      *(group.question for group in _GROUPS), "options, after a comma:"]
  assert "  t1_no_ema             no EMA (the paper: 79.9 %)" in lines


def test_unknown_names():
  with pytest.raises(UserError, match="^config name 'basline' is not known; did you mean baseline[?] help lists all "):
    _FILE.get_config("basline")
  for argument in ("", None, "laptop"):
    with pytest.raises(UserError, match=f"^config name .* is not known; help lists all {len(_FILE.configs)}$"):
      _FILE.get_config(argument)
  for argument in ("baseline,tiny", "baseline,", "baseline,laptop,tiny", "baseline,quickstart"):
    with pytest.raises(UserError, match=r"config option '(tiny||quickstart)' is not known; use one of laptop "):
      _FILE.get_config(argument)


def test_sweeps_are_of_configs_there_are():
  assert {"tn_schedule", "batch", "ablations", "lr_grid", "data", "augmentation", "model_size", "paper_table_1",
          "paper_table_2", "paper_table_3", "miniature", "all"} <= set(_FILE.sweeps)
  for sweep in _FILE.sweeps.values():
    assert set(sweep.names) <= set(_FILE.configs) and len(set(sweep.names)) == len(sweep.names)
  small = {"quickstart", "quickstart_9x9", "newspaper", "newspaper_2", *_FILE.sweeps["miniature"].names,
           *_FILE.sweeps["mini_fast"].names}
  assert set(_FILE.sweeps["all"].names) == set(_FILE.configs) - small
  for group in _GROUPS:
    command = re.search(r"^Command: (.*)$", group.text, re.MULTILINE)[1]
    sweep = re.search(r"--sweep=configs/sudoku.py:(\w+)", command)
    assert not sweep or set(group.configs) <= set(_FILE.sweeps[sweep[1]].names)
    assert sweep or "trm_jax.main" in command
    for fact in ("Paper", "Hardware", "Result"):
      assert re.search(rf"^{fact}: \S.*\.$", group.text, re.MULTILINE), group.question


def _page():
  """docs/study.md."""
  lines = [
      "# The study", "", "<!-- Made of configs/sudoku.py: UPDATE_GOLDEN=1 pytest tests/test_study.py -->", "",
      "Each experiment is a named config of [configs/sudoku.py](../configs/sudoku.py): one run is",
      "`python -m trm_jax.main --config=configs/sudoku.py:NAME --workdir=FOLDER`. The paper is",
      "[arXiv:2510.04871](https://arxiv.org/abs/2510.04871); its figures are the % of Sudoku-Extreme's test puzzles",
      "solved. None of them is ours: our measurements stand under *Result* and in [results.md](results.md).", "",
      "## Sweeps", "",
      "A sweep runs configs x seeds one after another, skips finished runs and goes on after a failure.",
      "`--side_by_side=N` makes N runs at a time, each on its own GPU or TPU chip or, if there are none, on its share",
      "of the processor cores: a small model leaves most of a large machine idle. A run that was begun on one device",
      "may go on with several. Configs that differ only in their names are run once, so sweeps with the same",
      "`--workdir` share their runs. Several sweeps may make the same runs at the same time, also on several machines:",
      "each skips the runs that others are making and, with `--wait`, takes over those that they give up.",
      "", "```bash",
      "python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2 --dry-run",
      "python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2",
      "python -m trm_jax.report runs/study --out=report/", "```", "",
      "On a TPU slice of several hosts `launch/sweep --sweep=configs/sudoku.py:tn_schedule --seeds=0,1,2` makes one",
      "run after another on the whole slice, with `--side_by_side=1` one on each host, with `--side_by_side=4` one",
      "on each chip ([setup_tpu.md](setup_tpu.md)). On 32 chips preflight expects 12 minutes for `baseline`, so that",
      "starting it on all hosts counts: many small runs are done sooner side by side.",
      "", "| sweep | configs | what |", "|---|---|---|",
      *(f"| `{name}` | {len(sweep.names)} | {sweep.what} |" for name, sweep in _FILE.sweeps.items())]
  for group in _GROUPS:
    text = re.sub(r"^Command: (.*)$", r"* **Command:** `\1`", group.text, flags=re.MULTILINE)
    text = re.sub(r"^(\w+): (.*)$", r"* **\1:** \2", text, flags=re.MULTILINE)
    lines += ["", f"## {group.question}", "", text, "", "| config | what | the paper |", "|---|---|---|"]
    for name, make in group.configs.items():
      what = make.__doc__.splitlines()[0].partition(" (the paper: ")[0]
      lines.append(f"| `{name}` | {what.rstrip('.')} | {f'{group.paper[name]} %' if name in group.paper else ''} |")
  return "\n".join(lines) + "\n"


def test_the_page():
  if "UPDATE_GOLDEN" in os.environ:
    _PAGE.write_text(_page())
  assert _page() == _PAGE.read_text()
