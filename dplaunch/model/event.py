"""Events: the only values that flow from the walks to the view while something happens.

``at`` is in seconds by the launcher's monotonic clock and is set by the walk; the view reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True):
    """Something happened at ``at``."""

    at: float


class PhaseBegan(Event, frozen=True, kw_only=True):
    """A phase of a walk has begun: connect, lock, start, load, prove, stop …"""

    phase: str
    detail: str = ""


class PhaseEnded(Event, frozen=True, kw_only=True):
    """A phase is over, ``seconds`` after it began."""

    phase: str
    seconds: float
    detail: str = ""


class NodeFailed(Event, frozen=True, kw_only=True):
    """A node is unreachable or its stream broke; the walk continues on the other nodes."""

    node: str
    text: str
    hint: str = ""


class Surveyed(Event, frozen=True, kw_only=True):
    """A node has run ``done`` of the ``count`` commands of a preflight."""

    node: str
    done: int
    count: int


class Draining(Event, frozen=True, kw_only=True):
    """What still runs on engines that are out of service: endpoint → its requests."""

    requests: Mapping[str, int]


class Started(Event, frozen=True, kw_only=True):
    """A process has started: its exec succeeded."""

    process: str
    node: str
    pid: int


class Milestone(Event, frozen=True, kw_only=True):
    """A process has reached a start-up stage (``index`` of ``count``), or made progress inside it."""

    process: str
    stage: str
    index: int
    count: int
    fraction: float = 0.0
    """0…1 inside the stage, if its line carries progress (shards loaded)."""


class BecameReady(Event, frozen=True, kw_only=True):
    """A process is ready: asked on its own node, /health is 200 and /v1/models has the served model."""

    process: str
    seconds: float


class Proved(Event, frozen=True, kw_only=True):
    """The answer to a completion whose right answer is known is right (``process`` may be ``router``)."""

    process: str
    seconds: float
    text: str = ""


class Failed(Event, frozen=True, kw_only=True):
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


class Stopped(Event, frozen=True, kw_only=True):
    """A stop sequence has ended; ``left`` names what is still alive or bound."""

    process: str
    node: str
    seconds: float
    how: str = ""
    """TERM, INT, KILL, swept, or "was not running"."""
    left: tuple[str, ...] = ()


class Note(Event, frozen=True, kw_only=True):
    """One sentence for the user that no other event carries."""

    text: str
