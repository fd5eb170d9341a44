"""``Summary``: what the fleet concludes from a plan and an observation. The verdict is made there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Health(Enum):
    """The cluster in one word."""

    SERVING = "serving"
    """Every engine and the router answer."""
    STARTING = "starting"
    """Everything needed runs, some of it is not ready yet."""
    DEGRADED = "degraded"
    """Some of it serves, some of it failed, is missing or was not reached."""
    DOWN = "down"
    """Nothing of it runs."""
    UNKNOWN = "unknown"
    """No node that would know was reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSummary:
    """One role in figures, counted in endpoints; a group is ready when all of its endpoints are."""

    role: str
    groups: int
    groups_ready: int
    engines: int
    engines_ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastProof:
    """The last time that somebody asked for real answers, if nothing was done to the cluster since."""

    holds: bool
    verb: str
    who: str
    """user@host."""
    age: float
    """Seconds."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The verdict on a cluster. Names are process names; nodes are named as the file does."""

    state: Health
    roles: tuple[RoleSummary, ...] = ()
    held: tuple[str, ...] = ()
    """Groups that the router keeps closed: they were not proved yet, or are being changed."""
    leftover: tuple[str, ...] = ()
    """Not planned, and still there."""
    unreached: tuple[str, ...] = ()
    """Nodes that did not answer."""
    stale: tuple[str, ...] = ()
    """Nodes that run another revision than the plan's."""
    router_ok: bool | None = None
    """None: the plan has no router, or it was not asked."""
    proof: LastProof | None = None
    """None: nobody proved it since it was changed."""
