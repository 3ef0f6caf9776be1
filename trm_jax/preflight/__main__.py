# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Asks the TPU compiler, before a TPU is rented, whether a run fits, how fast it can be, and what it will cost.

    python -m trm_jax.preflight --config=configs/sudoku.py:baseline --topology=v4:2x4x4
    python -m trm_jax.preflight --config=configs/sudoku.py:baseline --topology=v5e:4x8 --config.batch_size=8192
    python -m trm_jax.preflight --sweep=configs/sudoku.py:tn_schedule --topology=v4:2x4x4     # all configs of a sweep
    python -m trm_jax.preflight --topology=help                                               # lists topologies

Nothing is allocated or read, and no TPU is needed, only `pip install -e ".[tpu]"`. Exit status: 0 if the run fits, 1 if
it does not fit or compile, 2 for a mistake in the flags.
"""

import json
import sys

from absl import flags
from ml_collections import config_flags

from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax import study
from trm_jax.config import Config
from trm_jax.errors import UserError
from trm_jax.runtime import chips


_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "FILE.py:NAME[,OPTION…], e.g. configs/sudoku.py:baseline; --config.field=value changes a field.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "The TPU slice, e.g. v4:2x4x4; 'help' lists them.")
# trm_jax.sweep, which the same process may import, has flags of the same names.
_SWEEP = flags.DEFINE_string("sweep", None, "Instead of --config: FILE.py:NAME of a sweep, for a table of its configs.",
                             allow_override=True)
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE for every config of --sweep, e.g. batch_size=1024; repeat for "
                                 "several.", allow_override=True)
_UTILIZATION = flags.DEFINE_float(
    "utilization", 0.4, "Share of the chips' peak matrix rate that the run is assumed to reach.", 0.001, 1.0)
_PRICE = flags.DEFINE_float("price_per_chip_hour", None, "Price of a chip per hour; the answer then includes the "
                            "price of the run.", 0.0)
_JSON = flags.DEFINE_bool("json", False, "Write the answer as JSON.")


def main(argv: list[str]) -> None:
  """Reads the flags, compiles and prints."""
  cli.no_arguments(argv)
  if _TOPOLOGY.value == "help":
    print(chips.listing())
    return
  if not _TOPOLOGY.value:
    raise UserError("--topology is missing; try --topology=v4:2x4x4 (--topology=help lists them)")
  tpu_slice = chips.Slice.parse(_TOPOLOGY.value)
  if (_SWEEP.value is None) == (_CONFIG.value is None):
    raise UserError("either --config or --sweep is needed; try --config=configs/sudoku.py:baseline")
  if _SWEEP.value is None:
    cli.refuse("only --sweep reads it; change a field of --config by --config.FIELD=VALUE", _SET)
  import jax  # pylint: disable=g-import-not-at-top

  from trm_jax.preflight import check  # pylint: disable=g-import-not-at-top
  from trm_jax.preflight import page  # pylint: disable=g-import-not-at-top

  jax.config.update("jax_platforms", "cpu")  # descriptions of devices suffice

  devices = tpu_slice.devices()

  def answer(config: Config) -> check.Answer:
    return check.check(config, tpu_slice, devices, utilization=_UTILIZATION.value, price_per_chip_hour=_PRICE.value)

  if _SWEEP.value:
    path, _, name = _SWEEP.value.partition(":")
    answers = {}
    for run in study.plan(study.File.load(path), name, seeds=[0], sets=_SET.value):
      try:
        answers[run.names[0]] = answer(run.config)
      except UserError as e:
        answers[run.names[0]] = str(e)
    fits = all(isinstance(a, check.Answer) and a.fits for a in answers.values())
    if _JSON.value:
      print(json.dumps({name: a if isinstance(a, str) else a.to_json() for name, a in answers.items()}, indent=2))
    else:
      print("\n".join(page.table(answers, _UTILIZATION.value)))
  else:
    one = answer(config_lib.parse(_CONFIG.value))
    fits = one.fits
    print(json.dumps(one.to_json(), indent=2) if _JSON.value
          else "\n".join(page.report(one, _UTILIZATION.value, _PRICE.value)))
  sys.exit(0 if fits else 1)


if __name__ == "__main__":
  cli.run(main)
