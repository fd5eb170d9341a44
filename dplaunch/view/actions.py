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
from dplaunch.view.table import tabulate
from dplaunch.words import plural

_COLOUR = {
    Change.START: style.GOOD,
    Change.STOP: style.BAD,
    Change.RESTART: style.WARN,
    Change.KEEP: style.DIM,
}
_ORDER = (Change.STOP, Change.RESTART, Change.START, Change.KEEP)


def render(actions: Sequence[Action], waves: Sequence[Wave] = ()) -> RenderableType:
    """The table of changes, the steps of ``waves`` and the counts; one sentence when nothing changes."""
    if all(action.change is Change.KEEP for action in actions):
        return Text(_unchanged(len(actions)), style.GOOD)
    table = tabulate(("", "CHANGE", "PROCESSES", "NODES", "WHY"), _rows(actions), flex=("PROCESSES", "NODES"))
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
    kinds = grouped(((a.change, a.process.rstrip("0123456789"), a.reason), a) for a in actions)
    return [
        (
            Text(change.value, _COLOUR[change]),
            Text(change.name.lower(), _COLOUR[change]),
            fold(action.process for action in same),
            fold(action.node for action in same),
            reason,
        )
        for (change, _, reason), same in sorted(kinds.items(), key=lambda item: _ORDER.index(item[0][0]))
    ]


def _sums(actions: Sequence[Action]) -> str:
    words = {
        Change.STOP: "to stop",
        Change.RESTART: "to restart",
        Change.START: "to start",
        Change.KEEP: "unchanged",
    }
    counts = [(sum(action.change is change for action in actions), words[change]) for change in _ORDER]
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _unchanged(count: int) -> str:
    if not count:
        return "nothing to do: the plan is empty and nothing runs"
    verb = "runs" if count == 1 else "run"
    return f"nothing to do: {plural(count, 'process')} already {verb} as planned"
