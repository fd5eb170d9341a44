"""``host.limits``: what a process may hold open, lock and start on a node.

The engine raises its soft limit of open files to 65535 by itself, as far as the hard limit lets it
(vLLM's ``set_ulimit``): so the hard one counts. Whoever has the capability is above the other two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import has_engines
from dplaunch.probes.words import answer, clean, unread, unread_finding

NAME = "host.limits"
UNLIMITED = -1
OPEN_FILES = 16384
"""An engine holds sockets to all its peers and one or two per request: with fewer it runs out under load.
vLLM would like 65535. Our own estimate."""
PROCESSES = 16384
"""Threads count: each engine starts some hundreds, and a node has up to sixteen. Our own estimate."""
MAY_LOCK, MAY_FORK = 14, 24
"""Bits of Linux capabilities: CAP_IPC_LOCK, CAP_SYS_RESOURCE."""

ASKED = """
for limit in Sn Hn l u; do echo "$limit $(ulimit -$limit)"; done
while read -r name value; do [ "$name" = CapEff: ] && echo "$name $value"; done </proc/self/status
"""
_NAMES = {"Sn": "soft_files", "Hn": "open_files", "l": "locked", "u": "processes"}
_LINE = re.compile(r"(Sn|Hn|l|u) (\d+|unlimited)")
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]{1,16})$", re.MULTILINE)


def limits(text: str) -> dict[str, int]:
    """Each limit by name, ``UNLIMITED`` for none; ``capabilities`` as a mask. Only what could be read."""
    found: dict[str, int] = {}
    for line in clean(text).splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[_NAMES[match[1]]] = UNLIMITED if match[2] == "unlimited" else int(match[2][:18])
    if match := _CAPABILITIES.search(clean(text)):
        found["capabilities"] = int(match[1], 16)
    return found


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del target, seen
    yield Command(key="limits", argv=("bash", "-c", ASKED))


def _parse(target: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, "limits")
    found = limits(output.out)
    if not set(_NAMES.values()) <= found.keys():
        return {"unread": [unread("limits", output)]}
    return {**found, "devices": has_engines(target) and target.spec.hardware.family != "cpu"}


def _judge(targets: Iterable[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if facts.get("unread"):
            continue
        low = list(_low(facts))
        for text, remedy in low:
            yield Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)
        if not low:
            text = f"open files {_shown(facts['open_files'])}, processes {_shown(facts['processes'])}"
            yield Finding(probe=NAME, level=Level.OK, text=text, node=node)


def _low(facts: Facts) -> Iterator[tuple[str, str]]:
    """Text and remedy of each limit that is too low."""
    where = "in /etc/security/limits.conf, or of the container, and log in anew"
    if 0 <= facts["open_files"] < OPEN_FILES:
        text = f"a process may open only {facts['open_files']} files: too few for engines under load"
        yield text, f"raise nofile to 65535 {where}"
    if facts["devices"] and facts["locked"] != UNLIMITED and not _may(facts, MAY_LOCK):
        text = f"a process may lock only {facts['locked']} KiB of memory, transfers between devices lock more"
        yield text, f"set memlock to unlimited {where}"
    if 0 <= facts["processes"] < PROCESSES and not _may(facts, MAY_FORK):
        text = f"the user may start only {facts['processes']} processes and threads"
        yield text, f"raise nproc to {PROCESSES} or more {where}"


def _may(facts: Facts, capability: int) -> bool:
    return bool(facts.get("capabilities", 0) >> capability & 1)


def _shown(limit: int) -> str:
    return "unlimited" if limit == UNLIMITED else str(limit)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge)
