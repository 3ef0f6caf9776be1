# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A page of tables and plots from runs.

    python -m trm_jax.report runs/ --out=report/                # folders of runs, or folders that contain such folders
    python -m trm_jax.report gs://BUCKET/runs --base=baseline   # compares all settings with this one
    python -m trm_jax.report --compare runs/a runs/b            # two runs side by side

It reads only config.json and metrics.jsonl, also of runs that are still going, and writes index.html, report.md, csv/
and figures/ (docs/report.md).
"""

from absl import flags

from trm_jax import cli
from trm_jax.errors import UserError

_OUT = flags.DEFINE_string("out", "report", "Folder for the report, local or gs://BUCKET/FOLDER; made if need be.")
_BASE = flags.DEFINE_string(
    "base", None, "The setting that others are compared with: a config's name, a label of the report or a run's "
    "folder; default: the one that differs least from the others.")
_COMPARE = flags.DEFINE_bool("compare", False, "Compare two runs, side by side, and nothing else.")


def main(argv: list[str]) -> None:
  """Reads the flags and writes the report."""
  if len(argv) < 2:
    raise UserError("no folder is named: python -m trm_jax.report runs/ --out=report/")
  if _COMPARE.value and _BASE.value:
    raise UserError(f"--compare, --base={_BASE.value}: two runs side by side have no base; leave one of them out")
  # Imported here, so that --help and a misspelt flag answer at once.
  from trm_jax.report import write  # pylint: disable=g-import-not-at-top

  if _COMPARE.value:
    write.comparison(argv[1:], _OUT.value)
  else:
    write.report(argv[1:], _OUT.value, _BASE.value)


if __name__ == "__main__":
  cli.run(main)
