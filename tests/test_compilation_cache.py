# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Where compiled programs are kept, and that another start, and another seed, finds them there."""

import json
import os
import subprocess
import sys

from etils import epath
import jax
import pytest

from trm_jax.runtime import compilation_cache

_NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches")
_XLA = jax.config.jax_persistent_cache_enable_xla_caches


@pytest.fixture(name="enable")
def _enable(monkeypatch):
  """A function: what JAX is told on another backend, by one of several processes."""
  before = {name: getattr(jax.config, name) for name in _NAMES}
  assert before["jax_compilation_cache_dir"] is None  # otherwise there is nothing to decide

  def enable(backend, processes, workdir):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    compilation_cache.enable(workdir)
    return tuple(getattr(jax.config, name) for name in _NAMES)

  yield enable
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.parametrize("backend, processes, workdir, kept", [
    ("gpu", 1, None, "CACHE/trm_jax/compilation_cache"),
    ("tpu", 1, "runs/mine", "CACHE/trm_jax/compilation_cache"),
    ("gpu", 2, "/shared/mine", "/shared/.compilation_cache"),
    ("tpu", 2, None, None),
    ("cpu", 1, None, None),
    ("cpu", 2, "/shared/mine", None),
])
def test_where(enable, monkeypatch, backend, processes, workdir, kept):
  monkeypatch.setenv("XDG_CACHE_HOME", "CACHE")
  assert enable(backend, processes, workdir) == (kept, _XLA)


@pytest.mark.parametrize("processes, workdir", [(1, "/runs/mine"), (8, "/runs/mine"), (8, "/runs"), (8, ""), (8, "/")])
def test_where_with_a_bucket(enable, bucket, processes, workdir):
  beside = "/runs" if workdir == "/runs/mine" else ""
  assert enable("tpu", processes, f"gs://{bucket}{workdir}") == (f"gs://{bucket}{beside}/.compilation_cache", None)


def test_who_chose_a_folder_keeps_it(enable):
  jax.config.update("jax_compilation_cache_dir", "chosen")
  assert enable("tpu", 1, None) == ("chosen", _XLA)


_COUNT = """
import json, sys
import jax
counts = dict.fromkeys(("compile_requests_use_cache", "cache_hits"), 0)
def count(event, **_):
  name = event.removeprefix("/jax/compilation_cache/")
  if name in counts: counts[name] += 1
jax.monitoring.register_event_listener(count)
"""

# Compiles the steps of a small run on a CPU that is kept like a TPU; prints how many programs were wanted and found.
_PROGRAM = _COUNT + """
from trm_jax import config
from trm_jax.data.puzzles import Sizes
from trm_jax.runtime import compilation_cache, sharding
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import program
backend, jax.default_backend = jax.default_backend(), lambda: "tpu"
compilation_cache.enable(sys.argv[1])
values = config.default_config()
values.model.update(hidden_size=8, num_heads=2, L_layers=1, H_cycles=1, L_cycles=1, puzzle_emb_ndim=8,
                    puzzle_emb_len=1, halt_max_steps=2, dtype="float32")
values.update(batch_size=4, epochs=0, steps=5)
task = SudokuTask(SudokuData(box=2))
sizes = Sizes(3, 3, 3, task.seq_len, task.vocab_size, 1)
program.Program(config.parse(values), task, sizes, sharding.make_mesh()).compile_steps()
print(json.dumps([backend, counts]))
"""


def _start(workdir, **environment):
  done = subprocess.run([sys.executable, "-c", _PROGRAM, workdir], check=True, capture_output=True, text=True,
                        env=os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | environment)
  backend, counts = json.loads(done.stdout)
  assert backend == "cpu"
  return counts["compile_requests_use_cache"], counts["cache_hits"], done.stderr


def _twice(workdir, folder, **environment):
  """Two starts, whose dictionaries of strings are in other orders."""
  wanted, found, errors = _start(workdir, PYTHONHASHSEED="1", **environment)
  assert wanted and not found and not errors
  kept = {path.name for path in folder.iterdir()}
  assert sum(name.startswith("jit_steps-") for name in kept) == 1
  again, found, errors = _start(workdir, PYTHONHASHSEED="2", **environment)
  assert again == wanted and {path.name for path in folder.iterdir()} == kept  # nothing else was looked for
  # XLA refuses its own programs on CPUs for which LLVM avoids gather (github.com/jax-ml/jax/issues/38445).
  assert found == wanted or "prefer-no-gather" in errors


def test_a_second_start_compiles_nothing(tmp_path):
  _twice("runs/mine", tmp_path / "trm_jax" / "compilation_cache", XDG_CACHE_HOME=str(tmp_path))


def test_a_second_start_compiles_nothing_in_a_bucket(bucket):
  _twice(f"gs://{bucket}/mine", epath.Path(f"gs://{bucket}/.compilation_cache"))


# Two whole runs of one config that differ in their seeds; prints the counts after each.
_RUNS = _COUNT + """
from trm_jax import config
from trm_jax.training import loop
values = config.default_config()
values.data.update(source="generated", box=2, num_train=8, num_validation=3, num_test=5, num_clues=9, num_aug=-1)
values.model.update(hidden_size=8, num_heads=2, L_layers=1, H_cycles=1, L_cycles=1, puzzle_emb_ndim=8,
                    puzzle_emb_len=1, halt_max_steps=2, dtype="float32", random_init=True)
values.update(batch_size=4, epochs=0, steps=2)
values.eval.batch_size = 4
for seed in range(2):
  values.seed = values.data.seed = seed
  loop.run(config.parse(values), f"{sys.argv[1]}/seed_{seed}")
  print(json.dumps(counts))
"""


def test_a_second_seed_compiles_nothing(tmp_path):
  """Everything that a run compiles: its steps, its evaluations and what is around them."""
  cache, runs = tmp_path / "cache", tmp_path / "runs"
  done = subprocess.run([sys.executable, "-c", _RUNS, str(runs)], check=True, capture_output=True, text=True,
                        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache),
                                          "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"})
  first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
  assert second["compile_requests_use_cache"] > first["compile_requests_use_cache"] > 0
  missed = [count["compile_requests_use_cache"] - count["cache_hits"] for count in (first, second)]
  assert missed[0] == missed[1]
  weights = [sorted(path.read_bytes() for path in (runs / f"seed_{seed}" / "checkpoints").rglob("*")
                    if path.is_file() and path.parent.name == "d") for seed in range(2)]
  assert weights[0] != weights[1]
