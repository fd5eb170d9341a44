"""The hand-over of a prompt's KV from prefill to decode, over a real connection.

A producer keeps what a prefill computed on a shelf and gives out a handle; a consumer connects to the
address in the handle and takes it, once. What travels is the prompt itself, so that a decode engine answers
from what it fetched: a mixed-up handle gives a wrong answer.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
import time

from ..answers import GARBAGE
from ..wire import Wire
from .log import CORE, Log
from .machine import bind_listener
from .transfer import DATADIST, MOONCAKE, NIXL, Transfer

IDLE_LIMIT = 10.0
"""Seconds a connected consumer may stay silent."""


class FetchError(Exception):
    """The KV of a request could not be had; the text is for the log."""


class Prefilled:
    """A computed prompt: the words an answer is made from, and how many tokens it had."""

    def __init__(self, words: list[str], tokens: int) -> None:
        self.words = words
        self.tokens = tokens


class Shelf:
    """KV that waits to be fetched, by request id. Each is handed out once, or freed when its time is over."""

    def __init__(self, keep: float, log: Log) -> None:
        self._keep = keep
        self._log = log
        self._held: dict[str, tuple[float, Prefilled]] = {}
        self._lock = threading.Lock()

    def put(self, request: str, prefilled: Prefilled) -> None:
        """Hold ``prefilled`` for the request, from now on."""
        with self._lock:
            self._held[request] = (time.monotonic() + self._keep, prefilled)

    def take(self, request: str) -> Prefilled | None:
        """Hand it out; None when it was never there, already fetched, or freed."""
        with self._lock:
            _, prefilled = self._held.pop(request, (0.0, None))
        return prefilled

    def tokens(self) -> int:
        """Prompt tokens held."""
        with self._lock:
            return sum(prefilled.tokens for _, prefilled in self._held.values())

    def next_expiry(self) -> float | None:
        """Seconds until something has to be freed; None when nothing is held."""
        with self._lock:
            due = min((when for when, _ in self._held.values()), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def free_expired(self) -> None:
        """Free what was not fetched in time, and log it as the engine does."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, (due, _) in self._held.items() if due <= now]
            for request in late:
                del self._held[request]
        for request in late:
            text = (
                f"Force freed expired request: {request} exceeded timeout threshold ({self._keep:g} seconds)"
            )
            self._log.warning(CORE, "mooncake_connector.py:190", text)


class Producer:
    """The side channel of a prefill engine: it listens on every port of ``transfer.ports``."""

    def __init__(self, transfer: Transfer, log: Log) -> None:
        self.transfer = transfer
        self.shelf = Shelf(transfer.abort_after, log)
        self._log = log
        self._blocks = itertools.count(1)
        self._sockets: list[socket.socket] = []
        self._wake, self._waker = socket.socketpair()

    def open(self) -> None:
        """Bind and listen; raises FatalError when a port is taken or the address is not of this machine."""
        for port in self.transfer.ports:
            where = f"tcp://{self.transfer.host}:{port}"
            refusal = f"zmq.error.ZMQError: {{text}} (addr='{where}')"
            sock = bind_listener(self.transfer.host, port, refusal)
            sock.listen(64)
            self._sockets.append(sock)
            self._log.info(CORE, "mooncake_connector.py:322", f"Starting listening on path: {where}")
        threading.Thread(target=self._serve, daemon=True).start()

    def offer(self, request: str, prefilled: Prefilled) -> dict[str, object]:
        """Hold the KV and return the ``kv_transfer_params`` of the answer."""
        self.shelf.put(request, prefilled)
        self._waker.send(b".")
        blocks = max(1, -(-prefilled.tokens // 128))
        parallel = self.transfer.parallel
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [next(self._blocks) for _ in range(blocks)],
            "remote_engine_id": self.transfer.engine_id,
            "remote_request_id": request,
            "remote_host": self.transfer.host,
            "remote_port": self.transfer.port,
            "remote_pcp_size": parallel.pcp,
            "remote_dcp_size": parallel.dcp,
            "remote_ptp_size": parallel.tp,
            "tp_size": parallel.tp,
            "last_token_id": 0,
            "remote_multi_nodes_meta_mapping": {},
            "num_prompt_blocks": blocks,
        }

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        for sock in [*self._sockets, self._wake]:
            selector.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(self.shelf.next_expiry()):
                if key.fileobj is self._wake:
                    self._wake.recv(4096)
                elif isinstance(key.fileobj, socket.socket):
                    connection, _ = key.fileobj.accept()
                    threading.Thread(target=self._hand_out, args=(connection,), daemon=True).start()
            self.shelf.free_expired()

    def _hand_out(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE_LIMIT)
        wire = Wire(connection)
        try:
            for message in wire.messages():
                self._answer(wire, message)
        except (OSError, ValueError):  # silence, or not one of us
            pass
        finally:
            connection.close()

    def _answer(self, wire: Wire, message: dict[str, object]) -> None:
        request = str(message.get("request"))
        if message.get("engine") != self.transfer.engine_id:
            wire.send("refused", why=f"engine {message.get('engine')} is not {self.transfer.engine_id}")
            return
        prefilled = self.shelf.take(request)
        if prefilled is None:
            wire.send("refused", why=f"no KV is held for request {request}")
        else:
            wire.send("kv", words=prefilled.words, tokens=prefilled.tokens)


class Consumer:
    """The fetching side of a decode engine. ``bad_from``: the side channel from which garbage comes."""

    def __init__(self, transfer: Transfer, timeout: float, first_fails: bool, bad_from: str = "") -> None:
        self.transfer = transfer
        self._timeout = timeout
        self._first_fails = first_fails
        self._bad_from = bad_from
        self._known: set[str] = set()

    def fetch(self, params: dict[str, object]) -> Prefilled:
        """Take the KV named by ``params`` from its producer; raises FetchError with the engine's words."""
        engine = str(params.get("remote_engine_id"))
        if engine == self.transfer.engine_id:
            raise FetchError(f"AssertionError: Conflict engine id {engine} with local engine id {engine}.")
        if self._first_fails and engine not in self._known:
            self._known.add(engine)
            raise FetchError(_describe_failure(self.transfer.connector, "handshake_setup_failed"))
        try:
            message = self._ask(params, engine)
        except (OSError, ValueError, OverflowError) as fault:
            raise FetchError(_describe_failure(self.transfer.connector, str(fault))) from None
        words = message.get("words")
        if message.get("kind") != "kv" or not isinstance(words, list):
            raise FetchError(
                _describe_failure(self.transfer.connector, str(message.get("why", "connection closed")))
            )
        garbled = self._bad_from and self._bad_from in _names_of(params)
        return Prefilled(
            list(GARBAGE) if garbled else [str(word) for word in words], int(str(message["tokens"]))
        )

    def _ask(self, params: dict[str, object], engine: str) -> dict[str, object]:
        address = (str(params.get("remote_host")), int(str(params.get("remote_port"))))
        with socket.create_connection(address, self._timeout) as sock:
            wire = Wire(sock)
            wire.send("get", engine=engine, request=params.get("remote_request_id"))
            return next(wire.messages(), {})


def _names_of(params: dict[str, object]) -> tuple[str, str]:
    """What a producer may be called: its host, or host and port."""
    host = str(params.get("remote_host"))
    return host, f"{host}:{params.get('remote_port')}"


def _describe_failure(connector: str, why: str) -> str:
    """The log line of a failed transfer, by connector."""
    if connector in NIXL:
        return f"NIXL transfer failure: {why}"
    if connector in MOONCAKE | DATADIST:
        return (
            f"Mooncake transfer failed, ret: -1 ({why})"
            if connector in MOONCAKE
            else f"KV pull failed: {why}"
        )
    return why
