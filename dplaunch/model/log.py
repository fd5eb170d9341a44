"""Log lines on their way from the nodes to the screen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Whole lines of one process as its guard sent them: bytes ``offset`` to ``end`` of its log."""

    process: str
    node: str
    offset: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line. ``offset`` is that of its first byte; ``at`` when it arrived, epoch seconds, 0 unknown."""

    process: str
    node: str
    offset: int
    text: str
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedLine:
    """The same line of one or many processes, in the order they said it."""

    lines: tuple[LogLine, ...]
    text: str
    """The line; of several, what they have in common (without their pids and clocks)."""

    @property
    def processes(self) -> tuple[str, ...]:
        """Who said it."""
        return tuple(line.process for line in self.lines)

    @property
    def at(self) -> float:
        """When the first of them arrived."""
        return self.lines[0].at
