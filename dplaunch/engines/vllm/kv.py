"""KV transfer and stores of vLLM: which connectors there are, and the ``--kv-transfer-config`` of an engine.

Source: vLLM, vllm/distributed/kv_transfer/kv_connector/factory.py, nixl_connector_usage.md and
mooncake_store_connector_usage.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.engines.adapter import NamedFile, Site
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm import pool
from dplaunch.engines.vllm.transfer import (
    BOTH,
    KV_ROLES,
    MULTI,
    NIXL,
    POOL,
    SAME_ENDING,
    STORES,
    Block,
    extra_of,
    merged,
    nested,
)
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, KvTransferSpec
from dplaunch.model.plan import Seat
from dplaunch.nearest import did_you_mean

COMPUTED = ("kv_role", "kv_port", "kv_rank", "engine_id", "kv_connector_module_path")


def moves(spec: ClusterSpec) -> bool:
    """Whether engines hand KV to one another, over a side channel."""
    return spec.kv_transfer is not None and NIXL in spec.kv_transfer.connectors


def block(site: Site, seat: Seat) -> Block | None:
    """The block of one engine; None without KV transfer."""
    transfer = site.spec.kv_transfer
    if transfer is None:
        return None
    extra = merged(extra_of(transfer.extra), extra_of(transfer.by_role.get(site.role.name, {})))
    return _entry(transfer.connector, extra, site, seat)


def _entry(name: str, extra: Block, site: Site, seat: Seat) -> Block:
    entry: Block = {"kv_connector": name, "kv_role": KV_ROLES.get(site.role.name, BOTH)}
    if name == NIXL and not seat.devices:
        entry["kv_buffer_device"] = "cpu"
    own: Block = extra.get("kv_connector_extra_config", {})
    if name == MULTI:
        listed = [_entry(one["kv_connector"], one, site, seat) for one in own.get("connectors", [])]
        return merged(entry | extra, {"kv_connector_extra_config": {"connectors": listed}})
    return entry | extra


def client(spec: ClusterSpec) -> NamedFile | None:
    """The file that a pool reads; None without one."""
    if spec.kv_transfer is None or POOL not in spec.kv_transfer.connectors:
        return None
    return pool.mooncake(spec, protocol="tcp" if spec.hardware.family == "cpu" else "rdma")


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Problems of the file's KV transfer with this vLLM."""
    transfer = spec.kv_transfer
    if transfer is None:
        return
    yield from _connectors(transfer, spec.engine.version)
    stores = [name for name in transfer.connectors if name in STORES]
    if stores and spec.disaggregated and not moves(spec):
        listed = f"[{{kv_connector: {NIXL}}}, {{kv_connector: {stores[0]}}}]"
        yield Problem(
            f"{transfer.connector} hands no KV from prefill to decode",
            key="kv_transfer.connector",
            hint=f"connector: {MULTI}, extra: {{connectors: {listed}}}",
        )
    if POOL in transfer.connectors:
        yield from pool.check(spec, POOL)
    elif transfer.store:
        text = f"store holds what a pool's file says, and {transfer.connector} reads none"
        yield Problem(text, key="kv_transfer.store", hint="remove store")
    if transfer.rank_table:
        yield Problem(
            "vllm does not read a rank table", key="kv_transfer.rank_table", hint="remove rank_table"
        )
    for place, entry in _blocks(transfer):
        for key in COMPUTED:
            if key in entry:
                text = f"'{key}' is computed by dplaunch"
                path = f"kv_transfer.{place}.{key}"
                yield Problem(text, key=path, hint=f"remove {key}", at_key=True)


def _connectors(transfer: KvTransferSpec, version: str) -> Iterator[Problem]:
    usable = [NIXL, MULTI, *(name for name, first in STORES.items() if at_least(version, first))]
    for name in transfer.connectors:
        if name not in usable:
            first = STORES.get(name)
            since = f"vllm {version} has no {name}, which came with {first}" if first else ""
            yield Problem(
                since or f"dplaunch does not support the connector '{name}' for vllm",
                key="kv_transfer.connector",
                hint=did_you_mean(name, usable, f"use one of {', '.join(usable)}", SAME_ENDING),
            )
    if transfer.connector == MULTI and not nested(transfer):
        yield Problem(
            "MultiConnector combines connectors, but none is listed",
            key="kv_transfer.connector",
            hint="extra: {connectors: [{kv_connector: NixlConnector}, …]}",
        )


def _blocks(transfer: KvTransferSpec) -> Iterator[tuple[str, Mapping[str, ArgValue]]]:
    """Everything that is written of a block, and where."""
    yield "extra", transfer.extra
    yield from transfer.by_role.items()
    yield from transfer.entries
