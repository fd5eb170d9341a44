"""The hand-over of a prompt's KV from prefill to decode, over a real connection.

A producer holds what a prefill computed and gives out a handle; a consumer connects to the address in the
handle, pulls the KV, and reports that it is done: only then the producer frees it. What travels is the prompt
itself, so that a decode engine answers from what it pulled: a mixed-up handle gives a wrong answer. Messages
are JSON lines::

    consumer → producer   get {engine, request}     done {request}
    producer → consumer   kv {words, tokens}        refused {why}
"""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time

from ..answers import GARBAGE, Prompt
from ..wire import Wire
from .kv_failure import HANDSHAKE, TRANSFER, PullError, report_expiry
from .log import Log
from .machine import bind_listener
from .transfer import MOONCAKE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .knobs import Knobs
    from .transfer import Transfer

IDLE_LIMIT = 10.0
"""Seconds a connected consumer may stay silent before it asks for something."""
BEAT = 0.25
"""Seconds between two looks at whether a pull is still wanted."""


class Shelf:
    """KV that waits to be pulled, by request id; freed when its consumer is done, or when its time is over.

    A leased one is kept alive by the consumer that pulls it, as by NIXL's heartbeats. In an engine that rests
    between requests what is free counts as used until ``step``.
    """

    def __init__(self, transfer: Transfer, expired: Callable[[str], None]) -> None:
        self._transfer = transfer
        self._expired = expired
        self._held: dict[str, tuple[float, Prompt]] = {}
        self._free = 0
        self._lock = threading.Lock()

    def hold(self, request: str, prefilled: Prompt) -> None:
        """Hold ``prefilled`` for the request, from now on."""
        with self._lock:
            self._held[request] = (time.monotonic() + self._transfer.keep, prefilled)

    def get(self, request: str) -> Prompt | None:
        """What a consumer begins to pull; None when it is not held (any more)."""
        with self._lock:
            _, prefilled = self._held.get(request, (0.0, None))
            if prefilled is not None and self._transfer.leased:
                self._held[request] = (math.inf, prefilled)
            return prefilled

    def leave(self, request: str) -> None:
        """The consumer has gone before it was done: the KV waits for another one."""
        with self._lock:
            due, prefilled = self._held.get(request, (0.0, None))
            if prefilled is not None and due == math.inf:
                self._held[request] = (time.monotonic() + self._transfer.keep, prefilled)

    def free(self, request: str) -> None:
        """The consumer is done."""
        with self._lock:
            _, prefilled = self._held.pop(request, (0.0, None))
            if prefilled is not None and self._transfer.lazy:
                self._free += prefilled.tokens

    def step(self) -> None:
        """The engine runs: it notices what is free."""
        with self._lock:
            self._free = 0

    def tokens(self) -> int:
        """Prompt tokens that count as used."""
        with self._lock:
            return self._free + sum(prefilled.tokens for _, prefilled in self._held.values())

    def next_expiry(self) -> float | None:
        """Seconds until something has to be freed; None when nothing is held."""
        with self._lock:
            due = min((when for when, _ in self._held.values()), default=math.inf)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def free_expired(self) -> None:
        """Free what was not pulled in time."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, (due, _) in self._held.items() if due <= now]
            for request in late:
                del self._held[request]
        for request in late:
            self._expired(request)


class Producer:
    """The side channel of a prefill engine: it listens on every port of ``transfer.ports``."""

    def __init__(self, transfer: Transfer, log: Log) -> None:
        self.transfer = transfer
        self.shelf = Shelf(transfer, lambda request: report_expiry(log, transfer, request))
        self._log = log
        self._blocks = itertools.count(1)
        self._changed = threading.Event()

    def open(self) -> None:
        """Bind and listen; raises FatalError when a port is taken or the address is not of this machine."""
        for port in self.transfer.ports:
            where = f"tcp://{self.transfer.host}:{port}"
            refusal = f"zmq.error.ZMQError: {{text}} (addr='{where}')"
            sock = bind_listener(self.transfer.host, port, refusal)
            sock.listen(64)
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()
            place = "mooncake_connector.py:322"
            self._log.info(self.transfer.worker, place, f"Starting listening on path: {where}")
        threading.Thread(target=self._free_expired, daemon=True).start()

    def offer(self, request: str, prefilled: Prompt) -> dict[str, object]:
        """Hold the KV and return the ``kv_transfer_params`` of the answer."""
        self.shelf.hold(request, prefilled)
        self._changed.set()
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

    def _accept(self, sock: socket.socket) -> None:
        while True:
            connection, _ = sock.accept()
            threading.Thread(target=self._hand_out, args=(connection,), daemon=True).start()

    def _free_expired(self) -> None:
        while True:
            self._changed.wait(self.shelf.next_expiry())
            self._changed.clear()
            self.shelf.free_expired()

    def _hand_out(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE_LIMIT)
        wire, request = Wire(connection), ""
        try:
            for message in wire.messages():
                request = str(message.get("request"))
                if message.get("kind") == "done":
                    self.shelf.free(request)
                else:
                    self._answer(wire, request, message.get("engine"))
                    connection.settimeout(None)  # a pull takes its time
        except (OSError, ValueError):  # silence, or not one of us
            pass
        finally:
            connection.close()
            self.shelf.leave(request)
            self._changed.set()

    def _answer(self, wire: Wire, request: str, engine: object) -> None:
        own = self.transfer.engine_id
        if engine != own:
            why = f"RuntimeError: Remote NIXL agent engine ID mismatch. Expected {engine},received {own}."
            wire.send("refused", stage=HANDSHAKE, why=why)
            return
        prefilled = self.shelf.get(request)
        if prefilled is None:
            wire.send("refused", stage=TRANSFER, why=f"no KV is held for request {request}")
        else:
            wire.send("kv", words=prefilled.words, tokens=prefilled.tokens)


class Consumer:
    """The pulling side of a decode engine, with the knobs that slow it down or spoil what it pulls."""

    def __init__(self, transfer: Transfer, knobs: Knobs) -> None:
        self.transfer = transfer
        self._knobs = knobs
        self._met: set[str] = set()
        """Engines whose handshake is over: from then on only a transfer can fail."""
        self._failed_once: set[str] = set()

    def pull(self, params: dict[str, object], check: Callable[[], None]) -> Prompt:
        """Pull the KV named by ``params`` from its producer; raises PullError when it cannot be had.

        ``check`` is called several times a second, and raises what ends the wait before that.
        """
        try:
            message = self._pull(params, check)
        except PullError:
            if self.transfer.connector in MOONCAKE:  # it always reports that it is done
                self._report_done(params)
            raise
        words = message["words"]
        spoiled = self._knobs.bad_kv_from and self._knobs.bad_kv_from in _names_of(params)
        pulled = list(GARBAGE) if spoiled or not isinstance(words, list) else [str(word) for word in words]
        return Prompt(pulled, int(str(message["tokens"])))

    def _pull(self, params: dict[str, object], check: Callable[[], None]) -> dict[str, object]:
        engine = str(params.get("remote_engine_id"))
        self._refuse(engine)
        wire = Wire(self._connect(params, engine, check))
        try:
            message = self._ask(wire, params, engine, check)
            self._met.add(engine)
            self._pass_time(wire, params, check)
            wire.send("done", request=params.get("remote_request_id"))
        finally:
            wire.sock.close()
        return message

    def _report_done(self, params: dict[str, object]) -> None:
        try:
            with socket.create_connection(_address(params), BEAT) as sock:
                Wire(sock).send("done", request=params.get("remote_request_id"))
        except (OSError, ValueError, OverflowError):
            return

    def _refuse(self, engine: str) -> None:
        if engine == self.transfer.engine_id:
            why = f"AssertionError: Conflict engine id {engine} with local engine id {engine}."
            raise PullError(HANDSHAKE, why)
        if self._knobs.first_fetch_fails and engine not in self._failed_once:
            self._failed_once.add(engine)
            raise PullError(HANDSHAKE)

    def _limit(self, engine: str) -> float:
        """Seconds that a silent engine gets."""
        return (
            self.transfer.transfer_limit
            if engine in self._met
            else self._knobs.source_timeout or self.transfer.handshake_limit
        )

    def _lost(self, engine: str) -> PullError:
        return PullError(TRANSFER if engine in self._met else HANDSHAKE)

    def _connect(self, params: dict[str, object], engine: str, check: Callable[[], None]) -> socket.socket:
        """Connect. A peer that was met before and is gone fails at once; every other is tried for a while."""
        end = time.monotonic() + self._limit(engine)
        while True:
            check()
            try:
                return socket.create_connection(_address(params), BEAT)
            except (ValueError, OverflowError) as fault:
                raise PullError(HANDSHAKE, f"{type(fault).__name__}: {fault}") from None
            except ConnectionRefusedError:
                if engine in self._met:
                    raise self._lost(engine) from None
            except OSError:
                pass  # silent: a host without power, or on the other side of a broken network
            if time.monotonic() >= end:
                raise self._lost(engine)
            time.sleep(min(BEAT, max(0.0, end - time.monotonic())))

    def _ask(
        self, wire: Wire, params: dict[str, object], engine: str, check: Callable[[], None]
    ) -> dict[str, object]:
        wire.send("get", engine=engine, request=params.get("remote_request_id"))
        end = time.monotonic() + self._limit(engine)
        while time.monotonic() < end:
            check()
            messages = _receive(wire, BEAT)
            if messages and messages[0].get("kind") == "kv":
                return messages[0]
            if messages:
                raise PullError(str(messages[0].get("stage")), str(messages[0].get("why")))
            if messages is None:
                break
        raise self._lost(engine)

    def _pass_time(self, wire: Wire, params: dict[str, object], check: Callable[[], None]) -> None:
        """Let the time of the knob SLOW_PULL pass while the producer lives and the answer is wanted."""
        end = time.monotonic() + self._knobs.slow_pull
        while (left := end - time.monotonic()) > 0:
            if _receive(wire, min(left, BEAT)) is None:
                raise PullError(TRANSFER)
            try:
                check()
            except Exception:
                # The engine finishes the transfer all the same, and so frees the producer's blocks.
                wire.send("done", request=params.get("remote_request_id"))
                raise


def _receive(wire: Wire, seconds: float) -> list[dict[str, object]] | None:
    """What arrives within ``seconds``: nothing, messages, or None when the other end is gone."""
    wire.sock.settimeout(seconds)
    try:
        return wire.receive()
    except socket.timeout:
        return []
    except ValueError:
        return None


def _address(params: dict[str, object]) -> tuple[str, int]:
    """Where the producer listens; raises ValueError when the handle holds no port."""
    return str(params.get("remote_host")), int(str(params.get("remote_port")))


def _names_of(params: dict[str, object]) -> tuple[str, str]:
    """What a producer may be called: its host, or host and port."""
    host = str(params.get("remote_host"))
    return host, f"{host}:{params.get('remote_port')}"
