"""Ranks that meet over real TCP: all are there before any goes on, and one that is lost ends the others."""

from __future__ import annotations

import os
import socket
import threading
import time

from ..wire import Wire
from .log import FatalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


BASE_PORT = 60000
USUAL = 120.0
"""HCCL_CONNECT_TIMEOUT, in seconds."""
BEAT = 0.05


def hccl_port(device: int) -> int:
    """Where HCCL listens for a device."""
    return int(os.environ.get("HCCL_IF_BASE_PORT") or BASE_PORT) + device


class Meeting:
    """All ranks of a group. ``lost`` is called, once, when one of them has gone before its end.

    ``where``: address and port at which rank 0 listens.
    """

    def __init__(self, rank: int, world: int, where: tuple[str, int], lost: Callable[[int], None]) -> None:
        self.rank = rank
        self.world = world
        self.where = where
        self._lost = lost
        self._wires: list[Wire] = []
        self._done: set[int] = set()
        self._changed = threading.Condition()

    def join(self) -> None:
        """Return when all ranks are there. Raises FatalError when time is up, or a rank's port is taken."""
        patience = float(
            os.environ.get("DPLAUNCH_REHEARSAL_CONNECT_S") or os.environ.get("HCCL_CONNECT_TIMEOUT") or USUAL
        )
        if self.world == 1:
            return
        if self.rank == 0:
            self._gather(time.monotonic() + patience)
        else:
            self._connect(time.monotonic() + patience)
        for wire in self._wires:
            threading.Thread(target=self._follow, args=(wire,), daemon=True).start()

    def part(self) -> None:
        """Return when every rank has come to its end: rank 0 lets the others go when all have."""
        if self.rank:
            self._report_done()
        with self._changed:
            self._changed.wait_for(lambda: len(self._done) == len(self._wires))
        if self.rank == 0:
            self._report_done()

    def _report_done(self) -> None:
        for wire in self._wires:
            wire.send("done", rank=self.rank)

    def _gather(self, deadline: float) -> None:
        with _listen(self.where) as door:
            while len(self._wires) < self.world - 1:
                door.settimeout(max(0.0, deadline - time.monotonic()))
                try:
                    sock, _ = door.accept()
                except (socket.timeout, BlockingIOError):
                    raise _timeout(f"{self.world - 1 - len(self._wires)} ranks do not connect") from None
                sock.settimeout(None)
                self._wires.append(Wire(sock))
        for wire in self._wires:
            wire.send("go")

    def _connect(self, deadline: float) -> None:
        while True:
            try:
                sock = socket.create_connection(self.where, timeout=max(BEAT, deadline - time.monotonic()))
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise _timeout("the remote does not initiate a connect request") from None
                time.sleep(BEAT)
        wire = Wire(sock)
        sock.settimeout(max(BEAT, deadline - time.monotonic()))
        try:
            told = wire.receive()
        except (socket.timeout, ValueError):
            told = None
        if not told:
            raise _timeout("Remote Rank did not send the data in time")
        sock.settimeout(None)
        self._wires = [wire]

    def _follow(self, wire: Wire) -> None:
        try:
            for message in wire.messages():
                if message.get("kind") == "done":
                    with self._changed:
                        self._done.add(id(wire))
                        self._changed.notify_all()
        except ValueError:
            pass
        if id(wire) not in self._done:
            self._lost(self.rank)


def _listen(where: tuple[str, int]) -> socket.socket:
    door = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(where)
    except OSError as fault:
        door.close()
        text = f"listen on ip[{where[0]}] and specific port[{where[1]}] fail. {fault.strerror}"
        raise FatalError(f"RuntimeError: {text}", f"[ERROR] HCCL [HcclSocket][Listen] {text}") from None
    door.listen(1024)
    return door


def _timeout(why: str) -> FatalError:
    line = f"Communication_Error_Get_Socket(EI0006): Getting socket times out. Reason: {why}"
    return FatalError("RuntimeError: HCCL function error: HcclCommInitClusterInfo(), error code is 9", line)


def report_lost() -> FatalError:
    """What a rank dies of when another has gone in the middle of the work."""
    line = (
        "EI0002: The wait execution of the Notify register times out. "
        "Reason: The Notify register has not received the Notify record from remote rank: [unknown]."
    )
    return FatalError("RuntimeError: HCCL execution fails, error code is 507011", line)
