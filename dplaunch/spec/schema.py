"""The cluster file as pydantic models: every key, its kind, its default.

What keys mean stands in ``reference.yaml``; rules across keys are in ``rules``.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    model_validator,
)
from pydantic_core import CoreSchema

from dplaunch.engines import kinds
from dplaunch.engines.routers import OURS
from dplaunch.model.cluster import Family, Lb
from dplaunch.spec import values
from dplaunch.spec.document import Reading
from dplaunch.spec.finding import KeyPath, counted
from dplaunch.spec.flags import Args, RouterArgs
from dplaunch.spec.kubernetes import Kubernetes
from dplaunch.spec.section import Section
from dplaunch.spec.values import (
    ArgAny,
    Devices,
    Duration,
    Env,
    ExpertParallel,
    Hosts,
    Interface,
    Name,
    Names,
    NodeNames,
    Port,
    Secret,
    Size,
    Text,
    Tokens,
    Word,
)


def _empty() -> Any:
    """A section left out has nothing in it: as if ``{}`` stood there, judged by the file's one validator."""
    return Field(default_factory=dict, validate_default=True)


class _OneOf:
    """In the schema one of the names that are known when it is made."""

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        del core, handler
        return {"enum": list(self._known()), "type": "string"}


class Engine(Section):
    """Which engine runs."""

    kind: Annotated[str, PlainValidator(values.engine_kind), _OneOf(kinds)]
    version: values.Version | None = None
    path: Text | None = None
    rank_table: Text | None = None


class Weights(Section):
    """Where the weights are, for ``check``."""

    path: values.Folder | None = None
    check: Literal["size", "sha256"] = "size"


class Ssh(Section):
    """How to log in."""

    user: Word | None = None
    port: Port | None = None
    key: Text | None = None
    jump: Word | None = None
    host_keys: Literal["strict", "accept-new"] = "strict"
    connect_timeout: Duration = 10.0


class Hardware(Section):
    """What a node holds."""

    name: Text | None = None
    devices: Devices
    family: Family | None = None


class _OrPreset:
    """In the schema hardware is a name or the map that the name stands for."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {"anyOf": [{"enum": list(values.PRESETS)}, handler(core)]}


class Node(Section):
    """One node, or several with ranges that go in step."""

    name: NodeNames
    host: Hosts | None = None
    address: Hosts | None = None
    nic: Interface | None = None
    devices: Devices | None = None
    ssh: Ssh = _empty()
    env: Env = Field(default_factory=dict)
    args: Args = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_step(self) -> "Node":
        for key, names in (("host", self.host), ("address", self.address)):
            if names is not None and len(names) != len(self.name):
                raise values.refuse(
                    f"name stands for {counted(len(self.name), 'node')}, {key} for {len(names)}",
                    "ranges of one entry go in step: n[1-4] with 192.0.2.[1-4]",
                )
        return self


class Runtime(Section):
    """What surrounds every process on a node."""

    setup: list[Text] = Field(default_factory=list)
    python: Text = "python3"
    container: Name | None = None
    engine: Literal["docker", "podman"] = "docker"
    image: Word | None = None
    archive: values.Folder | None = None
    args: list[Text] = Field(default_factory=list)
    mounts: list[values.Mount] = Field(default_factory=list)
    shm_size: values.Memory | None = None


class EnvAndArgs(Section):
    """Environment and flags."""

    env: Env = Field(default_factory=dict)
    args: Args = Field(default_factory=dict)


class Ports(Section):
    """First ports to hand out: those that most engines have, and whatever else an engine has."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Port]

    http: Port | None = None
    rpc: Port | None = None
    kv: Port | None = None
    supervisor: Port | None = None
    master: Port | None = None

    def given(self) -> dict[str, int]:
        """Those that the file names."""
        return {name: port for name, port in self if port is not None}


class Dbo(Section):
    """Dual-batch overlap."""

    decode_token_threshold: values.Threshold | None = None
    prefill_token_threshold: values.Threshold | None = None


class _OrSwitch:
    """In the schema true and false may stand for a map."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {"anyOf": [{"type": "boolean"}, handler(core)]}


class Role(Section):
    """One role."""

    nodes: Names
    groups: Size = 1
    dp: Size = 1
    tp: Size = 1
    pp: Size = 1
    pcp: Size = 1
    dcp: Size = 1
    ep: ExpertParallel = False
    dbo: Annotated[Annotated[Dbo, _OrSwitch()] | None, BeforeValidator(values.dbo)] = None
    lb: Lb = "external"
    master: Names | None = None
    path: Text | None = None
    pods: Size | None = None
    env: Env = Field(default_factory=dict)
    args: Args = Field(default_factory=dict)
    ports: Ports = _empty()
    drain_timeout: Duration | None = None


class Roles(Section):
    """Prefill and decode, or one that serves alone; in the order in which seats are counted."""

    prefill: Role | None = None
    decode: Role | None = None
    serve: Role | None = None

    def given(self) -> dict[str, Role]:
        """The roles of this file by name, in the order in which seats are counted."""
        return {name: role for name, role in self if role is not None}


class KvTransfer(Section):
    """How prefill hands its KV cache to decode."""

    connector: Text
    extra: dict[str, ArgAny] = Field(default_factory=dict)
    prefill: dict[str, ArgAny] = Field(default_factory=dict)
    decode: dict[str, ArgAny] = Field(default_factory=dict)
    store: dict[str, ArgAny] = Field(default_factory=dict)
    rank_table: Text | None = None


class Router(Section):
    """The process clients talk to."""

    node: Text | None = None
    kind: Annotated[str, PlainValidator(values.router_kind), _OneOf(lambda: values.ROUTERS)] = OURS
    port: Port = 8000
    path: Text | None = None
    workers: Size = 1
    policy: Literal["tokens", "round-robin"] = "tokens"
    args: RouterArgs = Field(default_factory=dict)


class Warmup(Section):
    """Requests before "ready"."""

    requests_per_engine: Size = 2
    prompt_tokens: Tokens = 1024
    output_tokens: Tokens = 8


class Readiness(Section):
    """What makes a service ready: one of these."""

    tcp: Port | None = None
    http: Port | None = None
    path: values.UrlPath = "/"
    line: values.Pattern | None = None

    @model_validator(mode="after")
    def _one(self) -> "Readiness":
        given = [name for name in ("tcp", "http", "line") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise values.refuse(
                f"ready takes one of tcp, http and line, and {found} is given", "ready: {tcp: 6379}"
            )
        return self


class Job(Section):
    """A program that runs to its end."""

    node: Text | None = None
    command: Annotated[list[values.CommandWord], Field(min_length=1)]
    env: Env = Field(default_factory=dict)
    start: Literal["before", "after"] = "before"


class Service(Job):
    """A program beside the engines."""

    ports: list[Port] = Field(default_factory=list)
    ready: Readiness | None = None


class Redis(Section):
    """The Redis that engines meet at: one to start, or one that runs."""

    node: Text | None = None
    port: Port = 6379
    url: values.RedisUrl | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _one(self) -> "Redis":
        if (self.node is None) == (self.url is None):
            given = "neither is given" if self.node is None else "both are given"
            raise values.refuse(
                f"redis takes node, to start one there, or url of one that runs, and {given}",
                "redis: {node: n1}, or redis: {url: redis://192.0.2.9:6379}",
            )
        return self


class NodeFile(Section):
    """A file on nodes."""

    path: values.FilePath
    nodes: Names | None = None
    content: ArgAny | None = None
    source: Text | None = None
    template: Text | None = None
    mode: values.Mode = 0o644
    owner: values.Owner = ""

    @model_validator(mode="after")
    def _one(self) -> "NodeFile":
        given = [name for name in ("content", "source", "template") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise values.refuse(
                f"a file takes one of content, source and template, and {found} is given",
                "content: {key: value}, or source: FILE beside the cluster file",
            )
        return self


class Hooks(Section):
    """Commands on the operator's machine."""

    before_up: Text | None = None
    after_up: Text | None = None
    after_down: Text | None = None


class File(Section):
    """A cluster file of dplaunch."""

    cluster: Name
    driver: Literal["machines", "kubernetes"] = "machines"
    engine: Engine
    model: Text
    served_model_name: values.ModelNames | None = None
    weights: Weights = _empty()
    ssh: Ssh = _empty()
    hardware: Annotated[Hardware, BeforeValidator(values.preset), _OrPreset()] | None = None
    nodes: Annotated[list[Node], Field(min_length=1)]
    runtime: Runtime = _empty()
    kubernetes: Kubernetes | None = None
    defaults: EnvAndArgs = _empty()
    roles: Roles
    kv_transfer: KvTransfer | None = None
    ports: Ports = _empty()
    router: Router = _empty()
    warmup: Warmup | None = None
    api_key: Secret | None = None
    api_keys: dict[Name, Secret] = Field(default_factory=dict)
    overrides: dict[Annotated[str, AfterValidator(values.selector)], EnvAndArgs] = Field(default_factory=dict)
    services: dict[Name, Service] = Field(default_factory=dict)
    jobs: dict[Name, Job] = Field(default_factory=dict)
    redis: Redis | None = None
    files: list[NodeFile] = Field(default_factory=list)
    hooks: Hooks = _empty()
    drain_timeout: Duration = 600.0
    ready_timeout: Duration = 2400.0


_DEPTH = {"defaults": 1, "router": 1, "kv_transfer": 1, "nodes": 2, "roles": 2, "overrides": 2}
_DEPTH |= {"services": 2, "jobs": 2, "files": 2}
"""Keys down from the top at which env, args, extra and content stand."""
_READINGS = {
    "env": Reading.WRITTEN,
    **dict.fromkeys(("args", "extra", "prefill", "decode", "store", "content"), Reading.ANY),
}


def reading(path: KeyPath) -> Reading:
    """Values of ``env`` are read as written; below ``args`` and ``extra`` anything goes, ``null`` too."""
    depth = _DEPTH.get(str(path[0]), 0) if path else 0
    if not depth or len(path) <= depth + 1:
        return Reading.VALUE
    return _READINGS.get(str(path[depth]), Reading.VALUE)
