# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku runs: `--config=configs/sudoku.py:NAME[,OPTION…]`; NAME `help` lists them all.

    python -m trm_jax.main --config=configs/sudoku.py:e2_1_ema_off --workdir=runs/e2_1_ema_off
    python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2

All knobs, their units and rules are in trm_jax/config.py and, for config.model, in trm_jax/model/config.py. Each
config of the study is a line: its name, a description, the fields in which it differs from the group's base, and the
paper's figure. "The paper" is arXiv:2510.04871; its figures are the % of Sudoku-Extreme's test puzzles solved, after
training on 1,000 puzzles. docs/study.md is made from these docstrings (tests/test_study.py says how).
"""

from trm_jax import config as config_lib
from trm_jax import study
from trm_jax.model import flops
from trm_jax.study import estimate


def baseline():
  """The reference's Sudoku-Extreme run: MLP over tokens, T=3 n=6, batch 768, 65,104 steps (the paper: 87.4 %)."""
  return config_lib.default_config()


def quickstart():
  """Generated 4x4 puzzles, learned within a minute on a laptop."""
  config = config_lib.small_config("sudoku", 64)
  config.data.update(source="generated", box=2, num_train=20_000, num_validation=256, num_test=1_024, num_clues=6,
                     num_aug=0)  # the 288 grids fall into two symmetry classes: with augmentation none would be unseen
  config_lib.change(config, config_lib.rates(3e-3))
  config.update(steps=500, batch_size=32)
  config.eval.every = 100
  return config


def quickstart_9x9():
  """Generated 9x9 puzzles with many clues, minutes on a laptop."""
  config = config_lib.small_config("sudoku", 128)
  config.data.update(source="generated", num_train=5_000, num_validation=256, num_test=1_000, num_clues=50, num_aug=-1)
  config_lib.change(config, config_lib.rates(3e-3))
  config.update(steps=1_200, batch_size=32)
  return config


def newspaper():
  """Generated 9x9 puzzles with 30 to 60 clues, one hour: the first stage of the weights that come with trm_jax."""
  config = quickstart_9x9()
  config.data.update(num_train=10_000, num_validation=512, num_clues=30, max_clues=60)
  config.optimizer.update(learning_rate=1.5e-3, prefix_learning_rate=1.5e-3, lr_min_ratio=1.0, ema_rate=0.995)
  config.update(steps=700, batch_size=64)
  return config


def newspaper_2():
  """The second stage, with 26 to 44 clues: begins with the weights of newspaper from `--workdir=runs/newspaper`."""
  config = newspaper()
  config.init_from = "runs/newspaper"
  config.data.update(num_clues=26, max_clues=44, seed=1)
  config.optimizer.update(learning_rate=1e-3, prefix_learning_rate=1e-3, warmup_steps=50, lr_min_ratio=0.1)
  config.steps = 1_400
  return config


def fast():
  """A published recipe that needs a sixteenth of the examples: Muon, softmax, T=6 n=9, 8,000 steps of 384."""
  config = baseline()
  for changes in config_lib.FAST_PARTS.values():
    config_lib.change(config, changes)
  config.update(epochs=0, steps=8_000, batch_size=384)
  return config


def mini():
  """The base of the miniature study: few puzzles, and a small model trained until it learns no more from them."""
  config = quickstart()
  config.data.update(num_clues=5, num_train=300)
  config.model.update(hidden_size=32, num_heads=2, puzzle_emb_ndim=32)
  config_lib.change(config, config_lib.rates(1e-3))
  config.update(steps=500, batch_size=64)
  config.eval.every = 100
  return config


def laptop(config):
  """Shrinks a config's model and run so that two CPU cores train it in about an hour."""
  # T and n, supervision steps, dtype and average shrink if they are the reference's; an experiment's own values stay.
  model, averaged = config.model, config.optimizer.ema_rate > 0
  if (model.H_cycles, model.L_cycles, config.depth_schedule) == (3, 6, ""):
    model.update(H_cycles=2, L_cycles=2)
  if model.halt_max_steps == 16:
    model.halt_max_steps = 8
  if model.dtype == "bfloat16":
    model.dtype = "float32"
  model.update(hidden_size=128, puzzle_emb_ndim=128, puzzle_emb_len=1)
  config.data.update(num_validation=256, num_test=2_000)
  config_lib.small_run(config)
  config.optimizer.update(base_batch_size=0, ema_rate=0.99 if averaged else 0.0)
  config.optimizer.ema_start = min(1_500, config.optimizer.ema_start)
  config.update(steps=2_500, batch_size=32)
  config.log.every = 50


# Fields that several configs change together.

_ATTENTION = {"model.mlp_t": False, "model.pos_encodings": "rope"}


def _batch(batch_size):
  """Another batch size, with proportional rates, the same epochs, and a warmup between 2,000 and 5,000 steps."""
  return {"batch_size": batch_size, "optimizer.base_batch_size": 768,
          "optimizer.warmup_steps": min(5_000, max(2_000, 2 * batch_size))}


def _puzzles(number):
  """Another number of training puzzles and the same number of steps."""
  return {"data.num_train": number, "epochs": 50_000 * 1_000 // number}


def _equal_compute(base, changes):
  """The changes, with the number of steps that costs the base run's training FLOPs (trm_jax/model/flops.py)."""
  before, after = base(), base()
  config_lib.change(after, changes)
  steps = before.steps or before.epochs * before.data.num_train // before.batch_size
  return changes | {"epochs": 0, "steps": round(steps * _example_flops(before) / _example_flops(after))}


def _example_flops(config):
  return flops.train_step_flops(estimate.model_config(config_lib.parse(config)))


# The study.

START = study.Group(
    "The reference's run, and where to begin",
    """Command: python -m trm_jax.main --config=configs/sudoku.py:baseline
Paper: baseline 87.4 % (Table 1), within 36 hours of one L40S. fast, in its author's logs: 83.6 to 87.1 %, four seeds.
Hardware: a GPU or TPU for baseline, two CPU cores for the others.
Result: baseline and fast are unmeasured; the others are in docs/results.md.""",
    {f.__name__: f for f in (baseline, fast, quickstart, quickstart_9x9, newspaper, newspaper_2)},
    {"baseline": 87.4})


@study.group(baseline)
def E1_1():
  """E1.1: does a small batch on many hosts reach the paper's accuracy?

  Like baseline with a third of the batch (32 examples per host of a v4-64) and the same learning rate and epochs.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:replication
  Paper: none for batch 256; 87.4 % with batch 768 (Table 1).
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "e1_1_replication", "batch 256", {"batch_size": 256}


@study.group(baseline)
def E1_2():
  """E1.2: does a run start like the reference's run?

  The reference's first 1,000 steps, each with loss, gradient norm, examples/s and memory, to compare with its log.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:replication
  Paper: none.
  Hardware: any GPU or TPU.
  Result: unmeasured.
  """
  yield "e1_2_port_check", "1,000 steps, all of them logged", {"epochs": 0, "steps": 1_000, "log.every": 1}


@study.group(baseline)
def E1_3():
  """E1.3: how large can the batch be if the learning rate grows in proportion?

  Rates in proportion to the batch, from the reference's 768; the same epochs; warmup of 2,000 to 5,000 steps.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:batch
  Paper: none; it trains with batch 768 only.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for batch_size in (256, 512, 1024, 2048, 4096):
    yield f"e1_3_batch_{batch_size}", f"batch {batch_size}, rates in proportion", _batch(batch_size)


@study.group(baseline)
def E2_1():
  """E2.1: how much does averaging the weights (EMA) help?

  Batch 1,024 with rates in proportion.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:ablations
  Paper: 87.4 % with and 79.9 % without at batch 768 (Table 1; t1_no_ema is that run).
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "e2_1_ema_on", "EMA 0.999, batch 1024", _batch(1024)
  yield "e2_1_ema_off", "no EMA, batch 1024", _batch(1024) | {"optimizer.ema_rate": 0.0}


@study.group(baseline)
def E2_2():
  """E2.2: how do cycles T and latent updates n affect accuracy?

  The same number of steps; a step costs in proportion to (T + 2) (n + 1) applications of the network.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule
  Paper: T=2 n=2 73.7 %, T=3 n=6 87.4 % (Table 1).
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  paper = {(2, 2): [73.7], (3, 6): [87.4]}
  for T, n in ((2, 2), (2, 6), (3, 4), (3, 6), (4, 6)):
    yield f"e2_2_t{T}_n{n}", f"T={T} n={n}", {"model.H_cycles": T, "model.L_cycles": n}, *paper.get((T, n), [])


@study.group(baseline)
def E2_3():
  """E2.3: should tokens be mixed by an MLP or by attention, at equal compute?

  The attention run stops at the training FLOPs of the MLP run, as trm_jax/model/flops.py counts them:
  attention over 97 positions costs more than the token MLP, so it takes 58,395 steps instead of 65,104.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:ablations
  Paper: MLP 87.4 %, attention 74.7 % (Table 1), with equal epochs as in t1_attention.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "e2_3_mlp", "MLP over tokens", {}
  yield "e2_3_attention", "attention with rotary positions, equal compute", _equal_compute(baseline, _ATTENTION)


@study.group(baseline)
def E2_4():
  """E2.4: how many supervision steps does training need?

  The evaluation uses the same number. An optimizer step is one supervision step per row, so the runs cost the same.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:ablations
  Paper: only 16.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for steps in (4, 8, 16, 32):
    yield f"e2_4_nsup_{steps}", f"at most {steps} supervision steps per puzzle", {"model.halt_max_steps": steps}


@study.group(baseline)
def E3_1():
  """E3.1: does a larger model help?

  Hidden size x layers, batch 2,048 with rates in proportion, the same number of epochs.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:model_size
  Paper: none of these; with 4 layers and n=3 it falls from 87.4 to 79.5 % (Table 1; t1_4_layers_n3).
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for name, hidden, layers in (("base", 512, 2), ("medium", 768, 3), ("large", 1024, 4)):
    yield f"e3_1_{name}", f"{layers} layers of {hidden}, batch 2048", _batch(2048) | {
        "model.hidden_size": hidden, "model.L_layers": layers, "model.puzzle_emb_ndim": hidden}


@study.group(baseline)
def E3_2():
  """E3.2: do more training puzzles help?

  The same number of steps, so fewer epochs of more puzzles.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:data
  Paper: none; it trains on 1,000 puzzles only.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for thousands in (1, 5, 10):
    yield f"e3_2_data_{thousands}k", f"{thousands},000 training puzzles", _puzzles(1_000 * thousands)


@study.group(baseline)
def E3_3():
  """E3.3: how many augmented versions of a puzzle are enough?

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:augmentation
  Paper: none; it uses 1,000 per puzzle.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for number in (100, 500, 1000, 2000):
    yield f"e3_3_aug_{number}", f"{number} augmented versions per puzzle", {"data.num_aug": number}


@study.group(baseline)
def E3_4():
  """E3.4: which learning rate suits which batch?

  A grid of both, without scaling; warmup of 2,000 steps; the same number of epochs.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:lr_grid
  Paper: only 1e-4 with batch 768.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for rate in ("5e-5", "1e-4", "2e-4", "5e-4", "1e-3"):
    for batch_size in (256, 1024, 4096):
      yield (f"e3_4_lr_{rate}_batch_{batch_size}", f"learning rate {rate}, batch {batch_size}",
             config_lib.rates(float(rate)) | {"batch_size": batch_size})


@study.group(baseline)
def E4_1():
  """E4.1: does recursion that deepens during training save compute?

  The same number of steps; their cost grows from stage to stage. e4_1_depth_curriculum: n=6 with T=2, 3 and 4, for a
  third of the steps each. e4_1_cgar: T=1 n=2, T=2 n=4, T=3 n=6 from 0, 30 and 60 % of the steps, and a weight of
  0.7^(s - 1) for the loss of supervision step s.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:beyond
  Paper: the second, arXiv:2511.08653: 86.02 %, against 86.65 % of its own TRM, in 58 % of the GPU hours.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "e4_1_depth_curriculum", "T from 2 to 4", {
      "model.H_cycles": 4, "depth_schedule": "0:2x6,0.333:3x6,0.667:4x6"}
  yield "e4_1_cgar", "the published curriculum of depth and loss weights", {
      "depth_schedule": "0:1x2,0.3:2x4,0.6:3x6", "loss.step_decay": 0.7}


@study.group(baseline)
def E4_2():
  """E4.2: can the model be taught to halt earlier at the same accuracy?

  The loss gets lambda times the expected number of further supervision steps. Compare solved puzzles and steps per
  puzzle under `--mode=eval --stop=settled`.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:beyond
  Paper: none.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  for weight in ("0", "0.001", "0.01", "0.1"):
    yield f"e4_2_halt_cost_{weight}", f"halting cost {weight}", {"loss.halt_cost": float(weight)}


@study.group(baseline)
def E4_3():
  """E4.3: what does the number format of the matrix products change?

  float16 with loss scaling. Parameters, norms, heads and losses are float32 in all of them.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:beyond
  Paper: only bfloat16.
  Hardware: TPU v4-64; float16 is for GPUs.
  Result: unmeasured.
  """
  for dtype in ("float32", "bfloat16", "float16"):
    yield f"e4_3_{dtype}", dtype, {"model.dtype": dtype}


@study.group(baseline)
def E4_4():
  """E4.4: is an average of checkpoints as good as EMA?

  One run, evaluated with both at the end.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:beyond
  Paper: none.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield ("e4_4_checkpoint_average", "the average of the last 5 checkpoints beside EMA",
         {"save.average": 5, "save.minutes": 0.0})  # the choice of checkpoints must not depend on the speed of chips


@study.group(baseline)
def MORE():
  """More: longer, deeper, larger, other optimizers, other models

  plain_transformer predicts directly, with 8 layers and no recursion. eqr has random initial states, and noise of
  standard deviation 0.01 on the states during training, as published for test-time scaling (arXiv:2605.21488 and its
  code). muon uses the rates of fast for the matrices.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:more
  Paper: none.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "longer_training", "100,000 epochs", {"epochs": 100_000}
  yield "deeper_model", "4 layers", {"model.L_layers": 4}
  yield "no_warmup", "the full learning rate from the first step", {"optimizer.warmup_steps": 0}
  yield "larger_batch", "batch 2048, rates in proportion", _batch(2048)
  yield "muon", "Muon for the matrices", {"optimizer.name": "muon"}
  yield "eqr", "random initial states and noise on the states while training", {
      "model.random_init": True, "model.state_noise": 0.01}
  yield "plain_transformer", "8 layers of attention without recursion", _ATTENTION | {
      "model.recursion": "none", "model.L_layers": 8, "model.puzzle_emb_len": 0}


@study.group(fast)
def FAST():
  """Fewer examples: which parts of the fast recipe matter?

  Each run replaces one part of `fast` by the reference's values. All runs take the same 3.1 million examples; with the
  reference's T and n a step is cheaper. fast_cgar adds the published curriculum of depth and loss weights, and
  fast_plain has none of the parts.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:fast
  Paper: none; its author's logs of the whole recipe say 83.6 to 87.1 %, four seeds.
  Hardware: one GPU, or TPU v4-64.
  Result: unmeasured.
  """
  reference = config_lib.flatten(config_lib.to_dict(config_lib.parse(baseline())))
  for part, changes in config_lib.FAST_PARTS.items():
    yield f"fast_without_{part}", f"without {part.replace('_', ' ')}", {field: reference[field] for field in changes}
  yield "fast_cgar", "with the published curriculum of depth and loss weights", {
      "depth_schedule": "0:2x3,0.3:4x6,0.6:6x9", "loss.step_decay": 0.7}
  yield "fast_plain", "none of the parts", {
      field: reference[field] for field in config_lib.together(*config_lib.FAST_PARTS.values())}


@study.group(baseline)
def TABLE_1():
  """The paper's Table 1: what does each part of TRM contribute?

  Each is baseline with one change, except t1_hrm, which is the model before TRM: two networks of 4 layers, one
  for z_L and one for z_H, T=2 n=2, attention, Q-continue, a gradient through only the last two applications, no EMA.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:paper_table_1
  Paper: as listed, beside 87.4 % of baseline; HRM's figure is that of HRM's own training.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "t1_q_continue", "also learns the value of going on (ACT)", {"model.q_continue": True}, 86.1
  yield "t1_separate_nets", "a separate network for z_H", {"model.H_layers": 2}, 82.4
  yield "t1_no_ema", "no EMA", {"optimizer.ema_rate": 0.0}, 79.9
  yield "t1_4_layers_n3", "4 layers, n=3", {"model.L_layers": 4, "model.L_cycles": 3}, 79.5
  yield "t1_attention", "attention with rotary positions, equal epochs", _ATTENTION, 74.7
  yield "t1_t2_n2", "T=2 n=2", {"model.H_cycles": 2, "model.L_cycles": 2}, 73.7
  yield "t1_one_step_gradient", "a gradient through only the last two applications", {
      "model.gradient": "one_step"}, 56.5
  yield "t1_hrm", "HRM", _ATTENTION | {
      "model.H_layers": 4, "model.L_layers": 4, "model.H_cycles": 2, "model.L_cycles": 2, "model.gradient": "one_step",
      "model.q_continue": True, "model.puzzle_emb_len": 0, "optimizer.ema_rate": 0.0}, 55.0


@study.group(baseline)
def TABLE_2():
  """The paper's Table 2: why two latent states?

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:paper_table_2
  Paper: as listed, beside 87.4 % of baseline, which has two.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  yield "t2_single_z", "one latent state", {"model.recursion": "single_z"}, 71.9
  yield "t2_multi_scale_z", "n latent states besides the answer", {"model.recursion": "multi_scale_z"}, 77.6


@study.group(baseline)
def TABLE_3():
  """The paper's Table 3: is it effective depth that counts?

  n = 2k. The effective depth of a supervision step is T (n + 1) x 2 layers.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:paper_table_3
  Paper: as listed; k=6 T=3 and k=6 T=6 ran out of memory there.
  Hardware: TPU v4-64.
  Result: unmeasured.
  """
  paper = {(1, 1): [63.2], (2, 2): [81.9], (3, 3): [87.4], (4, 4): [84.2], (3, 6): [85.8]}
  for k, T in ((1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (3, 6), (6, 6)):
    yield (f"t3_k{k}_t{T}", f"T={T} n={2 * k}, effective depth {2 * T * (2 * k + 1)}",
           {"model.H_cycles": T, "model.L_cycles": 2 * k}, *paper.get((k, T), []))


@study.group(mini)
def MINIATURE():
  """The miniature study: which findings show on 300 puzzles of 4x4 cells, in one or two minutes per run?

  T and n, EMA, token mixer (equal compute), supervision steps, and a grid of batch and learning rate in which every
  run sees the same number of puzzles. Names of equal configs are trained only once by a sweep.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:miniature --workdir=runs/mini --seeds=0,1,2
  Paper: none; it has 9x9 puzzles.
  Hardware: two CPU cores.
  Result: docs/results.md, 3 seeds: deep supervision shows; deeper recursion learns more slowly here.
  """
  for T, n in ((1, 1), (1, 2), (2, 2), (3, 2), (2, 4), (3, 4)):
    yield f"mini_t{T}_n{n}", f"T={T} n={n}", {"model.H_cycles": T, "model.L_cycles": n}
  yield "mini_ema_on", "EMA 0.99", {}
  yield "mini_ema_off", "no EMA", {"optimizer.ema_rate": 0.0}
  yield "mini_mlp", "MLP over tokens", {}
  yield "mini_attention", "attention with rotary positions, equal compute", _equal_compute(mini, _ATTENTION)
  for steps in (1, 2, 4, 8, 16):
    yield f"mini_nsup_{steps}", f"at most {steps} supervision steps per puzzle", {"model.halt_max_steps": steps}
  base = mini()
  for batch_size in (32, 64, 128):
    for rate in ("3e-4", "1e-3", "3e-3"):
      yield (f"mini_batch_{batch_size}_lr_{rate}", f"batch {batch_size}, learning rate {rate}", config_lib.together(
          config_lib.rates(float(rate)),
          {"batch_size": batch_size, "steps": base.steps * base.batch_size // batch_size}))


@study.group(quickstart)
def MINI_FAST():
  """Fewer examples in miniature: which parts of the fast recipe help on 4x4 puzzles, which a minute trains?

  The quick start, which has none of the parts, with all of them, with each alone, with all but one, and with all but
  Muon and the deeper recursion. All runs take the same 16,000 examples. T=3 n=3 stands for the deeper recursion, an
  average of 0.9 from step 300 on for the late EMA and 1e-3 for the rate of what Muon leaves to Adam. All small models
  have one prefix token, and symmetries would leave no 4x4 puzzle unseen.

  Command: python -m trm_jax.sweep --sweep=configs/sudoku.py:mini_fast --workdir=runs/mini_fast --seeds=0,1,2
  Paper: none; it has 9x9 puzzles.
  Hardware: two CPU cores.
  Result: docs/results.md, 3 seeds.
  """
  parts = config_lib.small_fast_parts(quickstart().steps)
  watched = {"eval.every": 25}
  yield "mini_fast_plain", "none of the parts", watched
  yield "mini_fast_all", "all of the parts", config_lib.together(watched, *parts.values())
  for part, changes in parts.items():
    name = part.replace("_", " ")
    yield f"mini_fast_only_{part}", f"only {name}", watched | changes
    yield f"mini_fast_without_{part}", f"without {name}", config_lib.together(
        watched, *(others for other, others in parts.items() if other != part))
  yield "mini_fast_without_muon_and_depth", "without muon and depth", config_lib.together(
      watched, *(changes for part, changes in parts.items() if part not in ("muon", "depth")))


STUDY = (E1_1, E1_2, E1_3, E2_1, E2_2, E2_3, E2_4, E3_1, E3_2, E3_3, E3_4, E4_1, E4_2, E4_3, E4_4, FAST, MORE,
         TABLE_1, TABLE_2, TABLE_3)
GROUPS = (START, *STUDY, MINIATURE, MINI_FAST)
CONFIGS = {name: make for group in GROUPS for name, make in group.configs.items()}
OPTIONS = {f.__name__: f for f in (laptop,)}


def _sweep(what, *groups):
  """Baseline and the configs of the groups."""
  return study.Sweep(what, ("baseline", *(name for group in groups for name in group.configs)))


SWEEPS = {
    "replication": _sweep("the reference's run, and E1.1, E1.2", E1_1, E1_2),
    "batch": _sweep("the batch with rates in proportion, E1.3", E1_3),
    "ablations": _sweep("EMA, token mixer, supervision steps: E2.1, E2.3, E2.4", E2_1, E2_3, E2_4),
    "tn_schedule": _sweep("cycles T and latent updates n, E2.2", E2_2),
    "model_size": _sweep("hidden size and layers, E3.1", E3_1),
    "data": _sweep("training puzzles, E3.2", E3_2),
    "augmentation": _sweep("augmented versions, E3.3", E3_3),
    "lr_grid": _sweep("learning rate x batch, E3.4", E3_4),
    "beyond": _sweep("curricula, halting cost, number formats, averaged checkpoints: E4", E4_1, E4_2, E4_3, E4_4),
    "fast": study.Sweep("the parts of the fast recipe", ("fast", *FAST.configs)),
    "mini_fast": study.Sweep("the parts of the fast recipe, for two CPU cores", tuple(MINI_FAST.configs)),
    "more": _sweep("longer, deeper, larger, other optimizers and models", MORE),
    "paper_table_1": _sweep("the parts of TRM", TABLE_1),
    "paper_table_2": _sweep("latent states", TABLE_2),
    "paper_table_3": _sweep("effective depth", TABLE_3),
    "miniature": study.Sweep("the miniature study, for two CPU cores", tuple(MINIATURE.configs)),
    "all": study.Sweep("all of the above except those for two CPU cores", (
        "baseline", "fast", *(name for group in STUDY for name in group.configs))),
}


def get_config(argument=None):
  """Called by --config."""
  return config_lib.from_argument(argument, CONFIGS, OPTIONS, {group.question: group.configs for group in GROUPS})
