"""The start as a chart: a row per engine, a bar per stage; and the HTML report around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dplaunch import durations
from dplaunch.model.timeline import StageTimes, StartUp, Timeline
from dplaunch.ranges import fold
from dplaunch.view import timeline as words
from dplaunch.view.report import HtmlRow, HtmlTable, Picture, Section, fill, page
from dplaunch.words import shorten

ROWS = 200
"""With more engines, neighbours share a row that draws the slowest of them."""
_COLOURS = (
    "#9aa5b1",
    "#4e79a7",
    "#b6992d",
    "#76b7b2",
    "#b07aa1",
    "#f28e2b",
    "#59a14f",
    "#d37295",
    "#e15759",
    "#2d6f62",
    "#9c755f",
    "#edc948",
)
"""Distinct on dark, on light and on paper; the legend names each."""
_WIDTH, _NAMES, _HEIGHT = 1100, 210, 16
_LETTERS = 32
"""Characters of a name that fit before its row."""
_TOP = 24
_TICKS = 10
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def report(cluster: str, up: StartUp) -> str:
    """The whole file."""
    sections: list[Section] = [
        Picture("Engines", chart(up), note=words.CLOCKS),
        HtmlTable("Stages", words.STAGE_HEADS, [_stage(times, up) for times in up.stages]),
    ]
    waits = [
        HtmlRow((group.group, durations.describe(group.lost), words.describe_loss(group)))
        for group in up.groups
        if group.lost
    ]
    if waits:
        sections.append(HtmlTable("Waiting for the slowest", ("GROUP", "LOST", "WHERE"), waits))
    if up.phase_times:
        rows = [HtmlRow(row) for row in words.phase_rows(up.phase_times)]
        sections.append(
            HtmlTable("Phases", words.PHASE_HEADS, rows, note=words.describe_walk(up.phase_times))
        )
    engines = [HtmlRow(row) for row in words.engine_rows(up)]
    sections.append(HtmlTable("Every engine", words.ENGINE_HEADS, engines))
    return page(f"{cluster}: start-up", (words.headline(up), *words.notes(up)), sections)


def _stage(times: StageTimes, up: StartUp) -> HtmlRow:
    return HtmlRow(words.stage_row(times, up), "warn" if words.stands_out(times) else "")


def chart(up: StartUp) -> str:
    """The ``<svg>``."""
    lanes = list(_lanes(up.timelines))
    whole = max((t.total for t in up.timelines if t.total is not None), default=0.0) or 1.0
    colours = _colours(up.timelines)
    legend, above = _legend(colours)
    return fill(
        "gantt.svg.j2",
        width=_WIDTH,
        names=_NAMES,
        height=_HEIGHT,
        top=above + _TOP,
        bottom=above + _TOP + len(lanes) * _HEIGHT,
        scale=(_WIDTH - _NAMES - 30) / whole,
        colours=colours,
        legend=legend,
        ticks=_ticks(whole),
        lanes=lanes,
        describe=durations.describe,
    )


def _colours(timelines: Sequence[Timeline]) -> dict[str, str]:
    """Stage → colour, in the order of the engines that went through most stages."""
    fullest = sorted(timelines, key=lambda timeline: -len(timeline.spans))
    names = dict.fromkeys(span.stage for t in fullest for span in t.spans if span.seconds)
    return {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}


def _lanes(timelines: Sequence[Timeline]) -> Iterable[tuple[str, Timeline]]:
    """The name of each row, and the slowest of its engines."""
    share = max(1, -(-len(timelines) // ROWS))
    for role in dict.fromkeys(timeline.role for timeline in timelines):
        engines = [timeline for timeline in timelines if timeline.role == role]
        for first in range(0, len(engines), share):
            few = engines[first : first + share]
            name = f"{fold(t.process for t in few)} · {fold(t.node for t in few)}"
            yield shorten(name, _LETTERS), words.slowest_first(few)[0]


def _legend(colours: dict[str, str]) -> tuple[list[tuple[str, str, int, int]], int]:
    """Name, colour and place of each box, and the height they take."""
    boxes, left, top = [], _NAMES, 4
    for name, colour in colours.items():
        width = 28 + 8 * len(name)
        if left + width > _WIDTH:
            left, top = _NAMES, top + 18
        boxes.append((name, colour, left, top))
        left += width
    return boxes, top + 18


def _ticks(whole: float) -> list[tuple[float, str]]:
    """Seconds of each line of the axis, and what stands above it."""
    step = next((step for step in _STEPS if whole / step <= _TICKS), _STEPS[-1])
    return [(count * step, _tick(count * step)) for count in range(int(whole / step) + 1)]


def _tick(at: float) -> str:
    return f"{at:.1f} s" if at % 1 else f"{at:.0f} s" if at < 60 else f"{at // 60:.0f}:{at % 60:02.0f} min"  # noqa: PLR2004 - a minute
