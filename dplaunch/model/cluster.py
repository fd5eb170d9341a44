"""``ClusterSpec``: the meaning of a cluster file, with ranges, defaults and names resolved.

``spec`` makes it from YAML; ``plan`` and ``engines`` read it. Node ranges are expanded, each role names its
nodes, and ports have their bases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Union

from msgspec import Struct, field

from dplaunch.model.kubernetes import KubernetesSpec

if TYPE_CHECKING:
    ArgValue = Union[str, int, float, bool, "tuple[ArgValue, ...]", "Mapping[str, ArgValue]", None]
else:
    ArgValue = Any  # msgspec, which reads saved plans, knows no types that contain themselves
"""The value of an engine's flag: ``True`` gives the bare flag, ``False`` its ``--no-`` form where the engine
has one, ``None`` leaves the flag out, a
mapping or a tuple of mappings becomes JSON, a tuple of scalars becomes several words."""

Family = Literal["a2", "a3", "a5", "gpu", "cpu"]
"""The kind of a node's devices."""

Lb = Literal["external", "hybrid", "internal", "supervisor"]
"""Who balances requests over a group's ranks, and so which of its processes have an HTTP server.

external: the router; every rank is a process with a server of its own. hybrid: a process and a server for
each node, which balances over the ranks there. internal: one server for the whole group, none on other nodes.
supervisor: as external, with one parent process for each node.
"""

NPUS = ("a2", "a3", "a5")
"""The kinds that are Ascend NPUs; a5 is the 950, whose nodes describe their links in files."""

PREFILL = "prefill"
DECODE = "decode"
SERVE = "serve"


class SecretRef(Struct, frozen=True):
    """Where the operator's machine finds a secret: its name, never its value."""

    source: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"***({self.source} {self.name})"


EnvValue = Union[str, SecretRef]
"""Text in which ``${NAME}`` stands for the node's own value and ``$$`` for a dollar; or a secret."""


class SshSpec(Struct, frozen=True, kw_only=True):
    """How to log in. ``None`` leaves the choice to ``~/.ssh/config`` and the agent."""

    user: str | None = None
    port: int | None = None
    key: str | None = None
    jump: str | None = None
    host_keys: Literal["strict", "accept-new"] = "strict"
    connect_timeout: float = 10.0
    """Seconds after which a silent host counts as unreachable."""


class EngineSpec(Struct, frozen=True, kw_only=True):
    """The engine. ``version`` ("0.9.1", "0.23.0") decides what is rendered."""

    kind: str
    version: str
    path: str | None = None
    """``script``: the user's run_dp_template.sh, absolute on the operator's machine."""
    script_text: str | None = None
    """``script``: its content, read together with the cluster file."""
    rank_table: str | None = None
    """Its rank table: absolute on the nodes, or on the operator's machine; None: dplaunch makes it."""
    rank_table_text: str | None = None
    """The content of one on the operator's machine."""


class Hardware(Struct, frozen=True, kw_only=True):
    """The hardware of a node. ``family`` decides the connector's environment and the device checks."""

    name: str = ""
    devices: tuple[int, ...] = ()
    """Numbers of the devices that may be used on a node; none: engines are not pinned to devices."""
    family: Family = "cpu"


class NodeSpec(Struct, frozen=True, kw_only=True):
    """One machine: how to reach it (``host``) and its ``address`` on the data network."""

    name: str
    host: str
    address: str
    nic: str | None = None
    devices: tuple[int, ...] = ()
    """Numbers of the devices that may be used, in the order in which seats take them."""
    ssh: SshSpec = SshSpec()
    pod: str = ""
    """The pod that stands for it; its address is then a name."""
    workload: str = ""
    """The object that makes the pod."""
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    args: Mapping[str, ArgValue] = field(default_factory=dict)


class RuntimeSpec(Struct, frozen=True, kw_only=True):
    """The environment of every process on a node."""

    setup: tuple[str, ...] = ()
    """Shell lines to run before the engine (a non-login shell lacks CANN's environment)."""
    python: str = "python3"
    """The engine's Python, which also runs the router."""


class Image(Struct, frozen=True, kw_only=True):
    """What dplaunch starts a container from, one on each node."""

    reference: str
    """As docker and podman take it: ``quay.io/ascend/vllm-ascend:v0.23.0-a3``."""
    archive: str | None = None
    """A file of ``docker save`` on some node, loaded where the image is missing; None: it is pulled."""
    args: tuple[str, ...] = ()
    """Further words of the run command, after those that dplaunch writes."""
    mounts: tuple[str, ...] = ()
    """``PATH``, ``PATH:PATH`` or ``PATH:PATH:ro``: machine, container."""
    shm_size: str | None = None
    """Of its own ``/dev/shm``; None: it shares the machine's."""


class Container(Struct, frozen=True):
    """The container on every node in which everything runs."""

    name: str
    engine: Literal["docker", "podman"] = "docker"
    image: Image | None = None
    """What dplaunch starts it from, and removes it again; None: it is another's, and runs."""
    owner: str = ""
    """``CLUSTER/NODE``: the label by which ours is known. Set by the plan, where there is an image."""
    stamp: str = ""
    """Digest of its run command: one with another stamp is started again. Set by the plan."""
    needs: tuple[str, ...] = ()
    """Paths of the machine that it is given, and that must be there. Set by the plan."""


class DboSpec(Struct, frozen=True, kw_only=True):
    """Dual-batch overlap is on. Thresholds in tokens of one rank's step; None: the engine's own."""

    decode_token_threshold: int | None = None
    """From how many tokens on a step without prefill is split."""
    prefill_token_threshold: int | None = None
    """From how many tokens on a step with prefill is split."""


class RoleSpec(Struct, frozen=True, kw_only=True):
    """One role. ``dp`` is the size of one group; ``masters`` holds one node name for each group."""

    name: str
    nodes: tuple[str, ...]
    groups: int = 1
    dp: int = 1
    tp: int = 1
    pp: int = 1
    pcp: int = 1
    dcp: int = 1
    expert_parallel: bool = False
    """Renders ``--enable-expert-parallel``; the expert-parallel size is dp × pcp × tp."""
    dbo: DboSpec | None = None
    """Dual-batch overlap; None: it is off."""
    lb: Lb = "external"
    masters: tuple[str, ...] = ()
    """The node of rank 0 of each group; empty: each group's first node."""
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    """``defaults.env``, overridden by the role's own."""
    args: Mapping[str, ArgValue] = field(default_factory=dict)
    """``defaults.args``, overridden by the role's own."""
    path: str | None = None
    """``script``: this role's own script, where it is not the engine's."""
    script_text: str | None = None
    pods: int = 0
    """Pods of each group, where the engine makes its own; else 0."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The engine's port name → first TCP port on each host; the engine has a default for each name."""
    drain_timeout: float = 600.0
    """How many seconds the requests of a group have to finish before it is stopped."""

    @property
    def devices_per_rank(self) -> int:
        """Devices of one engine: tp × pp × pcp (dcp uses the devices of tp)."""
        return self.tp * self.pp * self.pcp

    @property
    def nodes_per_rank(self) -> int:
        """Nodes over which one engine is spread: above 1 where a group has more nodes than ranks."""
        nodes = len(self.nodes) // self.groups
        return nodes // self.dp if nodes > self.dp and not nodes % self.dp else 1

    @property
    def devices_per_seat(self) -> int:
        """Devices that one engine takes on each of its nodes."""
        return self.devices_per_rank // self.nodes_per_rank

    @property
    def seats_per_node(self) -> int:
        """Ranks, or parts of one, on each node; valid once groups and dp divide."""
        return max(1, self.groups * self.dp // len(self.nodes))

    def nodes_of(self, group: int) -> tuple[str, ...]:
        """The nodes dealt to a group in order: several to each, or one to several groups."""
        share = len(self.nodes) // self.groups
        if share:
            return self.nodes[group * share : (group + 1) * share]
        return (self.nodes[group * len(self.nodes) // self.groups],)


class KvTransferSpec(Struct, frozen=True, kw_only=True):
    """How KV moves from prefill to decode. The engine's adapter computes sizes, roles and ports."""

    connector: str
    extra: Mapping[str, ArgValue] = field(default_factory=dict)
    by_role: Mapping[str, Mapping[str, ArgValue]] = field(default_factory=dict)
    """Role → what is laid over ``extra`` for its engines."""
    store: Mapping[str, ArgValue] = field(default_factory=dict)
    """What the file that a pool's clients read holds beside, or instead of, what is computed."""
    rank_table: str | None = None
    """For LLMDataDist only: the path of the rank table on the nodes."""

    @property
    def entries(self) -> tuple[tuple[str, Mapping[str, ArgValue]], ...]:
        """Connectors that work as one, each with its place below ``kv_transfer``."""
        blocks = {"extra": self.extra, **self.by_role}
        return tuple(found for name, block in blocks.items() for found in _listed(name, block))

    @property
    def connectors(self) -> tuple[str, ...]:
        """Every connector named: the outer one, then those that it combines."""
        listed = (str(entry.get("kv_connector", "")) for _, entry in self.entries)
        return tuple(dict.fromkeys((self.connector, *listed)))


def _listed(place: str, block: Mapping[str, ArgValue]) -> Iterator[tuple[str, Mapping[str, ArgValue]]]:
    """The entries of ``connectors`` in a block, written there or one level below."""
    inner, found = block.get("kv_connector_extra_config"), block.get("connectors")
    if found is None and isinstance(inner, Mapping):
        place, found = f"{place}.kv_connector_extra_config", inner.get("connectors")
    entries = tuple(e for e in found if isinstance(e, Mapping)) if isinstance(found, tuple) else ()
    for index, entry in enumerate(entries):
        yield f"{place}.connectors.{index}", entry


class RouterSpec(Struct, frozen=True, kw_only=True):
    """The process that clients connect to."""

    node: str
    kind: str = "dplaunch"
    """dplaunch, none, or the name of a foreign one."""
    port: int = 8000
    path: str | None = None
    """The script of a foreign one on the node."""
    workers: int = 1
    policy: Literal["tokens", "round-robin"] = "tokens"
    args: Mapping[str, ArgValue] = field(default_factory=dict)


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """A program beside the engines, supervised as they are; or a job, which runs to its end."""

    name: str
    node: str
    command: tuple[str, ...]
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    """TCP ports it listens on, at its node's address."""
    ready: Literal["tcp", "http", "line", "started", "exit"] = "started"
    """It accepts a connection; answers 200; prints a line; runs; has ended with code 0, as a job does."""
    ready_at: int = 0
    """The port of ``tcp`` and ``http``."""
    ready_by: str = ""
    """The path of ``http``, the regular expression of ``line``."""
    before: bool = True
    """It must be ready before the engines start; else it starts when they are ready."""
    stdin: str = ""
    """Text with ``${NAME}`` that the command reads: secrets stand in no file and on no command line."""


class RedisSpec(Struct, frozen=True, kw_only=True):
    """The Redis that engines meet at. ``node``: where dplaunch starts it; empty: it runs already."""

    host: str
    port: int = 6379
    node: str = ""
    password: SecretRef | None = None


class FileSpec(Struct, frozen=True, kw_only=True):
    """A file that nodes have before anything starts."""

    path: str
    """Absolute, or relative to ``files/`` in the node's folder."""
    nodes: tuple[str, ...]
    text: str
    template: bool = False
    """The text is a template: ``{{ node.address }}``."""
    mode: int = 0o644
    owner: str = ""
    """``user`` or ``user:group``; empty: whoever dplaunch logs in as."""


class WeightsSpec(Struct, frozen=True, kw_only=True):
    """The weights that ``check`` compares on every node that loads the model."""

    path: str | None = None
    """A folder, the same on every node; None if the model is a name, whose folder the engine chooses."""
    check: Literal["size", "sha256"] = "size"
    """How the files of different nodes are compared."""


class WarmupSpec(Struct, frozen=True, kw_only=True):
    """Requests that every engine that computes prompts gets before it is proved, one after another."""

    requests_per_engine: int = 2
    prompt_tokens: int = 1024
    output_tokens: int = 8


class Override(Struct, frozen=True, kw_only=True):
    """Values that override others for one engine (``decode-3``) or one node (``node:n2``)."""

    env: Mapping[str, EnvValue] = field(default_factory=dict)
    args: Mapping[str, ArgValue] = field(default_factory=dict)


class ClusterSpec(Struct, frozen=True, kw_only=True):
    """A whole cluster file. Precedence of env and args: defaults < role < node < override."""

    name: str
    engine: EngineSpec
    model: str
    served_model_name: str
    """The name that clients ask for."""
    hardware: Hardware
    nodes: tuple[NodeSpec, ...]
    roles: tuple[RoleSpec, ...]
    """Prefill and decode, in this order; or one role that does both."""
    runtime: RuntimeSpec = RuntimeSpec()
    container: Container | None = None
    kubernetes: KubernetesSpec | None = None
    """How nodes are made as pods; None: they are machines."""
    deployed: KubernetesSpec | None = None
    """The same section for an engine that makes its own pods, from a control node; None: it does not."""
    weights: WeightsSpec = WeightsSpec()
    kv_transfer: KvTransferSpec | None = None
    router: RouterSpec | None = None
    aliases: tuple[str, ...] = ()
    """Further names of the model or of its LoRA adapters that clients ask for."""
    api_key: SecretRef | None = None
    """What clients, engines and the launcher show."""
    api_keys: Mapping[str, SecretRef] = field(default_factory=dict)
    """Name → a further key that our router takes from clients."""
    warmup: WarmupSpec | None = None
    overrides: Mapping[str, Override] = field(default_factory=dict)
    services: tuple[ServiceSpec, ...] = ()
    """Services, then jobs; ``redis`` among them where dplaunch starts it."""
    redis: RedisSpec | None = None
    files: tuple[FileSpec, ...] = ()
    hooks: Mapping[str, str] = field(default_factory=dict)
    """before_up, after_up, after_down → a shell command for the operator's machine."""
    drain_timeout: float = 600.0
    """How many seconds running requests have to finish before a stop; each role has its own value."""
    ready_timeout: float = 2400.0
    """How many seconds ``up`` waits for readiness."""
    source: str = ""
    """The path of the cluster file, as given."""

    @property
    def disaggregated(self) -> bool:
        """Whether prefill and decode are separate roles."""
        return len(self.roles) > 1
