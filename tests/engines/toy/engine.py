"""An engine that only tests know: one parent process per node holds four ranks, each with an HTTP port."""

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from dplaunch.engines import EngineAdapter, EngineFacts, PortNeed, Site, StandIn
from dplaunch.engines.layout import per_node
from dplaunch.engines.settings import secrets, user_env
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import File, LogFile, Process, Ready, Stage, StopStep

SCRIPT = "toy.sh"
FACTS = EngineFacts(
    kind="toy",
    needs=frozenset(("version",)),
    ports={"http": 9000, "control": 7000, "hand-over": 8200},
    script=SCRIPT,
    key_env="TOY_KEY",
    stages=(Stage("ranks", r"rank \d+ up"), Stage("serving", "all ranks up")),
    titles=("toyd ",),
)


class Toy(EngineAdapter):
    """The whole adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        return f"toy {spec.engine.version}"

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        return (
            PortNeed("http", "HTTP"),
            PortNeed("control", "control", per="node"),
            PortNeed("hand-over", "hand-over", count=2, common=True),
        )

    def files(self, site: Site) -> tuple[File, ...]:
        exports = [f"export {name}='{value}'" for name, value in user_env(site, site.seats[0]).items()]
        lines = ("#!/bin/bash", *site.spec.runtime.setup, *exports, 'exec toyd "$@"')
        return (File(site.script_path, "\n".join(lines) + "\n", 0o755),)

    def processes(self, site: Site) -> Iterator[Process]:
        for process in per_node(site):
            first = process.seats[0]
            ports = [str(seat.port("http")) for seat in process.seats]
            where = (site.node.address, str(first.port("control")), str(first.ports["hand-over"].base))
            yield replace(
                process,
                argv=("bash", site.script_path, site.spec.served_model_name, *where, *ports),
                env=secrets(site, first),
                stop=(StopStep("INT", 5.0), StopStep("KILL", 5.0)),
                logs=(LogFile("control", f"toyd-{first.port('control')}.log"),),
            )

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        return StandIn({"toyd": Path(__file__).with_name("toyd").read_text()})


class ToyJob(Toy):
    """The same as a job: no HTTP, and to end well is success."""

    facts = replace(FACTS, kind="toy-job", ports={"control": 7000})

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        return (PortNeed("control", "control", per="node"),)

    def processes(self, site: Site) -> Iterator[Process]:
        for process in per_node(site):
            argv = ("bash", site.script_path, "--job", site.node.address)
            yield replace(process, kind="job", argv=argv, endpoints=(), ready=Ready("exit"))
