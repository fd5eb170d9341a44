"""Small questions to nodes: a command (``exec``), HTTP on the node itself, the audit trail."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dplaunch.errors import HostError
from dplaunch.fleet.fleet import Reply
from dplaunch.fleet.job import Job
from dplaunch.fleet.lock import LOCK_DEADLINE
from dplaunch.model.remote import ExecResult

EXEC_SLACK = 10.0

Question = tuple[str, dict[str, Any]]
"""A node, and one request of its guard's verb ``probe``."""


def execute(job: Job, nodes: Collection[str], argv: Sequence[str], timeout: float) -> tuple[ExecResult, ...]:
    """Run ``argv`` on these nodes at once, in the environment that engines start from."""
    request = ("exec", {"argv": list(argv), "timeout": timeout})
    wanted = {node: request for node in nodes if node in job.fleet.sessions}
    replies = job.fleet.gather(wanted, timeout + EXEC_SLACK)
    return tuple(_result(job, node.name, replies) for node in job.plan.nodes if node.name in nodes)


def _result(job: Job, node: str, replies: Mapping[str, Mapping[str, Any]]) -> ExecResult:
    reply = replies.get(node)
    if reply is None:
        error = job.fleet.unreached.get(node)
        return ExecResult(node=node, problem=error.text if error else f"{node} did not answer")
    if not reply["ok"]:
        return ExecResult(node=node, problem=reply["error"]["text"])
    return ExecResult(node=node, code=reply["code"], out=reply["out"], err=reply["err"])


def probe(job: Job, questions: Iterable[Question], timeout: float) -> dict[str, Mapping[str, Any]]:
    """Ask each question on its own node, all at once; results by ``key``. Nodes that broke have none."""
    by_node: dict[str, list[dict[str, Any]]] = {}
    for node, request in questions:
        by_node.setdefault(node, []).append(request)
    requests = {node: ("probe", {"requests": asked}) for node, asked in by_node.items()}
    replies = job.fleet.gather(requests, timeout + EXEC_SLACK)
    return {result["key"]: result for reply in replies.values() for result in reply.get("results", ())}


def answered(job: Job, replies: Mapping[str, Reply]) -> dict[str, Reply]:
    """The answers among the replies; a node that could not answer is in ``unreached``, with its reason."""
    for node, reply in replies.items():
        if not reply["ok"]:
            job.fleet.unreached[node] = HostError(node, f"{node}: {reply['error']['text']}")
    return {node: reply for node, reply in replies.items() if reply["ok"]}


def audit_trail(job: Job, count: int) -> tuple[dict[str, Any], ...]:
    """The last ``count`` entries over all nodes, oldest first; the lock node may have changed over time."""
    replies = job.fleet.gather(
        {node: ("audit", {"tail": count}) for node in job.fleet.sessions}, LOCK_DEADLINE
    )
    entries = [dict(line) for reply in replies.values() if reply["ok"] for line in reply["lines"]]
    return tuple(sorted(entries, key=lambda entry: entry.get("at", 0.0))[-count:])
