"""GPUs: there, answering, and nobody holds their memory. ``nvidia-smi`` in its CSV form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level, Output
from dplaunch.probes.ascend import trouble
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import OUTSIDE, needed
from dplaunch.probes.words import answer, clean, devices, shown_list, unread, unread_finding
from dplaunch.ranges import grouped

NAME = "gpu.devices"
IDLE = 1024
"""MiB: an idle GPU without a display shows a few hundred at most."""

_FORMAT = "--format=csv,noheader,nounits"
_GPUS = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.used,memory.total", _FORMAT)
_APPS = ("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name,used_memory", _FORMAT)
_SICK = ("couldn't communicate with the NVIDIA driver", "Driver/library version mismatch", "GPU is lost",
         "Unable to determine the device handle")  # fmt: skip
_NONE = "No devices were found"


def _commands(target: Target, _: Seen) -> Iterator[Command]:
    if target.spec.hardware.family == "gpu" and target.node.devices:
        yield Command(key="gpus", argv=_GPUS, timeout=20.0, lane="nvidia-smi")
        yield Command(key="apps", argv=_APPS, timeout=20.0, lane="nvidia-smi")


def gpus(text: str) -> list[dict[str, Any]]:
    """Rows of the GPU query: index, uuid, name, used and total MiB."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [
        {"index": int(row[0]), "uuid": row[1], "name": row[2], "used": int(row[3]), "total": int(row[4])}
        for row in rows
        if len(row) == 5 and all(_is_number(row[place]) for place in (0, 3, 4))  # noqa: PLR2004
    ]


def apps(text: str) -> list[dict[str, Any]]:
    """Rows of the process query: uuid, pid, name. Names may be hidden (``[N/A]``, ``[Not Found]``)."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [
        {"uuid": row[0], "pid": int(row[1]), "name": "" if row[2].startswith("[") else row[2]}
        for row in rows
        if len(row) == 4 and row[0].startswith("GPU-") and _is_number(row[1])  # noqa: PLR2004
    ]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 12  # noqa: PLR2004 - no count is longer


def ailment(output: Output) -> str:
    """The line with which nvidia-smi says that driver or device are broken."""
    lines = clean(f"{output.out}\n{output.err}").splitlines()
    return next((line.strip() for line in lines if any(sick in line for sick in _SICK)), "")


def _parse(_: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, "gpus")
    processes = answer(outputs, "apps")
    found = gpus(clean(output.out))
    sick, missing = ailment(output), trouble(output) == "not found"
    none = _NONE in output.out + output.err
    facts: dict[str, Any] = {"gpus": found, "apps": apps(clean(processes.out)), "unread": []}
    facts |= {
        "count": len(found),
        "name": found[0]["name"] if found else "",
        "sick": sick,
        "missing": missing,
    }
    rows = [line for line in output.out.splitlines() if line.strip() and not sick]
    if not (sick or missing or none) and (output.problem or not found or len(rows) != len(found)):
        facts["unread"].append(unread("nvidia-smi", output))
    elif processes.problem and not missing:
        facts["unread"].append(unread("nvidia-smi, processes", processes))
    return facts


def _judge(targets: Sequence[Target], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            own = list(_faults(target, facts[target.name]))
            text = f"{facts[target.name]['count']} × {facts[target.name]['name']}, free"
            yield from own or [Finding(probe=NAME, level=Level.OK, text=text, node=target.name)]


def _faults(target: Target, facts: Facts) -> Iterator[Finding]:
    if facts["missing"]:
        yield _fail(
            target,
            "nvidia-smi is not there",
            "install the NVIDIA driver, or start the container with --gpus all",
        )
        return
    if facts["sick"]:
        yield _fail(
            target, facts["sick"], "look at dmesg for NVRM and Xid lines; load the driver again or restart"
        )
    elif facts["count"] < target.node.devices and not facts["unread"]:
        text = f"{facts['count']} of {target.node.devices} GPUs"
        yield _fail(target, text, "look at nvidia-smi -L and dmesg; in a container pass all GPUs into it")
    yield from _held(target, facts)
    yield from unread_finding(NAME, target.name, facts)


def _held(target: Target, facts: Facts) -> Iterator[Finding]:
    users = list(_users(target, facts))
    for name, members in grouped((name, index) for name, index, _ in users).items():
        pids = sorted({pid for who, _, own in users if who == name for pid in own})
        most = max(gpu["used"] for gpu in facts["gpus"] if gpu["index"] in members) / 1024
        who = name + (f" (pid {shown_list(pids, 4)})" if pids else "")
        text = f"{devices(members)}: {most:.1f} GiB in use by {who}"
        yield _fail(
            target, text, "end it where it was started, or wait for it: the engine finds too little memory"
        )


def _users(target: Target, facts: Facts) -> Iterator[tuple[str, int, list[int]]]:
    for gpu in facts["gpus"]:
        rows = [app for app in facts["apps"] if app["uuid"] == gpu["uuid"]]
        foreign = [app for app in rows if app["pid"] not in target.ours]
        nameless = not any(app["name"] for app in rows)
        held = gpu["used"] >= IDLE and gpu["index"] in needed(target)
        if held and (foreign or not rows) and not (target.ours and nameless):
            name = next((app["name"] for app in foreign if app["name"]), OUTSIDE)
            yield name, gpu["index"], [app["pid"] for app in foreign]


def _fail(target: Target, text: str, remedy: str) -> Finding:
    return Finding(probe=NAME, level=Level.FAIL, text=text, node=target.name, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("count", "name"))
