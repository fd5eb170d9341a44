"""What a diagnosis consists of: signatures of failures, where they were seen, and which came first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class LineKind(IntEnum):
    """What a log line reveals about a failure. Order: the most telling first."""

    CAUSE = 0
    UNKNOWN = 1
    """An error that matches no signature."""
    GENERIC = 2
    """Only that something failed: the cause is in another line of the same log."""
    CONSEQUENCE = 3
    """Another process failed first."""
    WARNING = 4
    """The engine keeps running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A known log line: what it means and what to do about it."""

    id: str
    """A word, or the code that the library itself prints: ``EI0006``."""
    pattern: str
    words: tuple[str, ...]
    """Plain texts; every matching line contains one of them."""
    kind: LineKind = LineKind.CAUSE
    engines: tuple[str, ...] = ()
    """The engines that log it."""
    versions: str = ""
    """``vllm >= 0.18``; empty if it applies to all versions."""
    cause: str
    remedy: str
    source: str
    """Where cause and remedy are known from."""
    excerpt: tuple[str, ...]
    """Examples of such lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A signature or an unknown error in the logs. Place, time and text are those of its earliest line."""

    signature: Signature | None
    process: str
    node: str
    number: int
    """The number of the line, from 1, counted from where reading began."""
    at: float
    """By the time that the line carries, on a scale that only orders; 0: unknown."""
    text: str
    processes: tuple[str, ...]
    """The processes that logged it, the earliest first."""
    count: int = 1

    @property
    def kind(self) -> LineKind:
        """What the line reveals about the failure."""
        return self.signature.kind if self.signature else LineKind.UNKNOWN

    @property
    def follows(self) -> bool:
        """It follows from another failure or line, and so is not the first place to look."""
        return self.kind in (LineKind.GENERIC, LineKind.CONSEQUENCE)


@dataclass(frozen=True, slots=True)
class EndedProcess:
    """A process that ended by itself, and how: ``killed by SIGKILL``."""

    process: str
    node: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result of reading the logs of many processes together."""

    first: Sighting | None = None
    """Where to look first: the earliest line, of any rank, that does not follow from another failure.

    If every line only follows, the earliest of those; None if nothing failed.
    """
    others: tuple[Sighting, ...] = ()
    """All other sightings, in order of time."""
    silent: tuple[str, ...] = ()
    """If every line only follows: processes of the same role without an error, which may have failed."""
    ended: tuple[EndedProcess, ...] = ()
    """Processes that the nodes report as ended; empty if only logs were read."""
    waiting: tuple[str, ...] = ()
    """Running processes whose /health does not respond with 200: they are loading, or hang."""
    processes: int = 0
    lines: int = 0
    """How many lines were read."""

    @property
    def unexplained(self) -> tuple[EndedProcess, ...]:
        """Processes that ended without an error in their log: one that is killed cannot write any."""
        seen = {name for sighting in (self.first, *self.others) if sighting for name in sighting.processes}
        return tuple(one for one in self.ended if one.process not in seen)

    @property
    def failed(self) -> bool:
        """Anything failed."""
        return self.first is not None or bool(self.unexplained)
