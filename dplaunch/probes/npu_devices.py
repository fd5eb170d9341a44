"""``npu.devices``: all devices are there and healthy, and no other process holds their memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import npu_smi
from dplaunch.probes.ascend import (
    describe_unread,
    explain_hindrance,
    find_hindrance,
    find_trouble,
    has_npus,
)
from dplaunch.probes.findings import OUTSIDE, list_some, name_devices, name_some
from dplaunch.probes.outputs import Outputs, clean, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "npu.devices"
IDLE = 5 * 1024
"""MB of HBM: about 3000 of an idle device are in use."""
_CALLS = {"info": "npu-smi info", "list": "npu-smi info -l", "map": "npu-smi info -m"}


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if has_npus(target):
        yield npu_smi.make_command("info", "info")
        yield npu_smi.make_command("list", "info", "-l")
        yield npu_smi.make_command("map", "info", "-m")


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    answers = {key: find_output(outputs, key) for key in _CALLS}
    texts = {key: "" if find_trouble(output) else clean(output.out) for key, output in answers.items()}
    chips, mapped = npu_smi.parse_chips(texts["info"]), npu_smi.parse_map(texts["map"])
    cards, listed = npu_smi.parse_list(texts["list"])
    cut_off = npu_smi.is_cut_off(texts["info"])
    hindrance = find_hindrance(answers.values())
    read = {"info": bool(chips) and not cut_off, "list": bool(cards), "map": bool(mapped)}
    return {
        "count": len(chips) if read["info"] else len(mapped) or listed,
        "chip": chips[0].name if chips else mapped[0][1] if mapped else "",
        "devices": {str(chip.device): chip._asdict() for chip in chips},
        "holders": [holder._asdict() for holder in npu_smi.parse_holders(texts["info"])],
        "whole": read["info"],
        "hindrance": hindrance,
        "unread": [
            describe_unread(_CALLS[key], answers[key]) for key in read if not read[key] and not hindrance
        ],
    }


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            own = list(_find_faults(target, facts[target.name]))
            yield from own
            if not own and not facts[target.name]["unread"]:
                yield _report_good(target, facts[target.name])


def _find_faults(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    if facts.get("hindrance"):
        level, text, remedy = explain_hindrance("npu-smi", facts["hindrance"])
        yield Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)
        return
    yield from _find_missing(target, facts)
    yield from _find_unhealthy(target, facts["devices"])
    yield from _find_held(target, facts)


def _find_missing(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    wanted, count = target.node.devices, facts["count"]
    gone = [device for device in wanted if str(device) not in facts["devices"]] if facts["whole"] else []
    if not gone and (count >= len(wanted) or (not count and facts["unread"])):
        return
    short = bool(target.needed_devices & set(gone)) if gone else count < len(target.needed_devices)
    there = len(wanted) - len(gone) if gone else count
    text = f"only {there} of {len(wanted)} devices" + (f": {name_devices(gone)} missing" if gone else "")
    yield Finding(
        probe=NAME,
        level=Level.FAIL if short else Level.WARN,
        text=text,
        node=target.name,
        remedy="look at `npu-smi info -l` and `dmesg`; pass every /dev/davinciN into a container, or leave "
        "the device out with devices: in the cluster file",
    )


def _find_unhealthy(target: ProbeTarget, found: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Find ill devices among those that the file names; one without a seat is only worth a warning."""
    ill = ((int(d), c["health"]) for d, c in found.items() if c["health"] != "OK")
    named = ((d, health) for d, health in ill if d in target.node.devices)
    for (health, used), members in grouped(((h, d in target.needed_devices), d) for d, h in named).items():
        card, chip = (found[str(members[0])][key] for key in ("card", "chip"))
        yield Finding(
            probe=NAME,
            level=Level.FAIL if used and health != "Warning" else Level.WARN,
            text=f"{name_devices(members)}: health is {health}",
            node=target.name,
            remedy=f"print the error codes with `npu-smi info -t health -i {card} -c {chip}`",
        )


def _find_held(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    """Find other processes that hold memory of needed devices. In a container even ours may have no name."""
    users = list(_find_users(target, facts))
    for name, members in grouped((name, device) for name, device, _ in users).items():
        pids = sorted({pid for who, _, own in users if who == name for pid in own})
        most = max(facts["devices"][str(device)]["used"] for device in members) / 1024
        numbers = f" (pid {list_some(pids, 4)})" if pids else ""
        yield Finding(
            probe=NAME,
            level=Level.FAIL,
            text=f"{name_devices(members)}: {most:.1f} GB of HBM in use by {name}{numbers}",
            node=target.name,
            remedy="end that process, or wait until it ends: engines would find too little memory",
        )


def _find_users(target: ProbeTarget, facts: Facts) -> Iterator[tuple[str, int, list[int]]]:
    """Yield name, device and pids of each foreign process that holds memory of a needed device."""
    for device in sorted(
        target.needed_devices & {int(d) for d, c in facts["devices"].items() if c["used"] >= IDLE}
    ):
        place = {key: facts["devices"][str(device)][key] for key in ("card", "chip")}
        rows = [row for row in facts["holders"] if {key: row[key] for key in place} == place]
        foreign = [row for row in rows if row["pid"] not in target.ours]
        nameless = not any(row["name"] for row in rows)
        if (foreign or not rows) and not (target.ours and nameless) and (facts["whole"] or rows):
            biggest = max(foreign, key=lambda row: row["megabytes"], default={"name": ""})
            yield biggest["name"] or OUTSIDE, device, [row["pid"] for row in foreign]


def _report_good(target: ProbeTarget, facts: Facts) -> Finding:
    text = f"{name_some(target.node.devices, facts['count'])} × {facts['chip']}, healthy, free"
    return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("count", "chip"))
