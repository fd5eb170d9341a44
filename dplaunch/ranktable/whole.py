"""Rules for a table from which processes take their ranks: it must be that of the plan, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.errors import Problem
from dplaunch.model.cluster import NodeSpec
from dplaunch.ranges import fold
from dplaunch.ranktable.rules import canonical
from dplaunch.ranktable.shape import breach
from dplaunch.ranktable.table import Server, Site, Table


def judge_whole(table: Table, site: Site) -> Iterator[Problem]:
    """Yield devices that the table lacks, ranks on other nodes than the plan's, missing addresses."""
    by_id, offsets = site.index(), _offsets(site)
    for server in table.servers:
        cell = server.find("server_id")
        node = by_id.get(canonical(cell)) if cell else None
        if node:
            yield from _judge_devices(server, node)
            yield from _judge_first_rank(server, node, offsets[node.name])
        if site.containers and not server.find("container_ip"):
            key, text = (
                f"{server.key}.container_ip",
                "container_ip is missing, by which the service finds itself",
            )
            hint = "add the address that the service has in its container: with the host's network the node's"
            yield breach(server.place, key, text, hint)


def _offsets(site: Site) -> dict[str, int]:
    """Return node → the first rank that the plan gives it."""
    ranks, found = 0, {}
    for node in site.nodes:
        found[node.name] = ranks
        ranks += len(node.devices)
    return found


def _judge_devices(server: Server, node: NodeSpec) -> Iterator[Problem]:
    named = {cell.number for one in server.devices if (cell := one.find("device_id"))}
    missing = [device for device in node.devices if device not in named]
    if missing and len(named) == len(server.devices):
        text = f"device {fold(map(str, missing))} of {node.name} in the cluster file is not in the table"
        yield breach(server.place, f"{server.key}.device", text, "add it, or make the table again")


def _judge_first_rank(server: Server, node: NodeSpec, wanted: int) -> Iterator[Problem]:
    ranks = [cell for one in server.devices if (cell := one.find("rank_id"))]
    if ranks and (first := min(ranks, key=lambda cell: cell.number)).number != wanted:
        text = f"the ranks of {node.name} begin at {first.number} here, and at {wanted} in the plan"
        yield breach(
            first.place, first.key, text, "put the master's node first, the others in the order of the plan"
        )
