"""A probe: commands for a node, a pure parser of their outputs, and a judgement over all nodes.

``parse`` never raises, whatever a tool prints: it lists under ``unread`` what it cannot read. ``judge`` sees
the facts of all nodes, so that it can also find the one that differs from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dplaunch.engines import EngineFacts, facts
from dplaunch.model.check import Command, Facts, Finding, Output
from dplaunch.model.cluster import ClusterSpec, NodeSpec
from dplaunch.model.plan import NodePlan

EarlierFacts = Mapping[str, Mapping[str, Facts]]
"""Node → probe name → facts, from the earlier stages."""
Outputs = Mapping[str, Output]
"""A command's key → its output. A key is missing only if the node did not reply at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """A node as probes see it: the whole cluster file, the node, and what will run on it."""

    spec: ClusterSpec
    node: NodeSpec
    plan: NodePlan
    rehearsal: bool = False
    """Stand-ins run there instead of engines."""
    ours: frozenset[int] = frozenset()
    """The pids of this cluster's running processes there, which may hold devices. Only ``judge`` has them."""

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
    def needed_devices(self) -> frozenset[int]:
        """The devices that the plan gives to engines there."""
        seats = (seat for process in self.plan.processes for seat in process.seats)
        return frozenset(device for seat in seats for device in seat.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Something to find out about every node."""

    name: str
    """``host.clock``: the name in its findings; unique."""
    commands: Callable[[ProbeTarget, EarlierFacts], Iterable[Command]]
    """No commands: the probe does not apply to that node. Keys are unique within the probe."""
    parse: Callable[[ProbeTarget, Outputs], Facts]
    judge: Callable[[Sequence[ProbeTarget], Mapping[str, Facts]], Iterator[Finding]]
    """Takes all targets, and the facts of the nodes that replied and had commands to run."""
    quick: bool = False
    """``up`` runs it before it starts anything: it is cheap, and no tool of it can hang."""
    stage: int = 0
    """1: its commands depend on the facts of stage 0."""
    steady: tuple[str, ...] = ()
    """Facts that should not change between two runs: the fingerprint holds them, drift is reported."""
