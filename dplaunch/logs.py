"""Many follow streams → one: each line once, in each process's own order, equal lines folded.

Pure: the caller brings chunks and the time, and asks again for what was held back. A line is held for
at most ``window`` seconds, so that the same line of other processes can join it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from dplaunch.model.log import FoldedLine, LogChunk, LogLine

_SPEAKER = re.compile(r"^(?:\([\w./-]+ pid=\d+\) ?)+")
_CLOCK = re.compile(r"\b(?:\d{4}-)?(\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:[.,]\d+)?)\s?")


def common(text: str) -> str:
    """The line without what differs between ranks that say the same: speaker's pid and clock."""
    return _CLOCK.sub("", _SPEAKER.sub("", text), count=1)


def collect_name(node: str, process: str, *, previous: bool = False) -> str:
    """Path below ``--collect DIR``: ``n5/decode-3.log``; ``previous``: of the run before."""
    return f"{_safe(node)}/{_safe(process)}{'.prev' if previous else ''}.log"


def chronological(lines: Iterable[LogLine]) -> tuple[LogLine, ...]:
    """Past lines of many processes by the clock they print; each process's own order is kept.

    A line without a clock (a traceback) stays behind the line before it.
    """
    clock: dict[str, str] = {}
    keyed = []
    for line in lines:
        found = _CLOCK.search(line.text, 0, 200)
        stamp = f"{found[1]} {found[2]}" if found else ""
        clock[line.process] = max(stamp, clock.get(line.process, ""))
        keyed.append((clock[line.process], line))
    return tuple(line for _, line in sorted(keyed, key=lambda pair: pair[0]))


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
        self._held: dict[int, _Held] = {}
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
        return next((held.until for held in self._held.values()), None)

    def feed(self, chunk: LogChunk, at: float) -> tuple[FoldedLine, ...]:
        """Take one chunk, arrived ``at``; returns what is due. Bytes seen before are dropped."""
        early = self.flush(at)  # first: what is due must not be joined any more
        for line in self._unseen(chunk, at):
            self._hold(line)
        return (*early, *self.flush(at))

    def restarted(self, process: str) -> None:
        """The process began a new run: its log begins at 0 again."""
        self._ends.pop(process, None)

    def flush(self, at: float | None = None) -> tuple[FoldedLine, ...]:
        """Lines whose time has come; everything held when no time is given."""
        ready = []
        for number, held in list(self._held.items()):
            if at is not None and held.until > at:
                break
            ready.append(self._release(number, held))
        return tuple(ready)

    def _unseen(self, chunk: LogChunk, at: float) -> Iterable[LogLine]:
        seen = self._ends.get(chunk.process, 0)
        if chunk.end <= seen:
            return
        self._ends[chunk.process] = chunk.end
        offset = chunk.offset
        for text in chunk.lines:
            if offset >= seen:
                yield LogLine(process=chunk.process, node=chunk.node, offset=offset, text=text, at=at)
            offset += len(text.encode(errors="surrogateescape")) + 1

    def _hold(self, line: LogLine) -> None:
        held = self._like(line) if self.window else None
        if held is None:
            self._count += 1
            held = _Held(self._count, line.at + self.window, [])
            self._held[held.number] = held
            self._alike.setdefault(common(line.text), []).append(held)
        held.lines.append(line)
        self._last[line.process] = held.number

    def _like(self, line: LogLine) -> _Held | None:
        """An equal line that can still be joined: later than all this process said before."""
        alike = self._alike.get(common(line.text), [])
        place = bisect_right(alike, self._last.get(line.process, 0), key=attrgetter("number"))
        return alike[place] if place < len(alike) else None

    def _release(self, number: int, held: _Held) -> FoldedLine:
        del self._held[number]
        key = common(held.lines[0].text)
        self._alike[key].pop(0)  # lines come out in the order they were held
        if not self._alike[key]:
            del self._alike[key]
        text = held.lines[0].text if len(held.lines) == 1 else key
        return FoldedLine(lines=tuple(held.lines), text=text)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"
