"""Load: clients that each send one streamed completion after the other on a connection of their own."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What came back. ``on`` counts good and failed answers by the engine that wrote them."""

    requests: int = 0
    tokens: int = 0
    failures: Counter = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


def request(port: int, tokens: int, pause: float) -> bytes:
    body = json.dumps(
        {"model": "m", "prompt": "x" * 400, "stream": True, "max_tokens": tokens, "temperature": pause}
    ).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Client(asyncio.Protocol):
    """One connection; a new one is opened when it was closed."""

    def __init__(self, port: int, message: bytes, tally: Tally):
        self.port, self.message, self.tally = port, message, tally
        self.transport = None
        self.stopped = False

    async def open(self):
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.status = self.engine = b""
        self.tail = b""
        self.done = False
        self.transport.write(self.message)

    def data_received(self, data):
        if not self.status:
            self.status = data.split(b" ", 2)[1]
        if not self.engine and b'"text": " ' in data:
            self.engine = data.split(b'"text": " ', 1)[1].split(b'"', 1)[0]
        self.tally.tokens += data.count(b'"text": ')
        self.tail = (self.tail + data)[-32:]
        if self.status != b"200":
            self.fail(f"status {self.status.decode()}")
        elif self.tail.endswith(b"0\r\n\r\n"):
            self.finish()

    def finish(self):
        if b"[DONE]" in self.tail:
            self.tally.requests += 1
        else:
            self.tally.failures["200 without an end"] += 1
        if not self.stopped:
            self.send()

    def fail(self, why: str):
        self.tally.failures[f"{why}, on {self.engine.decode() or 'no engine'}"] += 1
        self.status = b""
        self.transport.abort()

    def connection_lost(self, _error):
        if self.stopped:
            return
        if self.status:
            self.tally.failures[f"cut, on {self.engine.decode() or 'no engine'}"] += 1
        asyncio.get_running_loop().call_later(0.02, lambda: asyncio.ensure_future(self.open()))


async def start(
    port: int, clients: int, tokens: int, pause: float, spread: float = 0.0
) -> tuple[Tally, list[Client]]:
    """Clients at work; ``spread`` seconds between the first one's start and the last one's."""
    tally = Tally()
    message = request(port, tokens, pause)
    running = [Client(port, message, tally) for _ in range(clients)]
    for client in running:
        await client.open()
        await asyncio.sleep(spread / clients)
    return tally, running


def stop(clients: list[Client]) -> None:
    for client in clients:
        client.stopped = True
        client.transport.abort()
