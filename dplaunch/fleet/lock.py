"""The cluster's lock: a flock held by the guard session on the first node that was reached."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dplaunch.errors import HostError, LockedError
from dplaunch.fleet.fleet import Reply
from dplaunch.fleet.job import Job, refused

LOCK_DEADLINE = 10.0
RELOCK_PATIENCE = 45.0
"""Seconds: our own session whose link broke holds the lock for up to 30 s more."""
READY = "ready"
"""Outcome of a walk that changed something and proved all it should."""
PROVED = "proved"
"""The same of one that changed nothing."""
FAILED = "failed: "
"""How the outcome of a walk begins that did not come so far; the reason follows."""


@contextmanager
def locked(job: Job, verb: str) -> Iterator[None]:
    """Hold the cluster's lock while the walk runs. It also ends with our stream, whatever happens to us.

    Raises LockedError naming who holds it, for which verb and since when.
    """
    node = lock_node(job)
    fields = {"holder": job.operator, "what": verb}
    reply = _ask(job, node, "lock", fields)
    if not reply["ok"]:
        if reply["error"]["kind"] == "locked":
            raise held_by(node, reply["error"].get("lock", {}))
        raise refused(node, reply)
    job.fleet.keep(node, ("relock", {**fields, "patience": RELOCK_PATIENCE}), _still_ours)
    try:
        yield
    finally:
        job.fleet.drop(node)
        if node in job.fleet.sessions:
            job.fleet.send(node, ("unlock", {}))


def _still_ours(node: str, reply: Reply) -> None:
    """The lock ended with a link that broke; it is taken again, unless somebody else was quicker."""
    if reply["ok"]:
        return
    if reply["error"]["kind"] != "locked":
        raise refused(node, reply)
    other = held_by(node, reply["error"].get("lock", {}))
    text = f"the link to {node} broke, and with it our lock: now {other.text}"
    raise LockedError(text, hint="nothing more was changed; look with `dplaunch status`, then go on")


def lock_node(job: Job) -> str:
    """The first node of the cluster file that was reached."""
    reached = [node.name for node in job.plan.nodes if node.name in job.fleet.sessions]
    if not reached:
        raise next(iter(job.fleet.unreached.values()))
    return reached[0]


def held_by(node: str, lock: Mapping[str, Any]) -> LockedError:
    """The error that names holder, verb and age."""
    age = max(0.0, time.time() - float(lock.get("since", time.time())))
    return LockedError(
        f"{lock.get('holder', 'somebody')} is running `dplaunch {lock.get('what', '?')}` on this cluster "
        f"(for {age:.0f} s, lock on {node})",
        hint="wait for it, or look with `dplaunch lock`; a lock ends by itself when its launcher is gone",
    )


def audit(job: Job, verb: str, outcome: str, **more: object) -> None:
    """Leave one line on the lock node saying who did what; a node that is gone is no reason to fail."""
    if not job.fleet.sessions:
        return
    entry = {
        "at": time.time(),
        "who": job.operator,
        "verb": verb,
        "revision": job.plan.revision,
        "outcome": outcome,
        **more,
    }
    job.fleet.gather({lock_node(job): ("audit", {"append": entry})}, LOCK_DEADLINE)


def _ask(job: Job, node: str, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    replies = job.fleet.gather({node: (verb, fields)}, LOCK_DEADLINE)
    if node not in replies:
        raise job.fleet.unreached.get(node) or HostError(node, f"{node} went away")
    return replies[node]
