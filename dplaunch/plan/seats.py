"""Who sits where: groups, masters, ranks and devices. Arithmetic on a spec whose rules already hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import Seat


def groups(role: RoleSpec) -> tuple[tuple[str, ...], ...]:
    """The nodes of each group in rank order, the master's first."""
    return tuple(_master_first(role, group) for group in range(role.groups))


def _master_first(role: RoleSpec, group: int) -> tuple[str, ...]:
    """Rotated, so that ranks go on in order from the master's node."""
    nodes = role.nodes_of(group)
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
    parts = role.nodes_per_rank
    for group, nodes in enumerate(groups(role)):
        share = role.dp * parts // len(nodes)
        for place in range(role.dp * parts):
            rank, part = divmod(place, parts)
            node = nodes[place // share]
            yield Seat(
                name=f"{role.name}-{group * role.dp + rank}" + (f".{part}" if part else ""),
                role=role.name,
                group=group,
                node=node,
                address=address[node],
                rank=rank,
                local_rank=place % share,
                local_size=share,
                devices=(),
                part=part,
                parts=parts,
                master=address[nodes[0]],
            )


def _with_devices(spec: ClusterSpec, unseated: list[Seat]) -> Iterator[Seat]:
    """Devices of a node in order over all its seats; a node without devices pins nothing."""
    left = {node.name: iter(node.devices) for node in spec.nodes}
    width = {role.name: role.devices_per_seat for role in spec.roles}
    for seat in unseated:
        yield replace(seat, devices=tuple(islice(left[seat.node], width[seat.role])))
