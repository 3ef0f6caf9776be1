# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints by Orbax: the whole training state and the config it belongs to, written while training goes on."""

from collections.abc import Sequence
import contextlib
import dataclasses
import os
from typing import Any

from etils import epath
import jax
from jax.sharding import Mesh
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from trm_jax import sharding
from trm_jax import storage
from trm_jax.config import Config, parse_saved
from trm_jax.data import batches
from trm_jax.errors import TryAgain, UserError, in_one_line
from trm_jax.model import TRM
from trm_jax.train import Trainer

_METRIC = "exact_accuracy"


def keep_last(config: Config) -> int:
  """How many of the newest checkpoints of a run are kept."""
  return max(5, config.average_checkpoints)


def _reason(error: BaseException) -> str:
  """An error that a library raised, on one line: its begin and, since the cause stands there, its end."""
  text = in_one_line(error)
  return text if len(text) <= 200 else f"{text[:60]} … {text[-130:]}"


class Checkpoints:
  """The checkpoints of one run: the last few, and the one with the best validation accuracy.

  Args:
    directory: made if it does not exist, unless read_only.
    keep: how many of the newest stay.
    read_only: for evaluation: nothing is written or cleaned up.

  Raises:
    UserError: the directory cannot be written, or does not exist though read_only.
  """

  def __init__(self, directory: os.PathLike | str, *, keep: int = 5, read_only: bool = False):
    self.directory = epath.Path(directory)
    storage.check_checkpoints_can_be_kept(self.directory, "folder of checkpoints")
    if read_only and not self.directory.is_dir():
      raise UserError(f"{self.directory}: no such folder of checkpoints")
    options = ocp.CheckpointManagerOptions(
        create=not read_only,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,  # what a killed run left half written
        preservation_policy=None if read_only else preservation_policy.AnyPreservationPolicy([
            preservation_policy.LatestN(keep),
            preservation_policy.BestN(
                get_metric_fn=lambda metrics: metrics[_METRIC], n=1, keep_checkpoints_without_metrics=False),
        ]),
        best_fn=lambda metrics: metrics[_METRIC],
    )
    try:
      # Orbax refuses to write to a relative path; for people it stays as they named it.
      path = storage.absolute(self.directory)
      self._manager = ocp.CheckpointManager(path, options=options, item_names=("state", "run"))
    except OSError as e:
      raise UserError(f"{self.directory}: cannot keep checkpoints here ({_reason(e)})") from e

  def steps(self) -> Sequence[int]:
    """Steps that have a complete checkpoint, ascending."""
    return sorted(self._manager.all_steps())

  def latest_step(self) -> int | None:
    """The newest complete one; None where there is none."""
    return self._manager.latest_step()

  def best_step(self) -> int | None:
    """The one with the best validation accuracy; None where none has one."""
    return self._manager.best_step()

  def save(self, step: int, state: Any, run: dict[str, Any], *, exact_accuracy: float | None = None) -> None:
    """Starts writing a checkpoint, in the place of one of the same step if there is one; returns as soon as the state
    has been copied off the devices. All processes of a job call it together.

    Args:
      step: optimizer steps made.
      state: pytree of arrays.
      run: what is needed to make sense of the state, as JSON.
      exact_accuracy: of validation, where this step was evaluated.

    Raises:
      UserError: this or the save before it failed; earlier checkpoints are as they were.
    """
    metrics = None if exact_accuracy is None else {_METRIC: exact_accuracy}
    with self._saving():
      if step in self._manager.all_steps():
        self._manager.delete(step)
      self._manager.save(
          step,
          args=ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run)),
          metrics=metrics,
          force=True,
      )

  def wait(self) -> None:
    """Until everything is on disk or in the bucket. Raises UserError if a save failed."""
    with self._saving():
      self._manager.wait_until_finished()
      self._manager.check_for_errors()

  def close(self) -> None:
    """Releases threads."""
    self._manager.close()

  @contextlib.contextmanager
  def _saving(self):
    """Turns what goes wrong while saving, in this thread or the one that writes, into one clear line."""
    try:
      yield
    except Exception as e:  # Orbax and TensorStore raise whatever the disk trips first.
      latest, remote = self.latest_step(), storage.is_remote(self.directory)
      raise (TryAgain if remote else UserError)(
          f"{self.directory}: a checkpoint could not be written ({_reason(e)}); the newest complete one is "
          f"{'missing' if latest is None else f'of step {latest}'}; "
          f"{'' if remote else 'free some space and '}start the same command again") from e

  def read_run(self, step: int) -> dict[str, Any]:
    """The `run` that was saved with a step. Raises UserError if it cannot be read."""
    return self._restore(step, ocp.args.Composite(run=ocp.args.JsonRestore())).run

  def restore(self, step: int, abstract_state: Any) -> Any:
    """The state of a step, on the devices and in the layout that the abstract state asks for.

    Args:
      step: one of `steps()`.
      abstract_state: pytree of jax.ShapeDtypeStruct with shardings.

    Raises:
      UserError: the checkpoint is damaged or does not fit.
    """
    return self._restore(step, ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))).state

  def mean_params(self, num: int, abstract_state: Any) -> Any:
    """The mean of the parameters (not of their moving averages) in the newest `num` checkpoints.

    Args:
      num: at least 1.
      abstract_state: see `restore`.

    Raises:
      UserError: there are fewer, or one is damaged.
    """
    steps = self.steps()[-num:]
    if len(steps) < num:
      raise UserError(f"{self.directory}: the mean of {num} checkpoints is asked for, and {len(steps)} are there")
    total = None
    for step in steps:
      params = self.restore(step, abstract_state).params
      total = params if total is None else jax.tree.map(jnp.add, total, params)
    return jax.tree.map(lambda x: x / num, total)

  def _restore(self, step: int, args: ocp.args.Composite):
    try:
      return self._manager.restore(step, args=args)
    except Exception as e:  # Orbax and TensorStore raise whatever the damage happens to trip.
      others = [s for s in self.steps() if s != step]
      advice = f"delete it to go on from step {others[-1]}" if others else "there is no other"
      raise UserError(f"{self.directory / str(step)}: damaged or incomplete checkpoint; {advice} "
                      f"({_reason(e)})") from e


def find(path: str) -> tuple[epath.Path, int | None]:
  """What --checkpoint names: a workdir, its checkpoints folder, or one checkpoint in it.

  Returns:
    The folder of checkpoints, and the step if the path names one.

  Raises:
    UserError: there is no checkpoint.
  """
  path = storage.user_path(path, "--checkpoint")
  storage.check_checkpoints_can_be_kept(path, "--checkpoint")
  if (path / "checkpoints").is_dir():  # first: a run's folder may have a number for a name
    path = path / "checkpoints"
  elif path.name.isdigit() and path.is_dir():
    return path.parent, int(path.name)
  if not path.is_dir() or not any(p.name.isdigit() for p in path.iterdir()):
    raise UserError(f"{path}: no checkpoint here; give a run's folder, or one of the numbered folders in its "
                    "checkpoints/")
  return path, None


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A trained model. Attributes: model with averaged parameters; config of its run; step of the checkpoint."""

  model: TRM
  config: Config
  step: int


def load_model(path: str, mesh: Mesh | None = None, *, average: int = 0) -> Loaded:
  """The model of a checkpoint, whatever devices wrote it.

  Args:
    path: a run's folder (its newest checkpoint), or one checkpoint (see `find`).
    mesh: on which it shall lie, whole on every device; None for the default device.
    average: with the mean of the parameters in so many last checkpoints instead of their moving average.

  Raises:
    UserError: there is no checkpoint, it is damaged, or there are too few; `average` of a path to one checkpoint.
  """
  directory, step = find(path)
  if average and step is not None:
    raise UserError(f"--average={average}: needs a run's folder, not its checkpoint of step {step}")
  with contextlib.closing(Checkpoints(directory, read_only=True)) as checkpoints:
    step = checkpoints.latest_step() if step is None else step
    run = checkpoints.read_run(step)
    config = parse_saved(run["config"], f"{directory / str(step)}")
    model_config = dataclasses.replace(config.model, **run["data"])
    mesh = sharding.make_mesh(jax.local_devices()[:1]) if mesh is None else mesh
    trainer = Trainer(model_config, config.optimizer, mesh=mesh, batch_size=config.batch_size,
                      total_steps=run["total_steps"], loss_config=config.loss)
    batch = batches.abstract_batch(config.batch_size, model_config.seq_len)
    shapes = jax.eval_shape(trainer.init, jax.random.key(0), batch)
    whole = sharding.replicated(mesh)
    layout = abstract(shapes, jax.tree.map(lambda _: whole, shapes))
    state = checkpoints.restore(step, layout)
    if average:
      state = trainer.with_params(state, checkpoints.mean_params(average, layout))
  return Loaded(model=trainer.model(state, averaged=True), config=config, step=step)


def abstract(state: Any, shardings: Any) -> Any:
  """Shapes and dtypes of a state, to be restored with these shardings."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
