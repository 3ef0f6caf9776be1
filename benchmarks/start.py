# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Times the start of a run, in processes by turns: imports, and compiling the steps of named configs.

    python -m benchmarks.start --name=quickstart --name=baseline

`cold` compiles into an empty compilation cache; `warm` finds the programs that `cold` has just put there. A run on a
CPU keeps no cache by default (docs/performance.md), so each of its starts is cold.
"""

import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile

from absl import flags

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.errors import UserError

_COMPILE = flags.DEFINE_integer("compile", None, "Compile the steps of this one of the configs, from 0, print the "
                                "seconds and end: what the processes are started with.", lower_bound=0)

_IMPORTS = ("jax", "flax.nnx", "trm_jax.model.trm")
_HELP = "trm_jax.main --help"


def run(arguments: list[str], *, status: int = 0, **environment: str) -> str:
  """Runs another Python, which must end with this status, and returns its output."""
  done = subprocess.run([sys.executable, *arguments], env=os.environ | environment, text=True, capture_output=True,
                        check=False)
  if done.returncode != status:
    raise UserError(f"{' '.join(arguments)}: ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
  return done.stdout


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  configs = cases.configs()
  if _COMPILE.value is not None:
    print(json.dumps(cases.TrainStep(configs[_COMPILE.value], num_steps=1).compile_s))
    return

  compile_s = {(i, state): [] for i, state in itertools.product(range(len(configs)), ("cold", "warm"))}
  with tempfile.TemporaryDirectory() as folder:
    fresh = itertools.count()

    def compile_steps(i, state):
      cache = os.path.join(folder, str(next(fresh) // 2))  # for a cold start, and a warm one after it
      seconds = run(["-m", "benchmarks.start", f"--compile={i}", *sys.argv[1:]], JAX_COMPILATION_CACHE_DIR=cache)
      compile_s[i, state].append(json.loads(seconds))

    times = measure.by_turns(
        {f"import {name}": lambda name=name: run(["-c", f"import {name}"]) for name in _IMPORTS}
        | {_HELP: lambda: run(["-m", "trm_jax.main", "--help"], status=1)}  # absl ends --help with status 1
        | {case: functools.partial(compile_steps, *case) for case in compile_s}, measure.ROUNDS.value, warm=0)

  flax, heads = times["import flax.nnx"], [name for name in times if name not in compile_s]
  rows = [{"": name, "s: median (least .. most)": measure.spread(times[name]),
           "over import flax.nnx, round by round": measure.spread(own / other for own, other in zip(times[name], flax))}
          for name in heads]
  for (i, state), seconds in compile_s.items():
    config, batch, dtype = cases.label(configs[i], configs[i].batch_size).values()
    rows.append({"": f"compile {config}, batch {batch}, {dtype}: {state}",
                 "s: median (least .. most)": measure.spread(seconds)})
  measure.report("Start", rows, {"seconds": {name: times[name] for name in heads},
                                 "compile_s": list(compile_s.values())})


if __name__ == "__main__":
  cli.run(main)
