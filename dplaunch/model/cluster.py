"""``ClusterSpec``: what the cluster file means, after ranges, defaults and names are resolved.

Made by ``spec`` from YAML, read by ``plan`` and ``engines``. Nothing here is as the user
typed it: node ranges are expanded, each role names its nodes, ports have their bases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

ArgValue = Union[str, int, float, bool, None, "tuple[ArgValue, ...]", "Mapping[str, ArgValue]"]
"""A value of an engine's flag: ``True`` is the bare flag, ``False``/``None`` leaves it out,
a mapping or a tuple of mappings becomes JSON, a tuple of scalars is given as several words."""

Family = Literal["a2", "a3", "gpu", "cpu"]
"""What the devices of a node are."""

PREFILL = "prefill"
DECODE = "decode"
SERVE = "serve"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret comes from, on the operator's machine. Holds the name, never the value."""

    source: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"***({self.source} {self.name})"


EnvValue = Union[str, SecretRef]
"""Literal text in which ``${NAME}`` is that node's value and ``$$`` a dollar; or a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSpec:
    """How to log in. ``None`` leaves the choice to ``~/.ssh/config`` and the agent."""

    user: str | None = None
    port: int | None = None
    key: str | None = None
    jump: str | None = None
    host_keys: Literal["strict", "accept-new"] = "strict"
    connect_timeout: float = 10.0
    """Seconds until a silent host counts as unreached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Which engine: ``version`` decides what is rendered ("0.9.1", "0.23.0")."""

    kind: str
    version: str
    path: str | None = None
    """``script``: the user's run_dp_template.sh, absolute on the operator's machine."""
    script_text: str | None = None
    """``script``: its content, read when the file was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a node is. ``family`` decides connector environment and device checks."""

    name: str = ""
    devices: int = 0
    family: Family = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One machine: how to reach it (``host``) and its ``address`` on the data network."""

    name: str
    host: str
    address: str
    nic: str | None = None
    devices: int = 0
    ssh: SshSpec = SshSpec()
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    args: Mapping[str, ArgValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """What surrounds every process on a node."""

    setup: tuple[str, ...] = ()
    """Shell lines run before the engine (a non-login shell knows nothing of CANN)."""
    python: str = "python3"
    """The engine's Python; the router runs in it too."""


@dataclass(frozen=True, slots=True)
class Container:
    """A running container of that name on every node, in which everything happens."""

    name: str
    engine: Literal["docker", "podman"] = "docker"

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that make it run inside."""
        return (self.engine, "exec", "-i", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """One role. ``dp`` is the size of ONE group; ``masters`` holds one node name per group."""

    name: str
    nodes: tuple[str, ...]
    groups: int = 1
    dp: int = 1
    tp: int = 1
    pp: int = 1
    pcp: int = 1
    dcp: int = 1
    expert_parallel: bool = False
    """True renders ``--enable-expert-parallel``; its size is dp × tp."""
    masters: tuple[str, ...] = ()
    """Node name of rank 0 per group; empty means each group's first node."""
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    """``defaults.env`` overlaid by the role's own."""
    args: Mapping[str, ArgValue] = field(default_factory=dict)
    """``defaults.args`` overlaid by the role's own."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """First TCP ports to hand out on each host, by the engine's names; its own base where one is missing."""
    drain_timeout: float = 600.0
    """Seconds that requests of a group have to finish before it is stopped."""

    @property
    def devices_per_rank(self) -> int:
        """Devices one engine occupies: tp × pp × pcp (dcp reuses the tp devices)."""
        return self.tp * self.pp * self.pcp

    @property
    def ep_size(self) -> int:
        """Expert-parallel size of one group, dp × tp; 1 when off."""
        return self.dp * self.tp if self.expert_parallel else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KvTransferSpec:
    """How prefill hands KV to decode; sizes, roles and ports are computed by the engine adapter."""

    connector: str
    extra: Mapping[str, ArgValue] = field(default_factory=dict)
    rank_table: str | None = None
    """LLMDataDist only: path of the rank table on the nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSpec:
    """The process clients talk to."""

    node: str
    kind: Literal["dplaunch", "vllm-router", "vllm-ascend", "none"] = "dplaunch"
    port: int = 8000
    path: str | None = None
    """``vllm-ascend``: the upstream proxy script on the node."""
    workers: int = 1
    policy: Literal["tokens", "round-robin"] = "tokens"
    args: Mapping[str, ArgValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSpec:
    """What ``check`` looks at on every node that loads the model."""

    path: str | None = None
    """A folder, the same on every node; None when the model is a name, whose place the engine chooses."""
    check: Literal["size", "sha256"] = "size"
    """How files are compared between nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupSpec:
    """Requests that every engine which computes prompts gets before "ready", one after another."""

    requests_per_engine: int = 2
    prompt_tokens: int = 1024
    output_tokens: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Entries that win for one engine (``decode-3``) or one node (``node:n2``)."""

    env: Mapping[str, EnvValue] = field(default_factory=dict)
    args: Mapping[str, ArgValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """The whole cluster file, resolved. Precedence of env and args: defaults < role < node < override."""

    name: str
    engine: EngineSpec
    model: str
    served_model_name: str
    hardware: Hardware
    nodes: tuple[NodeSpec, ...]
    roles: tuple[RoleSpec, ...]
    """prefill before decode; or one role that does both."""
    runtime: RuntimeSpec = RuntimeSpec()
    container: Container | None = None
    weights: WeightsSpec = WeightsSpec()
    kv_transfer: KvTransferSpec | None = None
    router: RouterSpec | None = None
    api_key: SecretRef | None = None
    warmup: WarmupSpec | None = None
    overrides: Mapping[str, Override] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    """before_up, after_up, after_down: a shell command on the operator's machine."""
    drain_timeout: float = 600.0
    """Seconds that what runs has to finish before it is stopped; each role has its own resolved."""
    ready_timeout: float = 2400.0
    """Seconds ``up`` waits for readiness."""
    source: str = ""
    """Path of the cluster file, as given."""

    @property
    def disaggregated(self) -> bool:
        """Prefill and decode are separate roles."""
        return len(self.roles) > 1
