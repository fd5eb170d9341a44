"""The walk of ``check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.engines import titles
from dplaunch.fleet.job import Job, connect, phase
from dplaunch.model.check import CheckReport, Facts, Finding, Level, NodeSurvey
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import Plan
from dplaunch.model.remote import SurveyReply
from dplaunch.preflight import basics, fingerprint, reach
from dplaunch.preflight.containers import check_containers
from dplaunch.preflight.ranktable import judge_table, name_devices_of
from dplaunch.preflight.survey import make_targets, parse_facts, run_surveys
from dplaunch.probes.gpu import PROBE as GPUS
from dplaunch.probes.hosts import PROBES as HOSTS
from dplaunch.probes.hosts import make_weights_probe
from dplaunch.probes.npu import PROBES as NPUS
from dplaunch.probes.npu import make_ping_probe
from dplaunch.probes.npu_pairs import NamedDevices
from dplaunch.probes.probe import Probe, ProbeTarget
from dplaunch.ranktable import NodeDevices
from dplaunch.words import plural


class CheckOptions(Struct, frozen=True, kw_only=True):
    """The flags of ``check`` that the walk needs."""

    all_pairs: bool = False
    """Every NPU pings every other, instead of its neighbour only."""
    weights: str = ""
    """How to compare them: by ``size``, or by ``sha256``, which reads them; empty: as the file asks."""
    table: tuple[NodeDevices, ...] = ()
    """A rank table: its devices are compared, and every two of them ping each other."""
    save: str = ""
    """The day to save in the fingerprints; empty: do not save them."""


def choose_probes(options: CheckOptions, plan: Plan, named: NamedDevices | None = None) -> tuple[Probe, ...]:
    """Return all probes; where nodes have neither accelerators nor real engines, those of hosts.

    So it is in a rehearsal, and on a node from which pods are deployed.
    """
    bare = plan.rehearsal or plan.deployment is not None
    ping = make_ping_probe(options.all_pairs, named)
    probes = (*HOSTS, make_weights_probe(options.weights), *NPUS, ping, GPUS)
    return tuple(p for p in probes if not bare or p.name.startswith("host."))


def check(job: Job, spec: ClusterSpec, options: CheckOptions) -> CheckReport:
    """Check every node and the network between them. An unreachable node is a finding, not an error."""
    began = job.now
    connect(job)
    named = name_devices_of(options.table, spec)
    probes = choose_probes(options, job.plan, named)
    observed = job.driver.observe()
    boxes = tuple(check_containers(job))
    nodes = make_targets(job, spec)
    with phase(job, "probe", plural(len(job.driver.reached), "node")):
        seen, surveys = _run_stages(job, nodes, probes)
    known = tuple(replace(t, ours=surveys[t.name].ours) for t in nodes if t.name in surveys)
    with phase(job, "connect nodes", "TCP between the nodes"):
        tried = reach.try_links(job)
    prints = {name: fingerprint.make_fingerprint(probes, facts) for name, facts in seen.items()}
    results = tuple(judge(probes, known, seen))
    drift = tuple(fingerprint.find_drift(prints, surveys, results))
    saved = _save(job, prints, options.save) if options.save else _report_unchanged(surveys, drift)
    findings = (
        *job.driver.examine(),
        *basics.judge_logins(job),  # at the end, since a node may be lost on the way
        *basics.judge_clocks(job),
        *boxes,
        *basics.judge_ports(known, surveys, observed),
        *basics.find_claims(surveys),
        *basics.find_leftovers(job, observed),
        *basics.find_strangers(surveys),
        *results,
        *judge_table(options.table, seen),
        *reach.judge_links(tried),
        *drift,
        *saved,
    )
    by_node = tuple(_summarise(job, t.name, seen, surveys) for t in nodes)
    return CheckReport(findings=findings, nodes=by_node, seconds=job.now - began)


def _run_stages(
    job: Job, nodes: Sequence[ProbeTarget], probes: Sequence[Probe]
) -> tuple[dict[str, dict[str, Facts]], dict[str, SurveyReply]]:
    """Return facts and surveys by node. The commands of the second stage depend on the facts of the first."""
    seen: dict[str, dict[str, Facts]] = {}
    surveys: dict[str, SurveyReply] = {}
    for stage in (0, 1):
        mine = [probe for probe in probes if probe.stage == stage]
        # in a rehearsal all nodes' engines run on this machine
        wanted = titles() if stage == 0 and not job.plan.rehearsal else ()
        for name, survey in run_surveys(job, nodes, mine, seen, titles=wanted).items():
            target = next(t for t in nodes if t.name == name)
            seen[name] = {**seen.get(name, {}), **parse_facts(mine, target, survey)}
            before = surveys.get(name)
            both = survey.seconds + (before.seconds if before else 0.0)
            surveys[name] = replace(before or survey, seconds=both)
    return seen, surveys


def judge(
    probes: Sequence[Probe], known: Sequence[ProbeTarget], seen: Mapping[str, Mapping[str, Facts]]
) -> Iterator[Finding]:
    """Yield the findings of each probe about what it read on all nodes."""
    for probe in probes:
        read = {name: facts[probe.name] for name, facts in seen.items() if probe.name in facts}
        yield from probe.judge(known, read)


def _report_unchanged(surveys: Mapping[str, SurveyReply], drift: Sequence[Finding]) -> Iterator[Finding]:
    changed = {finding.node for finding in drift}
    for name, survey in surveys.items():
        if survey.saved and name not in changed:
            text = f"nothing has changed since {survey.saved.get('day', '?')}"
            yield Finding(probe="fingerprint", level=Level.OK, node=name, text=text)


def _save(job: Job, prints: Mapping[str, Mapping[str, object]], day: str) -> Iterator[Finding]:
    failed = fingerprint.save(job, prints, day)
    for name in prints:
        if name in failed:
            text = "the fingerprint could not be written"
            remedy = "see what host.state reports about the node"
            yield Finding(probe="fingerprint", level=Level.FAIL, node=name, text=text, remedy=remedy)
        else:
            text = "fingerprint saved; later checks report what has changed"
            yield Finding(probe="fingerprint", level=Level.OK, node=name, text=text)


def _summarise(
    job: Job, name: str, seen: Mapping[str, Mapping[str, Facts]], surveys: Mapping[str, SurveyReply]
) -> NodeSurvey:
    error = job.driver.unreached.get(name)
    seconds = surveys[name].seconds if name in surveys else 0.0
    return NodeSurvey(
        node=name, facts=seen.get(name, {}), seconds=seconds, problem=error.text if error else ""
    )
