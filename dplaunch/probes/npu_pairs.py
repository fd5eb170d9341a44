"""Which device pings which: a ring over the nodes by default, every pair on request.

Ends whose own fault another probe has named ping nobody and are pinged by nobody: it would be told twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dplaunch.model.check import Facts, Level
from dplaunch.probes import npu_address, npu_network
from dplaunch.probes.ascend import A3
from dplaunch.probes.npu_superpod import DIES
from dplaunch.probes.probe import Seen, Target
from dplaunch.ranges import grouped


class End(NamedTuple):
    """A device that can be pinged, and can ping."""

    node: str
    device: int
    address: str
    pod: int | None
    """An A3's super pod: there is no HCCS between two."""


def ends(target: Target, seen: Seen) -> list[End]:
    """Of all nodes that answered, in the file's order; each address only where one device has it."""
    found = [end for node in target.spec.nodes for end in _ends(target, node.name, seen.get(node.name, {}))]
    count = Counter(end.address for end in found)
    return [end for end in found if count[end.address] == 1]


def _ends(target: Target, node: str, facts: Mapping[str, Facts]) -> Iterator[End]:
    addresses, network = facts.get(npu_address.NAME, {}), facts.get(npu_network.NAME, {})
    places = facts.get("npu.superpod", {}).get("devices", {})
    for device, port in addresses.get("devices", {}).items():
        if npu_address.fault(target, addresses, device) or _fails(target, network, device):
            continue
        yield End(node, int(device), port["address"], places.get(device, {}).get("pod"))


def _fails(target: Target, network: Facts, device: str) -> bool:
    fault = npu_network.fault(target, network, device) if network.get("devices") else None
    return fault is not None and fault.level is Level.FAIL


def ring(found: Sequence[End]) -> Iterator[tuple[End, End]]:
    """Each device to the same one of the next node that has it, the last to the first."""
    for circle in grouped(((end.device, end.pod), end) for end in found).values():
        if len(circle) > 1:
            yield from zip(circle, [*circle[1:], circle[0]], strict=True)


def every(found: Sequence[End], family: str, node: str) -> Iterator[tuple[End, End]]:
    """Of every two devices the pairs that ``node`` sends: once each, an answered ping went both ways.

    Senders are spread over the nodes. The two dies of an A3 card cannot ping each other.
    """
    for place, one in enumerate(found):
        if one.node == node:
            for other_place, other in enumerate(found):
                sends = (place < other_place) == bool((place + other_place) % 2)
                if (
                    place != other_place
                    and sends
                    and one.pod == other.pod
                    and not _one_card(family, one, other)
                ):
                    yield one, other


def _one_card(family: str, one: End, other: End) -> bool:
    return family == A3 and one.node == other.node and one.device // DIES == other.device // DIES
