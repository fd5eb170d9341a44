"""``host.kernel``: the same kernel and processor on all nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import answer, clean, odd_ones, unread, unread_finding

NAME = "host.kernel"
_UNAME = re.compile(r"Linux (\d+\.\d+\S*) ([A-Za-z]\w*)")


def kernel(text: str) -> dict[str, str]:
    """Release and machine of ``uname -srm``; empty for what is none."""
    match = _UNAME.fullmatch(clean(text).strip())
    return {"release": match[1], "machine": match[2]} if match else {}


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del target, seen
    yield Command(key="uname", argv=("uname", "-srm"))


def _parse(target: Target, outputs: Outputs) -> Facts:
    del target
    output = answer(outputs, "uname")
    return kernel(output.out) or {"unread": [unread("uname", output)]}


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    read = {node: f"{f['release']} {f['machine']}" for node, f in seen.items() if "release" in f}
    common, odd = odd_ones(read)
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if node in odd:
            text = f"the kernel is {odd[node]}, on the other nodes {common}"
            remedy = "bring the nodes to one kernel: drivers are built for it"
            yield Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)
        elif node in read:
            yield Finding(probe=NAME, level=Level.OK, text=read[node], node=node)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("release", "machine"))
