"""What a store beside the engines is configured with, by vllm-ascend's version.

Source: vllm-ascend, kv_pool.md and kv_cache_cpu_offload.md, and get_zmq_rpc_path_* of the pool's scheduler in
0.11.0 to 0.25.1rc1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplaunch.engines.adapter import Site
from dplaunch.engines.ascend.connectors import Connector, Kind, transfer_connectors
from dplaunch.engines.versions import at_least
from dplaunch.model.cluster import DECODE, RoleSpec
from dplaunch.model.plan import Seat

OFFLOADING = "OffloadingConnector"
OLD_POOL = "MooncakeConnectorStoreV1"
POOLS = (OLD_POOL, "AscendStoreConnector")
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
