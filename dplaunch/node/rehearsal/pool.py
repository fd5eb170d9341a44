"""A KV pool: the master's side, which finds blocks of KV again, and the connection of one client to it.

A block is known by a key, and its KV is the words of a prompt that it holds. Clients send JSON lines::

    client → master   put {blocks: [[key, words], …]}     get {keys}
    master → client   done                                blocks {found: [words, …]}

As in a real pool the memory is the clients': when one leaves, what it brought is gone.
"""

from __future__ import annotations

import collections
import socket
import threading

from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCKS = 8192
"""What the pool holds; the oldest go first."""
LIMIT = 5.0
"""Seconds for the master to accept a connection, and to answer."""
FIRST = b"{"
"""What every message begins with, and HTTP does not."""


class Pool:
    """The blocks of all clients."""

    def __init__(self) -> None:
        self._blocks: collections.OrderedDict[str, tuple[Wire, object]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def converse(self, sock: socket.socket) -> None:
        """Serve one client until it leaves."""
        wire = Wire(sock)
        try:
            for message in wire.messages():
                if message["kind"] == "put":
                    self._put(wire, message["blocks"])
                    wire.send("done")
                else:
                    wire.send("blocks", found=self._get(message["keys"]))
        except (KeyError, TypeError, ValueError):  # not one of us
            pass
        finally:
            sock.close()
            self._forget(wire)

    def _put(self, wire: Wire, blocks: Any) -> None:
        with self._lock:
            for key, words in blocks:
                self._blocks.setdefault(key, (wire, words))
            while len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)

    def _get(self, keys: Any) -> list[object]:
        """The words of these blocks, up to the first that is not there."""
        found: list[object] = []
        with self._lock:
            for key in keys:
                if key not in self._blocks:
                    break
                found.append(self._blocks[key][1])
        return found

    def _forget(self, wire: Wire) -> None:
        with self._lock:
            for key in [key for key, (owner, _) in self._blocks.items() if owner is wire]:
                del self._blocks[key]


class Client:
    """One engine's connection, made again at the next request after it was lost. Raises OSError without."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._wire: Wire | None = None
        self._lock = threading.Lock()

    def connect(self) -> Wire:
        """Connect to the master."""
        self._wire = Wire(socket.create_connection(self._address, LIMIT))
        return self._wire

    def put(self, blocks: list[tuple[str, list[str]]]) -> None:
        """Bring blocks, each a key and its words."""
        self._ask("put", blocks=blocks)

    def get(self, keys: list[str]) -> list[list[str]]:
        """The words of these blocks, up to the first that is not there."""
        found: list[list[str]] = self._ask("get", keys=keys)["found"]
        return found

    def _ask(self, kind: str, **fields: object) -> dict[str, Any]:
        with self._lock:
            wire = self._wire or self.connect()
            wire.send(kind, **fields)
            try:
                return next(wire.messages())
            except (OSError, ValueError, StopIteration):
                wire.sock.close()
                self._wire = None
                raise ConnectionError("the pool's master does not answer") from None
