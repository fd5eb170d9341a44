"""How far the awaited processes have come: a fold over signals, without a clock and without a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from dplaunch.diagnose import SUSPECT
from dplaunch.fleet.logs.cause import find_cause
from dplaunch.model.event import BecameReady, Event, Failed, Milestone
from dplaunch.model.observed import ending
from dplaunch.model.plan import Plan, Process, Stage
from dplaunch.model.remote import HealthSeen, LineSeen, Pattern, ProcessExited, Signal
from dplaunch.ranges import fold, grouped

READY_LINE = "ready"
STAGE = "stage:"
SUSPECTS = "suspect"
MOST_SUSPECTS = 100
"""Suspicious lines that are reported of one log: a traceback without an end is not sent."""


def patterns(stages: Iterable[Stage]) -> tuple[Pattern, ...]:
    """What a watch looks for: start-up stages, and lines that a failure may write."""
    found = [Pattern(f"{STAGE}{number}", stage.pattern) for number, stage in enumerate(stages)]
    return (*found, Pattern(SUSPECTS, SUSPECT, MOST_SUSPECTS))


class Awaited:
    """Processes until all are ready: ``pending`` names what is waited for of each."""

    def __init__(self, plan: Plan, processes: Iterable[Process], began: float) -> None:
        self._stages = plan.stages
        self._places = {f"{STAGE}{number}": number for number in range(len(plan.stages))}
        self._began = began
        self.processes = {process.name: process for process in processes}
        self.pending = {name: set(process.units) for name, process in self.processes.items()}
        self.failed: list[Failed] = []
        self._stage: dict[str, int] = {}
        self._status: dict[str, int | None] = {}

    @property
    def waiting(self) -> tuple[Process, ...]:
        """Processes that are not ready."""
        return tuple(self.processes[name] for name, left in self.pending.items() if left)

    def take(self, signal: Signal, now: float) -> Iterator[Event]:
        """One more signal; the events that follow from it. Nodes speak of their own processes only."""
        known = self.processes.get(getattr(signal, "process", ""))
        if known is None or known.node != signal.node:
            return
        match signal:
            case ProcessExited() if self._matters(signal):
                yield from self._exit(signal, now)
            case LineSeen() if self.pending.get(signal.process):
                yield from self._line(signal, now)
            case HealthSeen() if self.pending.get(signal.process):
                self._status[signal.process] = signal.status
                if signal.ok and signal.named:
                    yield from self._ready(signal.process, signal.endpoint, now)

    def _matters(self, exited: ProcessExited) -> bool:
        """A service that was ready may be started again by its guard; one that never was has failed."""
        return bool(self.pending.get(exited.process)) or not exited.again

    def _ready(self, process: str, unit: str, now: float) -> Iterator[Event]:
        if unit in self.pending[process]:
            self.pending[process].discard(unit)
            yield BecameReady(at=now, process=unit, seconds=now - self._began)

    def _line(self, seen: LineSeen, now: float) -> Iterator[Event]:
        if seen.pattern == READY_LINE:
            yield from self._ready(seen.process, seen.process, now)
        elif seen.pattern in self._places:
            index = self._places[seen.pattern]
            self._stage[seen.process] = max(index, self._stage.get(seen.process, index))
            yield Milestone(
                at=now,
                process=seen.process,
                stage=self._stages[index].name,
                index=index,
                count=len(self._stages),
                fraction=_read_fraction(seen.groups.get("percent")),
            )

    def _exit(self, exited: ProcessExited, now: float) -> Iterator[Event]:
        process = self.processes[exited.process]
        if exited.done and process.ready.how == "exit":
            yield from self._ready(process.name, process.name, now)
            return
        when = "before it was ready" if self.pending[process.name] else "while others were still starting"
        how = ("was " if exited.signal else "") + ending(exited.code, exited.signal)
        cause = find_cause(exited.tail)
        failed = Failed(
            at=now,
            process=process.name,
            node=process.node,
            text=f"{process.name} on {process.node} {how} {when}",
            cause=cause.line,
            hint=cause.hint,
            log=exited.log,
            mute=bool(exited.signal) or exited.code == 0,
            tail=exited.tail[-12:],
        )
        self.pending[process.name].clear()
        self.failed.append(failed)
        yield failed

    def describe(self) -> tuple[str, ...]:
        """What is waited for and where it hangs, grouped by place; the slowest first."""
        waiting = sorted(self.waiting, key=self._how_far)
        hanging = grouped((self._hangs_at(process), process) for process in waiting)
        return tuple(
            f"{fold(p.name for p in some)} on {fold(p.node for p in some)} ({where})"
            for where, some in hanging.items()
        )

    def slowest(self) -> str:
        """The process that is furthest behind."""
        return min(self.waiting, key=self._how_far).name

    def _how_far(self, process: Process) -> tuple[bool, int, str]:
        """Engines before what waits for them."""
        return process.kind != "engine", self._stage.get(process.name, -1), process.name

    def _hangs_at(self, process: Process) -> str:
        status, stage = self._status.get(process.name), self._stage.get(process.name)
        if status == HTTPStatus.OK:
            return f"is healthy, but {process.endpoints[0].api.models} does not list the model"
        if status is not None:
            return f"{process.endpoints[0].api.health} responds {status}"
        if process.ready.how == "exit":
            return "has not ended"
        if process.kind != "engine":
            return "no response yet"
        return "no start-up line yet" if stage is None else f"last at `{self._stages[stage].name}`"


def _read_fraction(percent: str | None) -> float:
    """A percentage as 0 to 1; 0 where the line has none."""
    try:
        fraction = float(percent or 0.0) / 100
    except ValueError:
        return 0.0
    return fraction if 0 <= fraction <= 1 else 0.0
