"""Checks without a command of their own: logins, state folders, clocks, ports, other processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.fleet.job import Job
from dplaunch.model.check import Finding, Level
from dplaunch.model.observed import Observed, ObservedProcess
from dplaunch.model.remote import Hello, SurveyReply
from dplaunch.probes.findings import list_some, name_devices
from dplaunch.probes.outputs import clean
from dplaunch.probes.probe import ProbeTarget
from dplaunch.ranges import fold, grouped, ranges
from dplaunch.words import plural, shorten

SKEW_WARN, SKEW_FAIL = 2.0, 60.0
"""Seconds. A small difference only mixes up log lines of different nodes; a large one breaks certificates."""

LONGEST = 60
"""Characters of a foreign command line in a finding."""
NAMED = 3
"""How many foreign processes a finding names."""


def judge_logins(job: Job) -> Iterator[Finding]:
    """Yield ``host.login`` for every node, and ``host.state`` for those that are reachable."""
    for node in job.plan.nodes:
        error = job.driver.unreached.get(node.name)
        if error is not None:
            text = error.text.removeprefix(node.name).removeprefix(":").strip()
            text = text.removeprefix(f"({node.host}) ")
            yield Finding(probe="host.login", level=Level.FAIL, node=node.name, text=text, remedy=error.hint)
            continue
        if node.name not in job.driver.reached:
            text = "there is no pod yet; `dplaunch up` makes it"
            yield Finding(probe="host.login", level=Level.ABSENT, node=node.name, text=text)
            continue
        hello = job.driver.hello(node.name)
        text = f"reachable, Python {hello.python}"
        yield Finding(probe="host.login", level=Level.OK, node=node.name, text=text)
        yield _judge_state(node.name, hello)


def _judge_state(node: str, hello: Hello) -> Finding:
    if hello.writable:
        return Finding(probe="host.state", level=Level.OK, node=node, text="the state folder is writable")
    remedy = "free space, remount the disk writable, or set XDG_STATE_HOME to another folder"
    text = f"the state folder is not writable: {hello.problem}"
    return Finding(probe="host.state", level=Level.FAIL, node=node, text=text, remedy=remedy)


def judge_clocks(job: Job) -> Iterator[Finding]:
    """Yield ``host.clock``: each clock beside the median of all; the operator's own does not matter."""
    # ranks that report to Redis are taken for dead by whose clock is that far ahead
    most = job.plan.registry.expires if job.plan.registry else SKEW_FAIL
    for node, off in job.driver.ahead().items():
        if abs(off) < SKEW_WARN:
            yield Finding(
                probe="host.clock", level=Level.OK, node=node, text="the clock agrees with the other nodes"
            )
            continue
        yield Finding(
            probe="host.clock",
            level=Level.WARN if abs(off) < most else Level.FAIL,
            node=node,
            text=f"the clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the other nodes",
            remedy="synchronise it with chrony or ntp: otherwise log lines of different nodes get mixed up",
            fix="chronyc makestep",
        )


def judge_ports(
    nodes: Sequence[ProbeTarget], surveys: Mapping[str, SurveyReply], observed: Observed
) -> Iterator[Finding]:
    """Yield ``host.ports``: needed ports that other processes hold."""
    running = {(p.node, port): p.name for p in observed.processes if p.alive for port in p.ports}
    for target in nodes:
        survey = surveys.get(target.name)
        if survey is None:
            continue
        strangers = [
            holder
            for holder in survey.taken
            if holder["pid"] not in survey.ours
            and (target.name, holder["port"]) not in running
            and not any(holder["port"] in claim.ports for claim in survey.claims)
        ]
        yield from (_report_taken(target, holder) for holder in strangers)
        if not strangers and any(process.ports for process in target.plan.processes):
            text = "all needed ports are free or belong to this cluster"
            yield Finding(probe="host.ports", level=Level.OK, node=target.name, text=text)


def find_claims(surveys: Mapping[str, SurveyReply]) -> Iterator[Finding]:
    """Yield ``host.clusters``: devices and ports that the plan needs and another cluster's processes hold."""
    for node, survey in surveys.items():
        for cluster, claims in grouped((claim.cluster, claim) for claim in survey.claims).items():
            devices = {device for claim in claims for device in claim.devices}
            ports = {port for claim in claims for port in claim.ports}
            words = [name_devices(devices)] if devices else []
            words += [f"port{'s' if len(ports) > 1 else ''} {ranges(ports)}"] if ports else []
            holders = fold(claim.process for claim in claims)
            yield Finding(
                probe="host.clusters",
                level=Level.FAIL,
                node=node,
                text=f"{' and '.join(words)} in use by {holders} of cluster {cluster}",
                remedy=f"stop {cluster} with `dplaunch down`, or give one of the two other devices and ports "
                "in its file (devices, ports)",
            )


def _report_taken(target: ProbeTarget, holder: Mapping[str, Any]) -> Finding:
    port = holder["port"]
    owner = next(process.name for process in target.plan.processes if port in process.ports)
    return Finding(
        probe="host.ports",
        level=Level.FAIL,
        node=target.name,
        text=f"port {port} of {owner} is taken by {_describe(holder)}",
        remedy="end that process, or choose other ports in the cluster file (ports, router.port)",
    )


def _describe(process: Mapping[str, Any]) -> str:
    """Return ``pid 4711 (python3 -m http.server) of user anna``, as far as it is known."""
    command = shorten(clean(process["command"]), LONGEST)
    who = f"pid {process['pid']} ({command})" if process["pid"] else "a process of another user"
    return f"{who} of user {process['user']}" if process["user"] else who


def find_strangers(surveys: Mapping[str, SurveyReply]) -> Iterator[Finding]:
    """Yield ``host.leftover`` for foreign engines; ``host.ports`` reports those that hold a needed port."""
    for node, survey in surveys.items():
        holders = {holder["pid"] for holder in survey.taken}
        found = [_describe(one) for one in survey.strangers if not holders.intersection(one["pids"])]
        if found:
            yield Finding(
                probe="host.leftover",
                level=Level.WARN,
                node=node,
                text=f"engines or routers that dplaunch did not start run here: {list_some(found, NAMED)}",
                remedy="check whether they hold devices or ports; dplaunch never stops them",
            )


def find_leftovers(job: Job, observed: Observed) -> Iterator[Finding]:
    """Yield ``host.leftover`` for processes of earlier runs of this cluster, known by pid and start time."""
    planned = {process.place for process in job.plan.processes}
    for process in observed.processes:
        if process.left:
            yield _report_left(
                process, f"{process.name} ended and left {plural(len(process.left), 'process')} behind"
            )
        elif process.alive and process.place not in planned:
            text = f"{process.name} (pid {process.pid}) runs, but is not in the cluster file any more"
            yield _report_left(process, text)


def _report_left(process: ObservedProcess, text: str) -> Finding:
    return Finding(
        probe="host.leftover",
        level=Level.WARN,
        node=process.node,
        text=text,
        remedy="run `dplaunch down`: it stops what earlier runs of this cluster left, and nothing else",
    )
