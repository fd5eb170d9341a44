"""``host.kernel``: all nodes have the same kernel and processor architecture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.findings import find_outliers
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "host.kernel"
_UNAME = re.compile(r"Linux (\d+\.\d+\S*) ([A-Za-z]\w*)")


def parse_uname(text: str) -> dict[str, str]:
    """Return ``release`` and ``machine`` of ``uname -srm``; nothing for other texts."""
    match = _UNAME.fullmatch(clean(text).strip())
    return {"release": match[1], "machine": match[2]} if match else {}


def _commands(_target: ProbeTarget, _seen: EarlierFacts) -> Iterator[Command]:
    yield Command(key="uname", argv=("uname", "-srm"))


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "uname")
    return parse_uname(output.out) or {"unread": [describe_unread("uname", output)]}


def _compare(_: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    read = {node: f"{facts['release']} {facts['machine']}" for node, facts in seen.items()}
    common, others = find_outliers(read)
    for node in seen:
        if node in others:
            text = f"the kernel is {others[node]}, but {common} on most nodes"
            remedy = "install the same kernel on all nodes: drivers are built for it"
            yield Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)
        else:
            yield Finding(probe=NAME, level=Level.OK, text=read[node], node=node)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("release", "machine"))
