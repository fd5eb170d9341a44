"""Where start-up time went: what the logs of a start hold, and what ``timeline`` makes of it.

Every time is in seconds after the start of the engine's own process, by the clock of its own node: clocks of
different nodes are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class StartLog(Struct, frozen=True, kw_only=True):
    """What one engine has logged about a start: the lines that mark a stage, in order."""

    process: str
    role: str
    group: str
    node: str
    started_at: float | None = None
    """Epoch seconds on its node. None: not recorded (the run before); then the first line is the start."""
    lines: tuple[str, ...] = ()
    lost: bool = False
    """The beginning of the log has been dropped."""


class Span(Struct, frozen=True, kw_only=True):
    """One stage of one engine. ``begin`` is None if its line has no time; it counts with the stage before."""

    stage: str
    begin: float | None = None
    seconds: float | None = None
    """None: no line with a time follows. The engine is in this stage, or its start ends with it."""


class Timeline(Struct, frozen=True, kw_only=True):
    """The start of one engine, stage by stage."""

    process: str
    role: str
    group: str
    node: str
    spans: tuple[Span, ...] = ()
    total: float | None = None
    """Until the last line that carries a time."""
    problem: str = ""
    """Why something is missing, without the engine's name."""


class StageTimes(Struct, frozen=True, kw_only=True):
    """One stage over the engines of a role."""

    role: str
    stage: str
    engines: int
    median: float
    slowest: float
    engine: str
    """The slowest engine."""
    node: str
    before: float | None = None
    """Median of the run before."""

    @property
    def spread(self) -> float:
        """How much longer the slowest engine took than the median one."""
        return self.slowest - self.median


class Wait(Struct, frozen=True, kw_only=True):
    """One stage of a group: the engine that ended it last, and how long the median engine waited for it."""

    stage: str
    engine: str
    node: str
    lost: float
    """How much further the last engine fell behind the median one in this stage; 0: not at all."""


class GroupPath(Struct, frozen=True, kw_only=True):
    """The start of a data-parallel group, which waits for its slowest engine."""

    group: str
    engines: int
    seconds: float
    """Until the last line with a time of the last engine."""
    waits: tuple[Wait, ...] = ()

    @property
    def lost(self) -> float:
        """Seconds that the other engines waited for the slowest one, over all stages."""
        return sum(wait.lost for wait in self.waits)


class PhaseTimes(Struct, frozen=True, kw_only=True):
    """The phases of the ``up`` or ``restart`` behind this start, beside those of earlier ones of its size."""

    verb: str
    started: int
    phases: Mapping[str, float]
    earlier: tuple[Mapping[str, float], ...] = ()
    """The phases of each earlier one, newest last."""
    usual: Mapping[str, float] = field(default_factory=dict)
    """Phase → median of the earlier ones."""
    usual_total: float | None = None

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.phases.values())


class StartUp(Struct, frozen=True, kw_only=True):
    """The start of several engines."""

    timelines: tuple[Timeline, ...] = ()
    stages: tuple[StageTimes, ...] = ()
    """Role by role, stages in order."""
    groups: tuple[GroupPath, ...] = ()
    """Groups of several engines, the one that lost most time first."""
    phase_times: PhaseTimes | None = None
    """None: the verb behind this start is still running, or left before the engines were ready."""
    resolution: float = 0.0
    """Seconds: the smallest difference that the times of the lines can show."""
    untimed: tuple[str, ...] = ()
    """Stages whose lines carry no time."""
