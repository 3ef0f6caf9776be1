# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Runs named configs x seeds, one run after another or several side by side, and skips finished runs.

    python -m trm_jax.sweep --sweep=configs/sudoku.py:tn_schedule --workdir=runs/study --seeds=0,1,2
    python -m trm_jax.sweep --sweep=configs/sudoku.py:miniature --workdir=runs/mini --dry-run    # prints its time
    python -m trm_jax.sweep --sweep=configs/sudoku.py:data --workdir=runs/x --options=laptop --set=steps=500
    python -m trm_jax.sweep --sweep=configs/sudoku.py:data --workdir=runs/x --side_by_side=8    # one per GPU or core
    python -m trm_jax.sweep --sweep=configs/sudoku.py:help                                       # lists the sweeps

Each run is a separate `python -m trm_jax.main`, kept in WORKDIR/CONFIG/seed_N; its output is in seed_N.log beside it.
Configs that differ only in their names are one run, under the name that comes first in the file. After a run that fails
the sweep goes on; Ctrl-C, SIGTERM and SIGHUP make the current runs save and stop, and the same command resumes them.
The same command may run several times at once, also on several machines: each skips the runs of others and, with
--wait, comes back to them. For several hosts that are one job see launch/sweep.

Exit status: 0 all are done; 1 some failed; 2 your mistake, in one line; 75 stopped by SIGTERM or SIGHUP, 130 by Ctrl-C;
76 none failed, but some could not be made now, or others are making them: start the same command later.
"""

import shlex
import sys

from absl import flags

from trm_jax import cli
from trm_jax import study
from trm_jax.errors import UserError
from trm_jax.runtime import output
from trm_jax.study import parts
from trm_jax.study import running


_SWEEP = flags.DEFINE_string("sweep", None, "FILE.py:NAME, e.g. configs/sudoku.py:tn_schedule; NAME help lists them.",
                             allow_override=True)  # preflight has it, and --set, too
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs, local or gs://BUCKET/FOLDER.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "config.seed of the runs of each config.")
_OPTIONS = flags.DEFINE_list("options", [], "Options for every config, those of --config=FILE.py:NAME,OPTION….")
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE for every run, e.g. model.mlp_t=False.",
                                 allow_override=True)
_SIDE_BY_SIDE = flags.DEFINE_integer("side_by_side", 1, "Number of runs at a time, each on its own GPU or TPU chip or, "
                                     "where there are none, on its share of the processor cores.", lower_bound=1)
_WAIT = flags.DEFINE_bool("wait", False, "At the end, instead of ending with status 76, wait for the runs that other "
                          "sweeps are making, and take over those that they give up.")
_DRY_RUN = flags.DEFINE_bool("dry-run", False, "Only say which runs there are, which of them are done, and roughly how "
                             "long the others will take.")
_LIST = flags.DEFINE_bool("list", False, "Only print the config and flags of each run, one run per line, for "
                          "other launchers.")


def main(argv: list[str]) -> None:
  """Reads the flags; lists, estimates or makes the runs."""
  cli.no_arguments(argv)
  if not _SWEEP.value:
    raise UserError("--sweep is missing; try --sweep=configs/sudoku.py:help")
  path, _, name = _SWEEP.value.partition(":")
  file = study.File.load(path)
  if name == "help":
    width = max(map(len, file.sweeps))
    for sweep, value in file.sweeps.items():
      print(f"  {sweep:<{width}}  {len(value.names):>3} configs: {value.what}")
    return
  wrong = [seed for seed in _SEEDS.value if not seed.isdecimal()]
  if wrong or not _SEEDS.value:
    raise UserError(f"--seeds={','.join(_SEEDS.value)}: must be numbers from 0, e.g. --seeds=0,1,2")
  runs = study.plan(file, name, list(dict.fromkeys(map(int, _SEEDS.value))), _OPTIONS.value, _SET.value)
  if _LIST.value:
    cli.refuse("--list only prints the runs", _WORKDIR, _DRY_RUN, _SIDE_BY_SIDE, _WAIT)
    for run in runs:
      print(shlex.join(run.arguments))
    return
  if _WORKDIR.value is None:
    raise UserError("--workdir is missing: a folder for the runs, in which finished ones are found")
  if _DRY_RUN.value:
    cli.refuse("--dry-run estimates runs one after another", _SIDE_BY_SIDE, _WAIT)
    from trm_jax.study import dry_run  # pylint: disable=g-import-not-at-top

    for line in dry_run.lines(runs, _WORKDIR.value):
      print(line)
    return
  shares = parts.split(_SIDE_BY_SIDE.value, "--side_by_side")
  output.outlive()
  same = any(len(run.names) > 1 for run in runs)
  print(f"{name}: {len(runs)} runs, kept in {_WORKDIR.value}{'; names joined by = are one config' * same}", flush=True)
  sys.exit(running.Sweep(runs, _WORKDIR.value, shares, _WAIT.value).make())


if __name__ == "__main__":
  cli.run(main)
