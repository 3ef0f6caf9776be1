# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The programs, as a person calls them: a mistake ends in one line and a non-zero exit.

Starting Python and importing JAX takes seconds, so most command lines run in forks of one process that has done so; a
few are started for real.
"""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax.runtime import hosts
from trm_jax.runtime import sharding
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.training import checkpoint
from trm_jax.training.train_step import Trainer

_ROOT = pathlib.Path(__file__).parents[1]
_ENV = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}

# Reads [program, modules to import beforehand, [[arguments], …]]; writes [[exit status, stdout, stderr], …].
_FORKS = """
import importlib, json, os, sys, tempfile, traceback, warnings
program, modules, cases = json.load(sys.stdin)
module, *_ = [importlib.import_module(name) for name in (program, *modules)]
from trm_jax import cli
warnings.simplefilter("ignore")  # JAX warns of forks; it has started no thread yet
results = []
for arguments in cases:
  with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
    pid = os.fork()
    if not pid:
      os.dup2(out.fileno(), 1)
      os.dup2(err.fileno(), 2)
      sys.argv = [module.__file__, *arguments]
      status = 1
      try:
        cli.run(module.main)
      except SystemExit as e:
        status = e.code or 0
      except BaseException:
        traceback.print_exc()
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    out.seek(0)
    err.seek(0)
    results.append([status, out.read(), err.read()])
json.dump(results, sys.stdout)
"""

# What these programs import on their way, so that not every fork does.
_IMPORTED = {"main": ["trm_jax.training.loop", "trm_jax.evaluate"], "solve": ["trm_jax.evaluate"],
             "sweep": ["trm_jax.study.dry_run", "trm_jax.training.identity"]}


# Config files that come to nothing.
_BROKEN_FILES = {
    "zero": b"HEADER  return 1 / 0\n",
    "name": b"HEADER  return undefined\n",
    "module": b"import no_such_module\nHEADER  return config_lib.default_config()\n",
    "value": b"HEADER  c = config_lib.default_config()\n  c.batch_size = 'x'\n  return c\n",
    "os": b"HEADER  open('/no/such/file')\n",
    "nothing": b"HEADER  config_lib.default_config()\n",
    "number": b"HEADER  return 3\n",
    "no_function": b"get_config = 3\n",
    "latin": b"x = '\xff'\nHEADER  return config_lib.default_config()\n",
    "nul": b"x = 1\0\n",
    "no_dictionary": b"CONFIGS = SWEEPS = 3\ndef get_config(argument): pass\n",
    "unknown_name": (b"from trm_jax import study\nCONFIGS = {}\nSWEEPS = {'x': study.Sweep('', ('y',))}\n"
                     b"def get_config(argument): pass\n"),
    "late": (b"from trm_jax import study\nCONFIGS = {'y': None}\nSWEEPS = {'x': study.Sweep('', ('y',))}\n"
             b"def get_config(argument): return 1 / 0\n"),
}

_OWN_TASK = """
from trm_jax import config as config_lib
from trm_jax.tasks import grid
def get_config(argument=None):
  made = config_lib.small_config("own_task", hidden_size=8)
  made.data.update(source="generated", alphabet="ab", rows=1, columns=2, num_train=1, num_validation=0, num_test=1)
  made.steps = 1
  return made
Data = grid.Data
class Task(grid.Task):
  def new_puzzle(self, rng):
    return (cells := rng.integers(1, 3, 2)), cells
  def solves(self, inputs, answers):
    return self.rules(answers)
"""


def _forks(program, modules, cases, **environment):
  done = subprocess.run([sys.executable, "-c", _FORKS], input=json.dumps([program, modules, cases]),
                        env=_ENV | environment, cwd=_ROOT, capture_output=True, text=True, check=True)
  return json.loads(done.stdout)


def _start(*arguments, **kwargs):
  return subprocess.run([sys.executable, "-m", *arguments], env=_ENV, cwd=_ROOT, capture_output=True, text=True,
                        **kwargs)


def _assert_one_line(result, message, *, status=2):
  assert result[0] == status, result
  stderr = result[2]
  assert stderr.startswith("error: ") and stderr.count("\n") == 1 and stderr.endswith("\n"), stderr
  assert message in stderr


def _save_run(folder):
  """A run's folder with a checkpoint of a model for 4x4 puzzles that has learned nothing."""
  config = tiny.config(data__num_train=9, data__num_validation=0, data__num_test=3)
  data = {"vocab_size": 6, "seq_len": 16, "num_puzzle_identifiers": 1}
  trainer = Trainer(config.model.sized(**data), config.optimizer, mesh=sharding.make_mesh(),
                    batch_size=8, total_steps=10)
  cells = jax.ShapeDtypeStruct((8, 16), "int32")
  batch = {"inputs": cells, "labels": cells, "puzzle_identifiers": jax.ShapeDtypeStruct((8,), "int32")}
  shapes = jax.eval_shape(trainer.init, jax.random.key(0), batch)
  checkpoints = checkpoint.Checkpoints(folder / "checkpoints")
  checkpoints.save(3, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes),
                   {"config": config_lib.to_dict(config), "data": data, "total_steps": 10})
  checkpoints.wait()
  checkpoints.close()


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory):
  """A folder with everything the command lines below name."""
  place = tmp_path_factory.mktemp("place")
  _save_run(place / "7")  # a run's folder may well have a number for a name
  (place / "empty").mkdir()
  (place / "file").write_text("")
  for name, box, num_clues in (("small", 2, 8), ("large", 3, 60)):
    (place / name).mkdir()
    made = generate.generate_splits(box=box, num_train=5, num_validation=0, num_test=5, num_clues=num_clues, seed=0)
    for split in ("train", "test"):
      csv_files.write_csv(place / name / f"{split}.csv", made[split], source="made")
  (place / "bad").mkdir()
  lines = (place / "large" / "test.csv").read_text().splitlines()
  lines[3] = lines[3].replace(",", ",x", 1)
  (place / "bad" / "test.csv").write_text("\n".join(lines))
  (place / "reference" / "test").mkdir(parents=True)
  (place / "reference" / "test" / "dataset.json").write_text(json.dumps({
      "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 11, "seq_len": 81,
      "num_puzzle_identifiers": 1, "total_groups": 1, "mean_puzzle_examples": 1, "total_puzzles": 1, "sets": ["all"]}))
  for field, array in {"inputs": np.ones((1, 80), int), "labels": np.ones((1, 80), int), "puzzle_identifiers": [0],
                       "puzzle_indices": [0, 1], "group_indices": [0, 1]}.items():
    np.save(place / "reference" / "test" / f"all__{field}.npy", array)
  header = "from trm_jax import config as config_lib\ndef get_config(argument=None):\n"
  (place / "own.py").write_text(header + "  c = config_lib.default_config()\n  c.model.hiden_size = 3\n  return c\n")
  (place / "syntax.py").write_text(header + "  c = = 3\n")
  for name, text in _BROKEN_FILES.items():
    (place / f"{name}.py").write_bytes(text.replace(b"HEADER", header.encode()))
  (place / "tasks").mkdir()
  (place / "tasks" / "own_task.py").write_text(_OWN_TASK)
  return place


_BASELINE = "--config=configs/sudoku.py:baseline"
_QUICK = "--config=configs/sudoku.py:quickstart"
_WORKDIR = "--workdir={}/new"

# Arguments, {} being the folder above, and what the line must say.
MAIN = {
    "no config": ([], "--config is missing; try --config=configs/sudoku.py:quickstart"),
    "unknown name": (["--config=configs/sudoku.py:basline"],
                     "config name 'basline' is not known; did you mean baseline? help lists all "),
    "unknown option": ([_BASELINE + ",tiny"], "config option 'tiny' is not known; use one of laptop"),
    "no name": (["--config=configs/sudoku.py"], "config name '' is not known; help lists all "),
    "no such file": (["--config=configs/nope.py:baseline", "--config.seed=3"],
                     "--config=configs/nope.py: no such file"),
    "no such file, apart": (["--config", "configs/nope.py:baseline"], "--config=configs/nope.py: no such file"),
    "a folder": (["--config=configs:baseline"], "--config=configs: no such file"),
    "own config": (["--config={}/own.py"], "config.model.hiden_size: no such field; did you mean model.hidden_size?"),
    "syntax": (["--config={}/syntax.py"], "{}/syntax.py, line 3: invalid syntax"),
    "division": (["--config={}/zero.py"], "{}/zero.py, line 3: ZeroDivisionError: division by zero"),
    "undefined": (["--config={}/name.py"], "{}/name.py, line 3: NameError: name 'undefined' is not defined"),
    "import": (["--config={}/module.py"], "{}/module.py, line 1: ModuleNotFoundError: No module named 'no_such_mo"),
    "type": (["--config={}/value.py"], "{}/value.py, line 4: TypeError: Could not override field 'batch_size'"),
    "own task": (["--config={}/tasks/own_task.py", _WORKDIR],
                 "{}/tasks/own_task.py, line 14: AttributeError: 'Task' object has no attribute 'rules'"),
    "own file missing": (["--config={}/os.py"], "{}/os.py, line 3: FileNotFoundError: [Errno 2] No such file"),
    "no return": (["--config={}/nothing.py"], "{}/nothing.py: get_config() returns None, must return a ConfigDict"),
    "other return": (["--config={}/number.py"], "{}/number.py: get_config() returns 3, must return a ConfigDict"),
    "no function": (["--config={}/no_function.py"],
                    "{}/no_function.py: get_config cannot be called (TypeError: 'int' object is not callable)"),
    "no get_config": (["--config={}/file"], "{}/file: has no get_config(); see configs/sudoku.py for an example"),
    "not UTF-8": (["--config={}/latin.py"], "{}/latin.py, line 1: (unicode error) 'utf-8' codec can't decode byte"),
    "zero bytes": (["--config={}/nul.py"], "{}/nul.py: source code string cannot contain null bytes"),
    "seed of 33 bits": ([_BASELINE, "--config.seed=4294967296"],
                        "config.seed = 4294967296: must lie within 32 bits, from -2147483648 to 2147483647"),
    "flag of 33 bits": (["--mode=eval", "--checkpoint={}/7", "--eval_batch_size=8589934592"],
                        "--eval_batch_size = 8589934592: must lie within 32 bits"),
    "nan": ([_BASELINE, "--config.optimizer.learning_rate=nan"],
            "config.optimizer.learning_rate = nan: must be a finite number that 32 bits can hold"),
    "nan as a flag": ([_BASELINE, "--peer_timeout_s=nan"], "--peer_timeout_s = nan: must be a finite number"),
    "inf as a flag": ([_BASELINE, "--peer_timeout_s=inf"], "flag --peer_timeout_s=inf: inf is not a number in"),
    "unknown field": ([_BASELINE, "--config.batchsize=3"], "config.batchsize: no such field; did you mean batch_size?"),
    "unknown group": ([_BASELINE, "--config.modle.dtype=x"], "config.modle: no such field; did you mean model?"),
    "unknown switch": ([_BASELINE, "--noconfig.model.mlpt"],
                       "config.model.mlpt: no such field; did you mean model.mlp_t?"),
    "field of a value": ([_BASELINE, "--config.seed.x=3"], "config.seed.x: no such field; config.seed is a value"),
    "mistyped int": ([_BASELINE, "--config.batch_size=abc"], "flag --config.batch_size=abc: "),
    "float for int": ([_BASELINE, "--config.batch_size=8.0"], "flag --config.batch_size=8.0: "),
    "mistyped float": ([_BASELINE, "--config.optimizer.b1=x"], "flag --config.optimizer.b1=x: "),
    "mistyped bool": ([_BASELINE, "--config.model.mlp_t=maybe"], "flag --config.model.mlp_t=maybe: "),
    "value for group": ([_BASELINE, "--config.model=3"], "flag --config.model=3: "),
    "field before config": (["--config.batch_size=8", _BASELINE],
                            "--config.batch_size=8: changes a field of --config=FILE.py:NAME, which must come before"),
    "field without config": (["--config.batch_size=8"], "--config.batch_size=8: changes a field of --config="),
    "out of range": ([_BASELINE, "--config.optimizer.ema_rate=1"],
                     "config.optimizer.ema_rate = 1.0: must lie in [0, 1), also when it is rounded to 32 bits"),
    "heads": ([_BASELINE, "--config.model.mlp_t=False", "--config.model.num_heads=3"],
              "model.num_heads = 3: must divide model.hidden_size = 512"),
    "rope": ([_BASELINE, "--config.model.pos_encodings=rope"], "model.pos_encodings = 'rope': rope rotates queries"),
    "devices": ([_QUICK, _WORKDIR, "--config.batch_size=12"],
                "config.batch_size = 12: must be divisible by the 8 devices; use 8 or 16"),
    "clues": ([_QUICK, _WORKDIR, "--config.data.num_clues=3"], "num_clues is 3, must be from 4 to 16"),
    "no test puzzles": ([_QUICK, _WORKDIR, "--config.data.num_test=0"], "config.data.num_test = 0: means all"),
    "no source": ([_BASELINE, _WORKDIR, "--config.data.source={}/none", "--config.batch_size=8"],
                  "config.data.source = '{}/none': no such folder"),
    "no csv": ([_BASELINE, _WORKDIR, "--config.data.source={}/empty"], "{}/empty/test.csv: no such file"),
    "bad row": ([_BASELINE, _WORKDIR, "--config.data.source={}/bad"],
                "{}/bad/test.csv, line 4: the question has 82 characters, must have 81"),
    "other boards": ([_BASELINE, _WORKDIR, "--config.data.source={}/small"],
                     "{}/small/test.csv, line 2: the question has 16 characters, must have 81"),
    "too few puzzles": ([_BASELINE, _WORKDIR, "--config.data.source={}/large"],
                        "config.data.num_train = 1000 and num_validation = 1024: {}/large has 5 training puzzles"),
    "dataset.json": ([_BASELINE, _WORKDIR, "--config.data.source={}/reference"],
                     "all__inputs.npy: has rows of 80 cells, but seq_len in dataset.json is 81"),
    "workdir": ([_QUICK, "--workdir={}/file/run"], "--workdir={}/file/run: cannot write here (Not a directory)"),
    "workdir is a file": ([_QUICK, "--workdir={}/file"], "--workdir={}/file: cannot write here (File exists)"),
    "empty workdir": ([_QUICK, "--workdir="], "--workdir=: is empty, perhaps because a variable is not set"),
    "brackets": ([_QUICK, "--workdir={}/lr[3e-4]"],
                 "--workdir={0}/lr[3e-4]: checkpoints cannot be kept in a folder with '[' in its path; choose another "
                 "name, e.g. --workdir={0}/lr-3e-4"),
    "empty source": ([_BASELINE, _WORKDIR, "--config.data.source=", "--config.batch_size=8"],
                     "config.data.source=: is empty, perhaps because a variable is not set"),
    "empty tfds_dir": ([_BASELINE, _WORKDIR, "--config.data.tfds_dir=", "--config.batch_size=8"],
                       "config.data.tfds_dir=: is empty, perhaps because a variable is not set"),
    "eval of an empty path": (["--mode=eval", "--checkpoint="], "--checkpoint=: is empty, perhaps because a variable"),
    "eval of brackets": (["--mode=eval", "--checkpoint={}/[7]"], "--checkpoint={}/[7]: checkpoints cannot be kept in"),
    "eval of empty data": (["--mode=eval", "--checkpoint={}/7", "--data="], "config.data.source=: is empty"),
    "eval of nothing": (["--mode=eval"], "--checkpoint is missing: --mode=eval needs the folder of a run"),
    "no run": (["--mode=eval", "--checkpoint={}/none"], "{}/none: no checkpoint here"),
    "empty run": (["--mode=eval", "--checkpoint={}/empty"], "{}/empty: no checkpoint here"),
    "other step": (["--mode=eval", "--checkpoint={}/7/checkpoints/9"], "{}/7/checkpoints/9: no checkpoint here"),
    "eval of other boards": (["--mode=eval", "--checkpoint={}/7", "--data={}/large"],
                             "{}/large/test.csv, line 2: the question has 81 characters, must have 16 (4 x 4 cells); "
                             "the model takes no puzzles of other sizes, since their tokens are others, too"),
    "eval of no data": (["--mode=eval", "--checkpoint={}/7", "--data={}/none"], "'{}/none': no such folder"),
    "data to train on": ([_QUICK, _WORKDIR, "--data={}/small"],
                         "--data: only --mode=eval reads it, and this is --mode=train; leave it out"),
    "checkpoint to train": ([_QUICK, _WORKDIR, "--checkpoint={}/7"], "--checkpoint: only --mode=eval reads it"),
    "out in training": ([_QUICK, _WORKDIR, "--out=x"], "--out: only --mode=eval reads it"),
    "nothing to submit": (["--mode=eval", "--checkpoint={}/7", "--out=x"],
                          "--out=x: sudoku-4x4 has no file of answers to write; leave it out"),
    "stop in training": ([_QUICK, _WORKDIR, "--stop=steps"], "--stop: only --mode=eval reads it"),
    "choice in an eval": (["--mode=eval", "--checkpoint={}/7", "--choose=luck"],
                          "flag --choose=luck: value should be one of <count|halting|convergence|proof>"),
    "choice of one in an eval": (["--mode=eval", "--checkpoint={}/7", "--choose=halting", "--steps=2"],
                                 "choose = 'halting': there is only one attempt at each puzzle"),
    "rollouts in an eval": (["--mode=eval", "--checkpoint={}/7", "--rollouts=2"], "rollouts = 2: all would be"),
    "a field that is not of the data": (["--mode=eval", "--checkpoint={}/7", "--set=model.mlp_t=False"],
                                       "--set=model.mlp_t=…: only fields of config.data can be set here, e.g."),
    "a size that the model has not": (["--mode=eval", "--checkpoint={}/7", "--set=data.box=3"],
                                     "sudoku-9x9 has 11 tokens, the model 6: it cannot read such puzzles"),
    "data set in training": ([_QUICK, _WORKDIR, "--set=data.box=3"], "--set: only --mode=eval reads it"),
    "the default of another mode": ([_QUICK, _WORKDIR, "--average=0"], "--average: only --mode=eval reads it"),
    "config of an eval": (["--mode=eval", "--checkpoint={}/7", _QUICK, "--config.model.mlp_t=False"],
                          "--config: only --mode=train reads it, and this is --mode=eval; leave it out"),
    "field in an eval": (["--mode=eval", "--checkpoint={}/7", "--config.model.mlp_t=False"],
                         "--config.model.mlp_t=False: changes a field of --config=FILE.py:NAME, which must come "),
    "workdir of an eval": (["--mode=eval", "--checkpoint={}/7", _WORKDIR], "--workdir: only --mode=train reads it"),
    "mode": (["--mode=evaluate"], "flag --mode=evaluate: value should be one of <train|eval>"),
    "stray argument": ([_QUICK, "workdir=x"], "unknown argument 'workdir=x': every argument is a flag"),
    "unknown flag": ([_QUICK, "--work_dir=x"], "Unknown command line flag 'work_dir'. Did you mean: workdir ?"),
}

_PUZZLE = "1...3..4.3..4..2"
SOLVE = {
    "nothing": ([], "nothing to solve: give a Sudoku, row by row with '.' for a blank, or a file of some"),
    "nothing for the weights that come along": (["--checkpoint=builtin:sudoku"], "nothing to solve: give a Sudoku"),
    "their test puzzles": (["--serve", "--num=3"], "--num: only --checkpoint of a run has test puzzles, and "),
    "unknown weights": (["--checkpoint=builtin:chess"],
                        "--checkpoint=builtin:chess: no such weights come with trm_jax; there is builtin:sudoku"),
    "no run": (["--checkpoint={}/none"], "{}/none: no checkpoint here"),
    "short puzzle": (["--checkpoint={}/7", "1..."], "1...: 4 characters, but sudoku-4x4 has 16 cells"),
    "foreign character": (["--checkpoint={}/7", f"{_PUZZLE[:-2]}5x"],
                          "'5x' is neither a digit 1-4 nor '.' or 0 for blank"),
    "second puzzle": (["--checkpoint={}/7", _PUZZLE, "²" + _PUZZLE[1:]],
                      "'²' is neither a digit 1-4 nor '.' or 0 for blank"),
    "clue twice in a row": (["--checkpoint={}/7", "1..1............"],
                            "1..1............: has no solution, because it has more than one 1 in row 1"),
    "clue twice in a column": (["--checkpoint={}/7", ".2...........2.."], "more than one 2 in column 2"),
    "clue twice in a box": (["--checkpoint={}/7", "..3....3........"], "more than one 3 in box 2"),
    "number of own puzzles": (["--checkpoint={}/7", _PUZZLE, "--num=1"],
                              "--num: the arguments say which puzzles to solve; leave it out"),
    "own puzzles and a folder": (["--checkpoint={}/7", _PUZZLE, "--data={}/small"],
                                 "--data: the arguments say which puzzles to solve; leave it out"),
    "no data": (["--checkpoint={}/7", "--data={}/none"], "config.data.source = '{}/none': no such folder"),
    "no file": (["--checkpoint={}/7", "{}/none.csv"], "{}/none.csv: no such file, nor is it a puzzle"),
    "a folder": (["--checkpoint={}/7", "{}/small"], "{}/small: is no file; name files"),
    "empty checkpoint": (["--checkpoint="], "--checkpoint=: is empty, perhaps because a variable is not set"),
    "empty out": (["--checkpoint={}/7", _PUZZLE, "--out="], "--out=: must be a file of this machine that ends in .csv"),
    "no puzzles": (["--checkpoint={}/7", "--num=0"], "flag --num=0: "),
    "stop": (["--checkpoint={}/7", _PUZZLE, "--stop=soon"], "flag --stop=soon: value should be one of <steps|settled|"),
    "json": (["--checkpoint={}/7", "x.json"], "x.json: sudoku-4x4 has no puzzles in JSON"),
    "a page with answers": (["--checkpoint={}/7", _PUZZLE, "--serve", "--json"],
                            "--json: the page solves puzzles in the browser, and nothing is solved here; leave it out"),
    "a page without examples": (["--checkpoint={}/7", "--web={}/web", "--show=0"],
                                "--web: draws nothing with --show=0; leave it out"),
    "port": (["--checkpoint={}/7", _PUZZLE, "--port=80"], "--port: only --serve reads it; leave it out"),
    "empty web": (["--checkpoint={}/7", _PUZZLE, "--web="], "--web=: must be a folder of this machine"),
    "web in a bucket": (["--checkpoint={}/7", _PUZZLE, "--web=gs://b/x"], "--web=gs://b/x: must be a folder of this"),
    "web over something": (["--checkpoint={}/7", _PUZZLE, "--web={}/small"],
                           "--web={}/small: exists already and is not overwritten; name another folder"),
    "a page with json": (["--checkpoint={}/7", "x.json", "--serve"], "x.json: sudoku-4x4 has no puzzles in JSON"),
    "a page with a bad example": (["--checkpoint={}/7", "{}/small/test.csv", "1...", "--serve"], "1...: 4 characters"),
    "out": (["--checkpoint={}/7", _PUZZLE, "--out={}/file/x.csv"],
            "--out={}/file: cannot write here (File exists)"),
}


_SWEEP = "--sweep=configs/sudoku.py:miniature"
SWEEP = {
    "no sweep": ([], "--sweep is missing; try --sweep=configs/sudoku.py:help"),
    "no file": (["--sweep={}/none.py:x"], "{}/none.py: cannot be read (No such file or directory)"),
    "a folder": (["--sweep=configs:x"], "configs: cannot be read (Is a directory); try configs/sudoku.py"),
    "no sweeps": (["--sweep={}/own.py:x"], "{}/own.py: has no CONFIGS; see configs/sudoku.py"),
    "no dictionary": (["--sweep={}/no_dictionary.py:x"], "{}/no_dictionary.py: CONFIGS is 3; see configs/sudoku.py"),
    "division": (["--sweep={}/late.py:x"], "y: {}/late.py, line 4: ZeroDivisionError: division by zero"),
    "import": (["--sweep={}/module.py:x"], "{}/module.py, line 1: ModuleNotFoundError: No module named 'no_such_mo"),
    "not UTF-8": (["--sweep={}/latin.py:x"], "{}/latin.py, line 1: (unicode error) 'utf-8' codec can't decode byte"),
    "zero bytes": (["--sweep={}/nul.py:x"], "{}/nul.py: source code string cannot contain null bytes"),
    "unknown name": (["--sweep={}/unknown_name.py:x"],
                     "{}/unknown_name.py: the sweep x names 'y', which is not in CONFIGS"),
    "seed of 33 bits": ([_SWEEP, "--seeds=0,4294967296"], "--seeds: config.seed = 4294967296: must lie within 32 bits"),
    "field of 33 bits": ([_SWEEP, "--set=log.every=1099511627776"],
                         "mini_t1_n1: config.log.every = 1099511627776: must lie within 32 bits"),
    "syntax": (["--sweep={}/syntax.py:x"], "{}/syntax.py, line 3: invalid syntax"),
    "unknown sweep": (["--sweep=configs/sudoku.py:mini"],
                      "configs/sudoku.py:mini: no such sweep; use one of replication"),
    "no workdir": ([_SWEEP], "--workdir is missing: a folder for the runs"),
    "empty workdir": ([_SWEEP, "--workdir="], "--workdir=: is empty, perhaps because a variable is not set"),
    "brackets": ([_SWEEP, "--workdir=runs/[x]"], "--workdir=runs/[x]: checkpoints cannot be kept in a folder with '['"),
    "brackets, dry run": ([_SWEEP, "--workdir=[x]", "--dry-run"], "--workdir=[x]: checkpoints cannot be kept in"),
    "workdir": ([_SWEEP, "--workdir=gs://"], "--workdir=gs://: not a usable path"),
    "seeds": ([_SWEEP, "--seeds=0,x"], "--seeds=0,x: must be numbers from 0, e.g. --seeds=0,1,2"),
    "no seeds": ([_SWEEP, "--seeds="], "--seeds=: must be numbers from 0"),
    "seed twice": ([_SWEEP, "--set=seed=3"], "--set=seed=3: runs would share a folder; give --seeds=3"),
    "no value": ([_SWEEP, "--set=steps"], "--set=steps: must be FIELD=VALUE"),
    "unknown field": ([_SWEEP, "--set=stepz=3"], "mini_t1_n1: config.stepz: no such field; did you mean steps?"),
    "mistyped": ([_SWEEP, "--set=steps=x"], "mini_t1_n1: config.steps = 'x': must be of type int, not str"),
    "unknown option": ([_SWEEP, "--options=tiny"], "mini_t1_n1,tiny: config option 'tiny' is not known"),
    "list and dry run": ([_SWEEP, "--list", "--dry-run"], "--dry-run: --list only prints the runs; leave it out"),
    "stray argument": ([_SWEEP, "runs/x"], "unknown argument 'runs/x'"),
}


def _filled(cases, place):
  return [[argument.format(place) for argument in arguments] for arguments, _ in cases.values()]


@pytest.fixture(scope="module", name="main_results")
def _main_results(place):
  return dict(zip(MAIN, _forks("trm_jax.main", _IMPORTED["main"], _filled(MAIN, place),
                               PYTHONPATH=f"{_ROOT}:{place / 'tasks'}")))


@pytest.fixture(scope="module", name="solve_results")
def _solve_results(place):
  return dict(zip(SOLVE, _forks("trm_jax.solve.__main__", _IMPORTED["solve"], _filled(SOLVE, place))))


@pytest.fixture(scope="module", name="sweep_results")
def _sweep_results(place):
  return dict(zip(SWEEP, _forks("trm_jax.sweep", _IMPORTED["sweep"], _filled(SWEEP, place))))


@pytest.mark.parametrize("name", MAIN)
def test_main(main_results, place, name):
  _assert_one_line(main_results[name], MAIN[name][1].format(place))


@pytest.mark.parametrize("name", SOLVE)
def test_solve(solve_results, place, name):
  _assert_one_line(solve_results[name], SOLVE[name][1].format(place))


@pytest.mark.parametrize("name", SWEEP)
def test_sweep(sweep_results, place, name):
  _assert_one_line(sweep_results[name], SWEEP[name][1].format(place))


@pytest.mark.parametrize("variable, message", [
    ("JAX_ENABLE_X64=1", "JAX_ENABLE_X64=1: this library computes in 32 bits; unset it"),
    ("JAX_PLATFORMS=nonsense", "JAX_PLATFORMS=nonsense: JAX cannot use this platform here (Unable "),
    ("JAX_PLATFORMS=cuda", "JAX_PLATFORMS=cuda: JAX cannot use this platform here (no plugin for it is "),
])
def test_an_environment_in_which_it_cannot_run(monkeypatch, variable, message):
  name, value = variable.split("=")
  if value == "cuda" and importlib.util.find_spec("jax_plugins"):
    pytest.skip("a plugin for GPUs is installed")
  monkeypatch.setitem(_ENV, name, value)
  done = _start("trm_jax.main", _QUICK)
  _assert_one_line((done.returncode, done.stdout, done.stderr), message)


_IN_USE = "ABORTED: The TPU is already in use by process with pid {}. Not attempting to load libtpu.so in this process."
_NO_TPU = "NOT_FOUND: TPU initialization failed: No jellyfish device found."


def _tpu_fails(reason):
  """What JAX raises where it cannot initialise a TPU."""
  return RuntimeError(f"Unable to initialize backend 'tpu': {reason} (set JAX_PLATFORMS='' to automatically choose an "
                      "available backend)")


@pytest.mark.parametrize("reason, status, said", [
    (_IN_USE.format("SELF"), 76, r"with pid SELF.*\): \S*python.*; end it or wait for its end, and sta"),
    (_IN_USE.format(2**22 + 1), 76, r"in this process.\); end it"),  # it has ended meanwhile: no such number
    ('ABORTED: The TPU is already in use by another process probably owned by another user. Run "$ sudo lsof -w '
     '/dev/accel0" to figure out which process is using the TPU. If you still get this message, run "$ sudo rm '
     '/tmp/libtpu_lockfile".', 76, "another process uses the devices of this machine, or did not release them"),
    ('ABORTED: Internal error when accessing libtpu multi-process lockfile. Run "$ sudo rm /tmp/libtpu_lockfile".', 76,
     "another process uses the devices"),
    ("FAILED_PRECONDITION: TPU initialization failed: open(/dev/vfio/0): Device or resource busy: Device or resource "
     "busy; Couldn't open iommu group /dev/vfio/0", 76, "another process uses the devices"),
    ("UNKNOWN: TPU initialization failed: Couldn't open device: /dev/accel0 (Operation not permitted)", 76, "another"),
    ("UNAVAILABLE: TPU initialization failed: something else", 76, "the TPU of this machine cannot be used now "
     r"\(Unable to initialize backend 'tpu': UNAVAILABLE: .* something else\); start the same command again"),
    ("Backend 'tpu' is not in the list of known backends: ['cpu'].", 2, "cannot start .*list of known"),
])
def test_a_tpu_that_is_there_and_fails_is_tried_again(monkeypatch, tmp_path, reason, status, said):
  monkeypatch.delenv("JAX_PLATFORMS")
  (tmp_path / "0000:00:04.0").mkdir()
  (tmp_path / "0000:00:04.0" / "vendor").write_text("0x1ae0\n")
  (tmp_path / "0000:00:04.0" / "device").write_text("0x005e\n")
  monkeypatch.setattr(hosts, "_PCI_DEVICES", tmp_path)
  reason, said = (text.replace("SELF", str(os.getpid())) for text in (reason, said))
  line = cli._no_backend(_tpu_fails(reason))
  assert line.status == status
  assert re.search(said, str(line)), line


def test_a_tpu_that_is_not_there_is_a_mistake(monkeypatch, tmp_path):
  monkeypatch.setattr(hosts, "_PCI_DEVICES", tmp_path)
  monkeypatch.setenv("JAX_PLATFORMS", "tpu")
  line = cli._no_backend(_tpu_fails(_NO_TPU))
  assert line.status == 2
  assert str(line) == (f"JAX_PLATFORMS=tpu: JAX cannot use this platform here (Unable to initialize backend 'tpu': "
                       f"{_NO_TPU}); unset JAX_PLATFORMS to use what this machine has, or install what the platform "
                       "needs")


@pytest.mark.parametrize("program, modules, cases", [
    ("trm_jax.main", _IMPORTED["main"],
     [[_QUICK, "--workdir={}/never_made"], ["--mode=eval", "--checkpoint={}/7"]]),
    ("trm_jax.solve.__main__", _IMPORTED["solve"], [["--checkpoint={}/7", _PUZZLE]]),
    ("trm_jax.sweep", _IMPORTED["sweep"], [[_SWEEP, "--workdir={}/never_made", "--dry-run"]]),
])
def test_devices_that_another_process_has_are_tried_again(place, tmp_path, program, modules, cases):
  """By every program that touches them, and by the words of the one plugin that this Python has for a TPU."""
  (tmp_path / "jax_plugins").mkdir()
  (tmp_path / "jax_plugins" / "in_use.py").write_text(
      f"def fail(): raise RuntimeError({_IN_USE.format(os.getpid())!r})\n"
      "def initialize():\n"
      "  from jax._src import xla_bridge\n"
      "  xla_bridge.register_backend_factory('tpu', fail, priority=400, fail_quietly=False)\n")
  cases = [[argument.format(place) for argument in case] for case in cases]
  for result in _forks(program, modules, cases, JAX_PLATFORMS="tpu", PYTHONPATH=f"{_ROOT}:{tmp_path}"):
    _assert_one_line(result, f"already in use by process with pid {os.getpid()}", status=76)
  assert not (place / "never_made").exists()


def test_started_for_real(place):
  for arguments, message in (MAIN["unknown field"], MAIN["devices"]):
    done = _start("trm_jax.main", *(argument.format(place) for argument in arguments))
    _assert_one_line((done.returncode, done.stdout, done.stderr), message)


@pytest.mark.parametrize("program, flags", [
    ("trm_jax.main", ["config", "workdir", "mode", "checkpoint", "data"]),
    ("trm_jax.solve", ["checkpoint", "num", "show", "trace", "json", "out", "image", "html", "serve", "port",
                       "web", "stop"]),
    ("trm_jax.sweep", ["sweep", "workdir", "seeds", "options", "set", "dry-run", "list"]),
])
def test_help_names_the_flags(program, flags):
  done = _start(program, "--help")
  assert "Traceback" not in done.stderr and done.stderr == ""
  assert all(f"--{name}:" in done.stdout or f"--[no]{name}:" in done.stdout for name in flags), done.stdout
  assert f"python -m {program} --" in done.stdout  # the examples


@pytest.mark.parametrize("shell, status, said", [
    (" | true; exit ${PIPESTATUS[0]}", 141, ""),
    (" >/dev/full", 2, "error: standard output cannot be written (No space left on device)\n"),
    (" >&-", 1, ""),  # absl's status of --help
])
def test_a_program_that_answers_ends_when_nobody_hears_it(shell, status, said):
  done = subprocess.run(["bash", "-c", f"{sys.executable} -m trm_jax.main --help{shell}"], env=_ENV, cwd=_ROOT,
                        stderr=subprocess.PIPE, text=True)
  assert (done.returncode, done.stderr) == (status, said)


def test_what_libraries_log_of_an_error_is_not_said_and_blanks_of_a_maze_are():
  """As asyncio logs, with a stack trace, that nobody asked for the exception of a read of Orbax."""
  code = ("import logging; from trm_jax import cli, errors\n"
          "def main(argv):\n"
          "  for name in ('absl', 'asyncio'): logging.getLogger(name).error('Task exception was never retrieved')\n"
          "  raise errors.UserError('said\\n  of S    G')\n"
          "cli.run(main)\n")
  done = subprocess.run([sys.executable, "-c", code], env=_ENV, cwd=_ROOT, capture_output=True, text=True)
  _assert_one_line((done.returncode, done.stdout, done.stderr), "said of S    G\n")


def test_help_of_a_config():
  done = _start("trm_jax.main", "--config=configs/sudoku.py:help")
  assert (done.returncode, done.stderr) == (0, "")
  assert all(f"  {name} " in done.stdout for name in ("baseline", "quickstart", "quickstart_9x9", "laptop"))


def test_solve_solves(place):
  done = _start("trm_jax.solve", f"--checkpoint={place}/7", _PUZZLE, "-", input="12\n")
  assert (done.returncode, done.stderr) == (3, (
      "error: standard input, line 1: 12: 2 characters, but sudoku-4x4 has 16 cells\n"
      "error: 1 row is no puzzle, see above; 1 other was tried\n"))
  assert "solving: 0 of 1 solved, every row, column and box checked" in done.stdout
