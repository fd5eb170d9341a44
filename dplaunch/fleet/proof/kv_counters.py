"""Whether KV moved: the decode engines' counters of transferred KV, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from dplaunch.counters import family, total
from dplaunch.fleet.job import Job, authorization
from dplaunch.model.plan import Endpoint
from dplaunch.model.proof import KvGrowth
from dplaunch.model.remote import HttpRequest

TIMEOUT = 10.0
SETTLE_FOR = 15.0
"""Seconds until a counter that did not grow counts as standing still: some are written now and then."""
LOOK_EVERY = 0.5

Figures = Mapping[str, float]
"""Metric → value."""


def tally(job: Job, endpoints: Iterable[Endpoint]) -> dict[str, Figures]:
    """What each endpoint counts now, asked on its own node; without those that do not respond."""
    asked = {endpoint.name: endpoint for endpoint in endpoints if endpoint.api.fetched}
    replies = job.driver.ask(
        metrics_request(job, endpoint, endpoint.api.fetched) for endpoint in asked.values()
    )
    return {
        name: figures(reply.body, asked[name].api.fetched)
        for name, reply in replies.items()
        if reply.status == HTTPStatus.OK
    }


def metrics_request(job: Job, endpoint: Endpoint, metrics: Iterable[str]) -> HttpRequest:
    """A request for these metrics of an endpoint, under its name."""
    return HttpRequest(
        key=endpoint.name,
        node=endpoint.node,
        url=endpoint.url + endpoint.api.metrics,
        headers=authorization(job),
        timeout=TIMEOUT,
        grep=f"^({'|'.join(dict.fromkeys(map(family, metrics)))})[{{ ]",
    )


def figures(page: str, metrics: Iterable[str]) -> Figures:
    """The metrics that are on a page, with their values."""
    found = {metric: total(page, metric) for metric in metrics}
    return {metric: value for metric, value in found.items() if value is not None}


def growth(before: Figures, after: Figures, metrics: Iterable[str]) -> float | None:
    """By how much the first available metric has grown; None where there is none."""
    metric = next((metric for metric in metrics if metric in after), None)
    return None if metric is None else after[metric] - before.get(metric, 0.0)


def watch_growth(
    job: Job, endpoints: Iterable[Endpoint], before: Mapping[str, Figures]
) -> tuple[KvGrowth, ...]:
    """By how much each counter has grown since ``before``; one that stands still is asked again."""
    waiting, deadline = list(endpoints), job.now + SETTLE_FOR
    found = {endpoint.name: KvGrowth(endpoint.name, endpoint.node, None) for endpoint in waiting}
    while waiting:
        after = tally(job, waiting)
        for endpoint in waiting:
            name = endpoint.name
            if name in after and name in before:  # without both values the growth is unknown
                grown = growth(before[name], after[name], endpoint.api.fetched)
                found[name] = KvGrowth(name, endpoint.node, grown)
        waiting = [endpoint for endpoint in waiting if found[endpoint.name].wrong]
        if job.now >= deadline:
            break
        if waiting:
            job.driver.pause(LOOK_EVERY)
    return tuple(found.values())
