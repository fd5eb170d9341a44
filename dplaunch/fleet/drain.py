"""Out of service before a stop: the router sends nothing new to these groups and finishes what runs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from dplaunch.fleet.ask import probe
from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.prove import HTTP_OK
from dplaunch.fleet.start import PUT_DEADLINE
from dplaunch.model.event import Note
from dplaunch.model.observed import Observed
from dplaunch.model.plan import File, Process
from dplaunch.words import plural

MEMBERS = "router/members.json"
DRAIN_FOR = 30.0
"""Seconds until what still runs on a drained group is cut off by the stop."""
ASK_EVERY = 0.5
QUIET_FOR = 2.0
"""Seconds without a request after which there is none: each of the router's workers looks at its file every
half second, and tells the others its counts every second."""
ANSWER_WITHIN = 2.0
REQUESTS = re.compile(r'^dprouter_member_requests\{(?:.*,)?member="([^"]*)".*\} (\S+)$', re.MULTILINE)


def drain(job: Job, observed: Observed, names: Collection[str]) -> None:
    """Take the engines in ``names`` out of service at the router, if ours runs and goes on running."""
    router = _running_router(job, observed, names)
    members = _members(job)
    going = (
        {m["name"] for m in json.loads(members.text)["members"] if m["name"] in names} if members else set()
    )
    if router is None or members is None or not going:
        return
    with phase(job, "drain", plural(len(going), "engine")):
        _put(job, router.node, File(MEMBERS, drained(members.text, going)))
        busy = _wait(job, router, going)
        if busy is None:
            job.emit(Note(at=job.now, text="the router did not say what still ran; it is cut off"))
        elif busy:
            text = f"{busy} requests still ran after {DRAIN_FOR:.0f} s; they are cut off"
            job.emit(Note(at=job.now, text=text))


def _wait(job: Job, router: Process, going: Collection[str]) -> int | None:
    """Until nothing has run on these engines for a while; what still runs when time is up."""
    deadline, quiet_since = job.now + DRAIN_FOR, None
    while True:
        busy = _busy(job, router, going)
        quiet_since = (quiet_since or job.now) if busy == 0 else None
        quiet = quiet_since is not None and job.now - quiet_since >= QUIET_FOR
        if quiet or job.now >= deadline:
            return busy
        job.fleet.listen(lambda *_: None, until=lambda: False, deadline=job.now + ASK_EVERY)


def drained(text: str, going: Collection[str]) -> str:
    """The members file with these engines marked as draining."""
    document = json.loads(text)
    for member in document["members"]:
        if member["name"] in going:
            member["state"] = "draining"
    return json.dumps(document, indent=1)


def _running_router(job: Job, observed: Observed, names: Collection[str]) -> Process | None:
    alive = {p.name for p in observed.processes if p.alive}
    routers = [p for p in job.plan.processes if p.role == "router" and MEMBERS in _paths(job, p.node)]
    return next((p for p in routers if p.name in alive and p.name not in names), None)


def _paths(job: Job, node: str) -> set[str]:
    return {f.path for n in job.plan.nodes if n.name == node for f in n.files}


def _members(job: Job) -> File | None:
    return next((f for n in job.plan.nodes for f in n.files if f.path == MEMBERS), None)


def _put(job: Job, node: str, file: File) -> None:
    fields = {"files": [{"path": file.path, "text": file.text, "mode": file.mode}], "plan": None}
    job.fleet.gather({node: ("put", fields)}, PUT_DEADLINE)


def _busy(job: Job, router: Process, going: Collection[str]) -> int | None:
    """Requests on these engines now, of all workers of the router; None when it does not say."""
    question = {
        "key": router.name,
        "url": f"{router.endpoints[0].url}/metrics",
        "method": "GET",
        "timeout": ANSWER_WITHIN,
        "grep": "^dprouter_member_requests",
    }
    answer = probe(job, [(router.node, question)], ANSWER_WITHIN).get(router.name, {})
    return requests_on(answer["body"], going) if answer.get("status") == HTTP_OK else None


def requests_on(page: str, engines: Collection[str]) -> int:
    """What a router's page of /metrics counts on these engines."""
    return sum(int(float(count)) for name, count in REQUESTS.findall(page) if name in engines)
