"""``npu.ping``: devices of different nodes reach each other, by RoCE ping on an A2, by HCCS ping on an A3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn
from dplaunch.probes.ascend import A3, describe_unread, explain_hindrance, find_hindrance, uses_device_network
from dplaunch.probes.findings import list_some, name_devices
from dplaunch.probes.npu_pairs import (
    End,
    NamedDevices,
    find_ends,
    find_named_ends,
    pair_all,
    pair_places,
    pair_ring,
)
from dplaunch.probes.outputs import Outputs, clean
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.ping"
TIMEOUT = 10.0
"""Seconds, for three packets with a time-out each."""
ALL = 100
MOST = 500
"""Pings that a node sends for a rank table: each takes seconds, and they go one after another."""


class Ping(NamedTuple):
    """One ping and its result."""

    node: str
    device: int
    other: str
    other_device: int
    lost: int
    """Percent."""
    error: str
    """The tool's line about a loss; empty without any."""

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Both devices, the sender first."""
        return (self.node, self.device), (self.other, self.other_device)


def make_ping_probe(all_pairs: bool, named: NamedDevices | None = None) -> Probe:
    """Return the probe; with ``all_pairs`` it pings between every two devices, also of one node.

    ``named``: between every two devices of a rank table, at the table's addresses; between those in the same
    place on every two nodes only, where all would take too long.
    """
    pair = _pair_named if named else _pair_every if all_pairs else _pair_neighbours
    roce = bool(named and named.over_roce)

    def commands(target: ProbeTarget, seen: EarlierFacts) -> Iterator[Command]:
        if uses_device_network(target):
            found = find_named_ends(target, seen, named) if named else find_ends(target, seen)
            pairs = pair(found, target)
            over_hccs = target.spec.hardware.family == A3 and not roce
            yield from (_make_command(over_hccs, *ends) for ends in pairs if ends[0].node == target.name)

    def compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
        yield from _compare(targets, facts)
        if named and _are_too_many(len(named.addresses), len(targets)):
            text = (
                "only devices in the same place on two nodes pinged each other: all pairs would take too long"
            )
            yield Finding(probe=NAME, level=Level.ABSENT, text=text)

    return Probe(name=NAME, commands=commands, parse=_parse, compare=compare, stage=1)


Pairs = Iterator[tuple[End, End]]


def _pair_neighbours(found: Sequence[End], _: ProbeTarget) -> Pairs:
    return pair_ring(found)


def _pair_every(found: Sequence[End], target: ProbeTarget) -> Pairs:
    return pair_all(found, target.spec.hardware.family, target.name)


def _pair_named(found: Sequence[End], target: ProbeTarget) -> Pairs:
    if _are_too_many(len(found), len({end.node for end in found})):
        return pair_places(found, target.name)
    return _pair_every(found, target)


def _are_too_many(devices: int, nodes: int) -> bool:
    """Return whether a node would have to send more pings than it may."""
    return devices * (devices - 1) // 2 > MOST * nodes


def _make_command(over_hccs: bool, sender: End, other: End) -> Command:
    key = f"{sender.device} {other.node} {other.device}"
    how = "-hccs_ping" if over_hccs else "-ping"
    return hccn.make_command(key, sender.device, how, "-g", "address", other.address, timeout=TIMEOUT)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    facts: dict[str, Any] = {"pings": [], "unread": []}
    for key, output in outputs.items():
        found = hccn.parse_ping(clean(output.out))
        words = key.split(" ")
        if found is not None and len(words) == 3:  # noqa: PLR2004 - device, node, device
            ends_of = {"device": int(words[0]), "other": words[1], "other_device": int(words[2])}
            facts["pings"].append({**ends_of, **found})
        else:
            facts["unread"].append(describe_unread(f"ping {key}", output))
    hindrance = "" if facts["pings"] else find_hindrance(outputs.values())
    return {**facts, "hindrance": hindrance, "unread": [] if hindrance else facts["unread"]}


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    pings = [Ping(node=name, **entry) for name in known for entry in facts[name].get("pings", ())]
    found = list(_find_faults(pings))
    for name in known:
        own = [finding for finding in found if finding.node == name]
        yield from own
        if facts[name].get("hindrance"):
            _, text, remedy = explain_hindrance("hccn_tool", facts[name]["hindrance"])
            yield Finding(probe=NAME, level=Level.WARN, text=f"ping: {text}", node=name, remedy=remedy)
        sent = [ping for ping in pings if ping.node == name]
        if sent and not (own or facts[name].get("unread") or any(ping.lost for ping in sent)):
            text = f"{len(sent)} of {len(sent)} pings answered"
            yield Finding(probe=NAME, level=Level.OK, text=text, node=name)


def _find_faults(pings: Sequence[Ping]) -> Iterator[Finding]:
    """Find unreachable devices, then broken pairs of nodes, then losses."""
    gone = _find_unreachable(pings)
    for node in dict.fromkeys(node for node, _ in gone):
        members = name_devices(device for name, device in gone if name == node)
        yield _make_finding(
            node, Level.FAIL, f"{members}: unreachable, no ping to or from other devices is answered"
        )
    rest = [ping for ping in pings if not set(ping.ends) & gone]
    yield from _report_pairs(Level.FAIL, "no ping answered", [ping for ping in rest if ping.lost == ALL])
    yield from _report_pairs(Level.WARN, "pings lost", [ping for ping in rest if 0 < ping.lost < ALL])


def _find_unreachable(pings: Sequence[Ping]) -> set[tuple[str, int]]:
    """Return the devices with at least two partners and without any answered ping."""
    partners = grouped(way for ping in pings for way in (ping.ends, ping.ends[::-1]))
    answered = {end for ping in pings if ping.lost < ALL for end in ping.ends}
    return {end for end, others in partners.items() if len(set(others)) > 1 and end not in answered}


def _report_pairs(level: Level, what: str, pings: Iterable[Ping]) -> Iterator[Finding]:
    """Yield one finding for each two nodes, on the first sender; both directions are one pair."""
    pairs: dict[frozenset[str], list[Ping]] = {}
    for ping in pings:
        known = pairs.setdefault(frozenset((ping.node, ping.other)), [])
        if not any(set(ping.ends) == set(earlier.ends) for earlier in known):
            known.append(ping)
    for members in pairs.values():
        node = members[0].node
        other = next((ping.other for ping in members if ping.other != node), node)
        share = "" if level is Level.FAIL else f"{max(ping.lost for ping in members)} % of "
        error = f" ({members[0].error})" if members[0].error else ""
        routes = _describe_routes([_order_ends(node, ping) for ping in members], other)
        yield _make_finding(node, level, f"{routes}: {share}{what}{error}")


def _order_ends(node: str, ping: Ping) -> tuple[int, int]:
    """Return both devices, that of ``node`` first."""
    here, there = ping.ends if ping.node == node else reversed(ping.ends)
    return here[1], there[1]


def _describe_routes(routes: Sequence[tuple[int, int]], other: str) -> str:
    if len(routes) == 1:
        return f"device {routes[0][0]} and device {routes[0][1]} on {other}"
    if all(here == there for here, there in routes):
        return f"{name_devices(here for here, _ in routes)} and the same on {other}"
    return f"devices here and on {other} ({list_some([f'{here} and {there}' for here, there in routes])})"


def _make_finding(node: str, level: Level, text: str) -> Finding:
    remedy = "check the links of these devices and the VLAN and switch between them, then ping by hand"
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)
