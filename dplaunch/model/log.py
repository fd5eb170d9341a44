"""Log lines on their way from the nodes to the screen."""

from __future__ import annotations

from msgspec import Struct


class LogChunk(Struct, frozen=True, kw_only=True):
    """Whole lines of one process as its guard sent them: bytes ``offset`` to ``end`` of its log."""

    process: str
    node: str
    offset: int
    end: int
    lines: tuple[str, ...]


class LogLine(Struct, frozen=True, kw_only=True):
    """One line. ``offset`` is that of its first byte; ``at`` when it arrived (epoch seconds; 0: unknown)."""

    process: str
    node: str
    offset: int
    text: str
    at: float = 0.0


class FoldedLine(Struct, frozen=True, kw_only=True):
    """Like lines of one or several processes, in the order in which they logged them."""

    lines: tuple[LogLine, ...]
    text: str
    """The line itself; of several what they have in common, without pids and times."""

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that logged it."""
        return tuple(dict.fromkeys(line.process for line in self.lines))

    @property
    def at(self) -> float:
        """When the first of the lines arrived."""
        return self.lines[0].at
