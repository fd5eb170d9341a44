"""Where the time of many starts went, from their log lines. Pure.

vLLM's lines carry their time: ``09-24 20:59:57`` (local time, without year and zone) or, newer,
``2026-04-25 10:01:17.340``. A line without a time gets none. An engine's lines are compared only with each
other and with the start of its own process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from msgspec import Struct

from dplaunch.model.plan import Stage
from dplaunch.model.timeline import GroupPath, PhaseTimes, Span, StageTimes, StartLog, StartUp, Timeline, Wait
from dplaunch.model.trail import Entry, Result
from dplaunch.ranges import grouped
from dplaunch.stamp import parse_stamp

IMPORTS = "imports"
"""The stage before the first line: Python starts and imports the engine."""
EARLIER = 10
"""Number of earlier starts to compare with."""
_ZONE = 900.0
"""Seconds: time zones differ by whole quarters of an hour."""
_STEP_BACK = 2.0
"""Seconds: lines of an engine's several processes may be out of order by so much."""


def analyse(
    starts: Sequence[StartLog],
    before: Sequence[StartLog],
    stages: Sequence[Stage],
    phase_times: PhaseTimes | None = None,
) -> StartUp:
    """Return where the time of a start went, beside the run before of the same engines.

    ``stages``: the engine's start-up stages, in order.
    """
    near = max((log.started_at or 0.0 for log in starts), default=0.0)
    now, earlier = _read(starts, stages, near), _read(before, stages, near)
    timelines = tuple(map(_time_engine, now))
    past = tuple(map(_time_engine, earlier))
    names = [IMPORTS, *(stage.name for stage in stages)]
    fine = {mark.fine for reading in now for mark in reading.marks if mark.at is not None}
    resolution = 1.0 if False in fine else 0.001 if fine else 0.0
    groups = _time_groups(timelines, names, resolution)
    untimed = {mark.stage for reading in now for mark in reading.marks if mark.at is None}
    return StartUp(
        timelines=timelines,
        stages=tuple(_time_stages(timelines, past, names)),
        groups=tuple(sorted(groups, key=lambda group: (-group.lost, -group.seconds))),
        phase_times=phase_times,
        resolution=resolution,
        untimed=tuple(name for name in names if name in untimed),
    )


# --- one engine ---


class _Mark(Struct, frozen=True):
    """The first line of a stage. ``at``: epoch seconds as if its zone were UTC; None: it has no time."""

    stage: str
    at: float | None = None
    fine: bool = False
    """Its time has fractions of a second."""


class _Reading(Struct, frozen=True):
    """The marks of a log, and the start of its process by the clock of its lines."""

    log: StartLog
    marks: tuple[_Mark, ...]
    zero: float | None


def _read(logs: Sequence[StartLog], stages: Sequence[Stage], near: float) -> list[_Reading]:
    patterns = {stage.name: re.compile(stage.pattern) for stage in stages}
    marked = [(log, _find_marks(log, patterns, log.started_at or near)) for log in logs]
    zones: dict[str, float] = {}
    for log, marks in marked:
        zone = _find_zone(log, marks)
        if zone is not None:
            zones[log.node] = min(zone, zones.get(log.node, zone))
    return [_Reading(log, marks, _find_zero(log, marks, zones)) for log, marks in marked]


def _find_marks(log: StartLog, patterns: Mapping[str, re.Pattern[str]], near: float) -> tuple[_Mark, ...]:
    """Return the first line of each stage; later lines of a stage that is over are ignored."""
    found: list[_Mark] = []
    ahead = list(patterns.items())
    for line in log.lines:
        place = next((n for n, (_, pattern) in enumerate(ahead) if pattern.search(line)), None)
        if place is not None:
            stamp = parse_stamp(line)
            name = ahead[place][0]
            found.append(_Mark(name, stamp.epoch(near), stamp.fine) if stamp else _Mark(name))
            del ahead[: place + 1]
    return tuple(found)


def _find_zone(log: StartLog, marks: Sequence[_Mark]) -> float | None:
    """Return how far the node's local time is ahead of UTC: the first line comes within 15 minutes."""
    first = _first_time(marks)
    if first is None or log.started_at is None:
        return None
    return (first - log.started_at + 1.0) // _ZONE * _ZONE  # a whole second may lie before the start


def _find_zero(log: StartLog, marks: Sequence[_Mark], zones: Mapping[str, float]) -> float | None:
    """Return the start of the process by the clock of its lines."""
    return _first_time(marks) if log.started_at is None else log.started_at + zones.get(log.node, 0.0)


def _first_time(marks: Sequence[_Mark]) -> float | None:
    return next((mark.at for mark in marks if mark.at is not None), None)


def _time_engine(reading: _Reading) -> Timeline:
    log, zero = reading.log, reading.zero
    begins, problem = _find_begins(reading.marks, zero or 0.0)
    named = [(mark.stage, begin) for mark, begin in zip(reading.marks, begins, strict=True)]
    timed = [begin for begin in begins if begin is not None]
    if log.started_at is not None and timed:
        named.insert(0, (IMPORTS, 0.0))
    return Timeline(
        process=log.process,
        role=log.role,
        group=log.group,
        node=log.node,
        spans=tuple(_make_spans(named)),
        total=timed[-1] if timed else None,
        problem=_find_problem(log, timed) or problem,
    )


def _find_begins(marks: Sequence[_Mark], zero: float) -> tuple[list[float | None], str]:
    """Return when each stage began, in seconds after ``zero`` and never descending; and what is wrong."""
    last, problem = 0.0, ""
    begins: list[float | None] = []
    for mark in marks:
        if mark.at is None:
            begins.append(None)
            continue
        at = mark.at - zero
        if at < last - _STEP_BACK:
            problem = f"the times of its lines step back by {last - at:.0f} s at `{mark.stage}`"
        last = max(last, at)
        begins.append(last)
    return begins, problem


def _make_spans(named: Sequence[tuple[str, float | None]]) -> Iterable[Span]:
    for place, (stage, begin) in enumerate(named):
        following = next((later for _, later in named[place + 1 :] if later is not None), None)
        seconds = None if begin is None or following is None else following - begin
        yield Span(stage=stage, begin=begin, seconds=seconds)


def _find_problem(log: StartLog, timed: Sequence[float]) -> str:
    if log.lost:
        return "the beginning of its log has been dropped, because the log grew too long"
    if not log.lines:
        return "its log holds no line of a start-up stage"
    return "" if timed else "none of its lines carries a time"


# --- many engines ---


def _durations(timelines: Iterable[Timeline], stage: str) -> list[tuple[float, Timeline]]:
    """Return the seconds of a stage for each engine that has ended it."""
    return [
        (span.seconds, timeline)
        for timeline in timelines
        for span in timeline.spans
        if span.stage == stage and span.seconds is not None
    ]


def _time_stages(
    now: Sequence[Timeline], before: Sequence[Timeline], names: Sequence[str]
) -> Iterable[StageTimes]:
    past = grouped((timeline.role, timeline) for timeline in before)
    for role, members in grouped((timeline.role, timeline) for timeline in now).items():
        for stage in names:
            took = _durations(members, stage)
            if not took:
                continue
            slowest, timeline = max(took, key=lambda one: one[0])
            earlier = [seconds for seconds, _ in _durations(past.get(role, []), stage)]
            yield StageTimes(
                role=role,
                stage=stage,
                engines=len(took),
                median=median(seconds for seconds, _ in took),
                slowest=slowest,
                engine=timeline.process,
                node=timeline.node,
                before=median(earlier) if earlier else None,
            )


def _time_groups(
    timelines: Sequence[Timeline], names: Sequence[str], resolution: float
) -> Iterable[GroupPath]:
    for group, members in grouped((timeline.group, timeline) for timeline in timelines).items():
        totals = [member.total for member in members if member.total is not None]
        if len(totals) > 1:
            waits = (_find_wait(members, stage, resolution) for stage in names)
            yield GroupPath(
                group=group,
                engines=len(members),
                seconds=max(totals),
                waits=tuple(wait for wait in waits if wait is not None),
            )


def _find_wait(members: Sequence[Timeline], stage: str, resolution: float) -> Wait | None:
    """Return the engine that ended the stage last, and how far it fell behind the median one in it.

    Engines that meet in a stage leave it together, so that a delay is counted once, in the stage that caused
    it. Differences below ``resolution`` seconds count as none.
    """
    spans = [
        (span.begin, span.begin + span.seconds, member)
        for member in members
        for span in member.spans
        if span.stage == stage and span.begin is not None and span.seconds is not None
    ]
    if len(spans) < 2:  # noqa: PLR2004 - a single engine keeps no other waiting
        return None
    last = max(spans, key=lambda one: one[1])[2]
    lost = _lag([end for _, end, _ in spans]) - _lag([begin for begin, _, _ in spans])
    return Wait(
        stage=stage,
        engine=last.process,
        node=last.node,
        lost=lost if lost >= resolution and lost > 0 else 0.0,
    )


def _lag(times: Sequence[float]) -> float:
    """Return how far the last is behind the median."""
    return max(times) - median(times)


# --- earlier starts ---


def compare_phases(entries: Iterable[Entry]) -> PhaseTimes | None:
    """Return the phases of the last start in an audit trail (oldest first) beside those of earlier starts.

    None while the start has not ended, or if it failed.
    """
    starts = [entry for entry in entries if entry.verb in ("up", "restart")]
    known = [entry for entry in starts if entry.result is not Result.PROVED]  # a proof alone starts nothing
    if not known or not _phases(known[-1]):
        return None
    this = known[-1]
    same = [e for e in known[:-1] if (e.verb, e.started) == (this.verb, this.started) and _phases(e)]
    earlier = tuple(_phases(entry) for entry in same[-EARLIER:])
    return PhaseTimes(
        verb=this.verb,
        started=this.started,
        phases=_phases(this),
        earlier=earlier,
        usual={name: median(e.get(name, 0.0) for e in earlier) for name in this.phases} if earlier else {},
        usual_total=median(sum(one.values()) for one in earlier) if earlier else None,
    )


def _phases(entry: Entry) -> dict[str, float]:
    """Return phase → seconds; nothing for a start that failed."""
    return dict(entry.phases) if entry.result is Result.READY else {}
