"""Typed events: the only thing that flows from the walks to the view while something happens.

``at`` is seconds (monotonic of the launcher, put in by the walk); nothing downstream reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened at ``at``."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan(Event):
    """A phase of the walk: connect, lock, start, load, prove, stop …"""

    phase: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded(Event):
    """The phase is over, ``seconds`` after it began."""

    phase: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(Event):
    """A node was not reached or its stream broke; others go on."""

    node: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed(Event):
    """A node has answered ``done`` of the ``count`` commands of a preflight."""

    node: str
    done: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """exec succeeded."""

    process: str
    node: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone(Event):
    """A log line that marks a start-up stage (``index`` of ``count``), or progress inside it."""

    process: str
    stage: str
    index: int
    count: int
    fraction: float = 0.0
    """0…1 inside the stage, where the line says so (shards loaded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Event):
    """/health is 200 and /v1/models names the served model, asked on the node itself."""

    process: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved(Event):
    """A known-answer completion came back right (``process`` may be ``router``)."""

    process: str
    seconds: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """A process failed: exit, refused start, wrong answer. ``cause`` is the line that says why."""

    process: str
    node: str
    text: str
    cause: str = ""
    log: str = ""
    mute: bool = False
    """It ended in a way that writes no error: killed, or with code 0."""
    tail: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """The verdict of a stop sequence; ``left`` names what is still alive or bound."""

    process: str
    node: str
    seconds: float
    how: str = ""
    """TERM, INT, KILL, swept, "was not running"."""
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """One sentence for the user that fits no other event."""

    text: str
