"""Rules about devices: what all seats of a node need, against what it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dplaunch.model.cluster import RoleSpec
from dplaunch.ranges import fold, grouped
from dplaunch.spec.finding import Finding, KeyPath, counted
from dplaunch.spec.rules.rule import SEATING, Case, Rule


class Load(NamedTuple):
    """Nodes with the same devices and the same roles: one finding covers them all."""

    nodes: str
    devices: int
    roles: tuple[RoleSpec, ...]

    @property
    def need(self) -> int:
        """Devices that the seats of one such node need."""
        return sum(role.seats_per_node * role.devices_per_seat for role in self.roles)

    @property
    def path(self) -> KeyPath:
        """The key to change: the size of a role alone, else where the second one sits."""
        return ("roles", self.roles[-1].name, "dp" if len(self.roles) == 1 else "nodes")

    def __str__(self) -> str:
        return " + ".join(
            f"{counted(role.seats_per_node, 'rank')} of {role.name} × {role.devices_per_seat}"
            for role in self.roles
        )


def devices_suffice(case: Case) -> Iterator[Finding]:
    """Find nodes whose seats need more devices than they have."""
    for load in _loads(case):
        if load.need > load.devices:
            yield Finding(
                load.path,
                f"{load.nodes}: {load} need {counted(load.need, 'device')}, and a node has {load.devices}",
                "use more nodes, lower dp or tp, or correct hardware",
            )


def devices_used(case: Case) -> Iterator[Finding]:
    """Warn about devices without a seat: a deployment normally uses every device of a node."""
    for load in _loads(case):
        if load.need < load.devices:
            yield Finding(
                load.path,
                f"{load.nodes}: {load.devices - load.need} of {counted(load.devices, 'device')} are unused",
                f"{load} need {load.need}: raise dp or tp, or correct hardware",
                warning=True,
            )


def nodes_used(case: Case) -> Iterator[Finding]:
    """Warn about nodes that run neither an engine nor the router."""
    router = case.spec.router.node if case.spec.router else ""
    idle = grouped(
        (index, node.name) for index, node in case.entries() if not case.on(node.name) and node.name != router
    )
    for index, names in idle.items():
        text = f"nothing runs on {fold(names)}"
        yield Finding(("nodes", index), text, "give it to a role, or remove it", warning=True)


def _loads(case: Case) -> Iterator[Load]:
    busy = ((node, case.on(node.name)) for node in case.spec.nodes if node.devices)
    loads = grouped(((node.devices, *(r.name for r in roles)), node) for node, roles in busy if roles)
    for nodes in loads.values():
        yield Load(fold(n.name for n in nodes), len(nodes[0].devices), case.on(nodes[0].name))


_DEVICES = (*SEATING, "hardware.**", "nodes.*.devices", "roles.*.tp", "roles.*.pp", "roles.*.pcp")
RULES = (
    Rule(_DEVICES, devices_suffice),
    Rule(_DEVICES, devices_used),
    Rule(("nodes.*.name", "roles.*.nodes", "router.kind", "router.node"), nodes_used),
)
