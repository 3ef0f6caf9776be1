# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""From a file of configs to the runs of one of its sweeps."""

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
  """What a file of configs defines.

  Attributes:
    path: of it.
    configs: its CONFIGS.
    sweeps: its SWEEPS.
    get_config: what --config calls.
  """

  path: str
  configs: Mapping[str, Make]
  sweeps: Mapping[str, Sweep]
  get_config: Callable[[str], ml_collections.ConfigDict]

  @classmethod
  def load(cls, path: str) -> "File":
    """Runs the file.

    Raises:
      UserError: it cannot be read, or it lacks one of the three.
    """
    try:
      with open(path, "rb"):  # runpy takes a folder for a package
        pass
      defined = runpy.run_path(path)
    except Exception as e:  # whatever a person's file comes up with
      mistake = errors.mistake_in(path, e)
      if not mistake and not isinstance(e, OSError):
        raise
      raise mistake or errors.explained(f"{path}: cannot be read", e, "try configs/sudoku.py") from e
    for name, kind in (("CONFIGS", Mapping), ("SWEEPS", Mapping), ("get_config", Callable)):
      if not isinstance(defined.get(name), kind):
        what = f"{name} is {defined[name]!r:.60}" if name in defined else f"has no {name}"
        raise UserError(f"{path}: {what}; see configs/sudoku.py for how it looks")
    return cls(path, defined["CONFIGS"], defined["SWEEPS"], defined["get_config"])


@dataclasses.dataclass(frozen=True)
class Run:
  """One of a sweep.

  Attributes:
    names: of its config, the one that it is run under first, then those of the sweep that are the same config.
    config: with its seed.
    arguments: FILE.py:NAME and the flags of trm_jax.main that make it.
  """

  names: tuple[str, ...]
  config: config_lib.Config
  arguments: tuple[str, ...]

  @property
  def label(self) -> str:
    return f"{' = '.join(self.names)}, seed {self.config.seed}"

  @property
  def folder(self) -> str:
    """In WORKDIR."""
    return f"{self.names[0].replace(',', '-')}/seed_{self.config.seed}"

  def state(self, folder: epath.Path) -> str:
    """What a folder holds of the run: "finished", "begun" or "new" (see identity.state).

    Raises:
      UserError: another run is there, or what this one would write over.
    """
    from trm_jax.training import identity  # pylint: disable=g-import-not-at-top

    return identity.state({"config": config_lib.to_dict(self.config)}, folder)


def folder_of(runs: Sequence[Run], workdir: str) -> epath.Path:
  """The folder of all runs, WORKDIR. Raises UserError if one of them cannot be kept there."""
  root = paths.user_path(workdir, "--workdir")
  paths.check_checkpoints_can_be_kept(root, "--workdir")
  for run in runs:
    paths.check_checkpoints_can_be_kept(root / run.folder, f"folder of {run.label}")
  return root


def plan(file: File, sweep: str, seeds: Sequence[int], options: Sequence[str] = (),
         sets: Sequence[str] = ()) -> list[Run]:
  """The runs of a sweep, all configs with the first seed first, each config once.

  Args:
    file: of the configs.
    sweep: name in it.
    seeds: of every config.
    options: of every config.
    sets: FIELD=VALUE of every config.

  Raises:
    UserError: there is no such sweep, or one of its configs cannot be made so.
  """
  if sweep not in file.sweeps:
    raise UserError(f"--sweep={file.path}:{sweep}: no such sweep; known are {', '.join(file.sweeps)} (help describes "
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
    except Exception as e:  # whatever a person's file comes up with
      mistake = errors.mistake_in(file.path, e) or e
      if not isinstance(mistake, UserError):
        raise
      if name.partition(",")[0] in wanted:
        raise UserError(f"{name}: {mistake}") from e
      continue
    same = dataclasses.replace(config, name="")
    first.setdefault(same, name)
    made[name] = config, first[same]
  names = {}  # of the config that is run: all of them
  for name in (",".join([name, *options]) for name in wanted):
    also = names.setdefault(made[name][1], [made[name][1]])
    if name not in also:
      also.append(name)
  return [
      Run(tuple(also), dataclasses.replace(made[name][0], seed=seed),
          (f"{file.path}:{name}", f"--config.seed={seed}", *(f"--config.{text}" for text in sets)))
      for seed in seeds for name, also in names.items()]
