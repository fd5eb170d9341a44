"""``Observed``: what runs, as the nodes report it. Made by a driver from their replies, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import replace

from dplaunch.model.plan import Place
from dplaunch.model.trail import Entry, Lock


class State(Enum):
    """State of one process, as its node reports it."""

    RUNNING = "running"
    UNGUARDED = "unguarded"
    """Its guard was killed; it still runs."""
    STOPPING = "stopping"
    EXITED = "exited"
    """It ended without being asked: a failure, unless it is a job that is done."""
    DONE = "done"
    """A job that ended with code 0."""
    STOPPED = "stopped"
    FOREIGN = "foreign"
    """State written by another host or an earlier boot: reported, never acted on."""
    UNKNOWN = "unknown"
    """It runs or is guarded, but its state cannot be read; its guard writes it again within seconds."""
    INCOMPATIBLE = "incompatible"
    """Started by a dplaunch whose guards speak another protocol: reported, never acted on."""


RUNS = (State.RUNNING, State.UNGUARDED)


def ending(code: int | None, signal: str) -> str:
    """``killed by SIGKILL``, ``exited with code 1``; without the code where nothing was there to see it."""
    if signal:
        return f"killed by {signal}"
    return "exited" if code is None else f"exited with code {code}"


class ObservedEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint as its node sees it. ``healthy`` is None where it was not asked."""

    name: str
    url: str = ""
    healthy: bool | None = None
    stuck: str = ""
    """How the router found that it answers its health path and nothing else; it is not healthy then."""


class ObservedProcess(Struct, frozen=True, kw_only=True):
    """One process. Times are seconds since the epoch on its node."""

    name: str
    kind: str
    role: str
    group: str
    node: str
    state: State
    pid: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    signal: str = ""
    how: str = ""
    """How it ended, as its guard reports it: TERM, KILL, swept; ``rebooted``: with its machine.

    ``container``: with its container; ``lost``: what it has deployed is not there any more.
    """
    endpoints: tuple[ObservedEndpoint, ...] = ()
    restarts: int = 0
    fingerprint: str = ""
    log: str = ""
    """Absolute path on the node."""
    left: tuple[int, ...] = ()
    """Processes still alive below a main process that is gone."""
    ports: tuple[int, ...] = ()
    hands_over: bool = False
    """A new run of it can take over while it runs."""
    problem: str = ""
    """Why its state cannot be used, as a sentence that begins with its name."""
    hint: str = ""
    """What to do about the problem."""

    @property
    def place(self) -> Place:
        """Node and name."""
        return self.node, self.name

    @property
    def alive(self) -> bool:
        """Anything of it still runs, or may: of incompatible state nothing else is known."""
        running = (*RUNS, State.STOPPING, State.INCOMPATIBLE, State.UNKNOWN)
        return self.state in running or bool(self.left)

    @property
    def unclear(self) -> bool:
        """What it is cannot be told well enough to act on it: ``problem`` and ``hint`` explain it."""
        return self.state in (State.FOREIGN, State.UNKNOWN, State.INCOMPATIBLE)

    @property
    def runs(self) -> bool:
        """Its main process is alive."""
        return self.state in RUNS

    @property
    def healthy(self) -> bool | None:
        """All endpoints are healthy; None where there are none or they were not asked."""
        found = [endpoint.healthy for endpoint in self.endpoints]
        if not found or None in found:
            return None
        return all(found)

    @property
    def stuck(self) -> bool:
        """It takes requests and answers none at one of its endpoints."""
        return self.runs and any(endpoint.stuck for endpoint in self.endpoints)

    @property
    def serves(self) -> bool:
        """It runs and every endpoint answered its health path with 200; of a job: it is done."""
        if self.kind == "job" or not self.runs:
            return self.state is State.DONE
        return self.healthy is True or not self.endpoints

    def endpoint_serves(self, name: str) -> bool:
        """It runs, and this endpoint of it answered its health path with 200."""
        return self.runs and any(e.healthy is True for e in self.endpoints if e.name == name)

    @property
    def ending(self) -> str:
        """How it ended: ``killed by SIGKILL``, ``exited with code 1``."""
        if self.how == "rebooted":
            return "ended when the machine rebooted"
        if self.how == "lost":
            return "lost what it deployed"
        if self.how == "container":
            return "ended with its container"
        return ending(self.exit_code, self.signal)


class ObservedNode(Struct, frozen=True, kw_only=True):
    """One node's reply."""

    name: str
    revision: str = ""
    """Of the plan last sent to it."""
    hostname: str = ""
    clock: float = 0.0
    """Its own time, seconds since the epoch."""
    processes: tuple[ObservedProcess, ...] = ()
    lock: Lock | None = None
    last: Entry | None = None
    """The last entry of its audit trail."""

    @property
    def boxed(self) -> ObservedNode:
        """The same where all runs in a container: its end is to processes what a reboot is elsewhere."""
        ended = (replace(p, how="container") if p.how == "rebooted" else p for p in self.processes)
        return replace(self, processes=tuple(ended))


class Observed(Struct, frozen=True, kw_only=True):
    """All nodes that replied; the others are in ``unreached`` with their reason."""

    nodes: tuple[ObservedNode, ...] = ()
    unreached: Mapping[str, str] = field(default_factory=dict)

    @property
    def processes(self) -> tuple[ObservedProcess, ...]:
        """Of all nodes that replied."""
        return tuple(p for node in self.nodes for p in node.processes)
