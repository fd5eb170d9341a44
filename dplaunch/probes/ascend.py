"""What all looks at Ascend devices share: how their tools are called, and how they say that they cannot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dplaunch.model.check import Finding, Level, Output
from dplaunch.probes.probe import Target
from dplaunch.probes.words import devices
from dplaunch.probes.words import unread as unread_output
from dplaunch.ranges import grouped

A2, A3 = "a2", "a3"

_FOLDERS = "/usr/local/Ascend/driver/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"
"""Where the driver's installer puts its tools; a non-login shell's PATH often lacks them."""

_NO_SUCH_COMMAND = 127
NOT_FOUND = "not found"
NOT_ALLOWED = "not allowed"
NO_LIBRARY = "a shared library is missing"
_SAYINGS = (
    ("error while loading shared libraries", NO_LIBRARY),
    ("busy, please try again", "busy"),
    ("check this cmd run permission", NOT_ALLOWED),
    ("check this cmd run environment", "not allowed in this container or virtual machine"),
    (r"does ?n[o']t support|not supported|unsupport", "not supported by this driver or device"),
    ("device is not exist|device does not exist", "no such device"),
    ("dcmi [^\n]{0,40}initiali[^\n]{0,20}failed|driver is not loaded", "the driver does not answer"),
    ("command execute failed", "the command failed"),
)
_SAID = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _SAYINGS))
"""Any of them: hardly an answer has one."""

_OF_ONE_CALL = {"", "busy", "not supported by this driver or device", "no such device", "the command failed"}

_FOLLOWS = "not run"
"""A call that was not made any more, because those before it hung."""

_REMEDIES = {
    NOT_FOUND: "install the Ascend driver, or mount /usr/local/Ascend/driver and npu-smi into the container",
    NOT_ALLOWED: "log in as root: the tool answers nobody else",
    NO_LIBRARY: "mount /usr/local/Ascend/driver into the container, its lib64 folders in LD_LIBRARY_PATH",
    "the driver does not answer": "pass the devices (/dev/davinci*, davinci_manager, devmm_svm, hisi_hdc) "
    "into the container, or look at the driver's state with dmesg",
}


def argv(tool: str, *words: str) -> tuple[str, ...]:
    """A call of the tool, wherever its installer put it."""
    return ("sh", "-c", f'PATH="$PATH:{_FOLDERS}"; exec {tool} "$@"', "sh", *words)


def is_npu(target: Target) -> bool:
    """Whether the cluster file says that the node has Ascend devices."""
    return target.spec.hardware.family in (A2, A3) and target.node.devices > 0


def trouble(output: Output) -> str:
    """Why the output is no answer: the same few words whatever the tool; empty when it may be one."""
    said = (output.out + output.err).lower()
    if _SAID.search(said):
        return next(words for pattern, words in _SAYINGS if re.search(pattern, said))
    return NOT_FOUND if output.code == _NO_SUCH_COMMAND else output.problem


def hindrance(outputs: Iterable[Output]) -> str:
    """What keeps a tool from any answer; empty as soon as one got through, or when only these calls fail."""
    made = list(outputs)
    made = [output for output in made if not output.problem.startswith(_FOLLOWS)] or made
    found = {trouble(output) for output in made}
    return found.pop() if len(found) == 1 and not found & _OF_ONE_CALL else ""


def hindered(tool: str, hindrance: str) -> tuple[Level, str, str]:
    """Level, text and remedy of a tool that does not answer at all. Only one probe of a tool says it."""
    level = Level.FAIL if hindrance in (NOT_FOUND, NO_LIBRARY) else Level.WARN
    return level, f"{tool}: {hindrance}", _REMEDIES.get(hindrance, f"run {tool} there by hand")


def unknown(probe: str, node: str, tool: str, hindrance: str) -> Finding:
    """What the other probes of a tool say that does not answer at all."""
    return Finding(probe=probe, level=Level.ABSENT, text=f"unknown without {tool}: {hindrance}", node=node)


def unread(words: str, output: Output) -> str:
    """As ``words.unread``, of these tools: in the few words of ``trouble`` where those say it."""
    why = trouble(output)
    return f"{words}: {why}" if why else unread_output(words, output)


class Twin(NamedTuple):
    """A device that has a value which must be unique, and who had it first."""

    node: str
    device: int
    first_node: str
    first_device: int


def twins(held: Iterable[tuple[str, int, Any]]) -> list[Twin]:
    """Of (node, device, value): every device whose value an earlier one has."""
    first: dict[Any, tuple[str, int]] = {}
    found = []
    for node, device, value in held:
        owner = first.setdefault(value, (node, device))
        if owner != (node, device):
            found.append(Twin(node, device, *owner))
    return found


def twin_texts(found: Iterable[Twin], noun: str) -> Iterator[tuple[str, str]]:
    """Node → ``devices 0-7 have the address of devices 0-7 on n1``, one text per pair of nodes."""
    pairs = grouped(((twin.node, twin.first_node), twin) for twin in found)
    for (node, other), members in pairs.items():
        own = devices(twin.device for twin in members)
        theirs = devices(twin.first_device for twin in members)
        verb = "has" if len(members) == 1 else "have"
        yield node, f"{own} {verb} the {noun} of {theirs} on {other}"
