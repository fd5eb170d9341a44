"""Rules that compare several keys. Each rule lists the keys it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.mend import broken_by, touches
from dplaunch.spec.rules import (
    additions,
    deployed,
    devices,
    nodes,
    pods,
    ports,
    roles,
    runtime,
    sections,
    transfer,
)
from dplaunch.spec.rules.rule import Case

ROLE_RULES = (*roles.ROLE_RULES, *ports.ROLE_RULES)
RULES = (
    *nodes.RULES,
    *pods.RULES,
    *deployed.RULES,
    *sections.RULES,
    *transfer.RULES,
    *runtime.RULES,
    *devices.RULES,
    *ports.RULES,
    *additions.RULES,
)


def check(case: Case, broken: frozenset[KeyPath]) -> tuple[Finding, ...]:
    """Return what the rules find. A rule that reads a broken key is skipped: it would only repeat."""
    findings: list[Finding] = []
    for reads, apply in _applications(case):
        if not touches(broken, reads):
            found = tuple(apply())
            broken |= broken_by(found)
            findings += found
    return tuple(findings)


def _applications(case: Case) -> Iterator[tuple[tuple[str, ...], Callable[[], Iterator[Finding]]]]:
    """Every rule on everything it applies to: first each role for itself, then the whole."""
    for role in case.spec.roles:
        for of_role in ROLE_RULES:
            reads = tuple(path.replace("{role}", role.name) for path in of_role.reads)
            yield reads, partial(of_role.check, case, role)
    for rule in RULES:
        yield rule.reads, partial(rule.check, case)
