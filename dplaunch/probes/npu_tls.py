"""``npu.tls``: TLS of the devices' ports is on or off, but the same on every device of every node.

A device with TLS and one without cannot connect: every rank times out with EI0006, without a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn
from dplaunch.probes.ascend import report_unknown, uses_device_network
from dplaunch.probes.findings import find_outliers, name_devices
from dplaunch.probes.outputs import Outputs
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "npu.tls"
SWITCH = ("off", "on")


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if uses_device_network(target):
        for device in target.node.devices:
            yield hccn.make_query("tls", device)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    facts = hccn.collect_answers(outputs, {"tls": hccn.parse_tls})
    switches = {device: found["tls"] for device, found in facts.pop("devices").items()}
    return {**facts, "switch": switches}


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    switches = {
        f"{node} {device}": switch for node in known for device, switch in _list_switches(facts[node])
    }
    common, others = find_outliers(switches)
    for node in known:
        members = [int(device) for device, _ in _list_switches(facts[node]) if f"{node} {device}" in others]
        if members:
            yield _report_different(node, members, common)
        if not members and not facts[node].get("unread"):
            yield _report_good(node, facts[node], common)


def _list_switches(facts: Facts) -> Iterator[tuple[str, int]]:
    yield from facts.get("switch", {}).items()


def _report_different(node: str, members: Sequence[int], common: int) -> Finding:
    calls = [f"hccn_tool -i {device} -tls -s enable 0" for device in members]
    own = SWITCH[1 - common]
    return Finding(
        probe=NAME,
        level=Level.FAIL,
        text=f"{name_devices(members)}: TLS is {own}, but most devices have it {SWITCH[common]}",
        node=node,
        remedy="turn TLS off "
        + ("on all devices where it is on" if common else "here")
        + ": hccn_tool -i N -tls -s enable 0",
        fix="" if common else "; ".join(calls),
    )


def _report_good(node: str, facts: Facts, common: int) -> Finding:
    if facts.get("hindrance"):
        return report_unknown(NAME, node, "hccn_tool", facts["hindrance"])
    text = f"TLS is {SWITCH[common]} on every device"
    return Finding(probe=NAME, level=Level.OK, text=text, node=node)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("switch",))
