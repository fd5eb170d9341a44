"""What a diagnosis speaks of: signatures of failures, where they were seen, and what came first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What a line says about a failure. Order: the most telling first."""

    CAUSE = 0
    UNKNOWN = 1
    """An error that no signature knows."""
    GENERIC = 2
    """Only that something failed: the cause stands in another line of the same log."""
    CONSEQUENCE = 3
    """Another process failed first."""
    WARNING = 4
    """The engine goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A line that is known: what it means and what to do about it."""

    id: str
    """A word, or the code that the library itself prints: ``EI0006``."""
    pattern: str
    words: tuple[str, ...]
    """Plain texts, one of which stands in every line of this kind."""
    kind: Kind = Kind.CAUSE
    engines: tuple[str, ...] = ()
    """Who writes it."""
    versions: str = ""
    """``vllm >= 0.18``; empty where it is bound to none."""
    cause: str
    remedy: str
    source: str
    """Where that is known from."""
    excerpt: tuple[str, ...]
    """Lines it looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A signature, or an unknown error, and who showed it. Place, time and text are of the earliest."""

    signature: Signature | None
    process: str
    node: str
    number: int
    """Line of its log, from 1, counted from where reading began."""
    at: float
    """By the clock that the line prints, on a scale that only orders; 0 unknown."""
    text: str
    processes: tuple[str, ...]
    """Who shows it, the earliest first."""
    count: int = 1

    @property
    def kind(self) -> Kind:
        """What it says about the failure."""
        return self.signature.kind if self.signature else Kind.UNKNOWN

    @property
    def follows(self) -> bool:
        """Never the first place to look."""
        return self.kind in (Kind.GENERIC, Kind.CONSEQUENCE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended although nobody asked it to, and how: ``killed by SIGKILL``."""

    process: str
    node: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the logs of many processes say together."""

    first: Sighting | None = None
    """Where to look: the earliest line that does not follow from another failure, on whichever rank.

    Where all only follow, the earliest of these; None when nothing failed.
    """
    others: tuple[Sighting, ...] = ()
    """All else, in order of time."""
    silent: tuple[str, ...] = ()
    """Where all only follow: processes of the same role that show nothing, and so may be what failed."""
    ended: tuple[Ended, ...] = ()
    """What its nodes know beside the logs; none where only logs were read."""
    waiting: tuple[str, ...] = ()
    """Processes that run and do not answer /health with 200: they load, or hang."""
    processes: int = 0
    lines: int = 0
    """How many were read."""

    @property
    def mute(self) -> tuple[Ended, ...]:
        """What ended without an error in its log: a process that is killed cannot write one."""
        heard = {name for sighting in (self.first, *self.others) if sighting for name in sighting.processes}
        return tuple(one for one in self.ended if one.process not in heard)

    @property
    def failed(self) -> bool:
        """Anything did."""
        return self.first is not None or bool(self.mute)
