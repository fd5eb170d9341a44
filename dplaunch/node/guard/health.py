"""Whether endpoints of this node are healthy: of each response only the status line is read.

``ask`` could do this too, but it loads ``http.client``, which costs more than all the rest of a ``status``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT = 2.0
"""Seconds until an endpoint that says nothing counts as unhealthy."""
_LONGEST = 1024
"""Bytes of a line that may still be a status line."""


def ask_health(urls: list[str]) -> list[bool]:
    """Ask all addresses at once: whether each responds with 200 in time; a ``tcp://`` one has to connect."""
    healthy = [False] * len(urls)

    def ask(place: int) -> None:
        with contextlib.suppress(OSError):  # refused, reset, or too slow
            healthy[place] = _status_line(urls[place], time.monotonic() + TIMEOUT).split()[1:2] == [b"200"]

    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in range(len(urls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return healthy


def _status_line(url: str, deadline: float) -> bytes:
    scheme, _, authority, path = url.split("/", 3)
    host, _, port = authority.rpartition(":")
    # As bytes a name is looked up as it is; as text it would be encoded by a codec that takes long to load.
    address: Any = host.strip("[]").encode(), int(port)
    with socket.create_connection(address, timeout=TIMEOUT) as connection:
        if scheme == "tcp:":
            return b"TCP 200"
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
        line = b""
        while b"\n" not in line and len(line) < _LONGEST:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(_LONGEST)
            if not piece:
                break
            line += piece
        return line
