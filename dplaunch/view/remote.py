"""What a command said on many nodes: equal answers once, the odd ones first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from dplaunch.model.remote import ExecResult
from dplaunch.ranges import fold
from dplaunch.view import style


def drawn(results: Sequence[ExecResult]) -> Text:
    """A block per distinct answer, headed by its nodes: failures first, then the rarer answers."""
    kinds: dict[tuple[object, ...], list[ExecResult]] = {}
    for result in results:
        kinds.setdefault((result.code, result.out, result.err, _reason(result)), []).append(result)
    ordered = sorted(kinds.values(), key=lambda alike: (alike[0].code == 0, len(alike)))
    return style.lines(*(line for alike in ordered for line in _block(alike)))


def to_json(results: Sequence[ExecResult]) -> dict[str, Any]:
    """``{"results": [{node, code, out, err, problem}]}``."""
    return {
        "results": [
            {"node": r.node, "code": r.code, "out": r.out, "err": r.err, "problem": r.problem or None}
            for r in results
        ]
    }


def _block(alike: Sequence[ExecResult]) -> list[Text]:
    first = alike[0]
    many = f" ({len(alike)})" if len(alike) > 1 else ""
    verdict = _reason(first) or (f"exit code {first.code}" if first.code else "")
    head = Text.assemble((fold(result.node for result in alike), style.HEAD), many, ":")
    if verdict:
        head.append(f" {verdict}", style.BAD)
    body = [Text(f"  {style.plain(line)}") for line in _rows(first.out)]
    return [head, *body, *(Text(f"  {style.plain(line)}", style.ODD) for line in _rows(first.err))]


def _reason(result: ExecResult) -> str:
    """Why it never ran, without the node's own name, so that equal reasons fold."""
    said = style.plain(result.problem).removeprefix(f"{result.node}: ")
    return re.sub(rf"(?<![\w.-]){re.escape(result.node)}(?![\w.-])", "the node", said)


def _rows(text: str) -> list[str]:
    return text.rstrip("\n").split("\n") if text else []
