"""Fingerprints: facts that should not change, saved on each node by ``check --save`` and compared later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dplaunch.fleet.job import Job
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.model.plan import File
from dplaunch.model.remote import SurveyReply
from dplaunch.probes.probe import Probe
from dplaunch.words import plural, shorten

FILE = "fingerprint.json"
LONGEST = 60
"""Characters of a value in a finding."""
FAULT = (Level.FAIL, Level.WARN)


def make_fingerprint(probes: Iterable[Probe], facts: Mapping[str, Facts]) -> dict[str, Any]:
    """Return ``probe.fact`` → value for the facts of a node that should not change."""
    return {
        f"{probe.name}.{key}": facts[probe.name][key]
        for probe in probes
        if probe.name in facts
        for key in probe.steady
        if facts[probe.name].get(key) not in (None, "", [], {})
    }


def save(job: Job, prints: Mapping[str, Mapping[str, Any]], day: str) -> tuple[str, ...]:
    """Write each node's fingerprint into its state folder. Returns the nodes where that failed."""
    texts = {
        node: json.dumps({"day": day, "values": values}, indent=1, sort_keys=True) + "\n"
        for node, values in prints.items()
    }
    return tuple(job.driver.write({node: File(FILE, text) for node, text in texts.items()}))


def find_drift(
    prints: Mapping[str, Mapping[str, Any]], surveys: Mapping[str, SurveyReply], findings: Iterable[Finding]
) -> Iterator[Finding]:
    """Yield what has changed on each node since its fingerprint, unless ``findings`` report it as a fault."""
    faulty = {(finding.probe, finding.node) for finding in findings if finding.level in FAULT}
    for node, now in prints.items():
        changes = compare(node, surveys[node].saved, now)
        yield from (change for change in changes if (change.probe, node) not in faulty)


def compare(node: str, saved: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a warning for each fact of a node that has changed.

    A fact that is missing on one side, or could not be read, counts as unchanged.
    """
    values = (saved or {}).get("values")
    if not isinstance(values, Mapping):
        return
    day = (saved or {}).get("day", "?")
    for key, value in now.items():
        changes = list(_find_changes(values.get(key), json.loads(json.dumps(value)))) if key in values else []
        if changes:
            probe, _, fact = key.rpartition(".")
            (place, was, is_now), more = changes[0], len(changes) - 1
            text = f"{fact}{place} was {_format(was)} on {day} and is now {_format(is_now)}"
            yield Finding(
                probe=probe,
                level=Level.WARN,
                node=node,
                text=text + (f" ({plural(more, 'more change')})" if more else ""),
                remedy="run `dplaunch check --save` if this change is intended",
            )


def _find_changes(was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield where two values differ, at the leaves of mappings that both have: (`` 3 address``, old, new)."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in was:
            for place, old, new in _find_changes(was[key], now.get(key)):
                yield f" {key}{place}", old, new
    elif was != now and was is not None and now is not None:
        yield "", was, now


def _format(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, LONGEST)
