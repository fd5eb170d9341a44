"""One port allocator per host over all roles and services.

What is fixed is taken first: the engine libraries' own ports, the router's, HTTP and rpc ports.
KV ranges then look for the lowest place that is free on every node of their group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dplaunch.engines import facts
from dplaunch.engines.facts import ReservedPorts
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import PortRange, Seat

END = 65536
"""One past the last TCP port."""


@dataclass(frozen=True, slots=True)
class User:
    """Who wants a port, and the key of the file that placed it there."""

    name: str
    use: str
    key: str

    def __str__(self) -> str:
        return f"{self.name} ({self.use})" if self.use else self.name


@dataclasses.dataclass(slots=True)
class Allocator:
    """What is taken on each host, by node name; and the collisions met on the way."""

    nodes: Mapping[str, str]
    """Node → address."""
    taken: dict[str, dict[int, User]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _told: set[tuple[str, str, str, str]] = field(default_factory=set)

    def take(self, node: str, port: int, user: User) -> None:
        """Give ``port`` of ``node`` to ``user``, who must have it; a second taker is a problem."""
        owner = self.taken.setdefault(self.nodes[node], {}).setdefault(port, user)
        if owner is not user:
            self._collide(node, port, owner, user)

    def _collide(self, node: str, port: int, owner: User, user: User) -> None:
        # the same two uses meet on every rank of every node: once is enough
        pair = (owner.key, owner.use, user.key, user.use)
        if pair in self._told:
            return
        self._told.add(pair)
        self.problems.append(
            Problem(
                f"port {port} of {node} ({self.nodes[node]}) is wanted by both {owner} and {user}",
                key=user.key,
                hint="move " + " or ".join(filter(None, dict.fromkeys((user.key, owner.key)))),
            )
        )

    def free_until(self, node: str, ports: range) -> int:
        """The first taken port of ``ports`` on ``node``; ``ports.stop`` when all are free."""
        taken = self.taken.get(self.nodes[node], {})
        return next((port for port in ports if port in taken), ports.stop)


def assign(
    spec: ClusterSpec, seats: Sequence[Seat], kv_width: Mapping[str, int], reserved: Sequence[ReservedPorts]
) -> tuple[tuple[Seat, ...], tuple[Problem, ...]]:
    """The seats with their ports, and every collision.

    ``kv_width``: KV ports that one rank of a role takes; ``reserved``: taken on every host with an engine.
    """
    allocator = Allocator({node.name: node.address for node in spec.nodes})
    roles = {role.name: role for role in spec.roles}
    for ports in reserved:
        _take_reserved(ports, {seat.node for seat in seats}, allocator)
    _take_router(spec, allocator)
    http = _http(spec, seats, roles, allocator)
    rpc = _rpc(spec, seats, roles, allocator)
    bases = _kv(seats, roles, kv_width, allocator)
    placed = (replace(seat, ports=_of(seat, http, rpc, bases, kv_width[seat.role])) for seat in seats)
    return tuple(placed), tuple(allocator.problems)


def _of(
    seat: Seat, http: Mapping[str, int], rpc: Mapping[str, int], bases: Mapping[str, int], width: int
) -> dict[str, PortRange]:
    found = {"http": PortRange(http[seat.name])}
    if seat.group_name in rpc:
        found["rpc"] = PortRange(rpc[seat.group_name])
    if seat.group_name in bases:
        base = bases[seat.group_name]
        found["kv"] = PortRange(base + seat.rank * width, width, base)
    return found


def _base(spec: ClusterSpec, role: RoleSpec, which: str) -> int:
    return role.ports.get(which, facts(spec.engine.kind).ports[which])


def _key(spec: ClusterSpec, role: RoleSpec, which: str) -> str:
    """Where the base stands in the file: at the role when it differs from the others'."""
    bases = {_base(spec, other, which) for other in spec.roles}
    return f"ports.{which}" if len(bases) == 1 else f"roles.{role.name}.ports.{which}"


def _take_router(spec: ClusterSpec, allocator: Allocator) -> None:
    if spec.router is not None and spec.router.kind != "none":
        allocator.take(spec.router.node, spec.router.port, User("router", "", "router.port"))


def _take_reserved(ports: ReservedPorts, nodes: Collection[str], allocator: Allocator) -> None:
    user = User(ports.owner, "its own host ports", "")
    for node in nodes:
        for port in range(ports.first, ports.end):
            allocator.take(node, port, user)


def _http(
    spec: ClusterSpec, seats: Sequence[Seat], roles: Mapping[str, RoleSpec], allocator: Allocator
) -> dict[str, int]:
    """The role's base plus the seat's index on its node, counted over all roles."""
    index = dict.fromkeys(allocator.nodes, 0)
    found = {}
    for seat in seats:
        role = roles[seat.role]
        port = _base(spec, role, "http") + index[seat.node]
        index[seat.node] += 1
        allocator.take(seat.node, port, User(seat.name, "HTTP", _key(spec, role, "http")))
        found[seat.name] = port
    return found


def _rpc(
    spec: ClusterSpec, seats: Sequence[Seat], roles: Mapping[str, RoleSpec], allocator: Allocator
) -> dict[str, int]:
    """Base plus the index of the group among those that rendezvous on the same host."""
    index = dict.fromkeys(allocator.nodes, 0)
    found = {}
    for seat in seats:
        role = roles[seat.role]
        if seat.rank or role.dp == 1:
            continue
        port = _base(spec, role, "rpc") + index[seat.node]
        index[seat.node] += 1
        allocator.take(seat.node, port, User(seat.group_name, "rendezvous", _key(spec, role, "rpc")))
        found[seat.group_name] = port
    return found


def _kv(
    seats: Sequence[Seat], roles: Mapping[str, RoleSpec], width: Mapping[str, int], allocator: Allocator
) -> dict[str, int]:
    """Per group the lowest base at which every rank's range is free on its node."""
    members: dict[str, list[Seat]] = {}
    for seat in seats:
        if width[seat.role]:
            members.setdefault(seat.group_name, []).append(seat)
    return {
        group: _kv_base(roles[ranks[0].role], ranks, width[ranks[0].role], allocator)
        for group, ranks in members.items()
    }


def _kv_base(role: RoleSpec, ranks: Sequence[Seat], width: int, allocator: Allocator) -> int:
    user = User(ranks[0].group_name, "KV transfer", "ports.kv")
    first = base = role.ports.get("kv", 61000)
    while (blocked := _blocked(base, ranks, width, allocator)) and base < END:
        base += blocked
    if base + role.dp * width > END:
        text = f"{user}: no {role.dp * width} free ports from {first} on"
        allocator.problems.append(Problem(text, key=user.key, hint="lower ports.kv"))
        return first
    for node, ports in _ranges(base, ranks, width):
        for port in ports:
            allocator.take(node, port, user)
    return base


def _blocked(base: int, ranks: Sequence[Seat], width: int, allocator: Allocator) -> int:
    """How far the base must move at least; 0 when everything is free."""
    for node, ports in _ranges(base, ranks, width):
        taken = allocator.free_until(node, ports)
        if taken < ports.stop:
            return taken + 1 - ports.start
    return 0


def _ranges(base: int, ranks: Sequence[Seat], width: int) -> Iterator[tuple[str, range]]:
    for seat in ranks:
        first = base + seat.rank * width
        yield seat.node, range(first, first + width)
