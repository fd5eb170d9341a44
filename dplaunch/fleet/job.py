"""What every walk works with: a plan, a fleet, somebody who listens to events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.fleet import Fleet
from dplaunch.model.cluster import SecretRef
from dplaunch.model.event import Event, NodeFailed, PhaseBegan, PhaseEnded
from dplaunch.model.plan import Plan
from dplaunch.ranges import fold
from dplaunch.words import plural

Emit = Callable[[Event], None]
REASONS = 8
"""Reasons shown where many nodes were not reached."""


@dataclass(frozen=True, slots=True)
class Job:
    """One verb at work. ``secrets`` holds the values, read on the operator's machine."""

    plan: Plan
    fleet: Fleet
    emit: Emit
    operator: str = "?"
    """user@host of who runs the verb, for lock and audit."""
    secrets: Mapping[SecretRef, str] = field(default_factory=dict, repr=False)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase that has ended, those of one name together."""

    @property
    def now(self) -> float:
        """The launcher's clock, seconds."""
        return self.fleet.clock()


@contextmanager
def phase(job: Job, name: str, detail: str = "") -> Iterator[None]:
    """Report when a phase begins and, unless it failed, when it ends."""
    began = job.now
    job.emit(PhaseBegan(at=began, phase=name, detail=detail))
    yield
    ended = job.now
    job.took[name] = job.took.get(name, 0.0) + ended - began
    job.emit(PhaseEnded(at=ended, phase=name, seconds=ended - began))


def connect(job: Job) -> None:
    """Reach every node at once; those that fail are events and stay in ``fleet.unreached``."""
    with phase(job, "connect", plural(len(job.plan.nodes), "node")):
        job.fleet.open()
        for node, error in sorted(job.fleet.unreached.items()):
            job.emit(NodeFailed(at=job.now, node=node, text=error.text, hint=error.hint))


def connect_all(job: Job) -> None:
    """Reach every node, or raise HostError naming all that are missing: a cluster starts whole or not."""
    with phase(job, "connect", plural(len(job.plan.nodes), "node")):
        job.fleet.open()
        if job.fleet.unreached:
            raise missing(job.plan, job.fleet.unreached)


def missing(plan: Plan, unreached: Mapping[str, HostError]) -> HostError:
    """One error for all nodes that were not reached; the reasons of the first few are its detail."""
    names = [node.name for node in plan.nodes if node.name in unreached]
    first = unreached[names[0]]
    if len(names) == 1:
        return first
    reasons = [unreached[name].text for name in names[:REASONS]]
    more = [f"… and {len(names) - REASONS} more"] if len(names) > REASONS else []
    return HostError(
        fold(names),
        f"{len(names)} of {len(plan.nodes)} nodes were not reached: {fold(names)}",
        hint=first.hint,
        detail=(*reasons, *more),
    )


def authorization(job: Job) -> dict[str, str]:
    """The header that engines and router ask for; empty when the cluster has no API key."""
    key = job.secrets.get(job.plan.api_key) if job.plan.api_key else None
    return {"Authorization": f"Bearer {key}"} if key else {}


def refused(node: str, reply: Mapping[str, object]) -> DplaunchError:
    """A guard's error reply as an error that names the node."""
    error = reply.get("error")
    fields = error if isinstance(error, Mapping) else {}
    return DplaunchError(
        f"{node}: {fields.get('text', 'the guard refused')}", hint=str(fields.get("hint", ""))
    )
