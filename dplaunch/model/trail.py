"""The audit trail: who did what to a cluster, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field


class Result(Enum):
    """How a verb ended."""

    BEGAN = "began"
    """It has started to change something."""
    READY = "ready"
    """It changed something, and what it proved holds."""
    PROVED = "proved"
    """It changed nothing, and what it proved holds."""
    DETACHED = "detached"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    STOPPED = "stopped"
    """Everything was stopped, and nothing is left."""
    INCOMPLETE = "incomplete"
    """Something is left."""


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the trail. ``at``: seconds since the epoch, by the operator's clock."""

    at: float
    who: str
    """user@host."""
    verb: str
    result: Result
    revision: str = ""
    reason: str = ""
    """Why it failed."""
    unproved: str = ""
    """What an earlier proof found wrong in a part that this verb did not prove."""
    started: int = 0
    """Processes started."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each phase."""


class Lock(Struct, frozen=True, kw_only=True):
    """Who holds the cluster's lock. ``since``: seconds since the epoch."""

    holder: str
    verb: str
    since: float
