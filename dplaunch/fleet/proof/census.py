"""Engines that register with a foreign router: whether it has counted all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.proof.completion import failure
from dplaunch.model.event import Failed
from dplaunch.model.plan import Endpoint
from dplaunch.model.remote import HttpReply, HttpRequest

PATIENCE = 30.0
"""Seconds: engines register every five, and some routers want two good answers of /health, five apart."""
LOOK_EVERY = 1.0


def await_counted(job: Job) -> tuple[Failed, ...]:
    """Wait until the router has counted every endpoint of the plan by role. Returns the failure, reported.

    Nothing where engines do not register.
    """
    router = job.plan.router_process
    if router is None or not router.endpoints[0].api.registered:
        return ()
    wanted = Counter(endpoint.role for endpoint in job.plan.endpoints)
    deadline = job.now + PATIENCE
    with phase(job, "register", "engines at the router"):
        while lacking := _lacking(_ask(job, router.endpoints[0]), wanted):
            if job.now >= deadline:
                failed = failure(job, router.name, router.node, lacking)
                job.emit(failed)
                return (failed,)
            job.driver.pause(LOOK_EVERY)
    return ()


def _ask(job: Job, router: Endpoint) -> HttpReply | None:
    request = HttpRequest(key=router.name, node=router.node, url=router.url + router.api.registered)
    return job.driver.ask([request]).get(router.name)


def _lacking(reply: HttpReply | None, wanted: Mapping[str, int]) -> str:
    """``has registered 1 of 2 decode engines``; empty where all are there.

    The name under which the engines of an only role register is the router's own.
    """
    counted = _counts(reply)
    if len(wanted) == 1:
        counted = dict.fromkeys(wanted, sum(counted.values()))
    short = [f"{counted.get(r, 0)} of {n} {r}" for r, n in wanted.items() if counted.get(r, 0) < n]
    return f"has registered {' and '.join(short)} engines" if short else ""


def _counts(reply: HttpReply | None) -> dict[str, int]:
    try:
        found = json.loads(reply.body) if reply else {}
    except ValueError:
        return {}
    return {role: n for role, n in found.items() if isinstance(n, int)} if isinstance(found, dict) else {}
