"""What the probes of Ascend devices have in common: how to call the tools, and how those report failures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dplaunch.model.check import Finding, Level, Output
from dplaunch.model.cluster import NPUS
from dplaunch.probes import outputs
from dplaunch.probes.findings import name_devices
from dplaunch.probes.probe import ProbeTarget
from dplaunch.ranges import grouped

A2, A3, A5 = "a2", "a3", "a5"

_FOLDERS = "/usr/local/Ascend/driver/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"
"""Folders of the driver's tools, which a non-login shell's PATH often lacks."""

_NO_SUCH_COMMAND = 127
NOT_FOUND = "not found"
NOT_ALLOWED = "not allowed"
NO_LIBRARY = "a shared library is missing"
_MESSAGES = (
    ("error while loading shared libraries", NO_LIBRARY),
    ("busy, please try again", "busy"),
    ("check this cmd run permission", NOT_ALLOWED),
    ("check this cmd run environment", "not allowed in this container or virtual machine"),
    (r"does ?n[o']t support|not supported|unsupport", "not supported by this driver or device"),
    ("device is not exist|device does not exist", "no such device"),
    ("dcmi [^\n]{0,40}initiali[^\n]{0,20}failed|driver is not loaded", "the driver does not answer"),
    ("command execute failed", "the command failed"),
)
_ANY_MESSAGE = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _MESSAGES))

_OF_ONE_CALL = {"", "busy", "not supported by this driver or device", "no such device", "the command failed"}

_FOLLOWS = "not run"
"""The problem of a call that was skipped because calls before it hung."""

_REMEDIES = {
    NOT_FOUND: "install the Ascend driver, or mount /usr/local/Ascend/driver and npu-smi into the container",
    NOT_ALLOWED: "log in as root: other users may not run the tool",
    NO_LIBRARY: "mount /usr/local/Ascend/driver into the container, and add its lib64 to LD_LIBRARY_PATH",
    "the driver does not answer": "pass the devices (/dev/davinci*, davinci_manager, devmm_svm, hisi_hdc) "
    "into the container, or check the driver with `dmesg`",
}


def make_argv(tool: str, *words: str) -> tuple[str, ...]:
    """Return a command that runs the tool, in whichever of its folders it is."""
    return ("sh", "-c", f'PATH="$PATH:{_FOLDERS}"; exec {tool} "$@"', "sh", *words)


def has_npus(target: ProbeTarget) -> bool:
    """Return whether the node has Ascend devices according to the cluster file."""
    return target.spec.hardware.family in NPUS and bool(target.node.devices)


def uses_device_network(target: ProbeTarget) -> bool:
    """Return whether data leaves the node through the ports of its devices, or goes through them inside it.

    The devices of a single machine reach each other without them, unless HCCL is told to use RoCE there.
    """
    roce = (str(role.env.get("HCCL_INTRA_ROCE_ENABLE", "0")) for role in target.spec.roles)
    has_ports = has_npus(target) and target.spec.hardware.family in (A2, A3)
    return has_ports and (bool(target.peers) or any(value == "1" for value in roce))


def has_ports_to_look_at(target: ProbeTarget) -> bool:
    """Return whether the ports of the node's devices are looked at: a 950 has them beside its own links."""
    of_a5 = has_npus(target) and target.spec.hardware.family == A5 and bool(target.peers)
    return of_a5 or uses_device_network(target)


def find_trouble(output: Output) -> str:
    """Return why a tool gave no answer, in words that are the same for all tools; empty if it may be one."""
    text = (output.out + output.err).lower()
    if _ANY_MESSAGE.search(text):
        return next(words for pattern, words in _MESSAGES if re.search(pattern, text))
    return NOT_FOUND if output.code == _NO_SUCH_COMMAND else output.problem


def find_hindrance(outputs: Iterable[Output]) -> str:
    """Return what keeps a tool from answering at all; empty if only single calls of it fail."""
    calls = list(outputs)
    calls = [output for output in calls if not output.problem.startswith(_FOLLOWS)] or calls
    found = {find_trouble(output) for output in calls}
    return found.pop() if len(found) == 1 and not found & _OF_ONE_CALL else ""


def explain_hindrance(tool: str, hindrance: str) -> tuple[Level, str, str]:
    """Return level, text and remedy for a tool that gives no answer. One probe of each tool reports it."""
    level = Level.FAIL if hindrance in (NOT_FOUND, NO_LIBRARY) else Level.WARN
    return level, f"{tool}: {hindrance}", _REMEDIES.get(hindrance, f"run {tool} on the node by hand")


def report_unknown(probe: str, node: str, tool: str, hindrance: str) -> Finding:
    """Return the finding of the other probes of a tool that gives no answer."""
    text = f"unknown, because {tool} gives no answer ({hindrance})"
    return Finding(probe=probe, level=Level.ABSENT, text=text, node=node)


def describe_unread(key: str, output: Output) -> str:
    """Return one line about an unreadable output of these tools, with the words of ``find_trouble``."""
    why = find_trouble(output)
    return f"{key}: {why}" if why else outputs.describe_unread(key, output)


class Duplicate(NamedTuple):
    """A device with a value that must be unique, and the first device with that value."""

    node: str
    device: int
    first_node: str
    first_device: int


def find_duplicates(values: Iterable[tuple[str, int, Any]]) -> list[Duplicate]:
    """Return, of (node, device, value), every device whose value an earlier device has."""
    first: dict[Any, tuple[str, int]] = {}
    found = []
    for node, device, value in values:
        owner = first.setdefault(value, (node, device))
        if owner != (node, device):
            found.append(Duplicate(node, device, *owner))
    return found


def describe_duplicates(found: Iterable[Duplicate], noun: str) -> Iterator[tuple[str, str]]:
    """Yield node and ``devices 0-7 have the address of devices 0-7 on n1``, one text for each two nodes."""
    pairs = grouped(((one.node, one.first_node), one) for one in found)
    for (node, other), members in pairs.items():
        own = name_devices(one.device for one in members)
        theirs = name_devices(one.first_device for one in members)
        verb = "has" if len(members) == 1 else "have"
        yield node, f"{own} {verb} the same {noun} as {theirs} on {other}"
