"""A rank table that is valid, and where it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from dplaunch.errors import Problem
from dplaunch.ranges import fold
from dplaunch.view import problems, style


def verdict(name: str, warnings: Sequence[Problem], *, alone: bool) -> Text:
    """``ranktable.json is valid``, after its warnings; ``alone``: without a cluster file."""
    good = Text(f"{name} is valid", style.GOOD)
    if alone:
        good = Text.assemble(good, " by itself; its servers were compared with no cluster file")
    return style.lines(problems.render(warnings), good) if warnings else good


def sent(path: str, sha: str, nodes: Sequence[str]) -> str:
    """Return one line about a table that all nodes have."""
    return f"{path} is on {fold(nodes)}, with SHA-256 {sha} on each"


def to_json(table: dict[str, Any], warnings: Sequence[Problem], path: str | None, sha: str) -> dict[str, Any]:
    """``{"table": {…}, "problems": [warnings], "path", "sha256"}``; the last two where it was sent."""
    return {
        "table": table,
        "problems": [problems.to_json(problem) for problem in warnings],
        "path": path,
        "sha256": sha or None,
    }
