"""Ports: whether one is free, and who holds it otherwise."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import sys

from .proc import command

_LISTEN = "0A"
_WILDCARDS = ("0.0.0.0", "::")


class Holder:
    """Who listens on a port. ``pid`` is 0 where ``/proc`` hides it (another user's process)."""

    __slots__ = ("command", "pid", "port", "user")

    def __init__(self, port: int, pid: int = 0, user: str = "") -> None:
        self.port = port
        self.pid = pid
        self.user = user
        self.command = command(pid) if pid else ""

    def text(self) -> str:
        """``pid 4711 (python3 -m http.server) of user anna``, as far as it is known."""
        who = f"pid {self.pid} ({self.command})" if self.pid else "a process that this user may not inspect"
        return f"{who} of user {self.user}" if self.user else who


def find_holder(address: str, port: int) -> Holder | None:
    """Who listens on ``address``:``port``; None when it can be bound now."""
    if _can_bind(address or "0.0.0.0", port):  # an address of another machine cannot be judged here
        return None
    return _holder(address, port)


def _can_bind(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((address, port))
        probe.listen(1)  # two may bind with SO_REUSEADDR, but only one may listen
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    finally:
        probe.close()
    return True


def list_holders(address: str, ports: list[int]) -> list[Holder]:
    """The holders of those of ``ports`` that are taken."""
    return [holder for holder in (find_holder(address, port) for port in ports) if holder is not None]


def _holder(address: str, port: int) -> Holder:
    """Who listens on a port that is taken, as far as ``/proc`` shows it."""
    for found, at, uid, inode in _listeners():
        if at == port and (found == address or found in _WILDCARDS or not address or address in _WILDCARDS):
            return Holder(port, _owner(inode), user_name(uid))
    return Holder(port)


def _listeners() -> list[tuple[str, int, int, str]]:
    """Address, port, user id and socket inode of everything that listens on TCP."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTEN:
                raw, port = row[1].split(":")
                found.append((_address(raw), int(port, 16), int(row[7]), row[9]))
    return found


def _address(raw: str) -> str:
    """The kernel prints words of 32 bits in the machine's own byte order."""
    words = [int(raw[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(raw), 8)]
    packed = b"".join(words)
    if len(packed) == 4:  # noqa: PLR2004 - IPv4
        return socket.inet_ntop(socket.AF_INET, packed)
    return socket.inet_ntop(socket.AF_INET6, packed).rpartition("::ffff:")[2]


def _owner(inode: str) -> int:
    wanted = f"socket:[{inode}]"
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        if any(_link(f"/proc/{pid}/fd/{fd}") == wanted for fd in fds):
            return int(pid)
    return 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def user_name(uid: int) -> str:
    """The name of a user id; the number itself where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
