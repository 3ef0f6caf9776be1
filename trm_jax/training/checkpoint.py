# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Saves and restores checkpoints by Orbax: the whole training state and its config, written while training goes on.

Beside the state, a checkpoint holds a note: the data that the caller needs to interpret the state, the digest of every
array, and a digest of the note itself. Restored data are compared with these digests first.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
from typing import Any

from etils import epath
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from trm_jax import builtin
from trm_jax import errors
from trm_jax.config import Config
from trm_jax.errors import Damaged, TryAgain, UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import digests
from trm_jax.runtime import distributed
from trm_jax.runtime import files
from trm_jax.runtime import paths

_BUILTIN = "builtin:"  # begins the names of weights that come with trm_jax

# The file, in the folder of checkpoints, of the steps that were evaluated and their accuracies.
_EVALUATIONS = "evaluations.json"

# Bytes of an array, and of a file, that are compressed and written together: data that are being written are in memory
# twice, which must not be true of a whole prefix table of gigabytes.
_TOGETHER = 1 << 26


def keep_last(config: Config) -> int:
  """The number of a run's newest checkpoints that are kept."""
  return max(5, config.save.average)


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
  """How Orbax writes and reads the items of a checkpoint.

  By default every device would write a slice of each array that all devices hold. Each slice is compiled, and the first
  save would wait for that; such arrays are small here, so one device writes them.
  """
  whole = ocp.type_handlers.create_type_handler_registry(
      (jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False)))
  state, run = ocp.PyTreeCheckpointHandler(type_handler_registry=whole), ocp.JsonCheckpointHandler()
  handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
  handlers.add("state", ocp.args.PyTreeSave, state)
  handlers.add("state", ocp.args.PyTreeRestore, state)
  handlers.add("run", ocp.args.JsonSave, run)
  handlers.add("run", ocp.args.JsonRestore, run)
  return handlers


class Checkpoints:
  """The checkpoints of one run: the last few, and the one with the best validation accuracy.

  All processes of a job make an instance and call its methods together.

  Args:
    directory: of the checkpoints. Without `read_only` it is made if it does not exist, and files that a killed run left
      half written are removed, so that no other run may be writing there.
    keep: number of the newest checkpoints that are kept.
    read_only: whether nothing is written or removed.

  Raises:
    UserError: the directory cannot be used, or with read_only does not exist.
    Damaged: the file of evaluations has changed since it was written.
  """

  def __init__(self, directory: os.PathLike | str, *, keep: int = 5, read_only: bool = False):
    self.directory = epath.Path(directory)
    paths.check_checkpoints_can_be_kept(self.directory, "folder of checkpoints")
    self._keep = keep
    options = ocp.CheckpointManagerOptions(
        create=not read_only,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,
        preservation_policy=None if read_only else _Preserve(self._kept),
    )
    # Orbax refuses to write to a relative path; messages keep the path as a person named it.
    path = paths.absolute(self.directory)
    with _way_to(self.directory, f"{self.directory}: checkpoints cannot be {'read' if read_only else 'kept'} here"):
      if read_only and not self.directory.is_dir():
        raise UserError(f"{self.directory}: no such folder of checkpoints")
      self._manager = ocp.CheckpointManager(path, options=options, handler_registry=_handlers())
    self._evaluations = self._read_evaluations()

  def steps(self) -> Sequence[int]:
    """Steps that have a complete checkpoint, ascending."""
    return sorted(self._manager.all_steps())

  def latest_step(self) -> int | None:
    """The step of the newest complete checkpoint; None if there is none."""
    return self._manager.latest_step()

  def best_step(self) -> int | None:
    """The step of the checkpoint with the best validation accuracy, the newest of equals; None if none has one."""
    return self._best(self.steps())

  def evaluated(self, step: int) -> bool:
    """Whether `add_evaluation` was called for a step, in this run or an earlier start of it."""
    return step in self._evaluations

  def add_evaluation(self, step: int, solved: float | None) -> None:
    """Notes that the state of a step was evaluated, before or after it is saved; does not save the state.

    Args:
      step: number of optimizer steps made.
      solved: share of the validation puzzles solved; None if the evaluation was on puzzles that must not serve to
        choose a checkpoint.

    Raises:
      UserError: the note cannot be written.
    """
    kept = {s: self._evaluations[s] for s in self.steps() if s in self._evaluations}
    self._evaluations = kept | {step: solved}
    if not distributed.is_main():
      return
    text = json.dumps(_sealed({str(s): accuracy for s, accuracy in self._evaluations.items()}), indent=2) + "\n"
    with self._saving("the accuracies of checkpoints"):
      file = self.directory / _EVALUATIONS
      if buckets.is_remote(file):
        file.write_text(text)  # an object is replaced in one move
      else:
        files.replace_text(pathlib.Path(file), text)

  def save(self, step: int, state: Any, run: dict[str, Any]) -> None:
    """Starts writing a checkpoint; returns as soon as the state has been copied off the devices.

    Args:
      step: number of optimizer steps made, for which there is no checkpoint yet.
      state: pytree of arrays.
      run: data needed to interpret the state, as JSON.

    Raises:
      UserError: this or the previous save failed; earlier checkpoints are unchanged.
    """
    note = _sealed({"run": run, "step": step, "arrays": digests.digests(state)})
    chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_TOGETHER), state)
    args = ocp.args.PyTreeSave(state, chunks, ocdbt_target_data_file_size=_TOGETHER)
    with self._saving("a checkpoint"):
      self._manager.save(step, args=ocp.args.Composite(state=args, run=ocp.args.JsonSave(note)), force=True)

  def wait(self) -> None:
    """Waits until everything is on disk or in the bucket. Raises UserError if a save failed."""
    with self._saving("a checkpoint"):
      self._manager.wait_until_finished()
      self._manager.check_for_errors()

  def close(self) -> None:
    """Releases threads."""
    self._manager.close()

  def read_run(self, step: int) -> dict[str, Any]:
    """The `run` that was saved with a step. Raises UserError like `restore`."""
    with self._advising(step, self._note):
      return self._note(step)["run"]

  def restore(self, step: int, abstract_state: Any) -> Any:
    """Restores the state of a step, on the devices and in the layout of the abstract state.

    Args:
      step: one of `steps()`.
      abstract_state: pytree of jax.ShapeDtypeStruct with shardings.

    Raises:
      Damaged: an array, or data needed to read it, has changed since it was saved.
      TryAgain: the checkpoint has been deleted, e.g. by its own run.
      UserError: the checkpoint cannot be read, or holds another state.
    """
    return self._restored(step, abstract_state)

  def restore_parts(self, step: int, abstract_parts: dict[str, Any]) -> dict[str, Any]:
    """Restores some fields of a step's state, and reads nothing else.

    Args:
      step: one of `steps()`.
      abstract_parts: by name of the field; see `restore`.

    Raises:
      Damaged, TryAgain, UserError: see `restore`.
    """
    return self._restored(step, abstract_parts, parts=True)

  def fields(self, step: int) -> set[str]:
    """The names of the fields of a step's state that hold arrays. Raises UserError like `restore`."""
    with self._advising(step, self._note):
      return {name.partition("/")[0] for name in self._note(step)["arrays"]}

  def mean_params(self, num: int, abstract_params: Any) -> Any:
    """The mean of the parameters (not of their moving averages) in the newest `num` checkpoints.

    Args:
      num: at least 1.
      abstract_params: see `restore`.

    Raises:
      UserError: there are fewer checkpoints, or one cannot be restored.
    """
    steps = self.steps()[-num:]
    if len(steps) < num:
      raise UserError(f"{self.directory}: the mean of {num} checkpoints is asked for, but only {len(steps)} are there")
    total = None
    for step in steps:
      params = self.restore_parts(step, {"params": abstract_params})["params"]
      total = params if total is None else jax.tree.map(jnp.add, total, params)
    return jax.tree.map(lambda x: x / num, total)

  def _best(self, steps: Sequence[int]) -> int | None:
    """The step with the best accuracy, the newest of equals; None if none of these steps has one."""
    rated = [(accuracy, step) for step in steps if (accuracy := self._evaluations.get(step)) is not None]
    return max(rated)[1] if rated else None

  def _kept(self, steps: Sequence[int]) -> set[int]:
    """The steps whose checkpoints are kept, out of these ascending ones."""
    return {*steps[-self._keep:], self._best(steps)}

  def _read_evaluations(self) -> dict[int, float | None]:
    """Reads the notes of `add_evaluation`, for steps that have a checkpoint: other steps will be repeated, and so will
    their evaluations."""
    file = self.directory / _EVALUATIONS
    content = _content(file)
    try:
      found = {} if content is None else _unsealed(content)
    except ValueError as e:
      raise Damaged(f"{file}: damaged ({errors.in_one_line(e)}); the checkpoints themselves are not damaged; to go on "
                    f"without their accuracies: {_move(file, self._aside(file))}") from e
    return {int(step): accuracy for step, accuracy in found.items() if int(step) in self.steps()}

  @contextlib.contextmanager
  def _saving(self, what: str) -> Iterator[None]:
    """Turns an error while saving, in this thread or the one that writes, into one clear line."""
    try:
      yield
    except Exception as e:  # Orbax and TensorStore pass on any error of the disk or the network
      latest = self.latest_step()
      newest = "there is no complete checkpoint" if latest is None else f"the newest complete one is of step {latest}"
      raise self._explained(f"{self.directory}: {what} could not be written; {newest}", e) from e

  def _explained(self, what: str, error: Exception) -> UserError:
    """Makes an error that says what could not be done, why, and what to do."""
    if buckets.is_remote(self.directory) and not errors.cause_of(error).outside:
      try:
        with buckets.reaching(what):
          raise error
      except UserError as e:
        return e
    return errors.explained(what, error)

  def _note(self, step: int) -> dict[str, Any]:
    """Reads the note that `save` wrote beside the state."""
    file = self.directory / str(step) / "run" / "metadata"
    content = _content(file)
    if content is None:
      raise Damaged(f"{self.directory / str(step)}: incomplete checkpoint (run/metadata is missing)")
    try:
      note = _unsealed(content)
    except ValueError as e:
      raise Damaged(f"{self.directory / str(step)}: damaged checkpoint (run/metadata: {errors.in_one_line(e)})") from e
    if note["step"] != step:
      raise Damaged(f"{self.directory / str(step)}: damaged checkpoint (it was saved as that of step {note['step']})")
    return note

  def _restored(self, step: int, wanted: Any, parts: bool = False) -> Any:
    with self._advising(step, lambda other: self._restore(other, wanted, parts)):
      return self._restore(step, wanted, parts)

  def _restore(self, step: int, wanted: Any, parts: bool) -> Any:
    """Restores the state of a step, or the wanted parts of it."""
    saved, kinds = self._note(step)["arrays"], digests.kinds(wanted)
    if parts:
      saved = {name: digest for name, digest in saved.items() if name.partition("/")[0] in wanted}
    different = [
        f"{name}: {saved.get(name, 'nothing').split()[0]} there, {kinds.get(name, 'nothing')} here"
        for name in sorted(saved.keys() | kinds.keys())
        if name not in saved or name not in kinds or kinds[name] != saved[name].split()[0]]
    if different:
      raise UserError(
          f"{self.directory / str(step)}: does not hold the state of this model, perhaps because another version of "
          f"trm_jax wrote it; {len(different)} of {len(saved)} arrays differ ({different[0]})")
    args = ocp.args.PyTreeRestore(
        wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted), partial_restore=parts)
    try:
      state = self._manager.restore(step, args=ocp.args.Composite(state=args)).state
    except Exception as e:  # Orbax and TensorStore pass on any error of damage, the disk or the network
      path, cause = self.directory / str(step), errors.cause_of(e)
      if _tells_of_content(e):
        raise Damaged(f"{path}: damaged or incomplete checkpoint ({cause.words})") from e
      if isinstance(e, jax.errors.JaxRuntimeError) and not cause.outside:
        raise  # another process of the job is gone, or a device failed
      raise self._explained(f"{path}: cannot be read", e) from e
    wrong = [name for name, digest in digests.digests(state).items() if digest != saved[name]]
    if wrong:
      raise Damaged(f"{self.directory / str(step)}: damaged checkpoint ({wrong[0]} is not what was saved; "
                    f"{len(wrong)} of {len(saved)} arrays in all)")
    return state

  @contextlib.contextmanager
  def _advising(self, step: int, restore: Callable[[int], Any]) -> Iterator[None]:
    """Adds advice to the error if a checkpoint turns out to be damaged, and replaces the error if it was deleted.

    Args:
      step: of the checkpoint that is read.
      restore: see `_advice`.
    """
    try:
      yield
    except Damaged as e:
      if not (self.directory / str(step)).exists():
        raise TryAgain(f"{self.directory / str(step)}: deleted while it was read, as a run deletes its older "
                       "checkpoints; start the same command again") from e
      raise Damaged(f"{e}; {self._advice(step, restore)}") from e

  def _advice(self, step: int, restore: Callable[[int], Any]) -> str:
    """Advice on what to do about a damaged checkpoint.

    Args:
      step: of the damaged checkpoint.
      restore: called with another step; raises UserError if that one cannot be restored.
    """
    for other in reversed([s for s in self.steps() if s != step]):
      with contextlib.suppress(UserError):
        restore(other)
        path = self.directory / str(step)
        return (f"the one of step {other} is whole; to go on from it, move the damaged one aside and give the same "
                f"command again: {_move(path, self._aside(path))}")
    return "no other one is whole; put a copy of one in its place, or start the run in another folder"

  def _aside(self, path: epath.Path) -> epath.Path:
    return self.directory.parent / f"damaged-{path.name}"


@dataclasses.dataclass(frozen=True)
class _Preserve:
  """A preservation policy for Orbax. Attributes: kept, a function from ascending steps to those that are kept."""

  kept: Callable[[Sequence[int]], set[int]]

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
    """Whether each of the checkpoints is kept."""
    del context
    kept = self.kept([checkpoint.step for checkpoint in checkpoints])
    return [checkpoint.step in kept for checkpoint in checkpoints]


def _tells_of_content(error: Exception) -> bool:
  """Whether restoring failed because of the data that were read, rather than because they could not be read."""
  cause = errors.cause_of(error)
  if cause.kind in (errors.Kind.MISSING, errors.Kind.PATH):
    return True
  library = type(error).__module__.partition(".")[0]
  # RuntimeErrors come from JAX and from threads; the libraries named here reach buckets.
  return not (cause.outside or isinstance(error, (OSError, RuntimeError)) or library in ("aiohttp", "gcsfs", "google"))


@contextlib.contextmanager
def _way_to(path: epath.Path, what: str) -> Iterator[None]:
  """Turns an error on the way to a file or folder into one line. Args: path; what, the beginning of that line."""
  if buckets.is_remote(path):
    with buckets.reaching(what):
      yield
  else:
    try:
      yield
    except OSError as e:
      raise errors.explained(what, e) from e


def _content(file: epath.Path) -> bytes | None:
  """The content of a small file; None if there is none."""
  with _way_to(file, f"{file}: cannot be read"):
    try:
      return file.read_bytes()
    except FileNotFoundError:
      return None


def _sealed(value: dict[str, Any]) -> dict[str, Any]:
  """A value together with its digest, both as JSON."""
  return {"value": value, "sha256": _sha256(value)}


def _unsealed(content: bytes) -> dict[str, Any]:
  """The value that was sealed. Raises ValueError if the content has changed since it was written."""
  sealed = json.loads(content)
  if not isinstance(sealed, dict) or sealed.get("sha256") != _sha256(sealed.get("value")):
    raise ValueError("its text is not what was written")
  return sealed["value"]


def _sha256(value: Any) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _move(path: epath.Path, target: epath.Path) -> str:
  """The command that renames a file or folder."""
  command = "gcloud storage mv" if buckets.is_remote(path) else "mv"
  return f"{command} {shlex.quote(str(path))} {shlex.quote(str(target))}"


def find(path: str, flag: str = "--checkpoint") -> tuple[epath.Path, int | None]:
  """Finds the checkpoints that a flag names: a workdir, its checkpoints folder, or one checkpoint in it; or, as
  builtin:NAME, weights that come with trm_jax.

  Returns:
    The folder of checkpoints, and the step if the path names one.

  Raises:
    UserError: there is no checkpoint, or the folder cannot be read.
  """
  if path.startswith(_BUILTIN):
    known = sorted(folder.name for folder in builtin.FOLDER.iterdir() if (folder / "checkpoints").is_dir())
    name = path.removeprefix(_BUILTIN)
    if name not in known:
      raise UserError(f"{flag}={path}: no such weights come with trm_jax; there is {_BUILTIN}{', '.join(known)}")
    path = os.fspath(builtin.FOLDER / name)
  path = paths.user_path(path, flag)
  paths.check_checkpoints_can_be_kept(path, flag)
  names = _names(path, flag)
  if "checkpoints" in names:  # checked first, since the name of a run's folder may be a number
    path = path / "checkpoints"
    names = _names(path, flag)
  elif names and path.name.isdigit():
    return path.parent, int(path.name)
  elif names and ocp.path.step.TMP_DIR_SUFFIX in path.name:
    raise UserError(f"{flag}={path}: only half written; give a run's folder, for its newest complete checkpoint")
  if not any(name.isdigit() for name in names):
    raise UserError(f"{flag}={path}: no checkpoint here; give a run's folder, or one of the numbered folders in "
                    "its checkpoints/")
  return path, None


def step_of(checkpoints: Checkpoints, step: int | None, what: str) -> int:
  """The step that `find` returned, or the newest one. Raises UserError about `what` if there is no such checkpoint."""
  newest = checkpoints.latest_step()
  if newest is None or step is not None and step not in checkpoints.steps():
    raise UserError(f"{what}: only half written; there is "
                    + ("no complete checkpoint" if newest is None else f"a complete one of step {newest}"))
  return newest if step is None else step


def _names(folder: epath.Path, flag: str) -> list[str]:
  """The names of the entries of a folder; none if there is no such folder."""
  with _way_to(folder, f"{flag}={folder}: cannot be read"):
    try:
      return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
      return []
