"""HTTP/1.1 exchanges with processes of this node, each on a socket of its own, past every proxy.

``http.client`` would do, but loading it takes as long as starting the whole session, and a thread for each
question costs more than the question.
"""

from __future__ import annotations

import errno
import os
import select
import time

from .plain import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    T = TypeVar("T")
    Steps = Generator[tuple[int, int], None, T]
    """Work that stops wherever it would wait: for which descriptor and events of it (``select.poll``)."""
    Talk = Steps[tuple[int, bytes]]

BODY = 64 << 10
"""Bytes of an answer that are kept, unless told otherwise."""
_SCHEME = "http://"
_HEAD = 64 << 10
_NO_BODY = (204, 304)
_PORT_DIGITS = 5


class NoHttpError(Exception):
    """Not an ``http://`` address, or what answers there does not speak HTTP."""


def talk(url: str, method: str, headers: dict[str, str], body: bytes | None, *, keep: int = BODY) -> Talk:
    """One exchange, for ``all_of``: status and the first ``keep`` bytes of the body.

    Raises OSError, NoHttpError.
    """
    authority, path = _apart(url)
    host, port = _place(authority)
    lines = {"Host": authority, "Connection": "close", **headers}
    if body is not None:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    sock = yield from _connect(host, port)
    try:
        yield from _send(sock, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))
        return (yield from _Answer(sock, keep).read(method))
    finally:
        sock.close()


def all_of(talks: list[Steps[T]], deadlines: list[float]) -> list[T | None]:
    """What all come to at once; None for one that its deadline, on the monotonic clock, cut off."""
    results: list[T | None] = [None] * len(talks)
    waiting: dict[int, int] = {}
    poll = select.poll()

    def go_on(place: int) -> None:
        try:
            fd, events = next(talks[place])
        except StopIteration as done:
            results[place] = done.value
        else:
            waiting[fd] = place
            poll.register(fd, events)

    for place in range(len(talks)):
        go_on(place)
    while waiting:
        left = min(deadlines[place] for place in waiting.values()) - time.monotonic()
        ready = [fd for fd, _ in poll.poll(max(0.0, left) * 1000)]
        late = [fd for fd, place in waiting.items() if deadlines[place] <= time.monotonic()]
        for fd in {*ready, *late}:
            poll.unregister(fd)
            place = waiting.pop(fd)
            if fd in late:
                talks[place].close()
            else:
                go_on(place)
    return results


def _apart(url: str) -> tuple[str, str]:
    """``host:port`` and what is asked for there. Raises NoHttpError."""
    if not url.startswith(_SCHEME) or "#" in url or url.split() != [url]:
        raise NoHttpError("this is no http:// address")
    authority, slash, path = url[len(_SCHEME) :].partition("/")
    authority, mark, query = authority.partition("?")
    target = mark + query + slash + path
    return authority, target if target.startswith("/") else f"/{target}"


def _place(authority: str) -> tuple[str, int]:
    """Host and port. Raises NoHttpError."""
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        between, colon, port = rest.partition(":")
        good = bool(closed) and not between
    else:
        host, colon, port = authority.partition(":")
        good = not {"[", "]"}.intersection(host)
    if not good or not host or (colon and not _is_port(port)):
        raise NoHttpError("this is no http:// address")
    return host, int(port or 80)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS


def _connect(host: str, port: int) -> Steps[socket.socket]:
    """To the first address of ``host`` that answers."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in (yield from _addresses(host, port)):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            yield from _reach(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except GeneratorExit:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _reach(sock: socket.socket, address: Any) -> Steps[None]:
    problem = sock.connect_ex(address)
    if problem == errno.EINPROGRESS:
        yield sock.fileno(), select.POLLOUT
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))


def _addresses(host: str, port: int) -> Steps[list[Any]]:
    """As ``getaddrinfo``. Only a name needs somebody who waits for what may never answer."""
    name = host.encode()  # as bytes: a str would load the codec for names that are not ASCII
    try:
        return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return (yield from _looked_up(name, port))


def _looked_up(name: bytes, port: int) -> Steps[list[Any]]:
    import threading  # noqa: PLC0415 - 7 ms, only for names

    found: list[Any] = []
    reading, writing = os.pipe()

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)
        finally:
            os.close(writing)

    threading.Thread(target=ask, daemon=True).start()
    try:
        yield reading, select.POLLIN
    finally:
        os.close(reading)
    if isinstance(found[0], OSError):
        raise found[0]
    return found


def _send(sock: socket.socket, data: bytes) -> Steps[None]:
    view = memoryview(data)
    while view:
        yield sock.fileno(), select.POLLOUT
        view = view[sock.send(view) :]


class _Answer:
    """What comes back on a socket, taken apart."""

    def __init__(self, sock: socket.socket, keep: int) -> None:
        self._sock = sock
        self._keep = keep
        self._data = b""

    def read(self, method: str) -> Talk:
        """Status and body; interim answers (1xx) are skipped."""
        status, headers = yield from self._head()
        while status // 100 == 1:
            status, headers = yield from self._head()
        if method == "HEAD" or status in _NO_BODY:
            return status, b""
        if "chunked" in headers.get(b"transfer-encoding", b"").lower().decode("latin-1"):
            return status, (yield from self._chunks())
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return status, (yield from self._take(self._keep, whole=False))
        return status, (yield from self._take(min(int(length), self._keep)))

    def _head(self) -> Steps[tuple[int, dict[bytes, bytes]]]:
        words = (yield from self._line()).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004
            raise NoHttpError("what answers there does not speak HTTP")
        headers: dict[bytes, bytes] = {}
        while True:
            line = yield from self._line()
            if not line:
                return int(words[1]), headers
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()

    def _chunks(self) -> Steps[bytes]:
        body = b""
        while len(body) < self._keep:
            try:
                size = int((yield from self._line()).split(b";")[0], 16)
            except ValueError as error:
                raise NoHttpError("the answer's chunks are broken") from error
            if size == 0:
                break
            body += yield from self._take(min(size, self._keep - len(body)))
            if len(body) < self._keep:
                yield from self._line()
        return body

    def _line(self) -> Steps[bytes]:
        while b"\n" not in self._data:
            if len(self._data) > _HEAD or not (yield from self._more()):
                raise NoHttpError("the connection ended within the answer")
        line, _, self._data = self._data.partition(b"\n")
        return line.rstrip(b"\r")

    def _take(self, size: int, *, whole: bool = True) -> Steps[bytes]:
        while len(self._data) < size and (yield from self._more()):
            pass
        if whole and len(self._data) < size:
            raise NoHttpError("the connection ended within the answer")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _more(self) -> Steps[bool]:
        yield self._sock.fileno(), select.POLLIN
        piece = self._sock.recv(1 << 16)
        self._data += piece
        return bool(piece)
