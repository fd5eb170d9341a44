"""The walk of ``check``, and the quick part of it that ``up`` asks first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job, connect, missing, phase
from dplaunch.fleet.observe import observe
from dplaunch.fold import fold
from dplaunch.frozen import dataclass
from dplaunch.model.check import Alike, Checked, Facts, Finding, Level, NodeSurvey, alike
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.event import Note
from dplaunch.model.observed import Observed
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
    sha256: bool = False
    """Weights are read whole, not compared by name and size."""
    save: str = ""
    """The day to write into the fingerprint; empty: none is saved."""


def probes(options: CheckOptions, *, rehearsal: bool) -> tuple[Probe, ...]:
    """All probes. A rehearsal has no accelerator, no engine and no weights: what is the host's is asked."""
    every = (*HOSTS, weights(sha256=options.sha256), *NPUS, ping(options.all_pairs), GPUS)
    return tuple(p for p in every if not rehearsal or p.name.startswith("host."))


def check(job: Job, spec: ClusterSpec, options: CheckOptions) -> Checked:
    """Ask every node everything. Never raises for a node: one not reached is a finding."""
    began = job.now
    connect(job)
    chosen = probes(options, rehearsal=job.plan.rehearsal)
    observed = observe(job)
    nodes = targets(job, spec)
    with phase(job, "probe", plural(len(job.fleet.sessions), "node")):
        seen, answers = _stages(job, nodes, chosen)
    known = tuple(replace(t, ours=answers[t.name].ours) for t in nodes if t.name in answers)
    with phase(job, "connect nodes", "TCP between the nodes"):
        tried = reach.attempt(job)
    prints = {name: fingerprint.of(chosen, read) for name, read in seen.items()}
    judged = tuple(_judged(chosen, known, seen))
    told = {(f.probe, f.node) for f in judged if f.level is not Level.OK}  # a fault is no drift besides
    drift = tuple(f for f in _drift(prints, answers) if (f.probe, f.node) not in told)
    kept = tuple(_saved(job, prints, options.save) if options.save else _unchanged(answers, drift))
    findings = (
        *node.reached(job),  # after all was asked: a node may be lost on the way
        *node.clocks(job),
        *node.ports(known, answers, observed),
        *node.leftovers(job, observed),
        *judged,
        *reach.judge(tried),
        *drift,
        *kept,
    )
    surveys = tuple(_survey(job, t.name, seen, answers) for t in nodes)
    return Checked(findings=findings, nodes=surveys, seconds=job.now - began)


def quick(job: Job, spec: ClusterSpec, observed: Observed) -> tuple[Finding, ...]:
    """The cheap part, in a session that is open: one request per node, no tool that waits."""
    chosen = [p for p in probes(CheckOptions(), rehearsal=job.plan.rehearsal) if p.quick]
    nodes = targets(job, spec)
    answers = ask(job, nodes, chosen, {})
    known = tuple(replace(t, ours=answers[t.name].ours) for t in nodes if t.name in answers)
    seen = {t.name: facts(chosen, t, answers[t.name]) for t in known}
    return (
        *node.clocks(job),
        *node.ports(known, answers, observed),
        *_judged(chosen, known, seen),
        *_drift({name: fingerprint.of(chosen, read) for name, read in seen.items()}, answers),
    )


def guard_start(job: Job, spec: ClusterSpec, observed: Observed) -> None:
    """``quick`` before a start: warnings are notes, anything worse raises."""
    with phase(job, "check", plural(len(job.fleet.sessions), "node")):
        found = quick(job, spec, observed)
    if job.fleet.unreached:
        raise missing(job.plan, job.fleet.unreached)
    for kind in alike(f for f in found if f.level is Level.WARN):
        job.emit(Note(at=job.now, text=_told(kind)))
    wrong = alike(f for f in found if f.level is Level.FAIL)
    if wrong:
        # the first one's remedy is the error's hint, and not said again
        hint = wrong[0][0].remedy
        first, *more = (_told(kind, hint) for kind in wrong)
        raise DplaunchError(
            f"{first}; nothing was started", hint=hint or "dplaunch check", detail=tuple(more)
        )


def _told(kind: Alike, known: str = "") -> str:
    """One line; without the remedy where it is ``known``."""
    finding, nodes = kind
    remedy = "" if finding.remedy == known else finding.remedy
    return f"{fold(nodes)}: {finding.text}" + (f"; {remedy}" if remedy else "")


def _stages(
    job: Job, nodes: Sequence[Target], chosen: Sequence[Probe]
) -> tuple[dict[str, dict[str, Facts]], dict[str, Answer]]:
    """Facts and answers per node; the second stage asks with what the first has seen."""
    seen: dict[str, dict[str, Facts]] = {}
    answers: dict[str, Answer] = {}
    for stage in (0, 1):
        mine = [probe for probe in chosen if probe.stage == stage]
        for name, answer in ask(job, nodes, mine, seen).items():
            target = next(t for t in nodes if t.name == name)
            seen[name] = {**seen.get(name, {}), **facts(mine, target, answer)}
            before = answers.get(name)
            both = answer.seconds + (before.seconds if before else 0.0)
            answers[name] = replace(before or answer, seconds=both)
    return seen, answers


def _judged(
    chosen: Sequence[Probe], known: Sequence[Target], seen: Mapping[str, Mapping[str, Facts]]
) -> Iterator[Finding]:
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


def _drift(prints: Mapping[str, Mapping[str, object]], answers: Mapping[str, Answer]) -> tuple[Finding, ...]:
    return tuple(f for name, now in prints.items() for f in fingerprint.drift(name, answers[name].saved, now))


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
    error = job.fleet.unreached.get(name)
    seconds = answers[name].seconds if name in answers else 0.0
    return NodeSurvey(
        node=name, facts=seen.get(name, {}), seconds=seconds, problem=error.text if error else ""
    )
