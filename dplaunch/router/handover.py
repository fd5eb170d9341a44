"""Listening sockets, and how a router gives them to the one that takes over from it.

A router listens on a socket in its folder, and whoever connects there gets its listening sockets: not others
on the same port, but the very same, with the connections that wait in their queues. So a queue is never
closed while a client is in it, and no moment is without a listener.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence

log = logging.getLogger("dprouter")

BACKLOG = 1024
MOST = 250
"""Descriptors that the kernel passes in one message."""
WITHIN = 5.0
"""Seconds for the other router to hand over."""


def open_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Return ``count`` sockets that listen on one port. Raises OSError where it is taken."""
    # Without SO_REUSEPORT at first: with it, another router's port would look free.
    with bind(host, port, shared=False) as reserved:
        port = reserved.getsockname()[1]
    return add_listeners([], host, port, count)


def add_listeners(listeners: list[socket.socket], host: str, port: int, count: int) -> list[socket.socket]:
    """Return ``listeners``, and more of the same port until there are ``count``."""
    while len(listeners) < count:
        one = bind(host, port, shared=True)
        one.listen(BACKLOG)
        listeners.append(one)
    return listeners


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return a bound TCP socket; ``shared`` lets other sockets of this user have the same port."""
    family, kind, protocol, _, address = _resolve(host, port)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _resolve(host: str, port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


class Giver:
    """Gives ``listeners`` to whoever connects to the socket ``path``, which replaces an older one."""

    def __init__(self, path: str, listeners: Sequence[socket.socket]) -> None:
        self._listeners = listeners
        self._socket = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - as everywhere here
        with _short(path) as address:
            self._socket.bind(address)
        self._socket.listen()

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody has come."""
        return self._socket.fileno()

    def give(self) -> None:
        """Give them to who has come."""
        taker, _ = self._socket.accept()
        with taker, contextlib.suppress(OSError):
            taker.settimeout(WITHIN)
            socket.send_fds(taker, [b"listeners"], [one.fileno() for one in self._listeners[:MOST]])

    def close(self) -> None:
        """Give nothing any more. The path may be a successor's by now: it stays."""
        self._socket.close()


def take_listeners(path: str, host: str, port: int) -> list[socket.socket]:
    """Return those that the router at ``path`` gives; none where it is gone, or has another address.

    Raises OSError where it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(WITHIN)
        try:
            with _short(path) as address:
                asking.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return []
        _, found, _, _ = socket.recv_fds(asking, 64, MOST)
    listeners = [socket.socket(fileno=descriptor) for descriptor in found]
    wanted = _resolve(host, port)[4][:2]
    if all(one.getsockname()[:2] == wanted for one in listeners):
        return listeners
    for one in listeners:
        one.close()
    return []


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """A name of ``path`` that fits the 107 bytes of a socket's address, while the block runs."""
    folder, name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
