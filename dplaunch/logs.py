"""Merge the log streams of many processes into one: no line twice, equal lines of several processes folded.

Each process keeps its own order. A line is held back for at most ``window`` seconds, so that the same line of
other processes can join it. Pure: the caller brings chunks and the time, and asks for what is due.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from dplaunch.model.log import FoldedLine, LogChunk, LogLine
from dplaunch.stamp import Calendar, normalise


def name_log_file(node: str, process: str, *, previous: bool = False) -> str:
    """Return the path of a collected log below ``--collect DIR``: ``n5/decode-3.log``.

    With ``previous`` it is that of the run before: ``n5/decode-3.prev.log``.
    """
    return f"{_safe(node)}/{_safe(process)}{'.prev' if previous else ''}.log"


def fold_past(chunks: Iterable[LogChunk], *, window: float = 1.0) -> tuple[FoldedLine, ...]:
    """Return past lines of many processes ordered by their own times, equal ones within ``window`` s folded.

    Each process keeps its own order; a line without a time (of a traceback) stays behind the line before it.
    All lines are held in memory, which is right for the ends of logs but not for whole logs.
    """
    calendar = Calendar()
    latest: dict[str, float] = {}
    timed = []
    for line in (line for chunk in chunks for line in _lines(chunk, 0.0)):
        latest[line.process] = max(calendar.place(line.text), latest.get(line.process, 0.0))
        timed.append((latest[line.process], line))
    merge = Merge(window=window)
    folded: list[FoldedLine] = []
    for at, line in sorted(timed, key=itemgetter(0)):
        folded += merge.add(line, at)
    return (*folded, *merge.flush())


def _lines(chunk: LogChunk, at: float) -> Iterable[LogLine]:
    offset = chunk.offset
    for text in chunk.lines:
        yield LogLine(process=chunk.process, node=chunk.node, offset=offset, text=text, at=at)
        offset += len(text.encode(errors="surrogateescape")) + 1


@dataclass(slots=True)
class _Held:
    """A line that waits for equal lines of other processes."""

    number: int
    until: float
    lines: list[LogLine]


class Merge:
    """Takes chunks and returns folded lines. ``window`` 0 folds nothing and holds nothing back."""

    def __init__(self, *, window: float = 0.25) -> None:
        self.window = window
        self._ends: dict[str, int] = {}
        self._held: deque[_Held] = deque()
        self._equal: dict[str, list[_Held]] = {}
        self._last: dict[str, int] = {}
        self._count = 0

    def feed(self, chunk: LogChunk, at: float) -> tuple[FoldedLine, ...]:
        """Take a chunk that arrived ``at``. Returns what is due. Bytes that were read before are dropped."""
        seen = self._ends.get(chunk.process, 0)
        self._ends[chunk.process] = max(seen, chunk.end)
        fresh = [line for line in _lines(chunk, at) if line.offset >= seen] if chunk.end > seen else []
        early = self.flush(at)
        return (*early, *(folded for line in fresh for folded in self.add(line, at)))

    def add(self, line: LogLine, at: float) -> tuple[FoldedLine, ...]:
        """Take a line that is known to be new. Returns what is due."""
        early = self.flush(at)  # first: nothing may join a line that is due
        self._hold(line, at)
        return (*early, *self.flush(at))

    def restarted(self, process: str) -> None:
        """Take note that the process has begun a new run, whose log begins at 0."""
        self._ends.pop(process, None)

    def flush(self, at: float | None = None) -> tuple[FoldedLine, ...]:
        """Return the lines that are due; without a time everything that is held."""
        ready = []
        while self._held and (at is None or self._held[0].until <= at):
            ready.append(self._release(self._held.popleft()))
        return tuple(ready)

    def _hold(self, line: LogLine, at: float) -> None:
        held = self._equal_to(line) if self.window else None
        if held is None:
            self._count += 1
            held = _Held(self._count, at + self.window, [])
            self._held.append(held)
            self._equal.setdefault(normalise(line.text), []).append(held)
        held.lines.append(line)
        self._last[line.process] = held.number

    def _equal_to(self, line: LogLine) -> _Held | None:
        """Return an equal line that this one can join: one after everything this process has logged."""
        equal = self._equal.get(normalise(line.text), [])
        place = bisect_right(equal, self._last.get(line.process, 0), key=attrgetter("number"))
        return equal[place] if place < len(equal) else None

    def _release(self, held: _Held) -> FoldedLine:
        key = normalise(held.lines[0].text)
        self._equal[key].pop(0)  # lines come out in the order they were held
        if not self._equal[key]:
            del self._equal[key]
        text = held.lines[0].text if len(held.lines) == 1 else key
        return FoldedLine(lines=tuple(held.lines), text=text)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"
