"""The devices' own network ports: link, address, gateway, health, what is asked for health, switch.

One fault shows in several answers: a port that is down has no neighbour and no health. Of each device
the first cause counts. On an A3 nothing of it is needed where the RoCE ports are not cabled: hccs_ping
decides there, and all this is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Interface
from typing import Any, NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn, hccn_conf
from dplaunch.probes.ascend import A2, hindered, is_npu
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import devices, unread_finding
from dplaunch.ranges import grouped

NAME = "npu.network"
READERS = {
    "link": hccn.link,
    "ip": hccn.ip,
    "gateway": hccn.gateway,
    "net_health": hccn.net_health,
    "netdetect": hccn.netdetect,
    "lldp": hccn.lldp,
}


_NO_ADDRESS = "no RoCE address is set"


class Fault(NamedTuple):
    """What is wrong with a device's port."""

    text: str
    remedy: str = ""
    level: Level = Level.FAIL
    """On an A2."""


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if is_npu(target):
        yield hccn_conf.COMMAND
        for device in range(target.node.devices):
            for what in READERS:
                yield hccn.asked(what, device)


def _parse(_: Target, outputs: Outputs) -> Facts:
    return {**hccn.gathered(outputs, READERS), "conf": hccn_conf.conf(outputs)}


Port = Mapping[str, Any]
"""What was read of one device: what → value; only what was."""
Entry = Mapping[str, str]
"""What ``hccn.conf`` says of it."""


def _link(port: Port, _: Entry) -> Fault | None:
    if port.get("link") == "DOWN":
        return Fault("link is DOWN", "look at cable, optical module and switch port")
    return None


def _address(port: Port, _: Entry) -> Fault | None:
    if "ip" in port and not port["ip"]["address"]:
        return Fault(_NO_ADDRESS, "set one with hccn_tool -i N -ip -s address A netmask M")
    return None


def _gateway(port: Port, entry: Entry) -> Fault | None:
    found, meant = port.get("gateway"), entry.get("gateway", "")
    how = f"set it: hccn_tool -i N -gateway -s gateway {meant or 'G'}"
    if found is None or found == meant:
        return None
    if meant:
        return Fault(f"gateway is {found or 'not set'}, in {hccn_conf.PATH} stands {meant}", how)
    if not found:
        return Fault("no gateway is set", how)
    own = port.get("ip") or {}
    if own.get("netmask") and not _inside(found, own):
        return Fault(f"gateway {found} is outside of {own['address']}/{own['netmask']}", how)
    return None


def _inside(address: str, own: Mapping[str, str]) -> bool:
    try:
        network = IPv4Interface(f"{own['address']}/{own['netmask']}").network
    except ValueError:
        return True
    return IPv4Interface(address).ip in network


def _health(port: Port, _: Entry) -> Fault | None:
    health = port.get("net_health", "Success")
    if health == "Success":
        return None
    if health == "Init":
        return Fault("net health is Init: no address to ask is set", _DETECT, Level.WARN)
    return Fault(f"net health is {health}", "see whether netdetect's address answers and the VLAN is right")


def _detect(port: Port, _: Entry) -> Fault | None:
    if port.get("netdetect", "set"):
        return None
    return Fault("netdetect has no address to ask", _DETECT, Level.WARN)


_DETECT = "set one that always answers: hccn_tool -i N -netdetect -s address GATEWAY"


def _lldp(port: Port, _: Entry) -> Fault | None:
    if port.get("lldp", "set"):
        return None
    return Fault("the switch does not name its port (LLDP)", "turn LLDP on at the switch", Level.WARN)


_CAUSES: tuple[Callable[[Port, Entry], Fault | None], ...] = (
    _link,
    _address,
    _gateway,
    _health,
    _detect,
    _lldp,
)
"""In the order of cause and effect."""

_A3_REMEDY = "needed only where the RoCE ports are in use: on an A3 npu.ping decides; there "


def fault(target: Target, facts: Facts, device: str) -> Fault | None:
    """The first cause of what is wrong with one device's port."""
    port, entry = facts["devices"].get(device, {}), facts.get("conf", {}).get(device, {})
    found = next(filter(None, (cause(port, entry) for cause in _CAUSES)), None)
    if found and target.spec.hardware.family != A2:
        return Fault(found.text, _A3_REMEDY + found.remedy, Level.WARN)
    return found


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            yield from _node(target, facts[target.name])


def _node(target: Target, facts: Facts) -> Iterator[Finding]:
    if facts.get("hindrance"):
        level, text, remedy = hindered("hccn_tool", facts["hindrance"])
        yield Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)
        return
    faults = grouped((fault(target, facts, device), int(device)) for device in facts.get("devices", {}))
    for found, members in faults.items():
        if found and not _said_elsewhere(target, found):
            text = f"{devices(members)}: {found.text}"
            yield Finding(probe=NAME, level=found.level, text=text, node=target.name, remedy=found.remedy)
    yield from unread_finding(NAME, target.name, facts)
    if set(faults) == {None} and not facts.get("unread"):
        text = f"{len(faults[None])} ports: link UP, gateway right, net health Success"
        yield Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


def _said_elsewhere(target: Target, found: Fault) -> bool:
    """An A2's missing address is npu.address's to say."""
    return target.spec.hardware.family == A2 and found.text == _NO_ADDRESS


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("devices", "conf"))
