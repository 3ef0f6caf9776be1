# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Mirrors a run's records at Weights & Biases."""

import importlib.util
import pathlib
import re
import sys
from typing import Any
import uuid

import numpy as np

from trm_jax.errors import UserError, in_one_line
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.training import metrics_log


# JAX gives a process a minute to end after the others.
_WANDB_FINISH_SECONDS = 30


def require_wandb(project: str) -> None:
  """Makes sure that the package is installed that `WandbLog` needs.

  Raises:
    UserError: it is not installed.
  """
  found = importlib.util.find_spec("wandb")
  if found is None or found.origin is None:  # a folder wandb/ that an earlier run left can be imported, too
    raise UserError(f'config.log.wandb = {project!r}: needs wandb, which is not installed; pip install -e ".[wandb]"')


class WandbLog:
  """The scalars and images of a run at Weights & Biases, as one W&B run, whose id is kept in WORKDIR/wandb_id.

  Everything but the project is up to W&B's own environment variables and settings: WANDB_ENTITY, WANDB_MODE, WANDB_DIR,
  …. W&B's own step counts writes and cannot go back, but a run that resumes from a checkpoint does; so our `step` is a
  metric of its own, and the axis of all others.

  A failure of W&B does not stop the run: it is reported once, and nothing more is sent there.

  Args:
    project: at W&B.
    workdir: existing folder, for the id.
    name: of the run.
    config: its knobs.

  Raises:
    UserError: W&B refuses or cannot be reached, and does not know the run yet.
  """

  def __init__(self, project: str, workdir: pathlib.Path, *, name: str, config: dict[str, Any]):
    import wandb  # pylint: disable=g-import-not-at-top

    self._image = wandb.Image
    self._run = None
    file = workdir / "wandb_id"
    known = _wandb_id(file)
    try:
      self._run = wandb.init(
          project=project, id=known or uuid.uuid4().hex[:12], resume="allow", name=name, config=config,
          reinit="create_new",  # leaves runs of the calling program alone
          settings=wandb.Settings(console="off", finish_timeout=_WANDB_FINISH_SECONDS,
                                  max_end_of_run_history_metrics=0, max_end_of_run_summary_metrics=0))
      self._run.define_metric("step")
      self._run.define_metric("*", step_metric="step")
    except Exception as e:  # any error of HTTP, a socket, W&B's process or the disk
      if not known:
        raise UserError(f"config.log.wandb = {project!r}: Weights & Biases cannot be used ({in_one_line(e)}); `wandb "
                        "login`, or WANDB_MODE=offline to upload later, or --config.log.wandb= to do without") from e
      self._give_up(e)
    else:
      files.replace_text(file, self._run.id + "\n")

  def write(self, record: dict[str, Any]) -> None:
    """Sends the numbers of a record."""
    self._log({"step": record["step"], **metrics_log.numbers(record)})

  def image(self, name: str, pixels: np.ndarray, step: int) -> None:
    """Sends a picture, (height, width, 3) uint8."""
    self._log({"step": step, name: self._image(pixels)})

  def close(self) -> None:
    """Uploads the rest, within half a minute. A run that ends with an exception is marked as failed."""
    if self._run:
      try:
        self._run.finish(exit_code=int(sys.exception() is not None))
      except Exception as e:
        self._give_up(e)

  def _log(self, values: dict[str, Any]) -> None:
    if self._run:
      try:
        self._run.log(values)
      except Exception as e:
        self._give_up(e)

  def _give_up(self, error: Exception) -> None:
    self._run = None
    print(f"Weights & Biases gets no more records of this run ({in_one_line(error)}); the run goes on, and "
          "metrics.jsonl and tensorboard/ have all records", flush=True)


def _wandb_id(file: pathlib.Path) -> str | None:
  """The id that is kept in a file; None if there is no valid one."""
  if not file.exists():
    return None
  text = files.read_bytes(file).decode(errors="replace").strip()
  if re.fullmatch(r"[\w-]{1,128}", text, re.ASCII):
    return text
  console.warn(f"{file}: is not the id of a W&B run; the run gets a new one")
  return None
