"""The state of a cluster as ``fleet.verdict`` concludes it from a plan and an observation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from msgspec import Struct, field

from dplaunch.model.difference import Difference


class ClusterHealth(Enum):
    """The state of the cluster in one word."""

    SERVING = "serving"
    """Every engine and the router respond, and each role has a group that is open to clients."""
    DONE = "done"
    """Nothing but jobs, and services for them, was to run, and all jobs have ended with code 0."""
    CLOSED = "closed"
    """Every engine and the router respond, and the router refuses clients: a role has no open group."""
    STARTING = "starting"
    """Everything runs, but part of it is not ready yet."""
    DEGRADED = "degraded"
    """Every role has a group that serves; another part failed, is missing or unreachable."""
    OUTAGE = "outage"
    """No client is served: a role has no group that serves, or the router does not run."""
    DOWN = "down"
    """Nothing runs."""
    UNKNOWN = "unknown"
    """The nodes that would know are unreachable."""


class RouterReport(Struct, frozen=True, kw_only=True):
    """What the router reports of its groups; nothing where it is foreign or does not respond."""

    closed: tuple[str, ...] = ()
    """Groups that clients do not reach: held, draining, or yet to be proved by the router."""
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Endpoint that takes requests and answers none → how the router found it."""
    skipped_prefill: int = 0
    """Requests that a decode engine computed alone, since the router's start."""


class RoleSummary(Struct, frozen=True, kw_only=True):
    """One role in figures. ``engines`` counts endpoints; a group serves if all of its endpoints are ready."""

    role: str
    groups: int
    groups_ready: int
    engines: int
    engines_ready: int


class Cause(Struct, frozen=True, kw_only=True):
    """What broke first: a process, or a node that is unreachable (``process`` is empty then)."""

    node: str
    process: str = ""
    how: str = "unreachable"
    """``killed by SIGKILL``, ``missing``, ``running, but not ready``, ``stuck``."""
    ago: float = 0.0
    """Seconds since it ended; 0 where that is unknown."""
    mend: Literal["up", "restart"] = "up"
    """The verb that mends it; what runs is left as it is by ``up``."""
    hint: str = ""
    """What to do instead, where its state is such that dplaunch leaves it alone."""


class LastProof(Struct, frozen=True, kw_only=True):
    """The last proof, if nothing has changed the cluster since."""

    passed: bool
    verb: str
    who: str
    """user@host."""
    age: float
    """Seconds."""
    reason: str = ""
    """Why it failed."""
    earlier: bool = False
    """The verb proved what it changed; ``reason`` is what a proof of the whole cluster found before it."""


class Lookups(Struct, frozen=True, kw_only=True):
    """Prompt tokens that engines looked up in a store of KV since they started, and found there."""

    asked: int
    found: int


class Summary(Struct, frozen=True, kw_only=True):
    """The state of a cluster. Process names are those of the plan, node names those of the cluster file."""

    state: ClusterHealth
    roles: tuple[RoleSummary, ...] = ()
    cause: Cause | None = None
    """Of an outage, or of what is degraded."""
    out: tuple[str, ...] = ()
    """Groups that do not serve because part of them does not."""
    held: tuple[str, ...] = ()
    """Groups that the router keeps closed because they are not proved yet, or are being changed."""
    unreached: tuple[str, ...] = ()
    """Unreachable nodes."""
    stale: tuple[str, ...] = ()
    """Nodes that run another revision than that of the plan."""
    differences: tuple[Difference, ...] = ()
    """What differs between the plan and what runs there."""
    registered: str = ""
    """How many ranks have reported to Redis, and which have not; empty where they do not report."""
    lookups: Lookups | None = None
    """None: no engine has a store."""
    router_ok: bool | None = None
    """None: the plan has no router."""
    skipped_prefill: int = 0
    """Requests that a decode engine computed alone, since the router's start."""
    proof: LastProof | None = None
    """None: the cluster was changed after its last proof, or was never proved."""
