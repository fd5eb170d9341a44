"""What a store beside the engines is configured with, by vllm-ascend's version.

Source: vllm-ascend, kv_pool.md and kv_cache_cpu_offload.md, and get_zmq_rpc_path_* of the pool's scheduler in
0.11.0 to 0.25.1rc1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.engines.adapter import NamedFile, Site
from dplaunch.engines.ascend.connectors import Connector, Kind, transfer_connectors
from dplaunch.engines.flags import plain
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm import pool
from dplaunch.engines.vllm.lint import as_map
from dplaunch.engines.vllm.transfer import extra_of
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, ClusterSpec, KvTransferSpec, RoleSpec, ServiceSpec
from dplaunch.model.plan import Seat
from dplaunch.nearest import did_you_mean

OFFLOADING = "OffloadingConnector"
CPU_BLOCKS = "num_cpu_blocks"
OLD_POOL = "MooncakeConnectorStoreV1"
POOLS = (OLD_POOL, "AscendStoreConnector")
BACKENDS = ("mooncake", "memcache", "yuanrong")
META = "MetaService"
"""What the command of MemCache's service names."""
META_PORTS = 2
META_URL = "ock.mmc.meta_service_url"
MEMCACHE_VARIABLE, META_VARIABLE = "MMC_LOCAL_CONFIG_PATH", "MMC_META_CONFIG_PATH"
PATH_HAS_RANK = "0.13.0"
"""From it on the path of a pool's lookup socket ends in the data-parallel rank."""


def own_config(
    connector: Connector, extra: Mapping[str, Any], site: Site, seat: Seat, version: str
) -> dict[str, Any]:
    """What its own configuration lacks, unless ``extra`` has it."""
    given = extra.get("kv_connector_extra_config", {})
    computed: dict[str, Any] = {}
    if connector.name == OFFLOADING:
        computed = {"spec_name": "NPUOffloadingSpec", "spec_module_path": "vllm_ascend.kv_offload.npu"}
    elif connector.name in POOLS:
        computed = _lookup(site, seat, version)
        if site.role.name == DECODE and hands_over(site):
            computed["consumer_is_to_load"] = True
    return {name: value for name, value in computed.items() if name not in given}


def hands_over(site: Site) -> bool:
    """Whether a store is all that brings KV from prefill to decode."""
    used = transfer_connectors(site.spec.kv_transfer)
    return site.spec.disaggregated and all(c.kind in (Kind.STORE, Kind.MULTI) for c in used)


def _lookup(site: Site, seat: Seat, version: str) -> dict[str, Any]:
    """The name of a socket in the node's file system: no two engines of a node may have the same."""
    if not at_least(version, PATH_HAS_RANK):
        old = not at_least(version, "0.12.0rc1")
        return {"mooncake_rpc_port" if old else "lookup_rpc_port": str(seat.port("http"))}
    return {"lookup_rpc_port": str(_number(site.spec.roles, site.role, seat))}


def _number(roles: tuple[RoleSpec, ...], own: RoleSpec, seat: Seat) -> int:
    """The group's number among all groups of the cluster."""
    before = roles[: [role.name for role in roles].index(own.name)]
    return sum(role.groups for role in before) + seat.group


def backends(spec: ClusterSpec) -> tuple[str, ...]:
    """Where pools of this cluster keep KV: ``mooncake``, ``memcache`` or another, each once."""
    transfer = spec.kv_transfer
    found = [backend for _, backend in _backends(transfer)] if transfer else []
    return tuple(dict.fromkeys(filter(None, found))) or (("mooncake",) if found else ())


def _backends(transfer: KvTransferSpec) -> Iterator[tuple[str, str]]:
    """Place below ``kv_transfer`` → the backend of each pool, empty where none is named."""
    for place, name, own in _own_configs(transfer):
        if name == OLD_POOL:
            yield place, "mooncake"
        elif name in POOLS:
            yield f"{place}.kv_connector_extra_config.backend", str(own.get("backend", ""))


def _own_configs(transfer: KvTransferSpec) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Place, connector and its own configuration as the file gives it: as a whole, by role, and in lists."""
    blocks = [("extra", transfer.connector, extra_of(transfer.extra))]
    blocks += [(role, transfer.connector, extra_of(extra)) for role, extra in transfer.by_role.items()]
    blocks += [(place, str(entry.get("kv_connector")), plain(entry)) for place, entry in transfer.entries]
    for place, name, block in blocks:
        yield place, name, as_map(block.get("kv_connector_extra_config"))


def client(site: Site, version: str) -> NamedFile | None:
    """The file that this role's pool reads; None without a pool, or with one that reads none."""
    spec = site.spec
    if "memcache" in backends(spec):
        return _memcache(spec)
    if "mooncake" not in backends(spec):
        return None
    old = {} if at_least(version, "0.13.0") else {"local_hostname": site.node.address}
    direct = {} if at_least(version, "0.12.0rc1") else {"use_ascend_direct": True}
    return pool.mooncake(spec, protocol="ascend", **old, **direct)


def _memcache(spec: ClusterSpec) -> NamedFile:
    """``mmc-local.conf``; ``store`` of the cluster file wins."""
    service = pool.find(spec, META)
    urls = {}
    if service is not None:
        meta, config = (pool.address(spec, service, port) for port in service.ports[:2])
        urls = {META_URL: f"tcp://{meta}", "ock.mmc.local_service.config_store_url": f"tcp://{config}"}
    computed = {
        **urls,
        "ock.mmc.log_level": "error",
        "ock.mmc.local_service.world_size": 256,
        "ock.mmc.local_service.protocol": "device_rdma" if spec.hardware.family == "a2" else "device_sdma",
    }
    given = plain(spec.kv_transfer.store) if spec.kv_transfer else {}
    lines = (f"{name} = {_conf(value)}\n" for name, value in {**computed, **given}.items())
    return NamedFile(MEMCACHE_VARIABLE, "mmc-local.conf", "".join(lines))


def meta_file(spec: ClusterSpec, service: ServiceSpec) -> NamedFile | None:
    """``mmc-meta.conf`` of MemCache's MetaService; None where the service names its own, or is another."""
    if not pool.runs(service, META) or META_VARIABLE in service.env or len(service.ports) < META_PORTS:
        return None
    meta, config = (pool.address(spec, service, port) for port in service.ports[:META_PORTS])
    lines = {
        META_URL: f"tcp://{meta}",
        "ock.mmc.meta_service.config_store_url": f"tcp://{config}",
        "ock.mmc.log_level": "error",
    }
    return NamedFile(
        META_VARIABLE, "mmc-meta.conf", "".join(f"{name} = {value}\n" for name, value in lines.items())
    )


def _conf(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Whether pools have what they need beside the engines."""
    transfer = spec.kv_transfer
    if transfer is None:
        return
    yield from _check_offloading(spec)
    used = backends(spec)
    name = next((name for name in transfer.connectors if name in POOLS), transfer.connector)
    unknown = [(place, backend) for place, backend in _backends(transfer) if backend not in ("", *BACKENDS)]
    for place, backend in unknown:
        text, otherwise = f"{name} has no backend '{backend}'", f"it has: {', '.join(BACKENDS)}"
        hint = did_you_mean(backend, BACKENDS, otherwise)
        yield Problem(text, key=f"kv_transfer.{place}", hint=hint, source="vllm-ascend, kv_pool.md")
    if unknown:
        return
    if "mooncake" in used:
        yield from pool.check(spec, name)
    if "memcache" in used:
        yield from _check_memcache(spec, name)
    if transfer.store and not {"mooncake", "memcache"} & set(used):
        text = f"store holds what a pool's file says, and {transfer.connector} reads none"
        yield Problem(text, key="kv_transfer.store", hint="remove store")


def _check_offloading(spec: ClusterSpec) -> Iterator[Problem]:
    """Source: vllm-ascend, NPUOffloadingSpec in kv_offload/npu.py of 0.13.0 to 0.25.1rc1."""
    listed = _own_configs(spec.kv_transfer) if spec.kv_transfer else ()
    configs = [own for _, name, own in listed if name == OFFLOADING]
    if configs and not any(own.get(CPU_BLOCKS) for own in configs):
        yield Problem(
            f"{OFFLOADING} of vllm-ascend starts only with {CPU_BLOCKS}: blocks in the host's memory",
            key="kv_transfer.extra",
            hint=f"{CPU_BLOCKS}: 1000",
        )


def _check_memcache(spec: ClusterSpec, name: str) -> Iterator[Problem]:
    service = pool.find(spec, META)
    given = spec.kv_transfer.store if spec.kv_transfer else {}
    if service is None and META_URL not in given and not pool.is_given(spec, MEMCACHE_VARIABLE):
        yield Problem(
            f"{name} keeps KV in MemCache, and the file neither starts its MetaService nor names one",
            key="kv_transfer.connector",
            hint="services: {memcache: {command: [python3, -c, 'from memcache_hybrid import MetaService; "
            f"MetaService.main()'], ports: [5000, 6000]}}}}; or store: {{{META_URL}: tcp://HOST:PORT}}",
        )
    elif service is not None and len(service.ports) < META_PORTS:
        yield Problem(
            f"{service.name} listens for clients and as a config store, and {len(service.ports)} of these "
            "two ports is given",
            key=f"services.{service.name}.ports",
            hint="ports: [5000, 6000]",
        )
    elif service is not None:
        yield from pool.check_order(service, name)
