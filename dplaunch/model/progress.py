"""``Progress``: how far a walk has come, after the events so far. Folded by ``progress``, drawn by ``view``.

All times are the ``at`` of events: seconds of one monotonic clock, not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field

from dplaunch.model.event import Failed, NodeFailed
from dplaunch.ranges import grouped


class Step(Enum):
    """Where one process is."""

    WAITING = "waiting"
    STARTING = "starting"
    """exec succeeded, no log line recognised yet."""
    LOADING = "loading"
    """In a start-up stage its log names."""
    READY = "ready"
    PROVED = "proved"
    FAILED = "failed"
    STOPPED = "stopped"


UNDER_WAY = (Step.WAITING, Step.STARTING, Step.LOADING)
"""Steps in which a process is still being waited for."""
SERVING = (Step.READY, Step.PROVED)


class UnitProgress(Struct, frozen=True, kw_only=True):
    """One endpoint, or a process without any: its step, since when, and the stage its log named last."""

    name: str
    process: str
    """Whose it is."""
    role: str
    node: str
    step: Step = Step.WAITING
    since: float = 0.0
    """When this step or stage began."""
    stage: str = ""
    index: int = 0
    """Of the stage, counted from 0."""
    count: int = 0
    fraction: float = 0.0
    """0…1 inside the stage."""
    done: float = 0.0
    """0…1 of the whole start."""


class RoleProgress(Struct, frozen=True, kw_only=True):
    """One role (or service) in figures."""

    role: str
    total: int
    started: int
    ready: int
    proved: int
    failed: int
    stopped: int
    fraction: float
    """Mean of what its processes have done, 0…1."""
    slowest: UnitProgress | None
    """Of those still awaited: the lowest stage, then the longest in it."""


class PhaseProgress(Struct, frozen=True, kw_only=True):
    """One phase of the walk; ``seconds`` is None while it lasts."""

    name: str
    began: float
    detail: str = ""
    seconds: float | None = None


class Progress(Struct, frozen=True, kw_only=True):
    """Everything the events so far have told."""

    units: Mapping[str, UnitProgress] = field(default_factory=dict)
    phases: tuple[PhaseProgress, ...] = ()
    failures: tuple[Failed, ...] = ()
    lost: tuple[NodeFailed, ...] = ()
    surveyed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Node → commands answered, of how many, in the phase under way."""
    draining: Mapping[str, int] = field(default_factory=dict)
    """Endpoint → requests that are waited for, in the phase under way."""
    began: float | None = None
    """Time of the first event."""
    at: float = 0.0
    """Time of the last event."""

    @property
    def phase(self) -> PhaseProgress | None:
        """The phase under way: the last begun. A phase that fails never ends; the next one follows it."""
        return self.phases[-1] if self.phases and self.phases[-1].seconds is None else None

    @property
    def elapsed(self) -> float:
        """Seconds from the first event to the last."""
        return 0.0 if self.began is None else self.at - self.began

    @property
    def roles(self) -> tuple[RoleProgress, ...]:
        """Figures per role, in plan order. Costs a pass over all processes: ask when drawing."""
        members = grouped((unit.role, unit) for unit in self.units.values())
        return tuple(_figures(role, units) for role, units in members.items())

    def of(self, name: str) -> tuple[UnitProgress, ...]:
        """The unit of that name, else those of the process of that name."""
        if name in self.units:
            return (self.units[name],)
        return tuple(unit for unit in self.units.values() if unit.process == name)

    def role(self, name: str) -> RoleProgress:
        """Figures of one role."""
        return _figures(name, [p for p in self.units.values() if p.role == name])


def _figures(role: str, members: list[UnitProgress]) -> RoleProgress:
    steps = [member.step for member in members]
    awaited = [member for member in members if member.step in UNDER_WAY]
    return RoleProgress(
        role=role,
        total=len(members),
        started=sum(step not in (Step.WAITING, Step.STOPPED) for step in steps),
        ready=sum(step in SERVING for step in steps),
        proved=steps.count(Step.PROVED),
        failed=steps.count(Step.FAILED),
        stopped=steps.count(Step.STOPPED),
        fraction=sum(member.done for member in members) / max(1, len(members)),
        slowest=min(awaited, key=_slowness, default=None),
    )


def _slowness(process: UnitProgress) -> tuple[int, int, float]:
    return UNDER_WAY.index(process.step), process.index, process.since
