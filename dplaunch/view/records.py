"""One flat record per endpoint, or process without any: what should run, joined with what was observed.

Table and JSON read the same records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import Plan, Process

MISSING = "missing"
"""Planned, but unknown to its node."""
UNKNOWN = "unknown"
"""Its node is unreachable."""

_UP = (State.RUNNING, State.UNGUARDED, State.STOPPING)


class UnitStatus(Struct, frozen=True, kw_only=True):
    """An endpoint, or a process without any."""

    name: str
    process: str
    """The process it belongs to."""
    kind: str
    role: str
    group: str
    node: str
    expected: bool
    """In the plan."""
    clock: float | None
    """Its node's clock when it replied; None when the node is unreachable."""
    seen: ObservedProcess | None = None
    ranks: tuple[int, ...] = ()
    url: str = ""
    healthy: bool | None = None
    """None where health was not asked, or there is nothing to ask."""
    stuck: str = ""
    """How the router found that it takes requests and answers none; empty where it did not."""
    group_out: bool = False
    """Another part of its group does not serve, so no client reaches it."""

    @property
    def state(self) -> str:
        """The JSON word: a State's value, ``missing`` or ``unknown``."""
        if self.seen is not None:
            return self.seen.state.value
        return UNKNOWN if self.clock is None else MISSING

    @property
    def serves(self) -> bool:
        """It is healthy; where health was not asked, it runs; a job is done."""
        if self.seen is None or not self.seen.runs or self.kind == "job":
            return self.state == State.DONE.value
        return self.healthy is not False

    @property
    def awaited(self) -> bool:
        """It loads, or is a job at work: nothing is wrong with it."""
        runs = self.state == State.RUNNING.value
        return self.expected and not self.serves and runs and not self.stuck

    @property
    def unusual(self) -> bool:
        """It needs attention: it does not serve, has no guard, or is not in the plan."""
        usual = self.state in (State.RUNNING.value, State.DONE.value)
        return not (self.serves and self.expected and usual)

    @property
    def word(self) -> str:
        """Its state in words for people."""
        if self.seen is None:
            return "unreachable" if self.clock is None else "missing"
        known = self.seen.state is not State.UNKNOWN
        left = f", {len(self.seen.left)} left behind" if self.seen.left and known else ""
        return self._state(self.seen) + left + ("" if self.expected else ", not in the plan")

    def _state(self, seen: ObservedProcess) -> str:
        if seen.state is State.EXITED:
            return seen.ending
        if seen.state is State.FOREIGN:
            return "foreign (of another host or boot)"
        if not seen.runs:
            return str(seen.state.value)
        good = "idle (group out)" if self.group_out else "serving"
        bad = "stuck" if self.stuck else "not ready"
        health = "running" if self.healthy is None else good if self.healthy else bad
        return health if seen.state is State.RUNNING else f"{health}, unguarded"

    @property
    def explanation(self) -> str:
        """Why its state cannot be used, and what to do; without its name, so that equal ones fold."""
        if self.seen is None or self.stuck:
            return self.stuck
        problem = self.seen.problem.removeprefix(f"{self.seen.name} ")
        return "; ".join(filter(None, (problem, self.seen.hint)))

    @property
    def age(self) -> float:
        """Seconds it has been up by its node's clock; 0 when it is not."""
        return self._since(self.seen.started_at) if self.seen and self.seen.state in _UP else 0.0

    @property
    def ended(self) -> float:
        """Seconds since it ended by its node's clock; 0 when it runs or this is unknown."""
        return self._since(self.seen.ended_at) if self.seen and self.seen.state not in _UP else 0.0

    def _since(self, moment: float) -> float:
        return max(0.0, self.clock - moment) if self.clock and moment else 0.0


def records(plan: Plan, observed: Observed, out: Collection[str] = ()) -> tuple[UnitStatus, ...]:
    """Planned processes in plan order (engines before services), then other processes that still run.

    ``out``: groups of which a part does not serve.
    """
    clocks = {node.name: node.clock for node in observed.nodes}
    seen = {process.place: process for process in observed.processes}
    planned = sorted(plan.processes, key=lambda process: process.kind != "engine")
    places = {process.place for process in planned}
    others = [process for place, process in seen.items() if place not in places and _there(process)]
    return (
        *(
            replace(r, group_out=r.group in out)
            for p in planned
            for r in _planned(p, seen.get(p.place), clocks)
        ),
        *(_other(process, clocks.get(process.node)) for process in others),
    )


def _there(process: ObservedProcess) -> bool:
    return process.alive or process.state is State.FOREIGN


def _planned(
    process: Process, seen: ObservedProcess | None, clocks: dict[str, float]
) -> Iterator[UnitStatus]:
    observed = {endpoint.name: endpoint for endpoint in seen.endpoints} if seen else {}
    urls = {endpoint.name: endpoint for endpoint in process.endpoints}
    for unit in process.units:
        endpoint, found = urls.get(unit), observed.get(unit)
        yield UnitStatus(
            name=unit,
            process=process.name,
            kind=process.kind,
            role=process.role,
            group=process.group,
            node=process.node,
            expected=True,
            clock=clocks.get(process.node),
            seen=seen,
            ranks=endpoint.ranks if endpoint else tuple(seat.rank for seat in process.seats),
            url=endpoint.url if endpoint else "",
            healthy=found.healthy if found else None,
            stuck=found.stuck if found else "",
        )


def _other(process: ObservedProcess, clock: float | None) -> UnitStatus:
    return UnitStatus(
        name=process.name,
        process=process.name,
        kind=process.kind,
        role=process.role,
        group=process.group,
        node=process.node,
        expected=False,
        clock=clock,
        seen=process,
        url=process.endpoints[0].url if process.endpoints else "",
        healthy=process.healthy,
    )
