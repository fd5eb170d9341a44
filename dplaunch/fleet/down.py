"""The walk of ``down``: everything of this cluster on every node that can be reached, with a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dplaunch.fleet.job import Job, connect, phase
from dplaunch.fleet.lock import audit, locked
from dplaunch.fleet.observe import observe
from dplaunch.fleet.stop import stop_in_order
from dplaunch.model.event import Stopped
from dplaunch.model.observed import Observed
from dplaunch.words import plural

FORGET_DEADLINE = 15.0


@dataclass(frozen=True, slots=True)
class DownResult:
    """``verdicts`` of what ran; ``unreached`` nodes were left as they are."""

    verdicts: tuple[Stopped, ...]
    unreached: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Nothing is left on the nodes that were reached."""
        return not any(v.left for v in self.verdicts)


def down(job: Job, confirm: Callable[[Observed], bool], grace: float | None = None) -> DownResult | None:
    """Stop router, engines, services; forget what is gone. None when the user said no."""
    connect(job)
    if not job.fleet.sessions:
        return DownResult((), tuple(sorted(job.fleet.unreached)))
    with locked(job, "down"):
        observed = observe(job)
        alive = [p for p in observed.processes if p.alive]
        with job.fleet.unheard():
            agreed = not alive or confirm(observed)
        if not agreed:
            return None
        verdicts: tuple[Stopped, ...] = ()
        if alive:
            with phase(job, "stop", plural(len(alive), "process")):
                verdicts = stop_in_order(job, alive, grace)
        _forget(job, {v.process for v in verdicts if v.left})
        if alive:
            audit(job, "down", "clean" if not any(v.left for v in verdicts) else "something is left")
    return DownResult(verdicts, tuple(sorted(job.fleet.unreached)))


def _forget(job: Job, left: set[str]) -> None:
    """Drop the state of what is gone; what is left stays known, so that a later ``down`` finds it."""
    if not left:
        requests = {node: ("forget", {"all": True}) for node in job.fleet.sessions}
        job.fleet.gather(requests, FORGET_DEADLINE)
