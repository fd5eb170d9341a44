"""``npu.address``: every device has the address in ``/etc/hccn.conf``, and no other device has the same.

Between machines, an A2 communicates over its RoCE port (``ip``), an A3 over its virtual port (``vnic``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn, hccn_conf
from dplaunch.probes.ascend import (
    A3,
    describe_duplicates,
    find_duplicates,
    report_unknown,
    uses_device_network,
)
from dplaunch.probes.findings import name_devices
from dplaunch.probes.outputs import Outputs
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.address"


class AddressFault(NamedTuple):
    """What is wrong with a device's address. ``fix`` has ``{device}`` for the number of the device."""

    text: str
    remedy: str
    fix: str = ""


def choose_port(target: ProbeTarget) -> str:
    """Return the port whose address counts."""
    return "vnic" if target.spec.hardware.family == A3 else "ip"


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if uses_device_network(target):
        yield hccn_conf.COMMAND
        for device in target.node.devices:
            yield hccn.make_query(choose_port(target), device)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    facts = hccn.collect_answers(outputs, {"ip": hccn.parse_ip, "vnic": hccn.parse_vnic})
    facts["devices"] = {
        device: ports.get("vnic") or ports.get("ip") for device, ports in facts["devices"].items()
    }
    return {**facts, "conf": hccn_conf.read_conf(outputs)}


def find_fault(target: ProbeTarget, facts: Facts, device: str) -> AddressFault | None:
    """Return what is wrong with the address of a device, which must be among ``facts``."""
    port: Mapping[str, str] = facts["devices"][device]
    entry: Mapping[str, str] = facts.get("conf", {}).get(device, {})
    if port.get("link") == "DOWN":
        return AddressFault("vnic link is DOWN", "check the device with `npu-smi info`, then its driver")
    if not port.get("address"):
        return _explain_missing(target, entry)
    if choose_port(target) == "vnic" or not facts.get("conf") or entry.get("address") == port["address"]:
        return None
    expected = entry.get("address", "no address")
    return AddressFault(
        f"address is {port['address']}, but {hccn_conf.PATH} has {expected}",
        "change one of them: engines read the file",
    )


def _explain_missing(target: ProbeTarget, entry: Mapping[str, str]) -> AddressFault:
    if choose_port(target) == "vnic":
        return AddressFault("no vnic address", "check the device's driver and super pod configuration")
    words = f"address {entry.get('address', 'A')} netmask {entry.get('netmask', 'M')}"
    fix = f"hccn_tool -i {{device}} -ip -s {words}" if len(entry) > 1 else ""
    return AddressFault("no address", f"set one: hccn_tool -i N -ip -s {words}", fix)


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target for target in targets if target.name in facts]
    faults = {target.name: dict(_find_faults(target, facts[target.name])) for target in known}
    held = [entry for target in known for entry in _list_addresses(target, facts, faults[target.name])]
    shared = list(describe_duplicates(find_duplicates(held), "address"))
    for target in known:
        own = [*_report_faults(target, faults[target.name]), *_report_shared(target, shared)]
        yield from own
        if not own and not facts[target.name].get("unread"):
            yield _report_good(target, facts[target.name])


def _find_faults(target: ProbeTarget, facts: Facts) -> Iterator[tuple[int, AddressFault]]:
    for device in facts.get("devices", {}):
        found = find_fault(target, facts, device)
        if found:
            yield int(device), found


def _list_addresses(
    target: ProbeTarget, facts: Mapping[str, Facts], faults: Mapping[int, AddressFault]
) -> Iterator[tuple[str, int, str]]:
    for device, port in facts[target.name].get("devices", {}).items():
        if int(device) not in faults:
            yield target.name, int(device), port["address"]


def _report_faults(target: ProbeTarget, faults: Mapping[int, AddressFault]) -> Iterator[Finding]:
    for found, members in grouped((found, device) for device, found in faults.items()).items():
        yield Finding(
            probe=NAME,
            level=Level.FAIL,
            text=f"{name_devices(members)}: {found.text}",
            node=target.name,
            remedy=found.remedy,
            fix="; ".join(found.fix.format(device=device) for device in members) if found.fix else "",
        )


def _report_shared(target: ProbeTarget, shared: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    remedy = "give each device of the cluster its own address"
    for node, text in shared:
        if node == target.name:
            yield Finding(probe=NAME, level=Level.FAIL, text=text, node=node, remedy=remedy)


def _report_good(target: ProbeTarget, facts: Facts) -> Finding:
    if facts.get("hindrance"):
        return report_unknown(NAME, target.name, "hccn_tool", facts["hindrance"])
    text = f"{len(facts['devices'])} {choose_port(target)} addresses, all different"
    return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("devices",))
