"""The preflight of ``up``: the quick part of ``check`` before the start, drift while engines load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import Preflight
from dplaunch.fleet.job import Job, need_all, phase
from dplaunch.model.check import Finding, FoldedFinding, Level, fold_findings
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.observed import Observed
from dplaunch.model.remote import SurveyReply
from dplaunch.preflight import basics, fingerprint
from dplaunch.preflight.provide import provide
from dplaunch.preflight.survey import make_request, make_targets, parse_facts, run_surveys
from dplaunch.preflight.walk import CheckOptions, choose_probes, judge
from dplaunch.probes.probe import Probe
from dplaunch.ranges import fold
from dplaunch.words import plural

PATIENCE = 10.0
"""Seconds to wait for the replies of nodes when everything else is done."""


class FirstLook(Preflight):
    """The preflight of one ``up``."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._saved: set[str] = set()
        self._waiting: set[str] = set()
        self._refused: set[str] = set()
        self._changed: list[Finding] = []

    def before(self, job: Job, observed: Observed) -> None:
        """Check the nodes quickly, then provide what a start needs there.

        Warnings become notes; raises DplaunchError for anything worse.
        """
        with phase(job, "check", plural(len(job.driver.reached), "node")):
            found = self._quick(job, observed)
        need_all(job)
        _note(job, [f for f in found if f.level is Level.WARN])
        wrong = fold_findings(f for f in found if f.level is Level.FAIL)
        if wrong:
            # the remedy of the first finding is the error's hint, and is not repeated
            hint = wrong[0][0].remedy
            first, *more = (_describe(folded, hint) for folded in wrong)
            raise DplaunchError(
                f"{first}; nothing was started", hint=hint or "run `dplaunch check`", detail=tuple(more)
            )
        provide(job, self._spec)

    def meanwhile(self, job: Job) -> None:
        """Ask the nodes with a fingerprint for the rest of their facts, which takes too long before a start.

        These facts are not judged: a new fault is reported as a change.
        """
        steady = [p for p in self._probes(job) if p.steady and not p.quick]
        nodes = {t.name: t for t in make_targets(job, self._spec) if t.name in self._saved}
        self._waiting = set(nodes)

        def take(name: str, reply: SurveyReply | None) -> None:
            self._waiting.discard(name)
            if reply is not None:
                now = fingerprint.make_fingerprint(steady, parse_facts(steady, nodes[name], reply))
                self._changed += _prefix_probe(fingerprint.compare(name, reply.saved, now))
            else:
                self._refused.add(name)
            if not self._waiting:
                self._report_changes(job)

        job.driver.survey_aside({name: make_request(t, steady, {}) for name, t in nodes.items()}, take)

    def report(self, job: Job) -> None:
        """Report as notes what has changed since ``check --save``, and the nodes that did not reply."""
        if self._waiting:
            with phase(job, "compare", plural(len(self._waiting), "node")):
                job.driver.listen(
                    lambda _: None,
                    until=lambda: not self._waiting & set(job.driver.reached),
                    deadline=job.now + PATIENCE,
                )
        self._report_changes(job)
        unknown = self._waiting | self._refused
        if unknown:
            why = "there was no reply in time; run `dplaunch check`"
            job.note(f"{fold(unknown)}: changes since `check --save` are unknown, because {why}")
        self._waiting, self._refused = set(), set()

    def _report_changes(self, job: Job) -> None:
        _note(job, self._changed)
        self._changed = []

    def _probes(self, job: Job) -> tuple[Probe, ...]:
        """All probes; they compare weights by size only, since engines are reading the files."""
        return choose_probes(CheckOptions(weights="size"), job.plan)

    def _quick(self, job: Job, observed: Observed) -> tuple[Finding, ...]:
        """Run the quick probes, in one request to each node."""
        quick = [p for p in self._probes(job) if p.quick]
        nodes = make_targets(job, self._spec)
        surveys = run_surveys(job, nodes, quick, {})
        known = tuple(replace(t, ours=surveys[t.name].ours) for t in nodes if t.name in surveys)
        seen = {t.name: parse_facts(quick, t, surveys[t.name]) for t in known}
        self._saved = {name for name, survey in surveys.items() if survey.saved}
        prints = {name: fingerprint.make_fingerprint(quick, facts) for name, facts in seen.items()}
        results = tuple(judge(quick, known, seen))
        return (
            *basics.judge_clocks(job),
            *basics.judge_ports(known, surveys, observed),
            *basics.find_claims(surveys),
            *results,
            *_prefix_probe(fingerprint.find_drift(prints, surveys, results)),
        )


def _prefix_probe(changes: Iterable[Finding]) -> Iterator[Finding]:
    """Put the name of the probe in front of the text, since a note has no column for it."""
    return (replace(change, text=f"{change.probe} {change.text}") for change in changes)


def _note(job: Job, findings: Sequence[Finding]) -> None:
    for folded in fold_findings(findings):
        job.note(_describe(folded))


def _describe(folded: FoldedFinding, known: str = "") -> str:
    """Return one line about a finding, without a remedy that is ``known`` already."""
    finding, nodes = folded
    remedy = "" if finding.remedy == known else finding.remedy
    return f"{fold(nodes)}: {finding.text}" + (f"; {remedy}" if remedy else "")
