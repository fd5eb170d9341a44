"""Many follow streams → one: each line once, in each process's own order, equal lines folded.

Pure: the caller brings chunks and the time, and asks again for what was held back. A line is held for
at most ``window`` seconds, so that the same line of other processes can join it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from dplaunch.model.log import FoldedLine, LogChunk, LogLine
from dplaunch.stamp import Calendar, common


def collect_name(node: str, process: str, *, previous: bool = False) -> str:
    """Path below ``--collect DIR``: ``n5/decode-3.log``; ``previous``: of the run before."""
    return f"{_safe(node)}/{_safe(process)}{'.prev' if previous else ''}.log"


def past(chunks: Iterable[LogChunk], *, window: float = 1.0) -> tuple[FoldedLine, ...]:
    """Past lines of many processes by the clock they print, equal ones within ``window`` seconds folded.

    Each process's own order is kept; a line without a clock (a traceback) stays behind the line before it.
    All lines are held in memory: for a tail, not for whole logs.
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
    """A line that waits for its like."""

    number: int
    until: float
    lines: list[LogLine]


class Merge:
    """Chunks in, folded lines out. ``window`` 0 folds nothing and holds nothing back."""

    def __init__(self, *, window: float = 0.25, offsets: Mapping[str, int] | None = None) -> None:
        self.window = window
        self._ends = dict(offsets or {})
        self._held: deque[_Held] = deque()
        self._alike: dict[str, list[_Held]] = {}
        self._last: dict[str, int] = {}
        self._count = 0

    @property
    def offsets(self) -> dict[str, int]:
        """Per process, the offset to resume from."""
        return dict(self._ends)

    @property
    def due(self) -> float | None:
        """When the next held line must come out; None when none is held."""
        return self._held[0].until if self._held else None

    def feed(self, chunk: LogChunk, at: float) -> tuple[FoldedLine, ...]:
        """Take one chunk, arrived ``at``; returns what is due. Bytes seen before are dropped."""
        seen = self._ends.get(chunk.process, 0)
        self._ends[chunk.process] = max(seen, chunk.end)
        fresh = [line for line in _lines(chunk, at) if line.offset >= seen] if chunk.end > seen else []
        early = self.flush(at)
        return (*early, *(folded for line in fresh for folded in self.add(line, at)))

    def add(self, line: LogLine, at: float) -> tuple[FoldedLine, ...]:
        """Take one line that is known to be new; returns what is due."""
        early = self.flush(at)  # first: what is due must not be joined any more
        self._hold(line, at)
        return (*early, *self.flush(at))

    def restarted(self, process: str) -> None:
        """The process began a new run: its log begins at 0 again."""
        self._ends.pop(process, None)

    def flush(self, at: float | None = None) -> tuple[FoldedLine, ...]:
        """Lines whose time has come; everything held when no time is given."""
        ready = []
        while self._held and (at is None or self._held[0].until <= at):
            ready.append(self._release(self._held.popleft()))
        return tuple(ready)

    def _hold(self, line: LogLine, at: float) -> None:
        held = self._like(line) if self.window else None
        if held is None:
            self._count += 1
            held = _Held(self._count, at + self.window, [])
            self._held.append(held)
            self._alike.setdefault(common(line.text), []).append(held)
        held.lines.append(line)
        self._last[line.process] = held.number

    def _like(self, line: LogLine) -> _Held | None:
        """An equal line that can still be joined: later than all this process said before."""
        alike = self._alike.get(common(line.text), [])
        place = bisect_right(alike, self._last.get(line.process, 0), key=attrgetter("number"))
        return alike[place] if place < len(alike) else None

    def _release(self, held: _Held) -> FoldedLine:
        key = common(held.lines[0].text)
        self._alike[key].pop(0)  # lines come out in the order they were held
        if not self._alike[key]:
            del self._alike[key]
        text = held.lines[0].text if len(held.lines) == 1 else key
        return FoldedLine(lines=tuple(held.lines), text=text)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"
