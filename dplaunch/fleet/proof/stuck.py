"""Whether engines that served before this change still answer: one that is stuck must not be waited for.

The first request of a fresh engine may take minutes, as it compiles; one that has served has to answer soon.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from dplaunch.fleet.job import Job
from dplaunch.fleet.membership import read_report
from dplaunch.fleet.proof.completion import QUICK, completion
from dplaunch.fleet.proof.handover import LOOK_EVERY
from dplaunch.model.event import Failed
from dplaunch.model.plan import Endpoint
from dplaunch.ranges import fold

NOTICED_WITHIN = 15.0
"""Seconds, after ``QUICK``: by then the router has seen that nothing moves in an engine that has requests."""


def find_stuck(job: Job, endpoints: Sequence[Endpoint]) -> tuple[Failed, ...]:
    """Ask endpoints that have served before for a word; those that the router then finds stuck.

    The failures are reported. One that is silent because it is busy is none. Only our own router sees that
    nothing moves: behind another one nothing is asked.
    """
    if job.plan.members is None:
        return ()
    asked = (replace(completion(job, endpoint, max_tokens=1), timeout=QUICK) for endpoint in endpoints)
    replies = job.driver.ask(asked)
    silent = [e for e in endpoints if e.name in replies and replies[e.name].status is None]
    if silent:
        names = fold(endpoint.name for endpoint in silent)
        job.note(f"no answer from {names} in {QUICK:.0f} s: busy or stuck, which the router finds out now")
    failures = _await_verdict(job, silent)
    for failed in failures:
        job.emit(failed)
    return failures


def _await_verdict(job: Job, silent: Sequence[Endpoint]) -> tuple[Failed, ...]:
    """What the router finds of these until it must have noticed."""
    deadline = job.now + NOTICED_WITHIN
    while silent:
        reasons = read_report(job).stuck
        found = tuple(_describe(job, e, reasons[e.name]) for e in silent if e.name in reasons)
        if found or job.now >= deadline:
            return found
        job.driver.pause(LOOK_EVERY)
    return ()


def _describe(job: Job, endpoint: Endpoint, reason: str) -> Failed:
    return Failed(
        at=job.now,
        process=endpoint.name,
        node=endpoint.node,
        text=f"{endpoint.name} on {endpoint.node} is stuck: {reason}",
        hint=f"dplaunch restart {endpoint.name}",
    )
