"""What ``up`` will do: the plan compared with what the nodes report. Pure: no host is contacted."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import Action, Change, Place, Plan, Process


def diff(
    plan: Plan, observed: Observed, *, only: str | None = None, force: bool = False
) -> tuple[Action, ...]:
    """One action per process, stops first, then the plan's order.

    ``only``: a role, a group or a process; others are left alone, and not listed. ``force`` restarts what
    would be kept. A DP group lives and dies together: when one of its engines has to start, all that run
    restart. Nothing is decided about nodes that were not reached, nor about what guards of another protocol
    started.
    """
    running = {p.place: p for p in observed.processes}
    groups = {p.group for p in plan.processes if _meant(p, only)}
    wanted = [p for p in plan.processes if p.node not in observed.unreached and p.group in groups]
    first = {p.place: _action(p, running.get(p.place), force=force) for p in wanted}
    planned = {p.place for p in plan.processes}
    return (*_leftovers(observed, planned, only), *_widened(plan, wanted, first))


def _meant(process: Process | ObservedProcess, only: str | None) -> bool:
    return only is None or only in (process.name, process.role, process.group)


def _leftovers(observed: Observed, planned: set[Place], only: str | None) -> Iterator[Action]:
    for process in observed.processes:
        ours = process.alive and process.state is not State.INCOMPATIBLE
        if ours and process.place not in planned and _meant(process, only):
            yield Action(Change.STOP, process.name, process.node, "not in the file", process.group)


def _action(process: Process, running: ObservedProcess | None, *, force: bool) -> Action:
    change, reason = _decide(process, running, force=force)
    return Action(change, process.name, process.node, reason, process.group)


def _decide(process: Process, running: ObservedProcess | None, *, force: bool) -> tuple[Change, str]:
    if running is None or running.state is State.FOREIGN:
        return Change.START, "new"
    if running.state in (State.EXITED, State.STOPPED):
        change = Change.RESTART if running.left else Change.START
        return change, "died" if running.state is State.EXITED else "was stopped"
    if running.state is State.STOPPING:
        return Change.RESTART, "is stopping"
    if running.state is State.INCOMPATIBLE:
        return Change.KEEP, "started by another version of dplaunch"
    if running.fingerprint != process.fingerprint:
        return Change.RESTART, "changed"
    return (Change.RESTART, "forced") if force else (Change.KEEP, "")


def _widened(plan: Plan, wanted: list[Process], first: dict[Place, Action]) -> Iterator[Action]:
    """Engines that could stay go with their group when one of it has to start; a reason to stay wins.

    All go with the job that deploys them.
    """
    moving = {p.group: p.name for p in reversed(wanted) if first[p.place].change is not Change.KEEP}
    deployed = plan.deployment.process if plan.deployment else ""
    for process in wanted:
        action = first[process.place]
        cause = moving.get(process.group) or (deployed if deployed in moving.values() else None)
        if cause is not None and action.change is Change.KEEP and not action.reason:
            whose = "it" if cause == deployed else "its group"
            action = replace(action, change=Change.RESTART, reason=f"{whose} restarts with {cause}")
        yield action
