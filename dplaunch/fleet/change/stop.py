"""Stop processes with a verdict: what was freed, what is left."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import to_builtins

from dplaunch.fleet.job import Job
from dplaunch.model.event import Stopped
from dplaunch.model.observed import ObservedProcess
from dplaunch.model.plan import ROUTER, Place, Plan
from dplaunch.model.remote import StopVerdict
from dplaunch.ranges import grouped

GRACE = 45.0
"""Seconds the longest stop sequence waits where the plan does not know the process, or nothing runs on it."""


def stop_in_order(
    job: Job, chosen: Iterable[ObservedProcess], grace: float | None = None
) -> tuple[Stopped, ...]:
    """The router first, so that it sends nothing to an engine that stops; then the reverse of starting.

    ``grace`` overrides the seconds of the processes' own stop steps.
    """
    verdicts: list[Stopped] = []
    hurry = Hurry(job)
    before, job.driver.on_interrupt = job.driver.on_interrupt, hurry.press
    try:
        for wave in order_stops(job.plan, chosen):
            hurry.places = [process.place for process in wave]
            verdicts += _stop(job, hurry.places, 0.0 if hurry.now else grace)
    finally:
        job.driver.on_interrupt = before
    return tuple(verdicts)


def order_stops(plan: Plan, processes: Iterable[ObservedProcess]) -> list[list[ObservedProcess]]:
    """Processes in the order of stopping: the reverse of starting."""
    depth = _depths(plan)
    last = max(depth.values(), default=0) + 1

    def turn(process: ObservedProcess) -> int:
        if process.role == ROUTER:
            return 0
        beneath = 1 if process.kind == "service" else 0
        return 1 + last - depth.get(process.place, 0) + beneath

    return [wave for _, wave in sorted(grouped((turn(p), p) for p in processes).items())]


def _depths(plan: Plan) -> dict[Place, int]:
    """Place → how many processes in a row must be ready before it starts."""
    by_name = {process.name: process for process in plan.processes}
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 0
            found[name] = 1 + max((depth(other) for other in by_name[name].after), default=-1)
        return found[name]

    return {process.place: depth(process.name) for process in plan.processes}


def _stop(job: Job, places: list[Place], grace: float | None) -> list[Stopped]:
    """Stop these at once on all their nodes and wait for every verdict."""
    stopped: list[Stopped] = []

    def take(verdict: StopVerdict) -> None:
        stopped.append(Stopped(at=job.now, **to_builtins(verdict)))
        job.emit(stopped[-1])

    longest = _longest_grace(job.plan, places) if grace is None else grace
    job.driver.stop(places, longest, take, patient=grace is None)
    for node in dict.fromkeys(node for node, _ in places if node not in job.driver.reached):
        job.lost(node)
    return stopped


def _longest_grace(plan: Plan, places: Iterable[Place]) -> float:
    wanted = set(places)
    known = [sum(s.grace for s in p.stop) for p in plan.processes if p.place in wanted]
    return max([GRACE, *known])


class Hurry:
    """Ctrl-C while stopping: the first warns of what the second will do, the second skips every grace.

    One for all waves: the two may come while different processes stop.
    """

    def __init__(self, job: Job) -> None:
        self.places: list[Place] = []
        """What stops at the moment."""
        self.now = False
        self._job = job
        self._warned = False

    def press(self) -> bool:
        """Always continues: what is being stopped must be stopped."""
        if self._warned:
            self.now = True
            self._job.driver.hurry(self.places)
        else:
            self._job.note("still stopping; press Ctrl-C again to skip the grace and kill what is left")
        self._warned = True
        return True
