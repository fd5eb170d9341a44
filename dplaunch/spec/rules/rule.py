"""What a rule is, what it sees, and the few figures that several rules need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from dplaunch.engines import EngineFacts, facts
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RoleSpec
from dplaunch.spec.finding import Finding
from dplaunch.spec.schema import File


class Case(Struct, frozen=True):
    """A cluster as written and as understood."""

    file: File
    spec: ClusterSpec

    @property
    def engine(self) -> EngineFacts:
        """What its kind of engine is."""
        return facts(self.file.engine.kind)

    def entries(self) -> Iterator[tuple[int, NodeSpec]]:
        """Every node with the index of its entry in the file's list."""
        nodes = iter(self.spec.nodes)
        for index, entry in enumerate(self.file.nodes):
            for _ in entry.name:
                yield index, next(nodes)

    def on(self, node: str) -> tuple[RoleSpec, ...]:
        """The roles that sit on a node, in the order in which seats are counted."""
        return tuple(role for role in self.spec.roles if node in role.nodes)


class Rule(Struct, frozen=True):
    """A rule over the whole file; it reads the dotted paths ``reads`` (``*`` is any part)."""

    reads: tuple[str, ...]
    check: Callable[[Case], Iterator[Finding]]


class RoleRule(Struct, frozen=True):
    """A rule over one role; ``{role}`` in ``reads`` is its name."""

    reads: tuple[str, ...]
    check: Callable[[Case, RoleSpec], Iterator[Finding]]


SEATING = ("nodes.*.name", "roles.*.nodes", "roles.*.groups", "roles.*.dp")
"""What decides how many ranks sit where."""
