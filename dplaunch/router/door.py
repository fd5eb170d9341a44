"""The listening side of a worker: accepts connections, and turns away those that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .handover import BACKLOG
from .settings import Settings

log = logging.getLogger("dprouter")

LEAVE_LOOK = 0.2
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Patience:
    """Closes connections whose first request's headers do not come in time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timers: dict[asyncio.Protocol, asyncio.TimerHandle] = {}

    def came(self, protocol: web.RequestHandler) -> None:
        """A connection was accepted."""
        loop = asyncio.get_running_loop()
        self._timers[protocol] = loop.call_later(self._seconds, self._turn_away, protocol)

    def spoke(self, protocol: asyncio.Protocol) -> None:
        """A request's headers are complete."""
        timer = self._timers.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _turn_away(self, protocol: web.RequestHandler) -> None:
        del self._timers[protocol]
        protocol.force_close()


class Door:
    """The listening side while it is open."""

    def __init__(self, runner: web.AppRunner, servers: Sequence[asyncio.AbstractServer]) -> None:
        self._runner = runner
        self._servers = servers
        self._leaving = False

    async def leave(self) -> None:
        """Accept nothing more; return when the last client has gone.

        Each is told with its next answer that this connection is not kept. One that asks nothing more is
        closed as at any time: closed earlier, it might have been sending already.
        """
        self._leaving = True
        for server in self._servers:
            server.close()
        while self._runner.server is not None and self._runner.server.connections:  # noqa: ASYNC110 - aiohttp reports no end of a connection
            await asyncio.sleep(LEAVE_LOOK)

    async def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Add to ``response`` that its connection is not kept, once this worker leaves."""
        del request
        if self._leaving:
            response.force_close()
            response.headers["Connection"] = "close"


@contextlib.asynccontextmanager
async def listening(
    settings: Settings, handler: Handler, listeners: Sequence[socket.socket], beside: Path | None = None
) -> AsyncIterator[Door]:
    """Serve ``listeners`` as long as the block runs; at its end running streams get their grace.

    ``beside`` is the path of a socket to serve as well, on which this machine's other workers ask.
    """
    patience = Patience(settings.header_timeout)

    async def handle(request: web.Request) -> web.StreamResponse:
        patience.spoke(request.protocol)
        return await handler(request)

    app = web.Application(client_max_size=settings.max_body + 1)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = _make_runner(settings, app)
    servers: list[asyncio.AbstractServer] = []
    door = Door(runner, servers)
    app.on_response_prepare.append(door.mark)
    await runner.setup()
    loop = asyncio.get_running_loop()
    connection = _factory(runner, patience)
    servers += [await loop.create_server(connection, sock=one, backlog=BACKLOG) for one in listeners]
    inner = [] if beside is None else [await loop.create_unix_server(connection, beside)]
    host, port = listeners[0].getsockname()[:2]
    log.info("listening on %s:%d, process %d", host, port, os.getpid())
    try:
        yield door
    finally:
        for server in (*servers, *inner):
            server.close()
        await runner.cleanup()


def _make_runner(settings: Settings, app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        logger=_http_log(),
        # A client that goes away ends its request at the engine too.
        handler_cancellation=True,
        shutdown_timeout=settings.grace,
        keepalive_timeout=settings.idle_timeout,
        # A few KB can unpack to a GB, before the key is looked at.
        auto_decompress=False,
    )


def _http_log() -> logging.Logger:
    """The web server's log: what clients send that is not HTTP is a line of it, without a traceback."""
    own = logging.getLogger("dprouter.http")
    own.addFilter(_without_traceback)
    return own


def _without_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        first = str(error).strip().partition("\n")[0]
        record.msg, record.args, record.exc_info = "%s: %.200r", (record.getMessage(), first), None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def _factory(runner: web.AppRunner, patience: Patience) -> Callable[[], asyncio.Protocol]:
    def connection() -> asyncio.Protocol:
        if runner.server is None:
            raise ConnectionAbortedError("the router is stopping")
        protocol = runner.server()
        patience.came(protocol)
        return protocol

    return connection
