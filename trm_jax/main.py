# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Train or evaluate a Tiny Recursive Model.

    python -m trm_jax.main --config=configs/sudoku.py:quickstart
    python -m trm_jax.main --config=configs/sudoku.py:baseline --workdir=runs/mine --config.data.source=FOLDER
    python -m trm_jax.main --config=configs/sudoku.py:help                     # lists the configs
    python -m trm_jax.main --mode=eval --checkpoint=runs/mine [--data=FOLDER]

The same command goes on where an interrupted run was saved, if --workdir is given.
"""

import datetime
import pathlib

from absl import flags
from ml_collections import config_flags

from trm_jax import cli
from trm_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "FILE.py:NAME[,OPTION…], e.g. configs/sudoku.py:baseline; --config.field=value changes a field.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run is kept and resumed; default: a dated folder in runs/.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train (and evaluate), or evaluate --checkpoint.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "For --mode=eval: a run's folder, or a checkpoint in it.")
_DATA = flags.DEFINE_string("data", None, "For --mode=eval: other puzzles than the run's own (see config.data.source).")


def main(argv: list[str]) -> None:
  """Dispatches."""
  cli.no_arguments(argv)
  # Imported here, so that --help and a misspelt flag answer at once.
  from trm_jax import config as config_lib  # pylint: disable=g-import-not-at-top
  from trm_jax import evaluate_checkpoint  # pylint: disable=g-import-not-at-top
  from trm_jax import loop  # pylint: disable=g-import-not-at-top

  if _MODE.value == "eval":
    if not _CHECKPOINT.value:
      raise UserError("--checkpoint is missing: --mode=eval needs the folder of a run")
    evaluate_checkpoint.run(_CHECKPOINT.value, _DATA.value)
    return
  if _CONFIG.value is None:
    raise UserError("--config is missing; try --config=configs/sudoku.py:quickstart")
  config = config_lib.parse(_CONFIG.value)
  dated = f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}-{config.name}"
  loop.run(config, pathlib.Path(_WORKDIR.value).expanduser() if _WORKDIR.value else pathlib.Path("runs") / dated)


if __name__ == "__main__":
  cli.run(main)
