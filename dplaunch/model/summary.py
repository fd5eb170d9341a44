"""The state of a cluster as ``fleet.verdict`` concludes it from a plan and an observation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ClusterHealth(Enum):
    """The state of the cluster in one word."""

    SERVING = "serving"
    """Every engine and the router respond, and each role has a group that is open to clients."""
    CLOSED = "closed"
    """Every engine and the router respond, and the router refuses clients: a role has no open group."""
    STARTING = "starting"
    """Everything runs, but part of it is not ready yet."""
    DEGRADED = "degraded"
    """Part of the cluster serves; another part failed, is missing or unreachable."""
    DOWN = "down"
    """Nothing runs."""
    UNKNOWN = "unknown"
    """The nodes that would know are unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSummary:
    """One role in figures. ``engines`` counts endpoints."""

    role: str
    engines: int
    engines_ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastProof:
    """The last proof, if nothing has changed the cluster since."""

    passed: bool
    verb: str
    who: str
    """user@host."""
    age: float
    """Seconds."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The state of a cluster. Process names are those of the plan, node names those of the cluster file."""

    state: ClusterHealth
    roles: tuple[RoleSummary, ...] = ()
    held: tuple[str, ...] = ()
    """Groups that the router keeps closed because they are not proved yet, or are being changed."""
    unreached: tuple[str, ...] = ()
    """Unreachable nodes."""
    stale: tuple[str, ...] = ()
    """Nodes that run another revision than that of the plan."""
    router_ok: bool | None = None
    """None: the plan has no router."""
    proof: LastProof | None = None
    """None: the cluster was changed after its last proof, or was never proved."""
