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
from dplaunch.words import plural

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One verb at work. ``secrets`` holds the values, read on the operator's machine."""

    plan: Plan
    fleet: Fleet
    emit: Emit
    operator: str = "?"
    """user@host of who runs the verb, for lock and audit."""
    secrets: Mapping[SecretRef, str] = field(default_factory=dict, repr=False)

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
    job.emit(PhaseEnded(at=job.now, phase=name, seconds=job.now - began))


def connect(job: Job) -> None:
    """Reach every node at once; those that fail are events and stay in ``fleet.unreached``."""
    with phase(job, "connect", plural(len(job.plan.nodes), "node")):
        job.fleet.open()
        for node, error in sorted(job.fleet.unreached.items()):
            job.emit(NodeFailed(at=job.now, node=node, text=error.text, hint=error.hint))


def need_every_node(job: Job) -> None:
    """Raise HostError naming all nodes that are missing: a cluster starts whole or not at all."""
    missing = job.fleet.unreached
    if not missing:
        return
    first = missing[min(missing)]
    if len(missing) == 1:
        raise first
    raise HostError(
        first.node,
        f"{len(missing)} of {len(job.plan.nodes)} nodes were not reached: {', '.join(sorted(missing))}",
        hint=first.hint,
        detail=tuple(error.text for _, error in sorted(missing.items())),
    )


def refused(node: str, reply: Mapping[str, object]) -> DplaunchError:
    """A guard's error reply as an error that names the node."""
    error = reply.get("error")
    fields = error if isinstance(error, Mapping) else {}
    return DplaunchError(
        f"{node}: {fields.get('text', 'the guard refused')}", hint=str(fields.get("hint", ""))
    )
