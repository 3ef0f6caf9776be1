# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Flips single bits in every file of a checkpoint, one at a time, and restores: nothing may change without a word.

    python tests/by_hand/flip_often.py [--flips=N] [--seed=N]      # 20 in each of about 24 files take a few minutes

A flip must either be named as damage, in one line, or leave the restored state and the note beside it as they were, bit
for bit. Exits with 1 if one does neither.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

import jax
import numpy as np

from trm_jax import config as config_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.runtime import sharding
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import checkpoint
from trm_jax.training import program

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for the helpers of the tests
import jobs  # noqa: E402

_STEPS = 4


def _bits(state) -> list[bytes]:
  return [np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x).tobytes()
          for x in jax.tree.leaves(state)]


def main(flips: int, seed: int) -> int:
  folder, chance, start = pathlib.Path(tempfile.mkdtemp(prefix="flip_often-")), random.Random(seed), time.monotonic()
  job = jobs.Job(folder / "run", processes=1, devices=1, cache=folder / "cache", steps=_STEPS, batch_size=16)
  assert job.wait(600) == 0, job.output()
  checkpoints = folder / "run" / "checkpoints"
  with contextlib.closing(checkpoint.Checkpoints(checkpoints, read_only=True)) as saved:
    note = saved.read_run(_STEPS)
    config = config_lib.parse_saved(note["config"], "the run")
    task = SudokuTask(config.data)
    number = config.data.num_train
    sizes = Sizes(number, number, number, task.seq_len, task.vocab_size, 1)
    layout = program.Program(config, task, sizes, sharding.make_mesh()).state
    good = _bits(saved.restore(_STEPS, layout))

  found = collections.Counter()
  silent = []
  files = sorted(path for path in (checkpoints / str(_STEPS)).rglob("*") if path.is_file() and path.stat().st_size)
  for path in files:
    whole = path.read_bytes()
    for bit in (chance.randrange(8 * len(whole)) for _ in range(flips)):
      damaged = bytearray(whole)
      damaged[bit // 8] ^= 1 << bit % 8
      path.write_bytes(damaged)
      try:
        with contextlib.closing(checkpoint.Checkpoints(checkpoints, read_only=True)) as saved:
          same = saved.read_run(_STEPS) == note and _bits(saved.restore(_STEPS, layout)) == good
      except UserError as e:
        how = "named as damage" if "damaged" in str(e) else "another line"
      else:
        how = "no change" if same else "SILENT"
      found[how] += 1
      if how in ("SILENT", "another line"):
        silent.append(f"{how}: bit {bit} of {path.relative_to(checkpoints)}")
    path.write_bytes(whole)
    print(f"{path.relative_to(checkpoints)}, {len(whole):,} bytes: {dict(found)} so far", flush=True)
  print(f"{sum(found.values())} flips in {len(files)} files: {dict(found)}; {(time.monotonic() - start) / 60:.0f} min",
        *silent, sep="\n")
  if not silent:
    shutil.rmtree(folder)
  return bool(silent)


def _parsed() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--flips", type=int, default=20, help="in each file")
  parser.add_argument("--seed", type=int, default=0)
  return parser.parse_args()


if __name__ == "__main__":
  args = _parsed()
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  sys.exit(main(args.flips, args.seed))
