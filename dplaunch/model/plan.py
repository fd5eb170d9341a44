"""``Plan``: everything that will run, complete and printable.

Made by ``plan`` (with ``engines`` and ``render``), sent by ``fleet``. What is printed is what
is sent: argv are lists of words, files are whole texts, secrets are named, not held. Paths of
files and in argv are relative to the node's state folder, which is every process's cwd.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from msgspec import Struct, field

from dplaunch.model.cluster import (
    Container,
    EnvValue,
    RouterSpec,
    RuntimeSpec,
    SecretRef,
    SshSpec,
    WarmupSpec,
)
from dplaunch.model.kubernetes import Deployment, KubernetesPlan, Pod

Place = tuple[str, str]
"""Node and name: a name alone may stand on two nodes for a while, in what was planned and in what runs."""

Flow = Literal["alone", "pull", "push"]
ROUTER = "router"
CONTAINER = "container.sh"
"""The file of a node's folder that starts its container; every process in that depends on it."""


class PortRange(Struct, frozen=True):
    """Neighbouring TCP ports of one use. ``base``: what the whole group is configured with."""

    first: int
    count: int = 1
    base: int = 0

    @property
    def ports(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.count)


class Seat(Struct, frozen=True, kw_only=True):
    """Where a data-parallel rank sits; ``rank`` counts in its group, ``local_rank`` there on its node."""

    name: str
    """The rank's own: ``decode-3``, counted through the role's groups."""
    role: str
    group: int
    node: str
    address: str
    rank: int
    local_rank: int
    local_size: int
    """Ranks of this group on this node."""
    devices: tuple[int, ...]
    part: int = 0
    """Which part of its rank, where one is spread over several nodes: 0 holds the rank's server."""
    parts: int = 1
    master: str
    """Address of the group's rank 0."""
    ports: Mapping[str, PortRange] = field(default_factory=dict)
    """By the engine's names: ``http``, ``rpc`` (the group's rendezvous, on the master's node), ``kv``."""

    @property
    def group_name(self) -> str:
        """``prefill/0``: unique in the cluster."""
        return f"{self.role}/{self.group}"

    @property
    def leads(self) -> bool:
        """Its group meets here."""
        return self.rank == 0 and self.part == 0

    def port(self, name: str) -> int:
        """The first port of that name; 0 where the rank has none."""
        return self.ports[name].first if name in self.ports else 0


class File(Struct, frozen=True):
    """A text to put on a node. ``path`` is relative to the node's state folder, or absolute."""

    path: str
    text: str
    mode: int = 0o644
    owner: str = ""
    """``user`` or ``user:group``; empty: whoever writes it."""


class StopStep(Struct, frozen=True):
    """Send ``signal`` (a name: TERM, INT, KILL) and wait up to ``grace`` seconds."""

    signal: str
    grace: float


class Api(Struct, frozen=True, kw_only=True):
    """What an HTTP server answers: paths, and the names of its Prometheus metrics. Empty: it has none."""

    health: str = "/health"
    models: str = "/v1/models"
    completions: str = "/v1/completions"
    metrics: str = "/metrics"
    registered: str = ""
    """A router's: a JSON map from role to how many engines have registered with it."""
    running: str = ""
    """Gauge of the requests it works on."""
    waiting: str = ""
    """Gauge of the requests in its queue."""
    fetched: tuple[str, ...] = ()
    """Counters that grow when KV comes from elsewhere, best first: ``name`` or ``name{label="value"}``."""
    looked_up: tuple[str, ...] = ()
    """Counters of prompt tokens looked up in a store of KV, and found there; none without a store."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """An HTTP address that clients, the router and the proof use."""

    name: str
    """``decode-3``: what users, pairs and the router call it."""
    role: str
    group: str
    """``decode/0``."""
    node: str
    url: str
    """http://ADDRESS:PORT, without a path; tcp://ADDRESS:PORT where a connection is all that is asked."""
    ranks: tuple[int, ...] = ()
    """Ranks it answers for: one, a node's or a whole group's; none for a service."""
    api: Api = Api()
    model: str = ""
    """The served model that it must name to be ready; empty: not asked."""
    health_url: str = ""
    """Where its health is asked, as ``url``, if not there."""

    @property
    def place(self) -> Place:
        """Node and name."""
        return self.node, self.name


class Ready(Struct, frozen=True):
    """When a process is ready.

    ``http``: every endpoint answers its health path with 200 and names the model. ``line``: a line of its
    output matches the regular expression ``pattern``. ``exit``: it has ended with code 0, as a job does.
    """

    how: Literal["http", "line", "exit"] = "http"
    pattern: str = ""


class LogFile(Struct, frozen=True):
    """A file the process writes itself, beside its output. ``path``: in the node's folder; may be a glob."""

    name: str
    path: str


class Process(Struct, frozen=True, kw_only=True):
    """What runs and is supervised: an engine (one rank or many), a service, or a job that ends."""

    name: str
    """``decode-3`` where a process is one rank, ``decode@n5`` where one parent holds many."""
    kind: Literal["engine", "service", "job"]
    role: str
    """prefill, decode, serve; or ``router``."""
    group: str
    """``decode/0``; a service is a group of its own: its name."""
    node: str
    argv: tuple[str, ...]
    flags: tuple[str, ...] = ()
    """Flags of the engine's command line, where dplaunch writes it: a check looks for them in its help."""
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    """Only what cannot stand in the script: secrets."""
    files: tuple[str, ...] = ()
    """Paths of the node's files this process depends on: they enter its fingerprint."""
    ports: tuple[int, ...] = ()
    """Ports it will bind; checked free before start and after stop."""
    stop: tuple[StopStep, ...] = (StopStep("TERM", 30.0), StopStep("KILL", 10.0))
    seats: tuple[Seat, ...] = ()
    """The ranks in it."""
    endpoints: tuple[Endpoint, ...] = ()
    ready: Ready = Ready()
    after: tuple[str, ...] = ()
    """Processes that must be ready before it starts."""
    logs: tuple[LogFile, ...] = ()
    restarts: bool = False
    """A service the guard starts again when it dies."""
    hands_over: bool = False
    """A new run takes over from the one that runs, without a gap, and that one finishes what it has."""
    fingerprint: str = ""
    """Hash of argv, env names, file texts: what ``diff`` compares with what runs."""

    @property
    def place(self) -> Place:
        """Node and name."""
        return self.node, self.name

    @property
    def units(self) -> tuple[str, ...]:
        """What of it is awaited and counted: its endpoints, or itself where something else makes it ready."""
        if self.ready.how == "http" and self.endpoints:
            return tuple(endpoint.name for endpoint in self.endpoints)
        return (self.name,)


class Registry(Struct, frozen=True, kw_only=True):
    """The hash in Redis to which ranks report: ``UUID_RANK`` → JSON with ``ts``, ``role`` and ``host``."""

    address: str
    """HOST:PORT."""
    node: str
    """Which node asks."""
    key: str
    password: SecretRef | None = None
    expires: float = 3.0
    """Seconds after which a report counts no more."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """What it calls a role, where that has another name there."""


class NodePlan(Struct, frozen=True, kw_only=True):
    """All of one node."""

    name: str
    host: str
    address: str
    ssh: SshSpec
    runtime: RuntimeSpec
    files: tuple[File, ...]
    processes: tuple[Process, ...]
    container: Container | None = None
    """Where its guards, their state and all processes are; None: on the machine itself."""
    pod: Pod | None = None
    """The same where a pod stands for the machine; ``host`` is then where kubectl runs."""


class RankTable(Struct, frozen=True, kw_only=True):
    """The rank table by which the engines of a group find one another's devices."""

    path: str
    """Where they read it: absolute, or relative to the node's state folder."""
    nodes: tuple[str, ...]
    """In the order of their ranks."""
    made: bool = True
    """`up` makes it of what devices report; else it is a file of the plan, or on the nodes already."""
    containers: bool = False
    """Each server names its container's address too."""


class Stage(Struct, frozen=True):
    """A start-up stage: its pattern matches a log line. The group ``percent`` is the progress inside it."""

    name: str
    pattern: str


class Plan(Struct, frozen=True, kw_only=True):
    """The whole cluster. ``revision`` is a short hash of all of it."""

    cluster: str
    revision: str
    engine: str
    """``vllm-ascend 0.23.0``."""
    model: str
    served_model_name: str
    nodes: tuple[NodePlan, ...]
    """Their files are all that is sent, except ``members``."""
    router: RouterSpec | None
    url: str
    """http://HOST:PORT that clients use; the router's, or the first engine's without one."""
    flow: Flow = "alone"
    """How a request goes through the engines: one does all; decode pulls KV; prefill pushes it to decode."""
    members: File | None = None
    """What our router reads, every group open as for a start by hand; walks send it with other states."""
    api_key: SecretRef | None = None
    api_keys: Mapping[str, SecretRef] = field(default_factory=dict)
    ready_timeout: float = 2400.0
    """Seconds."""
    drain_timeout: Mapping[str, float] = field(default_factory=dict)
    """Role → seconds that requests of a group have to finish before it is stopped."""
    registry: Registry | None = None
    """Where ranks report, if they do."""
    warmup: WarmupSpec | None = None
    rank_table: RankTable | None = None
    hooks: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    """Start-up stages of the engine, in order."""
    kubernetes: KubernetesPlan | None = None
    """What makes the pods; None: nodes are machines."""
    deployment: Deployment | None = None
    """What the engine's own program makes on Kubernetes; None: it makes nothing there."""
    warnings: tuple[str, ...] = ()
    rehearsal: bool = False
    local: bool = False
    """Every node is this machine: no SSH (``--rehearse``)."""

    @property
    def title(self) -> str:
        """The cluster's name in sentences: nothing that rehearses can be mistaken for production."""
        return f"REHEARSAL of {self.cluster}" if self.rehearsal else self.cluster

    @property
    def processes(self) -> tuple[Process, ...]:
        """Every process, nodes in order."""
        return tuple(p for node in self.nodes for p in node.processes)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint of an engine, nodes in order."""
        return tuple(e for p in self.processes if p.kind == "engine" for e in p.endpoints)

    @property
    def jobs(self) -> tuple[Process, ...]:
        """Processes that end by themselves."""
        return tuple(process for process in self.processes if process.kind == "job")

    @property
    def is_job(self) -> bool:
        """There is nothing to ask for an answer: all that is not a service ends by itself."""
        return bool(self.jobs) and not any(process.kind == "engine" for process in self.processes)

    @property
    def router_process(self) -> Process | None:
        """The router; None where there is none."""
        return next((p for p in self.processes if p.role == ROUTER), None)


class Steps(Struct, frozen=True, kw_only=True):
    """Steps of one kind, and from how many tokens of a rank on dual-batch overlap splits them."""

    kind: str
    """``with prefill``."""
    least: int | None
    """None: never."""
    most: int | None = None
    """Tokens of the largest such step; None: the engine decides."""

    @property
    def splits(self) -> bool:
        """Whether a step can be large enough."""
        return self.least is not None and (self.most is None or self.least <= self.most)

    def describe(self) -> str:
        """``steps with prefill from 512 to 8192 tokens``."""
        if self.least is None:
            return f"steps {self.kind}: never"
        if not self.splits:
            return f"steps {self.kind}: never, as {self.least} tokens are needed and {self.most} are the most"
        most = f"to {self.most} tokens" if self.most else "tokens on"
        return f"steps {self.kind}: from {self.least} {most}"


class Overlap(Struct, frozen=True, kw_only=True):
    """Which steps of a role dual-batch overlap splits into micro-batches."""

    steps: tuple[Steps, ...]
    conditions: tuple[str, ...] = ()
    """What must hold too for a step to be split: clauses."""
    parts: int = 2


class Change(Enum):
    """The whole vocabulary of change; the value is the symbol that is printed."""

    START = "+"
    STOP = "-"
    RESTART = "±"
    KEEP = " "


class Action(Struct, frozen=True):
    """What ``up`` will do to one process, and why (``new``, ``changed``, ``died``, ``not in the file``)."""

    change: Change
    process: str
    node: str
    reason: str = ""
    group: str = ""

    @property
    def place(self) -> Place:
        """Node and process."""
        return self.node, self.process
