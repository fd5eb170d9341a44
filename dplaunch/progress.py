"""Events → ``Progress``: a pure fold. No clock: time comes in the events.

A process never goes back: log lines are read again from the start by every new watcher, so a stage
below the one reached is an echo. Only a new start of the process begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any

from dplaunch.model import event as ev
from dplaunch.model.plan import Plan
from dplaunch.model.progress import UNDER_WAY, PhaseProgress, ProcessProgress, Progress, Step


def begin(plan: Plan, only: Container[str] | None = None) -> Progress:
    """Every process of the plan waiting; ``only``: the names this walk acts on."""
    chosen = [p for p in plan.processes if only is None or p.name in only]
    order = {"service": 1}
    chosen.sort(key=lambda process: order.get(process.kind, 0))
    return Progress(
        processes={p.name: ProcessProgress(name=p.name, role=p.role, node=p.node) for p in chosen}
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
    return {"phases": (*progress.phases, phase), "surveyed": {}}


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


def _started(progress: Progress, event: ev.Started) -> _Changes:
    fresh = {"stage": "", "index": 0, "count": 0, "fraction": 0.0, "done": 0.0}
    return _move(progress, event.process, step=Step.STARTING, since=event.at, **fresh)


def _milestone(progress: Progress, event: ev.Milestone) -> _Changes:
    old = progress.processes.get(event.process)
    if old is None or old.step not in UNDER_WAY or (event.index, event.fraction) < (old.index, old.fraction):
        return {}
    same = old.step is Step.LOADING and old.index == event.index and old.stage == event.stage
    return _move(
        progress,
        event.process,
        step=Step.LOADING,
        since=old.since if same else event.at,
        stage=event.stage,
        index=event.index,
        count=event.count,
        fraction=event.fraction,
        done=min(1.0, (event.index + event.fraction) / max(1, event.count)),
    )


def _ready(progress: Progress, event: ev.Ready) -> _Changes:
    old = progress.processes.get(event.process)
    if old is not None and old.step in (Step.FAILED, Step.PROVED):
        return {}
    return _move(progress, event.process, step=Step.READY, since=event.at, done=1.0)


def _proved(progress: Progress, event: ev.Proved) -> _Changes:
    return _move(progress, event.process, step=Step.PROVED, since=event.at, done=1.0)


def _failed(progress: Progress, event: ev.Failed) -> _Changes:
    failures = (*progress.failures, event)
    return {"failures": failures, **_move(progress, event.process, step=Step.FAILED, since=event.at)}


def _stopped(progress: Progress, event: ev.Stopped) -> _Changes:
    old = progress.processes.get(event.process)
    if old is not None and old.step is Step.FAILED:  # swept after a failure: the failure is the news
        return {}
    return _move(progress, event.process, step=Step.STOPPED, since=event.at, done=0.0)


def _move(progress: Progress, name: str, **changes: Any) -> _Changes:
    old = progress.processes.get(name)
    return {} if old is None else {"processes": {**progress.processes, name: replace(old, **changes)}}


_RULES: dict[type[ev.Event], Callable[[Progress, Any], _Changes]] = {
    ev.PhaseBegan: _phase_began,
    ev.PhaseEnded: _phase_ended,
    ev.NodeFailed: _node_failed,
    ev.Surveyed: _surveyed,
    ev.Started: _started,
    ev.Milestone: _milestone,
    ev.Ready: _ready,
    ev.Proved: _proved,
    ev.Failed: _failed,
    ev.Stopped: _stopped,
}
