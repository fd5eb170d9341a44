"""``npu.superpod``: the places of A3 devices in their super pod.

The nodes of a group have the same pod; in it each has a server index, and each device an SDID, of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import npu_smi
from dplaunch.probes.ascend import (
    A3,
    describe_duplicates,
    describe_unread,
    find_duplicates,
    find_hindrance,
    report_unknown,
)
from dplaunch.probes.findings import find_outliers, name_devices
from dplaunch.probes.outputs import Outputs, clean
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.superpod"
DIES = 2
"""Devices on an A3 card."""
UNSET = {0xFFFF, 0xFFFFFFFF}
"""All ones mean "not configured". This is inferred, not documented."""
WANTED = {"sdid", "pod", "server"}
REMEDY = "set server index and super pod in the server's BMC (iBMC), then restart the server"

PodPlace = Mapping[str, int]
"""``sdid``, ``pod`` and ``server`` of a device."""
NodePlaces = tuple[str, Mapping[str, PodPlace]]
"""The name of a node, and device → place."""


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if target.spec.hardware.family == A3 and target.peers:
        for device in target.node.devices:
            card, chip = divmod(device, DIES)
            words = ("info", "-t", "spod-info", "-i", str(card), "-c", str(chip))
            yield npu_smi.make_command(f"spod {device}", *words)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    calls = {key: output for key, output in outputs.items() if key.startswith("spod ")}
    facts: dict[str, Any] = {"devices": {}, "unread": [], "hindrance": find_hindrance(calls.values())}
    for key, output in calls.items():
        found = npu_smi.parse_super_pod(clean(output.out))
        if set(found) >= WANTED:
            facts["devices"][key.removeprefix("spod ")] = found
        elif not facts["hindrance"]:
            facts["unread"].append(describe_unread(key, output))
    return facts


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    known = [target.name for target in targets if target.name in facts]
    nodes = [(name, _list_configured(facts[name])) for name in known]
    found = [
        *_find_unset(facts, known),
        *_find_shared_ids(nodes),
        *_find_other_pods(nodes, targets),
        *_find_wrong_indices(nodes),
    ]
    for name in known:
        own = [finding for finding in found if finding.node == name]
        yield from own
        if not own and not facts[name].get("unread"):
            yield _report_good(name, facts[name])


def _list_configured(facts: Facts) -> dict[str, PodPlace]:
    return {d: place for d, place in facts.get("devices", {}).items() if not is_unset(place)}


def is_unset(place: PodPlace) -> bool:
    """Return whether the super pod of a device is not configured."""
    return any(place[key] in UNSET for key in WANTED)


def _find_unset(facts: Mapping[str, Facts], known: Sequence[str]) -> Iterator[Finding]:
    for name in known:
        members = [int(d) for d, place in facts[name].get("devices", {}).items() if is_unset(place)]
        if members:
            yield _make_finding(name, f"{name_devices(members)}: super pod is not configured", Level.WARN)


def _find_shared_ids(nodes: Sequence[NodePlaces]) -> Iterator[Finding]:
    ids = [
        (name, int(device), (place["pod"], place["sdid"]))
        for name, places in nodes
        for device, place in places.items()
    ]
    for name, text in describe_duplicates(find_duplicates(ids), "SDID"):
        yield _make_finding(name, text)


def _find_other_pods(nodes: Sequence[NodePlaces], targets: Sequence[ProbeTarget]) -> Iterator[Finding]:
    """Find devices in another super pod than most of their group, then nodes that only hand KV over."""
    roles = targets[0].spec.roles
    groups = dict.fromkeys(frozenset(role.nodes_of(g)) for role in roles for g in range(role.groups))
    apart: set[str] = set()
    for group in groups:
        for name, pod, members, common in _list_outliers([one for one in nodes if one[0] in group]):
            apart.add(name)
            yield _make_finding(
                name,
                f"{name_devices(members)}: super pod is {pod}, but {common} on most devices of its group",
            )
    together = [one for one in nodes if one[0] not in apart]
    for name, pod, members, common in _list_outliers(together) if targets[0].spec.kv_transfer else ():
        text = f"{name_devices(members)}: super pod is {pod}, but {common} on most nodes with which KV goes"
        yield _make_finding(name, text, Level.WARN)


def _list_outliers(nodes: Sequence[NodePlaces]) -> Iterator[tuple[str, int, list[int], int]]:
    """Yield node, pod and devices that are in another pod than most of these, and the pod of most."""
    pods = {f"{name} {device}": place["pod"] for name, places in nodes for device, place in places.items()}
    common, others = find_outliers(pods)
    for name, places in nodes:
        wrong = grouped((place["pod"], int(d)) for d, place in places.items() if f"{name} {d}" in others)
        for pod, members in wrong.items():
            yield name, pod, members, common


def _find_wrong_indices(nodes: Sequence[NodePlaces]) -> Iterator[Finding]:
    """Find nodes with several server indices, or with that of another node unless they share SDIDs too."""
    held: dict[tuple[int, int], str] = {}
    taken: set[tuple[int, int]] = set()
    for name, places in nodes:
        own, others = find_outliers({device: place["server"] for device, place in places.items()})
        for index, members in grouped((index, int(d)) for d, index in others.items()).items():
            text = f"server index is {index}, but {own} on most devices of the node"
            yield _make_finding(name, f"{name_devices(members)}: {text}")
        pod, _ = find_outliers({device: place["pod"] for device, place in places.items()})
        sdids = {(place["pod"], place["sdid"]) for place in places.values()}
        other = held.setdefault((pod, own), name) if places else name
        if other != name and not sdids & taken:
            yield _make_finding(name, f"server index is {own}, the same as that of {other}")
        taken |= sdids


def _make_finding(node: str, text: str, level: Level = Level.FAIL) -> Finding:
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=REMEDY)


def _report_good(name: str, facts: Facts) -> Finding:
    if facts.get("hindrance"):
        return report_unknown(NAME, name, "npu-smi", facts["hindrance"])
    pod = next(iter(facts["devices"].values()))["pod"] if facts["devices"] else ""
    return Finding(probe=NAME, level=Level.OK, text=f"super pod {pod}, all SDIDs differ", node=name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("devices",))
