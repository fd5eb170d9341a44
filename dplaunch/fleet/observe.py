"""What runs: ask every node, keep who did not answer."""

from __future__ import annotations

from dplaunch import wire
from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.ask import answered
from dplaunch.fleet.job import Job
from dplaunch.model.observed import Observed, State
from dplaunch.ranges import fold

OBSERVE_DEADLINE = 15.0
"""Seconds for one node's answer, health probes (2 s) included."""


def observe(job: Job, *, health: bool = False) -> Observed:
    """One question to every node that was reached; the others are in ``unreached`` with their reason."""
    requests = {node: ("observe", {"health": health}) for node in job.fleet.sessions}
    answers = answered(job, job.fleet.gather(requests, OBSERVE_DEADLINE))
    nodes = [
        wire.observed_node(node.name, answers[node.name]) for node in job.plan.nodes if node.name in answers
    ]
    unreached = {node: _reason(error) for node, error in sorted(job.fleet.unreached.items())}
    return Observed(nodes=tuple(nodes), unreached=unreached)


def need_started(job: Job, purpose: str) -> None:
    """Raises DplaunchError naming what of the plan was never started: nothing to ``purpose`` then."""
    known = {
        p.place for p in observe(job).processes if p.alive or p.state is State.EXITED
    }  # how one exited, whoever asks it learns
    absent = [p for p in job.plan.processes if p.place not in known]
    if absent:
        names, nodes = fold(p.name for p in absent), fold(p.node for p in absent)
        raise DplaunchError(
            f"nothing to {purpose}: {names} on {nodes} was not started", hint="`dplaunch up` starts it"
        )


def _reason(error: HostError) -> str:
    """Why a node did not answer, and what helps."""
    return f"{error.text}; {error.hint}" if error.hint else error.text
