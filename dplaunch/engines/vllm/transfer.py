"""What every vLLM's ``--kv-transfer-config`` has: who plays which part, and connectors within one."""

from __future__ import annotations

from collections.abc import Mapping

from dplaunch.model.cluster import DECODE, PREFILL, ArgValue, KvTransferSpec

BOTH = "kv_both"
KV_ROLES = {PREFILL: "kv_producer", DECODE: "kv_consumer"}
"""Role → ``kv_role``; any other role plays both parts."""


def nested(transfer: KvTransferSpec) -> tuple[Mapping[str, ArgValue], ...]:
    """MultiConnector's entries, wherever ``extra`` holds them."""
    inner = transfer.extra.get("kv_connector_extra_config")
    found = transfer.extra.get("connectors")
    if found is None and isinstance(inner, Mapping):
        found = inner.get("connectors")
    return tuple(e for e in found if isinstance(e, Mapping)) if isinstance(found, tuple) else ()


def names(transfer: KvTransferSpec | None) -> tuple[str, ...]:
    """Every connector named: the outer one, then MultiConnector's entries."""
    if transfer is None:
        return ()
    return transfer.connector, *(str(e.get("kv_connector", "")) for e in nested(transfer))
