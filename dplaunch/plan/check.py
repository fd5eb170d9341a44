"""Problems that show only when engine and seats are known. Those of the file alone are ``spec``'s."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines import adapter
from dplaunch.engines.routers import NONE, router_kind
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import Seat
from dplaunch.plan.ports import assign
from dplaunch.plan.seats import seats
from dplaunch.plan.services import check_files


def placed(spec: ClusterSpec) -> tuple[tuple[Seat, ...], tuple[Problem, ...]]:
    """Every rank's seat with its ports, and the collisions met."""
    return assign(spec, seats(spec), adapter(spec.engine.kind))


def check(spec: ClusterSpec) -> tuple[Problem, ...]:
    """Everything wrong or suspicious with this cluster on this engine version; key paths, no positions."""
    return (*adapter(spec.engine.kind).check(spec), *_router(spec), *check_files(spec), *placed(spec)[1])


def _router(spec: ClusterSpec) -> Iterator[Problem]:
    router = spec.router
    if router is None or router.kind == NONE or spec.disaggregated:
        return
    if router_kind(router).splits:
        yield Problem(
            f"a router of kind {router.kind} needs prefill and decode engines, and there is only one role",
            key="router.kind",
            hint="router: {kind: dplaunch}",
        )
