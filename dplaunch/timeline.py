"""Log lines of many starts → where the time went. Pure: what nodes told comes in, values go out.

The lines themselves carry the time (facts §8.1): ``09-24 20:59:57`` of the node's zone, without year and
zone, or ``2026-04-25 10:01:17.340``. A line without one gets none. An engine's lines are compared with
each other and with the start of its own process only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from dplaunch.model.plan import Stage
from dplaunch.model.timeline import GroupPath, Span, StageTimes, StartLog, StartUp, Timeline, Wait, Walk
from dplaunch.ranges import grouped
from dplaunch.stamp import stamp

IMPORTS = "imports"
"""The stage before the first line: the process begins, Python imports the engine."""
EARLIER = 10
"""Earlier starts to compare with."""
_ZONE = 900.0
"""Seconds: zones differ by whole quarters of an hour."""
_STEP_BACK = 2.0
"""Seconds by which lines of an engine's several processes may stand in the wrong order."""


def analyse(
    starts: Sequence[StartLog],
    before: Sequence[StartLog],
    stages: Sequence[Stage],
    walked: Walk | None = None,
) -> StartUp:
    """This start of some engines, beside the run before of the same ones."""
    near = max((log.started_at or 0.0 for log in starts), default=0.0)
    now, earlier = _read(starts, stages, near), _read(before, stages, near)
    timelines = tuple(map(_timeline, now))
    past = tuple(map(_timeline, earlier))
    names = [IMPORTS, *(stage.name for stage in stages)]
    fine = {mark.fine for reading in now for mark in reading.marks if mark.at is not None}
    resolution = 1.0 if False in fine else 0.001 if fine else 0.0
    groups = _groups(timelines, names, resolution)
    untimed = {mark.stage for reading in now for mark in reading.marks if mark.at is None}
    return StartUp(
        timelines=timelines,
        stages=tuple(_stage_times(timelines, past, names)),
        groups=tuple(sorted(groups, key=lambda group: (-group.lost, -group.seconds))),
        walk=walked,
        resolution=resolution,
        untimed=tuple(name for name in names if name in untimed),
    )


# --- one engine ---


@dataclass(frozen=True, slots=True)
class _Mark:
    """The first line of a stage. ``at``: epoch seconds if its zone were UTC; None: it carries no time."""

    stage: str
    at: float | None = None
    fine: bool = False
    """With parts of a second."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A log's marks, and the start of its process on the clock of its lines."""

    log: StartLog
    marks: tuple[_Mark, ...]
    zero: float | None


def _read(logs: Sequence[StartLog], stages: Sequence[Stage], near: float) -> list[_Reading]:
    patterns = {stage.name: re.compile(stage.pattern) for stage in stages}
    marked = [(log, _marks(log, patterns, log.started_at or near)) for log in logs]
    zones: dict[str, float] = {}
    for log, marks in marked:
        zone = _zone(log, marks)
        if zone is not None:
            zones[log.node] = min(zone, zones.get(log.node, zone))
    return [_Reading(log, marks, _zero(log, marks, zones)) for log, marks in marked]


def _marks(log: StartLog, patterns: Mapping[str, re.Pattern[str]], near: float) -> tuple[_Mark, ...]:
    """The first line of each stage; a line of a stage below the one reached is an echo."""
    found: list[_Mark] = []
    ahead = list(patterns.items())
    for line in log.lines:
        place = next((n for n, (_, pattern) in enumerate(ahead) if pattern.search(line)), None)
        if place is not None:
            found.append(_mark(ahead[place][0], line, near))
            del ahead[: place + 1]
    return tuple(found)


def _mark(stage: str, line: str, near: float) -> _Mark:
    found = stamp(line)
    return _Mark(stage, found.epoch(near), found.fine) if found else _Mark(stage)


def _zone(log: StartLog, marks: Sequence[_Mark]) -> float | None:
    """By how much the node's local time is ahead of UTC: its first line comes within a quarter of an hour."""
    first = _first(marks)
    if first is None or log.started_at is None:
        return None
    return (first - log.started_at + 1.0) // _ZONE * _ZONE  # a whole second may lie before the start


def _zero(log: StartLog, marks: Sequence[_Mark], zones: Mapping[str, float]) -> float | None:
    return _first(marks) if log.started_at is None else log.started_at + zones.get(log.node, 0.0)


def _first(marks: Sequence[_Mark]) -> float | None:
    return next((mark.at for mark in marks if mark.at is not None), None)


def _timeline(reading: _Reading) -> Timeline:
    log, zero = reading.log, reading.zero
    begins, problem = _begins(reading.marks, zero or 0.0)
    named = [(mark.stage, begin) for mark, begin in zip(reading.marks, begins, strict=True)]
    timed = [begin for begin in begins if begin is not None]
    if log.started_at is not None and timed:
        named.insert(0, (IMPORTS, 0.0))
    return Timeline(
        process=log.process,
        role=log.role,
        group=log.group,
        node=log.node,
        spans=tuple(_spans(named)),
        total=timed[-1] if timed else None,
        problem=_problem(log, timed, problem),
    )


def _begins(marks: Sequence[_Mark], zero: float) -> tuple[list[float | None], str]:
    """Seconds after ``zero``, never going back; and what is wrong with them."""
    last, problem = 0.0, ""
    begins: list[float | None] = []
    for mark in marks:
        if mark.at is None:
            begins.append(None)
            continue
        at = mark.at - zero
        if at < last - _STEP_BACK:
            problem = f"the clock of its lines went back by {last - at:.0f} s at `{mark.stage}`"
        last = max(last, at)
        begins.append(last)
    return begins, problem


def _spans(named: Sequence[tuple[str, float | None]]) -> Iterable[Span]:
    for place, (stage, begin) in enumerate(named):
        following = next((later for _, later in named[place + 1 :] if later is not None), None)
        seconds = None if begin is None or following is None else following - begin
        yield Span(stage=stage, begin=begin, seconds=seconds)


def _problem(log: StartLog, timed: Sequence[float], problem: str) -> str:
    if log.lost:
        return "the log of its start was dropped, it grew too long"
    if not log.lines:
        return "no line of its start was found in its log"
    return problem if timed else "none of its lines carries a time"


# --- many engines ---


def _taken(timelines: Iterable[Timeline], stage: str) -> list[tuple[float, Timeline]]:
    """What the stage took, per engine that came to its end."""
    return [
        (span.seconds, timeline)
        for timeline in timelines
        for span in timeline.spans
        if span.stage == stage and span.seconds is not None
    ]


def _stage_times(
    now: Sequence[Timeline], before: Sequence[Timeline], names: Sequence[str]
) -> Iterable[StageTimes]:
    past = grouped((timeline.role, timeline) for timeline in before)
    for role, members in grouped((timeline.role, timeline) for timeline in now).items():
        for stage in names:
            taken = _taken(members, stage)
            if not taken:
                continue
            slowest, timeline = max(taken, key=lambda one: one[0])
            earlier = [seconds for seconds, _ in _taken(past.get(role, []), stage)]
            yield StageTimes(
                role=role,
                stage=stage,
                engines=len(taken),
                median=median(seconds for seconds, _ in taken),
                slowest=slowest,
                engine=timeline.process,
                node=timeline.node,
                before=median(earlier) if earlier else None,
            )


def _groups(timelines: Sequence[Timeline], names: Sequence[str], resolution: float) -> Iterable[GroupPath]:
    for group, members in grouped((timeline.group, timeline) for timeline in timelines).items():
        totals = [member.total for member in members if member.total is not None]
        if len(totals) > 1:
            waits = (_wait(members, stage, resolution) for stage in names)
            yield GroupPath(
                group=group,
                engines=len(members),
                seconds=max(totals),
                waits=tuple(wait for wait in waits if wait is not None),
            )


def _wait(members: Sequence[Timeline], stage: str, resolution: float) -> Wait | None:
    """Who came to its end last, and by how much it fell behind in this stage, as far as the lines can tell.

    Where engines meet they leave together: who was late is not behind any more, and is not counted twice.
    """
    there = [
        (span.begin, span.begin + span.seconds, member)
        for member in members
        for span in member.spans
        if span.stage == stage and span.begin is not None and span.seconds is not None
    ]
    if len(there) < 2:  # noqa: PLR2004 - nobody waits for one alone
        return None
    last = max(there, key=lambda one: one[1])[2]
    lost = _behind([end for _, end, _ in there]) - _behind([begin for begin, _, _ in there])
    return Wait(
        stage=stage,
        engine=last.process,
        node=last.node,
        lost=lost if lost >= resolution and lost > 0 else 0.0,
    )


def _behind(times: Sequence[float]) -> float:
    return max(times) - median(times)


# --- earlier starts ---


def walk(entries: Iterable[Mapping[str, Any]]) -> Walk | None:
    """The last start in an audit trail (oldest first) beside earlier ones; None while it has not ended."""
    starts = [entry for entry in entries if entry.get("verb") in ("up", "restart")]
    known = [entry for entry in starts if entry.get("outcome") != "proved"]  # which started nothing
    if not known or not _phases(known[-1]):
        return None
    this, phases = known[-1], _phases(known[-1])
    alike = [entry for entry in known[:-1] if _alike(entry, this) and _phases(entry)]
    earlier = tuple(_phases(entry) for entry in alike[-EARLIER:])
    return Walk(
        verb=str(this["verb"]),
        started=int(this.get("started") or 0),
        phases=phases,
        earlier=earlier,
        usual={name: median(one.get(name, 0.0) for one in earlier) for name in phases} if earlier else {},
        usual_total=median(sum(one.values()) for one in earlier) if earlier else None,
    )


def _alike(entry: Mapping[str, Any], this: Mapping[str, Any]) -> bool:
    return all(entry.get(key) == this.get(key) for key in ("verb", "started"))


def _phases(entry: Mapping[str, Any]) -> dict[str, float]:
    """Phase → seconds; none where the entry is another's, or older than this field."""
    phases = entry.get("phases")
    if not isinstance(phases, Mapping) or entry.get("outcome") != "ready":
        return {}
    return {str(name): float(value) for name, value in phases.items() if isinstance(value, int | float)}
