"""Where the source's processes are in the cluster file: nodes, groups in order, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from dplaunch.errors import UsageError
from dplaunch.importer.engines import Engine
from dplaunch.importer.source import Source
from dplaunch.model.cluster import DECODE, PREFILL, SERVE
from dplaunch.ranges import fold, grouped

Group = tuple[Engine, ...]


class Places(Struct, frozen=True):
    """``nodes``: host → name; ``roles``: role → its hosts in the file's order; ``order``: role → groups."""

    nodes: Mapping[str, str]
    roles: Mapping[str, tuple[str, ...]]
    order: Mapping[str, tuple[Group, ...]]

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Every process, role by role."""
        return tuple(e for groups in self.order.values() for group in groups for e in group)

    def of_role(self, role: str) -> tuple[Engine, ...]:
        """Every process of a role."""
        return tuple(engine for group in self.order[role] for engine in group)

    def groups(self, role: str) -> int:
        """How many groups a role has."""
        return len(self.order[role])

    def key(self, engine: Engine) -> tuple[str, int, int, int]:
        """Role, number of the group, rank, part: what a process of the plan has too."""
        groups = self.order[engine.role]
        index = next(number for number, group in enumerate(groups) if engine in group)
        return engine.role, index, engine.rank, engine.part

    def name(self, engine: Engine) -> str:
        """The name of its endpoint, as overrides take it."""
        role, group, rank, _ = self.key(engine)
        return f"{role}-{group * engine.dp + rank}"


def place(engines: list[Engine], source: Source) -> Places:
    """Find the place of every process. Raises UsageError where roles or groups are not alike in size."""
    order, roles = {}, {}
    for role, mine in grouped((engine.role, engine) for engine in engines).items():
        _same_sizes(role, mine)
        groups = tuple(
            tuple(sorted(group, key=lambda one: (one.rank, one.part)))
            for group in grouped((engine.group, engine) for engine in mine).values()
        )
        _whole(role, groups)
        order[role] = groups
        roles[role] = tuple(dict.fromkeys(engine.host for group in groups for engine in group))
        _masters(role, groups, source)
    hosts = dict.fromkeys(host for role in (PREFILL, DECODE, SERVE) for host in roles.get(role, ()))
    return Places({host: f"n{number}" for number, host in enumerate(hosts, 1)}, roles, order)


def _same_sizes(role: str, engines: Sequence[Engine]) -> None:
    for what in ("dp", "lb", "sizes"):
        first, other = (
            engines[0],
            next((e for e in engines if getattr(e, what) != getattr(engines[0], what)), None),
        )
        if other:
            raise UsageError(
                f"{role} is started with different {what}: {getattr(first, what)} on {first.host} "
                f"({first.launch.where}), {getattr(other, what)} on {other.host} ({other.launch.where})",
                hint="all groups of a role have the same sizes: import the engines that differ by themselves",
            )


def _whole(role: str, groups: Sequence[Group]) -> None:
    """Every rank of a group exactly once, and as many nodes in each group."""
    for group in groups:
        first = group[0]
        ranks = [rank for engine in group for rank in range(engine.rank, engine.rank + engine.local)]
        if first.part == 0 and "nnodes" not in first.flags:
            missing = sorted(set(range(first.dp)) - set(ranks))
            twice = sorted({rank for rank in ranks if ranks.count(rank) > 1})
            if missing or twice:
                words = f"ranks {fold(map(str, missing))} are missing" if missing else ""
                words += " and " * bool(missing and twice)
                words += f"ranks {fold(map(str, twice))} are started twice" if twice else ""
                raise UsageError(
                    f"{role}, group of {first.address or first.host}: of {first.dp} ranks, {words}",
                    hint="give the commands of every node of the group: HOST=FILE for each",
                )
    sizes = {len({engine.host for engine in group}) for group in groups}
    if len(sizes) > 1:
        raise UsageError(
            f"groups of {role} have different numbers of nodes: {', '.join(map(str, sorted(sizes)))}",
            hint="all groups of a role have the same size: import those that differ by themselves",
        )


def _masters(role: str, groups: Sequence[Group], source: Source) -> None:
    """Note a group that meets at an address which is none of its first node's."""
    for group in groups:
        first = group[0]
        address, hosts = first.address, [engine.host for engine in group]
        if len(group) == 1 or not address or address in (first.host, "127.0.0.1", "localhost"):
            continue
        if address in hosts:
            text = f"a group of {role} meets at {address}, but rank {first.rank} runs on {first.host}"
            source.leave(first.launch.where, text, "vLLM wants rank 0 on the node of that address")
        elif address[:1].isdigit() and first.host not in source.addresses and "x" not in address:
            source.addresses[first.host] = address
