"""What clients talk to: reads requests within the limits, has them admitted, and gives them to the tries."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import body as bodies
from . import callbacks, metrics, report
from .admission import RETRY_AFTER, Admission, Refused
from .attempt import Shared, Unserved
from .client import WebClient
from .engines import EngineError, EngineFaultError, EngineLateError, Message
from .metrics import Exchange
from .request import HEADER, KINDS, Pair, Request
from .settings import Settings
from .tries import Tries

log = logging.getLogger("dprouter")

PASSED_ON = ("Content-Type", "traceparent", "tracestate")
_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True)
class _Asked:
    """A request whose headers were read."""

    web: web.BaseRequest
    id: str
    kind: str


class Front:
    """The handlers: one for everything under /v1/, four that show what the router sees, one for engines."""

    def __init__(self, settings: Settings, shared: Shared, tries: Tries, exchange: Exchange) -> None:
        self._settings = settings
        self._state = shared.state
        self._metrics = shared.metrics
        self._callbacks = shared.callbacks
        self._admission = Admission(settings.api_key, shared.state, shared.metrics)
        self._tries = tries
        self._exchange = exchange
        self._own = {
            "/live": self._live,
            "/health": self._health,
            "/metrics": self._show_metrics,
            "/members": self._members,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.path
        if path in self._own and request.method in ("GET", "HEAD"):
            return self._own[path]()
        asked = _Asked(request, _request_id(request), KINDS.get(path, "other"))
        try:
            if path == callbacks.PATH and request.method == "POST":
                return await self._callback(request)
            response = await self._v1(asked)
        except Refused as refusal:
            response = _error(refusal, asked.id)
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
        if not path.startswith("/v1/") or ".." in path:
            raise Refused(404, f"there is no {path} here; the API is below /v1/")
        self._admission.check_key(asked.web.headers.get("Authorization", ""))
        if asked.kind != "other" and asked.web.method != "POST":
            raise Refused(405, f"{path} takes POST", {"Allow": "POST"})
        pair = self._admission.find_pair(asked.web.headers.get(HEADER), asked.web.remote or "")
        request = self._request(asked, pair, await self._read(asked.web, self._settings.max_body))
        client = WebClient(asked.web)
        try:
            self._admission.check_served(pair)
            await self._tries.answer(request, client)
        except Unserved:
            raise self._admission.unserved() from None
        except EngineError as error:
            return self._failed(request, error)
        return client.response

    async def _read(self, request: web.BaseRequest, limit: int) -> bytes:
        too_large = Refused(413, f"the body is larger than {limit} bytes (--max-body)")
        if (request.content_length or 0) > limit:
            raise too_large
        try:
            if request.content.is_eof():
                return await request.read()
            return await asyncio.wait_for(request.read(), self._settings.body_timeout)
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except asyncio.TimeoutError:
            slow = f"the body did not come within {self._settings.body_timeout:g} s"
            raise Refused(408, slow, {"Connection": "close"}) from None

    def _request(self, asked: _Asked, pair: Pair, raw: bytes) -> Request:
        try:
            body = bodies.read_any(raw) if asked.kind == "other" else bodies.read(raw)
        except bodies.BadBody as error:
            raise Refused(400, str(error)) from None
        now = time.monotonic()
        limit = self._settings.request_timeout
        theirs = asked.web.headers
        headers = {name: theirs[name] for name in PASSED_ON if name in theirs}
        if asked.kind != "other":
            headers["Content-Type"] = "application/json"
        headers.update(self._settings.authorization)
        deadline = now + limit if limit > 0 else None
        message = Message(asked.web.method, asked.web.rel_url.raw_path_qs, body.raw, headers, deadline)
        return Request(asked.id, asked.kind, message, body, now, pair)

    async def _callback(self, request: web.BaseRequest) -> web.Response:
        """Take what a decode engine posts; it knows no key, only the id in the URL that it was given."""
        raw = await self._read(request, min(callbacks.MOST, self._settings.max_body))
        target = request.rel_url.raw_path_qs
        status = await self._callbacks.receive(target, request.rel_url.query.get("id", ""), raw)
        return _json({"status": status.phrase}, status)

    def _failed(self, request: Request, error: EngineError) -> web.Response:
        if isinstance(error, EngineFaultError) and error.reply.body:
            headers = request.headers(error.reply.headers)
            return web.Response(status=error.reply.status, body=error.reply.body, headers=headers)
        if isinstance(error, EngineLateError):
            late = f"no answer within {self._settings.request_timeout:g} s"
            return _error(Refused(504, late, request.headers({})), request.id)
        text = f"every try failed, the last on {error.member.entry.name}: {error}"
        return _error(Refused(502, text, request.headers({"Retry-After": RETRY_AFTER})), request.id)

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
        return _json({**seen, "workers": self._settings.workers})

    def _show_metrics(self) -> web.Response:
        parts = [metrics.shared(self._metrics, self._state), metrics.seen(self._state)]
        text = metrics.text(metrics.added([*parts, *self._exchange.others()]))
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _request_id(request: web.BaseRequest) -> str:
    """Return the client's own, when it can be passed on as it is."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else str(uuid.uuid4())


def _error(refusal: Refused, request_id: str) -> web.Response:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"  # noqa: PLR2004 - HTTP
    error = {"message": str(refusal), "type": kind, "param": None, "code": refusal.status}
    return _json({"error": error}, refusal.status, {**refusal.headers, "X-Request-Id": request_id})


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        text=json.dumps(value), status=status, content_type="application/json", headers=headers
    )
