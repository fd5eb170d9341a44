"""Devices are there, healthy, and nobody holds their memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import npu_smi
from dplaunch.probes.ascend import hindered, hindrance, is_npu, trouble, unread
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import OUTSIDE, needed
from dplaunch.probes.words import answer, clean, devices, shown_list, unread_finding
from dplaunch.ranges import grouped

NAME = "npu.devices"
IDLE = 5 * 1024
"""MB of HBM: an idle device shows about 3000 as used."""
_CALLS = {"info": "npu-smi info", "list": "npu-smi info -l", "map": "npu-smi info -m"}


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if is_npu(target):
        yield npu_smi.command("info", "info")
        yield npu_smi.command("list", "info", "-l")
        yield npu_smi.command("map", "info", "-m")


def _parse(_: Target, outputs: Outputs) -> Facts:
    answers = {key: answer(outputs, key) for key in _CALLS}
    texts = {key: "" if trouble(output) else clean(output.out) for key, output in answers.items()}
    chips, mapped = npu_smi.chips(texts["info"]), npu_smi.mapped(texts["map"])
    cards, listed = npu_smi.listed(texts["list"])
    cut = npu_smi.cut_short(texts["info"])
    hindered_by = hindrance(answers.values())
    read = {"info": bool(chips) and not cut, "list": bool(cards), "map": bool(mapped)}
    return {
        "count": len(chips) if read["info"] else len(mapped) or listed,
        "chip": chips[0].name if chips else mapped[0][1] if mapped else "",
        "devices": {str(chip.device): chip._asdict() for chip in chips},
        "holders": [holder._asdict() for holder in npu_smi.holders(texts["info"])],
        "whole": read["info"],
        "hindrance": hindered_by,
        "unread": [unread(_CALLS[key], answers[key]) for key in read if not read[key] and not hindered_by],
    }


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            own = list(_faults(target, facts[target.name]))
            yield from own or [_good(target, facts[target.name])]


def _faults(target: Target, facts: Facts) -> Iterator[Finding]:
    if facts.get("hindrance"):
        level, text, remedy = hindered("npu-smi", facts["hindrance"])
        yield Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)
        return
    yield from _missing(target, facts)
    yield from _ill(target, facts["devices"])
    yield from _held(target, facts)
    yield from unread_finding(NAME, target.name, facts)


def _missing(target: Target, facts: Facts) -> Iterator[Finding]:
    wanted, count = target.node.devices, facts["count"]
    if count >= wanted or (not count and facts["unread"]):
        return
    gone = [device for device in range(wanted) if str(device) not in facts["devices"]]
    named = facts["whole"] and len(gone) == wanted - count
    short = bool(needed(target) & set(gone)) if named else count < len(needed(target))
    yield Finding(
        probe=NAME,
        level=Level.FAIL if short else Level.WARN,
        text=f"{count} of {wanted} devices" + (f": {devices(gone)} missing" if named else ""),
        node=target.name,
        remedy="look at npu-smi info -l and dmesg; in a container pass every /dev/davinciN into it",
    )


def _ill(target: Target, found: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    sick = grouped((c["health"], int(d)) for d, c in found.items() if c["health"] != "OK")
    for health, members in sick.items():
        card, chip = (found[str(members[0])][key] for key in ("card", "chip"))
        yield Finding(
            probe=NAME,
            level=Level.WARN if health == "Warning" else Level.FAIL,
            text=f"{devices(members)}: health is {health}",
            node=target.name,
            remedy=f"npu-smi info -t health -i {card} -c {chip} names the error codes",
        )


def _held(target: Target, facts: Facts) -> Iterator[Finding]:
    """Who holds memory of devices we need. In a container our own processes may stand there nameless."""
    users = list(_users(target, facts))
    for name, members in grouped((name, device) for name, device, _ in users).items():
        pids = sorted({pid for who, _, own in users if who == name for pid in own})
        most = max(facts["devices"][str(device)]["used"] for device in members) / 1024
        numbers = f" (pid {shown_list(pids, 4)})" if pids else ""
        yield Finding(
            probe=NAME,
            level=Level.FAIL,
            text=f"{devices(members)}: {most:.1f} GB of HBM in use by {name}{numbers}",
            node=target.name,
            remedy="end it where it was started, or wait for it: the engine finds too little memory",
        )


def _users(target: Target, facts: Facts) -> Iterator[tuple[str, int, list[int]]]:
    """Name, device and pids of whoever holds a needed device and is not ours."""
    for device in sorted(needed(target) & {int(d) for d, c in facts["devices"].items() if c["used"] >= IDLE}):
        place = {key: facts["devices"][str(device)][key] for key in ("card", "chip")}
        rows = [row for row in facts["holders"] if {key: row[key] for key in place} == place]
        foreign = [row for row in rows if row["pid"] not in target.ours]
        nameless = not any(row["name"] for row in rows)
        if (foreign or not rows) and not (target.ours and nameless) and (facts["whole"] or rows):
            biggest = max(foreign, key=lambda row: row["megabytes"], default={"name": ""})
            yield biggest["name"] or OUTSIDE, device, [row["pid"] for row in foreign]


def _good(target: Target, facts: Facts) -> Finding:
    text = f"{facts['count']} × {facts['chip']}, healthy, free"
    return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("count", "chip"))
