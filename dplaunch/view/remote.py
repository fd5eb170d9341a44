"""What a command printed on many nodes: equal results once, the rarest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins
from rich.text import Text

from dplaunch.model.remote import ExecResult
from dplaunch.ranges import fold, grouped
from dplaunch.view import style


def render(results: Sequence[ExecResult]) -> Text:
    """A block per distinct result, headed by its nodes: failures first, then the rarer results."""
    kinds = grouped(((result.code, result.out, result.err, _reason(result)), result) for result in results)
    ordered = sorted(kinds.values(), key=lambda same: (same[0].code == 0, len(same)))
    return style.lines(*(line for same in ordered for line in _block(same)))


def to_json(results: Sequence[ExecResult]) -> dict[str, Any]:
    """``{"results": [{node, code, out, err, problem}]}``."""
    return {"results": [{**to_builtins(result), "problem": result.problem or None} for result in results]}


def _block(same: Sequence[ExecResult]) -> list[Text]:
    first = same[0]
    many = f" ({len(same)})" if len(same) > 1 else ""
    verdict = _reason(first) or (f"exit code {first.code}" if first.code else "")
    head = Text.assemble((fold(result.node for result in same), style.HEAD), many, ":")
    if verdict:
        head.append(f" {verdict}", style.BAD)
    body = [Text(f"  {style.plain(line)}") for line in _rows(first.out)]
    return [head, *body, *(Text(f"  {style.plain(line)}", style.WARN) for line in _rows(first.err))]


def _reason(result: ExecResult) -> str:
    """Why it did not run, without the node's name, so that equal reasons fold."""
    reason = style.plain(result.problem).removeprefix(f"{result.node}: ")
    return re.sub(rf"(?<![\w.-]){re.escape(result.node)}(?![\w.-])", "the node", reason)


def _rows(text: str) -> list[str]:
    return text.rstrip("\n").split("\n") if text else []
