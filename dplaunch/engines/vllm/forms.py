"""Who balances over the ranks of a group, as vLLM does it: processes, arguments, flags, and what it refuses.

Source: vLLM, docs/serving/data_parallel_deployment.md; vllm/engine/arg_utils.py of 0.10.0 to 0.33.0;
vllm/entrypoints/cli/serve.py and dp_supervisor.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from dplaunch.engines.adapter import PortNeed, Site
from dplaunch.engines.layout import front_and_headless, front_per_node, per_node, per_rank
from dplaunch.engines.rules import reaching
from dplaunch.engines.settings import Flags
from dplaunch.engines.versions import at_least
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, Lb, RoleSpec
from dplaunch.model.plan import Process, Ready, Seat

Contract = tuple[str, ...]
"""Names of positional arguments, in their order."""
Lines = tuple[tuple[str, str], ...]
"""Flags and their values, as shell text."""

CONTRACT_A: Contract = (
    "dp_size",
    "dp_address",
    "dp_rpc_port",
    "dp_rank_local",
    "dp_rank",
    "http_port",
    "dp_size_local",
)
"""Of run_dp_template.sh, vllm-ascend v0.9.1, examples/external_online_dp."""
CONTRACT_B: Contract = ("devices", "http_port", "dp_size", "dp_rank", "dp_address", "dp_rpc_port", "tp_size")
"""Of run_dp_template.sh from vllm-ascend 0.10.1rc1 on (PR #2685): one rank."""

CONTRACT_NODE: Contract = (
    *("devices", "http_port", "dp_size", "dp_size_local", "dp_start_rank"),
    *("dp_address", "dp_rpc_port", "tp_size"),
)
"""All ranks that a group has on a node."""
CONTRACT_SUPERVISOR: Contract = (*CONTRACT_NODE, "supervisor_port")
CONTRACT_SPREAD: Contract = (
    *("devices", "http_port", "nnodes", "node_rank", "master_addr", "master_port", "tp_size"),
)
"""One node's part of an engine that is spread over several."""

HEADLESS_READY = Ready("line", r"init engine \(profile, create kv cache, warmup model\) took")
"""A process without a server logs nothing after it."""
PART_READY = Ready("line", r"is assigned as DP rank|headless multiproc executor")
"""Of a part without a server only its workers speak, and not in every version."""

HYBRID_SINCE = "0.10.0"
SPREAD_SINCE = "0.13.0"
SUPERVISOR_SINCE = "0.23.0"
ONLY_SERVERS = ("host", "disable-access-log-for-endpoints", "api-server-count")
"""Flags that a process without a server has no use for; the last one it refuses."""

Unit = Literal["rank", "node", "front", "headless", "supervisor", "part"]


def unit(role: RoleSpec, *, leads: bool) -> Unit:
    """What one process of the role is; ``leads``: it has rank 0 of its group."""
    if role.nodes_per_rank > 1:
        return "part"
    units: dict[Lb, Unit] = {"external": "rank", "hybrid": "node", "supervisor": "supervisor"}
    return units.get(role.lb, "front" if leads else "headless")


def layout(site: Site) -> Iterator[Process]:
    """The processes of a role on a node."""
    if site.role.nodes_per_rank > 1:
        return front_and_headless(site, PART_READY)
    if site.role.lb == "internal":
        return front_and_headless(site, HEADLESS_READY)
    if site.role.lb == "hybrid":
        return front_per_node(site)
    return per_node(site) if site.role.lb == "supervisor" else per_rank(site)


def leads(site: Site) -> tuple[Seat, ...]:
    """The first seat of each process, with the devices of all of them: what a script is called for."""
    return tuple(
        replace(process.seats[0], devices=tuple(device for seat in process.seats for device in seat.devices))
        for process in layout(site)
    )


def contract(site: Site) -> Contract:
    """What the positional arguments of the role's script mean."""
    kind = unit(site.role, leads=site.seats[0].leads)
    special = {"rank": CONTRACT_B, "supervisor": CONTRACT_SUPERVISOR, "part": CONTRACT_SPREAD}
    return special.get(kind, CONTRACT_NODE)


def sizes(site: Site) -> Lines:
    """The flags that get their values from the script's arguments."""
    seat = site.seats[0]
    kind = unit(site.role, leads=seat.leads)
    port = () if kind == "headless" or seat.part else (("--port", '"$http_port"'),)
    tensor = (("--tensor-parallel-size", '"$tp_size"'),)
    if kind == "part":
        return (*port, *_spread(), *tensor)
    if site.role.dp == 1:
        return (*port, *tensor)
    rank = (("--data-parallel-rank", '"$dp_rank"'),)
    if kind != "rank":
        local = ("--data-parallel-size-local", '"$dp_size_local"')
        # at the front of headless ones vLLM takes it for hybrid balancing from 0.28 on
        start = () if kind == "front" else (("--data-parallel-start-rank", '"$dp_start_rank"'),)
        rank = (local, *start)
    supervisor = (("--data-parallel-supervisor-port", '"$supervisor_port"'),) if kind == "supervisor" else ()
    size = ("--data-parallel-size", '"$dp_size"')
    return (*port, *supervisor, size, *rank, *_meeting(site.role), *tensor)


def _spread() -> Lines:
    return (
        ("--nnodes", '"$nnodes"'),
        ("--node-rank", '"$node_rank"'),
        ("--master-addr", '"$master_addr"'),
        ("--master-port", '"$master_port"'),
    )


def _meeting(role: RoleSpec) -> Lines:
    """Where processes of a group meet; one that is a whole group meets nobody."""
    if not meets(role):
        return ()
    return ("--data-parallel-address", '"$dp_address"'), ("--data-parallel-rpc-port", '"$dp_rpc_port"')


def meets(role: RoleSpec) -> bool:
    """Whether a group has several processes that meet over its rendezvous port."""
    by_rank = role.lb in ("external", "supervisor")
    return role.dp > 1 and (by_rank or len(role.nodes) > role.groups)


def switches(site: Site, seat: Seat) -> Flags:
    """The flag that chooses the form."""
    kind = unit(site.role, leads=seat.leads)
    if kind == "headless" or seat.part:
        return {"headless": ("--headless",)}
    if kind == "node" and site.role.dp > 1:
        return {"data-parallel-hybrid-lb": ("--data-parallel-hybrid-lb",)}
    if kind == "supervisor":
        return {"data-parallel-multi-port-external-lb": ("--data-parallel-multi-port-external-lb",)}
    return {}


def served(site: Site, seat: Seat, flags: Flags) -> Flags:
    """``flags`` without those of a server, where the process has none."""
    if unit(site.role, leads=seat.leads) != "headless" and not seat.part:
        return flags
    return {name: words for name, words in flags.items() if name not in ONLY_SERVERS}


def needs(role: RoleSpec) -> Iterator[PortNeed]:
    """The ports of servers, and those where a group meets."""
    by_lb: dict[Lb, Literal["rank", "node", "group"]] = {"hybrid": "node", "internal": "group"}
    spread = role.nodes_per_rank > 1
    per = "group" if spread else by_lb.get(role.lb, "rank")
    yield PortNeed("http", "HTTP", per=per, told=per != "group")
    if spread:
        yield PortNeed("master", "rendezvous", per="group")
    if meets(role):
        yield PortNeed("rpc", "rendezvous", per="group")
    if role.lb == "supervisor":
        yield PortNeed("supervisor", "supervisor", per="node")


def check(spec: ClusterSpec, version: str, release: str) -> Iterator[Problem]:
    """What this vLLM does not have, or refuses; ``release`` names the engine in messages."""
    for role in spec.roles:
        yield from _version(role, version, release)
        if role.nodes_per_rank > 1:
            yield from _parts(spec, role)
        elif role.lb == "supervisor":
            yield from _supervisor(spec, role)
        yield from _overridden(spec, role)


def _version(role: RoleSpec, version: str, release: str) -> Iterator[Problem]:
    since = {"hybrid": HYBRID_SINCE, "supervisor": SUPERVISOR_SINCE}.get(role.lb)
    if since and not at_least(version, since):
        text = f"lb {role.lb} of {role.name} needs vLLM {since} or later, and {release} does not have it"
        yield Problem(text, key=f"roles.{role.name}.lb", hint="use external or internal, or a later version")
    if role.nodes_per_rank > 1 and not at_least(version, SPREAD_SINCE):
        text = (
            f"an engine of {role.name} would be spread over {role.nodes_per_rank} nodes, "
            f"which vLLM can from {SPREAD_SINCE} on, and {release} cannot"
        )
        hint = f"dp: {role.nodes_per_rank}, or groups: {len(role.nodes)}, or a later version"
        yield Problem(text, key=f"roles.{role.name}.dp", hint=hint)


def _parts(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    if spec.kv_transfer is not None:
        text = (
            f"an engine of {role.name} would be spread over {role.nodes_per_rank} nodes: "
            "dplaunch hands KV over only between engines on one node each"
        )
        yield Problem(text, key=f"roles.{role.name}.nodes", hint="a tp, pp and dp that fit one node")
    if role.lb != "external":
        text = f"lb {role.lb} of {role.name} has no effect: each group is one engine, spread over its nodes"
        yield Problem(text, key=f"roles.{role.name}.lb", hint="remove lb")


def _supervisor(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    """Source: vLLM, dp_supervisor.py: validate_multi_port_external_lb_args, and the devices of a child."""
    local = role.seats_per_node if role.groups <= len(role.nodes) else role.dp
    key = f"roles.{role.name}"
    if role.dp == 1 or local == 1:
        text = f"lb supervisor of {role.name} needs at least 2 ranks of a group on each node"
        yield Problem(text, key=f"{key}.lb", hint="lb: external")
    if role.pcp > 1:
        text = f"lb supervisor of {role.name} gives each rank tp × pp devices, and pcp is {role.pcp}"
        yield Problem(text, key=f"{key}.lb", hint="lb: external")
    for settings in reaching(spec, role):
        if settings.args.get("api-server-count", 1) != 1:
            text = f"lb supervisor of {role.name} starts one API server for each rank"
            yield Problem(text, key=f"{settings.place}.args.api-server-count", hint="remove it")


def _overridden(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    """Only the first rank of a process has a command line of its own."""
    if role.lb == "external":
        return
    local = role.seats_per_node if role.groups <= len(role.nodes) else role.dp
    for name in spec.overrides:
        found = re.fullmatch(rf"{role.name}-(\d+)", name)
        rank = int(found[1]) if found else 0
        if rank % local:
            first = f"{role.name}-{rank - rank % local}"
            text = f"{name} has no command line of its own with lb {role.lb}: {first} has"
            yield Problem(text, key=f"overrides.{name}", hint="override the node: node:NAME")
