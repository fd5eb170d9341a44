"""FastDeploy's offline inference as a job: one program with all ranks, done when it ends with code 0.

Source: FastDeploy 2.3, docs/zh/features/data_parallel_service.md (with ranks that meet in Redis) and
docs/zh/offline_inference.md; fastdeploy/entrypoints/llm.py, whose LLM takes the fields of EngineArgs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import EngineFacts, Software
from dplaunch.engines.fastdeploy import command, facts, flag_rules, forms, logs, offline_rules, standin
from dplaunch.engines.fastdeploy.adapter import ADAPTER as SERVERS
from dplaunch.engines.fastdeploy.script import groups, script, secrets
from dplaunch.engines.flags import plain
from dplaunch.engines.layout import one_per_node
from dplaunch.engines.settings import user_args
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, RoleSpec
from dplaunch.model.plan import Process, Ready, Seat, Stage, StopStep

PROGRAM = "fastdeploy_offline.py"
NOT_PORTS = ("http", "metrics")
NOT_COMPUTED = (
    "api-key",
    "controller-ports?|local-data-parallel-id",
    "host",
    "metrics-ports?",
    "ports?",
    "router",
)

FACTS = EngineFacts(
    kind=forms.OFFLINE,
    needs=frozenset(("version", "hardware")),
    families=(("gpu", 1),),
    example_hardware="gpu-8",
    ports={name: base for name, base in facts.PORTS.items() if name not in NOT_PORTS},
    script="run_offline.sh",
    stages=(*facts.STAGES[1:4], Stage("answers", r"generated_text: |answers written to")),
    packages=facts.PACKAGES,
    must_agree=("fastdeploy",),
    computed={flag: key for flag, key in facts.COMPUTED.items() if flag not in NOT_COMPUTED},
    titles=(rf"\S*{PROGRAM}".replace(".", r"\."),),
    serves=False,
)


class Offline(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``fastdeploy 2.3.0``."""
        return SERVERS.release(spec)

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What LLM would refuse or wait for in vain."""
        return tuple(offline_rules.check(spec))

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The version of the file."""
        return SERVERS.software(spec)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """Those of ranks; nothing listens for clients."""
        return tuple(need for need in SERVERS.ports(spec, role) if need.name not in NOT_PORTS)

    def files(self, site: Site) -> tuple[Template, ...]:
        """The program, and the script that starts it."""
        found: list[Template] = []
        for seats in groups(site):
            words = (site.spec.runtime.python, PROGRAM)
            found.append(script(self.release(site.spec), site, seats, words))
            path = f"{command.folder(site, seats)}/{PROGRAM}"
            context = _program(self.release(site.spec), site, seats)
            found.append(Template(path, "fastdeploy/offline.py.j2", context, mode=0o644))
        return tuple(found)

    def processes(self, site: Site) -> Iterator[Process]:
        """One for the group, without an endpoint."""
        for process in one_per_node(site):
            yield replace(
                process,
                kind="job",
                argv=("bash", command.script_path(site, process.seats)),
                env=secrets(site, process.seats),
                stop=(StopStep("TERM", 10.0), StopStep("KILL", 10.0)),
                ready=Ready("exit"),
                logs=logs.of_program(site, process.seats),
            )

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What the script starts; the program itself has what else there is to know."""
        argv = (site.spec.runtime.python, PROGRAM)
        return {
            process.name: Command(argv, command.literal_env(site, process.seats))
            for process in one_per_node(site)
        }

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """A package of FastDeploy's name, found before an installed one."""
        return standin.of_program(spec.engine.version)


def _program(release: str, site: Site, seats: Sequence[Seat]) -> dict[str, object]:
    """What the program holds, each value as Python writes it."""
    given = user_args(site, seats[0])
    own = {name: given[name] for name in offline_rules.OWN if name in given}
    prompts = own.get("prompts", ())
    sampling = own.get("sampling-params", {})
    return {
        "title": f"{site.spec.name}: {seats[0].group_name} on {site.node.name} ({site.node.address})",
        "release": release,
        "prompts": [_python(one) for one in (prompts if isinstance(prompts, tuple) else (prompts,))],
        "prompts_file": _python(own["prompts-file"]) if "prompts-file" in own else "",
        "output_file": _python(own["output-file"]) if "output-file" in own else "",
        "sampling": ", ".join(f"{_named(name)}={_python(value)}" for name, value in dict(sampling).items())
        if isinstance(sampling, Mapping)
        else "",
        "arguments": list(arguments(site, seats).items()),
    }


def arguments(site: Site, seats: Sequence[Seat]) -> dict[str, str]:
    """The arguments of LLM, by the names of EngineArgs' fields, each as Python writes it."""
    role, version = site.role, site.spec.engine.version
    computed: dict[str, ArgValue] = {
        "model": site.spec.model,
        "tensor_parallel_size": role.tp,
        "data_parallel_size": role.dp,
        "enable_expert_parallel": role.expert_parallel,
        "engine_worker_queue_port": command.ports_of(seats, "queue"),
        "cache_queue_port": command.ports_of(seats, "cache"),
    }
    if not forms.lists_cache_ports(version):
        computed["cache_queue_port"] = seats[0].port("cache")
    if forms.has_transfer_ports(site.spec):
        computed["pd_comm_port"] = command.ports_of(seats, "pd")
        computed["rdma_comm_ports"] = command.ports_of(seats, "rdma")
    given = {
        _named(flag_rules.spelt(version, name)): value
        for name, value in user_args(site, seats[0]).items()
        if name not in offline_rules.OWN and value is not None
    }
    computed |= _scheduler(site)
    written = {name: _python(value) for name, value in {**computed, **given}.items()}
    redis = site.spec.redis
    if redis is not None and redis.password:
        written["scheduler_password"] = f"os.environ[{_python(forms.REDIS_PASSWORD)}]"
    return written


def _scheduler(site: Site) -> dict[str, ArgValue]:
    """Where the ranks beyond the first find requests."""
    redis = site.spec.redis
    if redis is None:
        return {}
    return {
        "scheduler_name": "splitwise",
        "scheduler_host": redis.host,
        "scheduler_port": redis.port,
        "scheduler_topic": site.spec.name,
        "scheduler_ttl": command.TTL,
    }


def _named(flag: str) -> str:
    return flag.replace("-", "_")


def _python(value: object) -> str:
    return repr(plain(value))


ADAPTER = Offline()
