"""What ``up`` is about to change: one line per kind of change, reason and role, many processes folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.plan import Action, Change
from dplaunch.model.step import Wave
from dplaunch.ranges import fold, grouped
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


def drawn(actions: Sequence[Action], waves: Sequence[Wave] = ()) -> RenderableType:
    """The table, the steps of ``waves`` and a sentence of sums; only that when nothing is to do."""
    if all(action.change is Change.KEEP for action in actions):
        return Text(_unchanged(len(actions)), style.GOOD)
    table = sheet(("", "CHANGE", "PROCESSES", "NODES", "WHY"), _rows(actions), flex=("PROCESSES", "NODES"))
    steps = [Text(line) for line in _steps(waves)]
    return Group(table, Text(""), *steps, *([Text("")] if steps else []), Text(_sums(actions)))


def to_json(actions: Sequence[Action], waves: Sequence[Wave] = ()) -> dict[str, Any]:
    """``{actions: [{change, process, node, reason}], counts, waves: [[{step, group, processes}]]}``."""
    listed = [
        {"change": a.change.name.lower(), "process": a.process, "node": a.node, "reason": a.reason}
        for a in actions
    ]
    counts = {change.name.lower(): sum(a.change is change for a in actions) for change in Change}
    steps = [
        [
            {"step": s.kind.value, "group": s.group, "processes": [name for _, name in s.places]}
            for s in wave.steps
        ]
        for wave in waves
    ]
    return {"actions": listed, "counts": counts, "waves": steps}


def _steps(waves: Sequence[Wave]) -> Iterator[str]:
    """``wave 1: drain, stop, put, start: decode/0``: groups with equal steps together."""
    for number, wave in enumerate(waves, 1):
        steps = {g: tuple(s.kind.value for s in wave.steps if s.group == g) for g in wave.groups}
        for kinds, groups in grouped((kinds, group) for group, kinds in steps.items()).items():
            yield f"wave {number}: {', '.join(kinds)}: {fold(groups)}"


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
