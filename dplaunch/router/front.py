"""What clients talk to: checks the key and the limits, then hands the call to the flow."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from dataclasses import replace
from typing import Any

from aiohttp import web

from . import body as bodies
from . import metrics, report
from .engines import EngineError, EngineFaultError, EngineLateError, Message
from .flow import Call, Flow, Unserved
from .metrics import Exchange, Metrics
from .pair import HEADER, Pair, PairError, find, from_here
from .settings import Settings
from .state import State

log = logging.getLogger("dprouter")

RETRY_AFTER = "2"
"""Seconds; two health checks."""
KINDS = {"/v1/completions": "completions", "/v1/chat/completions": "chat"}
PASSED_ON = ("Content-Type", "traceparent", "tracestate")
_ID = re.compile(r"[!-~]{1,128}")


class Refused(Exception):  # noqa: N818 - the client's, or the cluster's
    """The request is answered here, with ``status`` and one sentence."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}


class Front:
    """The handlers; one for everything under /v1/, three that show what the router sees."""

    def __init__(
        self, settings: Settings, state: State, flow: Flow, counters: Metrics, exchange: Exchange
    ) -> None:
        self._settings = settings
        self._state = state
        self._flow = flow
        self._metrics = counters
        self._exchange = exchange
        self._expected = f"Bearer {settings.api_key}".encode() if settings.api_key else b""
        self._own = {"/health": self._health, "/metrics": self._show_metrics, "/members": self._members}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request."""
        path = request.path
        if path in self._own and request.method in ("GET", "HEAD"):
            return self._own[path]()
        request_id = _request_id(request)
        kind = KINDS.get(path, "other")
        try:
            response = await self._v1(request, request_id, kind)
        except Refused as refusal:
            response = _error(refusal, request_id)
        except asyncio.CancelledError:
            self._metrics.count("dprouter_disconnects_total")
            raise
        except ConnectionError:
            # The same, noticed while writing; the answer to nobody ends it without a traceback.
            self._metrics.count("dprouter_disconnects_total")
            return web.Response()
        self._metrics.count("dprouter_requests_total", path=kind, status=str(response.status))
        return response

    async def _v1(self, request: web.BaseRequest, request_id: str, kind: str) -> web.StreamResponse:
        if not request.path.startswith("/v1/") or ".." in request.path:
            raise Refused(404, f"there is no {request.path} here; the API is below /v1/")
        self._check_key(request)
        if kind != "other" and request.method != "POST":
            raise Refused(405, f"{request.path} takes POST", {"Allow": "POST"})
        pair = self._pair(request)
        call = replace(self._call(request, request_id, kind, await self._read(request)), pair=pair)
        try:
            return await self._flow.answer(call)
        except Unserved:
            self._metrics.count("dprouter_unserved_total")
            why = "; ".join(report.reasons(self._state)[:5]) or "no group serves"
            raise Refused(503, f"not every needed role serves: {why}", {"Retry-After": RETRY_AFTER}) from None
        except EngineError as error:
            return self._failed(call, error)

    def _check_key(self, request: web.BaseRequest) -> None:
        if not self._expected:
            return
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            raise Refused(401, "the API key is missing or wrong", {"WWW-Authenticate": "Bearer"})

    def _pair(self, request: web.BaseRequest) -> Pair:
        """The engines that the client names, if it may."""
        header = request.headers.get(HEADER)
        if header is None:
            return {}
        if not (self._expected or from_here(request.remote or "")):
            raise Refused(403, f"{HEADER} is for requests with the API key, or from the router's own node")
        try:
            return find(header, self._state)
        except PairError as error:
            raise Refused(error.status, str(error)) from None

    async def _read(self, request: web.BaseRequest) -> bytes:
        limit = self._settings.max_body
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

    def _call(self, request: web.BaseRequest, request_id: str, kind: str, raw: bytes) -> Call:
        try:
            body = bodies.read_any(raw) if kind == "other" else bodies.read(raw)
        except bodies.BadBody as error:
            raise Refused(400, str(error)) from None
        now = time.monotonic()
        limit = self._settings.request_timeout
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        if kind != "other":
            headers["Content-Type"] = "application/json"
        if self._expected:
            headers["Authorization"] = self._expected.decode()
        deadline = now + limit if limit > 0 else None
        message = Message(request.method, request.rel_url.raw_path_qs, body.raw, headers, deadline)
        return Call(request, request_id, kind, message, body, now)

    def _failed(self, call: Call, error: EngineError) -> web.Response:
        if isinstance(error, EngineFaultError) and error.reply.body:
            headers = call.headers(error.reply.headers)
            return web.Response(status=error.reply.status, body=error.reply.body, headers=headers)
        if isinstance(error, EngineLateError):
            late = f"no answer within {self._settings.request_timeout:g} s"
            return _error(Refused(504, late, call.headers({})), call.id)
        text = f"every try failed, the last on {error.member.entry.name}: {error}"
        return _error(Refused(502, text, call.headers({"Retry-After": RETRY_AFTER})), call.id)

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
    """The client's own, when it can be passed on as it is."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else str(uuid.uuid4())


def _error(refusal: Refused, request_id: str) -> web.Response:
    """OpenAI's shape of an error."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"  # noqa: PLR2004 - HTTP
    error = {"message": str(refusal), "type": kind, "param": None, "code": refusal.status}
    return _json({"error": error}, refusal.status, {**refusal.headers, "X-Request-Id": request_id})


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        text=json.dumps(value), status=status, content_type="application/json", headers=headers
    )
