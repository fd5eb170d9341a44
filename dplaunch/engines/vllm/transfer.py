"""What every vLLM's ``--kv-transfer-config`` has: who plays which part, and connectors within one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplaunch.engines.flags import plain
from dplaunch.model.cluster import DECODE, PREFILL, ArgValue, KvTransferSpec

FIELDS = frozenset(
    (
        "engine_id",
        "kv_buffer_device",
        "kv_buffer_size",
        "kv_connector_extra_config",
        "kv_connector_module_path",
        "kv_ip",
        "kv_load_failure_policy",
        "kv_parallel_size",
        "kv_port",
        "kv_rank",
        "kv_role",
        "enable_permute_local_kv",
    )
)
"""Fields of KVTransferConfig: these of ``extra`` stand at the top, all others are the connector's own."""

Block = dict[str, Any]

BOTH = "kv_both"
KV_ROLES = {PREFILL: "kv_producer", DECODE: "kv_consumer"}
"""Role → ``kv_role``; any other role plays both parts."""

NIXL = "NixlConnector"
MULTI = "MultiConnector"
SAME_ENDING = 0.85
"""How close a name must be to be the one that was meant: all of them end in ``Connector``."""
POOL = "MooncakeStoreConnector"
STORES = {
    "LMCacheConnectorV1": "0.10.0",
    "OffloadingConnector": "0.11.0",
    "SimpleCPUOffloadConnector": "0.19.0",
    POOL: "0.21.0",
}
"""Connectors that keep KV beside the engines → first version that has it."""


def nested(transfer: KvTransferSpec) -> tuple[Mapping[str, ArgValue], ...]:
    """MultiConnector's entries, of both roles or of one."""
    return tuple(entry for _, entry in transfer.entries)


def names(transfer: KvTransferSpec | None) -> tuple[str, ...]:
    """Every connector named: the outer one, then MultiConnector's entries."""
    return transfer.connectors if transfer else ()


def extra_of(extra: Mapping[str, ArgValue]) -> Block:
    """``extra`` as KVTransferConfig wants it: unknown keys belong to the connector's own configuration."""
    given = plain(extra)
    top = {key: value for key, value in given.items() if key in FIELDS}
    own = {key: value for key, value in given.items() if key not in FIELDS}
    return merged(top, {"kv_connector_extra_config": own}) if own else top


def merged(below: Block, above: Block) -> Block:
    """``above`` laid over ``below``, maps into maps."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
