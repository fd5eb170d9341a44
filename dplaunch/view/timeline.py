"""Where start-up time went: by stage, who waited for whom, the phases of ``up``; ``-v``: per engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.timeline import GroupPath, PhaseTimes, Span, StageTimes, StartUp, Timeline, Wait
from dplaunch.ranges import fold, grouped
from dplaunch.view import style
from dplaunch.view.table import Table, tabulate
from dplaunch.words import join_words, plural

GROUPS = 3
"""Groups whose waiting time is listed; with ``-v`` all."""
_EQUAL = 0.1
"""Engines whose times differ by fewer seconds count as equally fast."""
CLOCKS = "each engine's lines are timed from the start of its own process, by its own node's clock"


def render(cluster: str, up: StartUp, *, verbose: int = 0) -> RenderableType:
    """Everything on one screen."""
    parts: list[RenderableType] = [Text.assemble((cluster, style.HEAD), f": {headline(up)}")]
    if up.stages:
        parts += [Text(""), _stages(up)]
    if verbose:
        parts += [Text(""), tabulate(ENGINE_HEADS, engine_rows(up), flex=("STAGES",))]
    waiting = [group for group in up.groups if group.lost > 0]
    if waiting:
        parts += [Text(""), *(Text(describe_loss(g)) for g in (waiting if verbose else waiting[:GROUPS]))]
    if up.phase_times:
        parts += [Text(""), Text(describe_walk(up.phase_times)), _phases(up.phase_times)]
    return Group(*parts, Text(""), *(Text(f"note: {note}", style.DIM) for note in notes(up)))


def headline(up: StartUp) -> str:
    """``the slowest of 72 engines took 4 min 10 s: decode-3 on n6``."""
    timed = [timeline for timeline in up.timelines if timeline.total is not None]
    if not timed:
        return f"no time was found in the logs of {plural(len(up.timelines), 'engine')}"
    last = max(timed, key=_total)
    where = f"{last.process} on {last.node}"
    if len(timed) == 1:
        return f"{where} took {format_time(_total(last), up)}"
    return f"the slowest of {len(timed)} engines took {format_time(_total(last), up)}: {where}"


def describe_loss(group: GroupPath) -> str:
    """What a group lost to its slowest engine, the worst stages named."""
    worst = sorted((wait for wait in group.waits if wait.lost > 0), key=lambda wait: -wait.lost)[:3]
    where = join_words([f"{durations.describe(w.lost)} in {w.stage} ({w.engine} on {w.node})" for w in worst])
    return f"{group.group}: {durations.describe(group.lost)} lost waiting for its slowest engine, {where}"


def describe_walk(times: PhaseTimes) -> str:
    """``up of 73 processes took 4 min 12 s; the median of 5 earlier starts is 3 min 58 s``."""
    sentence = f"{times.verb} of {plural(times.started, 'process')} took {durations.describe(times.total)}"
    if times.usual_total is None:
        return f"{sentence}; no earlier start of the same size is recorded"
    if len(times.earlier) == 1:
        return f"{sentence}; the start before took {durations.describe(times.usual_total)}"
    usual = durations.describe(times.usual_total)
    return f"{sentence}; the median of {len(times.earlier)} earlier starts is {usual}"


def notes(up: StartUp) -> list[str]:
    """What readers must know about the figures."""
    found = [CLOCKS]
    if up.resolution >= 1:
        found.append("log times are whole seconds, so a figure is exact to one second")
    if up.untimed:
        names = join_words([f"`{name}`" for name in up.untimed])
        found.append(f"the lines that begin {names} carry no time; these stages count with the one before")
    problems = grouped((timeline.problem, timeline.process) for timeline in up.timelines if timeline.problem)
    return found + [f"{fold(names)}: {style.plain(problem)}" for problem, names in problems.items()]


def to_json(cluster: str, up: StartUp) -> dict[str, Any]:
    """``{cluster, resolution, engines, stages, groups, walk, untimed, notes}``, times in seconds."""
    return {
        "cluster": cluster,
        "resolution": up.resolution,
        "engines": [_engine_json(timeline) for timeline in up.timelines],
        "stages": [{**_rounded(times), "spread": _round(times.spread)} for times in up.stages],
        "groups": [_group_json(group) for group in up.groups],
        "walk": _phase_times_json(up.phase_times) if up.phase_times else None,
        "untimed": list(up.untimed),
        "notes": notes(up),
    }


def engine_rows(up: StartUp) -> list[tuple[str, str, str, str]]:
    """Engine, node, total, and its stages without those that took no time; the slowest first."""
    return [_engine_row(timeline, up) for timeline in slowest_first(up.timelines)]


def _engine_row(timeline: Timeline, up: StartUp) -> tuple[str, str, str, str]:
    spans = [(s.stage, s.seconds) for s in timeline.spans if s.seconds and s.seconds >= up.resolution / 2]
    stages = ", ".join(f"{stage} {format_time(took, up)}" for stage, took in spans)
    total = "-" if timeline.total is None else format_time(timeline.total, up)
    return timeline.process, timeline.node, total, stages or timeline.problem or "-"


def stage_row(times: StageTimes, up: StartUp) -> tuple[str, ...]:
    """Role, stage, median, slowest, its engine and node where one is slower, the run before."""
    before = "-" if times.before is None else format_time(times.before, up)
    equal = times.engines > 1 and times.spread < max(up.resolution, _EQUAL)
    who = ("-", "-") if equal else (times.engine, times.node)
    return (
        times.role,
        times.stage,
        format_time(times.median, up),
        format_time(times.slowest, up),
        *who,
        before,
    )


def format_time(value: float, up: StartUp) -> str:
    """Seconds, as exact as the log times."""
    return (
        durations.describe(round(value)).replace(".0 s", " s")
        if up.resolution >= 1
        else durations.describe(value)
    )


def stands_out(times: StageTimes) -> bool:
    """Whether the slowest took a quarter longer than the median, and more than a second longer."""
    return times.spread > max(1.0, times.median / 4)


def slowest_first(timelines: Sequence[Timeline]) -> list[Timeline]:
    """The order in which engines are listed."""
    return sorted(timelines, key=lambda timeline: -_total(timeline))


ENGINE_HEADS = ("ENGINE", "NODE", "TOTAL", "STAGES")
STAGE_HEADS = ("ROLE", "STAGE", "MEDIAN", "SLOWEST", "ENGINE", "NODE", "LAST START")
PHASE_HEADS = ("PHASE", "THIS START", "EARLIER")


def phase_rows(times: PhaseTimes) -> list[tuple[str, str, str]]:
    """Phase, this start, the median of earlier ones."""
    usual = {name: durations.describe(value) for name, value in times.usual.items()}
    return [(name, durations.describe(took), usual.get(name, "-")) for name, took in times.phases.items()]


def _total(timeline: Timeline) -> float:
    return -1.0 if timeline.total is None else timeline.total


def _stages(up: StartUp) -> Table:
    one = len({times.role for times in up.stages}) == 1
    rows = [_stage_cells(times, up)[one:] for times in up.stages]
    return tabulate(STAGE_HEADS[one:], rows, flex=("STAGE", "ENGINE", "NODE"))


def _stage_cells(times: StageTimes, up: StartUp) -> tuple[str | Text, ...]:
    role, stage, middle, slowest, *rest = stage_row(times, up)
    return role, stage, middle, Text(slowest, style.WARN if stands_out(times) else ""), *rest


def _phases(times: PhaseTimes) -> Table:
    if not times.usual:
        return tabulate(PHASE_HEADS[:2], [row[:2] for row in phase_rows(times)])
    return tabulate(PHASE_HEADS, phase_rows(times))


def _engine_json(timeline: Timeline) -> dict[str, Any]:
    return {
        "name": timeline.process,
        "role": timeline.role,
        "group": timeline.group,
        "node": timeline.node,
        "total": _round(timeline.total),
        "problem": timeline.problem or None,
        "stages": [_rounded(span) for span in timeline.spans],
    }


def _group_json(group: GroupPath) -> dict[str, Any]:
    return {
        "group": group.group,
        "engines": group.engines,
        "seconds": _round(group.seconds),
        "lost": _round(group.lost),
        "waits": [_rounded(wait) for wait in group.waits],
    }


def _phase_times_json(times: PhaseTimes) -> dict[str, Any]:
    return {
        "verb": times.verb,
        "started": times.started,
        "seconds": _round(times.total),
        "phases": dict(times.phases),
        "earlier": [dict(phases) for phases in times.earlier],
        "usual": dict(times.usual),
        "usual_seconds": _round(times.usual_total),
    }


def _rounded(value: Span | StageTimes | Wait) -> dict[str, Any]:
    """Its fields by name, times to a millisecond."""
    return {name: round(v, 3) if isinstance(v, float) else v for name, v in to_builtins(value).items()}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
