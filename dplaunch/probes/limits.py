"""``host.limits``: how many files and processes, and how much locked memory, a process may have on a node.

vLLM raises its soft limit of open files to 65535 itself, up to the hard limit (``set_ulimit``), so the hard
limit counts. The other two limits do not apply to a process with the capability for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "host.limits"
UNLIMITED = -1
OPEN_FILES = 16384
"""An engine holds a socket to each peer and one or two for each request; with fewer it runs out under load.
Our own estimate; vLLM asks for 65535."""
PROCESSES = 16384
"""Threads count too: an engine starts some hundreds, and a node has up to sixteen. Our own estimate."""
MAY_LOCK, MAY_FORK = 14, 24
"""Bits of the Linux capabilities CAP_IPC_LOCK and CAP_SYS_RESOURCE."""

SCRIPT = """
for limit in Sn Hn l u; do echo "$limit $(ulimit -$limit)"; done
while read -r name value; do [ "$name" = CapEff: ] && echo "$name $value"; done </proc/self/status
"""
_NAMES = {"Sn": "soft_files", "Hn": "open_files", "l": "locked", "u": "processes"}
_LINE = re.compile(r"(Sn|Hn|l|u) (\d+|unlimited)")
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]{1,16})$", re.MULTILINE)


def parse_limits(text: str) -> dict[str, int]:
    """Return name → limit or ``UNLIMITED``, and ``capabilities`` as a mask, as far as the text has them."""
    found: dict[str, int] = {}
    for line in clean(text).splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[_NAMES[match[1]]] = UNLIMITED if match[2] == "unlimited" else int(match[2][:18])
    if match := _CAPABILITIES.search(clean(text)):
        found["capabilities"] = int(match[1], 16)
    return found


def _commands(_target: ProbeTarget, _seen: EarlierFacts) -> Iterator[Command]:
    yield Command(key="limits", argv=("bash", "-c", SCRIPT))


def _parse(target: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "limits")
    found = parse_limits(output.out)
    if not set(_NAMES.values()) <= found.keys():
        return {"unread": [describe_unread("limits", output)]}
    return {**found, "devices": target.has_engines and target.spec.hardware.family != "cpu"}


def _compare(_: Iterable[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    for node, facts in seen.items():
        low = list(_find_low(facts))
        for text, remedy in low:
            yield Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)
        if not low:
            text = f"open files {_format(facts['open_files'])}, processes {_format(facts['processes'])}"
            yield Finding(probe=NAME, level=Level.OK, text=text, node=node)


def _find_low(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield text and remedy for each limit that is too low."""
    where = "in /etc/security/limits.conf or for the container, then log in again"
    if 0 <= facts["open_files"] < OPEN_FILES:
        text = f"a process may open only {facts['open_files']} files, too few for an engine under load"
        yield text, f"raise nofile to 65535 {where}"
    if facts["devices"] and facts["locked"] != UNLIMITED and not _may(facts, MAY_LOCK):
        text = f"a process may lock only {facts['locked']} KiB of memory; transfers between devices need more"
        yield text, f"set memlock to unlimited {where}"
    if 0 <= facts["processes"] < PROCESSES and not _may(facts, MAY_FORK):
        text = f"the user may start only {facts['processes']} processes and threads, too few for engines"
        yield text, f"raise nproc to {PROCESSES} or more {where}"


def _may(facts: Facts, capability: int) -> bool:
    return bool(facts.get("capabilities", 0) >> capability & 1)


def _format(limit: int) -> str:
    return "unlimited" if limit == UNLIMITED else str(limit)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare)
