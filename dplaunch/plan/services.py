"""Services, jobs and files beside the engines: as processes and files of their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from dplaunch.engines.adapter import NamedFile
from dplaunch.engines.layout import url
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, FileSpec, NodeSpec, RedisSpec, SecretRef, ServiceSpec
from dplaunch.model.plan import Api, Endpoint, File, Process, Ready, StopStep
from dplaunch.render import fill, render, sh_env

REDIS = "redis"
REDIS_PASSWORD = "DPLAUNCH_REDIS_PASSWORD"  # noqa: S105 - the variable's name
FILES = "files"
"""Folder of the node's folder for files with relative paths."""


def services(spec: ClusterSpec) -> tuple[ServiceSpec, ...]:
    """All of them: Redis first, where dplaunch starts it."""
    started = spec.redis if spec.redis and spec.redis.node else None
    return (*((_redis(started),) if started else ()), *spec.services)


def _redis(redis: RedisSpec) -> ServiceSpec:
    """Without snapshots and log: what schedulers keep in it is worth nothing after its end."""
    flags = {"port": redis.port, "bind": redis.host, "protected-mode": "no", "save": "", "appendonly": "no"}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    secret = {REDIS_PASSWORD: redis.password} if redis.password else {}
    return ServiceSpec(
        name=REDIS,
        node=redis.node,
        command=("redis-server", "-", *words) if secret else ("redis-server", *words),
        env=secret,
        ports=(redis.port,),
        ready="tcp",
        ready_at=redis.port,
        stdin=f"requirepass ${{{REDIS_PASSWORD}}}" if secret else "",
    )


def service_files(
    spec: ClusterSpec, node: NodeSpec, service: ServiceSpec, read: NamedFile | None
) -> tuple[File, ...]:
    """The script that starts it, and the file that it ``read``s."""
    literal = {name: value for name, value in service.env.items() if isinstance(value, str)}
    beside = [File(f"services/{service.name}/{read.name}", read.text)] if read else []
    if read:
        literal[read.variable] = f"${{DPLAUNCH_ROOT}}/{beside[0].path}"
    context = {
        "title": f"{spec.name}: {service.name} on {node.name} ({node.address})",
        "setup": spec.runtime.setup,
        "address": node.address,
        "env": literal,
        "secrets": sorted(set(service.env) - set(literal)),
        "command": " ".join(sh_env(word) for word in service.command),
        "stdin": sh_env(service.stdin) if service.stdin else "",
    }
    return (File(_script(service), render("service/run_service.sh.j2", context), 0o755), *beside)


def _script(service: ServiceSpec) -> str:
    return f"services/{service.name}/run_service.sh"


def service_process(
    node: NodeSpec, service: ServiceSpec, files: Sequence[File], engines: Sequence[str]
) -> Process:
    """The process; ``engines``: names of the engine processes, after which it may have to start."""
    job = service.ready == "exit"
    return Process(
        name=service.name,
        kind="job" if job else "service",
        role=service.name,
        group=service.name,
        node=node.name,
        argv=("bash", _script(service)),
        env={name: value for name, value in service.env.items() if isinstance(value, SecretRef)},
        files=tuple(file.path for file in files),
        ports=service.ports,
        stop=(StopStep("TERM", 10.0), StopStep("KILL", 10.0)),
        endpoints=_endpoints(node, service),
        ready=_ready(service),
        after=() if service.before else tuple(engines),
        restarts=not job,
    )


def _ready(service: ServiceSpec) -> Ready:
    if service.ready == "line":
        return Ready("line", service.ready_by)
    return Ready("exit") if service.ready == "exit" else Ready()


def _endpoints(node: NodeSpec, service: ServiceSpec) -> tuple[Endpoint, ...]:
    """What is asked whether it is ready; none where nothing answers."""
    if service.ready not in ("tcp", "http"):
        return ()
    where = url(node.address, service.ready_at)
    health = service.ready_by
    if service.ready == "tcp":
        where, health = where.replace("http:", "tcp:"), "/"
    return (
        Endpoint(
            name=service.name,
            role=service.name,
            group=service.name,
            node=node.name,
            url=where,
            api=Api(health=health, models="", completions="", metrics=""),
        ),
    )


def node_files(spec: ClusterSpec, node: NodeSpec) -> tuple[File, ...]:
    """The files of the key ``files`` for this node."""
    return tuple(_file(spec, node, one) for one in spec.files if node.name in one.nodes)


def _file(spec: ClusterSpec, node: NodeSpec, one: FileSpec) -> File:
    path = one.path if one.path.startswith("/") else f"{FILES}/{one.path}"
    return File(path, fill(one.text, _values(spec, node)) if one.template else one.text, one.mode, one.owner)


def check_files(spec: ClusterSpec) -> Iterator[Problem]:
    """Templates that cannot be filled in."""
    for number, one in enumerate(spec.files):
        nodes = [node for node in spec.nodes if one.template and node.name in one.nodes]
        wrong = next(filter(None, (_unfilled(spec, node, one) for node in nodes)), "")
        if wrong:
            yield Problem(
                f"the template of {one.path} cannot be filled in: {wrong}",
                key=f"files[{number}].template",
                hint="templates know cluster, model, node, nodes, services and redis",
            )


def _unfilled(spec: ClusterSpec, node: NodeSpec, one: FileSpec) -> str:
    try:
        fill(one.text, _values(spec, node))
    except ValueError as error:
        return str(error)
    return ""


def _values(spec: ClusterSpec, node: NodeSpec) -> Mapping[str, object]:
    """What a template may name."""
    addresses = {one.name: one.address for one in spec.nodes}
    return {
        "cluster": spec.name,
        "model": spec.model,
        "node": {"name": node.name, "address": node.address, "devices": list(node.devices)},
        "nodes": [{"name": one.name, "address": one.address} for one in spec.nodes],
        "services": {
            one.name: {"node": one.node, "address": addresses.get(one.node, ""), "ports": list(one.ports)}
            for one in services(spec)
        },
        "redis": {"host": spec.redis.host, "port": spec.redis.port} if spec.redis else None,
    }


def before_engines(spec: ClusterSpec) -> tuple[str, ...]:
    """What must be ready, or done, before an engine starts."""
    return tuple(service.name for service in services(spec) if service.before)


def rehearsed_services(spec: ClusterSpec) -> ClusterSpec:
    """Stand-ins in their place, and no file outside the node's folder."""
    address = {node.name: node.address for node in spec.nodes}
    redis = spec.redis
    if redis is not None:
        # one that runs elsewhere must not meet a rehearsal
        node = redis.node or spec.nodes[0].name
        redis = replace(redis, node=node, host=address.get(node, redis.host))
    return replace(
        spec,
        redis=redis,
        services=tuple(_played(service) for service in spec.services),
        files=tuple(replace(one, path=one.path.lstrip("/"), owner="") for one in spec.files),
    )


def _played(service: ServiceSpec) -> ServiceSpec:
    how = "job" if service.ready == "exit" else ",".join(str(port) for port in service.ports)
    ready = {"ready": "line", "ready_by": "stands in for"} if service.ready in ("line", "started") else {}
    return replace(service, command=("dplaunch-service", how or "-", *service.command), **ready)
