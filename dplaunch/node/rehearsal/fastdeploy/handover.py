"""A prompt's KV on its way from prefill to decode: JSON on a connection to decode's port for it."""

from __future__ import annotations

import json
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 30.0
"""Seconds that decode waits for a prompt."""


class Handover:
    """Prompts that have come, by request; ``sock`` is bound to the port for prefill/decode."""

    def __init__(self, sock: socket.socket) -> None:
        self._came: dict[str, list[str]] = {}
        self._more = threading.Condition()
        sock.listen(64)
        threading.Thread(target=self._accept, args=(sock,), daemon=True).start()

    def send(self, address: str, port: int, request: str, words: list[str]) -> None:
        """Give a prompt to the decode engine at ADDRESS:PORT. Raises OSError."""
        with socket.create_connection((address, port), timeout=5) as link:
            link.sendall(json.dumps({"request": request, "words": words}).encode())

    def wait(self, request: str) -> list[str] | None:
        """The prompt of a request; None where it does not come in time."""
        with self._more:
            self._more.wait_for(lambda: request in self._came, PATIENCE)
            return self._came.pop(request, None)

    def _accept(self, sock: socket.socket) -> None:
        while True:
            link, _ = sock.accept()
            threading.Thread(target=self._take, args=(link,), daemon=True).start()

    def _take(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as stream:
            data = stream.read()
        if not data:
            return
        came: dict[str, Any] = json.loads(data)
        with self._more:
            self._came[came["request"]] = came["words"]
            self._more.notify_all()
