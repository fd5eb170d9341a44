"""Rules about devices: what all seats of a node need, against what it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dplaunch.model.cluster import RoleSpec
from dplaunch.ranges import fold
from dplaunch.spec.finding import Finding, KeyPath, counted
from dplaunch.spec.rules.rule import SEATING, Case, Rule, ranks_per_node


class Load(NamedTuple):
    """Nodes that have the same devices and the same roles: told together."""

    nodes: str
    devices: int
    roles: tuple[RoleSpec, ...]

    @property
    def need(self) -> int:
        """Devices that the seats of one such node need."""
        return sum(ranks_per_node(role) * role.devices_per_rank for role in self.roles)

    @property
    def path(self) -> KeyPath:
        """The key to change: the size of a role alone, else where the second one sits."""
        return ("roles", self.roles[-1].name, "dp" if len(self.roles) == 1 else "nodes")

    def __str__(self) -> str:
        return " + ".join(
            f"{counted(ranks_per_node(role), 'rank')} of {role.name} × {role.devices_per_rank}"
            for role in self.roles
        )


def devices_suffice(case: Case) -> Iterator[Finding]:
    """Every device has one seat at most (facts §5.3)."""
    for load in _loads(case):
        if load.need > load.devices:
            yield Finding(
                load.path,
                f"{load.nodes}: {load} need {counted(load.need, 'device')}, and a node has {load.devices}",
                "use more nodes, lower dp or tp, or correct hardware",
            )


def devices_used(case: Case) -> Iterator[Finding]:
    """The engine's own tests use every device of a node (facts §5.3)."""
    for load in _loads(case):
        if load.need < load.devices:
            yield Finding(
                load.path,
                f"{load.nodes}: {load.devices - load.need} of {counted(load.devices, 'device')} stay unused",
                f"{load} need {load.need}: raise dp or tp, or correct hardware",
                warning=True,
            )


def nodes_used(case: Case) -> Iterator[Finding]:
    """A node without any seat is a slip, unless it is the router's."""
    router = case.spec.router.node if case.spec.router else ""
    idle: dict[int, list[str]] = {}
    for index, node in case.entries():
        if not case.on(node.name) and node.name != router:
            idle.setdefault(index, []).append(node.name)
    for index, names in idle.items():
        text = f"nothing runs on {fold(names)}"
        yield Finding(("nodes", index), text, "give it to a role, or remove it", warning=True)


def _loads(case: Case) -> Iterator[Load]:
    alike: dict[tuple[int, str], list[str]] = {}
    for node in case.spec.nodes:
        roles = case.on(node.name)
        if roles and node.devices:
            alike.setdefault((node.devices, " ".join(role.name for role in roles)), []).append(node.name)
    for (devices, _), nodes in alike.items():
        yield Load(fold(nodes), devices, case.on(nodes[0]))


_DEVICES = (*SEATING, "hardware.**", "nodes.*.devices", "roles.*.tp", "roles.*.pp", "roles.*.pcp")
RULES = (
    Rule(_DEVICES, devices_suffice),
    Rule(_DEVICES, devices_used),
    Rule(("nodes.*.name", "roles.*.nodes", "router.kind", "router.node"), nodes_used),
)
