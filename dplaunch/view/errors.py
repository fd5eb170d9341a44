"""An error: one sentence, what to do next, and the lines worth seeing."""

from __future__ import annotations

import re
from typing import Any

from rich.text import Text

from dplaunch.errors import DplaunchError, HostError, SpecError
from dplaunch.view import problems, style


def render(error: DplaunchError, width: int = 10_000, *, brief: bool = False) -> Text:
    """``error: …``, the detail lines (not when ``brief``: they were printed before), ``hint: …``."""
    if isinstance(error, SpecError):
        return problems.render(error.problems, width)
    parts = [Text.assemble(("error: ", style.BAD), _node(error), style.plain(error.text))]
    parts += [Text.assemble(("  | ", style.DIM), style.plain(line)) for line in error.detail if not brief]
    if error.hint:
        parts.append(Text.assemble(("hint: ", style.NAME), style.plain(error.hint)))
    return style.lines(*parts)


def to_json(error: DplaunchError) -> dict[str, Any]:
    """``{"error": {kind, text, hint, node, exit_code, detail}}``; a SpecError has ``problems`` too."""
    body: dict[str, Any] = {
        "kind": _kind(error),
        "text": error.text,
        "hint": error.hint,
        "node": error.node if isinstance(error, HostError) else None,
        "exit_code": int(error.exit_code),
        "detail": list(error.detail),
    }
    if isinstance(error, SpecError):
        body["problems"] = [problems.to_json(problem) for problem in error.problems]
    return {"error": body}


def _kind(error: DplaunchError) -> str:
    """``SpecError`` → ``spec``, ``NotReadyError`` → ``not-ready``."""
    name = type(error).__name__.removesuffix("Error")
    return "failed" if name == "Dplaunch" else re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _node(error: DplaunchError) -> str:
    """``n3: `` where the sentence does not name the node itself."""
    if not isinstance(error, HostError) or re.search(rf"(?<!\w){re.escape(error.node)}(?!\w)", error.text):
        return ""
    return f"{error.node}: "
