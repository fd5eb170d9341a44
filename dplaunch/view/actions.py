"""What ``up`` is about to change: one line per kind of change, reason and role, many processes folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import to_builtins
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.container import Preparation
from dplaunch.model.difference import Difference
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


_LONGEST = 12
"""Lines of one file: a new version of the router changes hundreds."""


def render(
    actions: Sequence[Action],
    waves: Sequence[Wave] = (),
    differences: Sequence[Difference] = (),
    preparation: Preparation | None = None,
) -> RenderableType:
    """The table of changes, what differs, containers, the steps and the counts; or that nothing changes."""
    if all(action.change is Change.KEEP for action in actions):
        return Text(_unchanged(len(actions)), style.GOOD)
    table = tabulate(("", "CHANGE", "PROCESSES", "NODES", "WHY"), _rows(actions), flex=("PROCESSES", "NODES"))
    steps = [Text(line) for line in _steps(waves)]
    parts: list[RenderableType] = [table, Text("")]
    boxes = [Text(line) for line in _preparation(preparation)] if preparation else []
    for lines in (render_differences(differences), boxes, steps):
        parts += [*lines, Text("")] if lines else []
    return Group(*parts, Text(_sums(actions)))


def render_differences(differences: Sequence[Difference]) -> list[Text]:
    """Each file and command line that differs from what runs, with its lines or words."""
    lines: list[Text] = []
    for one in differences:
        where = f"arguments of {fold(one.processes)}" if one.processes else one.path
        lines.append(Text.assemble((where, style.HEAD), f" on {fold(one.nodes)}"))
        for sign, colour, changed in (("-", style.BAD, one.removed), ("+", style.GOOD, one.added)):
            lines += [Text(f"  {sign} {style.plain(line)}", colour) for line in changed[:_LONGEST]]
            if len(changed) > _LONGEST:
                lines.append(Text(f"  {sign} {plural(len(changed) - _LONGEST, 'more line')}", style.DIM))
    return lines


def to_json(
    actions: Sequence[Action],
    waves: Sequence[Wave] = (),
    differences: Sequence[Difference] = (),
    preparation: Preparation | None = None,
) -> dict[str, Any]:
    """``{actions, counts, waves, differences, containers}``; ``containers``: what is done → nodes.

    An action is ``{change, process, node, reason}``, a wave a list of ``{step, group, processes}``, a
    difference ``{nodes, path, processes, removed, added}``.
    """
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
    found = [to_builtins(one) for one in differences]
    boxes = to_builtins(preparation or Preparation())
    return {"actions": listed, "counts": counts, "waves": steps, "differences": found, "containers": boxes}


def _preparation(preparation: Preparation) -> Iterator[str]:
    """``image: pulled on n[1-2]``, ``container: started on n[1-2]``."""
    for what, nodes in (
        ("image: pulled on", preparation.pulled),
        ("image: loaded from the archive on", preparation.loaded),
        ("image: copied from another node to", preparation.copied),
        ("container: started on", preparation.started),
        ("container: removed and started again on", preparation.replaced),
    ):
        if nodes:
            yield f"{what} {fold(nodes)}"


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
