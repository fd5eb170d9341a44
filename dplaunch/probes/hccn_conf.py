"""``npu.conf``: ``/etc/hccn.conf`` exists and holds the addresses of the node's devices.

An engine reads the address of its device from it. On an A2 without it, engines start and answer garbage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.ascend import A2, uses_device_network
from dplaunch.probes.hccn import parse_address
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.conf"
PATH = "/etc/hccn.conf"
KEY = "conf"
COMMAND = Command(key=KEY, argv=("env", "LC_ALL=C", "cat", PATH))

_LINE = re.compile(r"^\s*(address|netmask|gateway|netdetect)_(\d{1,3})\s*=\s*([0-9.]+)\s*$", re.ASCII)
_ABSENT = ("No such file or directory", "Is a directory")

Conf = Mapping[str, Mapping[str, str]]
"""Device → address, netmask, gateway and netdetect, as far as the file has them."""


def parse_conf(text: str) -> dict[str, dict[str, str]]:
    """Return the entries of each device."""
    matches = filter(None, map(_LINE.match, clean(text).splitlines()))
    found = grouped(
        (str(int(device)), (key, address))
        for key, device, value in (match.groups() for match in matches)
        if (address := parse_address(value))
    )
    return {device: dict(entries) for device, entries in found.items()}


def read_conf(outputs: Outputs) -> Conf:
    """Return the entries of the file among a probe's outputs; nothing if it could not be read."""
    output = find_output(outputs, KEY)
    return parse_conf(output.out) if output.code == 0 else {}


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if uses_device_network(target):
        yield COMMAND


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, KEY)
    facts: dict[str, Any] = {"entries": parse_conf(output.out), "absent": "", "unread": []}
    facts["absent"] = next((reason for reason in _ABSENT if reason in output.err), "")
    garbled = output.out.strip() and not facts["entries"] and "=" not in output.out
    if not facts["absent"] and (output.code != 0 or garbled):
        facts["unread"] = [describe_unread(PATH, output)]
    return facts


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts and not facts[target.name].get("unread"):
            yield _judge_node(target, facts[target.name])


def _judge_node(target: ProbeTarget, facts: Facts) -> Finding:
    count = sum("address" in entry for entry in facts.get("entries", {}).values())
    if count:
        text = f"{PATH} holds {count} addresses"
        return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)
    is_folder = "directory" in facts.get("absent", "") and "No such" not in facts.get("absent", "")
    why = "is a folder" if is_folder else "is missing" if facts.get("absent") else "holds no address"
    return Finding(
        probe=NAME,
        level=Level.FAIL if target.spec.hardware.family == A2 else Level.WARN,
        text=f"{PATH} {why}",
        node=target.name,
        remedy=_choose_remedy(target),
    )


def _choose_remedy(target: ProbeTarget) -> str:
    if target.spec.container:
        return f"start the container with -v {PATH}:{PATH}:ro, and check that the machine itself has the file"
    return "set each device's address with hccn_tool -i N -ip -s address A netmask M, which writes the file"


PROBE = Probe(
    name=NAME,
    commands=_commands,
    parse=_parse,
    compare=_compare,
    steady=("entries",),
)
