"""What should stay as it is: saved on each node by ``check --save``, compared by every later look."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dplaunch.fleet.job import Job
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.model.plan import File
from dplaunch.preflight.survey import Answer
from dplaunch.probes.probe import Probe
from dplaunch.words import shorten

FILE = "fingerprint.json"
DEADLINE = 30.0
SHOWN = 60
FAULT = (Level.FAIL, Level.WARN)


def of(probes: Iterable[Probe], facts: Mapping[str, Facts]) -> dict[str, Any]:
    """``probe.fact`` → value, for the facts that should not change."""
    return {
        f"{probe.name}.{key}": facts[probe.name][key]
        for probe in probes
        if probe.name in facts
        for key in probe.steady
        if facts[probe.name].get(key) not in (None, "", [], {})
    }


def save(job: Job, prints: Mapping[str, Mapping[str, Any]], day: str) -> tuple[str, ...]:
    """Write each node's fingerprint into its state folder; the nodes where that failed."""
    files = {node: _file(values, day) for node, values in prints.items()}
    return tuple(job.driver.write(files))


def _file(values: Mapping[str, Any], day: str) -> File:
    return File(FILE, json.dumps({"day": day, "values": values}, indent=1, sort_keys=True) + "\n")


def drifts(
    prints: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Answer], verdicts: Iterable[Finding]
) -> Iterator[Finding]:
    """``drift`` of each node, against what was saved there; what a verdict calls a fault is none besides."""
    faulty = {(verdict.probe, verdict.node) for verdict in verdicts if verdict.level in FAULT}
    for node, now in prints.items():
        changes = drift(node, answers[node].saved, now)
        yield from (change for change in changes if (change.probe, node) not in faulty)


def drift(node: str, saved: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning per fact that is not what it was; what either side lacks, or did not read, is no change."""
    values = (saved or {}).get("values")
    if not isinstance(values, Mapping):
        return
    day = (saved or {}).get("day", "?")
    for key, value in now.items():
        changes = list(_changes(values.get(key), json.loads(json.dumps(value)))) if key in values else []
        if changes:
            probe, _, fact = key.rpartition(".")
            (place, was, is_now), more = changes[0], len(changes) - 1
            text = f"{fact}{place} was {_shown(was)} on {day} and is {_shown(is_now)}"
            yield Finding(
                probe=probe,
                level=Level.WARN,
                node=node,
                text=text + (f" ({more} more like it)" if more else ""),
                remedy="if that was meant, `dplaunch check --save` takes it as the new state",
            )


def _changes(was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two values differ, at the leaves of mappings that both have: (`` 3 address``, old, new)."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in was:
            for place, old, new in _changes(was[key], now.get(key)):
                yield f" {key}{place}", old, new
    elif was != now and was is not None and now is not None:
        yield "", was, now


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, SHOWN)
