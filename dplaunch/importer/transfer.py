"""``--kv-transfer-config`` of every process as ``kv_transfer``: without what dplaunch computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplaunch.engines import facts
from dplaunch.engines.vllm.transfer import KV_ROLES
from dplaunch.importer.engines import TRANSFER, Engine, Kind
from dplaunch.importer.layers import common, without
from dplaunch.importer.source import Source
from dplaunch.model.cluster import DECODE, PREFILL

CONNECTOR, CONFIG, LIST = "kv_connector", "kv_connector_extra_config", "connectors"
COMPUTED = {
    "kv_role": "computed from the role",
    "kv_port": "computed: one base (ports.kv) for all groups of a role, which stand on nodes of their own",
    "kv_rank": "no connector of this engine reads it",
    "engine_id": "left out: every engine makes its own, and equal ones on both sides are refused",
    "kv_connector_module_path": "left out: registered connectors need none, and module paths have changed",
}
_SIZES = ("dp_size", "tp_size", "pp_size")
_SIDES = (PREFILL, DECODE)
SIZES = "computed from the roles"


def blocks(engines: list[Engine]) -> dict[str, Mapping[str, Any]]:
    """Role → the block of its first process that has one."""
    found: dict[str, Mapping[str, Any]] = {}
    for engine in engines:
        block = engine.flags.get(TRANSFER)
        if isinstance(block, Mapping):
            found.setdefault(engine.role, block)
    return found


def section(engines: list[Engine], kind: Kind, source: Source) -> dict[str, Any]:
    """The section ``kv_transfer``; empty where no process has a connector.

    One that the engine's release does not have gives way to the engine's usual one.
    """
    found = blocks(engines)
    if not found:
        return {}
    names = {str(block.get(CONNECTOR)) for block in found.values()}
    if len(names) > 1:
        source.leave(
            TRANSFER, f"roles have different connectors ({', '.join(sorted(names))}): the first was taken"
        )
    connector = str(next(iter(found.values())).get(CONNECTOR))
    if not kind.has_connector(connector):
        usual = facts(kind.name).default_connector
        text = f"{kind.name} {kind.version} has no connector {connector}: {usual} hands KV over in its place"
        source.leave(TRANSFER, text, "look at kv_transfer: what the other connector was given is left out")
        return {"connector": usual}
    made: dict[str, Any] = {"connector": connector}
    extras = {role: _cleaned(block) for role, block in found.items()}
    shared = common(list(extras.values()))
    if shared:
        made["extra"] = shared
    for role, extra in extras.items():
        if own := without(extra, shared):
            if role in _SIDES:
                made[role] = own
            else:
                made["extra"] = {**made.get("extra", {}), **own}
    return made


def _cleaned(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block as ``extra``: the connector's own configuration beside the fields at the top."""
    top = {key: value for key, value in block.items() if key not in (*COMPUTED, CONNECTOR, CONFIG)}
    own = block.get(CONFIG)
    config = dict(own) if isinstance(own, Mapping) else {}
    for side in _SIDES:
        sizes = config.pop(side, None)
        kept = {k: v for k, v in sizes.items() if k not in _SIZES} if isinstance(sizes, Mapping) else {}
        if kept:
            config[side] = kept
    if isinstance(config.get(LIST), list):
        config[LIST] = [_entry(entry) for entry in config[LIST]]
    return {**top, **config}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A connector of a list: a store's part in it is the user's to choose where it is not the role's."""
    cleaned = _cleaned(entry)
    listed = {key: cleaned[key] for key in cleaned if key in entry}
    config = {key: value for key, value in cleaned.items() if key not in listed}
    return {CONNECTOR: entry.get(CONNECTOR), **listed, **({CONFIG: config} if config else {})}


def explain(key: str, theirs: Any, ours: Any) -> str:
    """Why a field of the block differs; empty where nothing is known."""
    head = key.rpartition(".")[2]
    if head in COMPUTED:
        both = head == "kv_role" and theirs == "kv_both" and ours in KV_ROLES.values()
        return "prefill only sends and decode only receives" if both else COMPUTED[head]
    if head in (*_SIZES, *_SIDES) or (head == CONFIG and theirs is None):
        return SIZES
    return ""
