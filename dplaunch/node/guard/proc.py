"""Processes by what the kernel says of them: a process is its pid and its start time.

Trees are found by scanning ``/proc/*/stat``: kernels without CONFIG_PROC_CHILDREN exist, and an
engine has so many threads that ``task/*/children`` costs more than the scan does.
"""

from __future__ import annotations

import os

_DEAD = b"ZXx"
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")
_COMMAND_LENGTH = 200


class Proc:
    """One live process. ``start`` is in clock ticks since boot, ``sid`` the session's id."""

    __slots__ = ("pid", "ppid", "sid", "start")

    def __init__(self, pid: int, ppid: int, sid: int, start: int) -> None:
        self.pid = pid
        self.ppid = ppid
        self.sid = sid
        self.start = start

    def record(self) -> list[int]:
        """How it stands in state.json."""
        return [self.pid, self.start, self.sid]


def read(pid: int, *, dead: bool = False) -> Proc | None:
    """None when there is no such process, or it is a zombie (unless ``dead``)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(fd, 1024)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rfind(b")") + 2 :].split()  # the name before may hold anything
    if len(fields) < 20 or (fields[0] in _DEAD and not dead):  # noqa: PLR2004 - field 22 is the start time
        return None
    return Proc(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def alive(pid: int, start: int) -> bool:
    """The very process, not another one that got its number."""
    found = read(pid) if pid > 0 else None
    return found is not None and found.start == start


def pids() -> set[int]:
    """Every pid of this pid namespace."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def scan() -> dict[int, Proc]:
    """Every live process."""
    found = (read(pid) for pid in pids())
    return {proc.pid: proc for proc in found if proc is not None}


def below(roots: set[int], procs: dict[int, Proc]) -> list[Proc]:
    """The descendants of ``roots``, not they themselves."""
    children: dict[int, list[Proc]] = {}
    for proc in procs.values():
        children.setdefault(proc.ppid, []).append(proc)
    found: list[Proc] = []
    todo = list(roots)
    seen = set(roots)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child.pid not in seen:
                seen.add(child.pid)
                found.append(child)
                todo.append(child.pid)
    return found


def survivors(recorded: list[list[int]]) -> list[Proc]:
    """What lives of a recorded tree whose guard is gone: its processes, their sessions, what is below them.

    A session counts while no stranger leads it: the kernel gives a session's number to nobody
    else as long as one member lives.
    """
    procs = scan()
    known = {(pid, start) for pid, start, _ in recorded}
    sessions = {sid for _, _, sid in recorded if sid > 1}
    strangers = {s for s in sessions if s in procs and procs[s].sid == s and (s, procs[s].start) not in known}
    sessions -= strangers
    oldest = min((start for _, start, _ in recorded), default=0)
    mine = {
        p.pid: p
        for p in procs.values()
        if (p.pid, p.start) in known or (p.sid in sessions and p.start >= oldest)
    }
    for proc in below(set(mine), procs):
        mine[proc.pid] = proc
    mine.pop(os.getpid(), None)
    return list(mine.values())


def command(pid: int) -> str:
    """Its command line, cut; its name in brackets when it has none; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4 * _COMMAND_LENGTH).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        if words:
            return words[:_COMMAND_LENGTH]
        with open(f"/proc/{pid}/comm") as file:
            return f"[{file.read().strip()}]"
    except OSError:
        return ""


def describe(procs: list[Proc]) -> list[dict[str, object]]:
    """``[{pid, command}]``, as verdicts have it."""
    return [{"pid": proc.pid, "command": command(proc.pid)} for proc in procs]


def is_shell(pid: int) -> bool:
    """By its executable: a title can be anything."""
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
    return name.split(" ")[0] in _SHELLS


def heads(main: int, procs: dict[int, Proc]) -> list[Proc]:
    """Whom to ask to stop: the main process, and where that is a shell, what it runs."""
    if main not in procs:
        return []
    found = [procs[main]]
    if is_shell(main):
        for proc in procs.values():
            if proc.ppid == main:
                found += heads(proc.pid, procs)
    return found


class Tree:
    """Everything below ``root``, kept current cheaply: only pids not seen before are read.

    A process never joins a tree later than at its birth; a number used again is found by
    ``renew``, which reads everything.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self.members: dict[int, Proc] = {}
        self._seen: set[int] = set()
        self._last = b""

    def renew(self) -> list[Proc]:
        """The tree now, from a full scan."""
        self._last, self._seen = _newest(), pids()
        self.members = {proc.pid: proc for proc in below({self.root}, scan())}
        return list(self.members.values())

    def refresh(self) -> list[Proc]:
        """The tree now, at the cost of its members and of what was born since."""
        kept = (read(pid) for pid in self.members)
        procs = {p.pid: p for p in kept if p is not None and p.start == self.members[p.pid].start}
        newest = _newest()
        if newest != self._last or not newest:
            self._last = newest
            current = pids()
            born = (read(pid) for pid in current - self._seen)
            procs.update((p.pid, p) for p in born if p is not None)
            self._seen = current
        roots = {self.root} | (set(self.members) & set(procs))
        below_now = {p.pid: p for p in below(roots, procs)}
        below_now.update((pid, procs[pid]) for pid in roots - {self.root})
        self.members = below_now
        return list(below_now.values())


def _newest() -> bytes:
    """The pid given out last, as the kernel says: unchanged means that nobody was born."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return file.read().split()[-1]
    except (OSError, IndexError):
        return b""
