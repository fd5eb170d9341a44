"""``Plan``: everything that will run, complete and printable.

Made by ``plan`` (with ``engines`` and ``render``), sent by ``fleet``. What is printed is what
is sent: argv are lists of words, files are whole texts, secrets are named, not held. Paths of
files and in argv are relative to the node's state folder, which is every process's cwd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from dplaunch.model.cluster import EnvValue, RouterSpec, RuntimeSpec, SecretRef, SshSpec, WarmupSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports of one engine. ``kv`` is the half-open range its devices may bind."""

    http: int
    rpc: int
    """The group's rendezvous port on the master's node; 0 for a stand-alone engine (dp 1)."""
    kv_base: int = 0
    """What the group is configured with (``kv_port``); 0 without KV transfer."""
    kv: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where an engine sits. ``rank`` counts in its group, ``local_rank`` on its node in its group."""

    engine: str
    role: str
    group: int
    node: str
    address: str
    rank: int
    local_rank: int
    local_size: int
    """Engines of this group on this node."""
    devices: tuple[int, ...]
    master: str
    """Address of the group's rank 0."""
    ports: Ports

    @property
    def group_name(self) -> str:
        """``prefill/0``: unique in the cluster."""
        return f"{self.role}/{self.group}"


@dataclass(frozen=True, slots=True)
class File:
    """A text to put on a node. ``path`` is relative to the node's state folder."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class StopStep:
    """Send ``signal`` (a name: TERM, INT, KILL) and wait up to ``grace`` seconds."""

    signal: str
    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """What to ask on the node itself to learn that a process serves."""

    url: str
    """http://ADDRESS:PORT, without a path."""
    health: str = "/health"
    models: str = "/v1/models"
    served_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One supervised process: an engine or a service."""

    name: str
    kind: Literal["engine", "service"]
    role: str
    """prefill, decode, serve; or ``router``."""
    group: str
    """``decode/0``; a service is a group of its own: its name."""
    node: str
    argv: tuple[str, ...]
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    """Only what cannot stand in the script: secrets."""
    files: tuple[str, ...] = ()
    """Paths of the node's files this process depends on: they enter its fingerprint."""
    ports: tuple[int, ...] = ()
    """Ports it will bind; checked free before start and after stop."""
    stop: tuple[StopStep, ...] = (StopStep("TERM", 30.0), StopStep("KILL", 10.0))
    probe: HttpProbe | None = None
    start_last: bool = False
    """A foreign router that must see serving engines when it starts."""
    restarts: bool = False
    """A service the guard starts again when it dies."""
    seat: Seat | None = None
    fingerprint: str = ""
    """Hash of argv, env names, file texts: what ``diff`` compares with what runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """All of one node."""

    name: str
    host: str
    address: str
    ssh: SshSpec
    runtime: RuntimeSpec
    files: tuple[File, ...]
    processes: tuple[Process, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One engine as the router sees it."""

    name: str
    role: str
    group: str
    url: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A start-up stage: the log line that shows it was reached. A group ``percent`` tells progress inside."""

    name: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole cluster. ``revision`` is a short hash of all of it."""

    cluster: str
    revision: str
    engine: str
    """``vllm-ascend 0.23.0``."""
    model: str
    served_model_name: str
    nodes: tuple[NodePlan, ...]
    members: tuple[Member, ...]
    router: RouterSpec | None
    endpoint: str
    """http://HOST:PORT clients use; the router's, or the first engine's without one."""
    api_key: SecretRef | None = None
    ready_timeout: float = 2400.0
    warmup: WarmupSpec | None = None
    hooks: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    """Start-up stages of the engine, in order."""
    warnings: tuple[str, ...] = ()
    rehearsal: bool = False
    local: bool = False
    """Every node is this machine: no SSH (``--rehearse``)."""

    @property
    def processes(self) -> tuple[Process, ...]:
        """Every process, nodes in order."""
        return tuple(p for node in self.nodes for p in node.processes)


class Change(Enum):
    """The whole vocabulary of change; the value is the symbol shown."""

    START = "+"
    STOP = "-"
    RESTART = "±"
    KEEP = " "


@dataclass(frozen=True, slots=True)
class Action:
    """What ``up`` will do to one process, and why (``new``, ``changed``, ``died``, ``not in the file``)."""

    change: Change
    process: str
    node: str
    reason: str = ""
