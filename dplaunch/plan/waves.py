"""Actions → waves of group steps. Pure: the order of every change is decided here, and can be printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.model.plan import Action, Change, Plan
from dplaunch.model.step import Step, StepKind, Wave
from dplaunch.ranges import grouped

LEAVES = (Change.STOP, Change.RESTART)
COMES = (Change.START, Change.RESTART)
STAYS = (*COMES, Change.KEEP)
STEPS = (
    (StepKind.DRAIN, LEAVES),
    (StepKind.STOP, LEAVES),
    (StepKind.HOLD, COMES),
    (StepKind.PUT, COMES),
    (StepKind.START, COMES),
    (StepKind.AWAIT, STAYS),
    (StepKind.PROVE, STAYS),
    (StepKind.ADMIT, STAYS),
)
"""Every step in its order, and the changes of a group's processes that need it."""

_Groups = Mapping[str, Sequence[Action]]


def waves(actions: Iterable[Action], plan: Plan, *, group_by_group: bool = False) -> tuple[Wave, ...]:
    """The waves that carry out ``actions``, one after the other.

    A process that must start after others is in a later wave than they are. ``group_by_group``: a wave for
    each group, so that the rest serves meanwhile.
    """
    groups = grouped((action.group, action) for action in actions)
    if group_by_group:
        return tuple(Wave(tuple(_steps(name, members))) for name, members in groups.items())
    level = _levels(groups, plan)
    return tuple(
        Wave(tuple(s for name in groups if level[name] == number for s in _steps(name, groups[name])))
        for number in sorted(set(level.values()))
    )


def _steps(group: str, actions: Sequence[Action]) -> Iterator[Step]:
    for kind, changes in STEPS:
        places = tuple(action.place for action in actions if action.change in changes)
        if places:
            yield Step(kind, group, places)


def _levels(groups: _Groups, plan: Plan) -> dict[str, int]:
    """Group → how many waves come before its own."""
    after = {process.group: set[str]() for process in plan.processes}
    group_of = {process.name: process.group for process in plan.processes}
    for process in plan.processes:
        after[process.group] |= {group_of[name] for name in process.after} - {process.group}
    found = dict.fromkeys(groups, 0)
    for _ in groups:  # each round settles one level more
        for name in groups:
            before = [found[other] for other in after.get(name, ()) if other in found]
            found[name] = 1 + max(before) if before else 0
    return found
