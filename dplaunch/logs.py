"""Merge the log streams of many processes into one: no line twice, like lines of several processes folded.

Lines are like each other if they differ in numbers only: ranks, ports, seconds. A line is held back for at
most ``window`` seconds, so that others can join it. The lines that are held form a graph: each stands behind
the line that its process logged before. A line joins another wherever that puts no line of any process behind
a later one, as ``diff`` would align them. Pure: the caller brings chunks and the time, and asks what is due.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter

from msgspec import Struct, field

from dplaunch.model.log import FoldedLine, LogChunk, LogLine
from dplaunch.stamp import Calendar, normalise

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|(?<!\w)[0-9a-f-]{16,}|\d+(?:\.\d+)?")
"""A number, or a long identifier in hex."""
PAST_WINDOW = 10.0
"""Seconds by the lines' own times."""
_SEARCHED = 400
"""Lines that are looked at for an order that joining would break; in a larger tangle nothing is joined."""


def name_log_file(node: str, process: str, *, previous: bool = False) -> str:
    """Return the path of a collected log below ``--collect DIR``: ``n5/decode-3.log``.

    With ``previous`` it is that of the run before: ``n5/decode-3.prev.log``.
    """
    return f"{_safe(node)}/{_safe(process)}{'.prev' if previous else ''}.log"


def fold_past(chunks: Iterable[LogChunk], *, window: float = PAST_WINDOW) -> tuple[FoldedLine, ...]:
    """Return past lines of many processes ordered by their own times, like ones within ``window`` s folded.

    Each process keeps its own order; a line without a time (of a traceback) stays behind the line before it.
    All lines are held in memory.
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


class _Held(Struct, eq=False):
    """Like lines that wait for more. ``before``: what is held and must be printed first."""

    key: str
    until: float
    exact: str
    """Its first line without process names, pids and time."""
    lines: list[LogLine] = field(default_factory=list)
    before: dict[_Held, None] = field(default_factory=dict)
    processes: set[str] = field(default_factory=set)


class Merge:
    """Takes chunks and returns folded lines. ``window`` 0 folds nothing and holds nothing back."""

    def __init__(self, *, window: float = 0.25) -> None:
        self.window = window
        self._ends: dict[str, int] = {}
        self._held: dict[_Held, None] = {}
        """In the order in which they are due."""
        self._like: dict[str, list[_Held]] = {}
        self._last: dict[str, _Held] = {}
        """Process → what holds its last line."""

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
        ready: list[FoldedLine] = []
        while self._held:
            first = next(iter(self._held))
            if at is not None and first.until > at:
                break
            ready += self._release(first)
        return tuple(ready)

    def _hold(self, line: LogLine, at: float) -> None:
        exact = normalise(line.text)
        key = _NUMBER.sub("#", exact)
        last = self._last.get(line.process)
        held = self._find_like(line.process, exact, key) if self.window else None
        if held is None:
            held = _Held(key, at + self.window, exact)
            self._held[held] = None
            self._like.setdefault(key, []).append(held)
        if last is not None and last is not held:
            held.before[last] = None
        held.lines.append(line)
        held.processes.add(line.process)
        self._last[line.process] = held

    def _find_like(self, process: str, exact: str, key: str) -> _Held | None:
        """What this line can join: the very line before any that only differs in numbers."""
        last = self._last.get(process)
        if last is not None and last.exact == exact:
            return last  # it repeats itself
        ahead = self._ahead_of(last)
        if ahead is None:
            return None
        able = [one for one in self._like.get(key, ()) if one not in ahead and process not in one.processes]
        return next((one for one in able if one.exact == exact), able[0] if able else None)

    def _ahead_of(self, last: _Held | None) -> set[_Held] | None:
        """What must be printed before ``last``, and itself; None where that is too much to look at."""
        found: set[_Held] = set()
        todo = [last] if last is not None else []
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo += one.before
            if len(found) > _SEARCHED:
                return None
        return found

    def _release(self, held: _Held) -> list[FoldedLine]:
        """It, behind everything that must be printed first."""
        ready: list[FoldedLine] = []
        todo = [held]
        while todo:
            waiting = [one for one in todo[-1].before if one in self._held]
            if waiting:
                todo += reversed(waiting)
                continue
            one = todo.pop()
            if one in self._held:
                self._forget(one)
                ready.append(FoldedLine(lines=tuple(one.lines), text=_merge_texts(one.lines)))
        return ready

    def _forget(self, held: _Held) -> None:
        del self._held[held]
        self._like[held.key].remove(held)
        if not self._like[held.key]:
            del self._like[held.key]
        for process in held.processes:
            if self._last.get(process) is held:
                del self._last[process]
        held.before.clear()


def _merge_texts(lines: list[LogLine]) -> str:
    """One line as it is; of several, what they have in common, with ``first..last`` where numbers differ.

    ``(×3)`` follows what processes logged three times in a row.
    """
    if len(lines) == 1:
        return lines[0].text
    texts = list(dict.fromkeys(normalise(line.text) for line in lines))
    text = texts[0]
    if len(texts) > 1:
        numbers = zip(*(_NUMBER.findall(one) for one in texts), strict=True)
        spans = iter([_span(list(dict.fromkeys(column))) for column in numbers])
        text = _NUMBER.sub(lambda _: next(spans), text)
    times = sorted(set(Counter(line.process for line in lines).values()))
    return text if times == [1] else f"{text} (×{_span([str(times[0]), str(times[-1])])})"


def _span(values: list[str]) -> str:
    if values[0] == values[-1] and len(set(values)) == 1:
        return values[0]
    try:
        ordered = sorted(values, key=float)
    except ValueError:
        return "…"
    return f"{ordered[0]}..{ordered[-1]}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"
