"""The ``--kv-transfer-config`` of vllm-ascend, computed from the topology

Source: vllm-ascend, mooncake_connector.py of v0.11.0, v0.13.0 and v0.18.0; vLLM, vllm/config/kv_transfer.py.
.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplaunch.engines.adapter import Site
from dplaunch.engines.ascend import store
from dplaunch.engines.ascend.connectors import Connector, Kind, find, transfer_connectors
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.transfer import BOTH, KV_ROLES, Block, extra_of, merged
from dplaunch.model.cluster import DECODE, PREFILL, ClusterSpec, KvTransferSpec, RoleSpec
from dplaunch.model.plan import Flow, Seat

_FLOWS: dict[Kind, Flow] = {Kind.PULL: "pull", Kind.PUSH: "push"}
POINT_TO_POINT = (Kind.PULL, Kind.PUSH, Kind.RANK_TABLE)
_LISTENERS = {
    Kind.PULL: (PREFILL,),
    Kind.PUSH: (DECODE,),
    Kind.RANK_TABLE: (PREFILL, DECODE),
}

ENDPOINTS = "/etc/hixlep"
"""Where a 950 node describes its links (vllm-ascend, tutorials of the 950DT and vllm_ascend/utils.py)."""
LINKS_BY_HAND = ("ASCEND_LOCAL_COMM_RES", "ASCEND_GLOBAL_RESOURCE_CONFIG")
"""Variables that choose a 950's links in another way."""


def block(site: Site, seat: Seat, version: str) -> Block | None:
    """The block of one engine; None without KV transfer."""
    transfer = site.spec.kv_transfer
    if transfer is None:
        return None
    extra = merged(extra_of(transfer.extra), extra_of(transfer.by_role.get(site.role.name, {})))
    return _entry(transfer.connector, merged(_links(site, version), extra), site, seat, version)


def _links(site: Site, version: str) -> Block:
    """What Mooncake needs of a 950, unless the file says it with variables."""
    by_hand = any(name in env for env in (site.role.env, site.node.env) for name in LINKS_BY_HAND)
    mooncake = any(c.mooncake for c in transfer_connectors(site.spec.kv_transfer))
    if site.spec.hardware.family != "a5" or by_hand or not mooncake or not at_least(version, "0.22.1rc1"):
        return {}
    return {"kv_connector_extra_config": {"ascend_local_comm_res_path": ENDPOINTS}}


def _entry(name: str, extra: Block, site: Site, seat: Seat, version: str) -> Block:
    connector = find(name)
    computed: Block = {"kv_connector": name, "kv_role": KV_ROLES.get(site.role.name, BOTH)}
    if connector is not None and connector.kind in POINT_TO_POINT:
        computed["kv_port"] = str(seat.ports["kv"].base)
    if not at_least(version, "0.18.0rc1"):
        computed["kv_buffer_device"] = "npu"
    own = _own_config(connector, extra, site, seat, version)
    return merged(merged(computed, extra), {"kv_connector_extra_config": own} if own else {})


def _own_config(connector: Connector | None, extra: Block, site: Site, seat: Seat, version: str) -> Block:
    if connector is None:
        return {}
    if connector.kind is Kind.STORE:
        return store.own_config(connector, extra, site, seat, version)
    if connector.kind is Kind.MULTI:
        entries = extra.get("kv_connector_extra_config", {}).get("connectors", [])
        return {"connectors": [_nested_entry(e, site, seat, version) for e in entries]}
    if connector.kind not in (Kind.PULL, Kind.PUSH):
        return {}
    direct = not at_least(version, "0.12.0rc1")
    return {**({"use_ascend_direct": True} if direct else {}), **sizes(site.spec)}


def _nested_entry(entry: Mapping[str, Any], site: Site, seat: Seat, version: str) -> Block:
    rest = {key: value for key, value in entry.items() if key != "kv_connector"}
    return _entry(str(entry.get("kv_connector", "")), rest, site, seat, version)


def sizes(spec: ClusterSpec) -> Block:
    """Data and tensor parallel size of ONE group of each side: each side needs both."""
    return {role.name: _size(role) for role in spec.roles if role.name in (PREFILL, DECODE)}


def _size(role: RoleSpec) -> Block:
    more = {"pp_size": role.pp} if role.pp > 1 else {}
    return {"dp_size": role.dp, "tp_size": role.tp, **more}


def mover(transfer: KvTransferSpec | None) -> Connector | None:
    """The connector that hands KV from engine to engine: the outer one, or MultiConnector's."""
    return next((c for c in transfer_connectors(transfer) if c.kind in POINT_TO_POINT), None)


def flow(spec: ClusterSpec) -> Flow | None:
    """Decode first where prefill pushes, prefill first where decode pulls; None: either will do."""
    connector = mover(spec.kv_transfer)
    return _FLOWS.get(connector.kind) if connector else None


def width(spec: ClusterSpec, role: RoleSpec, version: str) -> int:
    """Ports one rank takes from the group's kv_port on: one per device; 0 without point-to-point KV."""
    connector = mover(spec.kv_transfer)
    if connector is None:
        return 0
    only_tp = connector.kind is Kind.RANK_TABLE or not at_least(version, "0.12.0rc1")
    return role.tp if only_tp else role.devices_per_rank


def listens(spec: ClusterSpec, role: RoleSpec) -> bool:
    """Whether this role binds its KV ports."""
    connector = mover(spec.kv_transfer)
    return connector is not None and role.name in _LISTENERS[connector.kind]
