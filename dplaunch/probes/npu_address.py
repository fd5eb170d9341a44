"""Every device has an address, that of ``/etc/hccn.conf``, and no other device of the cluster has it.

An A2 talks between machines over its RoCE port (``ip``), an A3 over its virtual one (``vnic``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn, hccn_conf
from dplaunch.probes.ascend import A3, is_npu, twin_texts, twins, unknown
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import devices, unread_finding
from dplaunch.ranges import grouped

NAME = "npu.address"


class Fault(NamedTuple):
    """What is wrong with a device's address; ``fix`` holds the device's number as ``{device}``."""

    text: str
    remedy: str
    fix: str = ""


def what(target: Target) -> str:
    """The port whose address counts."""
    return "vnic" if target.spec.hardware.family == A3 else "ip"


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if is_npu(target):
        yield hccn_conf.COMMAND
        for device in range(target.node.devices):
            yield hccn.asked(what(target), device)


def _parse(_: Target, outputs: Outputs) -> Facts:
    facts = hccn.gathered(outputs, {"ip": hccn.ip, "vnic": hccn.vnic})
    facts["devices"] = {
        device: ports.get("vnic") or ports.get("ip") for device, ports in facts["devices"].items()
    }
    return {**facts, "conf": hccn_conf.conf(outputs)}


def fault(target: Target, facts: Facts, device: str) -> Fault | None:
    """What is wrong with the address of one device that was read."""
    port: Mapping[str, str] = facts["devices"][device]
    entry: Mapping[str, str] = facts.get("conf", {}).get(device, {})
    if port.get("link") == "DOWN":
        return Fault("vnic link is DOWN", "look at the device with npu-smi info, then at its driver")
    if not port.get("address"):
        return _missing(target, entry)
    if what(target) == "vnic" or not facts.get("conf") or entry.get("address") == port["address"]:
        return None
    written = entry.get("address", "no address")
    return Fault(
        f"address is {port['address']}, in {hccn_conf.PATH} stands {written}",
        "engines read the file: make both equal",
    )


def _missing(target: Target, entry: Mapping[str, str]) -> Fault:
    if what(target) == "vnic":
        return Fault("no vnic address", "look at the device's driver and super pod configuration")
    words = f"address {entry.get('address', 'A')} netmask {entry.get('netmask', 'M')}"
    fix = f"hccn_tool -i {{device}} -ip -s {words}" if len(entry) > 1 else ""
    return Fault("no address", f"give it one: hccn_tool -i N -ip -s {words}", fix)


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target for target in targets if target.name in facts]
    faulty = {target.name: dict(_faults(target, facts[target.name])) for target in known}
    held = [entry for target in known for entry in _held(target, facts, faulty[target.name])]
    shared = list(twin_texts(twins(held), "address"))
    for target in known:
        own = [*_own(target, faulty[target.name]), *_shared(target, shared)]
        own += unread_finding(NAME, target.name, facts[target.name])
        yield from own or [_good(target, facts[target.name])]


def _faults(target: Target, facts: Facts) -> Iterator[tuple[int, Fault]]:
    for device in facts.get("devices", {}):
        found = fault(target, facts, device)
        if found:
            yield int(device), found


def _held(target: Target, facts: Mapping[str, Facts], faulty: Mapping[int, Fault]) -> Iterator[Any]:
    for device, port in facts[target.name].get("devices", {}).items():
        if int(device) not in faulty:
            yield target.name, int(device), port["address"]


def _own(target: Target, faulty: Mapping[int, Fault]) -> Iterator[Finding]:
    for found, members in grouped((found, device) for device, found in faulty.items()).items():
        yield Finding(
            probe=NAME,
            level=Level.FAIL,
            text=f"{devices(members)}: {found.text}",
            node=target.name,
            remedy=found.remedy,
            fix="; ".join(found.fix.format(device=device) for device in members) if found.fix else "",
        )


def _shared(target: Target, shared: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    remedy = "give each device of the cluster an address of its own"
    for node, text in shared:
        if node == target.name:
            yield Finding(probe=NAME, level=Level.FAIL, text=text, node=node, remedy=remedy)


def _good(target: Target, facts: Facts) -> Finding:
    if facts.get("hindrance"):
        return unknown(NAME, target.name, "hccn_tool", facts["hindrance"])
    text = f"{len(facts['devices'])} {what(target)} addresses, all different"
    return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("devices",))
