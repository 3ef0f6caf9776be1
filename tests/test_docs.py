# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""README and docs/ name files, headings, modules and configs that exist, and their Python lines run."""

import importlib
import importlib.util
import pathlib
import re
import tomllib

import pytest
from trm_jax import config as config_lib
from trm_jax import study

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/**/*.md"))]
CONFIGS = {path.stem: study.File.load(str(path)) for path in sorted((ROOT / "configs").glob("*.py"))}
# Files that cite the documents.
CODE = [path for folder in ("trm_jax", "configs", "benchmarks", "tests", "launch", ".ci")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and (path.suffix in (".py", ".yaml") or not path.suffix)]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(page: pathlib.Path) -> set[str]:
  """The anchors that GitHub makes of the headings of a page."""
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
  headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).strip().lower().replace(" ", "-")
          for heading in headings}


@pages
def test_every_relative_link_leads_somewhere(page):
  broken = []
  for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
    if re.match(r"\w+:", link):  # another site
      continue
    name, _, anchor = link.partition("#")
    target = (page.parent / name) if name else page
    if not target.exists() or anchor and anchor not in anchors(target):
      broken.append(link)
  assert not broken


@pages
def test_every_file_that_a_page_names_exists(page):
  folders = "trm_jax|tests|configs|benchmarks|notebooks|launch|constraints"
  named = re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]*\w)", page.read_text())
  made_by_you = {"launch/settings"}
  assert not sorted({name for name in named if not (ROOT / name).exists()} - made_by_you)


@pages
def test_every_module_and_name_that_a_page_names_exists(page):
  missing = []
  for name in set(re.findall(r"\b(?:trm_jax|benchmarks)(?:\.\w+)+", page.read_text())):
    parts = name.split(".")
    if parts[-1] in ("py", "git"):  # a file
      continue
    length = max(i for i in range(1, len(parts) + 1) if (ROOT / pathlib.Path(*parts[:i])).is_dir()
                 or (ROOT / pathlib.Path(*parts[:i])).with_suffix(".py").is_file())
    thing = importlib.import_module(".".join(parts[:length])) if length < len(parts) else None
    for part in parts[length:]:
      thing = getattr(thing, part, missing)
    if thing is missing:
      missing.append(name)
  assert not missing


@pages
def test_every_config_that_a_page_names_exists(page):
  named = set(re.findall(r"configs/(\w+)\.py:(\w+)", page.read_text()))
  assert not sorted((file, name) for file, name in named
                    if name not in {"help", "NAME", *CONFIGS[file].configs, *CONFIGS[file].sweeps})


KNOBS = {knob for task in ("sudoku", "maze", "grid", "arc")
         for knob in config_lib.flatten(config_lib.default_config(task).to_dict())}
KNOBS |= {name.rpartition(".")[0] for name in KNOBS}  # groups


@pages
def test_every_knob_that_a_page_names_exists(page):
  """config.x.y, written as in a command or in a sentence."""
  named = set(re.findall(r"(?<![\w./])config\.([a-z]\w*(?:\.\w+)*)", page.read_text()))
  others = {"json", "py", "parse", "x", "new"}  # files, a function, and the names of examples
  assert not sorted(named - KNOBS - others)


def test_every_knob_that_a_message_names_exists():
  """--config.x.y, "config.x.y = …"."""
  pattern = re.compile(r"--config\.([a-z]\w*(?:\.\w+)*)|\bconfig\.([a-z]\w*(?:\.\w+)*) = [{']")
  named = {(name, path.name) for path in (ROOT / "trm_jax").rglob("*.py")
           for found in pattern.findall(path.read_text()) for name in found if name}
  examples = {"x", "field"}
  assert len(named) > 10
  assert not sorted((name, path) for name, path in named if name not in KNOBS | examples)


def defined(name: str, code: str) -> bool:
  """Whether Python code defines a function, class, method or constant, of which "Class.method" names the last part."""
  name = name.rpartition(".")[2]
  return bool(re.search(rf"^\s*(async def|def|class) {name}\b|^\s*{name}(: [^=]+)? = ", code, re.MULTILINE))


def test_every_function_of_a_formula_is_where_the_page_says():
  """Paragraphs of docs/model.md: *Here:* `function`, `Class.method` in [file](link)."""
  page = ROOT / "docs" / "model.md"
  paragraphs = re.findall(r"\*Here:\*(.*?)(?:\*Paper|\*Reference|\n\n)", page.read_text(), re.DOTALL)
  assert len(paragraphs) > 5
  missing = []
  for paragraph in paragraphs:
    code = "\n".join((page.parent / link).read_text() for link in re.findall(r"\]\(([^)]*)\)", paragraph))
    missing += [name for name in re.findall(r"`([\w.]+)`", paragraph) if not defined(name, code)]
  assert not missing


@pages
def test_every_name_is_in_the_file_that_a_page_links(page):
  """`name` in [file](link), and (`name` in [file](link))."""
  named = re.findall(r"`([A-Za-z_][\w.]*)`\s+(?:in|of)\s+\[[^]]*\]\(([^)#]+\.py)\)", page.read_text())
  assert not [name for name, link in named if not defined(name, (page.parent / link).read_text())]


def test_the_map_has_every_file():
  """docs/design.md: a heading for each folder of the library, with a table of its files."""
  text = (ROOT / "docs" / "design.md").read_text()
  described = {folder + name for folder, table in re.findall(r"^### (trm_jax/\S*)\n(.*?)(?=^#)", text, re.M | re.S)
               for name in re.findall(r"^\| `(\w+\.py)` \|", table, re.M)}
  there = {str(path.relative_to(ROOT)) for path in ROOT.glob("trm_jax/**/*.py") if path.name != "__init__.py"}
  assert not sorted(there - described), "say in docs/design.md what these files hold"
  assert not sorted(described - there), "docs/design.md describes files that are gone"


def test_the_picture_has_the_layers():
  """From top to bottom, left to right, as import-linter has them."""
  contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
  picture = (ROOT / "docs" / "design.svg").read_text()
  boxes = re.findall(r' y="(\d+)" class="b" text-anchor="middle">(\w+)(/|\.py)<', picture)
  drawn = [[name for y, name, _ in boxes if y == row] for row in sorted({y for y, *_ in boxes}, key=int)]
  assert drawn == [layer.split(" | ") for layer in contracts[0]["layers"]]
  for _, name, kind in boxes:
    assert (ROOT / "trm_jax" / f"{name}{kind}").exists()


def test_every_axis_letter_is_in_the_table():
  """Letters of names such as logits_BxSxV, and of shapes such as "labels: (B, S)" in docstrings."""
  text = (ROOT / "docs" / "design.md").read_text().partition("## Axis letters")[2].partition("\n## ")[0]
  table = set(re.findall(r"`([A-Za-z])`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))))
  assert {"B", "S", "D"} <= table
  used = set()
  for path in (ROOT / "trm_jax").rglob("*.py"):
    code = path.read_text()
    for axes in re.findall(r"_((?:[A-Z]x)+[A-Z])\b", code):
      used |= {(letter, path.name) for letter in axes.split("x")}
    for shape in re.findall(r"^ +\w+: \(([^()]*)\)", code, re.MULTILINE):
      used |= {(letter, path.name) for letter in re.findall(r"\b[A-Zn]\b", shape)}
  assert not sorted((letter, name) for letter, name in used if letter not in table)


def test_every_document_that_the_code_cites_exists():
  cited = {(name, path.name) for path in CODE
           for name in re.findall(r"(?<![\w/])docs/[\w./-]*\w", path.read_text(errors="ignore"))}
  assert not sorted((name, path) for name, path in cited if not (ROOT / name).exists())


def test_the_lines_of_the_readme_run():
  """With a smaller model."""
  block, = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
  small = "seq_len=81, hidden_size=64, puzzle_emb_ndim=64, puzzle_emb_len=1, H_cycles=1, L_cycles=1"
  names = {}
  exec(block.replace("seq_len=81", small), names)  # pylint: disable=exec-used
  assert names["answers"].shape == (1, 81)


def test_the_readme_is_short():
  lines = README.read_text().splitlines()
  assert len(lines) <= 100
  assert max(map(len, lines)) <= 160
