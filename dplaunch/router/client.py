"""The client's side of a request: begin, write, end, cut. The web server's response is known here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import HttpVersion11, web

MOST_UNSENT = 64 * 1024
"""Bytes in a client's socket that it has not taken yet."""


class Client(Protocol):
    """Who gets an answer. ``status`` is 0 until it begins: until then another try may write the answer."""

    status: int

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Send the head; ``length`` is that of the body, None where it is not known."""

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body, as soon as the client has taken enough of what was sent before."""

    def write_now(self, piece: bytes) -> bool:
        """Send a piece of the body unless that means to wait. False: it was not sent."""

    async def end(self) -> None:
        """The body is complete."""

    def cut(self, last: bytes) -> None:
        """Send ``last`` and close the connection in the middle of the body, which thus never looks whole."""


class WebClient:
    """A client of the web server."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.status = 0
        self.response = web.StreamResponse()
        self._request = request
        self._chunked = False

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """See ``Client``. HTTP/1.0 knows no chunks: there the body ends with the connection."""
        self.status = status
        self.response = web.StreamResponse(status=status, headers=headers)
        self.response.content_length = length
        if length is None and self._request.version >= HttpVersion11:
            self._chunked = True
            self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)

    async def write(self, piece: bytes) -> None:
        """See ``Client``."""
        await self.response.write(piece)

    def write_now(self, piece: bytes) -> bool:
        """See ``Client``. Straight into the socket: a call through aiohttp is most of a token's cost."""
        transport = self._request.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        return True

    async def end(self) -> None:
        """See ``Client``."""
        await self.response.write_eof()

    def cut(self, last: bytes) -> None:
        """See ``Client``. What was sent is flushed, the closing chunk never comes."""
        if last:
            self.write_now(last)
        self._request.protocol.force_close()


class Kept:
    """A client in memory, for requests that the router sends itself."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """See ``Client``."""
        del headers, length
        self.status = status

    async def write(self, piece: bytes) -> None:
        """See ``Client``."""
        self.body += piece

    def write_now(self, piece: bytes) -> bool:
        """See ``Client``."""
        self.body += piece
        return True

    async def end(self) -> None:
        """See ``Client``."""

    def cut(self, last: bytes) -> None:
        """See ``Client``."""
