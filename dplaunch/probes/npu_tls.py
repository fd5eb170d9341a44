"""TLS of the devices' ports: on or off, but the same on every device of every node.

A device with TLS and one without cannot connect: every rank times out with EI0006, and none says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn
from dplaunch.probes.ascend import is_npu, unknown
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import devices, odd_ones, unread_finding

NAME = "npu.tls"
SWITCH = ("off", "on")


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if is_npu(target):
        for device in range(target.node.devices):
            yield hccn.asked("tls", device)


def _parse(_: Target, outputs: Outputs) -> Facts:
    facts = hccn.gathered(outputs, {"tls": hccn.tls})
    switches = {device: found["tls"] for device, found in facts.pop("devices").items()}
    return {**facts, "switch": switches}


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    switches = {f"{node} {device}": switch for node in known for device, switch in _switches(facts[node])}
    common, odd = odd_ones(switches)
    for node in known:
        members = [int(device) for device, _ in _switches(facts[node]) if f"{node} {device}" in odd]
        if members:
            yield _different(node, members, common)
        yield from unread_finding(NAME, node, facts[node])
        if not members and not facts[node].get("unread"):
            yield _good(node, facts[node], common)


def _switches(facts: Facts) -> Iterator[tuple[str, int]]:
    yield from facts.get("switch", {}).items()


def _different(node: str, members: Sequence[int], common: int) -> Finding:
    calls = [f"hccn_tool -i {device} -tls -s enable 0" for device in members]
    own = SWITCH[1 - common]
    return Finding(
        probe=NAME,
        level=Level.FAIL,
        text=f"{devices(members)}: TLS is {own}, on most devices of the cluster it is {SWITCH[common]}",
        node=node,
        remedy="turn TLS off everywhere: hccn_tool -i N -tls -s enable 0"
        + (", on all devices where it is on" if common else ""),
        fix="" if common else "; ".join(calls),
    )


def _good(node: str, facts: Facts, common: int) -> Finding:
    if facts.get("hindrance"):
        return unknown(NAME, node, "hccn_tool", facts["hindrance"])
    text = f"TLS is {SWITCH[common]} on every device"
    return Finding(probe=NAME, level=Level.OK, text=text, node=node)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("switch",))
