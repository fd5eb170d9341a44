"""A report as one HTML file: no script, nothing loaded from elsewhere, fit for dark, light and paper.

The templates escape everything but the SVG of a ``Picture``, which is filled from one too. The page is
well-formed XML.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
from msgspec import Struct

from dplaunch.view import style


class HtmlRow(Struct, frozen=True):
    """Cells of one row. ``level`` colours it: ``ok``, ``warn``, ``fail``, or nothing."""

    cells: Sequence[str]
    level: str = ""


class HtmlTable(Struct, frozen=True):
    """Heads and rows of equal length below a title; ``note`` stands under the title."""

    title: str
    heads: Sequence[str]
    rows: Sequence[HtmlRow]
    note: str = ""


class Picture(Struct, frozen=True):
    """A finished ``<svg>`` element below a title."""

    title: str
    svg: str
    note: str = ""


Section = HtmlTable | Picture


def page(title: str, subtitle: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole file: a title, lines of facts below it, the sections in order."""
    return fill("report.html.j2", title=title, subtitle=subtitle, sections=sections)


def fill(template: str, **values: object) -> str:
    """A template of this folder with these values; text in them is cleaned and escaped."""
    return _environment().get_template(template).render(values) + "\n"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cleaned(value: object) -> object:
    """Text from anywhere without what no HTML may hold: control characters, broken Unicode."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = style.plain(value).encode("utf-8", "replace").decode()
    return text.replace("\ufffe", "?").replace("\uffff", "?")
