"""What preflight speaks of: commands for nodes, their outputs, facts read from them, and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from dplaunch.ranges import grouped

Facts = Mapping[str, Any]
"""What a probe read on one node; JSON all through. ``unread``: a list of what it could not make sense of."""


class Level(Enum):
    """How a finding counts. Order: the worst first."""

    FAIL = "fail"
    """Would not work, or not for long."""
    WARN = "warn"
    OK = "ok"
    ABSENT = "n/a"
    """Does not apply here: no such hardware, tool or setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found on one node (``node`` empty: about several or all of them)."""

    probe: str
    """Dotted name: ``npu.link``, ``host.clock``."""
    level: Level
    text: str
    """One sentence, without the node's name: equal texts of several nodes are folded into one line."""
    node: str = ""
    remedy: str = ""
    """What to do; a command where there is one. Never run by dplaunch when it changes a machine."""
    fix: str = ""
    """The command that would repair it there, for ``check --fix`` to print; empty where none is safe."""


Alike = tuple[Finding, tuple[str, ...]]
"""A finding without its node, and all nodes that have it."""


def alike(findings: Iterable[Finding]) -> list[Alike]:
    """Equal findings of several nodes as one, in order of appearance."""
    nodes = grouped((replace(finding, node=""), finding.node) for finding in findings)
    return [(finding, tuple(dict.fromkeys(filter(None, names)))) for finding, names in nodes.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command for a node. Commands of one ``lane`` run one after another, lanes side by side."""

    key: str
    argv: tuple[str, ...] = ()
    path: str = ""
    """In place of a command: a file to read, which costs no process."""
    timeout: float = 10.0
    """Seconds, after which its whole process group is ended."""
    lane: str = ""
    """Empty: a lane of its own."""
    again: str = ""
    """Pattern: an output that matches is no answer yet, the command is tried again a few times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What came of a command. Both texts are cut at 64 KiB; bytes that are no UTF-8 are replaced."""

    code: int | None = None
    """-n: killed by signal n. None: it never ran or was ended; ``problem`` says why."""
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    problem: str = ""
    """``not found``, ``timed out after 10 s``, ``busy``…; empty when it ran to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSurvey:
    """One node's answers. ``facts``: probe name → what it read."""

    node: str
    facts: Mapping[str, Facts] = field(default_factory=dict)
    seconds: float = 0.0
    """The time its own survey took, by its own clock."""
    problem: str = ""
    """Why there are none: not reached, silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A whole preflight."""

    findings: tuple[Finding, ...] = ()
    nodes: tuple[NodeSurvey, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Anything is wrong enough that a start would not work."""
        return any(finding.level is Level.FAIL for finding in self.findings)
