"""Logs as people send them, each with what is concluded from it: the folder's name says what happened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dplaunch.diagnose import Evidence
from dplaunch.model.diagnosis import Diagnosis, Sighting
from dplaunch.workspace.collected import find_logs

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_whole_logs_are_explained(case, expect):
    evidence = Evidence()
    for log in find_logs(CASES / case):
        with log.lines() as lines:
            evidence.add(log.process, log.node, lines)
    expect(CASES / case / "concluded", "\n".join([*concluded(evidence.conclude()), ""]))


def concluded(found: Diagnosis) -> Iterator[str]:
    """What was found, line by line."""
    yield "a failure" if found.failed else "no failure"
    if found.first:
        yield f"first: {place(found.first)}"
        known = found.first.signature
        yield f"  cause: {known.cause if known else found.first.sentence}"
        if known:
            yield f"  remedy: {known.remedy}"
    yield from (f"then: {place(sighting)}" for sighting in found.others)
    if found.silent:
        yield f"silent: {', '.join(found.silent)}"
    yield from (f"{log.process}: launch {log.launches} begins at line {log.began}" for log in found.restarted)


def place(sighting: Sighting) -> str:
    """``serve-0:5 container-device-number (cause)``."""
    name = sighting.signature.id if sighting.signature else repr(sighting.sentence)
    survived = ", survived" if sighting.survived else ""
    return f"{','.join(sighting.processes)}:{sighting.number} {name} ({sighting.kind.name.lower()}{survived})"
