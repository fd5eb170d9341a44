"""Where start-up time went: what the nodes told, and what was made of it by ``timeline``.

Every time is seconds after the start of the engine's own process, by its own node's clock: clocks of
several nodes are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLog:
    """What one engine's log says of a start: the lines that mark a stage, in order."""

    process: str
    role: str
    group: str
    node: str
    started_at: float | None = None
    """Epoch seconds on its node; None: not kept (the run before). Then time counts from the first line."""
    lines: tuple[str, ...] = ()
    lost: bool = False
    """The beginning of its log was dropped already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stage of one engine. ``begin`` None: its line carries no time, it counts with the stage before."""

    stage: str
    begin: float | None = None
    seconds: float | None = None
    """None: nothing with a time follows; it is where the engine stands, or the line that ends its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One engine's start, stage by stage."""

    process: str
    role: str
    group: str
    node: str
    spans: tuple[Span, ...] = ()
    total: float | None = None
    """Until its last line that carries a time."""
    problem: str = ""
    """Why there is less than there should be; without the engine's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """One stage over the engines of a role."""

    role: str
    stage: str
    engines: int
    median: float
    slowest: float
    engine: str
    """The slowest."""
    node: str
    before: float | None = None
    """Median of the run before."""

    @property
    def spread(self) -> float:
        """How much longer the slowest took than the one in the middle."""
        return self.slowest - self.median


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A stage of a group: who came to its end last, and what that cost the engine in the middle."""

    stage: str
    engine: str
    node: str
    lost: float
    """By how much the last one fell further behind the middle in this stage; 0: it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPath:
    """A data-parallel group waits for its slowest engine."""

    group: str
    engines: int
    seconds: float
    """Until the last line with a time of its last engine."""
    waits: tuple[Wait, ...] = ()

    @property
    def lost(self) -> float:
        """Seconds its other engines waited for the slowest, all stages together."""
        return sum(wait.lost for wait in self.waits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The phases of the `up` or `restart` that made this start, beside earlier ones of as many processes."""

    verb: str
    started: int
    phases: Mapping[str, float]
    earlier: tuple[Mapping[str, float], ...] = ()
    """Phases of each earlier one, newest last."""
    usual: Mapping[str, float] = field(default_factory=dict)
    """Phase → median of the earlier ones."""
    usual_total: float | None = None

    @property
    def total(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """A whole start."""

    timelines: tuple[Timeline, ...] = ()
    stages: tuple[StageTimes, ...] = ()
    """Role by role, stages in order."""
    groups: tuple[GroupPath, ...] = ()
    """Groups of several engines, the one that lost most first."""
    walk: Walk | None = None
    """None: this start's walk has not ended, or nobody waited for it."""
    resolution: float = 0.0
    """Seconds between two times the lines can tell apart."""
    untimed: tuple[str, ...] = ()
    """Stages whose lines carry no time."""
