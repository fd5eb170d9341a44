"""What clients talk to: reads requests within the limits, has them admitted, and gives them to the tries."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web

from . import body as bodies
from . import callbacks, errors, metrics, report
from .admission import RETRY_AFTER, Admission, Refused
from .attempt import Shared, Unserved
from .client import WebClient
from .engines import EngineError, EngineFaultError, EngineLateError, Message
from .keys import Keys
from .link import ExhaustedError
from .metrics import Exchange
from .request import HEADER, KINDS, PROMPTS, Pair, Request
from .room import LARGE, FullError, Room
from .settings import Settings
from .tries import Tries
from .within import timeout

log = logging.getLogger("dprouter")

PASSED_ON = ("Content-Type", "traceparent", "tracestate")
CLOSE = {"Connection": "close"}
_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True)
class _Asked:
    """A request whose headers were read."""

    web: web.BaseRequest
    id: str
    kind: str


class Front:
    """The handlers: one for what engines answer, four that show what the router sees, one for engines."""

    def __init__(
        self, settings: Settings, keys: Keys, shared: Shared, tries: Tries, exchange: Exchange
    ) -> None:
        self._settings = settings
        self._state = shared.state
        self._metrics = shared.metrics
        self._callbacks = shared.callbacks
        self._admission = Admission(keys, shared.state, shared.metrics)
        self._tries = tries
        self._exchange = exchange
        self._room = Room(settings.max_bodies)
        self._own = {
            "/live": self._live,
            "/health": self._health,
            "/metrics": self._show_metrics,
            "/members": self._members,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.path
        if request.version not in (HttpVersion10, HttpVersion11):
            return _error(Refused(505, "this is an HTTP/1.1 server", CLOSE), path, _request_id(request))
        if path in self._own and request.method in ("GET", "HEAD"):
            return self._own[path]()
        asked = _Asked(request, _request_id(request), KINDS.get(path, "other"))
        try:
            if path == callbacks.PATH and request.method == "POST":
                return await self._callback(request)
            response = await self._v1(asked)
        except Refused as refusal:
            response = _error(refusal, path, asked.id)
        except asyncio.CancelledError:
            self._metrics.count("dprouter_disconnects_total")
            raise
        except ConnectionError:
            # The same, noticed while writing; an answer that goes nowhere ends it without a traceback.
            self._metrics.count("dprouter_disconnects_total")
            return web.Response()
        self._metrics.count("dprouter_requests_total", path=asked.kind, status=str(response.status))
        return response

    async def _v1(self, asked: _Asked) -> web.StreamResponse:
        path = asked.web.path
        if (asked.kind == "other" and not path.startswith("/v1/")) or ".." in path:
            raise Refused(404, f"there is no {path} here; the API is below /v1/")
        client = self._admission.identify(asked.web.headers)
        if client:
            self._metrics.count("dprouter_client_requests_total", client=client)
        if path in PROMPTS and asked.web.method != "POST":
            raise Refused(405, f"{path} takes POST", {"Allow": "POST"})
        pair = self._admission.find_pair(asked.web.headers.get(HEADER), client, asked.web.remote or "")
        async with AsyncExitStack() as memory:
            raw = await self._read(asked.web, self._settings.max_body, memory)
            return await self._answer(asked, self._request(asked, pair, raw))

    async def _answer(self, asked: _Asked, request: Request) -> web.StreamResponse:
        client = WebClient(asked.web)
        try:
            self._admission.check_served(request.pair)
            await self._tries.answer(request, client)
        except Unserved:
            raise self._admission.unserved() from None
        except EngineError as error:
            return self._failed(request, error)
        except bodies.BadBody as error:
            raise Refused(400, str(error)) from None
        except ExhaustedError as error:
            log.error("request %s: no connection to an engine: %s", request.id, error)  # noqa: TRY400 - it is complete
            raise Refused(
                503, f"the router has no room for a connection ({error})", {"Retry-After": RETRY_AFTER}
            ) from None
        return client.response

    async def _read(self, request: web.BaseRequest, limit: int, memory: AsyncExitStack) -> bytes:
        """Return the body; ``memory`` gets the room that a large one takes."""
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise Refused(415, f"the body is encoded ({encoding[:40]}); send it as it is", CLOSE)
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        try:
            if (request.content_length or 0) > LARGE:
                await self._make_room(request.content_length or 0, memory)
            async with timeout(self._settings.body_timeout):
                return await self._pieces(request, limit, memory)
        except web.RequestPayloadError as error:
            raise Refused(400, f"the body is not what its headers announce ({error})", CLOSE) from None
        except asyncio.TimeoutError:
            slow = f"the body did not come within {self._settings.body_timeout:g} s"
            raise Refused(408, slow, CLOSE) from None

    async def _pieces(self, request: web.BaseRequest, limit: int, memory: AsyncExitStack) -> bytes:
        """Read the body; the size of one in chunks is not known before."""
        pieces, size, counted = [], 0, request.content_length is not None
        async for piece in request.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if size > LARGE and not counted:
                counted = True
                await self._make_room(limit, memory)
        return b"".join(pieces)

    async def _make_room(self, size: int, memory: AsyncExitStack) -> None:
        within = self._settings.body_timeout / 2
        try:
            await memory.enter_async_context(self._room.hold(size, within))
        except FullError:
            text = f"the router holds {self._settings.max_bodies} bytes of large requests (--max-bodies)"
            raise Refused(503, text, {**CLOSE, "Retry-After": RETRY_AFTER}) from None

    def _request(self, asked: _Asked, pair: Pair, raw: bytes) -> Request:
        try:
            content_type = asked.web.headers.get("Content-Type", "").strip().lower()
            has_prompt = asked.kind in PROMPTS.values()
            body = bodies.read(raw) if has_prompt else bodies.read_any(raw, content_type)
        except bodies.BadBody as error:
            raise Refused(400, str(error)) from None
        now = time.monotonic()
        limit = self._settings.request_timeout
        theirs = asked.web.headers
        headers = {name: theirs[name] for name in PASSED_ON if name in theirs}
        if has_prompt:
            headers["Content-Type"] = "application/json"
        headers.update(self._settings.authorization)
        deadline = now + limit if limit > 0 else None
        message = Message(asked.web.method, asked.web.rel_url.raw_path_qs, body.raw, headers, deadline)
        kind = "other" if asked.kind == "responses" and body.continues else asked.kind
        return Request(asked.id, kind, message, body, now, pair)

    async def _callback(self, request: web.BaseRequest) -> web.Response:
        """Take what a decode engine posts; it knows no key, only the id in the URL that it was given."""
        async with AsyncExitStack() as memory:
            raw = await self._read(request, min(callbacks.MOST, self._settings.max_body), memory)
        target = request.rel_url.raw_path_qs
        status = await self._callbacks.receive(target, request.rel_url.query.get("id", ""), raw)
        return _json({"status": status.phrase}, status)

    def _failed(self, request: Request, error: EngineError) -> web.Response:
        if isinstance(error, EngineFaultError) and error.reply.body:
            headers = request.headers(error.reply.headers)
            return web.Response(status=error.reply.status, body=error.reply.body, headers=headers)
        if isinstance(error, EngineLateError):
            late = f"no answer within {self._settings.request_timeout:g} s"
            raise Refused(504, late, request.headers({}))
        text = f"every try failed, the last on {error.member.entry.name}: {error}"
        raise Refused(502, text, request.headers({"Retry-After": RETRY_AFTER}))

    def _live(self) -> web.Response:
        """The router itself answers, whether or not it has an engine to ask."""
        return _json({"status": "ok"})

    def _health(self) -> web.Response:
        ready = self._state.ready()
        headers = {} if ready else {"Retry-After": RETRY_AFTER}
        return _json(report.health(self._state), 200 if ready else 503, headers)

    def _members(self) -> web.Response:
        seen = report.members(self._state)
        seen["model"] = seen["model"] or self._settings.model
        counts = metrics.added([self._metrics.counts, *self._exchange.others()])
        seen["skipped_prefill"] = int(metrics.total(counts, "dprouter_skipped_prefill_total"))
        return _json({**seen, "workers": self._settings.workers})

    def _show_metrics(self) -> web.Response:
        parts = [metrics.shared(self._metrics, self._state), metrics.seen(self._state)]
        text = metrics.text(metrics.added([*parts, *self._exchange.others()]))
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes (--max-body)")


def _request_id(request: web.BaseRequest) -> str:
    """Return the client's own, when it can be passed on as it is."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else str(uuid.uuid4())


def _error(refusal: Refused, path: str, request_id: str) -> web.Response:
    document = errors.describe(path, refusal.status, str(refusal), request_id)
    return _json(document, refusal.status, {**refusal.headers, "X-Request-Id": request_id})


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        text=json.dumps(value), status=status, content_type="application/json", headers=headers
    )
