"""How much of the prompts engines found in a store of KV, by their own counters."""

from __future__ import annotations

from http import HTTPStatus

from msgspec.structs import replace

from dplaunch.counters import total
from dplaunch.fleet.job import Job
from dplaunch.fleet.proof.kv_counters import metrics_request
from dplaunch.model.summary import Lookups

TIMEOUT = 3.0
"""Seconds: a report waits for no engine that hangs."""


def read_lookups(job: Job) -> Lookups | None:
    """The sums over all engines since they started; None where none has a store, or counts."""
    asked = {one.name: one for one in job.plan.endpoints if one.api.looked_up}
    requests = (metrics_request(job, one, one.api.looked_up) for one in asked.values())
    replies = job.driver.ask(replace(request, timeout=TIMEOUT) for request in requests)
    pages = [
        (asked[name].api.looked_up, reply.body)
        for name, reply in replies.items()
        if reply.status == HTTPStatus.OK
    ]
    figures = [[total(page, metric) for metric in metrics] for metrics, page in pages]
    counted = [(known, found) for known, found in figures if known is not None and found is not None]
    if not counted:
        return None
    return Lookups(
        asked=int(sum(known for known, _ in counted)), found=int(sum(found for _, found in counted))
    )
