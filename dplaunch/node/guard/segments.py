"""Shared memory that a process made: one that is killed leaves it in /dev/shm, where it holds memory.

A file there is the process's own if one of its tree has mapped it to share what it writes, and if it is no
older than the process. It is removed after the tree has gone, and only if nobody else has it open.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PLACE = "/dev/shm"  # noqa: S108 - where the C library keeps what shm_open and sem_open make
_SLACK = 1.0
"""Seconds: a file's time comes from a clock that ticks more coarsely than ours."""
_SETTLED = 1.0
"""Seconds after the last change there: whatever was made then has been mapped."""


class Segments:
    """What one process has made. ``since``: when it started, seconds since the epoch.

    ``found``: ``[[name, inode], …]`` as an earlier guard recorded it.
    """

    def __init__(self, since: float, found: Iterable[Iterable[str | int]] = (), place: str = PLACE) -> None:
        self._since = since - _SLACK
        self._place = place
        self._found = {int(inode): str(name) for name, inode in found}
        self._others: set[int] = set()
        """Files that were made since, by somebody else."""
        self._seen = 0

    def record(self) -> list[list[str | int]]:
        """Its form in state.json."""
        return sorted([name, inode] for inode, name in self._found.items())

    def note(self, tree: Callable[[], Iterable[int]]) -> None:
        """Learn which files the process has made; costs next to nothing while no file comes or goes.

        ``tree`` lists the pids of its tree. It is asked only where files are new: to look costs.
        """
        changed = _changed(self._place)
        if changed == self._seen:
            return
        settled = time.time() - changed / 1e9 > _SETTLED
        fresh = self._list_fresh()
        for pid in tree() if fresh else ():
            self._found.update(_list_mapped(pid, self._place, fresh))
        if settled:
            self._seen = changed
            self._others.update(fresh.keys() - self._found.keys())

    def _list_fresh(self) -> dict[int, str]:
        """Inode → name of the files that are not accounted for."""
        known = self._found.keys() | self._others
        fresh = {}
        for name in os.listdir(self._place):
            try:
                found = os.lstat(os.path.join(self._place, name))
            except OSError:
                continue  # gone meanwhile
            if stat.S_ISREG(found.st_mode) and found.st_mtime >= self._since and found.st_ino not in known:
                fresh[found.st_ino] = name
        return fresh

    def sweep(self) -> None:
        """Remove them, because the process has gone; what somebody else has open stays."""
        for inode, name in self._found.items():
            path = os.path.join(self._place, os.path.basename(name))
            try:
                _remove_unused(path, inode)
            except OSError:
                continue  # removed by the process itself, in use, or not ours to remove
        self._found = {}


def _changed(place: str) -> int:
    """When a file was last made or removed there; 0 where there is no such place."""
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return 0


def _list_mapped(pid: int, place: str, wanted: dict[int, str]) -> dict[int, str]:
    """Those of ``wanted`` that a process has mapped to share what it writes.

    By inode: sem_open makes its file under another name, by which the kernel calls the mapping ever after.
    """
    found = {}
    mark = os.fsencode(place) + b"/"
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            for line in maps:
                fields = line.rstrip(b"\n").split(None, 5) if mark in line else ()
                if len(fields) == 6 and fields[1][1::2] == b"ws":  # noqa: PLR2004 - the sixth is the path
                    inode = int(fields[4])
                    if inode in wanted:
                        found[inode] = wanted[inode]
    except OSError:
        return found  # gone meanwhile, or another user's
    return found


def _remove_unused(path: str, inode: int) -> None:
    """Remove a file that nobody has open or mapped: the kernel grants a lease on no other.

    Raises OSError where it is in use. Whoever opens it meanwhile waits for us; the signal that says so is one
    that does nothing here.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGCHLD)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        if os.fstat(fd).st_ino == inode:
            os.unlink(path)
    finally:
        os.close(fd)
