"""What runs: ask every node, keep who did not answer."""

from __future__ import annotations

from dplaunch import wire
from dplaunch.errors import HostError
from dplaunch.fleet.job import Job
from dplaunch.model.observed import Observed

OBSERVE_DEADLINE = 15.0
"""Seconds for one node's answer, health probes (2 s) included."""


def observe(job: Job, *, health: bool = False) -> Observed:
    """One question to every node that was reached; the others are in ``unreached`` with their reason."""
    replies = job.fleet.gather(
        {node: ("observe", {"health": health}) for node in job.fleet.sessions}, OBSERVE_DEADLINE
    )
    for node, reply in replies.items():
        if not reply["ok"]:
            job.fleet.unreached[node] = HostError(node, f"{node}: {reply['error']['text']}")
    nodes = [
        wire.observed_node(node.name, replies[node.name])
        for node in job.plan.nodes
        if node.name in replies and replies[node.name]["ok"]
    ]
    unreached = {node: _reason(error) for node, error in sorted(job.fleet.unreached.items())}
    return Observed(nodes=tuple(nodes), unreached=unreached)


def _reason(error: HostError) -> str:
    """Why a node did not answer, and what helps."""
    return f"{error.text}; {error.hint}" if error.hint else error.text
