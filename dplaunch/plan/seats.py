"""Who sits where: groups, masters, ranks and devices. Arithmetic on a spec whose rules already hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import Seat


@dataclass(frozen=True, slots=True)
class Group:
    """One DP group: its nodes in rank order, the master's first."""

    number: int
    nodes: tuple[str, ...]


def groups(role: RoleSpec) -> tuple[Group, ...]:
    """The role's nodes dealt to its groups in order: nodes to a group, or several groups to a node."""
    count = len(role.nodes)
    if count % role.groups == 0:
        share = count // role.groups
        dealt = [role.nodes[g * share : (g + 1) * share] for g in range(role.groups)]
    else:
        per_node = role.groups // count
        dealt = [(role.nodes[g // per_node],) for g in range(role.groups)]
    return tuple(Group(g, _master_first(role, g, nodes)) for g, nodes in enumerate(dealt))


def _master_first(role: RoleSpec, group: int, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Rotated, so that ranks go on in order from the master's node."""
    if not role.masters:
        return nodes
    first = nodes.index(role.masters[group])
    return nodes[first:] + nodes[:first]


def seats(spec: ClusterSpec) -> tuple[Seat, ...]:
    """Every engine's seat without ports: roles in file order, groups and ranks in order within."""
    address = {node.name: node.address for node in spec.nodes}
    unseated = [seat for role in spec.roles for seat in _of_role(role, address)]
    return tuple(_with_devices(spec, unseated))


def _of_role(role: RoleSpec, address: dict[str, str]) -> Iterator[Seat]:
    for group in groups(role):
        share = role.dp // len(group.nodes)
        for rank in range(role.dp):
            node = group.nodes[rank // share]
            yield Seat(
                name=f"{role.name}-{group.number * role.dp + rank}",
                role=role.name,
                group=group.number,
                node=node,
                address=address[node],
                rank=rank,
                local_rank=rank % share,
                local_size=share,
                devices=(),
                master=address[group.nodes[0]],
            )


def _with_devices(spec: ClusterSpec, unseated: list[Seat]) -> Iterator[Seat]:
    """Devices of a node in order over all its seats; a node without devices pins nothing."""
    has = {node.name: node.devices for node in spec.nodes}
    width = {role.name: role.devices_per_rank for role in spec.roles}
    given = dict.fromkeys(has, 0)
    for seat in unseated:
        if not has[seat.node]:
            yield seat
            continue
        first = given[seat.node]
        given[seat.node] = first + width[seat.role]
        yield replace(seat, devices=tuple(range(first, given[seat.node])))
