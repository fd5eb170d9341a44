"""Rank 0 of a data-parallel group: the meeting point (messages: see ``group``)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from ..wire import Wire
from .failure import FatalError
from .group import STEP_FRESH, Group, closed_by_peer
from .log import API, CORE, Log
from .parallel import INTERNAL, SPREAD, Parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Hub(Group):
    """Rank 0: it hosts the coordinator. Every member is heard in a thread of its own, one at a time."""

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
        self._lock = threading.RLock()
        self._members: dict[int, Wire] = {}
        self._widths = {0: parallel.width}
        self._ready: set[int] = set()
        self._done: set[int] = set()
        self._all_joined = threading.Event()
        self._all_ready = threading.Event()
        self._asking: list[Wire | None] = []
        self._awaited: set[int] = set()
        self._round = -STEP_FRESH

    def join(self) -> None:
        """Listen, and wait for ever for the others, as the engine does."""
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        missing = self.parallel.members - self.parallel.width
        text = f"Waiting for 0 local, {missing} remote core engine proc(s) to connect."
        self.log.debug(API, "utils.py:800", text)
        if not self._all_joined.wait(None if self.together else self._window):
            joined = len(self._members) + 1
            text = f"Timed out after {self._window:g} seconds waiting for clients."
            raise FatalError(
                f"torch.distributed.DistStoreError: {text} {joined}/{self.parallel.members} clients joined.",
                who=CORE,
            )

    def begin(self) -> None:
        """Wait until every member is ready too, then let all go."""
        self._count_ready(0)
        if self.together:
            self._all_ready.wait()
        if self.dead.is_set():
            raise FatalError(closed_by_peer(self.parallel), who=CORE)
        self.log.info(API, "coordinator.py:188", "All engine subscriptions received by DP coordinator")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down: the group is complete
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._hear, args=(Wire(sock),), daemon=True).start()

    def _hear(self, wire: Wire) -> None:
        with wire.sock, contextlib.suppress(ValueError):  # not one of us: a port scanner, a health check
            for message in wire.messages():
                with self._lock:
                    self._handle(wire, message)
        with self._lock:
            self._drop(wire)

    def _handle(self, wire: Wire, message: dict[str, object]) -> None:
        kind = message.get("kind")
        if kind == "hello":
            self._admit(wire, message)
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

    def _admit(self, wire: Wire, hello: dict[str, object]) -> None:
        rank, width = _number_of(hello, "rank"), _number_of(hello, "width")
        mine = {one for known, count in self._widths.items() for one in range(known, known + count)}
        wrong = [one for one in range(rank, rank + max(1, width)) if one in mine]
        if wrong or not 0 < rank <= self.parallel.members - width:
            text = f"Message from engine with unexpected data parallel rank: {wrong[0] if wrong else rank}"
            self._die(f"RuntimeError: {text}")
        self._check_headless(rank, headless=bool(hello.get("headless")))
        wire.rank = rank
        self._members[rank], self._widths[rank] = wire, width
        self.log.debug(API, "utils.py:860", f"HELLO from remote core engine process {rank}.")
        if self._are_all(self._widths):
            self._broadcast("go")
            self._all_joined.set()

    def _check_headless(self, rank: int, *, headless: bool) -> None:
        """Remote engines have no server where this one answers for all, and one of their own elsewhere."""
        wanted = self.parallel.mode in (INTERNAL, SPREAD)
        if headless and not wanted:
            text = "must not use --headless in external or hybrid dp lb mode"
            self._die(f"RuntimeError: Remote engine {rank} {text}")
        if wanted and not headless:
            text = "must use --headless unless in external or hybrid dp lb mode"
            self._die(f"RuntimeError: Remote engine {rank} {text}")

    def _are_all(self, ranks: Iterable[int]) -> bool:
        return sum(self._widths[rank] for rank in ranks) == self.parallel.members

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
        with self._lock:
            self._ready.add(rank)
            if self._are_all(self._ready):
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()  # the engine too stops listening there once its group is complete
                self._broadcast("begin")
                self._all_ready.set()

    def _count_done(self, rank: int) -> None:
        with self._lock:
            self._done.add(rank)
            if self._are_all(self._done):
                self._broadcast("left")
                self.left.set()

    def _drop(self, wire: Wire) -> None:
        if self._members.get(wire.rank) is not wire:
            return
        if not self._all_joined.is_set():
            del self._members[wire.rank], self._widths[wire.rank]
            return
        self._broadcast("dead", rank=wire.rank)
        self._lost(wire.rank)
        self._all_ready.set()

    def _ask_step(self) -> None:
        with self._lock:
            self._begin_step(None)

    def _tell_leaving(self) -> None:
        self._count_done(0)

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


def _number_of(message: dict[str, object], name: str) -> int:
    number = message.get(name)
    return number if isinstance(number, int) else -1
