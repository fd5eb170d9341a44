"""The walk of ``down``: everything of this cluster on every node that can be reached, with a verdict."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.fleet.change.stop import stop_in_order
from dplaunch.fleet.containers import remove_containers
from dplaunch.fleet.job import Job, connect, phase, record
from dplaunch.model.event import Stopped
from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.trail import Result
from dplaunch.words import plural


class DownResult(Struct, frozen=True):
    """``verdicts`` of what ran; ``unreached`` nodes were left as they are.

    ``kept``: nodes that kept their state, because something lives there that was not to be stopped.
    """

    verdicts: tuple[Stopped, ...]
    unreached: tuple[str, ...]
    kept: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing is left on the nodes that were reached."""
        return not self.kept and not any(v.left for v in self.verdicts)


GRACE = 30.0
"""Seconds until what ignores its signal is killed: when everything stops, nothing needs a longer grace."""


def down(job: Job, confirm: Callable[[Observed], bool], grace: float = GRACE) -> DownResult | None:
    """Stop router, engines, services; drop the state of what has ended. None when the user declined."""
    connect(job)
    if not job.driver.reached:
        kept = _forget(job)
        return DownResult((), tuple(sorted(job.driver.unreached)), kept)
    with job.driver.locked(job.operator, "down"):
        observed = job.driver.observe(search=True)
        alive = [p for p in observed.processes if p.alive]
        with job.driver.unheard():
            agreed = not alive or confirm(observed)
        if not agreed:
            return None
        foreign = [
            p for p in observed.processes if p.state is State.FOREIGN
        ]  # their nodes refuse, and say why
        result = DownResult(_stop(job, [*alive, *foreign], grace), ())
        if result.clean:
            result = replace(result, kept=_forget(job))  # otherwise a later ``down`` must find what is left
        if result.clean:
            result = replace(result, kept=_remove(job))
        if alive:
            record(job, "down", Result.STOPPED if result.clean else Result.INCOMPLETE)
    return replace(result, unreached=tuple(sorted(job.driver.unreached)))


def _forget(job: Job) -> tuple[str, ...]:
    """Drop the state of what has ended; the nodes that keep it, whose reasons are noted."""
    kept = {node: error for node, error in job.driver.forget().items() if node in job.driver.reached}
    for error in kept.values():
        job.note(error.text)
    return tuple(sorted(kept))


def _remove(job: Job) -> tuple[str, ...]:
    """Remove the containers that dplaunch started; the nodes whose container is still there."""
    kept = remove_containers(job)
    for node, why in kept.items():
        job.note(f"the container of {node} could not be removed: {why}")
    return tuple(sorted(kept))


def _stop(job: Job, alive: list[ObservedProcess], grace: float) -> tuple[Stopped, ...]:
    if not alive:
        return ()
    with phase(job, "stop", plural(len(alive), "process")):
        return stop_in_order(job, alive, grace)
