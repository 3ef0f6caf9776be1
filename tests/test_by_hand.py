# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""That the programs which take too long for the tests still start, and notice what they are there for."""

import pathlib
import subprocess
import sys

from by_hand import flip_often
import pytest

FOLDER = pathlib.Path(__file__).parent / "by_hand"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_help(name):
  done = subprocess.run([sys.executable, FOLDER / name, "--help"], capture_output=True, text=True, check=True)
  assert f"python tests/by_hand/{name}" in done.stdout


def test_flips_are_noticed(capsys):
  assert flip_often.main(flips=1, seed=0) == 0
  assert "named as damage" in capsys.readouterr().out
