"""Out of service before a stop: the router sends nothing new to these groups and finishes what runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.start import PUT_DEADLINE
from dplaunch.model.event import Note
from dplaunch.model.observed import Observed
from dplaunch.model.plan import File, Process
from dplaunch.words import plural

MEMBERS = "router/members.json"
DRAIN_FOR = 30.0
"""Seconds until what still runs on a drained group is cut off by the stop."""
ASK_EVERY = 0.5


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
        deadline = job.now + DRAIN_FOR
        while (busy := _busy(job, router, going)) and job.now < deadline:
            job.fleet.listen(lambda *_: None, until=lambda: False, deadline=job.now + ASK_EVERY)
        if busy:
            job.emit(
                Note(at=job.now, text=f"{busy} requests still ran after {DRAIN_FOR:.0f} s; they are cut off")
            )


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


def _busy(job: Job, router: Process, going: Collection[str]) -> int:
    """Requests that still run on these engines, as the router sees it; 0 when it does not say."""
    request = {
        "key": "members",
        "url": f"{router.probe.url if router.probe else ''}/members",
        "method": "GET",
    }
    replies = job.fleet.gather({router.node: ("probe", {"requests": [{**request, "timeout": 2.0}]})}, 5.0)
    results = replies.get(router.node, {}).get("results", [])
    seen: Mapping[str, Any] = _json(results[0].get("body", "")) if results else {}
    # The router looks at its file every half second: until it has, it still says "serving".
    members = [m for m in seen.get("members", ()) if m["name"] in going]
    return sum(int(m["requests"]) or m["state"] == "serving" for m in members)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
