"""Which device pings which: a ring over the nodes by default, every pair on request or of a rank table.

A device whose fault another probe reports takes no part, so that the fault is reported once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.model.check import Facts, Level
from dplaunch.probes import npu_address, npu_network
from dplaunch.probes.ascend import A3
from dplaunch.probes.npu_superpod import DIES
from dplaunch.probes.probe import EarlierFacts, ProbeTarget
from dplaunch.ranges import grouped


class End(NamedTuple):
    """A device that takes part in pings."""

    node: str
    device: int
    address: str
    pod: int | None
    """The super pod of an A3 device; HCCS does not reach other super pods."""
    place: int
    """Its place among the devices that may be used on its node."""
    fabric: frozenset[str]
    """The nodes between which data is exchanged, its own among them."""


class NamedDevices(Struct, frozen=True):
    """The devices that a rank table names."""

    addresses: Mapping[tuple[str, int], str]
    """Node and number of each → the address that the table gives it; empty: none."""
    over_roce: bool = False
    """The addresses are those of the RoCE ports of A3 devices, which also reach other super pods."""


def find_ends(target: ProbeTarget, seen: EarlierFacts) -> list[End]:
    """Return the devices of all nodes in the file's order, without those that share an address."""
    nodes = [replace(target, node=node) for node in target.spec.nodes]
    found = [end for node in nodes for end in _list_ends(node, seen.get(node.name, {}))]
    count = Counter(end.address for end in found)
    return [end for end in found if count[end.address] == 1]


def find_named_ends(target: ProbeTarget, seen: EarlierFacts, named: NamedDevices) -> list[End]:
    """Return those of ``find_ends`` that the table names, with the addresses that it gives them.

    A device that has another address now takes no part: that is reported by itself.
    """
    ends = []
    for end in find_ends(target, seen):
        address = named.addresses.get((end.node, end.device))
        if address is not None and address in ("", *list_addresses(seen.get(end.node, {}), end.device)):
            pod = None if named.over_roce else end.pod
            ends.append(end._replace(address=address or end.address, pod=pod))
    return ends


def list_addresses(facts: Mapping[str, Facts], device: int) -> list[str]:
    """Return the addresses that a device reports: of the port whose address counts, and of its RoCE port."""
    own = facts.get(npu_address.NAME, {}).get("devices", {}).get(str(device), {})
    roce = facts.get(npu_network.NAME, {}).get("devices", {}).get(str(device), {}).get("ip", {})
    return [port["address"] for port in (own, roce) if port.get("address")]


def _list_ends(target: ProbeTarget, facts: Mapping[str, Facts]) -> Iterator[End]:
    addresses, network = facts.get(npu_address.NAME, {}), facts.get(npu_network.NAME, {})
    places = facts.get("npu.superpod", {}).get("devices", {})
    devices, fabric = target.node.devices, target.peers | {target.name}
    for device, port in addresses.get("devices", {}).items():
        if npu_address.find_fault(target, addresses, device) or _has_bad_port(target, network, device):
            continue
        pod, number = places.get(device, {}).get("pod"), int(device)
        place = devices.index(number) if number in devices else number
        yield End(target.name, number, port["address"], pod, place, fabric)


def _has_bad_port(target: ProbeTarget, network: Facts, device: str) -> bool:
    fault = npu_network.find_fault(target, network, device) if network.get("devices") else None
    return fault is not None and fault.level is Level.FAIL


def pair_ring(found: Sequence[End]) -> Iterator[tuple[End, End]]:
    """Pair each device with that in its place on the next node, and the last with the first."""
    for circle in grouped(((end.place, end.pod, end.fabric), end) for end in found).values():
        if len(circle) > 1:
            yield from zip(circle, [*circle[1:], circle[0]], strict=True)


def pair_all(found: Sequence[End], family: str, node: str) -> Iterator[tuple[End, End]]:
    """Pair every two devices once (an answered ping went both ways), and yield the pairs that ``node`` sends.

    Senders are spread over the nodes. The two dies of an A3 card cannot ping each other.
    """
    for place, one in enumerate(found):
        if one.node == node:
            for other_place, other in enumerate(found):
                sends = (place < other_place) == bool((place + other_place) % 2)
                if (
                    place != other_place
                    and sends
                    and (one.pod, one.fabric) == (other.pod, other.fabric)
                    and not _share_card(family, one, other)
                ):
                    yield one, other


def pair_places(found: Sequence[End], node: str) -> Iterator[tuple[End, End]]:
    """Pair the devices in the same place on every two nodes once, and yield the pairs that ``node`` sends."""
    for circle in grouped(((end.place, end.pod, end.fabric), end) for end in found).values():
        yield from pair_all(circle, "", node)


def _share_card(family: str, one: End, other: End) -> bool:
    return family == A3 and one.node == other.node and one.device // DIES == other.device // DIES
