"""One HTTP/1.1 exchange with a process of this node, on a socket of its own, past every proxy.

``http.client`` would do, but loading it takes as long as starting the whole session.
"""

from __future__ import annotations

import re
import time

from .plain import socket

BODY = 64 << 10
"""Bytes of an answer that are kept, unless told otherwise."""
_URL = re.compile(r"http://((?:\[([^\]/]+)\]|([^\[\]/:?#\s]+))(?::(\d{1,5}))?)(/[^\s#]*|\?[^\s#]*)?\Z")
_HEAD = 64 << 10
_NO_BODY = (204, 304)


class NoHttpError(Exception):
    """Not an ``http://`` address, or what answers there does not speak HTTP."""


def exchange(
    url: str, method: str, headers: dict[str, str], body: bytes | None, deadline: float, *, keep: int = BODY
) -> tuple[int, bytes]:
    """Status and the first ``keep`` bytes of the body. ``deadline`` on the monotonic clock.

    Raises TimeoutError (before 3.10: socket.timeout), OSError, NoHttpError.
    """
    found = _URL.match(url)
    if found is None:
        raise NoHttpError("this is no http:// address")
    host, port, path = found[2] or found[3], int(found[4] or 80), found[5] or "/"
    path = path if path.startswith("/") else f"/{path}"
    lines = {"Host": found[1], "Connection": "close", **headers}
    if body is not None:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    sock = _connect(host, port, deadline)
    try:
        sock.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))
        return _Answer(sock, deadline, keep).read(method)
    finally:
        sock.close()


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """To the first address of ``host`` that answers."""
    failure = OSError(f"{host} has no address")
    # as bytes: a str would load the codec for names that are not ASCII
    for family, kind, protocol, _, address in socket.getaddrinfo(host.encode(), port, 0, socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Answer:
    """What comes back on a socket, taken apart."""

    def __init__(self, sock: socket.socket, deadline: float, keep: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._keep = keep
        self._data = b""

    def read(self, method: str) -> tuple[int, bytes]:
        """Status and body; interim answers (1xx) are skipped."""
        status, headers = self._head()
        while status // 100 == 1:
            status, headers = self._head()
        if method == "HEAD" or status in _NO_BODY:
            return status, b""
        if "chunked" in headers.get(b"transfer-encoding", b"").lower().decode("latin-1"):
            return status, self._chunks()
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return status, self._take(self._keep, whole=False)
        return status, self._take(min(int(length), self._keep))

    def _head(self) -> tuple[int, dict[bytes, bytes]]:
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004
            raise NoHttpError("what answers there does not speak HTTP")
        headers: dict[bytes, bytes] = {}
        while True:
            line = self._line()
            if not line:
                return int(words[1]), headers
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()

    def _chunks(self) -> bytes:
        body = b""
        while len(body) < self._keep:
            try:
                size = int(self._line().split(b";")[0], 16)
            except ValueError as error:
                raise NoHttpError("the answer's chunks are broken") from error
            if size == 0:
                break
            body += self._take(min(size, self._keep - len(body)))
            if len(body) < self._keep:
                self._line()
        return body

    def _line(self) -> bytes:
        while b"\n" not in self._data:
            if len(self._data) > _HEAD or not self._more():
                raise NoHttpError("the connection ended within the answer")
        line, _, self._data = self._data.partition(b"\n")
        return line.rstrip(b"\r")

    def _take(self, size: int, *, whole: bool = True) -> bytes:
        while len(self._data) < size and self._more():
            pass
        if whole and len(self._data) < size:
            raise NoHttpError("the connection ended within the answer")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _more(self) -> bool:
        self._sock.settimeout(_left(self._deadline))
        piece = self._sock.recv(1 << 16)
        self._data += piece
        return bool(piece)
