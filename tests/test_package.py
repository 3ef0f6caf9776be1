# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The package as a newcomer gets it: light to import, free of TensorFlow, complete and with just what it needs."""

import ast
import configparser
import importlib.metadata
import importlib.util
import os
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest
import trm_jax

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "trm_jax"

# No import names these, still an installation needs them.
NEEDED_INDIRECTLY = {
  "array_record": "tensorflow-datasets reads its files with it, and asks for it on Linux only",
}


def imported_by(statement: str, *python_flags: str) -> set[str]:
  """Names of the modules that are loaded after `statement` in a Python of its own, which has no device for JAX."""
  program = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{statement}\nprint(*sys.modules)"
  done = subprocess.run(
    [sys.executable, *python_flags, "-c", program],
    env=os.environ | {"JAX_PLATFORMS": "no_such_platform"},  # whoever touches a device is stopped where it does
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return set(done.stdout.split())


def requirements() -> dict[str, list[str]]:
  """Names of the distributions that setup.cfg asks for, normalized: {"": of the base install, extra: of that extra}."""
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
  return {extra: [normalized(line) for line in lines.split("\n") if line] for extra, lines in lists.items()}


def normalized(requirement: str) -> str:
  return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def distributions_imported(folder: pathlib.Path) -> dict[str, set[str]]:
  """{distribution: {files that import it, anywhere}}; an import that nothing installed provides keeps its own name."""
  providers = importlib.metadata.packages_distributions()
  found = {}
  ours = {"trm_jax", "configs"}
  if folder == ROOT / "tests":  # where scripts and helpers import one another
    ours |= {"benchmarks", "by_hand", *(path.stem for path in folder.glob("*.py"))}
  for path in sorted(folder.rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_text())):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [node.module]
      for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - ours:
        distribution = normalized(sorted(set(providers.get(name, [name])))[0])
        found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
  return found


def source(module: str) -> str:
  return pathlib.Path(importlib.util.find_spec(module).origin).read_text()


def test_importing_the_model_is_light():
  loaded = imported_by("from trm_jax.model import TRM")
  assert "trm_jax.model.trm" in loaded
  assert not loaded & {"tensorflow", "tensorflow_datasets", "orbax.checkpoint", "matplotlib", "tensorboardX", "clu"}


@pytest.mark.parametrize("module", [
    "trm_jax.main", "trm_jax.sweep", "trm_jax.solve.__main__", "trm_jax.report.__main__", "trm_jax.preflight.__main__",
    "configs.sudoku"])
def test_what_answers_help_does_not_need_jax(module):
  assert "jax" not in imported_by(f"import {module}")


def test_nothing_imports_upwards():
  """The contract in pyproject.toml: which folder may know which."""
  done = subprocess.run(["lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_no_module_needs_tensorflow_or_touches_a_device_when_imported():
  modules = {module.name for module in pkgutil.walk_packages(trm_jax.__path__, "trm_jax.")}
  programs = {name for name in modules if '__name__ == "__main__"' in source(name)}  # define the same flags
  assert "trm_jax.main" in programs
  for group in [modules - programs, *({name} for name in programs)]:
    loaded = imported_by("\n".join(f"import {name}" for name in sorted(group)))
    assert loaded >= group
    assert "tensorflow" not in loaded


def test_the_version_has_one_source_that_needs_no_dependency():
  assert importlib.metadata.version("trm_jax") == trm_jax.__version__, 'run `pip install -e ".[test]"` again'
  loaded = imported_by("import trm_jax; assert trm_jax.__version__", "-I", "-S")  # without site-packages
  assert not loaded & {"numpy", "jax"}


def test_every_folder_of_code_is_a_package():
  # setuptools leaves out, without a word, what has no __init__.py.
  assert [path for path in PACKAGE.rglob("*.py") if not (path.parent / "__init__.py").is_file()] == []


@pytest.mark.parametrize("folder", ["trm_jax", "configs", "tests"])
def test_every_import_is_declared(folder):
  lists = requirements()
  if folder != "tests":  # users install neither of these
    del lists["test"], lists["dev"]
  declared = {name for names in lists.values() for name in names}
  undeclared = {name: files for name, files in distributions_imported(ROOT / folder).items() if name not in declared}
  assert not undeclared, f"add to setup.cfg, or do without: {undeclared}"


def test_every_dependency_earns_its_place():
  imported = set(distributions_imported(PACKAGE)) | set(distributions_imported(ROOT / "configs"))
  idle = set(requirements()[""]) - imported - {normalized(name) for name in NEEDED_INDIRECTLY}
  assert not idle, f"nothing imports {sorted(idle)}: remove from setup.cfg"


@pytest.mark.parametrize("path", sorted(ROOT.glob("constraints/*.txt")), ids=lambda path: path.name)
def test_constraints_pin_every_dependency(path):
  pinned = {normalized(line) for line in path.read_text().splitlines() if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
  wanted = requirements()
  assert set(wanted[""]) | set(wanted["test"]) <= pinned


def test_the_pinned_libtpu_is_that_of_the_pinned_jax():
  """So that a pod compiles with what the tests have compiled with."""
  version = f"py{sys.version_info.major}{sys.version_info.minor}"
  lines = (ROOT / "constraints" / f"{version}.txt").read_text().splitlines()
  pins = dict(line.split("==") for line in lines if "==" in line)
  if importlib.metadata.version("jax") != pins["jax"]:
    pytest.skip("another JAX is installed than the pinned one")
  asked, = [match[1] for line in importlib.metadata.requires("jax")
            if (match := re.match(r"libtpu==([\d.]+)\.\*; extra == .tpu", line))]
  assert pins["libtpu"].startswith(f"{asked}.")
