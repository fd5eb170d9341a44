"""Clients that stream one completion after the other through a router, and what went wrong with them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Tally:
    """What came back. ``faults``: a sentence for each request that was refused, failed or was cut."""

    answered: int = 0
    faults: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Sends requests ``client-<number>-<count>``, each a stream of ``tokens``, until it is told to stop."""

    def __init__(self, number: int, url: str, model: str, tokens: int, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._name = f"client-{number}"
        self._address = urlsplit(url)
        self._fields = {"model": model, "stream": True, "max_tokens": tokens, "temperature": 0}
        self._tally = tally
        self.over = threading.Event()

    def run(self) -> None:
        count = 0
        while not self.over.is_set():
            count += 1
            fault = self._ask(f"{self._name}-{count}")
            if fault:
                self._tally.faults.append(f"{self._name}-{count}: {fault}")
            else:
                self._tally.answered += 1

    def _ask(self, request_id: str) -> str:
        """Why the answer is not whole; empty when it is."""
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=150)
        body = json.dumps({**self._fields, "prompt": f"{request_id} one two three"})
        try:
            connection.request(
                "POST",
                "/v1/completions",
                body,
                {"Content-Type": "application/json", "X-Request-Id": request_id},
            )
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        if response.status != 200:
            return f"status {response.status}: {text[:200]}"
        if '"error"' in text:
            return f"an error inside the stream: {text[-300:]}"
        return "" if text.rstrip().endswith("data: [DONE]") else f"cut after {text[-80:]!r}"


@contextmanager
def traffic(url: str, model: str, *, clients: int, tokens: int) -> Iterator[Tally]:
    """So many clients for as long as the block runs; then each finishes the answer it is reading."""
    tally = Tally()
    running = [Client(number, url, model, tokens, tally) for number in range(clients)]
    for client in running:
        client.start()
    try:
        yield tally
    finally:
        for client in running:
            client.over.set()
        for client in running:
            client.join(timeout=150)
