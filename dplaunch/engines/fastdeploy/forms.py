"""Which of FastDeploy's forms a cluster has, and what follows from it and from the version."""

from __future__ import annotations

from typing import Literal

from dplaunch.engines.layout import url
from dplaunch.engines.versions import at_least
from dplaunch.model.cluster import ClusterSpec, RoleSpec

OWN_ROUTER = "fastdeploy"
ROUTER_SINCE, ROUTER_GOOD_SINCE = "2.4", "2.5"
"""2.4 is the first with ``--router`` (PR #4709); the documents of PR #5742 want what comes after it."""
METRICS_ON_API_PORT = "2.5"
"""From PR #5415 on a server without a port for metrics has them on its own."""
LOGS_BELOW_FD_LOG_DIR = "2.3"
ASKS_FOR_KEYS = "2.4"
"""The first release that reads FD_API_KEY."""
CACHE_PORT_FOR_EACH_RANK = "2.3"
"""Before, ``--cache-queue-port`` takes a single number (PR #4356)."""
FILLS_IN_PORTS = "2.5"
"""From PR #5415 on every list of ports that is not given, or too short, becomes random ones."""

REDIS_UNTIL = "2.5"
"""PR #5742 calls the scheduler on Redis not recommended from then on."""
REDIS_PASSWORD = "DPLAUNCH_REDIS_PASSWORD"  # noqa: S105 - the variable's name

OFFLINE = "fastdeploy-offline"
"""The kind of a job; everything else is a server."""
Form = Literal["balanced", "registered", "scheduled", "offline"]
"""``balanced``: any router chooses among the ranks. ``registered``: FastDeploy's own router, at which they
register, and which pairs prefill with decode. ``scheduled``: one API server for all ranks of a group, whose
scheduler distributes requests over all groups through Redis, wherever they come in. ``offline``: one program
with all ranks, which ends."""


def form(spec: ClusterSpec) -> Form:
    """By the kind of the engine, by Redis, or else by the kind of the router."""
    if spec.engine.kind == OFFLINE:
        return "offline"
    if spec.redis is not None:
        return "scheduled"
    return "registered" if spec.router is not None and spec.router.kind == OWN_ROUTER else "balanced"


def router_address(spec: ClusterSpec) -> str:
    """HOST:PORT of the router."""
    if spec.router is None:
        return ""
    node = next(node for node in spec.nodes if node.name == spec.router.node)
    return url(node.address, spec.router.port).removeprefix("http://")


def has_metrics_ports(version: str) -> bool:
    """Whether each server has a port of its own for metrics."""
    return not at_least(version, METRICS_ON_API_PORT)


def lists_cache_ports(version: str) -> bool:
    """Whether each rank has a port of its own for the queue of its cache."""
    return at_least(version, CACHE_PORT_FOR_EACH_RANK)


def has_transfer_ports(spec: ClusterSpec) -> bool:
    """Whether ports for prefill/decode and RDMA are given: also where none of them is used.

    Before 2.5 a split role slices the list of RDMA ports even if KV goes by IPC (engine/expert_service.py);
    from then on FastDeploy draws the lists that it is not given.
    """
    return spec.disaggregated or at_least(spec.engine.version, FILLS_IN_PORTS)


def transfer_protocol(spec: ClusterSpec) -> str:
    """How KV goes from prefill to decode: within one node by IPC, else by RDMA."""
    nodes = {name for role in spec.roles for name in role.nodes}
    sizes = {role.tp for role in spec.roles}
    given = spec.roles[0].args.get("cache-transfer-protocol")
    return str(given) if given else "ipc" if len(nodes) == 1 and len(sizes) == 1 else "rdma,ipc"


def uses_rdma(spec: ClusterSpec) -> bool:
    """Whether KV may go over RDMA."""
    return spec.disaggregated and "rdma" in transfer_protocol(spec)


def local_ranks(role: RoleSpec) -> int:
    """Ranks of one group on one node."""
    return role.dp // max(1, len(role.nodes) // role.groups)


def log_folder(version: str, chosen: str) -> str:
    """What stands before ``log_0``, the folder of the first server: FD_LOG_DIR is not followed at first."""
    return f"{chosen}/" if at_least(version, LOGS_BELOW_FD_LOG_DIR) else ""
