"""Sends the commands of many probes to every node in one request, and reads the replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from dplaunch.fleet.job import Job
from dplaunch.model.check import Command, Facts, Output
from dplaunch.model.cluster import ClusterSpec, RuntimeSpec
from dplaunch.model.event import Surveyed
from dplaunch.model.remote import SurveyReply
from dplaunch.preflight.containers import is_outside
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

LIMIT = 300.0
"""Seconds that the survey of one node may take; if the commands of one lane may take longer, they count."""
SLACK = 15.0
SEPARATOR = "\x1f"
"""Separates the name of a probe from the key of its command."""


def make_targets(job: Job, spec: ClusterSpec) -> tuple[ProbeTarget, ...]:
    """Return every node as probes see it, with the host of the plan: a rehearsal is on this machine."""
    by_name = {node.name: node for node in spec.nodes}
    return tuple(
        ProbeTarget(
            spec=spec,
            node=replace(by_name[plan.name], host=plan.host, address=plan.address),
            plan=replace(plan, runtime=RuntimeSpec()) if outside else plan,
            outside=outside,
            rehearsal=job.plan.rehearsal,
        )
        for plan in job.plan.nodes
        for outside in [is_outside(job, plan)]
    )


def run_surveys(
    job: Job,
    nodes: Sequence[ProbeTarget],
    probes: Sequence[Probe],
    seen: EarlierFacts,
    *,
    titles: Sequence[str] = (),
) -> dict[str, SurveyReply]:
    """Run all commands of these probes on all reachable nodes. Returns node → survey.

    ``titles``: patterns of the command lines of engines. With them a node looks for foreign engines too, and
    reads every process of the machine for that. A node that is lost or does not reply is missing in the
    result, and is in ``job.driver.unreached``.
    """
    reached = [target for target in nodes if target.name in job.driver.reached]
    requests = {t.name: make_request(t, probes, seen, titles=titles) for t in reached}
    patience = max((fields["limit"] for fields in requests.values()), default=0.0) + SLACK

    def progress(node: str, done: int, count: int) -> None:
        job.emit(Surveyed(at=job.now, node=node, done=done, count=count))

    return job.driver.survey(requests, patience, progress)


def parse_facts(probes: Iterable[Probe], target: ProbeTarget, survey: SurveyReply) -> dict[str, Facts]:
    """Return probe name → facts, for the probes that had commands to run on this node."""
    outputs: dict[str, dict[str, Output]] = {}
    for full, result in survey.results:
        probe, _, key = full.partition(SEPARATOR)
        outputs.setdefault(probe, {})[key] = Output(**result)
    return {probe.name: probe.parse(target, outputs[probe.name]) for probe in probes if probe.name in outputs}


def make_request(
    target: ProbeTarget, probes: Sequence[Probe], seen: EarlierFacts, *, titles: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields of a survey request with all commands of these probes for one node."""
    asked = [probe for probe in probes if not (probe.inside and target.outside)]
    commands = [(probe, command) for probe in asked for command in probe.commands(target, seen)]
    ports = sorted({port for process in target.plan.processes for port in process.ports})
    return {
        "commands": [_encode(probe, command) for probe, command in commands],
        "ports": ports,
        "devices": [] if target.rehearsal else sorted(target.needed_devices),
        "address": target.node.address,
        "titles": list(titles),
        "limit": max(LIMIT, _find_longest(command for _, command in commands) + SLACK),
    }


def _find_longest(commands: Iterable[Command]) -> float:
    """Return how many seconds the slowest lane takes if each of its commands takes all its time."""
    lanes = grouped((command.lane or command, command.timeout) for command in commands)
    return max((sum(times) for times in lanes.values()), default=0.0)


def _encode(probe: Probe, command: Command) -> dict[str, Any]:
    return {
        "key": f"{probe.name}{SEPARATOR}{command.key}",
        "argv": list(command.argv),
        "path": command.path,
        "timeout": command.timeout,
        "lane": command.lane,
        "again": command.again,
    }
