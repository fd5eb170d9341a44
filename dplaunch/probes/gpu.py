"""``gpu.devices``: all GPUs are there and work, and no other process holds their memory.

The probe reads ``nvidia-smi`` in its CSV format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Command, Facts, Finding, Level, Output
from dplaunch.probes.ascend import find_trouble
from dplaunch.probes.findings import OUTSIDE, list_some, name_devices, name_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.ranges import grouped

NAME = "gpu.devices"
IDLE = 1024
"""MiB: of an idle GPU without a display a few hundred at most are in use."""

_FORMAT = "--format=csv,noheader,nounits"
_GPUS = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.used,memory.total", _FORMAT)
_APPS = ("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name,used_memory", _FORMAT)
_DEFECTS = ("couldn't communicate with the NVIDIA driver", "Driver/library version mismatch", "GPU is lost",
         "Unable to determine the device handle")  # fmt: skip
_NONE = "No devices were found"


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if target.spec.hardware.family == "gpu" and target.node.devices:
        yield Command(key="gpus", argv=_GPUS, timeout=20.0, lane="nvidia-smi")
        yield Command(key="apps", argv=_APPS, timeout=20.0, lane="nvidia-smi")


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Return the rows of the GPU query: index, uuid, name, used and total MiB."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [
        {"index": int(row[0]), "uuid": row[1], "name": row[2], "used": int(row[3]), "total": int(row[4])}
        for row in rows
        if len(row) == 5 and all(_is_number(row[place]) for place in (0, 3, 4))  # noqa: PLR2004
    ]


def parse_apps(text: str) -> list[dict[str, Any]]:
    """Return the rows of the process query: uuid, pid, name. Hidden names (``[N/A]``) become empty."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [
        {"uuid": row[0], "pid": int(row[1]), "name": "" if row[2].startswith("[") else row[2]}
        for row in rows
        if len(row) == 4 and row[0].startswith("GPU-") and _is_number(row[1])  # noqa: PLR2004
    ]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 12  # noqa: PLR2004 - no number is longer


def find_defect(output: Output) -> str:
    """Return the line in which nvidia-smi reports a broken driver or device; empty without one."""
    lines = clean(f"{output.out}\n{output.err}").splitlines()
    return next((line.strip() for line in lines if any(defect in line for defect in _DEFECTS)), "")


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "gpus")
    processes = find_output(outputs, "apps")
    found = parse_gpus(clean(output.out))
    defect, missing = find_defect(output), find_trouble(output) == "not found"
    none = _NONE in output.out + output.err
    facts: dict[str, Any] = {"gpus": found, "apps": parse_apps(clean(processes.out)), "unread": []}
    facts |= {
        "count": len(found),
        "name": found[0]["name"] if found else "",
        "defect": defect,
        "missing": missing,
    }
    rows = [line for line in output.out.splitlines() if line.strip() and not defect]
    if not (defect or missing or none) and (output.problem or not found or len(rows) != len(found)):
        facts["unread"].append(describe_unread("nvidia-smi", output))
    elif processes.problem and not missing:
        facts["unread"].append(describe_unread("nvidia-smi, processes", processes))
    return facts


def _compare(targets: Sequence[ProbeTarget], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in facts:
            own = list(_find_faults(target, facts[target.name]))
            yield from own
            if not own and not facts[target.name]["unread"]:
                yield _report_good(target, facts[target.name])


def _report_good(target: ProbeTarget, facts: Facts) -> Finding:
    text = f"{name_some(target.node.devices, facts['count'])} × {facts['name']}, free"
    return Finding(probe=NAME, level=Level.OK, text=text, node=target.name)


def _find_faults(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    if facts["missing"]:
        remedy = "install the NVIDIA driver, or start the container with --gpus all"
        yield _make_finding(target, "nvidia-smi is missing", remedy)
        return
    if facts["defect"]:
        remedy = "look for NVRM and Xid lines in `dmesg`; reload the driver or restart the machine"
        yield _make_finding(target, facts["defect"], remedy)
    elif not facts["unread"]:
        yield from _find_missing(target, {gpu["index"] for gpu in facts["gpus"]})
    yield from _find_held(target, facts)


def _find_missing(target: ProbeTarget, there: Collection[int]) -> Iterator[Finding]:
    """Find GPUs that the file names and the node lacks; one without a seat is only worth a warning."""
    wanted = target.node.devices
    gone = [device for device in wanted if device not in there]
    if gone:
        text = f"only {len(wanted) - len(gone)} of {len(wanted)} GPUs: {name_devices(gone)} missing"
        remedy = (
            "look at `nvidia-smi -L` and `dmesg`; pass all GPUs into a container, or leave the GPU out with "
            "devices: in the cluster file"
        )
        level = Level.FAIL if target.needed_devices & set(gone) else Level.WARN
        yield Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


def _find_held(target: ProbeTarget, facts: Facts) -> Iterator[Finding]:
    users = list(_find_users(target, facts))
    for name, members in grouped((name, index) for name, index, _ in users).items():
        pids = sorted({pid for who, _, own in users if who == name for pid in own})
        most = max(gpu["used"] for gpu in facts["gpus"] if gpu["index"] in members) / 1024
        who = name + (f" (pid {list_some(pids, 4)})" if pids else "")
        text = f"{name_devices(members)}: {most:.1f} GiB in use by {who}"
        remedy = "end that process, or wait until it ends: engines would find too little memory"
        yield _make_finding(target, text, remedy)


def _find_users(target: ProbeTarget, facts: Facts) -> Iterator[tuple[str, int, list[int]]]:
    """Yield name, GPU and pids of each foreign process that holds memory of a needed GPU."""
    for gpu in facts["gpus"]:
        rows = [app for app in facts["apps"] if app["uuid"] == gpu["uuid"]]
        foreign = [app for app in rows if app["pid"] not in target.ours]
        nameless = not any(app["name"] for app in rows)
        held = gpu["used"] >= IDLE and gpu["index"] in target.needed_devices
        if held and (foreign or not rows) and not (target.ours and nameless):
            name = next((app["name"] for app in foreign if app["name"]), OUTSIDE)
            yield name, gpu["index"], [app["pid"] for app in foreign]


def _make_finding(target: ProbeTarget, text: str, remedy: str) -> Finding:
    return Finding(probe=NAME, level=Level.FAIL, text=text, node=target.name, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("count", "name"))
