"""Out of service before a stop: the router sends nothing new to these groups, and what runs is finished.

What runs on a group is what the router counts on it, where a prefill engine's request lasts until its decode
engine has pulled the KV, and what the engines count themselves: other clients may talk to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus

from dplaunch import durations
from dplaunch.counters import total
from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.membership import read_endpoints, set_state
from dplaunch.fleet.proof.kv_counters import metrics_request
from dplaunch.model.event import Draining
from dplaunch.model.plan import ROUTER, Endpoint
from dplaunch.model.remote import HttpReply, HttpRequest
from dplaunch.ranges import fold
from dplaunch.words import plural

ASK_EVERY = 0.5
QUIET_FOR = 2.0
"""Seconds without a request after which there is none: each of the router's workers looks at its file every
half second, and sends the others its counts every second."""
ANSWER_WITHIN = 2.0
REQUESTS = "dprouter_member_requests"

Busy = Mapping[str, int]
"""Endpoint → requests that run on it."""


def drain(job: Job, groups: Collection[str], timeout: float | None, *, routed: bool) -> bool:
    """Take ``groups`` out of service at our router, and wait until nothing runs on them.

    ``timeout``: seconds, instead of the roles' own. What still runs then is counted and named.
    ``routed``: the router runs, and its counts are waited for. Returns whether it counts nothing any more.
    """
    leaving = read_endpoints(job, groups)
    if not leaving:
        return False
    set_state(job, groups, "draining")
    times = job.plan.drain_timeout
    longest = max(times.values())  # for a role that is no longer in the plan
    own = max(times.get(endpoint.role, longest) for endpoint in leaving)
    patience = own if timeout is None else timeout
    with phase(job, "drain", plural(len(leaving), "engine")):
        busy = _wait(job, leaving, patience, routed=routed)
        if busy is None:
            job.note("the router did not report which requests still run; they will be cut off")
        elif busy:
            names, count = fold(busy), plural(sum(busy.values()), "request")
            job.note(
                f"{count} on {names} did not finish within {durations.describe(patience)} and will be cut off"
            )
    return routed and busy == {}


def _wait(job: Job, leaving: Sequence[Endpoint], patience: float, *, routed: bool) -> Busy | None:
    """What still runs when all has been quiet for a while, or time is up; None: unknown."""
    deadline, quiet_since, known = job.now + patience, None, None
    while True:
        busy = _count(job, leaving, routed=routed)
        if busy is not None and busy != known:
            job.emit(Draining(at=job.now, requests=busy))
            known = busy
        quiet_since = (quiet_since or job.now) if busy is not None and not busy else None
        quiet = quiet_since is not None and job.now - quiet_since >= QUIET_FOR
        if quiet or job.now >= deadline:
            return busy
        job.driver.pause(ASK_EVERY)


def _count(job: Job, leaving: Sequence[Endpoint], *, routed: bool) -> Busy | None:
    """Requests on these endpoints now; None when a router that runs does not answer."""
    router = job.plan.router_process if routed else None
    gauges = [endpoint for endpoint in leaving if endpoint.api.running]
    asked = [metrics_request(job, e, filter(None, (e.api.running, e.api.waiting))) for e in gauges]
    replies = job.driver.ask([*asked, *([_router_request(router.endpoints[0])] if router else [])])
    page = _page(replies.get(ROUTER))
    if router is not None and page is None:
        return None
    counts = {e.name: total(page or "", f'{REQUESTS}{{member="{e.name}"}}') or 0 for e in leaving}
    for endpoint in gauges:
        text = _page(replies.get(endpoint.name)) or ""
        names = filter(None, (endpoint.api.running, endpoint.api.waiting))
        counts[endpoint.name] = max(counts[endpoint.name], sum(total(text, name) or 0 for name in names))
    return {name: int(count) for name, count in counts.items() if count}


def _page(reply: HttpReply | None) -> str | None:
    return reply.body if reply is not None and reply.status == HTTPStatus.OK else None


def _router_request(router: Endpoint) -> HttpRequest:
    return HttpRequest(
        key=ROUTER, node=router.node, url=f"{router.url}/metrics", timeout=ANSWER_WITHIN, grep=f"^{REQUESTS}"
    )
