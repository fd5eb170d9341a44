"""Connections to engines, kept for a few seconds after use."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Union, cast

from . import http1
from .http1 import BadAnswerError, Head
from .within import timeout

KEEP_ALIVE = 4.0
"""Engines close idle connections after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): we must be first."""

MOST_HELD = 1 << 20
"""Bytes waiting for a slow client, before the engine is made to wait."""

PROBES = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 12_000}
"""The kernel's own questions, in seconds and milliseconds: a host that lost its power sends no end."""


Address = Union[tuple[str, int], str]
"""Host and port, or the path of a socket."""

Sink = Callable[[bytes], bool]
"""Takes a piece of a body, or returns False to have it wait for ``read``."""


class BrokenError(Exception):
    """The connection was not made, or ended before the answer did."""


class StuckError(BrokenError):
    """It was given up here: the engine lives, and does not answer anybody."""


class TooLateError(Exception):
    """The request's time is over."""


OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
"""Errors of a connection that this machine does not let us make, whatever the engine does."""


class ExhaustedError(Exception):
    """This machine has no descriptor, port or memory left for a connection; no engine is to blame."""


class Waiting(NamedTuple):
    """Requests that wait for an engine's next bytes."""

    since: float
    """When the first of them was sent (monotonic)."""
    size: int
    """Bytes of the largest one."""


class Link(asyncio.Protocol):
    """One connection: one request and its answer at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reset("")
        self.idle_since = 0.0
        self.heard = False
        """Something came since this was last made False."""
        self.asked_at = 0.0
        self.size = 0

    def _reset(self, method: str) -> None:
        self._method = method
        self._raw = b""
        self._head: Head | None = None
        self._body: http1.Sized | http1.Chunked | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waiting(self) -> bool:
        """Something is waited for that has not come; not where it is the client who does not read."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def finished(self) -> bool:
        """The answer is complete, and the engine keeps the connection."""
        whole = self._body is not None and self._body.done
        return whole and self._head is not None and self._head.stays_open and self.usable

    def send(self, method: str, message: Sequence[bytes], deadline: float | None) -> None:
        """Send a request, head and body; its answer must have come whole by ``deadline`` (monotonic)."""
        self._reset(method)
        if deadline is not None:
            left = max(deadline - time.monotonic(), 0)
            self._timer = self._loop.call_later(left, self.fail, TooLateError())
        if self._transport is None or not self.usable:
            raise BrokenError("the connection closed")
        self.asked_at, self.size = time.monotonic(), sum(map(len, message))
        self._transport.writelines(message)

    async def head(self) -> Head:
        """Status and headers, as soon as they are there."""
        while self._head is None:
            await self._more()
        return self._head

    async def read(self) -> bytes:
        """What has come of the body; empty at its end."""
        while not self._pieces:
            if self._body is not None and self._body.done:
                return b""
            await self._more()
        pieces, self._pieces = self._pieces, []
        if self._held > MOST_HELD and self._transport is not None and self.usable:
            self._transport.resume_reading()
        self._held = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pour(self, sink: Sink) -> None:
        """Give each piece to ``sink`` as it comes, no task in between; until it refuses one, or the end."""
        if self._pieces or (self._body is not None and self._body.done):
            return
        self._sink = sink
        try:
            await self._more()
        finally:
            self._sink = None

    def rest(self) -> None:
        """The request is over: forget its deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Close the connection: how an engine learns that its answer is not waited for."""
        self.rest()
        if self._transport is not None:
            self._transport.close()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        """Give the request on it up: who waits for its answer gets ``error``."""
        self._error = error
        self.close()
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        # uvloop's transports are asyncio's in all but ancestry.
        self._transport = cast("asyncio.Transport", transport)
        own = transport.get_extra_info("socket")
        if own is not None and own.family != socket.AF_UNIX:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in PROBES.items():
                own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        self.heard = True
        try:
            body = self._body
            piece = body.feed(data) if body is not None else self._begin(data)
        except BadAnswerError as error:
            self.fail(BrokenError(f"it does not speak HTTP: {error}"))
            return
        if piece and not self._poured(piece):
            self._hold(piece)
            self._wake()
        elif self._sink is None or (body is not None and body.done):
            self._wake()

    def _poured(self, piece: bytes) -> bool:
        # What waits goes first.
        return self._sink is not None and not self._pieces and self._sink(piece)

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > MOST_HELD and self._transport is not None and self.usable:
            self._transport.pause_reading()

    def _begin(self, data: bytes) -> bytes:
        self._raw += data
        raw, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            if len(raw) > http1.LONGEST_HEAD:
                raise BadAnswerError("its headers do not end")
            return b""
        if not self._method:
            raise BadAnswerError("an answer that was not asked for")
        self._raw = b""
        head = http1.head(raw)
        self._body = http1.framing(self._method, head)
        self._head = head
        return self._body.feed(rest) if rest else b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        whole = self._body is not None and self._body.closed()
        if not whole and self._error is None:
            self._error = BrokenError(str(exc) if exc else "the connection closed")
        self._wake()


class Pool:
    """Links by address; used ones are kept, and taken again before new ones are made."""

    def __init__(self, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._idle: defaultdict[Address, deque[Link]] = defaultdict(deque)
        self._used: defaultdict[Address, set[Link]] = defaultdict(set)
        self._heard: set[Address] = set()

    async def take(self, address: Address, deadline: float | None) -> Link:
        """A link to ``address``; raises ``BrokenError``, ``TooLateError`` or ``ExhaustedError``."""
        link = await self._take(address, deadline)
        self._used[address].add(link)
        return link

    def fail(self, address: Address, reason: str, kind: type[BrokenError] = BrokenError) -> None:
        """Give every request at ``address`` up: each of them gets an error of ``kind``."""
        for link in list(self._used[address]):
            link.fail(kind(reason))

    def heard(self, address: Address) -> bool:
        """Whether anything came from ``address`` since this was last asked."""
        links = self._used[address]
        found = address in self._heard or any(link.heard for link in links)
        self._heard.discard(address)
        for link in links:
            link.heard = False
        return found

    def waiting(self, address: Address) -> Waiting | None:
        """The requests that wait for ``address``; None when there are none."""
        links = [link for link in self._used[address] if link.waiting]
        if not links:
            return None
        return Waiting(min(link.asked_at for link in links), max(link.size for link in links))

    async def _take(self, address: Address, deadline: float | None) -> Link:
        idle = self._idle[address]
        while idle:
            link = idle.pop()
            if link.usable and time.monotonic() - link.idle_since < KEEP_ALIVE:
                return link
            link.close()
        return await self._connect(address, deadline)

    async def _connect(self, address: Address, deadline: float | None) -> Link:
        left = self._connect_timeout if deadline is None else deadline - time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            async with timeout(min(left, self._connect_timeout)):
                _, link = await (
                    loop.create_unix_connection(Link, address)
                    if isinstance(address, str)
                    else loop.create_connection(Link, *address)
                )
        except asyncio.TimeoutError:
            if left < self._connect_timeout:
                raise TooLateError from None
            raise BrokenError(f"no connection within {self._connect_timeout:g} s") from None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in OURS:
                raise ExhaustedError(error.strerror) from None
            raise BrokenError(str(error)) from None
        return link

    def give(self, address: Address, link: Link) -> None:
        """The request on ``link`` is over: keep it when its answer came whole, else close it."""
        link.rest()
        self._used[address].discard(link)
        if link.heard:
            link.heard = False
            self._heard.add(address)
        if not link.finished:
            link.close()
            return
        idle = self._idle[address]
        link.idle_since = time.monotonic()
        idle.append(link)
        while link.idle_since - idle[0].idle_since > KEEP_ALIVE or not idle[0].usable:
            idle.popleft().close()

    def close(self) -> None:
        """Close what is kept."""
        for idle in self._idle.values():
            for link in idle:
                link.close()
        self._idle.clear()
