# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes sure that a run's folder belongs to one run: the run is compared with all files in the folder."""

from collections.abc import Sequence
import hashlib
import json
from typing import Any

from etils import epath

from trm_jax import config as config_lib
from trm_jax import tasks
from trm_jax.data.splits import Splits
from trm_jax.errors import Damaged, UserError
from trm_jax.runtime import buckets
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.tasks import Task
from trm_jax.training import metrics_log

# The files that a run writes in its folder after config.json, apart from its checkpoints and its task's answers.
_WRITTEN = {"metrics.jsonl", "results.json", "parameters.txt", "tensorboard", "learning_curve.png", "solved.png",
            "wandb_id"}


def digests(splits: Splits) -> dict[str, str | None]:
  """Digests that identify the puzzles of a run, saved with it as `puzzles`; None for a split without puzzles."""
  return {name: puzzles and puzzles.digest()
          for name, puzzles in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))}


def rows_digest(task: Task) -> str | None:
  """SHA-256, in hexadecimal, of the names of the rows of a prefix table, saved with a run as `rows`; None if the task
  does not name them."""
  names = task.row_names()
  return None if names is None else names_digest(names)


def names_digest(names: Sequence[str]) -> str:
  """The digest that `rows_digest` describes, of given names."""
  return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()


def check_rows(task: Task, digest: str | None, place: str) -> None:
  """Makes sure that the rows of a trained prefix table have the same meaning as a task's identifiers.

  Args:
    task: whose puzzles the model is to answer.
    digest: see `rows_digest`; of the run that trained the table. None: it is not known, and a warning says so.
    place: where the model was saved, for the message.

  Raises:
    UserError: the rows have another meaning.
  """
  ours = rows_digest(task)
  if ours is None or ours == digest:
    return
  if digest is None:
    console.warn(f"{place}: does not say which puzzles the rows of its prefix table stand for; if they differ from "
                 f"those of {task.data.source}, its answers mean nothing")
    return
  raise UserError(
      f"{task.data.source}: its puzzle identifiers stand for other puzzles than those that {place} was trained on, "
      "so puzzles would get the prefixes of others; give the data that it was trained on, with the same knobs of "
      "config.data (seed, versions), or train rows for these puzzles with config.init_from, which carries over the "
      "rows of puzzles that both have")


def check_same(run: dict[str, Any], saved: dict[str, Any], place: str) -> None:
  """Makes sure that two runs are the same, except for knobs that are free to change (config.free_on_resume).

  Args:
    run: the run to be resumed: `config` (see config.to_dict) and, if they are known, `data` (facts about its puzzles
      that the model depends on), `puzzles` (see `digests`) and `total_steps`.
    saved: the same, complete, as it was saved.
    place: where it was saved, for the message.

  Raises:
    UserError: the runs differ.
  """
  different = config_lib.differences(run["config"], saved["config"])
  different += [f"{name} of the data: {saved.get('data', {}).get(name)!r} -> {value!r}"
                for name, value in run.get("data", {}).items() if saved.get("data", {}).get(name) != value]
  if not different and "total_steps" in run and run["total_steps"] != saved["total_steps"]:
    different = [f"total steps: {saved['total_steps']} -> {run['total_steps']}"]
  if not different and "puzzles" in run:
    data, before = run["config"]["data"], saved.get("puzzles", {})
    names = {"train": "training", "validation": "validation"}
    if data["num_test"] == saved["config"]["data"]["num_test"]:  # free to change
      names["test"] = "test"
    changed = [word for name, word in names.items() if run["puzzles"][name] != before.get(name)]
    if changed:
      raise UserError(f"{place}: holds this run with other puzzles: config.data.source = {data['source']!r} does not "
                      f"give the same {' and '.join(changed)} puzzles any more; put the earlier ones back, or name "
                      "another folder")
  if different:
    raise UserError(f"{place}: holds another run; it differs in {'; '.join(different)}. Name another folder, or give "
                    "the values it was started with")


def state(run: dict[str, Any], folder: epath.Path) -> str:
  """Returns how far the run in a folder is.

  Args:
    run: see `check_same`.
    folder: of the run; need not exist.

  Returns:
    "finished" if there are results; "begun" if there are checkpoints, which themselves say to which run they belong; or
    "new" if there is nothing that could get lost.

  Raises:
    UserError: there is another run, or this one without its checkpoints, or a file with a name that a run uses.
  """
  with buckets.reaching(str(folder)):
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    checkpoints = folder / "checkpoints"
    in_checkpoints = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
    has_checkpoints = any(map(str.isdecimal, in_checkpoints))
    if "config.json" not in there:
      if has_checkpoints:
        return "begun"
      used = there & (_WRITTEN | {tasks.answer_file(run["config"]["task"], which) for which in ("", "average", "best")})
      if in_checkpoints or checkpoints.is_file():  # a failed start leaves an empty folder
        used.add("checkpoints")
      if used:
        raise UserError(f"{folder}: has {', '.join(sorted(used))}, but no config.json: they belong to no run, and a "
                        "run would overwrite them; name another folder")
      return "new"
    try:
      saved = files.read_json(folder / "config.json")
      if not isinstance(saved.get("config"), dict) or not isinstance(saved.get("total_steps"), int):
        raise Damaged(f"{folder / 'config.json'}: has no config or no total_steps")
    except Damaged as e:
      if not has_checkpoints:
        raise UserError(f"{e}; it belongs to no run, or is damaged; name another folder") from e
      console.warn(f"{e}; the run will write it again when it goes on")
      return "begun"
    if not has_checkpoints and "results.json" not in there and not (
        "metrics.jsonl" in there and any(r["step"] > 0 for r in metrics_log.read_metrics(folder / "metrics.jsonl"))):
      return "new"
    check_same(run, saved, str(folder))
    if "results.json" in there:
      try:
        if metrics_log.read_results(folder / "results.json")["step"] == saved["total_steps"]:
          return "finished"
      except Damaged as e:
        console.warn(f"{e}; its run will repeat the test")
  # A run makes checkpoints/ before anything else; a bucket has no empty folders.
  if not has_checkpoints and "checkpoints" not in there and not buckets.is_remote(folder):
    raise UserError(f"{folder}: this run has begun, but its checkpoints are not here: it cannot go on, and would "
                    "overwrite its records if it began again; bring checkpoints/ here, or name another folder")
  return "begun" if has_checkpoints else "new"
