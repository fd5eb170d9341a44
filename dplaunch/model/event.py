"""Events: the only values that flow from the walks to the view while something happens.

``at`` is in seconds by the launcher's monotonic clock and is set by the walk; the view reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened at ``at``."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan(Event):
    """A phase of a walk has begun: connect, lock, start, load, prove, stop …"""

    phase: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded(Event):
    """A phase is over, ``seconds`` after it began."""

    phase: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(Event):
    """A node is unreachable or its stream broke; the walk continues on the other nodes."""

    node: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed(Event):
    """A node has run ``done`` of the ``count`` commands of a preflight."""

    node: str
    done: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A process has started: its exec succeeded."""

    process: str
    node: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone(Event):
    """A process has reached a start-up stage (``index`` of ``count``), or made progress inside it."""

    process: str
    stage: str
    index: int
    count: int
    fraction: float = 0.0
    """0…1 inside the stage, if its line carries progress (shards loaded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BecameReady(Event):
    """A process is ready: asked on its own node, /health is 200 and /v1/models has the served model."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved(Event):
    """The answer to a completion whose right answer is known is right (``process`` may be ``router``)."""

    process: str
    seconds: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """A process exited, was not started or gave a wrong answer. ``cause``: the log line that explains it."""

    process: str
    node: str
    text: str
    cause: str = ""
    log: str = ""
    mute: bool = False
    """It ended in a way that logs no error: it was killed, or exited with code 0."""
    tail: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """A stop sequence has ended; ``left`` names what is still alive or bound."""

    process: str
    node: str
    seconds: float
    how: str = ""
    """TERM, INT, KILL, swept, or "was not running"."""
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """One sentence for the user that no other event carries."""

    text: str
