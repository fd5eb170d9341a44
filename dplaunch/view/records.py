"""One flat record per process: what should run joined with what was seen. Table and JSON read the same."""

from __future__ import annotations

from dataclasses import dataclass

from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import Plan, Process, Seat

MISSING = "missing"
"""Planned, and its node knows nothing of it."""
UNKNOWN = "unknown"
"""Its node was not reached."""

_SERVING = (State.RUNNING, State.UNGUARDED)
_UP = (*_SERVING, State.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A process as shown."""

    name: str
    kind: str
    role: str
    group: str
    node: str
    expected: bool
    """In the plan."""
    clock: float | None
    """Its node's clock when it answered; None when it was not reached."""
    seen: ObservedProcess | None = None
    seats: tuple[Seat, ...] = ()
    url: str = ""

    @property
    def state(self) -> str:
        """The JSON word: a State's value, ``missing`` or ``unknown``."""
        if self.seen is not None:
            return self.seen.state.value
        return UNKNOWN if self.clock is None else MISSING

    @property
    def serves(self) -> bool:
        """It answers; where nobody asked, it runs."""
        seen = self.seen
        return seen is not None and seen.state in _SERVING and seen.healthy is not False

    @property
    def odd(self) -> bool:
        """Worth a look: it does not serve, nobody guards it, or nobody planned it."""
        return not (self.serves and self.expected and self.state == State.RUNNING.value)

    @property
    def word(self) -> str:
        """Its state as a person says it."""
        if self.seen is None:
            return "not reached" if self.clock is None else "missing"
        left = f", {len(self.seen.left)} left behind" if self.seen.left else ""
        return _said(self.seen) + left + ("" if self.expected else ", not in the plan")

    @property
    def age(self) -> float:
        """Seconds it has been up by its node's clock; 0 when it is not."""
        return self._since(self.seen.started_at) if self.seen and self.seen.state in _UP else 0.0

    @property
    def ended(self) -> float:
        """Seconds since it ended by its node's clock; 0 when it runs or nobody knows."""
        return self._since(self.seen.ended_at) if self.seen and self.seen.state not in _UP else 0.0

    def _since(self, moment: float) -> float:
        return max(0.0, self.clock - moment) if self.clock and moment else 0.0


def records(plan: Plan, observed: Observed) -> tuple[Record, ...]:
    """Planned processes in plan order (engines before services), then what else is there and not over."""
    clocks = {node.name: node.clock for node in observed.nodes}
    seen = {process.place: process for process in observed.processes}
    planned = sorted(plan.processes, key=lambda process: process.kind == "service")
    places = {process.place for process in planned}
    others = [process for place, process in seen.items() if place not in places and _there(process)]
    return (
        *(_planned(process, seen.get(process.place), clocks) for process in planned),
        *(_other(process, clocks.get(process.node)) for process in others),
    )


def _there(process: ObservedProcess) -> bool:
    return process.alive or process.state is State.FOREIGN


def _planned(process: Process, seen: ObservedProcess | None, clocks: dict[str, float]) -> Record:
    return Record(
        name=process.name,
        kind=process.kind,
        role=process.role,
        group=process.group,
        node=process.node,
        expected=True,
        clock=clocks.get(process.node),
        seen=seen,
        seats=process.seats,
        url=process.endpoints[0].url if process.endpoints else "",
    )


def _other(process: ObservedProcess, clock: float | None) -> Record:
    return Record(
        name=process.name,
        kind=process.kind,
        role=process.role,
        group=process.group,
        node=process.node,
        expected=False,
        clock=clock,
        seen=process,
        url=process.url,
    )


def _said(seen: ObservedProcess) -> str:
    if seen.state is State.EXITED:
        return seen.ending
    if seen.state is State.FOREIGN:
        return "foreign (of another host or boot)"
    if seen.state in (State.STOPPING, State.STOPPED):
        return str(seen.state.value)
    health = "running" if seen.healthy is None else "serving" if seen.healthy else "not ready"
    return health if seen.state is State.RUNNING else f"{health}, unguarded"
