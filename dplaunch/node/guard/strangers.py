"""Engines and routers on this machine that no guard of dplaunch started: reported, never touched."""

from __future__ import annotations

import os
import re

from . import ports, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHELLS = ("sh", "bash", "dash")
_WITH_VALUE = ("-X", "-W", "-o")
_GUARD = b"dplaunch-guard"
_LOOK = 4096
"""Bytes of a command line that are read."""
_SHOWN = 200


def find_strangers(ours: list[int], titles: list[str]) -> list[dict[str, Any]]:
    """``{pid, user, command, pids}`` of each process tree with engines or routers that is not ours.

    ``pid`` is the topmost of the tree that looks like one, ``pids`` are all that do. ``titles``: regular
    expressions, see ``looks_like_one``.
    """
    patterns = [re.compile(title) for title in titles]
    known = {os.getpid(), *ours}
    found = {pid: words for pid, words in _commands() if looks_like_one(words, patterns)}
    trees: dict[int, list[int]] = {}
    for pid in sorted(found):
        line = [pid, *_above(pid)]
        if not known.intersection(line) and not any(_is_guard(one) for one in line[1:]):
            trees.setdefault([one for one in line if one in found][-1], []).append(pid)
    mine = _above(os.getpid())
    return [_describe(top, found[top], pids) for top, pids in sorted(trees.items()) if top not in mine]


def looks_like_one(words: list[str], titles: list[re.Pattern[str]]) -> bool:
    """Whether a command line runs what one of the titles begins with; what it only mentions does not count.

    Its first word is the program without its folder; the script or the module where an interpreter runs one.
    """
    program, *rest = _run(words) or [""]
    if "--help" in rest or "-h" in rest:
        return False  # it only prints its flags, as a check asks for
    line = " ".join([os.path.basename(program), *rest])
    return any(title.match(line) for title in titles)


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
