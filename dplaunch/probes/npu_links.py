"""``npu.links``: the files in which a 950 node describes its own links, which HCCL and KV transfer read.

Source: vllm-ascend, docs/source/installation.md, "Atlas 950 Series Server Pre-check".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dplaunch.engines.ascend.kv import ENDPOINTS
from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.ascend import has_npus
from dplaunch.probes.findings import list_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "npu.links"
FILES = ("/lib/route.conf", "/etc/hccl_rootinfo.json", ENDPOINTS)
SCRIPT = 'for path; do [ -s "$path" ] && echo "$path"; done; true'


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if has_npus(target) and target.spec.hardware.family == "a5" and target.peers:
        yield Command(key="links", argv=("sh", "-c", SCRIPT, "sh", *FILES))


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "links")
    if output.code != 0:
        return {"unread": [describe_unread("links", output)]}
    return {"found": clean(output.out).split()}


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    for node, facts in seen.items():
        missing = [path for path in FILES if path not in facts["found"]]
        if missing:
            text = f"missing or empty: {list_some(missing)}, which describe the links between devices"
            remedy = "generate them with HiXLEP (LocalCommRes, D2D), and mount them into the container"
            yield Finding(probe=NAME, level=Level.FAIL, text=text, node=node, remedy=remedy)
        else:
            yield Finding(probe=NAME, level=Level.OK, text="its links are described", node=node)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare)
