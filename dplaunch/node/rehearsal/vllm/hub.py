"""Rank 0 of a data-parallel group: the meeting point (messages: see ``group``)."""

from __future__ import annotations

import selectors
import socket
import threading
import time

from ..wire import Wire
from .failure import FatalError
from .group import STEP_FRESH, Group, closed_by_peer
from .log import API, CORE, Log
from .parallel import Parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Hub(Group):
    """Rank 0: it hosts the coordinator."""

    def __init__(
        self,
        parallel: Parallel,
        log: Log,
        died: Callable[[FatalError], None],
        window: float,
        listener: socket.socket,
    ) -> None:
        super().__init__(parallel, log, died)
        self._window = window
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._members: dict[int, Wire] = {}
        self._ready: set[int] = set()
        self._done: set[int] = set()
        self._all_joined = threading.Event()
        self._all_ready = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._asking: list[Wire | None] = []
        self._awaited: set[int] = set()
        self._round = -STEP_FRESH

    def join(self) -> None:
        """Listen, and wait for ever for the others, as the engine does."""
        self._listener.listen(128)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        threading.Thread(target=self._serve, daemon=True).start()
        missing = self.parallel.size - 1
        text = f"Waiting for 0 local, {missing} remote core engine proc(s) to connect."
        self.log.debug(API, "utils.py:800", text)
        if not self._all_joined.wait(None if self.together else self._window):
            joined = len(self._members) + 1
            text = f"Timed out after {self._window:g} seconds waiting for clients."
            raise FatalError(
                f"torch.distributed.DistStoreError: {text} {joined}/{self.parallel.size} clients joined.",
                who=CORE,
            )

    def begin(self) -> None:
        """Wait until every member is ready too, then let all go."""
        self._waker.send(b"r")
        if self.together:
            self._all_ready.wait()
        if self.dead.is_set():
            raise FatalError(closed_by_peer(self.parallel), who=CORE)
        self.log.info(API, "coordinator.py:188", "All engine subscriptions received by DP coordinator")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    self._wake_up(self._wake.recv(64))
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self._selector.register(sock, selectors.EVENT_READ, Wire(sock))

    def _wake_up(self, why: bytes) -> None:
        if b"r" in why:
            self._count_ready(0)
        if b"s" in why:
            self._begin_step(None)
        if b"l" in why:
            self._count_done(0)

    def _read(self, wire: Wire) -> None:
        try:
            messages = wire.receive()
        except ValueError:  # not one of us: a port scanner, a health check
            messages = None
        if messages is None:
            self._selector.unregister(wire.sock)
            wire.sock.close()
            self._drop(wire)
            return
        for message in messages:
            self._handle(wire, message)

    def _handle(self, wire: Wire, message: dict[str, object]) -> None:
        kind = message.get("kind")
        if kind == "hello":
            self._admit(wire, _rank_of(message))
        elif kind == "ready":
            self._compare(wire.rank, str(message.get("fingerprint")))
        elif kind == "step":
            self._begin_step(wire)
        elif kind == "leaving":
            self._count_done(wire.rank)
        elif kind == "pong":
            self._awaited.discard(wire.rank)
            self._round = time.monotonic()
            self._end_step()

    def _admit(self, wire: Wire, rank: int) -> None:
        if not 0 < rank < self.parallel.size or rank in self._members:
            self._die(f"RuntimeError: Message from engine with unexpected data parallel rank: {rank}")
        wire.rank = rank
        self._members[rank] = wire
        self.log.debug(API, "utils.py:860", f"HELLO from remote core engine process {rank}.")
        if len(self._members) == self.parallel.size - 1:
            self._broadcast("go")
            self._all_joined.set()

    def _compare(self, rank: int, fingerprint: str) -> None:
        if fingerprint != self.parallel.fingerprint:
            self._broadcast("begin")  # in real runs the differing rank itself reports that it is ready
            self._die(
                f"RuntimeError: Configuration mismatch detected for engine {rank}. All DP workers must have "
                "identical configurations for parameters that affect collective communication (e.g., "
                f"enable_eplb, eplb_config.log_balancedness). Worker hash: {fingerprint}, Expected hash: "
                f"{self.parallel.fingerprint}. Please ensure all workers are started with the same "
                "command-line arguments."
            )
        self._count_ready(rank)

    def _count_ready(self, rank: int) -> None:
        self._ready.add(rank)
        if len(self._ready) == self.parallel.size:
            self._selector.unregister(self._listener)
            self._listener.close()  # the engine too stops listening there once its group is complete
            self._broadcast("begin")
            self._all_ready.set()

    def _count_done(self, rank: int) -> None:
        self._done.add(rank)
        if len(self._done) == self.parallel.size:
            self._broadcast("left")
            self.left.set()

    def _drop(self, wire: Wire) -> None:
        if self._members.get(wire.rank) is not wire:
            return
        if not self._all_joined.is_set():
            del self._members[wire.rank]
            return
        self._broadcast("dead", rank=wire.rank)
        self._lost(wire.rank)
        self._all_ready.set()

    def _ask_step(self) -> None:
        self._waker.send(b"s")

    def _tell_leaving(self) -> None:
        self._waker.send(b"l")

    def _begin_step(self, wire: Wire | None) -> None:
        self._asking.append(wire)
        if self._awaited:
            return
        if time.monotonic() - self._round >= STEP_FRESH:
            self._awaited = set(self._members)
            self._broadcast("ping")
        self._end_step()

    def _end_step(self) -> None:
        if self._awaited or not self._asking:
            return
        self._step_done()
        asking, self._asking = self._asking, []
        for wire in asking:
            if wire is not None:
                wire.send("stepped")

    def _broadcast(self, kind: str, **fields: object) -> None:
        for wire in list(self._members.values()):
            wire.send(kind, **fields)

    def _die(self, text: str) -> None:
        self._died(FatalError(text))


def _rank_of(message: dict[str, object]) -> int:
    rank = message.get("rank")
    return rank if isinstance(rank, int) else -1
