"""The adapter: one parent per group and node, ``multi_api_server``, with an HTTP server for each rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import Software
from dplaunch.engines.fastdeploy import command, forms, rules
from dplaunch.engines.fastdeploy.facts import FACTS
from dplaunch.engines.fastdeploy.standin import PROGRAMS
from dplaunch.engines.layout import per_node
from dplaunch.engines.settings import secrets, user_env
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import Api, Endpoint, Flow, LogFile, Process, Seat, StopStep
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

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """All that a rank would otherwise choose at random."""
        needs = [PortNeed("http", "HTTP")]
        if forms.has_metrics_ports(spec.engine.version):
            needs.append(PortNeed("metrics", "metrics"))
        needs += [PortNeed("queue", "engine worker queue"), PortNeed("cache", "cache queue")]
        if spec.disaggregated:
            needs.append(PortNeed("pd", "prefill/decode"))
        if forms.uses_rdma(spec):
            needs.append(PortNeed("rdma", "RDMA", count=role.tp))
        return tuple(needs)

    def files(self, site: Site) -> tuple[Template, ...]:
        """A script for each parent."""
        return tuple(_script(self.release(site.spec), site, seats) for seats in _groups(site))

    def processes(self, site: Site) -> Iterator[Process]:
        """One parent for each group, with an endpoint for each of its ranks."""
        for process in per_node(site):
            yield replace(
                process,
                argv=("bash", command.script_path(site, process.seats)),
                flags=tuple(line[0] for line in command.lines(site, process.seats)),
                env=secrets(site, process.seats[0]),
                stop=STOP,
                endpoints=tuple(_endpoint(site.spec, endpoint) for endpoint in process.endpoints),
                logs=_logs(site, process.seats),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What each script starts in the end."""
        return {process.name: _command(site, process.seats) for process in per_node(site)}

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """Modules of FastDeploy's names, found before an installed one's."""
        env = {"DPLAUNCH_REHEARSAL_VERSION": spec.engine.version}
        nics = {"KVCACHE_RDMA_NICS": "mlx5_0"} if forms.uses_rdma(spec) else {}
        return StandIn(PROGRAMS, env | nics, routers=(forms.OWN_ROUTER,))


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
    where = f"{command.folder(site, seats)}/{_log_folder(site)}"
    files = (
        (seat, name) for seat in seats for name in KEPT_LOGS if name != "workerlog" or seat.local_rank == 0
    )
    return tuple(_log_file(where, seat, name) for seat, name in files)


def _log_folder(site: Site) -> str:
    """Where the parent has its servers write: before 2.3 it does not follow FD_LOG_DIR."""
    return forms.log_folder(site.spec.engine.version, command.FOLDER_OF_LOGS)


def _log_file(where: str, seat: Seat, name: str) -> LogFile:
    own = f"{name}.*" if name == "workerlog" else f"{name}.log"
    return LogFile(f"{name}-{seat.local_rank}", f"{where}log_{seat.local_rank}/{own}")


def _command(site: Site, seats: Sequence[Seat]) -> Command:
    python = site.spec.runtime.python
    argv = (python, "-m", command.SERVERS, *(word for line in command.lines(site, seats) for word in line))
    written = command.environment(seats) | user_env(site, seats[0])
    return Command(argv, {name: value for name, value in written.items() if isinstance(value, str)})


def _script(release: str, site: Site, seats: Sequence[Seat]) -> Template:
    written = user_env(site, seats[0])
    computed = {name: v for name, v in command.environment(seats).items() if name not in written}
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
        "secrets": sorted(secrets(site, seats[0])),
        "rdma": forms.uses_rdma(site.spec) and "KVCACHE_RDMA_NICS" not in written,
        "sysfs": "/sys",
        "module": command.SERVERS,
        "lines": command.lines(site, seats),
    }
    return Template(command.script_path(site, seats), "fastdeploy/run_fastdeploy.sh.j2", context)


ADAPTER = FastDeploy()
