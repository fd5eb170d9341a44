"""Findings of a preflight: the worst first, of these the rarest; equal ones folded over nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.check import CheckReport, Finding, FoldedFinding, Level, fold_findings
from dplaunch.model.plan import Plan
from dplaunch.ranges import fold, grouped
from dplaunch.view import folding, report, style
from dplaunch.view.table import tabulate
from dplaunch.words import plural

LOGIN = "host.login"
_ORDER = tuple(Level)
_STYLES = {Level.FAIL: style.BAD, Level.WARN: style.WARN, Level.OK: style.GOOD, Level.ABSENT: style.DIM}
_LABELS = {Level.FAIL: "FAIL", Level.WARN: "warn", Level.OK: "ok", Level.ABSENT: "n/a"}


def render(plan: Plan, checked: CheckReport, *, verbose: int) -> RenderableType:
    """One line per kind of finding. Without ``verbose``, all that is well is one line per probe."""
    kinds = _ranked(checked.findings)
    listed = kinds if verbose else [*_bad(kinds), *_well(kinds)]
    rows = [row for kind in listed for row in _rows(kind)]
    return Group(
        _headline(plan, checked), tabulate(("", "PROBE", "NODES", "FOUND"), rows, flex=("NODES", "FOUND"))
    )


def render_fixes(checked: CheckReport) -> Text:
    """Everything wrong, by node: as comments, with the command that would repair it where there is one."""
    wrong = _bad(_ranked(checked.findings))
    if not wrong:
        return Text("# nothing wrong: nothing to repair")
    parts = ["# Read these, then run them yourself: dplaunch changes no machine."]
    for finding, nodes in wrong:
        parts.append(f"# {finding.probe} on {fold(nodes)}: {style.plain(finding.text)}")
        parts.append(finding.fix or f"# → {style.plain(finding.remedy) or 'no command repairs it'}")
    return style.lines(*parts)


def to_json(plan: Plan, checked: CheckReport) -> dict[str, Any]:
    """``{cluster, seconds, failed, findings: [{level, probe, node, text}], nodes: [{node, facts}]}``."""
    return {
        "cluster": plan.cluster,
        "seconds": round(checked.seconds, 3),
        "failed": checked.failed,
        "findings": [
            {
                "level": finding.level.value,
                "probe": finding.probe,
                "node": finding.node or None,
                "text": finding.text,
                "remedy": finding.remedy or None,
                "fix": finding.fix or None,
            }
            for finding in sorted(checked.findings, key=_rank)
        ],
        "nodes": [
            {"node": n.node, "seconds": round(n.seconds, 3), "problem": n.problem or None, "facts": n.facts}
            for n in checked.nodes
        ],
    }


def page(plan: Plan, checked: CheckReport) -> str:
    """The HTML report."""
    kinds = _ranked(checked.findings)
    rows = [report.HtmlRow(_cells(kind), _level(kind[0])) for kind in kinds]
    times = [
        report.HtmlRow((n.node, durations.describe(n.seconds), n.problem), "fail" if n.problem else "")
        for n in checked.nodes
    ]
    return report.page(
        f"{plan.title}: preflight",
        (_headline(plan, checked).plain, plan.engine, f"model {plan.served_model_name} ({plan.model})"),
        (
            report.HtmlTable("Findings", ("", "Probe", "Nodes", "Found", "What to do"), rows),
            report.HtmlTable("Nodes", ("Node", "Its own time", "Problem"), times),
        ),
    )


def _ranked(findings: Sequence[Finding]) -> list[FoldedFinding]:
    """Equal findings as one, the worst first, of these the rarest."""
    kinds = (_together(like) for like in grouped((_shape(f), f) for f in findings).values())
    return sorted(chain(*kinds), key=lambda kind: (_ORDER.index(kind[0].level), len(kind[1])))


def _shape(finding: Finding) -> tuple[str, ...]:
    """Of nodes that are unreachable for like reasons the same; empty where only equal findings are one."""
    if finding.probe != LOGIN or finding.level is not Level.FAIL:
        return ()
    return tuple(folding.mask(text, finding.node) for text in (finding.text, finding.remedy))


def _together(findings: Sequence[Finding]) -> list[FoldedFinding]:
    if not _shape(findings[0]):
        return fold_findings(findings)
    text, remedy = (folding.join([getattr(f, part) for f in findings]) for part in ("text", "remedy"))
    return fold_findings(replace(finding, text=text, remedy=remedy) for finding in findings)


def _bad(kinds: Sequence[FoldedFinding]) -> list[FoldedFinding]:
    return [kind for kind in kinds if kind[0].level in (Level.FAIL, Level.WARN)]


def _well(kinds: Sequence[FoldedFinding]) -> Iterator[FoldedFinding]:
    """One line per probe: the finding of most nodes, for all of them."""
    well = grouped((kind[0].probe, kind) for kind in kinds if kind[0].level is Level.OK)
    for probe, mine in well.items():
        finding, most = max(mine, key=lambda kind: len(kind[1]))
        nodes = tuple(node for _, names in mine for node in names)
        text = (
            finding.text
            if len(mine) == 1
            else f"{finding.text} ({fold(most) or 'all'}; similar on the others, see -v)"
        )
        yield Finding(probe=probe, level=Level.OK, text=text), nodes


def _headline(plan: Plan, checked: CheckReport) -> Text:
    levels = [finding.level for finding, _ in _ranked(checked.findings)]
    wrong, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
    summary = (
        ", ".join(part for part in (wrong and f"{wrong} wrong", warned and plural(warned, "warning")) if part)
        or "nothing wrong"
    )
    colour = style.BAD if wrong else style.WARN if warned else style.GOOD
    took = f"{plural(len(plan.nodes), 'node')} checked in {durations.describe(checked.seconds)}"
    return Text.assemble((plan.title, style.HEAD), f": {took}: ", (summary, colour))


def _rows(kind: FoldedFinding) -> Iterator[tuple[Text, Text, Text, Text]]:
    finding, nodes = kind
    mark = Text(_LABELS[finding.level], _STYLES[finding.level])
    text = Text(style.plain(finding.text))
    yield mark, Text(finding.probe), Text(fold(nodes), style.NAME), text
    if finding.remedy and finding.level is not Level.OK:
        yield Text(), Text(), Text(), Text(f"→ {style.plain(finding.remedy)}", style.DIM)


def _cells(kind: FoldedFinding) -> tuple[str, ...]:
    finding, nodes = kind
    return _LABELS[finding.level], finding.probe, fold(nodes), finding.text, finding.remedy


def _level(finding: Finding) -> str:
    return {Level.FAIL: "fail", Level.WARN: "warn", Level.OK: "ok"}.get(finding.level, "")


def _rank(finding: Finding) -> tuple[int, str, str]:
    return _ORDER.index(finding.level), finding.probe, finding.node
