"""The walk of ``down``: everything of this cluster on every node that can be reached, with a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dplaunch.fleet.change.stop import stop_in_order
from dplaunch.fleet.job import Job, connect, phase, record
from dplaunch.model.event import Stopped
from dplaunch.model.observed import Observed, ObservedProcess
from dplaunch.model.trail import Result
from dplaunch.words import plural


@dataclass(frozen=True, slots=True)
class DownResult:
    """``verdicts`` of what ran; ``unreached`` nodes were left as they are."""

    verdicts: tuple[Stopped, ...]
    unreached: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Nothing is left on the nodes that were reached."""
        return not any(v.left for v in self.verdicts)


GRACE = 30.0
"""Seconds until what ignores its signal is killed: when everything stops, nothing needs a longer grace."""


def down(job: Job, confirm: Callable[[Observed], bool], grace: float = GRACE) -> DownResult | None:
    """Stop router, engines, services; drop the state of what has ended. None when the user declined."""
    connect(job)
    if not job.driver.reached:
        return DownResult((), tuple(sorted(job.driver.unreached)))
    with job.driver.locked(job.operator, "down"):
        observed = job.driver.observe()
        alive = [p for p in observed.processes if p.alive]
        with job.driver.unheard():
            agreed = not alive or confirm(observed)
        if not agreed:
            return None
        result = DownResult(_stop(job, alive, grace), tuple(sorted(job.driver.unreached)))
        if result.clean:
            job.driver.forget()  # otherwise a later ``down`` must find what is left
        if alive:
            record(job, "down", Result.STOPPED if result.clean else Result.INCOMPLETE)
    return DownResult(result.verdicts, tuple(sorted(job.driver.unreached)))


def _stop(job: Job, alive: list[ObservedProcess], grace: float) -> tuple[Stopped, ...]:
    if not alive:
        return ()
    with phase(job, "stop", plural(len(alive), "process")):
        return stop_in_order(job, alive, grace)
