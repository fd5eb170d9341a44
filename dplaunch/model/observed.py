"""``Observed``: what the nodes say runs. Made by ``wire`` from a guard's answer, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    """State of one process, as its node reports it."""

    RUNNING = "running"
    UNGUARDED = "unguarded"
    """Its guard was killed; it still serves."""
    STOPPING = "stopping"
    EXITED = "exited"
    """Gone although nobody asked: a failure, whatever the exit code."""
    STOPPED = "stopped"
    FOREIGN = "foreign"
    """State written by another host or an earlier boot: shown, never acted on."""


def ending(code: int | None, signal: str) -> str:
    """``killed by SIGKILL``, ``exited with code 1``; without the code where nobody was there to see it."""
    if signal:
        return f"killed by {signal}"
    return "exited" if code is None else f"exited with code {code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedProcess:
    """One process. Times are seconds since the epoch on its node."""

    name: str
    kind: str
    role: str
    group: str
    node: str
    state: State
    pid: int = 0
    guard_pid: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    signal: str = ""
    how: str = ""
    """How it ended, as its guard says: TERM, KILL, swept; ``rebooted``: with its machine."""
    healthy: bool | None = None
    """Answer of /health on the node; None when not asked."""
    restarts: int = 0
    fingerprint: str = ""
    log: str = ""
    """Absolute path on the node."""
    left: tuple[int, ...] = ()
    """Processes still alive below a main process that is gone."""
    ports: tuple[int, ...] = ()
    url: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Node and name."""
        return self.node, self.name

    @property
    def alive(self) -> bool:
        """Anything of it still runs."""
        return self.state in (State.RUNNING, State.UNGUARDED, State.STOPPING) or bool(self.left)

    @property
    def ending(self) -> str:
        """How it ended: ``killed by SIGKILL``, ``exited with code 1``."""
        rebooted = self.how == "rebooted"
        return "gone, its machine was restarted" if rebooted else ending(self.exit_code, self.signal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedNode:
    """One node's answer."""

    name: str
    revision: str = ""
    hostname: str = ""
    clock: float = 0.0
    """Its clock when it answered, seconds since the epoch."""
    processes: tuple[ObservedProcess, ...] = ()
    lock: Mapping[str, object] = field(default_factory=dict)
    """Holder and verb; empty when free."""
    audit: Mapping[str, object] = field(default_factory=dict)
    """The last entry of its audit trail; empty when it keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All nodes: those that answered, and why the others did not."""

    nodes: tuple[ObservedNode, ...] = ()
    unreached: Mapping[str, str] = field(default_factory=dict)
    """node → one-line reason."""

    @property
    def processes(self) -> tuple[ObservedProcess, ...]:
        """Every process, nodes in order."""
        return tuple(p for node in self.nodes for p in node.processes)
