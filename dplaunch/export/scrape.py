"""Prometheus's scrape configuration: a job for the router and for each role, a target for each endpoint.

Every target has the labels ``cluster``, ``role``, ``node`` and ``endpoint``, and an engine's also ``group``
and ``rank``. A name like ``decode-3`` is the label ``endpoint``, because engines have a label ``engine`` of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import yaml
from msgspec import Struct

from dplaunch.engines.facts import Metrics
from dplaunch.engines.routers import OURS
from dplaunch.errors import UsageError
from dplaunch.model.plan import ROUTER, Api, Endpoint, Plan, Process
from dplaunch.ranges import grouped, ranges
from dplaunch.words import plural

WIDTH = 110


class Target(Struct, frozen=True, kw_only=True):
    """Where the metrics of one endpoint are served."""

    role: str
    scheme: str
    address: str
    """HOST:PORT; an IPv6 address is in brackets."""
    path: str
    labels: Mapping[str, str]


def prometheus(plan: Plan, metrics: Metrics) -> str:
    """The configuration as YAML: ``scrape_configs`` alone, under comments that say how to use it."""
    document = scrape_jobs(plan, metrics)
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)
    return "".join(f"# {line}\n" for line in _comments(plan, metrics)) + text


def scrape_jobs(plan: Plan, metrics: Metrics) -> dict[str, Any]:
    """The same as a document: ``{"scrape_configs": [job, …]}``."""
    jobs = grouped(((one.role, one.scheme, one.path), one) for one in list_targets(plan, metrics))
    return {"scrape_configs": [_job(plan, list(members)) for members in jobs.values()]}


def list_targets(plan: Plan, metrics: Metrics) -> tuple[Target, ...]:
    """The router's, if it is ours, then those of engines, nodes in order.

    Left out is what serves none: a process without an endpoint, a service, a router of another project.
    Raises UsageError where nothing is left.
    """
    of_router = (_of_router(plan, router) for router in (plan.router_process,) if router)
    engines = (process for process in plan.processes if process.kind == "engine")
    of_engines = (_of_engine(plan, process, metrics) for process in engines)
    targets = tuple(target for found in (*of_router, *of_engines) for target in found)
    if not targets:
        raise UsageError(
            f"nothing in {plan.title} serves metrics that Prometheus could scrape",
            hint="`dplaunch plan -v` prints its processes and their endpoints",
        )
    return targets


def _of_router(plan: Plan, process: Process) -> Iterator[Target]:
    if serves_router_metrics(plan):
        for endpoint in process.endpoints:
            yield _target(plan, endpoint, urlsplit(endpoint.url).netloc, {})


def serves_router_metrics(plan: Plan) -> bool:
    """Whether the router is ours, so that its metrics are known."""
    return plan.router is not None and plan.router.kind == OURS and plan.router_process is not None


def _of_engine(plan: Plan, process: Process, metrics: Metrics) -> Iterator[Target]:
    for endpoint in process.endpoints:
        place = urlsplit(endpoint.url)
        port = _own_port(process, endpoint, metrics)
        if place.scheme.startswith("http") and (port or endpoint.api.metrics):
            address = f"{place.netloc.rpartition(':')[0]}:{port}" if port else place.netloc
            labels = {"group": endpoint.group, "rank": ranges(endpoint.ranks)}
            yield _target(plan, endpoint, address, labels)


def _own_port(process: Process, endpoint: Endpoint, metrics: Metrics) -> int:
    """The port that the first of its ranks has for metrics alone; 0 where it has none."""
    return next((seat.port(metrics.port) for seat in process.seats if seat.rank in endpoint.ranks), 0)


def _target(plan: Plan, endpoint: Endpoint, address: str, labels: Mapping[str, str]) -> Target:
    named = {"cluster": plan.cluster, "role": endpoint.role, **labels}
    return Target(
        role=endpoint.role,
        scheme=urlsplit(endpoint.url).scheme,
        address=address,
        path=endpoint.api.metrics or Api().metrics,
        labels={**named, "node": endpoint.node, "endpoint": endpoint.name},
    )


def _job(plan: Plan, members: Sequence[Target]) -> dict[str, Any]:
    """A job of targets that differ in address and labels only.

    The router's series about engines have a label ``role`` of their own, which is kept (``honor_labels``).
    """
    first = members[0]
    return {
        "job_name": f"{plan.cluster}/{first.role}",
        **({"honor_labels": True} if first.role == ROUTER else {}),
        "scheme": first.scheme,
        "metrics_path": first.path,
        "static_configs": [{"targets": [one.address], "labels": dict(one.labels)} for one in members],
    }


def _comments(plan: Plan, metrics: Metrics) -> Iterator[str]:
    found = len(list_targets(plan, metrics))
    yield f"Prometheus scrape configuration of {plan.title}: {plural(found, 'target')}."
    yield "List this file under scrape_config_files in prometheus.yml (2.43 or newer), or copy its jobs."
    yield "Write it again when nodes, groups, dp or ports of the cluster file change."
    if plan.api_key or plan.api_keys:
        yield "The API key is not needed: the router and its engines serve metrics without one. Where a proxy"
        yield "before them asks for a key, add to the job:"
        yield "  authorization: {credentials_file: FILE-WITH-THE-KEY}"
    if metrics.condition:
        yield f"{metrics.condition}."
    if plan.router_process and not serves_router_metrics(plan):
        yield "The router is another project's, so what it serves is not known here: it has no job."
