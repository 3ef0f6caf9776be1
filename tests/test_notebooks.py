# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The notebooks run through, on tiny runs, and lie in git without what they put out."""

import json
import os
import pathlib
import re
import shutil
import sys

import pytest
import synthetic_runs

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
FIRST_CELL = "".join(json.loads(NOTEBOOKS[0].read_text())["cells"][1]["source"])
# Neither code nor prose that needs scrolling.
MOST_LINES = 40


def test_all_four_are_there():
  assert [path.stem for path in NOTEBOOKS] == [
      "01_model_tour", "02_watch_it_think", "03_sudoku_analysis", "04_scaling_laws"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_in_git_it_is_clean(path):
  notebook = json.loads(path.read_text())
  # Not the environment of whoever saved it last.
  assert notebook["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
  title = "".join(notebook["cells"][0]["source"])
  assert title.startswith("# ") and "Apache-2.0" in title and 'pip install -e ".[notebooks]"' in title
  for cell in notebook["cells"]:
    assert 0 < len(cell["source"]) <= MOST_LINES
    if cell["cell_type"] == "code":
      assert cell["outputs"] == [] and cell["execution_count"] is None, (
          f"clear it before you commit: jupyter nbconvert --clear-output --inplace {path}")
      assert not re.search(r"\b(?!np|plt)\w+\._[a-z]", "".join(cell["source"])), "the public API only"
      assert max(len(line.rstrip("\n")) for line in cell["source"]) <= 120


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_opens_in_colab(path):
  """By a badge, and with a first cell that is the same in all of them."""
  cells = json.loads(path.read_text())["cells"]
  title, first, *others = (("".join(cell["source"]), cell["cell_type"]) for cell in cells)
  address, = re.findall(r'repository = "https://github.com/(.*)"', first[0])
  assert (f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]("
          f"https://colab.research.google.com/github/{address}/blob/main/notebooks/{path.name})\n") in title[0]
  assert first == (FIRST_CELL, "code") and address == "YOUR_ACCOUNT/trm_jax"
  assert all("github" not in text for text, _ in others)


def _run_first_cell(folder, monkeypatch, *, installed):
  """Runs the cell in a folder, as a fresh kernel does, where git copies what is here and pip installs nothing.

  Returns:
    (the commands that it has started; the folder that it ends in; whether it has put its parent before sys.path)
  """
  commands = []

  def run(command, *, check):
    assert check
    commands.append(command)
    if command[0] == "git":
      for name in ("notebooks", "configs"):
        (folder / command[-1] / name).mkdir(parents=True)

  monkeypatch.chdir(folder)
  monkeypatch.setattr("subprocess.run", run)
  monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed and name == "trm_jax" else None)
  monkeypatch.setattr("sys.path", ["others"])
  exec(FIRST_CELL, {})  # pylint: disable=exec-used
  return commands, pathlib.Path.cwd(), sys.path[0] == str(pathlib.Path.cwd().parent)


def test_the_first_cell_fetches_what_is_not_there(tmp_path, monkeypatch):
  clone = ["git", "clone", "--quiet", "--depth=1", "https://github.com/YOUR_ACCOUNT/trm_jax", "checkout"]
  install = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", ".."]
  there = tmp_path / "checkout" / "notebooks"
  assert _run_first_cell(tmp_path, monkeypatch, installed=False) == ([clone, install], there, True)
  assert _run_first_cell(tmp_path, monkeypatch, installed=True) == ([], there, False)  # in a second kernel
  assert _run_first_cell(there, monkeypatch, installed=False) == ([install], there, True)  # in a checkout
  assert _run_first_cell(there, monkeypatch, installed=True) == ([], there, False)


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
  """A function that executes a notebook in a copy of what it needs of the checkout, and that copy's folder."""
  pytest.importorskip("ipykernel", reason="ipykernel is not installed")
  nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
  nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
  checkout = tmp_path_factory.mktemp("checkout")
  for folder in ("notebooks", "configs"):
    shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
  path = checkout / "configs" / "sudoku.py"
  many, few = "num_validation=256, num_test=1_024", "num_validation=16, num_test=64"  # of the run that one trains
  assert many in path.read_text()
  path.write_text(path.read_text().replace(many, few))
  plain = {name: value for name, value in os.environ.items() if not name.startswith("TRM_")}
  # These configs, and the package under test, whichever is installed.
  plain |= {"PYTHONPATH": f"{checkout}:{ROOT}", "IPYTHONDIR": str(checkout / "ipython")}

  def run(name, **environment) -> str:
    """What its cells print."""
    notebook = nbformat.read(checkout / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": checkout / "notebooks"}})
    client.execute(env=plain | {name: str(value) for name, value in environment.items()})
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") + output.get("data", {}).get("text/markdown", "") for output in outputs)

  return run, checkout


@pytest.fixture(scope="module")
def watched(execute):
  """What 02_watch_it_think prints, and the run that it has trained."""
  run, checkout = execute
  return run("02_watch_it_think", TRM_STEPS=2, TRM_PUZZLES=64), checkout / "runs" / "notebook_2_steps"


def test_model_tour(execute):
  run, _ = execute
  printed = run("01_model_tour", TRM_STEPS=2)
  assert "| **all** | **125,314** | **5,028,866** |" in printed
  assert "row 0: 3 steps made, then a new puzzle, step 1" in printed
  assert "row 1: 3 steps made, then the same puzzle, step 4" in printed


def test_watch_it_think(watched):
  printed, trained = watched
  assert (trained / "results.json").exists()
  assert "100.0% of the cells answered as by the model itself" in printed


def test_sudoku_analysis(execute, watched):
  run, _ = execute
  assert "solved at the end: " in run("03_sudoku_analysis", TRM_RUN=watched[1], TRM_PUZZLES=64)


def test_scaling_laws(execute, tmp_path):
  """On made-up runs whose error halves with every doubling of the effective depth."""
  run, _ = execute
  for i, (t, n) in enumerate(((1, 1), (1, 3), (2, 3))):
    for seed in (0, 1):
      synthetic_runs.write_run(
          tmp_path / f"t{t}_n{n}" / str(seed), 1 - 0.4 * 2**-i + (2 * seed - 1) * 0.01, seed=seed, name=f"t{t}_n{n}",
          flops=1e12 * 2**i, model__H_cycles=t, model__L_cycles=n)
  printed = run("04_scaling_laws", TRM_RUNS=tmp_path)
  assert "| t1_n3 | 5,000,000 | 80.0% | 1.4 | 2 |" in printed
  assert "standard deviation 1.4 points, from 3 degrees of freedom" in printed
  assert "Accuracy goes from 60.0 % at T=1 n=1 (effective depth 4) to 90.0 % at T=2 n=3 (depth 16)" in printed
