"""A small HTTP/1.1 server: one thread with a small stack per connection, nothing but sockets."""

from __future__ import annotations

import contextlib
import http
import json
import math
import select
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STACK = 512 * 1024
LONGEST_LINE = 256 * 1024
WORDS_OF_REQUEST = 3
JSON = "application/json"


class BadRequestError(Exception):
    """What came in is not HTTP/1.1."""


class Request:
    """One request; header names are lower case, ``path`` is without the query."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.target = target
        self.path = target.partition("?")[0]
        self.headers = headers
        self.body = body


class Connection:
    """One client. Everything blocks; ``gone`` is how a waiting handler notices that the client left."""

    def __init__(self, sock: socket.socket, peer: str, keep_alive: float) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.peer = peer
        self.begins: Callable[[int], None] = lambda _status: None
        """Called with the status of each answer before its first byte is sent."""
        self.closing = False
        self.busy = False
        """A request is being answered."""
        self._keep_alive = keep_alive
        self._stream = sock.makefile("rb")
        self._poll = select.poll()
        self._poll.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)

    def gone(self, seconds: float) -> bool:
        """Wait that long at most; True as soon as the client has closed."""
        return bool(self._poll.poll(None if seconds == math.inf else max(0.0, seconds) * 1000))

    def close(self) -> None:
        """Let the client go."""
        self._stream.close()
        self.sock.close()

    def read(self) -> Request:
        """The next request. Raises OSError when the client closed or stayed silent, or BadRequestError."""
        self.sock.settimeout(self._keep_alive)
        words = self._line().split(" ")
        lines = [line.partition(":") for line in iter(self._line, "")]
        self.sock.settimeout(None)
        if len(words) != WORDS_OF_REQUEST or not words[2].startswith("HTTP/1."):
            raise BadRequestError
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        asked = headers.get("connection", "").lower()
        self.closing = asked == "close" or (words[2] == "HTTP/1.0" and asked != "keep-alive")
        return Request(words[0], words[1], headers, self._body(headers))

    def send(self, status: int, body: bytes, kind: str = JSON, extra: str = "") -> None:
        """A whole answer. ``extra``: further header lines, each with its line end."""
        self.begins(status)
        head = self._head(status, kind, extra) + f"content-length: {len(body)}\r\n\r\n"
        self.sock.sendall(head.encode("latin-1") + body)

    def send_json(self, status: int, value: object, extra: str = "") -> None:
        """A whole answer in JSON."""
        self.send(status, dump(value).encode(), extra=extra)

    def start_stream(self, extra: str = "") -> None:
        """The head of a chunked event stream."""
        self.begins(200)
        head = self._head(200, "text/event-stream; charset=utf-8", extra)
        self.sock.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode("latin-1"))

    def event(self, data: str, name: str = "") -> None:
        """One server-sent event as one chunk."""
        first = f"event: {name}\n" if name else ""
        text = f"{first}data: {data}\n\n".encode()
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(text), text))

    def end_stream(self) -> None:
        """The last event, and the last chunk."""
        self.event("[DONE]")
        self.sock.sendall(b"0\r\n\r\n")

    def _head(self, status: int, kind: str, extra: str) -> str:
        close = "connection: close\r\n" if self.closing else ""
        first = f"HTTP/1.1 {status} {reason(status)}\r\n"
        return f"{first}server: uvicorn\r\ncontent-type: {kind}\r\n{close}{extra}"

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return b"".join(iter(self._chunk, b""))
        length = headers.get("content-length", "0")
        if not length.isdigit():
            raise BadRequestError
        return self._need(int(length))

    def _chunk(self) -> bytes:
        """The next piece of a chunked body; empty at its end."""
        try:
            size = int(self._line().partition(";")[0], 16)
        except ValueError:
            raise BadRequestError from None
        data = self._need(size)
        while self._line() and not size:  # an empty line, after trailers at the end
            pass
        return data

    def _line(self) -> str:
        line = self._stream.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionError
        return line.rstrip(b"\r\n").decode("latin-1")

    def _need(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise ConnectionError
        return data


def dump(value: object) -> str:
    """The value in JSON, as uvicorn's servers write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reason(status: int) -> str:
    """The words that go with a status: ``Not Found``."""
    return http.HTTPStatus(status).phrase


class Server:
    """Accepts on a bound socket and gives each request to ``handle(request, connection)``."""

    def __init__(
        self, sock: socket.socket, handle: Callable[[Request, Connection], None], keep_alive: float
    ) -> None:
        self._sock = sock
        self._handle = handle
        self._keep_alive = keep_alive
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen, and serve in threads from now on."""
        threading.stack_size(STACK)
        self._sock.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def busy(self) -> int:
        """How many requests are being answered."""
        with self._lock:
            return sum(connection.busy for connection in self._connections)

    def close(self) -> None:
        """Listen no more, and close what is idle; what is busy closes after its answer."""
        _shut(self._sock)
        self._sock.close()
        with self._lock:
            for connection in self._connections:
                connection.closing = True
                if not connection.busy:
                    _shut(connection.sock)

    def _accept(self) -> None:
        while True:
            try:
                sock, address = self._sock.accept()
            except OSError:
                return
            connection = self._admit(sock, f"{address[0]}:{address[1]}")
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def converse(self, sock: socket.socket, peer: str) -> None:
        """Serve a client that another one accepted, until it or the server closes."""
        self._converse(self._admit(sock, peer))

    def _admit(self, sock: socket.socket, peer: str) -> Connection:
        connection = Connection(sock, peer, self._keep_alive)
        with self._lock:
            self._connections.add(connection)
        return connection

    def _converse(self, connection: Connection) -> None:
        try:
            while not connection.closing:
                request = connection.read()
                with self._lock:
                    connection.busy = True
                self._handle(request, connection)
                with self._lock:
                    connection.busy = False
        except BadRequestError:
            connection.closing = True
            with contextlib.suppress(OSError):
                connection.send(400, b"Invalid HTTP request received.", "text/plain; charset=utf-8")
        except OSError:  # the client left
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


def _shut(sock: socket.socket) -> None:
    """Wake the threads that wait for ``sock``, which closing it would not."""
    with contextlib.suppress(OSError):  # it is not connected any more
        sock.shutdown(socket.SHUT_RDWR)
