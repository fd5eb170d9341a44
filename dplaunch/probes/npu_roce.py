"""``npu.roce``: the addresses of the RoCE ports of A3 devices, over which super pods reach each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn
from dplaunch.probes.findings import name_devices
from dplaunch.probes.outputs import Outputs
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "npu.roce"


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    for device in target.node.devices:
        yield hccn.make_query("ip", device)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    facts = hccn.collect_answers(outputs, {"ip": hccn.parse_ip})
    return {**facts, "devices": {device: found["ip"] for device, found in facts["devices"].items()}}


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    for node, found in facts.items():
        unset = [device for device, port in found["devices"].items() if not port["address"]]
        if unset:
            text = f"{name_devices(unset)}: no RoCE address, over which super pods reach each other"
            remedy = "set one: hccn_tool -i N -ip -s address A netmask M"
            yield Finding(probe=NAME, level=Level.FAIL, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare)
