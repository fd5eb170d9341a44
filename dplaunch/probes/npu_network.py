"""``npu.network``: the RoCE ports of the devices: link, address, gateway, net health and switch.

A single fault appears in several answers: a port that is down has neither neighbour nor health. Only the
first cause of each device is reported. On an A3 and a 950 the ports need not be cabled, so that their faults
are warnings; on an A3 ``npu.ping`` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface
from typing import Any, NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn, hccn_conf
from dplaunch.probes.ascend import A2, A3, A5, explain_hindrance, has_ports_to_look_at
from dplaunch.probes.findings import name_devices
from dplaunch.probes.outputs import Outputs
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.network"
PARSERS = {
    "link": hccn.parse_link,
    "ip": hccn.parse_ip,
    "gateway": hccn.parse_gateway,
    "net_health": hccn.parse_net_health,
    "netdetect": hccn.parse_netdetect,
    "lldp": hccn.parse_lldp,
}

_NO_ADDRESS = "no RoCE address is set"
_SET_NETDETECT = "set one that always responds: hccn_tool -i N -netdetect -s address GATEWAY"


class PortFault(NamedTuple):
    """What is wrong with a device's port."""

    text: str
    remedy: str = ""
    level: Level = Level.FAIL
    """The level on an A2; elsewhere every fault is a warning."""


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if has_ports_to_look_at(target):
        yield hccn_conf.COMMAND
        for device in target.node.devices:
            for what in PARSERS:
                yield hccn.make_query(what, device)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    return {**hccn.collect_answers(outputs, PARSERS), "conf": hccn_conf.read_conf(outputs)}


Port = Mapping[str, Any]
"""What was read of one device: what → value."""
ConfEntry = Mapping[str, str]
"""The entries of the device in ``hccn.conf``."""


def _find_faults(port: Port, entry: ConfEntry) -> Iterator[PortFault]:
    """Yield what is wrong with a port, in the order of cause and effect."""
    if port.get("link") == "DOWN":
        yield PortFault("link is DOWN", "check the cable, the optical module and the switch port")
    if "ip" in port and not port["ip"]["address"]:
        yield PortFault(_NO_ADDRESS, "set one: hccn_tool -i N -ip -s address A netmask M")
    yield from _find_wrong_gateway(port, entry)
    health = port.get("net_health", "Success")
    if health == "Init":
        text = "net health is Init, because no netdetect address is set"
        yield PortFault(text, _SET_NETDETECT, Level.WARN)
    elif health != "Success":
        yield PortFault(f"net health is {health}", "check that netdetect's address responds, and the VLAN")
    if not port.get("netdetect", "set"):
        yield PortFault("no netdetect address is set", _SET_NETDETECT, Level.WARN)
    if not port.get("lldp", "set"):
        text = "the switch does not announce its port (LLDP)"
        yield PortFault(text, "turn on LLDP at the switch", Level.WARN)


def _find_wrong_gateway(port: Port, entry: ConfEntry) -> Iterator[PortFault]:
    found, expected, own = port.get("gateway"), entry.get("gateway", ""), port.get("ip") or {}
    how = f"set it: hccn_tool -i N -gateway -s gateway {expected or 'G'}"
    if found is None or found == expected:
        return
    if expected:
        yield PortFault(f"gateway is {found or 'not set'}, but {hccn_conf.PATH} has {expected}", how)
    elif not found:
        yield PortFault("no gateway is set", how)
    elif own.get("netmask") and not _is_inside(found, own):
        yield PortFault(f"gateway {found} is outside the network {own['address']}/{own['netmask']}", how)


def _is_inside(address: str, own: Mapping[str, str]) -> bool:
    try:
        network = IPv4Interface(f"{own['address']}/{own['netmask']}").network
    except ValueError:
        return True
    return IPv4Interface(address).ip in network


_ONLY_IF_USED = {
    A3: "only if the RoCE ports are in use (on an A3 npu.ping decides): ",
    A5: "only if data leaves the node through these ports rather than over its own links: ",
}


def find_fault(target: ProbeTarget, facts: Facts, device: str) -> PortFault | None:
    """Return the first cause of what is wrong with the port of a device."""
    port, entry = facts["devices"].get(device, {}), facts.get("conf", {}).get(device, {})
    found = next(_find_faults(port, entry), None)
    if found and (unless := _ONLY_IF_USED.get(target.spec.hardware.family)):
        return PortFault(found.text, unless + found.remedy, Level.WARN)
    return found


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            yield from _judge_node(target, facts[target.name])


def _judge_node(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    if facts.get("hindrance"):
        level, text, remedy = explain_hindrance("hccn_tool", facts["hindrance"])
        yield Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)
        return
    faults = grouped((find_fault(target, facts, device), int(device)) for device in facts.get("devices", {}))
    for found, members in faults.items():
        if found and not _is_reported_elsewhere(target, found):
            text = f"{name_devices(members)}: {found.text}"
            yield Finding(probe=NAME, level=found.level, text=text, node=target.name, remedy=found.remedy)
    if set(faults) == {None} and not facts.get("unread"):
        text = f"{len(faults[None])} ports: link UP, right gateway, net health Success"
        yield Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


def _is_reported_elsewhere(target: ProbeTarget, found: PortFault) -> bool:
    """Whether ``npu.address`` reports it: a missing address of an A2."""
    return target.spec.hardware.family == A2 and found.text == _NO_ADDRESS


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("devices", "conf"))
