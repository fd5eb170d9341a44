"""A client of Redis: one connection, one command at a time."""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RedisError(Exception):
    """Redis cannot be reached, or refuses a command."""


class Redis:
    """Commands to HOST:PORT, with a password where one is given."""

    def __init__(self, host: str, port: int, password: str) -> None:
        self._lock = threading.Lock()
        try:
            self._sock = socket.create_connection((host, port), timeout=5)
        except OSError as fault:
            raise RedisError(f"Error {fault.errno} connecting to {host}:{port}. {fault.strerror}.") from None
        self._stream = self._sock.makefile("rb")
        if password:
            self.do("AUTH", password)

    def do(self, *words: object) -> Any:
        """The reply: bytes, an int, None, or a list of those. Raises RedisError."""
        parts = [str(word).encode() for word in words]
        message = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)
        with self._lock:
            try:
                self._sock.sendall(message)
                return self._read()
            except OSError as fault:
                raise RedisError(str(fault)) from None

    def _read(self) -> Any:
        line = self._stream.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self._stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind != b"+":
            raise RedisError(rest.decode("utf-8", "replace") or "Connection closed by server.")
        return rest
