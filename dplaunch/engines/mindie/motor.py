"""MindIE Motor: prefill and decode instances in pods that MindIE's own scripts make, from a control node.

Each instance is an AscendJob; one process on the control node stands for each. Source: MindIE-Motor,
management_service/example/deploy_scripts; coordinator/Coordinator.cpp and ControllerListener.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec.structs import replace

from dplaunch.engines.adapter import EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import EngineFacts
from dplaunch.engines.layout import url
from dplaunch.engines.mindie import motor_check, motor_names, user_config
from dplaunch.engines.mindie.motor_names import DEPLOY, FOLDER, JOB_KIND, MARKER, instance
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RoleSpec
from dplaunch.model.kubernetes import Deployment
from dplaunch.model.plan import Api, Endpoint, File, LogFile, Process, Ready, Seat, Stage, StopStep
from dplaunch.ranges import grouped

FOLLOW = f"{FOLDER}/follow.sh"
LOGS = f"{FOLDER}/logs"
READY = r"MindIE-MS coordinator is ready!!!"
UNREADY = r"MindIE-MS coordinator is not ready\.\.\."
GRACE = (StopStep("TERM", 5.0), StopStep("KILL", 5.0))
"""What runs here only looks: pods end when their objects are deleted."""

FACTS = EngineFacts(
    kind="mindie-motor",
    needs=frozenset(("version", "hardware")),
    families=(("a3", 16), ("a2", 0)),
    example_hardware="atlas-800i-a2",
    ports={"http": 9000},
    api=Api(models="", completions="", metrics=""),
    stages=(
        Stage("deployed", r"Execute command: kubectl apply|it is not deployed yet"),
        Stage("pods", r"\[pods\] pod \S+: "),
        Stage("loading", r"Start to parse ranktable file|status is completed"),
        Stage("ready", r"pods are ready"),
    ),
    banners=("NOW EXECUTING",),
    deploys=True,
)

STAND_IN = """#!/bin/sh
# Stands in for kubectl, and for the cluster behind it.
exec python3 -I -S "${DPLAUNCH_BUNDLE:?is not set: start rehearsals with dplaunch}" rehearsal kubectl \\
  "$(cd "$(dirname "$0")/.." && pwd)/kubernetes" "$@"
"""
STAND_IN_SCRIPT = '''\
"""Stands in for MindIE's deploy_ac_job.py: it reads the same file and makes the same objects with kubectl."""

import os
import sys

bundle = os.environ["DPLAUNCH_BUNDLE"]
os.execv(sys.executable, [sys.executable, "-I", "-S", bundle, "rehearsal", "deploy_ac_job.py", *sys.argv[1:]])
'''


class Motor(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``mindie-motor 2.0.RC1``."""
        return f"{FACTS.kind} {spec.engine.version}".rstrip()

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What the scripts, the controller or the servers would refuse, most of it after minutes."""
        return tuple(motor_check.check(spec))

    def deployment(self, spec: ClusterSpec) -> Deployment:
        """What the scripts make and need."""
        return motor_names.deployment(spec)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """One for each instance, on which what stands for it says whether it is ready."""
        del spec, role
        return (PortNeed("http", "health of an instance", per="group"),)

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """What the control node needs, once; instances differ in their arguments only."""
        spec = site.spec
        if site.role.name != spec.roles[0].name:
            return ()
        env = {motor_names.SIDES[role.name]: dict(role.env) for role in spec.roles}
        return (
            Template(f"{FOLDER}/deploy.sh", "mindie/deploy.sh.j2", self._context(site)),
            Template(f"{FOLDER}/bin/kubectl", "mindie/kubectl.sh.j2", self._context(site)),
            Template(FOLLOW, "mindie/follow.sh.j2", self._context(site)),
            File(f"{FOLDER}/user_config.json", user_config.write(spec), 0o640),
            File(f"{FOLDER}/env.json", json.dumps(env, indent=1, ensure_ascii=False) + "\n", 0o640),
        )

    def processes(self, site: Site) -> Iterator[Process]:
        """The job that deploys, then one process for each instance."""
        if site.role.name == site.spec.roles[0].name:
            yield Process(
                name=DEPLOY,
                kind="job",
                role=DEPLOY,
                group=DEPLOY,
                node=site.node.name,
                argv=("bash", f"{FOLDER}/deploy.sh"),
                ready=Ready("exit"),
                stop=GRACE,
            )
        for seats in grouped((seat.group, seat) for seat in site.seats).values():
            yield self._instance(site, tuple(seats))

    def _instance(self, site: Site, seats: tuple[Seat, ...]) -> Process:
        first, role = seats[0], site.role
        job = instance(role.name, first.group)
        workers = (f"worker-{number}" for number in range(role.pods - 1))
        return Process(
            name=f"{role.name}-{first.group}",
            kind="engine",
            role=role.name,
            group=first.group_name,
            node=site.node.name,
            argv=("bash", FOLLOW, *_follow(site.spec, site.node, job, role.pods, first.port("http"))),
            seats=(replace(first, name=f"{role.name}-{first.group}"),),
            endpoints=(
                Endpoint(
                    name=f"{role.name}-{first.group}",
                    role=role.name,
                    group=first.group_name,
                    node=site.node.name,
                    url=url(site.node.address, first.port("http")),
                    ranks=tuple(seat.rank for seat in seats),
                    api=FACTS.api,
                ),
            ),
            logs=tuple(LogFile(name, f"{LOGS}/{job}-{name}.log") for name in workers),
            stop=GRACE,
        )

    def router_command(
        self, spec: ClusterSpec, node: NodeSpec, port: int
    ) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The coordinator, which is ready when its pod is and its log says so."""
        words = _follow(spec, node, motor_names.coordinator(spec), 1, port)
        lines = tuple(words[at : at + 2] for at in range(0, len(words), 2))
        return ("bash", FOLLOW), (*lines, ("--ready", READY), ("--unready", UNREADY))

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """A cluster in a folder, and the script."""
        del spec
        configurations = (
            "config",
            "http_client_ctl",
            "ms_controller",
            "ms_coordinator",
            "mindie_env",
            "mindie_env_a3",
        )
        programs = {
            "kubectl": STAND_IN,
            "package/deploy_ac_job.py": STAND_IN_SCRIPT,
            "package/deployment/coordinator_init.yaml": "nodePort: 31015\n",
            **{f"package/conf/{name}.json": "{}\n" for name in configurations},
        }
        return StandIn(programs, routers=(FACTS.kind,))

    def _context(self, site: Site) -> dict[str, object]:
        spec, section = site.spec, motor_names.section(site.spec)
        found, family = motor_names.deployment(spec), spec.hardware.family
        kubectl = section.kubectl
        return {
            "title": f"{spec.name}: MindIE's prefill and decode on Kubernetes, from {site.node.name}",
            "setup": spec.runtime.setup,
            "knobs": [(n, v) for n, v in site.node.env.items() if n.startswith("DPLAUNCH_REHEARSAL_")],
            "cluster": spec.name,
            "digest": found.digest,
            "marker": MARKER,
            "selector": found.selector,
            "kind": JOB_KIND,
            "namespace": kubectl.namespace,
            "program": kubectl.program,
            "kubectl": kubectl.words[1:],
            "package": section.package or "",
            "environment": user_config.ENVIRONMENTS.get(family, ""),
            "port": spec.router.port if spec.router else 0,
            "service": motor_names.SERVICE,
            "logs": LOGS,
            "objects": found.objects,
            "kinds": ",".join(dict.fromkeys(one.kind for one in found.objects)),
        }


def _follow(spec: ClusterSpec, node: NodeSpec, job: str, pods: int, port: int) -> tuple[str, ...]:
    """Names and values of the options with which a job's pods are followed."""
    address = f"[{node.address}]" if ":" in node.address else node.address
    digest = motor_names.digest(spec)
    return ("--job", job, "--pods", str(pods), "--listen", f"{address}:{port}", "--deployment", digest)


ADAPTER = Motor()
