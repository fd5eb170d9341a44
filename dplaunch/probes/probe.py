"""A probe: commands for a node, a pure parser of their outputs, and a judgement over all nodes.

``parse`` never raises, whatever a tool prints: it lists under ``unread`` what it cannot read. ``compare``
sees the facts of all nodes, so that it can also find the one that differs from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from dplaunch.engines import EngineFacts, facts
from dplaunch.model.check import Command, Facts, Finding
from dplaunch.model.cluster import ClusterSpec, NodeSpec
from dplaunch.model.plan import NodePlan
from dplaunch.probes.findings import report_unread
from dplaunch.probes.outputs import Outputs

EarlierFacts = Mapping[str, Mapping[str, Facts]]
"""Node → probe name → facts, from the earlier stages."""


class ProbeTarget(Struct, frozen=True, kw_only=True):
    """A node as probes see it: the whole cluster file, the node, and what will run on it."""

    spec: ClusterSpec
    node: NodeSpec
    plan: NodePlan
    outside: bool = False
    """Its container does not run yet: what is in the image cannot be asked, the machine can."""
    rehearsal: bool = False
    """Stand-ins run there instead of engines."""
    ours: frozenset[int] = frozenset()
    """Pids of this cluster's running processes there, which may hold devices. Only ``compare`` has them."""

    @property
    def name(self) -> str:
        """The node's name in the cluster file."""
        return self.node.name

    @property
    def engine(self) -> EngineFacts:
        """The facts of the cluster's engine."""
        return facts(self.spec.engine.kind)

    @property
    def has_engines(self) -> bool:
        """Whether real engines will run there, which need what a rehearsal does not need."""
        return not self.rehearsal and any(process.kind == "engine" for process in self.plan.processes)

    @property
    def peers(self) -> frozenset[str]:
        """Other nodes with whose devices its own exchange data: of its groups, and through KV transfer."""
        return find_peers(self.spec, self.name)

    @property
    def needed_devices(self) -> frozenset[int]:
        """The devices that the plan gives to engines there."""
        seats = (seat for process in self.plan.processes for seat in process.seats)
        return frozenset(device for seat in seats for device in seat.devices)


def find_peers(spec: ClusterSpec, name: str) -> frozenset[str]:
    """Return the other nodes with whose devices those of a node exchange data."""
    groups = [set(role.nodes_of(group)) for role in spec.roles for group in range(role.groups)]
    linked = [set().union(*groups)] if spec.kv_transfer else groups
    mine = (nodes for nodes in linked if name in nodes)
    return frozenset(set().union(*mine) - {name})


class Probe(Struct, frozen=True, kw_only=True):
    """Something to find out about every node."""

    name: str
    """``host.clock``: the name in its findings; unique."""
    commands: Callable[[ProbeTarget, EarlierFacts], Iterable[Command]]
    """No commands: the probe does not apply to that node. Keys are unique within the probe."""
    parse: Callable[[ProbeTarget, Outputs], Facts]
    compare: Callable[[Sequence[ProbeTarget], Mapping[str, Facts]], Iterator[Finding]]
    """Takes all targets, and the facts of the nodes of which at least something could be read."""
    quick: bool = False
    """``up`` runs it before it starts anything: it is cheap, and no tool of it can hang."""
    inside: bool = False
    """It asks what comes with the image, where everything runs in a container of dplaunch's."""
    stage: int = 0
    """1: its commands depend on the facts of stage 0."""
    steady: tuple[str, ...] = ()
    """Facts that should not change between two runs: the fingerprint holds them, drift is reported."""

    def judge(self, targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
        """Yield the findings of all targets, and a warning for each node of which something was unreadable.

        ``seen``: the facts of the nodes that replied and had commands to run. No targets: no findings.
        """
        read = {node: found for node, found in seen.items() if found.keys() - {"unread"}}
        yield from self.compare(targets, read) if targets else ()
        for node, found in seen.items():
            yield from report_unread(self.name, node, found)
