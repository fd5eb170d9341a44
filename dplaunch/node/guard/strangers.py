"""Engines and routers on this machine that no guard of dplaunch started: reported, never touched."""

from __future__ import annotations

import os

from . import ports, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TITLES = ("VLLM::", "EngineCore")
"""How the names that engines give to their processes begin."""
_MODULE = "vllm.entrypoints"
_PROXY = "load_balance_proxy"
"""Part of the name of each router script that vllm-ascend has as an example."""
_PROGRAMS = ("vllm-router", "launch_online_dp.py")
_FAMILY = "mindie"
_SHELLS = ("sh", "bash", "dash")
_WITH_VALUE = ("-X", "-W", "-o")
_GUARD = b"dplaunch-guard"
_LOOK = 4096
"""Bytes of a command line that are read."""
_SHOWN = 200


def find_strangers(ours: list[int]) -> list[dict[str, Any]]:
    """``{pid, user, command, pids}`` of each process tree with engines or routers that is not ours.

    ``pid`` is the topmost of the tree that looks like one, ``pids`` are all that do.
    """
    known = {os.getpid(), *ours}
    found = {pid: words for pid, words in _commands() if looks_like_one(words)}
    trees: dict[int, list[int]] = {}
    for pid in sorted(found):
        line = [pid, *_above(pid)]
        if not known.intersection(line) and not any(_is_guard(one) for one in line[1:]):
            trees.setdefault([one for one in line if one in found][-1], []).append(pid)
    mine = _above(os.getpid())
    return [_describe(top, found[top], pids) for top, pids in sorted(trees.items()) if top not in mine]


def looks_like_one(words: list[str]) -> bool:
    """Whether a command line runs an engine or a router; what it only mentions does not count."""
    program, *rest = _run(words) or [""]
    name = os.path.basename(program)
    if "--help" in rest or "-h" in rest:
        return False  # it only prints its flags, as a check asks for
    if name == "vllm":
        return rest[:1] == ["serve"]
    script = name in _PROGRAMS or (_PROXY in name and name.endswith(".py"))
    return script or name.lower().startswith(_FAMILY) or program.startswith((_MODULE, *_TITLES))


def _run(words: list[str]) -> list[str]:
    """A command line without its interpreter: it starts with the program, script or module that runs."""
    name = os.path.basename(words[0]) if words else ""
    if name not in _SHELLS and not name.startswith("python"):
        return words
    place = 1
    while place < len(words) and words[place].startswith("-"):
        if words[place] == "-m":
            return words[place + 1 :]
        if words[place] == "-c":
            return []
        place += 2 if words[place] in _WITH_VALUE else 1
    return words[place:]


def _commands() -> list[tuple[int, list[str]]]:
    """Pid and words of every command line; kernel threads and zombies have none."""
    return [(pid, words) for pid, words in ((pid, _words(pid)) for pid in proc.pids()) if words[0]]


def _words(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(_LOOK).decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return [""]


def _above(pid: int) -> list[int]:
    """Its ancestors, the nearest first."""
    found: list[int] = []
    one = proc.read(pid)
    while one is not None and one.ppid > 1 and one.ppid not in found:
        found.append(one.ppid)
        one = proc.read(one.ppid)
    return found


def _is_guard(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().strip() == _GUARD
    except OSError:
        return False


def _describe(pid: int, words: list[str], pids: list[int]) -> dict[str, Any]:
    return {"pid": pid, "user": _owner(pid), "command": " ".join(words)[:_SHOWN], "pids": pids}


def _owner(pid: int) -> str:
    try:
        return ports.user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return ""
