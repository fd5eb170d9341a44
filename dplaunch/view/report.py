"""A report as one HTML file: no script, nothing loaded from elsewhere, fit for dark, light and paper.

Everything but a ``Picture``'s SVG is escape here; the code that draws the SVG uses ``escape``. The page is
well-formed XML too.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from dplaunch.view import style


@dataclass(frozen=True, slots=True)
class HtmlRow:
    """Cells of one row. ``level`` colours it: ``ok``, ``warn``, ``fail``, or nothing."""

    cells: Sequence[str]
    level: str = ""


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """Heads and rows of equal length below a title; ``note`` stands under the title."""

    title: str
    heads: Sequence[str]
    rows: Sequence[HtmlRow]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished ``<svg>`` element below a title."""

    title: str
    svg: str
    note: str = ""


Section = HtmlTable | Picture


def page(title: str, subtitle: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole file: a title, lines of facts below it, the sections in order."""
    facts = "".join(f"<p>{escape(line)}</p>\n" for line in subtitle)
    body = "".join(_section(section) for section in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{facts}</header>\n{body}</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Text from anywhere as HTML text or attribute: markup, control characters, broken Unicode."""
    clean = style.plain(text).encode("utf-8", "replace").decode()
    return html.escape(clean.replace("\ufffe", "?").replace("\uffff", "?"))


def _section(section: Section) -> str:
    note = f'<p class="note">{escape(section.note)}</p>\n' if section.note else ""
    body = _table(section) if isinstance(section, HtmlTable) else f'<div class="picture">{section.svg}</div>'
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{note}{body}\n</section>\n"


def _table(table: HtmlTable) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in table.heads)
    rows = "\n".join(_row(row) for row in table.rows)
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _row(row: HtmlRow) -> str:
    kind = f' class="{escape(row.level)}"' if row.level else ""
    return f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells) + "</tr>"


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --dim: #66707b; --line: #d5dae0;
  --ok: #1a7f37; --warn: #9a6700; --fail: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14181d; --dim: #97a1ac;
  --line: #333b44; --ok: #4cc266; --warn: #d8a531; --fail: #ff6b63; } }
@media print { :root { color-scheme: light; --ink: #000000; --paper: #ffffff; --dim: #444444;
  --line: #bbbbbb; --ok: #1a7f37; --warn: #9a6700; --fail: #cf222e; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } tr, svg { break-inside: avoid; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
header p, .note { color: var(--dim); margin: 0 0 .2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem .5rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 600; overflow-wrap: normal; }
tr.ok td:first-child { border-left: 4px solid var(--ok); }
tr.warn td:first-child { border-left: 4px solid var(--warn); }
tr.fail td:first-child { border-left: 4px solid var(--fail); }
.picture { overflow-x: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg line { stroke: var(--line); }
"""
