"""``host.memory``: engines have enough memory, and no node has much less available than the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median_high

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.words import GIB, format_bytes

NAME = "host.memory"
PER_ENGINE = 1 * GIB
"""An engine is several Python processes, each of which loads torch. Our own, low estimate."""
MUCH_LESS = 0.5
"""Share of what most nodes have available; below it, other processes use the memory, or some is broken."""

_LINE = re.compile(r"^(MemTotal|MemAvailable): +(\d{1,15}) kB$", re.MULTILINE)


def parse_meminfo(text: str) -> dict[str, int]:
    """Return ``total`` and ``available`` bytes of /proc/meminfo; nothing if one of them is missing."""
    found = {name: int(amount) * 1024 for name, amount in _LINE.findall(clean(text))}
    if len(found) < 2:  # noqa: PLR2004 - both
        return {}
    return {"total": found["MemTotal"], "available": found["MemAvailable"]}


def _commands(_target: ProbeTarget, _seen: EarlierFacts) -> Iterator[Command]:
    yield Command(key="meminfo", path="/proc/meminfo")


def _parse(target: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "meminfo")
    found = parse_meminfo(output.out)
    if not found:
        return {"unread": [describe_unread("meminfo", output)]}
    count = sum(process.kind == "engine" for process in target.plan.processes)
    return {**found, "engines": count if target.has_engines else 0}


def _compare(_: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    available = [f["available"] for f in seen.values() if f.get("engines")]
    usual = median_high(available) if available else 0
    for node, facts in seen.items():
        yield _judge_node(node, facts, usual)


def _judge_node(node: str, facts: Facts, usual: int) -> Finding:
    available, least = facts["available"], facts["engines"] * PER_ENGINE
    text = f"{format_bytes(available)} of {format_bytes(facts['total'])} memory available"
    remedy = "find the processes that use it with `ps aux --sort=-rss | head`"
    if available < least:
        text += f", but its engines will need {format_bytes(least)} or more"
    elif facts["engines"] and available < MUCH_LESS * usual:
        text += f", but {format_bytes(usual)} on most nodes"
    else:
        return Finding(probe=NAME, level=Level.OK, text=text, node=node)
    return Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, quick=True)
