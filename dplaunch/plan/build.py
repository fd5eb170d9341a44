"""``ClusterSpec`` → ``Plan``: seats and ports, scripts, processes, members, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from dplaunch.engines import EngineAdapter, Sheet, Site, adapter, facts
from dplaunch.errors import Problem, SpecError
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RouterSpec
from dplaunch.model.plan import Endpoint, File, Flow, NodePlan, Plan, Process, Seat
from dplaunch.plan.check import check, placed
from dplaunch.plan.document import to_json
from dplaunch.plan.rehearse import STAND_IN, rehearsed, standing_in
from dplaunch.plan.services import RouterSite, members_file, router_files, router_process, url
from dplaunch.render import render

ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class _Draft:
    """What every step of a build refers to. ``stands_in``: rehearsal engines run."""

    spec: ClusterSpec
    engine: EngineAdapter
    seats: tuple[Seat, ...]
    stands_in: bool
    router_sources: Mapping[str, str]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(_endpoint(self, seat) for seat in self.seats)


def build(
    spec: ClusterSpec,
    *,
    rehearse: bool = False,
    python: str = "python3",
    router_files: Mapping[str, str] | None = None,
    checked: tuple[Problem, ...] | None = None,
) -> Plan:
    """The whole plan of a cluster.

    ``rehearse`` puts it on this machine with rehearsal engines; ``python`` is the interpreter for what runs
    on this machine then (the router). ``router_files``: our router's package, file name → text.
    ``checked``: what ``check`` found, where it was asked before. Raises SpecError when any of it is wrong.
    """
    problems = check(spec) if checked is None else checked
    if any(not problem.warning for problem in problems):
        raise SpecError(problems)
    stands_in = rehearse or facts(spec.engine.kind).rehearsal
    spec = rehearsed(spec) if rehearse else spec
    spec = standing_in(spec, python) if stands_in else spec
    engine = adapter(spec.engine.kind)
    draft = _Draft(spec, engine, placed(spec)[0], stands_in, router_files or {})
    plan = replace(
        _plan(draft),
        warnings=tuple(problem.text for problem in problems),
        rehearsal=stands_in,
        local=rehearse,
    )
    return _stamped(plan)


def _plan(draft: _Draft) -> Plan:
    spec = draft.spec
    router = spec.router if spec.router is not None and spec.router.kind != "none" else None
    return Plan(
        cluster=spec.name,
        revision="",
        engine=draft.engine.release(spec),
        model=spec.model,
        served_model_name=spec.served_model_name,
        nodes=tuple(_node(draft, node, router) for node in spec.nodes),
        router=router,
        url=_url(spec, router, draft.endpoints),
        flow=_flow(spec, router),
        api_key=spec.api_key,
        ready_timeout=spec.ready_timeout,
        warmup=spec.warmup,
        hooks=spec.hooks,
        stages=draft.engine.facts.stages,
    )


def _url(spec: ClusterSpec, router: RouterSpec | None, endpoints: Sequence[Endpoint]) -> str:
    if router is None:
        return endpoints[0].url
    address = next(node.address for node in spec.nodes if node.name == router.node)
    return url(address, router.port)


def _flow(spec: ClusterSpec, router: RouterSpec | None) -> Flow:
    """The layer-wise proxy starts with decode and brings the engines together itself."""
    if not spec.disaggregated:
        return "alone"
    return "push" if router is not None and "layerwise" in (router.path or "") else "pull"


def _endpoint(draft: _Draft, seat: Seat) -> Endpoint:
    return Endpoint(
        name=seat.name,
        role=seat.role,
        group=seat.group_name,
        node=seat.node,
        url=url(seat.address, seat.port("http")),
        ranks=(seat.rank,),
        api=draft.engine.facts.api,
        model=draft.spec.served_model_name,
    )


def _node(draft: _Draft, node: NodeSpec, router: RouterSpec | None) -> NodePlan:
    files: list[File] = [STAND_IN] if draft.stands_in else []
    processes: list[Process] = []
    for site in _sites(draft, node):
        own = tuple(_rendered(sheet) for sheet in draft.engine.files(site))
        files += own
        processes += (_engine(draft, site, seat, own) for seat in site.seats)
    if router is not None and router.node == node.name:
        bind = node.address if draft.stands_in else ANY_ADDRESS
        site_of_router = RouterSite(
            spec=draft.spec,
            router=router,
            node=node,
            bind=bind,
            endpoints=draft.endpoints,
            sources=draft.router_sources,
        )
        own = router_files(site_of_router)
        files += own
        processes.append(_with_fingerprint(router_process(site_of_router, own), own))
    return NodePlan(
        name=node.name,
        host=node.host,
        address=node.address,
        ssh=node.ssh,
        runtime=draft.spec.runtime,
        files=tuple(files),
        processes=tuple(processes),
    )


def _sites(draft: _Draft, node: NodeSpec) -> Iterable[Site]:
    for role in draft.spec.roles:
        seats = tuple(s for s in draft.seats if s.role == role.name and s.node == node.name)
        if seats:
            yield Site(spec=draft.spec, facts=draft.engine.facts, role=role, node=node, seats=seats)


def _rendered(sheet: Sheet | File) -> File:
    return (
        sheet
        if isinstance(sheet, File)
        else File(sheet.path, render(sheet.template, sheet.context), sheet.mode)
    )


def _engine(draft: _Draft, site: Site, seat: Seat, files: Sequence[File]) -> Process:
    process = Process(
        name=seat.name,
        kind="engine",
        role=seat.role,
        group=seat.group_name,
        node=seat.node,
        argv=draft.engine.argv(site, seat),
        env=draft.engine.secrets(site, seat),
        files=tuple(f.path for f in files),
        ports=_bound(draft, site, seat),
        stop=draft.engine.stop(draft.spec, site.role),
        seats=(seat,),
        endpoints=(_endpoint(draft, seat),),
    )
    return _with_fingerprint(process, files)


def _bound(draft: _Draft, site: Site, seat: Seat) -> tuple[int, ...]:
    """HTTP, the rendezvous on rank 0, and KV ports where this role listens."""
    rendezvous = seat.ports["rpc"].ports if seat.rank == 0 and "rpc" in seat.ports else ()
    listens = "kv" in seat.ports and draft.engine.binds_kv(draft.spec, site.role)
    return (*seat.ports["http"].ports, *rendezvous, *(seat.ports["kv"].ports if listens else ()))


def _with_fingerprint(process: Process, files: Sequence[File]) -> Process:
    """Restart when argv, the names of secrets or a text it runs from changed; not when members did."""
    parts = (process.argv, sorted(process.env), [(f.path, _digest_of(f.text)) for f in files])
    return replace(process, fingerprint=_digest(parts, 16))


def _stamped(plan: Plan) -> Plan:
    """The revision is a hash of everything else; the members file, which carries it, comes last."""
    plan = replace(plan, revision=_digest(to_json(plan), 12))
    if plan.router is None or plan.router.kind != "dplaunch":
        return plan
    members = members_file(plan)
    router_node = plan.router.node
    nodes = (
        replace(node, files=(*node.files, members)) if node.name == router_node else node
        for node in plan.nodes
    )
    return replace(plan, nodes=tuple(nodes))


@cache
def _digest_of(text: str) -> str:
    """Of a file's text, which all engines of a script share."""
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(value: object, length: int) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]
