# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads a file of configs and lists the runs of one of its sweeps."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import runpy

from etils import epath
import ml_collections

from trm_jax import config as config_lib
from trm_jax import errors
from trm_jax.errors import UserError
from trm_jax.runtime import paths
from trm_jax.study.groups import Make, Sweep


@dataclasses.dataclass(frozen=True)
class File:
  """The definitions in a file of configs.

  Attributes:
    path: of the file.
    configs: its CONFIGS.
    sweeps: its SWEEPS.
    get_config: the function that --config calls.
  """

  path: str
  configs: Mapping[str, Make]
  sweeps: Mapping[str, Sweep]
  get_config: Callable[[str], ml_collections.ConfigDict]

  @classmethod
  def load(cls, path: str) -> "File":
    """Executes the file and takes its definitions.

    Raises:
      UserError: the file cannot be read, or lacks one of the three definitions.
    """
    try:
      with open(path, "rb"):  # runpy would take a folder for a package
        pass
      defined = runpy.run_path(path)
    except Exception as e:  # a person's file may raise anything
      mistake = errors.mistake_in(path, e)
      if not mistake and not isinstance(e, OSError):
        raise
      raise mistake or errors.explained(f"{path}: cannot be read", e, "try configs/sudoku.py") from e
    for name, kind in (("CONFIGS", Mapping), ("SWEEPS", Mapping), ("get_config", Callable)):
      if not isinstance(defined.get(name), kind):
        what = f"{name} is {defined[name]!r:.60}" if name in defined else f"has no {name}"
        raise UserError(f"{path}: {what}; see configs/sudoku.py for an example")
    return cls(path, defined["CONFIGS"], defined["SWEEPS"], defined["get_config"])


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Attributes:
    names: of its config; the first is the one that is run, the others name the same config in the sweep.
    config: including the seed.
    arguments: FILE.py:NAME and the flags with which trm_jax.main makes the run.
  """

  names: tuple[str, ...]
  config: config_lib.Config
  arguments: tuple[str, ...]

  @property
  def label(self) -> str:
    return f"{' = '.join(self.names)}, seed {self.config.seed}"

  @property
  def folder(self) -> str:
    """The run's folder in WORKDIR."""
    return f"{self.names[0].replace(',', '-')}/seed_{self.config.seed}"

  def state(self, folder: epath.Path) -> str:
    """Returns how far the run in a folder is: "finished", "begun" or "new" (see identity.state).

    Raises:
      UserError: the folder holds another run, or files that this one would overwrite.
    """
    from trm_jax.training import identity  # pylint: disable=g-import-not-at-top

    return identity.state({"config": config_lib.to_dict(self.config)}, folder)


def folder_of(runs: Sequence[Run], workdir: str) -> epath.Path:
  """Returns the folder of all runs, WORKDIR. Raises UserError if a run cannot be kept there."""
  root = paths.user_path(workdir, "--workdir")
  paths.check_checkpoints_can_be_kept(root, "--workdir")
  for run in runs:
    paths.check_checkpoints_can_be_kept(root / run.folder, f"folder of {run.label}")
  return root


def plan(file: File, sweep: str, seeds: Sequence[int], options: Sequence[str] = (),
         sets: Sequence[str] = ()) -> list[Run]:
  """Lists the runs of a sweep: first all configs with the first seed, each config once, and so on.

  Args:
    file: the file of configs.
    sweep: name of a sweep in the file.
    seeds: to run every config with.
    options: applied to every config.
    sets: FIELD=VALUE, applied to every config.

  Raises:
    UserError: there is no such sweep, or one of its configs cannot be made with these options and values.
  """
  if sweep not in file.sweeps:
    raise UserError(f"--sweep={file.path}:{sweep}: no such sweep; use one of {', '.join(file.sweeps)} (help describes "
                    "them)")
  changes = dict(map(config_lib.parse_change, sets))
  if "seed" in changes:
    raise UserError(f"--set=seed={changes['seed']}: runs would share a folder; give --seeds={changes['seed']}")
  for seed in seeds:
    errors.check_number("--seeds: config.seed", seed)
  wanted, first, made = file.sweeps[sweep].names, {}, {}
  if unknown := [name for name in wanted if name not in file.configs]:
    raise UserError(f"{file.path}: the sweep {sweep} names {unknown[0]!r}, which is not in CONFIGS")
  for name in file.configs:
    name = ",".join([name, *options])
    try:
      values = file.get_config(name)
      config_lib.change(values, changes)
      config = config_lib.parse(values)
    except Exception as e:  # a person's file may raise anything
      mistake = errors.mistake_in(file.path, e) or e
      if not isinstance(mistake, UserError):
        raise
      if name.partition(",")[0] in wanted:
        raise UserError(f"{name}: {mistake}") from e
      continue
    same = dataclasses.replace(config, name="")
    first.setdefault(same, name)
    made[name] = config, first[same]
  names = {}  # name of the config that is run -> all its names
  for name in (",".join([name, *options]) for name in wanted):
    also = names.setdefault(made[name][1], [made[name][1]])
    if name not in also:
      also.append(name)
  return [
      Run(tuple(also), dataclasses.replace(made[name][0], seed=seed),
          (f"{file.path}:{name}", f"--config.seed={seed}", *(f"--config.{text}" for text in sets)))
      for seed in seeds for name, also in names.items()]
