"""One request through the engines: two phases, tried again elsewhere until its first byte.

A KV handle is good for one pull, so every try is a new prefill under a new request id. Once a byte
has reached the client nothing is tried again: a failure then closes the client's connection in
the middle of the body, which no client takes for a whole answer.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from aiohttp import HttpVersion11, web

from . import body as bodies
from .engines import (
    Answer,
    EngineError,
    EngineFaultError,
    EngineLostError,
    Message,
    Reply,
    asked,
)
from .health import Health
from .link import Pool
from .metrics import Metrics
from .pair import HEADER, Pair, named
from .state import Member, State

log = logging.getLogger("dprouter")

TRIES = 3
MOST_UNSENT = 64 * 1024
"""Bytes in a client's socket that it has not taken yet."""


class Unserved(Exception):  # noqa: N818 - a state of the cluster
    """No group of a needed role serves."""


@dataclass(frozen=True)
class Call:
    """A client's request. ``kind`` is completions, chat or other; the first two have two phases."""

    request: web.BaseRequest
    id: str
    kind: str
    message: Message
    """What every try starts from: its body is the client's, without a KV handle."""
    body: bodies.Body
    started: float
    pair: Pair = field(default_factory=dict)
    """The engines that the client named; none as a rule."""

    def headers(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """The answer's headers: an engine's, the request's id, and who was named."""
        own = {"X-Request-Id": self.id}
        return {**theirs, **own, HEADER: named(self.pair)} if self.pair else {**theirs, **own}

    def ask(self, content: bytes, tag: str) -> Message:
        """The message of one phase of the try ``tag``."""
        return replace(self.message, body=content, headers={**self.message.headers, "X-Request-Id": tag})

    def recomputed(self, chunk: bytes) -> bool:
        """The engine gave up. A client's own stop string may be that very word: then it is no sign."""
        return bodies.recomputed(chunk) and b"recomputed" not in self.body.raw


class Flow:
    """Brings calls to engines."""

    def __init__(
        self,
        state: State,
        health: Health,
        metrics: Metrics,
        pool: Pool,
    ) -> None:
        self._state = state
        self._health = health
        self._metrics = metrics
        self._pool = pool

    async def answer(self, call: Call) -> web.StreamResponse:
        """The engines' answer; raises ``Unserved``, or ``EngineError`` when every try failed.

        Where the client named the engines there is one try: another pair's answer would say nothing.
        """
        avoid: set[str] = set()
        if call.pair:
            return await self._attempt(call, avoid)
        for _ in range(TRIES - 1):
            response = await self._try(call, avoid)
            if response is not None:
                return response
        return await self._attempt(call, avoid)

    async def _try(self, call: Call, avoid: set[str]) -> web.StreamResponse | None:
        """One try; None when it failed in a way that another one may not."""
        try:
            return await self._attempt(call, avoid)
        except (EngineLostError, EngineFaultError) as error:
            avoid.add(error.member.entry.group)
            self._metrics.count("dprouter_retries_total", role=error.member.entry.role)
            return None

    async def _attempt(self, call: Call, avoid: set[str]) -> web.StreamResponse:
        try:
            return await self._phases(call, avoid)
        except EngineError as error:
            await self._blame(call, error)
            raise

    async def _phases(self, call: Call, avoid: set[str]) -> web.StreamResponse:
        if not self._state.ready():
            raise Unserved
        tag = f"{call.id}-{os.urandom(4).hex()}"
        if not self._state.split:
            return await self._last_phase(call, "serve", call.ask(call.body.raw, tag), avoid)
        if call.kind == "other":
            return await self._last_phase(call, "decode", call.ask(call.body.raw, tag), avoid)
        reply, handle = await self._prefill(call, call.ask(call.body.for_prefill(), tag), avoid)
        if reply.status != 200:  # noqa: PLR2004 - the client's own mistake, found by the first engine
            return self._give(call, reply)
        return await self._last_phase(call, "decode", call.ask(call.body.for_decode(handle), tag), avoid)

    async def _prefill(self, call: Call, message: Message, avoid: set[str]) -> tuple[Reply, Any]:
        member = self._pick(call, "prefill", avoid)
        with self._state.lease(member, call.body.prompt_tokens):
            async with asked(self._pool, member, message) as answer:
                reply = await answer.whole()
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            return reply, None
        try:
            handle = bodies.handle_of(reply.body)
        except bodies.BadBody as error:
            raise EngineFaultError(member, str(error), Reply(502, b"")) from error
        if not handle:
            self._metrics.count("dprouter_prefill_without_kv_total")
        return reply, handle

    async def _last_phase(
        self, call: Call, role: str, message: Message, avoid: set[str]
    ) -> web.StreamResponse:
        member = self._pick(call, role, avoid)
        with self._state.lease(member, call.body.prompt_tokens + call.body.output_tokens):
            async with asked(self._pool, member, message) as answer:
                if answer.head.kind == "application/json":
                    return await self._whole(call, answer)
                return await self._stream(call, answer)

    def _pick(self, call: Call, role: str, avoid: set[str]) -> Member:
        member = call.pair.get(role) or self._state.choose(role, avoid)
        if member is None:
            raise Unserved
        return member

    async def _whole(self, call: Call, answer: Answer) -> web.Response:
        """A JSON answer is held until it is complete: until then it can still be tried elsewhere."""
        reply = await answer.whole()
        if call.recomputed(reply.body):
            self._give_up(answer.member)
        return self._give(call, reply)

    async def _stream(self, call: Call, answer: Answer) -> web.StreamResponse:
        first = await answer.read()
        if call.recomputed(first):
            self._give_up(answer.member)
        self._metrics.first_byte(time.monotonic() - call.started)
        response = web.StreamResponse(status=answer.head.status, headers=call.headers(answer.passed_back()))
        response.content_length = answer.head.length
        if response.content_length is None and call.request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        await response.prepare(call.request)
        try:
            await self._pump(call, answer, response, first)
        except EngineError as error:
            await self._blame(call, error, cut=True)
            # Not the response's end: what was sent is flushed, the closing chunk never comes.
            call.request.protocol.force_close()
        return response

    async def _pump(self, call: Call, answer: Answer, response: web.StreamResponse, piece: bytes) -> None:
        """Pieces straight into the client's socket; through aiohttp, which waits, when that is full."""
        sink = _sink(call.request, chunked=response.chunked)
        while piece:
            if call.recomputed(piece):
                self._give_up(answer.member)
            await response.write(piece)
            await answer.pour(sink)
            piece = await answer.read()

    def _give_up(self, member: Member) -> NoReturn:
        self._metrics.count("dprouter_recomputed_total")
        raise EngineFaultError(member, "it ran out of KV memory and gave the request up", Reply(503, b""))

    def _give(self, call: Call, reply: Reply) -> web.Response:
        self._metrics.first_byte(time.monotonic() - call.started)
        return web.Response(status=reply.status, body=reply.body, headers=call.headers(reply.headers))

    async def _blame(self, call: Call, error: EngineError, *, cut: bool = False) -> None:
        """Note what failed; a lost engine is asked at once, so that the next try knows."""
        member = error.member
        what = "its answer is cut" if cut else "nothing of its answer was sent"
        log.warning("request %s: %s failed (%s); %s", call.id, member.entry.name, error, what)
        if cut:
            self._metrics.count("dprouter_cut_streams_total")
        if isinstance(error, EngineFaultError):
            self._state.erred(member)
        if isinstance(error, EngineLostError):
            self._health.lost(member, str(error))
            if not cut:
                await self._health.check(member)


def _sink(request: web.BaseRequest, *, chunked: bool) -> Callable[[bytes], bool]:
    transport = request.transport

    def sink(piece: bytes) -> bool:
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        if b'"recomputed"' in piece:
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        return True

    return sink
