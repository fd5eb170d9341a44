# ruff: noqa: E402 - the collector rests while modules load
"""One verb on many hosts, by the walks that ``dplaunch up --detach``, ``status`` and ``down`` are made of.

BEGAN=SECONDS python driver.py start|start-checked|check|status|stop SSH_CONFIG HOST,HOST,… PROCESSES [KIND]

BEGAN is the moment on the monotonic clock when this command was given: figures count from there.

Everything is what users run, from the cluster file on, but for two things: the SSH configuration comes
from a file of its own, and each engine is a ``sleep``. KIND is the engine of the file (rehearsal; vllm-ascend
has NPU tools asked by ``check``). Figures go to stdout as one line of JSON, what
failed to stderr: verb, node, what it was and why. Each walk is imported by its verb, as the command does.
"""

import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # this and the collector as in dplaunch.cli
gc.disable()

from msgspec import Struct, field
from msgspec.structs import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.guards import Address, GuardedMachines, open_session
from dplaunch.fleet.job import Job, connect
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.event import Event, Failed, NodeFailed, PhaseEnded, Started, Stopped
from dplaunch.model.plan import Plan
from dplaunch.transport import Options
from dplaunch.transport import connect as reach
from dplaunch.workspace import Pick, load_cluster

CLUSTER = """\
cluster: bench
engine: {{kind: {kind}, version: "0.23.0"}}
model: none/no-op
nodes:
{nodes}
hardware: {hardware}
roles:
  serve: {{nodes: [{names}], dp: {total}, tp: 1}}
router: {{kind: none}}
"""
HARDWARE = {"vllm-ascend": "atlas-800t-a3"}
SHOWN = 20
"""Failures told in words."""


class Seen(Struct):
    """What the events of a walk said."""

    processes: int = 0
    answered: float = 0.0
    """When the last process was acknowledged, on the monotonic clock."""
    failures: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase of the walk."""
    slowest_node: float = 0.0
    """What the slowest node of a check says it took itself."""

    def take(self, event: Event) -> None:
        if isinstance(event, Started):
            self.processes += 1
            self.answered = event.at
        elif isinstance(event, Stopped):
            self.processes += not event.left
            self.answered = event.at
            self.failures += [f"{event.node} {event.process}: left {left}" for left in event.left]
        elif isinstance(event, Failed):
            self.failures.append(f"{event.node} {event.process}: {event.text}")
        elif isinstance(event, PhaseEnded):
            self.phases[event.phase] = event.seconds
        elif isinstance(event, NodeFailed):
            self.failures.append(f"{event.node}: {event.text}")


def cluster_of(hosts: list[str], processes: int, kind: str) -> tuple[ClusterSpec, Plan]:
    """From a cluster file, as ever; then every engine is a ``sleep``."""
    names = [f"n{number}" for number in range(1, len(hosts) + 1)]
    nodes = "\n".join(f"  - {{name: {n}, host: {h}}}" for n, h in zip(names, hosts, strict=True))
    hardware = HARDWARE.get(kind, f"{{devices: {processes}}}")
    text = CLUSTER.format(
        kind=kind, hardware=hardware, nodes=nodes, names=", ".join(names), total=len(hosts) * processes
    )
    with tempfile.TemporaryDirectory(prefix="dplaunch-fanout-file-") as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(text, encoding="utf-8")
        cluster = load_cluster(Pick(path))
    sleeping = (
        replace(node, processes=tuple(replace(p, argv=("sleep", "1000")) for p in node.processes))
        for node in cluster.plan.nodes
    )
    return cluster.spec, replace(cluster.plan, nodes=tuple(sleeping))


def start(job: Job, seen: Seen, _: ClusterSpec) -> int:
    from dplaunch.fleet.change.options import ChangeOptions
    from dplaunch.fleet.change.up import up

    up(job, ChangeOptions(detach=True), lambda *_: True)
    return seen.processes


def start_checked(job: Job, seen: Seen, spec: ClusterSpec) -> int:
    from dplaunch.fleet.change.options import ChangeOptions
    from dplaunch.fleet.change.up import up
    from dplaunch.preflight import FirstLook

    up(job, ChangeOptions(detach=True), lambda *_: True, FirstLook(spec))
    return seen.processes


def check(job: Job, seen: Seen, spec: ClusterSpec) -> int:
    from dplaunch.preflight import CheckOptions
    from dplaunch.preflight import check as walk

    checked = walk(job, spec, CheckOptions())
    seen.answered = job.now
    seen.slowest_node = max(node.seconds for node in checked.nodes)
    seen.failures += [f"{node.node}: {node.problem}" for node in checked.nodes if node.problem]
    return len(job.plan.processes)


def status(job: Job, seen: Seen, _: ClusterSpec) -> int:
    from dplaunch.fleet.verdict import summarise

    connect(job)
    observed = job.driver.observe(health=True)
    summarise(job.plan, observed)
    seen.answered = job.now
    running = {p.place for p in observed.processes if p.runs}
    seen.failures += [f"{p.name}: does not run" for p in job.plan.processes if p.place not in running]
    return sum(p.alive for p in observed.processes)


def stop(job: Job, seen: Seen, _: ClusterSpec) -> int:
    from dplaunch.fleet.change.down import down

    down(job, lambda _: True)
    return seen.processes


VERBS: dict[str, Callable[[Job, Seen, ClusterSpec], int]] = {
    "start": start,
    "start-checked": start_checked,
    "check": check,
    "status": status,
    "stop": stop,
}


def main() -> int:
    verb, config, hosts, count = sys.argv[1], sys.argv[2], sys.argv[3].split(","), int(sys.argv[4])
    kind = sys.argv[5] if len(sys.argv) > 5 else "rehearsal"
    (spec, plan), options, seen = cluster_of(hosts, count, kind), Options(ssh_config=config), Seen()
    gc.freeze()
    gc.enable()
    began = float(os.environ["BEGAN"])
    address, planned, done = Address(plan.cluster), time.monotonic(), 0
    driver = GuardedMachines(
        plan.nodes, lambda n: open_session(n, lambda m: reach(m, options=options), address)
    )
    try:
        with closing(driver):
            done = VERBS[verb](Job(plan, driver, seen.take), seen, spec)
    except DplaunchError as error:
        seen.failures.append(" ".join((error.text, *error.detail)))
    options.shared.close()
    figures = {
        "answered": seen.answered - began,
        "planned": planned - began,
        "slowest_node": seen.slowest_node,
        "phases": seen.phases,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures), flush=True)
    good = done == len(plan.processes) and not seen.failures
    if not good:
        told = [f"{verb}: {done} of {len(plan.processes)} processes", *seen.failures[:SHOWN]]
        told += [f"… and {len(seen.failures) - SHOWN} more"] if len(seen.failures) > SHOWN else []
        print("\n".join(told), file=sys.stderr, flush=True)
    os._exit(0 if good else 1)  # the threads of silent hosts hold nothing up


if __name__ == "__main__":
    main()
