"""The walk of ``check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dplaunch.engines import titles
from dplaunch.fleet.job import Job, connect, phase
from dplaunch.model.check import CheckReport, Facts, Finding, Level, NodeSurvey
from dplaunch.model.cluster import ClusterSpec
from dplaunch.preflight import fingerprint, node, reach
from dplaunch.preflight.survey import Answer, ask, facts, targets
from dplaunch.probes.gpu import PROBE as GPUS
from dplaunch.probes.hosts import PROBES as HOSTS
from dplaunch.probes.hosts import weights
from dplaunch.probes.npu import PROBES as NPUS
from dplaunch.probes.npu import ping
from dplaunch.probes.probe import Probe, Target
from dplaunch.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The flags of ``check`` that the walk needs."""

    all_pairs: bool = False
    """Every NPU pings every other, not only its neighbour."""
    weights: str = ""
    """How they are compared: ``size``, or ``sha256`` to read them whole; empty: as the file says."""
    save: str = ""
    """The day to write into the fingerprint; empty: none is saved."""


def probes(options: CheckOptions, *, rehearsal: bool) -> tuple[Probe, ...]:
    """All probes. A rehearsal has no accelerator, no engine and no weights: what is the host's is asked."""
    every = (*HOSTS, weights(options.weights), *NPUS, ping(options.all_pairs), GPUS)
    return tuple(p for p in every if not rehearsal or p.name.startswith("host."))


def check(job: Job, spec: ClusterSpec, options: CheckOptions) -> CheckReport:
    """Ask every node everything. Never raises for a node: one not reached is a finding."""
    began = job.now
    connect(job)
    chosen = probes(options, rehearsal=job.plan.rehearsal)
    observed = job.driver.observe()
    nodes = targets(job, spec)
    with phase(job, "probe", plural(len(job.driver.reached), "node")):
        seen, answers = _stages(job, nodes, chosen)
    known = tuple(replace(t, ours=answers[t.name].ours) for t in nodes if t.name in answers)
    with phase(job, "connect nodes", "TCP between the nodes"):
        tried = reach.attempt(job)
    prints = {name: fingerprint.of(chosen, read) for name, read in seen.items()}
    verdicts = tuple(judged(chosen, known, seen))
    drift = tuple(fingerprint.drifts(prints, answers, verdicts))
    kept = tuple(_saved(job, prints, options.save) if options.save else _unchanged(answers, drift))
    findings = (
        *node.reached(job),  # after all was asked: a node may be lost on the way
        *node.clocks(job),
        *node.ports(known, answers, observed),
        *node.leftovers(job, observed),
        *node.strangers(answers),
        *verdicts,
        *reach.judge(tried),
        *drift,
        *kept,
    )
    surveys = tuple(_survey(job, t.name, seen, answers) for t in nodes)
    return CheckReport(findings=findings, nodes=surveys, seconds=job.now - began)


def _stages(
    job: Job, nodes: Sequence[Target], chosen: Sequence[Probe]
) -> tuple[dict[str, dict[str, Facts]], dict[str, Answer]]:
    """Facts and answers per node; the second stage asks with what the first has seen."""
    seen: dict[str, dict[str, Facts]] = {}
    answers: dict[str, Answer] = {}
    for stage in (0, 1):
        mine = [probe for probe in chosen if probe.stage == stage]
        # in a rehearsal the other nodes' engines are on the same machine
        wanted = titles() if stage == 0 and not job.plan.rehearsal else ()
        for name, answer in ask(job, nodes, mine, seen, titles=wanted).items():
            target = next(t for t in nodes if t.name == name)
            seen[name] = {**seen.get(name, {}), **facts(mine, target, answer)}
            before = answers.get(name)
            both = answer.seconds + (before.seconds if before else 0.0)
            answers[name] = replace(before or answer, seconds=both)
    return seen, answers


def judged(
    chosen: Sequence[Probe], known: Sequence[Target], seen: Mapping[str, Mapping[str, Facts]]
) -> Iterator[Finding]:
    """What each probe says of what it read on all nodes."""
    for probe in chosen:
        read = {name: facts[probe.name] for name, facts in seen.items() if probe.name in facts}
        if read:
            yield from probe.judge(known, read)


def _unchanged(answers: Mapping[str, Answer], drift: Sequence[Finding]) -> Iterator[Finding]:
    changed = {finding.node for finding in drift}
    for name, answer in answers.items():
        if answer.saved and name not in changed:
            text = f"nothing changed since {answer.saved.get('day', '?')}"
            yield Finding(probe="fingerprint", level=Level.OK, node=name, text=text)


def _saved(job: Job, prints: Mapping[str, Mapping[str, object]], day: str) -> Iterator[Finding]:
    failed = fingerprint.save(job, prints, day)
    for name in prints:
        if name in failed:
            text = "the fingerprint could not be written"
            yield Finding(
                probe="fingerprint", level=Level.FAIL, node=name, text=text, remedy="see host.state"
            )
        else:
            text = "fingerprint saved: later checks show what changed"
            yield Finding(probe="fingerprint", level=Level.OK, node=name, text=text)


def _survey(
    job: Job, name: str, seen: Mapping[str, Mapping[str, Facts]], answers: Mapping[str, Answer]
) -> NodeSurvey:
    error = job.driver.unreached.get(name)
    seconds = answers[name].seconds if name in answers else 0.0
    return NodeSurvey(
        node=name, facts=seen.get(name, {}), seconds=seconds, problem=error.text if error else ""
    )
