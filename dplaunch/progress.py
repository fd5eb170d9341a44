"""Events → ``Progress``: a pure fold. No clock: time comes in the events.

A process never goes back: log lines are read again from the start by every new watcher, so a stage
below the one reached is an echo. Only a new start of the process begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from msgspec.structs import replace

from dplaunch.model import event as ev
from dplaunch.model.plan import Plan
from dplaunch.model.progress import UNDER_WAY, PhaseProgress, Progress, Step, UnitProgress


def begin(plan: Plan, only: Container[str] | None = None) -> Progress:
    """Everything of the plan waiting; ``only``: the processes this walk acts on."""
    chosen = [p for p in plan.processes if only is None or p.name in only]
    order = {"service": 1}
    chosen.sort(key=lambda process: order.get(process.kind, 0))
    return Progress(
        units={
            name: UnitProgress(name=name, process=process.name, role=process.role, node=process.node)
            for process in chosen
            for name in process.units
        }
    )


def apply(progress: Progress, event: ev.Event) -> Progress:
    """The progress after one more event; an event about an unknown process only moves the time."""
    rule = _RULES.get(type(event))
    changes = rule(progress, event) if rule else {}
    began = event.at if progress.began is None else progress.began
    return replace(progress, **{"began": began, "at": max(progress.at, event.at), **changes})


_Changes = dict[str, Any]


def _phase_began(progress: Progress, event: ev.PhaseBegan) -> _Changes:
    phase = PhaseProgress(name=event.phase, began=event.at, detail=event.detail)
    return {"phases": (*progress.phases, phase), "surveyed": {}, "draining": {}}


def _phase_ended(progress: Progress, event: ev.PhaseEnded) -> _Changes:
    phases = list(progress.phases)
    for place in range(len(phases) - 1, -1, -1):
        if phases[place].name == event.phase and phases[place].seconds is None:
            detail = event.detail or phases[place].detail
            phases[place] = replace(phases[place], seconds=event.seconds, detail=detail)
            break
    return {"phases": tuple(phases)}


def _node_failed(progress: Progress, event: ev.NodeFailed) -> _Changes:
    return {"lost": (*progress.lost, event)}


def _surveyed(progress: Progress, event: ev.Surveyed) -> _Changes:
    return {"surveyed": {**progress.surveyed, event.node: (event.done, event.count)}}


def _draining(_: Progress, event: ev.Draining) -> _Changes:
    return {"draining": event.requests}


def _started(progress: Progress, event: ev.Started) -> _Changes:
    return _move(
        progress,
        event.process,
        step=Step.STARTING,
        since=event.at,
        stage="",
        index=0,
        count=0,
        fraction=0.0,
        done=0.0,
    )


def _milestone(progress: Progress, event: ev.Milestone) -> _Changes:
    def further(old: UnitProgress) -> dict[str, Any]:
        if old.step not in UNDER_WAY or (event.index, event.fraction) < (old.index, old.fraction):
            return {}
        same = old.step is Step.LOADING and old.index == event.index and old.stage == event.stage
        return {
            "step": Step.LOADING,
            "since": old.since if same else event.at,
            "stage": event.stage,
            "index": event.index,
            "count": event.count,
            "fraction": event.fraction,
            "done": min(1.0, (event.index + event.fraction) / max(1, event.count)),
        }

    return _change(progress, event.process, further)


def _ready(progress: Progress, event: ev.BecameReady) -> _Changes:
    over = (Step.FAILED, Step.PROVED)
    return _move(progress, event.process, unless=over, step=Step.READY, since=event.at, done=1.0)


def _proved(progress: Progress, event: ev.Proved) -> _Changes:
    return _move(progress, event.process, step=Step.PROVED, since=event.at, done=1.0)


def _failed(progress: Progress, event: ev.Failed) -> _Changes:
    failures = (*progress.failures, event)
    return {"failures": failures, **_move(progress, event.process, step=Step.FAILED, since=event.at)}


def _stopped(progress: Progress, event: ev.Stopped) -> _Changes:
    # swept after a failure: the failure is the news
    return _move(progress, event.process, unless=(Step.FAILED,), step=Step.STOPPED, since=event.at, done=0.0)


def _move(progress: Progress, name: str, unless: Container[Step] = (), **changes: Any) -> _Changes:
    return _change(progress, name, lambda old: {} if old.step in unless else changes)


def _change(progress: Progress, name: str, changes: Callable[[UnitProgress], dict[str, Any]]) -> _Changes:
    """Apply ``changes`` to the unit of that name, else to all of the process of that name."""
    changed = {unit.name: replace(unit, **found) for unit in progress.of(name) if (found := changes(unit))}
    return {"units": {**progress.units, **changed}} if changed else {}


_RULES: dict[type[ev.Event], Callable[[Progress, Any], _Changes]] = {
    ev.PhaseBegan: _phase_began,
    ev.PhaseEnded: _phase_ended,
    ev.NodeFailed: _node_failed,
    ev.Surveyed: _surveyed,
    ev.Draining: _draining,
    ev.Started: _started,
    ev.Milestone: _milestone,
    ev.BecameReady: _ready,
    ev.Proved: _proved,
    ev.Failed: _failed,
    ev.Stopped: _stopped,
}
