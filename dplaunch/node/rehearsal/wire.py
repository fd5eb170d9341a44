"""JSON lines over one TCP connection: between the ranks of a group, and both ends of a KV hand-over."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire:
    """JSON lines over one socket. ``rank`` is the other end's, -1 while unknown."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.rank = -1
        self._rest = b""

    def send(self, kind: str, **fields: object) -> None:
        """Send one message; a dead end is noticed when reading."""
        try:
            self.sock.sendall(json.dumps({"kind": kind, **fields}).encode() + b"\n")
        except OSError:
            return

    def receive(self) -> list[dict[str, object]] | None:
        """Messages that arrived with one blocking read; None when the other end is gone.

        Raises ValueError when the other end is not one of us, socket.timeout when a limit was set.
        """
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        if not all(isinstance(message, dict) for message in messages):
            raise ValueError("not a message")
        return messages

    def messages(self) -> Iterator[dict[str, object]]:
        """Every message until the other end is gone."""
        while True:
            messages = self.receive()
            if messages is None:
                return
            yield from messages
