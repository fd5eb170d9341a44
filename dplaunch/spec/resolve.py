"""The file's models → ``ClusterSpec``: ranges unfolded, defaults laid under, names looked up.

Lenient on purpose: names that lead nowhere are left as they are, and ``rules`` reports them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from posixpath import dirname, join, normpath

from msgspec.structs import replace

from dplaunch.engines import facts
from dplaunch.model.cluster import (
    DECODE,
    PREFILL,
    ClusterSpec,
    Container,
    DboSpec,
    EngineSpec,
    Family,
    Hardware,
    Image,
    KvTransferSpec,
    NodeSpec,
    Override,
    RoleSpec,
    RouterSpec,
    RuntimeSpec,
    SshSpec,
    WarmupSpec,
    WeightsSpec,
)
from dplaunch.ranges import expand
from dplaunch.spec import additions, pods, schema

NODE = "node:"
"""What marks a node among the keys of ``overrides``."""

_LOOPBACK = "127.0.0.1"


def resolve(file: schema.File, source: str, scripts: Mapping[str, str]) -> ClusterSpec:
    """What the file means. ``source`` is its path: relative paths in it start at its folder.

    ``scripts`` holds the texts of the user's own scripts and files, by what the file calls them.
    """
    hardware = _hardware(file)
    served, *aliases = file.served_model_name or (file.model,)
    nodes = tuple(node for entry in file.nodes for node in _nodes(entry, file, hardware))
    roles = tuple(
        replace(
            _role(name, role, file, nodes),
            path=beside(source, role.path) if role.path else None,
            script_text=scripts.get(role.path or ""),
        )
        for name, role in file.roles.given().items()
    )
    router = _router(file, nodes)
    section = pods.kubernetes(file)
    deploys = facts(file.engine.kind).deploys
    kubernetes = None if deploys else section
    if kubernetes is not None:
        nodes = pods.as_pods(file.cluster, nodes, roles, router, kubernetes)
    return ClusterSpec(
        name=file.cluster,
        engine=_engine(file.engine, source, scripts),
        model=file.model,
        served_model_name=served,
        aliases=tuple(aliases),
        weights=_weights(file),
        hardware=hardware,
        nodes=nodes,
        roles=roles,
        runtime=RuntimeSpec(setup=tuple(file.runtime.setup), python=file.runtime.python),
        container=_container(file),
        kubernetes=kubernetes,
        deployed=section if deploys else None,
        kv_transfer=_kv_transfer(file),
        router=router,
        warmup=WarmupSpec(**dict(file.warmup)) if file.warmup else None,
        api_key=file.api_key,
        api_keys=dict(file.api_keys),
        overrides=dict(_overrides(file)),
        services=additions.services(file, nodes),
        redis=additions.redis(file.redis, nodes),
        files=additions.files(file, nodes, scripts),
        hooks={name: command for name, command in file.hooks if command},
        drain_timeout=file.drain_timeout,
        ready_timeout=file.ready_timeout,
        source=source,
    )


def _container(file: schema.File) -> Container | None:
    """The plan completes the name of one that dplaunch starts: it has the node's in it."""
    given = file.runtime
    if given.image is None:
        return Container(given.container, given.engine) if given.container else None
    image = Image(
        reference=given.image,
        archive=given.archive,
        args=tuple(given.args),
        mounts=tuple(given.mounts),
        shm_size=given.shm_size,
    )
    return Container(given.container or "", given.engine, image)


def beside(source: str, path: str) -> str:
    """A path of the file, relative to the file's own folder; ``~`` is expanded when the file is opened."""
    return path if path.startswith("~") else normpath(join(dirname(source), path))


def _engine(engine: schema.Engine, source: str, scripts: Mapping[str, str]) -> EngineSpec:
    version = engine.version or facts(engine.kind).default_version
    path = beside(source, engine.path) if engine.path else None
    return EngineSpec(
        kind=engine.kind,
        version=version,
        path=path,
        script_text=scripts.get(engine.path or ""),
        rank_table=beside(source, engine.rank_table) if engine.rank_table else None,
        rank_table_text=scripts.get(engine.rank_table or ""),
    )


def _weights(file: schema.File) -> WeightsSpec:
    path = file.weights.path or (file.model if file.model.startswith("/") else None)
    return WeightsSpec(path=path, check=file.weights.check)


def _hardware(file: schema.File) -> Hardware:
    given = file.hardware
    if given is None:
        return Hardware()
    runs_on = facts(file.engine.kind).families
    fitting: Family = next((family for family, least in runs_on if len(given.devices) >= least), "cpu")
    return Hardware(name=given.name or "", devices=given.devices, family=given.family or fitting)


def _nodes(entry: schema.Node, file: schema.File, hardware: Hardware) -> Iterator[NodeSpec]:
    given = {key: getattr(entry.ssh, key) for key in entry.ssh.model_fields_set}
    ssh = SshSpec(**{**dict(file.ssh), **given})
    hosts = entry.host or entry.name
    addresses = entry.address or tuple(_LOOPBACK if host == "localhost" else host for host in hosts)
    deploys = facts(file.engine.kind).deploys
    if file.driver == "kubernetes" and not entry.address and not deploys:
        addresses = ("",) * len(hosts)  # the name of its pod, which follows from the roles
    for name, host, address in zip(entry.name, hosts, addresses, strict=True):
        yield NodeSpec(
            name=name,
            host=host,
            address=_canonical(address),
            nic=entry.nic,
            devices=(hardware.devices if not deploys else ()) if entry.devices is None else entry.devices,
            ssh=ssh,
            env=entry.env,
            args=entry.args,
        )


def _canonical(address: str) -> str:
    """An IPv6 address as every tool prints it; anything else as it is."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def _role(name: str, role: schema.Role, file: schema.File, nodes: tuple[NodeSpec, ...]) -> RoleSpec:
    by_any_name = {alias: node.name for node in reversed(nodes) for alias in (node.address, node.host)}
    by_any_name |= {node.name: node.name for node in nodes}
    return RoleSpec(
        name=name,
        nodes=role.nodes,
        groups=role.groups,
        dp=role.dp,
        tp=role.tp,
        pp=role.pp,
        pcp=role.pcp,
        dcp=role.dcp,
        expert_parallel=bool(role.ep),
        dbo=DboSpec(**dict(role.dbo)) if role.dbo else None,
        lb=role.lb,
        masters=tuple(by_any_name.get(master, master) for master in role.master or ()),
        pods=role.pods or (1 if facts(file.engine.kind).deploys else 0),
        env={**file.defaults.env, **role.env},
        args={**file.defaults.args, **role.args},
        ports={**file.ports.given(), **role.ports.given()},
        drain_timeout=role.drain_timeout or file.drain_timeout,
    )


def _kv_transfer(file: schema.File) -> KvTransferSpec | None:
    if file.kv_transfer:
        given = file.kv_transfer
        by_role = {PREFILL: given.prefill, DECODE: given.decode}
        return KvTransferSpec(
            connector=given.connector,
            extra=given.extra,
            by_role={role: extra for role, extra in by_role.items() if extra},
            store=given.store,
            rank_table=given.rank_table,
        )
    engine = facts(file.engine.kind)
    if engine.default_connector and "kv_transfer" not in engine.needs and file.roles.decode:
        return KvTransferSpec(connector=engine.default_connector)
    return None


def _router(file: schema.File, nodes: tuple[NodeSpec, ...]) -> RouterSpec | None:
    router = file.router
    unasked = "router" not in file.model_fields_set and not facts(file.engine.kind).serves
    if router.kind == "none" or unasked:
        return None
    return RouterSpec(**{**dict(router), "node": router.node or nodes[0].name})


def _overrides(file: schema.File) -> Iterator[tuple[str, Override]]:
    for key, entries in file.overrides.items():
        override = Override(env=entries.env, args=entries.args)
        yield from ((name, override) for name in selected(key))


def selected(key: str) -> tuple[str, ...]:
    """What a key of ``overrides`` stands for: engines, or nodes as ``node:n2``."""
    if key.startswith(NODE):
        return tuple(NODE + name for name in expand(key.removeprefix(NODE)))
    return expand(key)
