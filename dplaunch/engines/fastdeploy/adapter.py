"""The adapter: one parent per group and node, ``multi_api_server``, with an HTTP server for each rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import Software
from dplaunch.engines.fastdeploy import command, forms, logs, rules, standin
from dplaunch.engines.fastdeploy.facts import FACTS
from dplaunch.engines.fastdeploy.script import groups, script, secrets
from dplaunch.engines.layout import per_node, whole_cluster
from dplaunch.errors import Problem
from dplaunch.model.cluster import SERVE, ClusterSpec, RoleSpec
from dplaunch.model.plan import Api, Endpoint, Flow, Process, Registry, Seat, StopStep

STOP = (StopStep("INT", 30.0), StopStep("TERM", 10.0), StopStep("KILL", 10.0))
"""The parent ends its servers on SIGINT only: SIGTERM ends it alone, and they run on."""


class FastDeploy(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``fastdeploy 2.3.0``."""
        return f"fastdeploy {spec.engine.version}"

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What this FastDeploy refuses or would do wrong."""
        return tuple(rules.check(spec))

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The version of the file."""
        return (Software("fastdeploy", (spec.engine.version,), "the cluster file has"),)

    def flow(self, spec: ClusterSpec) -> Flow | None:
        """One engine is asked: whoever it is, FastDeploy itself brings prefill and decode together."""
        return "alone" if spec.disaggregated else None

    def registry(self, spec: ClusterSpec) -> Registry | None:
        """Where the splitwise scheduler of every rank reports its load."""
        if spec.redis is None:
            return None
        host = spec.redis.host
        return Registry(
            address=f"[{host}]:{spec.redis.port}" if ":" in host else f"{host}:{spec.redis.port}",
            node=spec.redis.node or spec.nodes[0].name,
            key=f"{spec.name}.cluster",
            password=spec.redis.password,
            roles={SERVE: "mixed"},
        )

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """All that a rank would otherwise choose at random."""
        each: Literal["node", "rank"] = "node" if forms.form(spec) == "scheduled" else "rank"
        needs = [PortNeed("http", "HTTP", per=each)]
        if forms.has_metrics_ports(spec.engine.version):
            needs.append(PortNeed("metrics", "metrics", per=each))
        of_cache: Literal["node", "rank"] = "rank" if forms.lists_cache_ports(spec.engine.version) else "node"
        needs += [PortNeed("queue", "engine worker queue"), PortNeed("cache", "cache queue", per=of_cache)]
        if forms.has_transfer_ports(spec):
            needs += [PortNeed("pd", "prefill/decode"), PortNeed("rdma", "RDMA", count=role.tp)]
        return tuple(needs)

    def files(self, site: Site) -> tuple[Template, ...]:
        """A script for each parent."""
        return tuple(self._script(site, seats) for seats in groups(site))

    def processes(self, site: Site) -> Iterator[Process]:
        """One for each group: a parent with an endpoint for each rank, or one server for all of them."""
        for process in _laid_out(site):
            yield replace(
                process,
                argv=("bash", command.script_path(site, process.seats)),
                flags=tuple(line[0] for line in command.lines(site, process.seats)),
                env=secrets(site, process.seats),
                stop=STOP,
                endpoints=tuple(_endpoint(site.spec, endpoint) for endpoint in process.endpoints),
                logs=logs.of_servers(site, process.seats),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What each script starts in the end."""
        return {process.name: _command(site, process.seats) for process in _laid_out(site)}

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """Modules of FastDeploy's names, found before an installed one's."""
        nics = {"KVCACHE_RDMA_NICS": "mlx5_0"} if forms.uses_rdma(spec) else {}
        return standin.of(spec.engine.version, nics, routers=(forms.OWN_ROUTER,))

    def _script(self, site: Site, seats: Sequence[Seat]) -> Template:
        words = (site.spec.runtime.python, "-m", command.module(site.spec))
        return script(self.release(site.spec), site, seats, words, command.lines(site, seats))


def _laid_out(site: Site) -> Iterable[Process]:
    return whole_cluster(site) if forms.form(site.spec) == "scheduled" else per_node(site)


def _endpoint(spec: ClusterSpec, endpoint: Endpoint) -> Endpoint:
    """What it answers: figures only where they are on its own port, and words unless the router pairs it."""
    api: Api = endpoint.api
    if forms.has_metrics_ports(spec.engine.version):
        api = replace(api, metrics="", running="", waiting="")
    if spec.disaggregated and forms.form(spec) == "registered":
        api = replace(api, completions="")
    return replace(endpoint, api=api)


def _command(site: Site, seats: Sequence[Seat]) -> Command:
    lines = (word for line in command.lines(site, seats) for word in line)
    argv = (site.spec.runtime.python, "-m", command.module(site.spec), *lines)
    return Command(argv, command.literal_env(site, seats))


ADAPTER = FastDeploy()
