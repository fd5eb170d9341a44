"""Devices of different nodes reach each other: RoCE ping on an A2, HCCS ping on an A3, where it decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import hccn
from dplaunch.probes.ascend import A3, hindered, hindrance, is_npu, unread
from dplaunch.probes.npu_pairs import End, ends, every, ring
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import clean, devices, shown_list, unread_finding
from dplaunch.ranges import grouped

NAME = "npu.ping"
TIMEOUT = 10.0
"""Seconds: three packets, each of which may be waited for."""
ALL = 100


class Ping(NamedTuple):
    """One ping and what came of it."""

    node: str
    device: int
    other: str
    other_device: int
    lost: int
    """Percent."""
    said: str

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Both devices, the sender first."""
        return (self.node, self.device), (self.other, self.other_device)


def ping(all_pairs: bool) -> Probe:
    """The probe; with ``all_pairs`` every two devices, also of one node."""

    def commands(target: Target, seen: Seen) -> Iterator[Command]:
        if is_npu(target):
            found = ends(target, seen)
            family = target.spec.hardware.family
            pairs = every(found, family, target.name) if all_pairs else ring(found)
            yield from (_command(family, *pair) for pair in pairs if pair[0].node == target.name)

    return Probe(name=NAME, commands=commands, parse=_parse, judge=_judge, stage=1)


def _command(family: str, sender: End, other: End) -> Command:
    key = f"{sender.device} {other.node} {other.device}"
    how = "-hccs_ping" if family == A3 else "-ping"
    return hccn.command(key, sender.device, how, "-g", "address", other.address, timeout=TIMEOUT)


def _parse(_: Target, outputs: Outputs) -> Facts:
    facts: dict[str, Any] = {"pings": [], "unread": []}
    for key, output in outputs.items():
        found = hccn.ping(clean(output.out))
        words = key.split(" ")
        if found is not None and len(words) == 3:  # noqa: PLR2004 - device, node, device
            ends_of = {"device": int(words[0]), "other": words[1], "other_device": int(words[2])}
            facts["pings"].append({**ends_of, **found})
        else:
            facts["unread"].append(unread(f"ping {key}", output))
    facts["hindrance"] = "" if facts["pings"] else hindrance(outputs.values())
    return facts


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    pings = [Ping(node=name, **entry) for name in known for entry in facts[name].get("pings", ())]
    found = list(_faults(pings))
    for name in known:
        own = [finding for finding in found if finding.node == name]
        own += _unread(name, facts[name])
        yield from own
        sent = [ping for ping in pings if ping.node == name]
        if sent and not own and not any(ping.lost for ping in sent):
            text = f"{len(sent)} of {len(sent)} pings answered"
            yield Finding(probe=NAME, level=Level.OK, text=text, node=name)


def _unread(name: str, facts: Facts) -> Iterator[Finding]:
    if facts.get("hindrance"):
        _, text, remedy = hindered("hccn_tool", facts["hindrance"])
        yield Finding(probe=NAME, level=Level.WARN, text=f"ping: {text}", node=name, remedy=remedy)
    else:
        yield from unread_finding(NAME, name, facts)


def _faults(pings: Sequence[Ping]) -> Iterator[Finding]:
    """Devices that nobody reaches; then pairs between nodes; then losses."""
    gone = _unreachable(pings)
    for node in dict.fromkeys(node for node, _ in gone):
        members = devices(device for name, device in gone if name == node)
        yield _finding(node, Level.FAIL, f"{members}: no ping to or from another device is answered")
    rest = [ping for ping in pings if not set(ping.ends) & gone]
    yield from _between(Level.FAIL, "no ping answered", [ping for ping in rest if ping.lost == ALL])
    yield from _between(Level.WARN, "pings lost", [ping for ping in rest if 0 < ping.lost < ALL])


def _unreachable(pings: Sequence[Ping]) -> set[tuple[str, int]]:
    """Devices with two others or more to ping or be pinged by, and not one answer."""
    partners = grouped(way for ping in pings for way in (ping.ends, ping.ends[::-1]))
    answered = {end for ping in pings if ping.lost < ALL for end in ping.ends}
    return {end for end, others in partners.items() if len(set(others)) > 1 and end not in answered}


def _between(level: Level, what: str, pings: Iterable[Ping]) -> Iterator[Finding]:
    """One finding per two nodes, on the one that pinged first; the way back is the same pair."""
    pairs: dict[frozenset[str], list[Ping]] = {}
    for ping in pings:
        known = pairs.setdefault(frozenset((ping.node, ping.other)), [])
        if not any(set(ping.ends) == set(earlier.ends) for earlier in known):
            known.append(ping)
    for members in pairs.values():
        node = members[0].node
        other = next((ping.other for ping in members if ping.other != node), node)
        share = "" if level is Level.FAIL else f"{max(ping.lost for ping in members)} % of "
        said = f" ({members[0].said})" if members[0].said else ""
        who = _who([_route(node, ping) for ping in members], other)
        yield _finding(node, level, f"{who}: {share}{what}{said}")


def _route(node: str, ping: Ping) -> tuple[int, int]:
    """The device of ``node`` first, whoever sent."""
    here, there = ping.ends if ping.node == node else reversed(ping.ends)
    return here[1], there[1]


def _who(routes: Sequence[tuple[int, int]], other: str) -> str:
    if len(routes) == 1:
        return f"device {routes[0][0]} and device {routes[0][1]} on {other}"
    if all(here == there for here, there in routes):
        return f"{devices(here for here, _ in routes)} and the same on {other}"
    return f"devices here and on {other} ({shown_list([f'{here} and {there}' for here, there in routes])})"


def _finding(node: str, level: Level, text: str) -> Finding:
    remedy = "look at the devices' links, VLAN and switch between them, then ping again by hand"
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)
