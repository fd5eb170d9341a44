"""What ``up`` is about to change: one line per kind of change, reason and role, many processes folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.plan import Action, Change
from dplaunch.ranges import fold
from dplaunch.view import style
from dplaunch.view.sheet import sheet
from dplaunch.words import plural

_COLOUR = {
    Change.START: style.GOOD,
    Change.STOP: style.BAD,
    Change.RESTART: style.ODD,
    Change.KEEP: style.DIM,
}
_ORDER = (Change.STOP, Change.RESTART, Change.START, Change.KEEP)


def drawn(actions: Sequence[Action]) -> RenderableType:
    """The table and a sentence of sums; only a sentence when nothing is to do."""
    if all(action.change is Change.KEEP for action in actions):
        return Text(_unchanged(len(actions)), style.GOOD)
    table = sheet(("", "CHANGE", "PROCESSES", "NODES", "WHY"), _rows(actions), flex=("PROCESSES", "NODES"))
    return Group(table, Text(""), Text(_sums(actions)))


def to_json(actions: Sequence[Action]) -> dict[str, Any]:
    """``{"actions": [{change, process, node, reason}], "counts": {start, stop, restart, keep}}``."""
    listed = [
        {"change": a.change.name.lower(), "process": a.process, "node": a.node, "reason": a.reason}
        for a in actions
    ]
    counts = {change.name.lower(): sum(a.change is change for a in actions) for change in Change}
    return {"actions": listed, "counts": counts}


def _rows(actions: Sequence[Action]) -> list[tuple[Text | str, ...]]:
    found: dict[tuple[int, str, str], list[Action]] = {}
    for action in actions:
        family = action.process.rstrip("0123456789")
        found.setdefault((_ORDER.index(action.change), family, action.reason), []).append(action)
    return [
        (
            Text(alike[0].change.value, _COLOUR[alike[0].change]),
            Text(alike[0].change.name.lower(), _COLOUR[alike[0].change]),
            fold(action.process for action in alike),
            fold(action.node for action in alike),
            alike[0].reason,
        )
        for _, alike in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _sums(actions: Sequence[Action]) -> str:
    said = {
        Change.STOP: "to stop",
        Change.RESTART: "to restart",
        Change.START: "to start",
        Change.KEEP: "unchanged",
    }
    counts = [(sum(action.change is change for action in actions), said[change]) for change in _ORDER]
    return ", ".join(f"{count} {words}" for count, words in counts if count)


def _unchanged(count: int) -> str:
    if not count:
        return "nothing to do: the plan is empty and nothing runs"
    verb = "runs" if count == 1 else "run"
    return f"nothing to do: {plural(count, 'process')} {verb} as the file says"
