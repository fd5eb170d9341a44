"""Processes that outlived the tests that started them.

A process belongs to a folder when its command line, environment or working directory names it.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from waiting import until


@dataclass(frozen=True)
class Left:
    pid: int
    command: str

    def __str__(self) -> str:
        return f"  pid {self.pid}: {self.command}"


def left_by(folder: Path, grace: float = 1.0) -> list[Left]:
    """Who still belongs to the folder after ``grace`` seconds of dying time."""
    try:
        until(lambda: not belonging_to(folder), grace)
    except AssertionError:
        return belonging_to(folder)
    return []


def end(left: list[Left]) -> None:
    """Kill them, each by its pid."""
    for one in left:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def belonging_to(folder: Path) -> list[Left]:
    """Live processes of that folder, but neither this one nor those above it."""
    mark = os.fsencode(folder)
    mine = _lineage()
    found = (_marked(entry, mark) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted((one for one in found if one and one.pid not in mine), key=lambda one: one.pid)


def _marked(entry: Path, mark: bytes) -> Left | None:
    try:
        command = (entry / "cmdline").read_bytes()
        # In the middle of its exec a process has neither command line nor environment, but a folder; a
        # zombie has no folder any more.
        if not _names(
            mark, command, (entry / "environ").read_bytes(), os.fsencode((entry / "cwd").readlink())
        ):
            return None
    except OSError:  # gone meanwhile, or another user's
        return None
    return Left(int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip())


def _names(mark: bytes, *places: bytes) -> bool:
    # followed by a separator or the end: pytest-1 is not pytest-10
    return any(mark + after in place + b"\0" for place in places for after in (b"/", b"\0", b" ", b":"))


def _lineage() -> set[int]:
    pids, pid = set(), os.getpid()
    while pid > 0:
        pids.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pids
