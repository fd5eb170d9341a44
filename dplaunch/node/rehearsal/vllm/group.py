"""The data-parallel group, met over real TCP at master:rpc; its behaviour is that of real runs.

Rank 0 is the hub (``hub``): it listens, waits for ever for the others, and closes the port once all are
ready. A member connects, retries until its window is out, and keeps its connection: that is how a death is
noticed. Messages are JSON lines::

    member → hub   hello {rank, width, headless, fingerprint}   ready {rank, fingerprint}
                   step {}    pong {}    leaving {}
    hub → member   go {}    begin {}    ping {}    stepped {}    dead {rank}    left {}

A member is ``width`` ranks from ``rank`` on, or a part of one. ``step`` plays the collective operation in
every forward pass: no rank computes while one member does not answer. A rank that is asked to end waits for
the others' last request (``leave``).
"""

from __future__ import annotations

import socket
import threading
import time

from ..wire import Wire
from .failure import FatalError
from .log import CORE, Log
from .parallel import CONTRACT_A, SPREAD, Parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

USUAL_WINDOW = 300
"""Seconds a member of the real engine waits for rank 0."""
STEP_FRESH = 1.0
"""Seconds for which one completed step stands for the next ones: bounds the traffic of a busy group."""


class Group:
    """A group of one: what an engine without data parallelism has. The others build on its events."""

    def __init__(self, parallel: Parallel, log: Log, died: Callable[[FatalError], None]) -> None:
        self.parallel = parallel
        self.log = log
        self.dead = threading.Event()
        self.left = threading.Event()
        """All ranks are done: from then on the end of one means nothing."""
        self.together = parallel.together
        self.on_death: Callable[[], None] = lambda: None
        self._died = died
        self._stepped = threading.Condition()
        self._last_step = 0.0
        self._took_part = 0.0
        self._leaving = False

    def join(self) -> None:
        """Return when every rank has sent hello."""

    def begin(self) -> None:
        """Return when every rank has loaded."""

    def step(self, check: Callable[[], None]) -> None:
        """Wait until all ranks took part in a forward pass, unless ``check()`` raises first."""
        asked = time.monotonic()
        if not self.parallel.grouped or asked - self._last_step < STEP_FRESH:
            return
        self._ask_step()
        while True:
            with self._stepped:
                if self._last_step >= asked:
                    return
                if not self.dead.is_set():
                    self._stepped.wait(0.25)
            check()

    def busy(self, seconds: float) -> bool:
        """Whether it took part in a step within the last ``seconds``."""
        return time.monotonic() - max(self._last_step, self._took_part) < seconds

    def leave(self, seconds: float) -> bool:
        """Report that this rank has no work left; True once that holds for all, False after ``seconds``."""
        if not self.parallel.grouped:
            return True
        if not self._leaving:
            self._leaving = True
            self._tell_leaving()
        return self.left.wait(seconds) or self.dead.is_set()

    def _tell_leaving(self) -> None:
        """Let rank 0 know."""

    def _ask_step(self) -> None:
        """Start a step, or take part in the one that runs."""

    def _step_done(self) -> None:
        with self._stepped:
            self._last_step = time.monotonic()
            self._stepped.notify_all()

    def _lost(self, rank: int) -> None:
        if not self.dead.is_set() and not self.left.is_set():
            self.log.debug(CORE, "core.py:1080", f"connection to rank {rank} closed")
            with self._stepped:
                self.dead.set()
                self._stepped.notify_all()
            self.on_death()


class Follower(Group):
    """Every rank but 0. Without a group-wide ready (contract A) it serves as soon as it has loaded itself."""

    def __init__(
        self, parallel: Parallel, log: Log, died: Callable[[FatalError], None], window: float
    ) -> None:
        super().__init__(parallel, log, died)
        self._window = window
        self._wire: Wire

    def join(self) -> None:
        """Connect to rank 0 within the window; raises FatalError when it is out."""
        deadline = time.monotonic() + self._window
        pause = 0.05
        while time.monotonic() < deadline:
            if self._try_to_join(deadline):
                return
            time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
            pause = min(1.0, pause * 1.5)
        raise FatalError(self._describe_timeout(), who=CORE)

    def begin(self) -> None:
        """Report ready, wait for all, and keep watching the connection from then on."""
        wire = self._wire
        wire.sock.settimeout(None)
        wire.send("ready", rank=self.parallel.place, fingerprint=self.parallel.fingerprint)
        while self.together and "begin" not in self._kinds(wire):
            pass
        threading.Thread(target=self._watch, args=(wire,), daemon=True).start()

    def _describe_timeout(self) -> str:
        minutes = "5 minutes" if self._window == USUAL_WINDOW else f"{self._window:g} seconds"
        if self.parallel.mode in (CONTRACT_A, SPREAD):
            where = f"({self.parallel.address}, {self.parallel.port})"
            return (
                f"torch.distributed.DistNetworkError: The client socket has timed out after "
                f"{self._window * 1000:.0f}ms while trying to connect to {where}."
            )
        return f"RuntimeError: Did not receive response from front-end process within {minutes}"

    def _try_to_join(self, deadline: float) -> bool:
        """One attempt: connected, sent hello, and all are there."""
        left = max(0.1, deadline - time.monotonic())
        try:
            sock = socket.create_connection((self.parallel.address, self.parallel.port), min(5.0, left))
        except OSError:
            return False
        wire = Wire(sock)
        wire.sock.settimeout(left)
        own = self.parallel
        hello = {"rank": own.place, "width": own.width, "headless": own.headless}
        wire.send("hello", **hello, fingerprint=own.fingerprint)
        try:
            while True:
                messages = wire.receive()
                if messages is None:
                    sock.close()
                    return False
                if any(message["kind"] == "go" for message in messages):
                    self._wire = wire
                    return True
        except socket.timeout:
            sock.close()
            return False

    def _kinds(self, wire: Wire) -> set[object]:
        messages = wire.receive()
        if messages is None or any(message["kind"] == "dead" for message in messages):
            raise FatalError(closed_by_peer(self.parallel), who=CORE)
        return {message["kind"] for message in messages}

    def _watch(self, wire: Wire) -> None:
        for message in wire.messages():
            if message["kind"] == "ping":
                self._took_part = time.monotonic()
                wire.send("pong")
            elif message["kind"] == "stepped":
                self._step_done()
            elif message["kind"] == "left":
                self.left.set()
            elif message["kind"] == "dead":
                self._lost(int(str(message.get("rank", 0))))
        self._lost(0)

    def _ask_step(self) -> None:
        self._wire.send("step")

    def _tell_leaving(self) -> None:
        self._wire.send("leaving")


def closed_by_peer(parallel: Parallel) -> str:
    """What gloo logs in every other rank when one has gone."""
    return (
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer "
        f"[{parallel.address}]:{parallel.port}"
    )
