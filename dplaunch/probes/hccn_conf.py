"""``/etc/hccn.conf``: addresses of a node's devices as written, and whether the file is there.

An engine reads it to learn its own device's address. An A2 without it starts and answers garbage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.ascend import A2, is_npu
from dplaunch.probes.hccn import address
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import answer, clean, unread, unread_finding

PATH = "/etc/hccn.conf"
KEY = "conf"
COMMAND = Command(key=KEY, argv=("env", "LC_ALL=C", "cat", PATH))

_LINE = re.compile(r"^\s*(address|netmask|gateway|netdetect)_(\d{1,3})\s*=\s*([0-9.]+)\s*$", re.ASCII)
_ABSENT = ("No such file or directory", "Is a directory")

Conf = Mapping[str, Mapping[str, str]]
"""Device → address, netmask, gateway, netdetect, those that are written."""


def entries(text: str) -> dict[str, dict[str, str]]:
    """What the file says of each device."""
    found: dict[str, dict[str, str]] = {}
    for match in filter(None, map(_LINE.match, clean(text).splitlines())):
        key, device, value = match.groups()
        if address(value):
            found.setdefault(str(int(device)), {})[key] = address(value)
    return found


def conf(outputs: Outputs) -> Conf:
    """The file's entries from a probe's outputs; empty when it was not read."""
    output = answer(outputs, KEY)
    return entries(output.out) if output.code == 0 else {}


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if is_npu(target):
        yield COMMAND


def _parse(_: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, KEY)
    facts: dict[str, Any] = {"entries": entries(output.out), "absent": "", "unread": []}
    facts["absent"] = next((reason for reason in _ABSENT if reason in output.err), "")
    garbled = output.out.strip() and not facts["entries"] and "=" not in output.out
    if not facts["absent"] and (output.code != 0 or garbled):
        facts["unread"] = [unread(PATH, output)]
    return facts


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            yield from unread_finding("npu.conf", target.name, facts[target.name])
            if not facts[target.name].get("unread"):
                yield _finding(target, facts[target.name])


def _finding(target: Target, facts: Facts) -> Finding:
    listed = sum("address" in entry for entry in facts.get("entries", {}).values())
    if listed:
        text = f"{PATH} lists {listed} addresses"
        return Finding(probe="npu.conf", level=Level.OK, text=text, node=target.name)
    is_folder = "directory" in facts.get("absent", "") and "No such" not in facts.get("absent", "")
    why = "is a folder" if is_folder else "is not there" if facts.get("absent") else "lists no address"
    return Finding(
        probe="npu.conf",
        level=Level.FAIL if target.spec.hardware.family == A2 else Level.WARN,
        text=f"{PATH} {why}",
        node=target.name,
        remedy=_remedy(target),
    )


def _remedy(target: Target) -> str:
    if target.spec.container:
        return f"start the container with -v {PATH}:{PATH}:ro, and see that the machine itself has the file"
    return "set each device's address with hccn_tool -i N -ip -s address A netmask M: that writes the file"


PROBE = Probe(
    name="npu.conf",
    commands=_commands,
    parse=_parse,
    judge=_judge,
    steady=("entries",),
)
