"""One port allocator per host over all roles and services.

What is fixed is taken first: the engine libraries' own ports, the router's, and those that count up from a
base. Ranges with a base common to their group then look for the lowest place that is free on all its nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from dplaunch.engines import EngineAdapter, EngineFacts, PortNeed, Site
from dplaunch.engines.routers import router_kind
from dplaunch.engines.settings import user_env
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import PortRange, Seat
from dplaunch.plan.services import REDIS, services
from dplaunch.ranges import grouped

END = 65536
"""One past the last TCP port."""

Needs = Mapping[str, Sequence[PortNeed]]
"""Role → the ports it needs."""


class User(Struct, frozen=True):
    """Who wants a port, and the key of the file that placed it there."""

    name: str
    use: str
    key: str

    def __str__(self) -> str:
        return f"{self.name} ({self.use})" if self.use else self.name


class Allocator(Struct):
    """What is taken on each host, by node name; and the collisions met on the way."""

    nodes: Mapping[str, str]
    """Node → address."""
    taken: dict[str, dict[int, User]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _reported: set[tuple[str, str, str, str]] = field(default_factory=set)

    def take(self, node: str, ports: Iterable[int], user: User) -> None:
        """Give ``ports`` of ``node`` to ``user``, who must have them; a second taker is a problem."""
        for port in ports:
            owner = self.taken.setdefault(self.nodes[node], {}).setdefault(port, user)
            if owner is not user:
                self._collide(node, port, owner, user)

    def _collide(self, node: str, port: int, owner: User, user: User) -> None:
        # the same two uses meet on every rank of every node: report it once
        pair = (owner.key, owner.use, user.key, user.use)
        if pair in self._reported:
            return
        self._reported.add(pair)
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


class _Claim(Struct, frozen=True):
    """One need of some seats, in the role they have: a rank's, those of a group on a node, or a group's."""

    need: PortNeed
    role: RoleSpec
    seats: tuple[Seat, ...]

    @property
    def owner(self) -> str:
        """What to call it in a message."""
        first = self.seats[0]
        if self.need.common or self.need.per == "group":
            return first.group_name
        return first.name if self.need.per == "rank" else f"{first.group_name} on {first.node}"


def assign(
    spec: ClusterSpec, seats: Sequence[Seat], engine: EngineAdapter
) -> tuple[tuple[Seat, ...], tuple[Problem, ...]]:
    """The seats with their ports, and every collision."""
    allocator = Allocator({node.name: node.address for node in spec.nodes})
    for ports in engine.facts.reserved:
        user = User(ports.owner, "its own host ports", "")
        for node, first in dict.fromkeys(_moved(spec, seats, engine.facts, ports.moved_by)):
            allocator.take(node, ports.at(first), user)
    if spec.router is not None and spec.router.kind != "none":
        allocator.take(spec.router.node, (spec.router.port,), User("router", "", "router.port"))
        if beside := router_kind(spec.router).health_port:
            allocator.take(spec.router.node, (beside,), User("router", "its health", ""))
    for service in services(spec):
        key = "redis.port" if service.name == REDIS else f"services.{service.name}.ports"
        allocator.take(service.node, service.ports, User(service.name, "", key))
    claims = list(_claims(spec, seats, {role.name: engine.ports(spec, role) for role in spec.roles}))
    placing = _Placing(spec, engine.facts, allocator)
    for name in engine.facts.ports:
        placing.count_up([c for c in claims if c.need.name == name and not c.need.common])
    for claim in claims:
        if claim.need.common:
            placing.find_room(claim)
    placed = (replace(seat, ports=placing.found.get(seat.name, {})) for seat in seats)
    return tuple(placed), tuple(allocator.problems)


def _moved(
    spec: ClusterSpec, seats: Sequence[Seat], facts: EngineFacts, variable: str
) -> Iterator[tuple[str, str]]:
    """Node and value of the variable for each seat; empty where the file does not set it."""
    roles = {role.name: role for role in spec.roles}
    nodes = {node.name: node for node in spec.nodes}
    for seat in seats:
        site = Site(spec=spec, facts=facts, role=roles[seat.role], node=nodes[seat.node], seats=(seat,))
        yield seat.node, str(user_env(site, seat).get(variable, ""))


def _claims(spec: ClusterSpec, seats: Sequence[Seat], needs: Needs) -> Iterator[_Claim]:
    """In the order of seats."""
    roles = {role.name: role for role in spec.roles}
    for role, wanted in needs.items():
        mine = [seat for seat in seats if seat.role == role]
        for need in wanted:
            for together in grouped((_sharing(need, seat), seat) for seat in mine).values():
                yield _Claim(need, roles[role], tuple(together))


def _sharing(need: PortNeed, seat: Seat) -> tuple[object, ...]:
    """Equal for seats that have the ports together."""
    if need.common or need.per == "group":
        return (seat.group,)
    return (seat.group, seat.node) if need.per == "node" else (seat.name,)


class _Placing(Struct, frozen=True):
    """Ports by seat and name, as they are found."""

    spec: ClusterSpec
    facts: EngineFacts
    allocator: Allocator
    found: dict[str, dict[str, PortRange]] = field(default_factory=dict)

    def count_up(self, claims: Iterable[_Claim]) -> None:
        """The role's base plus what is counted on the node already, over all roles."""
        used = dict.fromkeys(self.allocator.nodes, 0)
        for claim in claims:
            node, need = claim.seats[0].node, claim.need
            ports = PortRange(self._base(claim.role, need.name) + used[node], need.count)
            used[node] += need.count
            self.allocator.take(node, ports.ports, self._user(claim))
            for seat in claim.seats if need.told else claim.seats[:1]:
                self._give(seat, need, ports)

    def find_room(self, claim: _Claim) -> None:
        """The lowest base at which every rank's range is free on its node."""
        first = base = self._base(claim.role, claim.need.name)
        while (blocked := self._blocked(base, claim)) and base < END:
            base += blocked
        count = claim.role.dp * claim.need.count
        user = self._user(claim)
        fits = base + count <= END
        if not fits:
            text, hint = (
                f"{user} needs {count} free ports from {first} on, and there are fewer",
                f"lower {user.key}",
            )
            self.allocator.problems.append(Problem(text, key=user.key, hint=hint))
        for seat, ports in _ranges(base if fits else first, claim):
            if fits:
                self.allocator.take(seat.node, ports.ports, user)
            self._give(seat, claim.need, ports)

    def _blocked(self, base: int, claim: _Claim) -> int:
        """How far the base must move at least; 0 when everything is free."""
        for seat, ports in _ranges(base, claim):
            taken = self.allocator.free_until(seat.node, ports.ports)
            if taken < ports.ports.stop:
                return taken + 1 - ports.first
        return 0

    def _give(self, seat: Seat, need: PortNeed, ports: PortRange) -> None:
        self.found.setdefault(seat.name, {})[need.name] = ports

    def _base(self, role: RoleSpec, name: str) -> int:
        return role.ports.get(name, self.facts.ports[name])

    def _user(self, claim: _Claim) -> User:
        """The key is where the base stands in the file: at the role when it differs from the others'."""
        name = claim.need.name
        shared = len({self._base(other, name) for other in self.spec.roles}) == 1
        key = f"ports.{name}" if shared else f"roles.{claim.role.name}.ports.{name}"
        return User(claim.owner, claim.need.use, key)


def _ranges(base: int, claim: _Claim) -> Iterator[tuple[Seat, PortRange]]:
    count = claim.need.count
    for seat in claim.seats:
        yield seat, PortRange(base + seat.rank * count, count, base)


def bound(seats: Sequence[Seat], needs: Sequence[PortNeed]) -> tuple[int, ...]:
    """Ports that a process with these seats listens on: a group's only where its rank 0 is."""
    ports = (
        port
        for seat in seats
        for need in needs
        if need.listens and need.name in seat.ports and (need.per != "group" or seat.leads)
        for port in seat.ports[need.name].ports
    )
    return tuple(dict.fromkeys(ports))
