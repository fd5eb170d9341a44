"""The values of a preflight: commands for nodes, their outputs, facts read from them, and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from dplaunch.ranges import grouped

Facts = Mapping[str, Any]
"""What a probe read on one node, as JSON values. ``unread``: a list of what it could not read."""


class Level(Enum):
    """The weight of a finding. Order: the worst first."""

    FAIL = "fail"
    """The cluster would not work, or not for long."""
    WARN = "warn"
    OK = "ok"
    ABSENT = "n/a"
    """Not applicable: the hardware, tool or setting is missing here."""


class Finding(Struct, frozen=True, kw_only=True):
    """A result of a check on one node; with ``node`` empty about several or all nodes."""

    probe: str
    """Dotted name: ``npu.link``, ``host.clock``."""
    level: Level
    text: str
    """One sentence, without the name of the node: equal texts of several nodes become one line."""
    node: str = ""
    remedy: str = ""
    """What to do, if possible a command. dplaunch never runs a command that changes a machine."""
    fix: str = ""
    """The command that repairs it on that node, which ``check --fix`` prints; empty if no command is safe."""


FoldedFinding = tuple[Finding, tuple[str, ...]]
"""A finding without its node, and all nodes that have it."""


def fold_findings(findings: Iterable[Finding]) -> list[FoldedFinding]:
    """Return equal findings of several nodes as one, in order of appearance."""
    nodes = grouped((replace(finding, node=""), finding.node) for finding in findings)
    return [(finding, tuple(dict.fromkeys(filter(None, names)))) for finding, names in nodes.items()]


class Command(Struct, frozen=True, kw_only=True):
    """A command for a node. Commands of one ``lane`` run one after another, lanes run in parallel."""

    key: str
    argv: tuple[str, ...] = ()
    path: str = ""
    """A file to read instead of running a command, which saves a process."""
    timeout: float = 10.0
    """Seconds after which its whole process group is ended."""
    lane: str = ""
    """Empty: a lane of its own."""
    again: str = ""
    """Pattern: if the output matches it, the tool was busy, and the command is run again a few times."""


class Output(Struct, frozen=True, kw_only=True):
    """The result of a command. Both texts are cut off at 64 KiB; bytes that are not UTF-8 are replaced."""

    code: int | None = None
    """-n: killed by signal n. None: it did not run or was ended, for the reason in ``problem``."""
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    problem: str = ""
    """``not found``, ``timed out after 10 s``, ``busy``…; empty if it ran to its end."""


class NodeSurvey(Struct, frozen=True, kw_only=True):
    """What was read on one node. ``facts``: probe name → its facts."""

    node: str
    facts: Mapping[str, Facts] = field(default_factory=dict)
    seconds: float = 0.0
    """How long the survey took on that node, by its own clock."""
    problem: str = ""
    """Why there are no facts: the node is unreachable or silent."""


class CheckReport(Struct, frozen=True, kw_only=True):
    """The result of a whole preflight."""

    findings: tuple[Finding, ...] = ()
    nodes: tuple[NodeSurvey, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Some finding is so bad that a start would not work."""
        return any(finding.level is Level.FAIL for finding in self.findings)
