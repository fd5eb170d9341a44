"""A probe: commands for a node, a pure parser of their outputs, and a judgement over all nodes.

``parse`` never raises, whatever a tool printed: what it cannot read it lists under ``unread``. ``judge``
sees the facts of every node that answered, so that it can also say which one is the odd one out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dplaunch.model.check import Command, Facts, Finding, Output
from dplaunch.model.cluster import ClusterSpec, NodeSpec
from dplaunch.model.plan import NodePlan

Seen = Mapping[str, Mapping[str, Facts]]
"""node → probe name → facts, of the stages before."""
Outputs = Mapping[str, Output]
"""A command's key → its output; a key is missing only when the node never answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a probe may know of a node: the whole file's meaning, the node, and what will run on it."""

    spec: ClusterSpec
    node: NodeSpec
    plan: NodePlan
    rehearsal: bool = False
    """Stand-ins play the engines there."""
    ours: frozenset[int] = frozenset()
    """Live processes of this cluster there, by pid: what they hold is no finding. Known to ``judge``."""

    @property
    def name(self) -> str:
        """The node's name in the cluster file."""
        return self.node.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing to know about every node."""

    name: str
    """``host.clock``: what findings are called; unique."""
    commands: Callable[[Target, Seen], Iterable[Command]]
    """May be empty where the probe does not apply. Keys are unique within the probe."""
    parse: Callable[[Target, Outputs], Facts]
    judge: Callable[[Sequence[Target], Mapping[str, Facts]], Iterator[Finding]]
    """All targets, and the facts of those nodes that answered and had commands to run."""
    quick: bool = False
    """Part of what ``up`` asks first: cheap, and without any tool that waits."""
    stage: int = 0
    """1: its commands need what probes of stage 0 have seen."""
    steady: tuple[str, ...] = ()
    """Facts that should not change between two runs: they make the fingerprint, and drift is shown."""
