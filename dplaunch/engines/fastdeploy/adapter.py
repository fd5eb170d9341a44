"""The adapter: one parent per group and node, ``multi_api_server``, with an HTTP server for each rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import Software
from dplaunch.engines.fastdeploy import command, forms, rules, standin
from dplaunch.engines.fastdeploy.facts import FACTS
from dplaunch.engines.layout import per_node, whole_cluster
from dplaunch.engines.settings import secrets, user_env
from dplaunch.errors import Problem
from dplaunch.model.cluster import SERVE, ClusterSpec, RoleSpec, SecretRef
from dplaunch.model.plan import Api, Endpoint, Flow, LogFile, Process, Registry, Seat, StopStep
from dplaunch.ranges import grouped

STOP = (StopStep("INT", 30.0), StopStep("TERM", 10.0), StopStep("KILL", 10.0))
"""The parent ends its servers on SIGINT only: SIGTERM ends it alone, and they run on."""
KEPT_LOGS = ("workerlog", "fastdeploy", "api_server", "cache_manager")
"""What an error is looked for in, of some twenty files of each server."""


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
        return tuple(_script(self.release(site.spec), site, seats) for seats in _groups(site))

    def processes(self, site: Site) -> Iterator[Process]:
        """One for each group: a parent with an endpoint for each rank, or one server for all of them."""
        for process in _laid_out(site):
            yield replace(
                process,
                argv=("bash", command.script_path(site, process.seats)),
                flags=tuple(line[0] for line in command.lines(site, process.seats)),
                env=_secrets(site, process.seats),
                stop=STOP,
                endpoints=tuple(_endpoint(site.spec, endpoint) for endpoint in process.endpoints),
                logs=_logs(site, process.seats),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What each script starts in the end."""
        return {process.name: _command(site, process.seats) for process in _laid_out(site)}

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """Modules of FastDeploy's names, found before an installed one's."""
        version = spec.engine.version
        flags = f"${{DPLAUNCH_ROOT}}/bin/{standin.FLAGS}"
        env = {"DPLAUNCH_REHEARSAL_VERSION": version, "DPLAUNCH_REHEARSAL_FLAGS": flags}
        nics = {"KVCACHE_RDMA_NICS": "mlx5_0"} if forms.uses_rdma(spec) else {}
        return StandIn(standin.programs(version), env | nics, routers=(forms.OWN_ROUTER,))


def _laid_out(site: Site) -> Iterable[Process]:
    return whole_cluster(site) if forms.form(site.spec) == "scheduled" else per_node(site)


def _secrets(site: Site, seats: Sequence[Seat]) -> dict[str, SecretRef]:
    """The API key, those of the file, and the password of Redis."""
    redis = site.spec.redis
    password = {forms.REDIS_PASSWORD: redis.password} if redis and redis.password else {}
    return secrets(site, seats[0]) | password


def _groups(site: Site) -> list[tuple[Seat, ...]]:
    return [tuple(seats) for seats in grouped((seat.group, seat) for seat in site.seats).values()]


def _endpoint(spec: ClusterSpec, endpoint: Endpoint) -> Endpoint:
    """What it answers: figures only where they are on its own port, and words unless the router pairs it."""
    api: Api = endpoint.api
    if forms.has_metrics_ports(spec.engine.version):
        api = replace(api, metrics="", running="", waiting="")
    if spec.disaggregated and forms.form(spec) == "registered":
        api = replace(api, completions="")
    return replace(endpoint, api=api)


def _logs(site: Site, seats: Sequence[Seat]) -> tuple[LogFile, ...]:
    """What each server writes itself; worker logs of a group are all its first server's."""
    where = command.folder(site, seats)
    if forms.form(site.spec) == "scheduled":
        folder = f"{where}/{command.FOLDER_OF_LOGS}"
        names = (*KEPT_LOGS, "scheduler")
        return tuple(LogFile(name, f"{folder}/{_log_name(name)}") for name in names)
    folder = f"{where}/{forms.log_folder(site.spec.engine.version, command.FOLDER_OF_LOGS)}log_"
    return tuple(
        LogFile(f"{name}-{seat.local_rank}", f"{folder}{seat.local_rank}/{_log_name(name)}")
        for seat in seats
        for name in KEPT_LOGS
        if name != "workerlog" or seat.local_rank == 0
    )


def _log_name(name: str) -> str:
    return f"{name}.*" if name == "workerlog" else f"{name}.log"


def _command(site: Site, seats: Sequence[Seat]) -> Command:
    python = site.spec.runtime.python
    argv = (
        python,
        "-m",
        command.module(site.spec),
        *(word for line in command.lines(site, seats) for word in line),
    )
    written = command.environment(site.spec, seats) | user_env(site, seats[0])
    return Command(argv, {name: value for name, value in written.items() if isinstance(value, str)})


def _script(release: str, site: Site, seats: Sequence[Seat]) -> Template:
    written = user_env(site, seats[0])
    computed = {name: v for name, v in command.environment(site.spec, seats).items() if name not in written}
    context: dict[str, object] = {
        "title": f"{site.spec.name}: {seats[0].group_name} on {site.node.name} ({site.node.address})",
        "release": release,
        "ranks": [seat.name for seat in seats],
        "setup": site.spec.runtime.setup,
        "python": site.spec.runtime.python,
        "folder": command.folder(site, seats),
        "logs": command.FOLDER_OF_LOGS,
        "exports": [
            ("What layout and devices need", list(computed.items())),
            ("From the cluster file", [(n, v) for n, v in written.items() if isinstance(v, str)]),
        ],
        "secrets": sorted(_secrets(site, seats)),
        "rdma": forms.uses_rdma(site.spec) and "KVCACHE_RDMA_NICS" not in written,
        "sysfs": "/sys",
        "module": command.module(site.spec),
        "redis": site.spec.redis,
        "redis_password": forms.REDIS_PASSWORD if site.spec.redis and site.spec.redis.password else "",
        "lines": command.lines(site, seats),
    }
    return Template(command.script_path(site, seats), "fastdeploy/run_fastdeploy.sh.j2", context)


ADAPTER = FastDeploy()
