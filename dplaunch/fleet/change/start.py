"""Put files, start processes: one request per node, acknowledged after every exec."""

from __future__ import annotations

from collections.abc import Collection

from dplaunch.fleet.job import Job
from dplaunch.model.event import Failed, Started
from dplaunch.model.plan import Place
from dplaunch.model.remote import Refusal


def put_files(job: Job, nodes: Collection[str]) -> None:
    """Write each node's files and its part of the plan. Raises on the first node that cannot."""
    for error in job.driver.put(job.plan, nodes).values():
        raise error


def start(job: Job, places: Collection[Place]) -> tuple[Failed, ...]:
    """Start these processes, all nodes at once. Reports what started, returns what was refused."""
    failures = []
    for result in job.driver.start(job.plan, places, job.secrets):
        if result.refusal is None:
            job.emit(Started(at=job.now, process=result.process, node=result.node, pid=result.pid))
        else:
            failures.append(_failure(job, result.process, result.node, result.refusal))
    for failure in failures:
        job.emit(failure)
    return tuple(failures)


def _failure(job: Job, name: str, node: str, refusal: Refusal) -> Failed:
    why = refusal.text.removeprefix(f"{name}: ")
    text = f"{name} on {node} was not started: {why}"
    return Failed(at=job.now, process=name, node=node, text=text, hint=refusal.hint)
