# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads folders of runs and writes a folder with the report."""

from collections.abc import Sequence
import os

import trm_jax
from trm_jax.errors import UserError
from trm_jax.report import page
from trm_jax.report import runs as runs_lib
from trm_jax.report import sections
from trm_jax.runtime import workdir as workdir_lib


def report(paths: Sequence[str], out: os.PathLike | str, base: str | None = None) -> None:
  """Writes a report about all runs in these folders.

  Args:
    paths: each is a run's folder, or one that contains such folders; local or gs://.
    out: folder to write to, made if it does not exist; local or gs://.
    base: name of the setting that others are compared with; None: the one that differs least from the others.

  Raises:
    UserError: no run can be read, no setting has that name, or a folder or bucket cannot be used.
  """
  found, unreadable = runs_lib.read_all(paths)
  made = sections.Report(found, unreadable, base).sections()
  _write(out, f"Report: {', '.join(paths)}", made)
  for run in unreadable:
    print(f"not in the report: {run.path}: {run.reason}")


def comparison(paths: Sequence[str], out: os.PathLike | str) -> None:
  """Writes a comparison of two runs, side by side.

  Raises:
    UserError: the folders are not those of two runs.
  """
  if len(paths) != 2:
    raise UserError(f"--compare: {len(paths)} folders are named; it takes two: --compare runs/a runs/b")
  pair = []
  for path in paths:
    found, _ = runs_lib.read_all([path])
    if len(found) != 1:
      raise UserError(f"--compare: {path} has {len(found)} runs; name one run: {', '.join(r.path for r in found[:4])}")
    pair += found
  _write(out, f"{pair[0].path} and {pair[1].path}", sections.compare(*pair))


def _write(out: os.PathLike | str, title: str, made: Sequence[sections.Section]) -> None:
  with workdir_lib.Workdir(out, main=True, flag="--out") as workdir:
    page.write(workdir.local, title, f"Made by trm_jax {trm_jax.__version__} from config.json and metrics.jsonl of the "
               "runs.", made)
  for section in made:
    print(f"{section.title}: {section.sentence}")
  print(f"\n{workdir.path}/\n  index.html  report.md  csv/  figures/")
