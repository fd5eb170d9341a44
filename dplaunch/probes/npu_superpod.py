"""An A3's place in its super pod: one pod for all nodes, one server index per node, one SDID per device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import npu_smi
from dplaunch.probes.ascend import A3, hindrance, twin_texts, twins, unknown, unread
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import clean, devices, odd_ones, unread_finding
from dplaunch.ranges import grouped

NAME = "npu.superpod"
DIES = 2
"""Devices of an A3 card."""
UNSET = {0xFFFF, 0xFFFFFFFF}
"""All ones stand for "not configured": inferred, no document says so."""
WANTED = {"sdid", "pod", "server"}
_REMEDY = "set the server's index and super pod in its BMC (iBMC), then restart it"

Place = Mapping[str, int]
Node = tuple[str, Mapping[str, Place]]
"""A name and its devices' places."""


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if target.spec.hardware.family == A3:
        for device in range(target.node.devices):
            card, chip = divmod(device, DIES)
            words = ("info", "-t", "spod-info", "-i", str(card), "-c", str(chip))
            yield npu_smi.command(f"spod {device}", *words)


def _parse(_: Target, outputs: Outputs) -> Facts:
    calls = {key: output for key, output in outputs.items() if key.startswith("spod ")}
    facts: dict[str, Any] = {"devices": {}, "unread": [], "hindrance": hindrance(calls.values())}
    for key, output in calls.items():
        found = npu_smi.super_pod(clean(output.out))
        if set(found) >= WANTED:
            facts["devices"][key.removeprefix("spod ")] = found
        elif not facts["hindrance"]:
            facts["unread"].append(unread(key, output))
    return facts


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    nodes = [(name, _set(facts[name])) for name in known]
    found = [*_unset(facts, known), *_same_device(nodes), *_pods(nodes), *_indices(nodes)]
    for name in known:
        own = [finding for finding in found if finding.node == name]
        own += unread_finding(NAME, name, facts[name])
        yield from own or [_good(name, facts[name])]


def _set(facts: Facts) -> dict[str, Place]:
    return {d: place for d, place in facts.get("devices", {}).items() if not _is_unset(place)}


def _is_unset(place: Place) -> bool:
    return any(place[key] in UNSET for key in WANTED)


def _unset(facts: Mapping[str, Facts], known: Sequence[str]) -> Iterator[Finding]:
    for name in known:
        members = [int(d) for d, place in facts[name].get("devices", {}).items() if _is_unset(place)]
        if members:
            yield _finding(name, f"{devices(members)}: super pod is not configured", Level.WARN)


def _same_device(nodes: Sequence[Node]) -> Iterator[Finding]:
    held = [(name, int(device), place["sdid"]) for name, places in nodes for device, place in places.items()]
    for name, text in twin_texts(twins(held), "SDID"):
        yield _finding(name, text)


def _pods(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Devices whose super pod is not that of most."""
    pods = {f"{name} {device}": place["pod"] for name, places in nodes for device, place in places.items()}
    common, odd = odd_ones(pods)
    for name, places in nodes:
        strange = grouped((place["pod"], int(d)) for d, place in places.items() if f"{name} {d}" in odd)
        for pod, members in strange.items():
            yield _finding(name, f"{devices(members)}: super pod is {pod}, of most devices {common}")


def _indices(nodes: Sequence[Node]) -> Iterator[Finding]:
    """One index per node, another on the next. Nodes that share SDIDs were named already."""
    held: dict[tuple[int, int], str] = {}
    taken: set[int] = set()
    for name, places in nodes:
        own, odd = odd_ones({device: place["server"] for device, place in places.items()})
        for index, members in grouped((index, int(d)) for d, index in odd.items()).items():
            yield _finding(name, f"{devices(members)}: server index is {index}, of most devices here {own}")
        pod, _ = odd_ones({device: place["pod"] for device, place in places.items()})
        sdids = {place["sdid"] for place in places.values()}
        other = held.setdefault((pod, own), name) if places else name
        if other != name and not sdids & taken:
            yield _finding(name, f"server index {own} is also that of {other}")
        taken |= sdids


def _finding(node: str, text: str, level: Level = Level.FAIL) -> Finding:
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=_REMEDY)


def _good(name: str, facts: Facts) -> Finding:
    if facts.get("hindrance"):
        return unknown(NAME, name, "npu-smi", facts["hindrance"])
    pod = next(iter(facts["devices"].values()))["pod"] if facts["devices"] else ""
    return Finding(probe=NAME, level=Level.OK, text=f"super pod {pod}, every SDID once", node=name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("devices",))
