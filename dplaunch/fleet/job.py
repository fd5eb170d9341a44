"""What every walk works with: a plan, a driver, and where events go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct, field

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.driver import Machines
from dplaunch.model.cluster import SecretRef
from dplaunch.model.event import Event, Failed, NodeFailed, Note, PhaseBegan, PhaseEnded
from dplaunch.model.observed import State
from dplaunch.model.plan import Plan
from dplaunch.model.trail import Entry, Result
from dplaunch.ranges import fold
from dplaunch.words import plural

Emit = Callable[[Event], None]
REASONS = 8
"""Reasons listed where many nodes are unreachable."""


class Job(Struct, frozen=True):
    """One verb at work. ``secrets`` holds the values, read on the operator's machine."""

    plan: Plan
    driver: Machines
    emit: Emit
    operator: str = "?"
    """user@host of the person who runs the verb, for lock and audit trail."""
    secrets: Mapping[SecretRef, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase that has ended, those of one name together."""

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Job(of {self.plan.cluster} by {self.operator})"

    @property
    def now(self) -> float:
        """The launcher's clock, seconds."""
        return self.driver.clock()

    def note(self, text: str) -> None:
        """Report one sentence that fits no other event."""
        self.emit(Note(at=self.now, text=text))

    def lost(self, node: str) -> None:
        """Report that a node is unreachable, with its reason."""
        error = self.driver.unreached[node]
        self.emit(NodeFailed(at=self.now, node=node, text=error.text, hint=error.hint))


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
    """Reach every node at once; those that fail are events and stay in ``driver.unreached``."""
    with phase(job, "connect", plural(len(job.plan.nodes), "node")):
        job.driver.open()
        for node in sorted(job.driver.unreached):
            job.lost(node)


def connect_all(job: Job, nodes: Sequence[str] | None = None, *, prepare: bool = False) -> None:
    """Reach every node (or ``nodes``), or raise HostError naming all that are unreachable.

    ``prepare``: nodes that the driver makes are made first.
    """
    with phase(job, "connect", plural(len(job.plan.nodes if nodes is None else nodes), "node")):
        if prepare:
            job.driver.prepare(job.note)
        job.driver.open(nodes)
        need_all(job)


def need_all(job: Job) -> None:
    """Raises HostError naming the nodes that are unreachable, where there are any."""
    if job.driver.unreached:
        raise missing(job.plan, job.driver.unreached)


def missing(plan: Plan, unreached: Mapping[str, HostError]) -> HostError:
    """One error for all nodes that are unreachable; the reasons of the first few are its detail."""
    names = [node.name for node in plan.nodes if node.name in unreached]
    first = unreached[names[0]]
    if len(names) == 1:
        return first
    reasons = [unreached[name].text for name in names[:REASONS]]
    more = [f"… and {len(names) - REASONS} more"] if len(names) > REASONS else []
    return HostError(
        fold(names),
        f"{len(names)} of {len(plan.nodes)} nodes are unreachable: {fold(names)}",
        hint=first.hint,
        detail=(*reasons, *more),
    )


def need_started(job: Job, purpose: str) -> None:
    """Raises DplaunchError naming processes that were never started, where ``purpose`` needs them."""
    ended = (State.EXITED, State.DONE)  # they were started, and the walk reports how they ended
    observed = job.driver.observe()
    need_all(job)
    known = {p.place for p in observed.processes if p.alive or p.state in ended}
    absent = [p for p in job.plan.processes if p.place not in known]
    if absent:
        names, nodes = fold(p.name for p in absent), fold(p.node for p in absent)
        raise DplaunchError(
            f"nothing to {purpose}: {names} on {nodes} was not started", hint="start it with `dplaunch up`"
        )


def as_error(failures: Sequence[Failed]) -> DplaunchError:
    """The first failure as an error; events have reported them all."""
    first = failures[0]
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    detail = tuple(filter(None, (first.cause, f"log: {first.node}:{first.log}" if first.log else "")))
    hint = first.hint or f"dplaunch logs {first.process} -n 50"
    return DplaunchError(first.text + others, hint=hint, detail=detail, reported=True)


def authorization(job: Job) -> dict[str, str]:
    """The header that engines and router ask for; empty when the cluster has no API key."""
    key = job.secrets.get(job.plan.api_key) if job.plan.api_key else None
    return {"Authorization": f"Bearer {key}"} if key else {}


def record(
    job: Job, verb: str, result: Result, *, reason: str = "", unproved: str = "", started: int = 0
) -> None:
    """Leave one line in the audit trail."""
    phases = {name: round(seconds, 3) for name, seconds in job.took.items()} if started else {}
    job.driver.record(
        Entry(
            at=time.time(),
            who=job.operator,
            verb=verb,
            result=result,
            revision=job.plan.revision,
            reason=reason,
            unproved=unproved,
            started=started,
            phases=phases,
        )
    )
