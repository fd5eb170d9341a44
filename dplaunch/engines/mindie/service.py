"""MindIE's service: one daemon for each node of a group, all started at once; the master's alone serves.

Source: MindIE-LLM, src/server/daemon/llm_daemon.cpp, src/server/scripts/A2_double_machine.md,
src/config_manager/ranktable_config.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.ascend.facts import HCCL_HOST_PORTS
from dplaunch.engines.facts import EngineFacts, Metrics
from dplaunch.engines.layout import front_and_headless
from dplaunch.engines.mindie import config, parallel, shared
from dplaunch.engines.settings import Env, secrets, user_env
from dplaunch.engines.versions import at_least, parse
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import Api, File, LogFile, Process, RankTable, Ready, Stage, StopStep

SCRIPT = "mindie.sh"
CONFIG = "config.json"
STARTED = "Daemon start success!"
LOGS = "mindie-log"
"""MINDIE_LOG_PATH, in the node's folder."""
SERVER_SINCE = "3.0"
"""First release whose daemon is called mindie_llm_server and is in PATH."""
MOST_A2_NODES = 4

API = Api(running="num_requests_running", waiting="num_requests_waiting")
METRICS = Metrics(
    finished="request_success_total",
    running=API.running,
    waiting=API.waiting,
    ttft="time_to_first_token_seconds",
    tpot="time_per_output_token_seconds",
    kv_used="npu_cache_usage_perc",
    prefix_rate="npu_prefix_cache_hit_rate",
    condition="MindIE serves /metrics only with MIES_SERVICE_MONITOR_MODE=1 in the engine's env",
)
"""Source: hiascend.com, MindIE 2.1.RC1, mindie_service0103."""

FACTS = EngineFacts(
    kind="mindie",
    needs=frozenset(("version", "hardware", "devices")),
    families=(("a3", 16), ("a2", 0)),
    example_hardware="atlas-800i-a2",
    ports={"http": 9000, "multi_node": 1120, "inter_comm": 1121, "pipeline": 12345},
    reserved=(HCCL_HOST_PORTS,),
    script=SCRIPT,
    api=API,
    metrics=METRICS,
    stages=(
        Stage("configuration", r"ConfigManager: Load Config from"),
        Stage("rank table", r"Start to parse ranktable file"),
        Stage("model", r"Successfully init config manager"),
        Stage("serving", r"Daemon start success!"),
    ),
    banners=("g_mainPid =",),
    packages=shared.PACKAGES,
    must_agree=("CANN", "torch_npu", "atb_llm"),
    titles=("(?i)mindie",),
    spans_nodes=True,
    takes_rank_table=True,
)

STAND_IN = """#!/bin/sh
# Stands in for MindIE's daemon: it reads the same configuration, environment and rank table.
exec python3 -I -S "${DPLAUNCH_BUNDLE:?is not set}" rehearsal mindie_llm_server "$@"
"""


class Service(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``mindie 3.0``."""
        return f"{FACTS.kind} {spec.engine.version}".rstrip()

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What the daemon would refuse on every node."""
        return (*shared.check(spec), *parallel.check(spec), *config.check(spec), *_check(spec))

    def rank_table(self, spec: ClusterSpec) -> RankTable | None:
        """Of all nodes of the group; the service finds itself in it by its container's address."""
        return shared.rank_table(spec, containers=True)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """One server for each group; nodes of a group meet at the master, stages of a pipeline beside it."""
        del spec
        several = (
            PortNeed("multi_node", "inference over nodes", per="group"),
            PortNeed("inter_comm", "communication of instances", per="node", listens=False),
        )
        stages = (PortNeed("pipeline", "rendezvous", per="group"),) if role.pp > 1 else ()
        return (PortNeed("http", "HTTP", per="group", told=False), *several, *stages)

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """The script, its configuration, and a rank table that the cluster file names."""
        script = Template(site.script_path, "mindie/mindie.sh.j2", self._context(site))
        own = File(f"{site.role.name}/{CONFIG}", config.write(site), 0o640)
        return (script, own, *shared.table_file(site))

    def processes(self, site: Site) -> Iterator[Process]:
        """One for each group on the node; one without a server is ready when its daemon has started."""
        for process in front_and_headless(site, Ready("line", STARTED)):
            yield replace(
                process,
                argv=("bash", site.script_path),
                env=secrets(site, site.seats[0]),
                stop=(StopStep("TERM", 30.0), StopStep("KILL", 10.0)),
                logs=(LogFile("debug", f"{LOGS}/debug/*.log"),),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What the script starts for each group on the node."""
        env = self._env(site) | user_env(site, site.seats[0])
        texts = {name: value for name, value in env.items() if isinstance(value, str)}
        argv = (_daemon(site.spec.engine.version),)
        return {process.name: Command(argv, texts) for process in front_and_headless(site, Ready())}

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """A daemon under both of its names."""
        del spec
        home = {"MIES_INSTALL_PATH": "${DPLAUNCH_ROOT}/bin/mindie-service"}
        names = ("mindie_llm_server", "mindie-service/bin/mindieservice_daemon")
        return StandIn(dict.fromkeys(names, STAND_IN), home)

    def _env(self, site: Site) -> Env:
        seat = site.seats[0]
        own = dict.fromkeys(("MIES_CONTAINER_IP", "HOST_IP", "MIES_CONTAINER_MANAGEMENT_IP"), "${local_ip}")
        env: Env = {
            "MIES_CONFIG_JSON_PATH": f"${{root}}/{site.role.name}/{CONFIG}",
            "MINDIE_LOG_TO_STDOUT": "1",
            "MINDIE_LOG_TO_FILE": "1",
            "MINDIE_LOG_PATH": f"${{root}}/{LOGS}",
            **own,
        }
        if shared.spans(site.role):
            env |= {"MASTER_IP": seat.master, "ATB_LLM_HCCL_ENABLE": "1"}
        if site.role.pp > 1:
            env["MASTER_PORT"] = str(seat.port("pipeline"))
        return env | shared.table_env(self.rank_table(site.spec)) | shared.network_env(site)

    def _context(self, site: Site) -> dict[str, object]:
        return {
            **shared.context(site, self._env(site)),
            "release": self.release(site.spec),
            "script": SCRIPT,
            "unit": "One run is the daemon of a group on this node",
            "contract": (),
            "engines": [(process.name, ()) for process in front_and_headless(site, Ready())],
            "daemon": _daemon(site.spec.engine.version),
        }


def _daemon(version: str) -> str:
    return "mindie_llm_server" if at_least(version, SERVER_SINCE) else "./bin/mindieservice_daemon"


def _check(spec: ClusterSpec) -> Iterator[Problem]:
    if parse(spec.engine.version) is None:
        text = f"version {spec.engine.version} is not one of MindIE's"
        yield Problem(text, key="engine.version", hint='version: "3.0"')
    for role in spec.roles:
        here = [node for node in spec.nodes if node.name in role.nodes]
        if role.groups > len(here):
            text = f"{role.name} has {role.groups} groups on {len(here)} nodes, and a node runs one daemon"
            yield Problem(text, key=f"roles.{role.name}.groups", hint=f"groups: {len(here)}")
        if spec.hardware.family == "a2" and len(here) // role.groups > MOST_A2_NODES:
            text = f"{role.name} spreads a group over {len(here) // role.groups} A2 servers"
            yield Problem(
                f"{text}, and MindIE documents at most {MOST_A2_NODES}",
                key=f"roles.{role.name}.nodes",
                source="MindIE-LLM, user guide, inference over several servers",
                warning=True,
            )
    if not PurePosixPath(spec.model).is_absolute():
        text = f"model {spec.model} is not an absolute path: MindIE loads a folder"
        yield Problem(text, key="model", hint="the folder of the weights, the same on every node")


ADAPTER = Service()
