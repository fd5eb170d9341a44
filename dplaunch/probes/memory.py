"""``host.memory``: memory that engines may still take, and the node that has much less than the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median_high

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import has_engines
from dplaunch.probes.words import answer, clean, unread, unread_finding
from dplaunch.words import GIB, format_bytes

NAME = "host.memory"
PER_ENGINE = 1 * GIB
"""An engine is several Python processes that have each loaded torch. Our own estimate, on the low side."""
ODD = 0.5
"""Of what most nodes have available: below it something else is at work there, or memory is gone."""

_LINE = re.compile(r"^(MemTotal|MemAvailable): +(\d{1,15}) kB$", re.MULTILINE)


def memory(text: str) -> dict[str, int]:
    """Bytes in all and available, of /proc/meminfo; empty unless both are there."""
    found = {name: int(amount) * 1024 for name, amount in _LINE.findall(clean(text))}
    if len(found) < 2:  # noqa: PLR2004 - both
        return {}
    return {"total": found["MemTotal"], "available": found["MemAvailable"]}


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del target, seen
    yield Command(key="meminfo", path="/proc/meminfo")


def _parse(target: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, "meminfo")
    found = memory(output.out)
    if not found:
        return {"unread": [unread("meminfo", output)]}
    count = sum(process.kind == "engine" for process in target.plan.processes)
    return {**found, "engines": count if has_engines(target) else 0}


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    alike = [f["available"] for f in seen.values() if f.get("engines")]
    usual = median_high(alike) if alike else 0
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if not facts.get("unread"):
            yield _judged(node, facts, usual)


def _judged(node: str, facts: Facts, usual: int) -> Finding:
    available, least = facts["available"], facts["engines"] * PER_ENGINE
    text = f"{format_bytes(available)} of {format_bytes(facts['total'])} memory available"
    remedy = "see with ps aux --sort=-rss who holds memory there"
    if available < least:
        text += f", its engines will want {format_bytes(least)} or more"
    elif facts["engines"] and available < ODD * usual:
        text += f", most nodes have {format_bytes(usual)}"
    else:
        return Finding(probe=NAME, level=Level.OK, text=text, node=node)
    return Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, quick=True)
