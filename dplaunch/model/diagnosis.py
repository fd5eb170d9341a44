"""What a diagnosis consists of: signatures of failures, where they were seen, and which came first."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class LineKind(IntEnum):
    """What a log line reveals about a failure. Order: the most telling first."""

    CAUSE = 0
    UNKNOWN = 1
    """An error that matches no signature."""
    GENERIC = 2
    """Only that this process failed, and where: a call to a device, a worker that died."""
    CONSEQUENCE = 3
    """Another process failed first."""
    EMPTY = 4
    """Only that something failed: what it was is in another line of the same log."""
    WARNING = 5
    """The engine keeps running."""


class Signature(Struct, frozen=True, kw_only=True):
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
    explains: tuple[str, ...] = ()
    """Of a warning: the ids of failures that it is the cause of."""
    harms_requests: bool = False
    """It spoils requests of an engine that serves on."""


class Sighting(Struct, frozen=True, kw_only=True):
    """A signature or an unknown error in the logs. Place, time and text are those of its earliest line."""

    signature: Signature | None
    kind: LineKind
    """What the line reveals about the failure."""
    process: str
    node: str
    number: int
    """The number of the line, from 1, counted from where reading began."""
    record: int
    """The number of the line at which its record begins: a message and its traceback are one record."""
    at: float
    """By the time that the line carries, on a scale that only orders; 0: unknown."""
    until: float
    """The latest time that it may have been: many clocks print whole seconds only."""
    text: str
    sentence: str
    """The message of the line, without time, process and place."""
    processes: tuple[str, ...]
    """The processes that logged it, the earliest first."""
    count: int = 1
    logged: bool = False
    """A logger of Python's wrote it: the process may have run on."""
    native: bool = False
    """A native library wrote it."""
    survived: bool = False
    """The engine served afterwards."""

    @property
    def identity(self) -> str:
        """What equal sightings share: a signature's id, or an unknown error's message after a space."""
        return self.signature.id if self.signature else f" {self.sentence}"

    @property
    def follows(self) -> bool:
        """It follows from another failure or line, and so is not the first place to look."""
        return self.kind in (LineKind.GENERIC, LineKind.CONSEQUENCE, LineKind.EMPTY)

    @property
    def harms_requests(self) -> bool:
        """It may spoil requests of an engine that serves on, as errors of a transport do."""
        return self.signature.harms_requests if self.signature else self.native


class EndedProcess(Struct, frozen=True):
    """A process that ended by itself, and how: ``killed by SIGKILL``."""

    process: str
    node: str
    how: str


class RestartedLog(Struct, frozen=True):
    """A log that holds several launches, of which only the last is judged."""

    process: str
    launches: int
    began: int
    """The number of the line at which the last one begins."""


class Diagnosis(Struct, frozen=True, kw_only=True):
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
    restarted: tuple[RestartedLog, ...] = ()
    """Logs that hold several launches."""
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
        """Anything failed; a warning alone is no failure."""
        broke = self.first is not None and self.first.kind is not LineKind.WARNING
        return broke or bool(self.unexplained)
