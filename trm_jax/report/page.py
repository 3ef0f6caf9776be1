# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Writes a report as files: one self-contained HTML page, and Markdown with CSV, PNG and SVG files."""

from collections.abc import Iterator, Sequence
import csv
from html import escape
import io
import pathlib
import re
from typing import Any

from trm_jax.report import plots
from trm_jax.report.sections import Picture
from trm_jax.report.sections import Section
from trm_jax.report.sections import Table
from trm_jax.runtime import files

_CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --muted: #68707a; --grid: #d5d9de; --link: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e8eb; --muted: #9aa3ad; --grid: #343a42; --link: #7ab8f5 }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 0 auto; padding: 1.5rem }
h1 { font-size: 1.7rem; margin: 0 0 .3rem } h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem }
.made, figcaption, .note { color: var(--muted); font-size: .88rem } a { color: var(--link) }
nav ul { columns: 3 14rem; padding-left: 1.2rem } .sentence { font-size: 1.06rem }
figure { margin: 1.2rem 0 } figure svg { display: block; max-width: 100%; height: auto }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; margin: .8rem 0 }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top }
th { border-bottom-color: var(--muted) } td { overflow-wrap: break-word } td.number { text-align: right;
  white-space: nowrap; font-variant-numeric: tabular-nums }
@media print {
  @page { size: landscape; margin: 12mm }
  :root { --paper: #ffffff; --ink: #1b1f24; --muted: #555c64; --grid: #d5d9de; --link: #1b1f24 }
  body { font-size: 10.5pt; max-width: none; padding: 0 } nav { display: none } .scroll { overflow: visible }
  table { font-size: 6.5pt } th, td { padding: .15rem .3rem }
  h2 { break-after: avoid } figure, tr { break-inside: avoid }
}
"""


def write(folder: pathlib.Path, title: str, made: str, sections: Sequence[Section]) -> None:
  """Writes index.html, report.md, csv/ and figures/.

  Args:
    folder: an existing folder.
    title: of the report.
    made: a line that says how the report was made.
    sections: in their order.
  """
  for name in ("csv", "figures"):
    (folder / name).mkdir(exist_ok=True)
  drawings = {}
  for section in sections:
    for part in section.parts:
      if isinstance(part, Picture):
        drawings[part.name] = plots.svg(part.fig)
        files.replace_text(folder / "figures" / f"{part.name}.svg", drawings[part.name])
        with files.replacing(folder / "figures" / f"{part.name}.png") as file:
          file.write(plots.png(part.fig))
      elif isinstance(part, Table):
        files.replace_text(folder / "csv" / f"{part.name}.csv", _csv(part))
  files.replace_text(folder / "index.html", "\n".join(_html(title, made, sections, drawings)) + "\n")
  files.replace_text(folder / "report.md", "\n".join(_markdown(title, made, sections)))


def _headers(table: Table) -> list[str]:
  """Headers of the columns that a page shows."""
  return [header for header, _ in table.columns[: len(table.columns) - table.in_file]]


def _shown(table: Table) -> Iterator[list[str]]:
  """Rows as text, without the columns that a page does not show."""
  for row in table.rows:
    yield ["–" if value is None else show(value) for value, (_, show), _ in zip(row, table.columns, _headers(table))]


def _csv(table: Table) -> str:
  """The table as CSV with all digits; a missing value is an empty field."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  if any(header for header, _ in table.columns):
    writer.writerow([header for header, _ in table.columns])
  writer.writerows(table.rows)
  return text.getvalue()


def _anchor(title: str) -> str:
  return re.sub(r"\W+", "-", title.lower()).strip("-")


def _html(title: str, made: str, sections: Sequence[Section], drawings: dict[str, str]) -> Iterator[str]:
  yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>'
  yield '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
  yield f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>"
  yield f'<header><h1>{escape(title)}</h1><p class="made">{escape(made)}</p></header>'
  links = "".join(f'<li><a href="#{_anchor(s.title)}">{escape(s.title)}</a></li>' for s in sections)
  yield f"<nav><ul>{links}</ul></nav>\n<main>"
  for section in sections:
    yield f'<section id="{_anchor(section.title)}"><h2>{escape(section.title)}</h2>'
    yield f'<p class="sentence">{escape(section.sentence)}</p>'
    for part in section.parts:
      if isinstance(part, Picture):
        drawing = plots.inline_svg(drawings[part.name], escape(f"{section.title}, {part.name}"))
        yield f"<figure>{drawing}<figcaption>{escape(part.caption)}</figcaption></figure>"
      elif isinstance(part, Table):
        yield from _html_table(part)
      else:
        yield f"<p>{escape(part)}</p>"
    yield "</section>"
  yield "</main>\n</body>\n</html>"


def _html_table(table: Table) -> Iterator[str]:
  yield '<div class="scroll"><table>'
  if any(_headers(table)):
    yield "<thead><tr>" + "".join(f"<th>{escape(header)}</th>" for header in _headers(table)) + "</tr></thead>"
  yield "<tbody>"
  for row, values in zip(_shown(table), table.rows):
    yield "<tr>" + "".join(_cell(text, value) for text, value in zip(row, values)) + "</tr>"
  yield "</tbody></table></div>"
  if table.note:
    yield f'<p class="note">{escape(table.note)}</p>'


def _cell(text: str, value: Any) -> str:
  number = isinstance(value, (int, float)) and not isinstance(value, bool)
  return f'<td class="number">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"


def _markdown(title: str, made: str, sections: Sequence[Section]) -> Iterator[str]:
  yield f"# {title}\n\n{made}\n"
  for section in sections:
    yield f"## {section.title}\n\n{_escaped(section.sentence)}\n"
    for part in section.parts:
      if isinstance(part, Picture):
        yield f"![{section.title}, {part.name}](figures/{part.name}.png)\n\n{_escaped(part.caption)}\n"
      elif isinstance(part, Table):
        for row in [_headers(part), ["---"] * len(_headers(part)), *_shown(part)]:
          yield f"| {' | '.join(map(_escaped, row))} |"
        yield f"\n{_escaped(part.note)}\n" if part.note else ""
      else:
        yield f"{_escaped(part)}\n"


def _escaped(text: str) -> str:
  """Escapes the characters that Markdown would interpret."""
  return re.sub(r"([*<|])", r"\\\1", text)
