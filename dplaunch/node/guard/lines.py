"""Lines of a log from an offset on: complete ones, each once."""

from __future__ import annotations

import re

from .log import LINE
from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

    from .shapes import Source


class Chunk:
    """``lines`` are the bytes from ``offset`` to ``end``; ``lost`` bytes before them are gone."""

    __slots__ = ("end", "lines", "lost", "offset")

    def __init__(self, offset: int, end: int, lines: list[str], lost: int) -> None:
        self.offset = offset
        self.end = end
        self.lines = lines
        self.lost = lost


class Cursor:
    """A place in a log. It continues into the file of a new run, from offset 0, and counts ``runs``.

    A file that became shorter counts as a new one.
    """

    def __init__(self, log: Source, offset: int) -> None:
        self.log = log
        self.run = log.run()
        self.offset = offset if offset <= log.size() else 0
        self.runs = 0

    def next(self, *, ended: bool = False) -> Chunk | None:
        """The next lines, None when there are none yet. With ``ended`` a last partial line counts."""
        offset = self.offset
        if self.log.run() == self.run:
            truncated = self.log.size() < offset
            chunk = None if truncated else self._next(ended=ended)
            if self.log.run() == self.run:
                return self._begin_again() if truncated else chunk
            self.offset = offset  # what was read may be of either file
        before = self.log.before(self.run)
        rest = Cursor(before, offset).next(ended=True) if before else None
        if rest:
            self.offset = rest.end
            return rest
        return self._begin_again() if self.log.run() else None

    def _begin_again(self) -> Chunk | None:
        self.run, self.offset = self.log.run(), 0
        self.runs += 1
        return self._next(ended=False)

    def _next(self, *, ended: bool) -> Chunk | None:
        found, data = self.log.read(self.offset)
        lost = found - self.offset
        cut = data.rfind(b"\n") + 1
        if cut == 0 and (len(data) == LINE or ended):
            cut = len(data)
        self.offset = found + cut
        if cut == 0 and not lost:
            return None
        return Chunk(found, self.offset, _split(data[:cut]), lost)


def _split(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.strip("\r") for line in lines]


def read_last_lines(log: Source, count: int) -> list[str]:
    """The last lines of a log, a partial one included."""
    cursor = Cursor(log, log.tail(count))
    found: list[str] = []
    while True:
        chunk = cursor.next(ended=True)
        if chunk is None:
            return found[-count:]
        found += chunk.lines


def compile_regex(text: str) -> Pattern[str]:
    """A regular expression to look for in lines. Raises Refused where it is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise Refused("request", f"{text!r} is not a regular expression: {error}") from error
