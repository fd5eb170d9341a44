"""Put files, start processes: one request per node, acknowledged after every exec."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dplaunch import wire
from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.job import Job, refused
from dplaunch.model.event import Failed, Started
from dplaunch.model.plan import NodePlan, Process

PUT_DEADLINE = 30.0
START_DEADLINE = 60.0
"""Seconds; a guard acknowledges after exec, not after start-up."""


def put_files(job: Job, nodes: Collection[str]) -> None:
    """Write each node's files and its part of the plan. Raises on the first node that cannot."""
    requests = {
        node.name: ("put", wire.put_request(job.plan, node)) for node in job.plan.nodes if node.name in nodes
    }
    _need_all(job, requests, job.fleet.gather(requests, PUT_DEADLINE))


def start(job: Job, names: Collection[str]) -> tuple[Failed, ...]:
    """Start these processes, all nodes at once. What was refused comes back; what started is an event."""
    by_node = {node.name: _wanted(node, names) for node in job.plan.nodes}
    requests = {
        node: ("start", wire.start_request(_node(job, node), wanted, job.secrets))
        for node, wanted in by_node.items()
        if wanted
    }
    replies = job.fleet.gather(requests, START_DEADLINE)
    _need_all(job, requests, replies)
    return tuple(failed for node, reply in replies.items() for failed in _acknowledge(job, node, reply))


def _wanted(node: NodePlan, names: Collection[str]) -> list[Process]:
    return [process for process in node.processes if process.name in names]


def _node(job: Job, name: str) -> NodePlan:
    return next(node for node in job.plan.nodes if node.name == name)


def _acknowledge(job: Job, node: str, reply: Mapping[str, Any]) -> list[Failed]:
    failures = []
    for result in reply["results"]:
        if result["ok"]:
            job.emit(Started(at=job.now, process=result["name"], node=node, pid=result["pid"]))
        else:
            failures.append(_refusal(job, node, result))
    for failure in failures:
        job.emit(failure)
    return failures


def _refusal(job: Job, node: str, result: Mapping[str, Any]) -> Failed:
    error, name = result["error"], result["name"]
    text = f"{name} on {node} was not started: {error['text'].removeprefix(f'{name}: ')}"
    return Failed(at=job.now, process=name, node=node, text=text, hint=error.get("hint", ""))


def _need_all(job: Job, requests: Mapping[str, Any], replies: Mapping[str, Mapping[str, Any]]) -> None:
    for node in requests:
        if node not in replies:
            raise job.fleet.unreached.get(node) or HostError(node, f"{node} went away during the start")
        if not replies[node]["ok"]:
            error: DplaunchError = refused(node, replies[node])
            raise error
