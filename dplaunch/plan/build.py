"""``ClusterSpec`` → ``Plan``: seats and ports, scripts, processes, members, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dplaunch.engines import EngineAdapter, PortNeed, Site, StandIn, Template, adapter, facts
from dplaunch.engines.adapter import Command
from dplaunch.engines.layout import url
from dplaunch.errors import Problem, SpecError
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RouterSpec, ServiceSpec
from dplaunch.model.plan import Endpoint, File, NodePlan, Overlap, Plan, Process
from dplaunch.plan.check import check, placed
from dplaunch.plan.container import complete
from dplaunch.plan.objects import objects, pods
from dplaunch.plan.ports import bound
from dplaunch.plan.rehearse import programs, rehearsed, standing_in
from dplaunch.plan.router import RouterSite, flow, members_file, router_files, router_process
from dplaunch.plan.services import (
    before_engines,
    node_files,
    rehearsed_services,
    service_files,
    service_process,
    services,
)
from dplaunch.ranges import grouped
from dplaunch.render import render


class _Engines(Struct, frozen=True):
    """What one role needs on one node, and the processes of its engines."""

    node: str
    files: tuple[File, ...]
    processes: tuple[Process, ...]


class _Draft(Struct, frozen=True):
    """What every step of a build refers to. ``stand_in`` plays the engines; None where real ones run."""

    spec: ClusterSpec
    engine: EngineAdapter
    engines: tuple[_Engines, ...]
    """By role, then by node."""
    stand_in: StandIn | None
    router_sources: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Of all engine processes."""
        return [process.name for engines in self.engines for process in engines.processes]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Of all engines, in the order of their ranks."""
        found = [e for engines in self.engines for p in engines.processes for e in p.endpoints]
        order = [role.name for role in self.spec.roles]
        return tuple(sorted(found, key=lambda e: (order.index(e.role), _number(e.group), e.ranks)))


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
    engine = adapter(spec.engine.kind)
    stand_in = engine.stand_in(spec) if stands_in else None
    spec = rehearsed(spec, stand_in.routers) if rehearse and stand_in else spec
    spec = rehearsed_services(standing_in(spec, stand_in, python)) if stand_in else spec
    draft = _Draft(spec, engine, tuple(_engines(spec, engine)), stand_in, router_files or {})
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
        nodes=_in_pods(spec, tuple(_node(draft, node, router) for node in spec.nodes)),
        router=router,
        url=_url(spec, router, draft.endpoints),
        flow=flow(spec, router),
        api_key=spec.api_key,
        api_keys=spec.api_keys,
        ready_timeout=spec.ready_timeout,
        drain_timeout={role.name: role.drain_timeout for role in spec.roles},
        registry=draft.engine.registry(spec),
        warmup=spec.warmup,
        rank_table=draft.engine.rank_table(spec),
        hooks=spec.hooks,
        stages=draft.engine.facts.stages,
        kubernetes=objects(spec, router),
        deployment=draft.engine.deployment(spec),
    )


def _in_pods(spec: ClusterSpec, nodes: tuple[NodePlan, ...]) -> tuple[NodePlan, ...]:
    """Nodes with their pods; a process starts again where its pod is made from something else.

    Nothing hands over there: what takes over may need another pod, in which the one before does not run.
    """
    made = pods(spec)
    return tuple(
        replace(
            node,
            pod=made[node.name],
            processes=tuple(
                replace(
                    process,
                    hands_over=False,
                    fingerprint=_digest(f"{process.fingerprint} {made[node.name].template}".encode(), 16),
                )
                for process in node.processes
            ),
        )
        if node.name in made
        else node
        for node in nodes
    )


def _url(spec: ClusterSpec, router: RouterSpec | None, endpoints: Sequence[Endpoint]) -> str:
    if router is None:
        return endpoints[0].url if endpoints else ""
    address = next(node.address for node in spec.nodes if node.name == router.node)
    return url(address, router.port)


def _node(draft: _Draft, node: NodeSpec, router: RouterSpec | None) -> NodePlan:
    here = [engines for engines in draft.engines if engines.node == node.name]
    container, boxed = complete(draft.spec, node)
    beside = services(draft.spec)
    played = programs(draft.stand_in, services=bool(beside)) if draft.stand_in else ()
    files = [*boxed, *played, *node_files(draft.spec, node)]
    files += (file for engines in here for file in engines.files)
    processes = [process for engines in here for process in engines.processes]
    for service in beside:
        if service.node == node.name:
            read = adapter(draft.spec.engine.kind).service_file(draft.spec, service)
            own = service_files(draft.spec, node, service, read)
            files += own
            processes.append(_service(draft, node, service, own))
    if router is not None and router.node == node.name:
        site_of_router = RouterSite(
            spec=draft.spec,
            router=router,
            node=node,
            endpoints=draft.endpoints,
            engines=draft.names,
            sources=draft.router_sources,
        )
        own = router_files(site_of_router)
        files += own
        process = router_process(site_of_router, own)
        processes.append(replace(process, fingerprint=_fingerprint(process, own)))
    processes = [_inside(process, boxed) for process in processes]
    return NodePlan(
        name=node.name,
        host=node.host,
        address=node.address,
        ssh=node.ssh,
        runtime=draft.spec.runtime,
        files=tuple(files),
        processes=tuple(processes),
        container=container,
    )


def _service(draft: _Draft, node: NodeSpec, service: ServiceSpec, own: Sequence[File]) -> Process:
    shared = node_files(draft.spec, node)
    process = service_process(node, service, (*own, *shared), draft.names)
    return replace(process, fingerprint=_fingerprint(process, (*own, *shared)))


def _inside(process: Process, boxed: Sequence[File]) -> Process:
    """A process that also depends on what starts its container: with that it starts again."""
    if not boxed:
        return process
    files = (*(file.path for file in boxed), *process.files)
    fingerprint = _digest(f"{process.fingerprint}{[file.text for file in boxed]}".encode(), 16)
    return replace(process, files=files, fingerprint=fingerprint)


def _engines(spec: ClusterSpec, engine: EngineAdapter) -> Iterator[_Engines]:
    after = before_engines(spec)
    for needs, site in _sites(spec, engine):
        files = tuple(_rendered(sheet) for sheet in engine.files(site))
        shared = (*files, *node_files(spec, site.node))
        drafts = (replace(p, after=(*p.after, *after)) for p in engine.processes(site))
        yield _Engines(site.node.name, files, tuple(_completed(p, needs, shared) for p in drafts))


def _sites(spec: ClusterSpec, engine: EngineAdapter) -> Iterator[tuple[Sequence[PortNeed], Site]]:
    """Every role on each of its nodes, with the ports that the role needs."""
    seats, _ = placed(spec)
    places = grouped(((seat.role, seat.node), seat) for seat in seats)
    for role in spec.roles:
        needs = engine.ports(spec, role)
        for node in spec.nodes:
            mine = places.get((role.name, node.name), [])
            if mine:
                yield needs, Site(spec=spec, facts=engine.facts, role=role, node=node, seats=tuple(mine))


def commands(spec: ClusterSpec) -> dict[str, Command]:
    """Engine process → its final command line and environment, where the adapter knows them."""
    engine = adapter(spec.engine.kind)
    return {name: one for _, site in _sites(spec, engine) for name, one in engine.commands(site).items()}


def overlaps(spec: ClusterSpec) -> dict[str, Overlap]:
    """Role → which of its steps dual-batch overlap splits; without the roles where it is off."""
    engine = adapter(spec.engine.kind)
    found = ((role.name, engine.overlap(spec, role)) for role in spec.roles)
    return {name: one for name, one in found if one is not None}


def _rendered(sheet: Template | File) -> File:
    return (
        sheet
        if isinstance(sheet, File)
        else File(sheet.path, render(sheet.template, sheet.context), sheet.mode)
    )


def _completed(process: Process, needs: Sequence[PortNeed], files: Sequence[File]) -> Process:
    return replace(
        process,
        files=tuple(f.path for f in files),
        ports=bound(process.seats, needs),
        fingerprint=_fingerprint(process, files),
    )


def _number(group: str) -> int:
    """1 of ``decode/1``."""
    return int(group.rpartition("/")[2])


def _fingerprint(process: Process, files: Sequence[File]) -> str:
    """Restart when argv, the names of secrets or a text it runs from changed; not when members did."""
    parts = (process.argv, sorted(process.env), [(f.path, _digest_of(f.text)) for f in files])
    return _digest(json.dumps(parts).encode(), 16)


def _stamped(plan: Plan) -> Plan:
    """The revision is a hash of everything else; the members file, which carries it, comes last."""
    plan = replace(plan, revision=_digest(msgspec.json.encode(plan, order="sorted"), 12))
    ours = plan.router is not None and plan.router.kind == "dplaunch"
    return replace(plan, members=members_file(plan)) if ours else plan


@cache
def _digest_of(text: str) -> str:
    """Of a file's text, which all engines of a script share."""
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(text: bytes, length: int) -> str:
    return hashlib.sha256(text).hexdigest()[:length]
