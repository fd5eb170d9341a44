"""Ask every node the commands of many probes in one request, and read the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dplaunch.fleet.job import Job
from dplaunch.model.check import Command, Facts, Output
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.event import Surveyed
from dplaunch.model.remote import SurveyReply
from dplaunch.probes.probe import Probe, Seen, Target
from dplaunch.ranges import grouped

LIMIT = 300.0
"""Seconds that one node's survey may take, or the commands of one lane; what is not done then is not run."""
SLACK = 15.0
BETWEEN = "\x1f"
"""Parts a probe's name from a command's own key: no key holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one node answered to one survey."""

    outputs: Mapping[str, Mapping[str, Output]]
    """probe → key → output."""
    taken: Sequence[Mapping[str, Any]] = ()
    """Ports that are listened on: {port, pid, user, command}."""
    ours: frozenset[int] = frozenset()
    strangers: Sequence[Mapping[str, Any]] = ()
    """Engines and routers that no guard started: {pid, user, command, pids: of its tree}."""
    saved: Mapping[str, Any] | None = None
    """What ``check --save`` left there."""
    seconds: float = 0.0
    """By the node's own clock."""


def targets(job: Job, spec: ClusterSpec) -> tuple[Target, ...]:
    """Every node as probes see it: where it is planned to be (a rehearsal is on this machine)."""
    by_name = {node.name: node for node in spec.nodes}
    return tuple(
        Target(
            spec=spec,
            node=replace(by_name[plan.name], host=plan.host, address=plan.address),
            plan=plan,
            rehearsal=job.plan.rehearsal,
        )
        for plan in job.plan.nodes
    )


def ask(
    job: Job, nodes: Sequence[Target], probes: Sequence[Probe], seen: Seen, *, titles: Sequence[str] = ()
) -> dict[str, Answer]:
    """All commands of these probes on all nodes that were reached; node → answer.

    ``titles``: look for engines of others too, by how their command lines begin, which reads every process of
    the machine.
    A node that is lost, stays silent or cannot answer is missing, and in ``job.driver.unreached``.
    """
    reached = [target for target in nodes if target.name in job.driver.reached]
    surveys = {t.name: survey_fields(t, probes, seen, titles=titles) for t in reached}
    patience = max((fields["limit"] for fields in surveys.values()), default=0.0) + SLACK

    def progress(node: str, done: int, count: int) -> None:
        job.emit(Surveyed(at=job.now, node=node, done=done, count=count))

    return {node: read(reply) for node, reply in job.driver.survey(surveys, patience, progress).items()}


def facts(probes: Iterable[Probe], target: Target, answer: Answer) -> dict[str, Facts]:
    """By probe: what it read; only probes that had a command to run on this node."""
    by_name = {probe.name: probe for probe in probes}
    return {
        name: by_name[name].parse(target, outputs)
        for name, outputs in answer.outputs.items()
        if name in by_name
    }


def survey_fields(
    target: Target, probes: Sequence[Probe], seen: Seen, *, titles: Sequence[str] = ()
) -> dict[str, Any]:
    """All commands of these probes for one node, as a survey takes them."""
    asked = [(probe, command) for probe in probes for command in probe.commands(target, seen)]
    ports = sorted({port for process in target.plan.processes for port in process.ports})
    return {
        "commands": [_wire(probe, command) for probe, command in asked],
        "ports": ports,
        "address": target.node.address,
        "titles": list(titles),
        "limit": max(LIMIT, _longest(command for _, command in asked) + SLACK),
    }


def _longest(commands: Iterable[Command]) -> float:
    """Seconds of the slowest lane, should each command take all its time; a sick tool is given up."""
    lanes = grouped((command.lane or command, command.timeout) for command in commands)
    return max((sum(times) for times in lanes.values()), default=0.0)


def _wire(probe: Probe, command: Command) -> dict[str, Any]:
    return {
        "key": f"{probe.name}{BETWEEN}{command.key}",
        "argv": list(command.argv),
        "path": command.path,
        "timeout": command.timeout,
        "lane": command.lane,
        "again": command.again,
    }


def read(reply: SurveyReply) -> Answer:
    """A survey's reply, outputs by probe."""
    outputs: dict[str, dict[str, Output]] = {}
    for full, result in reply.results:
        probe, _, key = full.partition(BETWEEN)
        outputs.setdefault(probe, {})[key] = Output(**result)
    return Answer(
        outputs=outputs,
        taken=reply.taken,
        ours=reply.ours,
        strangers=reply.strangers,
        saved=reply.saved,
        seconds=reply.seconds,
    )
