# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Maze runs: `--config=configs/maze.py:NAME`; NAME `help` lists them all.

    python -m trm_jax.main --config=configs/maze.py:quickstart --workdir=runs/maze
    python -m trm_jax.sweep --sweep=configs/maze.py:miniature --workdir=runs/maze_mini --seeds=0

All knobs, their units and rules are in trm_jax/config.py, for config.model in trm_jax/model/config.py, and for
config.data in trm_jax/tasks/maze/config.py. "The paper" is arXiv:2510.04871; its figure is the % of Maze-Hard's 1,000
test mazes with every cell right, after training on 1,000 others.
"""

from trm_jax import config as config_lib
from trm_jax import study


def baseline():
  """The reference's Maze-Hard run: attention, T=3 n=4, batch 768, 65,104 steps (the paper: 85.3 %).

  Hardware: four L40S for less than 24 hours in the paper; a TPU v4-64 here.
  Result: unmeasured.
  """
  config = config_lib.default_config("maze")
  config.model.update(mlp_t=False, pos_encodings="rope", L_cycles=4)
  return config


def quickstart():
  """Generated mazes of 7x7 cells, learned within minutes on a laptop.

  Hardware: two CPU cores.
  Result: 97.4 to 98.4 % valid paths, docs/results.md, 3 seeds.
  """
  config = small()
  config.loss.halting_weight = 0.05  # the reference's 0.5 needs half as many steps again (docs/results.md)
  return config


def attention():
  """Generated mazes of 7x5 cells, by attention, which then solves larger ones, too: benchmarks.larger_puzzles.

  Hardware: two CPU cores.
  Result: 92.4 % valid paths, docs/results.md, 1 seed.
  """
  config = small()
  config.data.columns = 5
  config.model.update(mlp_t=False, pos_encodings="rope", num_heads=4)
  config.optimizer.muon_learning_rate = 0.005  # at 0.01 and more, attention loses again what it has learned
  config.steps = 4_000
  return config


def small():
  """The base of the miniature studies: the quick start with the reference's loss.

  Hardware: two CPU cores.
  Result: 85.4 to 91.5 % shortest paths, docs/results.md, 3 seeds.
  """
  config = config_lib.small_config("maze", 64)
  config.data.update(source="generated", rows=7, columns=7, min_path=2, num_train=20_000, num_validation=256,
                     num_test=1_024, num_aug=-1)
  # Two supervision steps a maze: with more of them training sees fewer mazes and takes longer (docs/results.md).
  config.model.halt_max_steps = 2
  config.optimizer.update(name="muon", muon_learning_rate=0.01)
  config.update(steps=1_000, batch_size=64)
  return config


@study.group(small)
def MINIATURE():
  """The miniature study: what does recursion bring where information must travel?

  Mazes of 7x7 cells, 64,000 examples a run; the base has T=2 n=2, two supervision steps, EMA 0.99 and the MLP over
  tokens. Every setting has three learning rates of Muon, since one rate for all would favour some; choose among them by
  validation puzzles, with one seed, and repeat the chosen ones.

  Command: python -m trm_jax.sweep --sweep=configs/maze.py:miniature --workdir=runs/maze_mini --seeds=0
  Paper: none; it has mazes of 30x30 cells.
  Hardware: two CPU cores.
  Result: docs/results.md, 3 seeds of the chosen rates.
  """
  settings = {
      "base": ("the base", {}),
      "t1_n1": ("T=1 n=1", {"model.H_cycles": 1, "model.L_cycles": 1}),
      "t1_n2": ("T=1 n=2", {"model.H_cycles": 1}),
      "t3_n3": ("T=3 n=3", {"model.H_cycles": 3, "model.L_cycles": 3}),
      "nsup_1": ("one supervision step", {"model.halt_max_steps": 1}),
      "nsup_4": ("at most 4 supervision steps", {"model.halt_max_steps": 4}),
      "nsup_8": ("at most 8 supervision steps", {"model.halt_max_steps": 8}),
      "ema_off": ("no EMA", {"optimizer.ema_rate": 0.0}),
      # Eight heads would have eight features each.
      "attention": ("attention with rotary positions, 4 heads", {
          "model.mlp_t": False, "model.pos_encodings": "rope", "model.num_heads": 4}),
  }
  for level in range(3):
    for name, (what, changes) in settings.items():
      rate = ("0.01", "0.005", "0.0025" if name == "attention" else "0.02")[level]
      yield f"mini_{name}_lr_{rate}", f"{what}, learning rate {rate}", changes | {
          "optimizer.muon_learning_rate": float(rate)}


def _adam_atan2(rate):
  return {"optimizer.name": "adam_atan2"} | config_lib.rates(float(rate))


@study.group(small)
def FAST():
  """Fewer examples in miniature: which parts of the fast recipe help on mazes?

  1,500 steps of the base, whose optimizer is Muon, with all of the parts, with all but one, and with the one that
  matters most; the reference's recipe, with AdamATan2 at three rates; and the best of them with the published curriculum
  and with half of the batch. All runs take the same 96,000 examples.
  `trm_jax.config.small_fast_parts` has the parts.

  Command: python -m trm_jax.sweep --sweep=configs/maze.py:fast --workdir=runs/maze_fast --seeds=0,1,2
  Paper: none; it has mazes of 30x30 cells.
  Hardware: two CPU cores.
  Result: docs/results.md, 3 seeds, 1 or 2 of the rates that were not chosen.
  """
  steps = 1_500
  parts = config_lib.small_fast_parts(steps)
  watched = {"steps": steps, "eval.every": 100}
  for rate in ("1e-3", "3e-3", "1e-2"):
    yield f"fast_plain_lr_{rate}", f"none of the parts, AdamATan2 at {rate}", watched | _adam_atan2(rate)
  yield "fast_only_muon", "only Muon", watched
  yield "fast_muon_and_light_halting", "only Muon and light halting", watched | parts["light_halting"]
  yield "fast_only_light_halting", "only light halting, AdamATan2 at 3e-3", config_lib.together(
      watched, _adam_atan2("3e-3"), parts["light_halting"])
  yield "fast_all", "all of the parts", config_lib.together(watched, *parts.values())
  for part in parts:
    yield f"fast_without_{part}", f"without {part.replace('_', ' ')}", config_lib.together(
        watched, _adam_atan2("3e-3") if part == "muon" else {},
        *(others for other, others in parts.items() if other != part))
  best = config_lib.together(watched, parts["light_halting"])
  yield "fast_cgar", "only Muon and light halting, with the published curriculum of depth and loss weights", best | {
      "depth_schedule": "0:1x1,0.3:1x2,0.6:2x2", "loss.step_decay": 0.7}
  yield "fast_batch_32", "only Muon and light halting, batch 32", best | {
      "batch_size": 32, "steps": 2 * steps, "eval.every": 200}


CONFIGS = {f.__name__: f for f in (baseline, quickstart, attention, small)} | MINIATURE.configs | FAST.configs
SWEEPS = {
    "miniature": study.Sweep("what recursion brings, on two CPU cores", tuple(MINIATURE.configs)),
    "fast": study.Sweep("the parts of the fast recipe, on two CPU cores", tuple(FAST.configs))}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, {})
