"""How ``up`` looks at the nodes: the quick part of ``check`` first; while engines load, what changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job, need_all, phase
from dplaunch.model.check import Finding, FoldedFinding, Level, fold_findings
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.observed import Observed
from dplaunch.model.remote import SurveyReply
from dplaunch.preflight import fingerprint, node
from dplaunch.preflight.survey import ask, facts, read, survey_fields, targets
from dplaunch.preflight.walk import CheckOptions, judged, probes
from dplaunch.probes.probe import Probe
from dplaunch.ranges import fold
from dplaunch.words import plural

PATIENCE = 10.0
"""Seconds that answers of nodes are waited for when all else is done."""


class FirstLook:
    """The preflight of one ``up``."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._saved: set[str] = set()
        self._waiting: set[str] = set()
        self._refused: set[str] = set()
        self._changed: list[Finding] = []

    def before(self, job: Job, observed: Observed) -> None:
        """The quick part, in the sessions that are open. Warnings are notes, anything worse raises."""
        with phase(job, "check", plural(len(job.driver.reached), "node")):
            found = self._quick(job, observed)
        need_all(job)
        _note(job, [f for f in found if f.level is Level.WARN])
        wrong = fold_findings(f for f in found if f.level is Level.FAIL)
        if wrong:
            # the first one's remedy is the error's hint, and not said again
            hint = wrong[0][0].remedy
            first, *more = (_told(kind, hint) for kind in wrong)
            raise DplaunchError(
                f"{first}; nothing was started", hint=hint or "dplaunch check", detail=tuple(more)
            )

    def meanwhile(self, job: Job) -> None:
        """Ask the nodes that have a fingerprint for the rest of it, which would hold a start up.

        Nothing is judged here: a fault that came since shows as what changed, and only so.
        """
        steady = [p for p in self._probes(job) if p.steady and not p.quick]
        nodes = {t.name: t for t in targets(job, self._spec) if t.name in self._saved}
        self._waiting = set(nodes)

        def take(name: str, reply: SurveyReply | None) -> None:
            self._waiting.discard(name)
            if reply is not None:
                answer = read(reply)
                now = fingerprint.of(steady, facts(steady, nodes[name], answer))
                self._changed += _named(fingerprint.drift(name, answer.saved, now))
            else:
                self._refused.add(name)
            if not self._waiting:
                self._tell_changes(job)

        job.driver.survey_aside({name: survey_fields(t, steady, {}) for name, t in nodes.items()}, take)

    def report(self, job: Job) -> None:
        """What changed since ``check --save``, and of which nodes that is not known."""
        if self._waiting:
            with phase(job, "compare", plural(len(self._waiting), "node")):
                job.driver.listen(
                    _ignore,
                    until=lambda: not self._waiting & set(job.driver.reached),
                    deadline=job.now + PATIENCE,
                )
        self._tell_changes(job)
        unknown = self._waiting | self._refused
        if unknown:
            text = f"{fold(unknown)}: what changed since `check --save` is not known; `dplaunch check` tells"
            job.note(text)
        self._waiting, self._refused = set(), set()

    def _tell_changes(self, job: Job) -> None:
        _note(job, self._changed)
        self._changed = []

    def _probes(self, job: Job) -> tuple[Probe, ...]:
        """Weights are not read whole: engines are reading them."""
        return probes(CheckOptions(weights="size"), rehearsal=job.plan.rehearsal)

    def _quick(self, job: Job, observed: Observed) -> tuple[Finding, ...]:
        """One request per node, no tool that waits."""
        chosen = [p for p in self._probes(job) if p.quick]
        nodes = targets(job, self._spec)
        answers = ask(job, nodes, chosen, {})
        known = tuple(replace(t, ours=answers[t.name].ours) for t in nodes if t.name in answers)
        seen = {t.name: facts(chosen, t, answers[t.name]) for t in known}
        self._saved = {name for name, answer in answers.items() if answer.saved}
        prints = {name: fingerprint.of(chosen, known_facts) for name, known_facts in seen.items()}
        verdicts = tuple(judged(chosen, known, seen))
        return (
            *node.clocks(job),
            *node.ports(known, answers, observed),
            *verdicts,
            *_named(fingerprint.drifts(prints, answers, verdicts)),
        )


def _named(changes: Iterable[Finding]) -> Iterator[Finding]:
    """With the probe in the text, which a note has no column for."""
    return (replace(change, text=f"{change.probe} {change.text}") for change in changes)


def _ignore(*_: object) -> None:
    """Nobody waits for what else arrives."""


def _note(job: Job, findings: Sequence[Finding]) -> None:
    for kind in fold_findings(findings):
        job.note(_told(kind))


def _told(kind: FoldedFinding, known: str = "") -> str:
    """One line; without the remedy where it is ``known``."""
    finding, nodes = kind
    remedy = "" if finding.remedy == known else finding.remedy
    return f"{fold(nodes)}: {finding.text}" + (f"; {remedy}" if remedy else "")
