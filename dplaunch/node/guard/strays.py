"""Processes known by their environment alone: what a guard started carries node folder and process name.

It finds what no state file names any more: a cleaner removed the folder, or a disk lost the file.
"""

from __future__ import annotations

import os

from . import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .proc import Proc

_LONGEST = 1 << 20
"""Bytes of an environment that are read."""
_USUAL = 1 << 16
"""Bytes that are read at first: room for a megabyte costs more than looking at a process."""


def find_strays(root: str) -> dict[str, list[Proc]]:
    """Process name → live processes whose environment names it and this node folder, oldest first.

    Neither this session nor anything above it counts: it may have been opened from within such a process.
    Nor does what runs in another container: the same path is another folder there.
    """
    home, here = os.path.realpath(root), _read_namespace(os.getpid())
    found: dict[str, list[Proc]] = {}
    for pid in proc.pids() - _list_ancestors():
        names = _read_names(pid)
        one = proc.read(pid) if names and os.path.realpath(names[0]) == home else None
        if names and one is not None and _read_namespace(pid) == here:
            found.setdefault(names[1], []).append(one)
    for procs in found.values():
        procs.sort(key=lambda one: one.start)
    return found


def _list_ancestors() -> set[int]:
    """This process and all above it."""
    found: set[int] = set()
    one = proc.read(os.getpid())
    while one is not None and one.pid not in found:
        found.add(one.pid)
        one = proc.read(one.ppid)
    return found


def _read_namespace(pid: int) -> str:
    """The pid namespace of a process; empty where it cannot be read."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _read_names(pid: int) -> tuple[str, str] | None:
    """DPLAUNCH_ROOT and DPLAUNCH_PROCESS of a process; None where it lacks one, or hides them."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            content = file.read(_USUAL) or b""
            if len(content) == _USUAL:
                content += file.read(_LONGEST - _USUAL) or b""
    except OSError:
        return None
    if b"DPLAUNCH_ROOT=" not in content:
        return None
    words = (word.partition(b"=") for word in content.split(b"\0"))
    values = {name: os.fsdecode(value) for name, _, value in words}
    root, process = values.get(b"DPLAUNCH_ROOT"), values.get(b"DPLAUNCH_PROCESS")
    return (root, process) if root and process else None
