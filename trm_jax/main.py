# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Train or evaluate a Tiny Recursive Model.

    python -m trm_jax.main --config=configs/sudoku.py:quickstart
    python -m trm_jax.main --config=configs/sudoku.py:baseline --workdir=runs/mine --config.data.source=FOLDER
    python -m trm_jax.main --config=configs/sudoku.py:help                     # lists the configs
    python -m trm_jax.main --mode=eval --checkpoint=runs/mine [--data=FOLDER]
    python -m trm_jax.main --mode=eval --checkpoint=runs/mine --rollouts=16 --noise=0.3    # think longer

With --workdir, the same command resumes an interrupted run from its last checkpoint. Every process of a job on several
hosts runs it, too (docs/multi_host.md).

Exit status: 0 done; 2 your mistake, in one line; 75 stopped by SIGTERM or SIGHUP and saved: start it again (130 by
Ctrl-C); 76 another process of the job died or hung, or another program uses the devices: start it again.
"""

import datetime

from absl import flags
from ml_collections import config_flags

from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax import thinking
from trm_jax.errors import UserError
from trm_jax.runtime import cluster
from trm_jax.runtime import guard
from trm_jax.runtime import hosts
from trm_jax.runtime import output
from trm_jax.runtime import workdir as workdir_lib

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "FILE.py:NAME[,OPTION…], e.g. configs/sudoku.py:baseline; --config.field=value changes a field.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run is kept and resumed; default: a dated folder in runs/.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "Train (and evaluate), or evaluate --checkpoint.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "For --mode=eval: a run's folder, or a checkpoint in it.")
_DATA = flags.DEFINE_string("data", None, "For --mode=eval: other puzzles than the run's own (see config.data.source).")
_EVAL_BATCH_SIZE = flags.DEFINE_integer(
    "eval_batch_size", None, "For --mode=eval: number of puzzles at once, on all devices together; default: as the "
    "run was configured.", lower_bound=1)
_AVERAGE = flags.DEFINE_integer(
    "average", 0, "For --mode=eval: the mean of the parameters in the last N checkpoints of the run, instead of "
    "their moving average in the last one.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "For --mode=eval: a folder for the file of answers, ARC's submission.json.")
flags.adopt_module_key_flags(thinking)  # for --mode=eval
_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0, for a job of several processes that cannot find each other "
    "by themselves, as they do on Cloud TPU; default: JAX_COORDINATOR_ADDRESS.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "Number of processes of the job; default: JAX_NUM_PROCESSES. 1: this host alone.",
    lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "The number of this process, from 0; default: JAX_PROCESS_ID.", lower_bound=0)
_PEER_TIMEOUT = flags.DEFINE_float(
    "peer_timeout_s", 600.0, "Seconds that one of several processes waits for the others to join, or for any "
    "progress, before it ends with status 76.", lower_bound=1.0, upper_bound=1e6)


def main(argv: list[str]) -> None:
  """Checks the flags, joins the job, and trains or evaluates."""
  cli.no_arguments(argv)
  if _MODE.value == "eval":
    cli.refuse("only --mode=train reads it, and this is --mode=eval", _CONFIG, _WORKDIR)
    if _CHECKPOINT.value is None:
      raise UserError("--checkpoint is missing: --mode=eval needs the folder of a run")
  else:
    cli.refuse("only --mode=eval reads it, and this is --mode=train", _CHECKPOINT, _DATA, _EVAL_BATCH_SIZE,
               _AVERAGE, _OUT, *thinking.FLAGS)
    if _CONFIG.value is None:
      raise UserError("--config is missing; try --config=configs/sudoku.py:quickstart")
  job = cluster.find_job(_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  if job or _MODE.value == "train":
    output.outlive()
  if job:
    if _MODE.value == "train" and _WORKDIR.value is None:
      raise UserError("--workdir is missing: several processes need a folder that they share, or gs://BUCKET/FOLDER")
    guard.guard()
    cluster.join(job, _PEER_TIMEOUT.value)
  else:
    hosts.stay_alone()
  # Modules that need JAX are imported here, so that --help and errors in flags appear at once.
  from trm_jax.runtime import compilation_cache  # pylint: disable=g-import-not-at-top
  from trm_jax.runtime import distributed  # pylint: disable=g-import-not-at-top

  distributed.announce()
  if _MODE.value == "eval":
    from trm_jax import evaluate  # pylint: disable=g-import-not-at-top

    compilation_cache.enable()
    evaluate.run(_CHECKPOINT.value, _DATA.value, batch_size=_EVAL_BATCH_SIZE.value, average=_AVERAGE.value,
                 out=_OUT.value, peer_timeout_s=_PEER_TIMEOUT.value, **thinking.arguments())
    return
  from trm_jax.training import loop  # pylint: disable=g-import-not-at-top

  config = config_lib.parse(_CONFIG.value)
  compilation_cache.enable(_WORKDIR.value)
  workdir = _WORKDIR.value
  if workdir is None:
    workdir = workdir_lib.new_folder(f"runs/{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}-{config.name}")
  loop.run(config, workdir, peer_timeout_s=_PEER_TIMEOUT.value)


if __name__ == "__main__":
  cli.run(main)
