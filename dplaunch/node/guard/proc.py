"""Processes as the kernel lists them: a process is its pid and its start time.

Trees are found by scanning ``/proc/*/stat``: kernels without CONFIG_PROC_CHILDREN exist, and an
engine has so many threads that ``task/*/children`` costs more than the scan does.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shapes import Left

_DEAD = b"ZXx"
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")
_COMMAND_LENGTH = 200
SHARE = 0.001
"""Part of a core that one guard may spend on looking for new processes."""
_READ_COST = 20e-6
"""Seconds that reading one process costs."""
_TRIFLE = 2e-3
"""Seconds of looking that do not matter, however many guards a machine has."""
_CORES = os.cpu_count() or 1
_MANY = 5000
"""New processes to assume where they were not counted."""
_HERD = 61
"""Different delays: guards started together, with neighbouring pids, do not all look at the same time."""
_AT_LAST = 30.0
"""Seconds after which a guard looks even if it costs more than its share; less for some (``_HERD``)."""
_PATIENCE = 10
"""Times as long that a look is put off while others need the cores: a thousand guards on one machine would
look for a minute."""
_RENEW_EVERY = 600.0
"""Seconds between two looks at every process: they find what a reused pid has hidden."""


class Proc:
    """One live process. ``start`` is in clock ticks since boot, ``sid`` the session's id."""

    __slots__ = ("pid", "ppid", "sid", "start")

    def __init__(self, pid: int, ppid: int, sid: int, start: int) -> None:
        self.pid = pid
        self.ppid = ppid
        self.sid = sid
        self.start = start

    def record(self) -> list[int]:
        """Its form in state.json."""
        return [self.pid, self.start, self.sid]


def read(pid: int, *, dead: bool = False) -> Proc | None:
    """None when the process does not exist or is a zombie (unless ``dead``)."""
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
    """Whether this very process is alive, not another one with its number."""
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
    """The descendants of ``roots``, without ``roots`` themselves."""
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

    A session counts while its leader is not a stranger: the kernel does not reuse a session's number
    as long as one member lives.
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


def describe(procs: list[Proc]) -> list[Left]:
    """``[{pid, command}]``, as verdicts have it."""
    return [{"pid": proc.pid, "command": command(proc.pid)} for proc in procs]


def is_shell(pid: int) -> bool:
    """By its executable: a title can be anything."""
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
    return name.split(" ")[0] in _SHELLS


def heads(main: int, family: list[Proc]) -> list[Proc]:
    """The processes to ask to stop: the main process, and where that is a shell, what it runs."""
    found = [one for one in family if one.pid == main]
    if found and is_shell(main):
        for child in family:
            if child.ppid == main:
                found += heads(child.pid, family)
    return found


class Births:
    """Every pid, and the newest one, at the beginning of a start: only later ones are looked at."""

    def __init__(self) -> None:
        self.newest, _ = _newest()
        self.seen = pids()


class Tree:
    """Everything below the process ``root``, kept current cheaply: only pids not seen before are read.

    A process never joins a tree later than at its birth. Where many are born (a machine that starts a
    hundred engines) the look at them is put off, so that it costs at most ``share`` of a core.
    """

    def __init__(self, births: Births, share: float = SHARE) -> None:
        self.root = 0
        self._share = share
        self._early = 1.0
        self.members: dict[int, Proc] = {}
        self._seen = births.seen
        self._newest = births.newest
        self._looked = self._renewed = time.monotonic()

    def take_root(self, pid: int) -> None:
        """Everything below this process is the tree from now on."""
        self.root = pid
        self._early = 1 - pid % _HERD / (2 * _HERD)

    def adopt(self, pid: int) -> None:
        """Add a child of the root that was just born."""
        found = read(pid)
        if found is not None:
            self.members[pid] = found

    def clear(self) -> list[Proc]:
        """Empty the tree, because it is known to be empty; returns it."""
        self.members = {}
        return []

    def current(self) -> list[Proc]:
        """The tree now, whatever looking costs."""
        self._looked = float("-inf")
        return self.refresh()

    def refresh(self) -> list[Proc]:
        """The tree as far as it is known: without the dead; the newly born appear soon."""
        kept = (read(pid) for pid in self.members)
        procs = {p.pid: p for p in kept if p is not None and p.start == self.members[p.pid].start}
        known = set(procs)
        newest, running = _newest()
        if time.monotonic() - self._renewed > _RENEW_EVERY * self._early:
            self._renew()
        if self._due(newest, crowded=running > _CORES):
            procs.update((p.pid, p) for p in self._born(newest))
        self.members = {p.pid: p for p in below({self.root} | known, procs)}
        self.members.update((pid, procs[pid]) for pid in known)
        return list(self.members.values())

    def _renew(self) -> None:
        """Forget what was seen: every process counts as just born."""
        self._seen, self._newest, self._renewed = set(), -1, time.monotonic()

    def _due(self, newest: int, *, crowded: bool) -> bool:
        births = newest - self._newest if newest > self._newest >= 0 else _MANY  # wrapped around
        waited = time.monotonic() - self._looked
        return newest != self._newest and worth_a_look(
            births * _READ_COST, waited, waited * self._share, _AT_LAST * self._early, crowded=crowded
        )

    def _born(self, newest: int) -> list[Proc]:
        self._newest, self._looked = newest, time.monotonic()
        current = pids()
        born = (read(pid) for pid in current - self._seen)
        self._seen = current
        return [p for p in born if p is not None]


def worth_a_look(cost: float, waited: float, spare: float, at_last: float, *, crowded: bool) -> bool:
    """Whether new processes are looked at now; all times in seconds.

    ``cost`` of looking, ``waited`` since the last look, ``spare``: what may be spent by now. ``crowded``:
    more processes want to run than there are cores.
    """
    if crowded and cost > _TRIFLE and waited < at_last * _PATIENCE:
        return False
    return cost < spare or waited > at_last


def _newest() -> tuple[int, int]:
    """The newest pid (unchanged: no process was born), and how many processes want to run."""
    try:
        with open("/proc/loadavg", "rb") as file:
            *_, tasks, newest = file.read().split()
        return int(newest), int(tasks.split(b"/")[0])
    except (OSError, ValueError):
        return -1, 0


_boot: list[str] = []


def hostname() -> str:
    """The name this machine gives itself."""
    return os.uname().nodename


def boot_id() -> str:
    """Changes with every boot, and with every start of a container: process numbers start over then.

    The kernel's id (empty where it has none) and the start time of the first process.
    """
    if not _boot:
        first = read(1)
        _boot.append(f"{_kernel_boot()}/{first.start if first else 0}")
    return _boot[0]


def _kernel_boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
