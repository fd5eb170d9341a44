"""What vllm-ascend refuses, or silently gets wrong, about KV transfer: problems by version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.engines.ascend import store
from dplaunch.engines.ascend.connectors import Connector, Kind, find, registered, transfer_connectors
from dplaunch.engines.ascend.kv import mover
from dplaunch.engines.flags import plain
from dplaunch.engines.routers import NONE, router_kind
from dplaunch.engines.rules import warning
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.lint import CONFIG, as_map
from dplaunch.engines.vllm.transfer import SAME_ENDING, extra_of, names, nested
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, PREFILL, ClusterSpec, KvTransferSpec, RoleSpec
from dplaunch.nearest import did_you_mean

HYBRID = "MooncakeHybridConnector"

MLA = ("deepseek", "kimi")
"""Model families whose KV needs no head count that divides (multi-head latent attention)."""

COMPUTED = {
    "kv_role": "it follows from the role",
    "kv_port": "set ports.kv to choose where it starts",
    "kv_rank": "no connector of this engine reads it",
    "prefill": "sizes follow from the roles",
    "decode": "sizes follow from the roles",
}
SIZED = (PREFILL, DECODE)
SIZES = {"dp_size", "tp_size", "pp_size"}
"""What the connector is given of each side; anything else there is its own, as ``pp_layer_partition``."""
FORBIDDEN = {
    "engine_id": "the same id on both sides makes decode refuse prefill (Conflict engine id); "
    "left out, every engine makes its own",
    "kv_connector_module_path": "module paths changed in 0.15, and registered connectors need none",
}


def check(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    """Every problem of the file's KV transfer for this vllm-ascend."""
    transfer = spec.kv_transfer
    if transfer is None:
        return
    yield from _connectors(transfer, version)
    yield from _typed_by_hand(transfer)
    yield from _rank_table(transfer)
    yield from store.check(spec)
    connector = mover(transfer)
    if connector is not None:
        yield from _roles(spec, connector)
        yield from _order(spec, connector)
    yield from _recompute(spec, version)


def _connectors(transfer: KvTransferSpec, version: str) -> Iterator[Problem]:
    known = registered(version)
    for name in names(transfer):
        if name not in known:
            yield Problem(
                f"vllm-ascend {version} has no connector '{name}'",
                key="kv_transfer.connector",
                hint=did_you_mean(name, known, f"it has: {', '.join(known)}", SAME_ENDING),
            )
    connector = find(transfer.connector)
    if connector is not None and connector.kind is Kind.MULTI and not nested(transfer):
        yield Problem(
            "MultiConnector combines connectors, but none is listed",
            key="kv_transfer.connector",
            hint="extra: {connectors: [{kv_connector: MooncakeConnectorV1}, …]}",
        )


def _typed_by_hand(transfer: KvTransferSpec) -> Iterator[Problem]:
    blocks = [("extra.", "", extra_of(transfer.extra))]
    blocks += [(f"{role}.", "", extra_of(extra)) for role, extra in transfer.by_role.items()]
    blocks += [
        (f"{place}.", str(entry.get("kv_connector")), plain(entry)) for place, entry in transfer.entries
    ]
    for place, name, block in blocks:
        for key, value in {**block, **as_map(block.get("kv_connector_extra_config"))}.items():
            for wrong, text in _refused(key, value, find(name)):
                path = f"kv_transfer.{place}{wrong}"
                yield Problem(text, key=path, hint=f"remove {wrong}", at_key=True)


def _refused(key: str, value: object, connector: Connector | None) -> Iterator[tuple[str, str]]:
    """What of an entry may not be given, and why. Which part a store plays is the user's to choose."""
    chosen = key == "kv_role" and connector is not None and connector.kind is Kind.STORE
    if key in FORBIDDEN:
        yield key, f"'{key}' must not be given: {FORBIDDEN[key]}"
    elif key in SIZED and isinstance(value, Mapping):
        for size in sorted(SIZES & value.keys()):
            yield f"{key}.{size}", f"'{size}' is computed by dplaunch: {COMPUTED[key]}"
    elif key in COMPUTED and not chosen:
        yield key, f"'{key}' is computed by dplaunch: {COMPUTED[key]}"


def _rank_table(transfer: KvTransferSpec) -> Iterator[Problem]:
    wants = any(c.kind is Kind.RANK_TABLE for c in transfer_connectors(transfer))
    if wants and not transfer.rank_table:
        yield Problem(
            f"{transfer.connector} finds its peers in a rank table, and none is given",
            key="kv_transfer.connector",
            hint="rank_table: /path/of/ranktable.json (`dplaunch ranktable --to PATH` makes it there)",
        )
    if transfer.rank_table and not wants:
        yield Problem(
            f"rank_table is only for LLMDataDistCMgrConnector; {transfer.connector} does not read it",
            key="kv_transfer.rank_table",
            hint="remove rank_table",
        )


def _roles(spec: ClusterSpec, connector: Connector) -> Iterator[Problem]:
    by_name = {role.name: role for role in spec.roles}
    prefill, decode = by_name.get(PREFILL), by_name.get(DECODE)
    if prefill is None or decode is None:
        return
    if connector.kind is not Kind.RANK_TABLE:
        yield from _sizes(spec, prefill, decode)
    if connector.kind is Kind.PULL:
        yield from _pull(prefill, decode)
    if connector.name == HYBRID:
        yield from _context_parallel(prefill, decode)
    if connector.kind is Kind.PUSH and decode.pcp > 1:
        yield Problem(
            f"{connector.name} does not support pcp on the decode side", key="roles.decode.pcp", hint="pcp: 1"
        )


def _context_parallel(*roles: RoleSpec) -> Iterator[Problem]:
    for role in roles:
        for key in ("pcp", "dcp"):
            if getattr(role, key) > 1:
                text = f"{HYBRID} does not start with {key} above 1 (only support cp_world_size == 1)"
                yield Problem(text, key=f"roles.{role.name}.{key}", hint=f"{key}: 1")


def _sizes(spec: ClusterSpec, prefill: RoleSpec, decode: RoleSpec) -> Iterator[Problem]:
    if prefill.tp < decode.tp:
        yield Problem(
            f"prefill has tp {prefill.tp}, decode {decode.tp}: tp of prefill must be at least that of decode",
            key="roles.prefill.tp",
            hint=f"tp: {decode.tp} for prefill, or a smaller tp for decode",
        )
    elif prefill.tp % decode.tp and not any(family in spec.model.lower() for family in MLA):
        yield Problem(
            f"prefill has tp {prefill.tp}, decode {decode.tp}: tp of prefill must be a multiple, except for "
            "models with latent attention (DeepSeek, Kimi)",
            key="roles.prefill.tp",
            hint=f"tp: {prefill.tp // decode.tp * decode.tp} for prefill",
        )


def _pull(prefill: RoleSpec, decode: RoleSpec) -> Iterator[Problem]:
    if decode.pp > 1:
        yield Problem(
            f"decode has pp {decode.pp}: the connector does not support pipeline parallelism there",
            key="roles.decode.pp",
            hint="pp: 1",
        )
    split, wanted = prefill.pcp * prefill.dcp, decode.pcp * decode.dcp
    if split % wanted:
        yield Problem(
            f"KV is split over pcp × dcp = {split} for prefill and {wanted} for decode: every request would "
            "end in an assertion",
            key="roles.decode.dcp" if decode.dcp > 1 else "roles.decode.pcp",
            hint="let pcp × dcp of prefill be a multiple of that of decode",
            source="vllm-ascend, mooncake_connector.py of 0.13.0 to 0.25.1rc1",
        )
    if prefill.pp > 1 and prefill.pcp > 1:
        yield Problem(
            f"prefill has pp {prefill.pp} and pcp {prefill.pcp}: the connector takes one of the two",
            key="roles.prefill.pcp",
            hint="pcp: 1, or pp: 1",
        )


def _order(spec: ClusterSpec, connector: Connector) -> Iterator[Problem]:
    """Prefill first or decode first: the router must speak the connector's order."""
    if spec.router is None or spec.router.kind == NONE or connector.kind is Kind.RANK_TABLE:
        return
    flows = router_kind(spec.router).flows
    if connector.kind is Kind.PUSH and "push" not in flows:
        yield Problem(
            f"{connector.name} starts with decode; the router '{spec.router.kind}' as given starts with "
            "prefill, and requests would hang",
            key="router.kind",
            hint="router: {kind: dplaunch}, or {kind: vllm-ascend, path: …/load_balance_proxy_layerwise_…py}",
        )
    if connector.kind is Kind.PULL and "pull" not in flows:
        yield Problem(
            f"{connector.name} starts with prefill; the layerwise proxy starts with decode",
            key="router.path",
            hint="router: {kind: dplaunch}, or the proxy script without 'layerwise' in its name",
        )


def _recompute(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    for role in spec.roles:
        if not _recomputes(role):
            continue
        if role.name == PREFILL:
            ignored = at_least(version, "0.23.0rc1")
            effect = "ignores it on prefill" if ignored else "does not refuse it on prefill"
            yield warning(
                f"recompute_scheduler_enable is for decode only: vllm-ascend {version} {effect}",
                f"roles.prefill.args.{CONFIG}",
                "move it to roles.decode.args",
                "vllm-ascend, vllm_ascend/platform.py of 0.11.0 to 0.25.1rc1",
            )
        elif spec.router is not None and spec.router.kind == "vllm-router":
            yield Problem(
                "recompute_scheduler_enable lets decode answer 'recomputed', which vllm-router cannot read",
                key="router.kind",
                hint="router: {kind: dplaunch}",
            )


def _recomputes(role: RoleSpec) -> bool:
    config = as_map(role.args.get(CONFIG))
    inner = as_map(config.get("scheduler_config"))
    return bool(config.get("recompute_scheduler_enable") or inner.get("recompute_scheduler_enable"))
