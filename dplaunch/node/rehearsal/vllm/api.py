"""The OpenAI server of one engine: routes, checks of a request, access log."""

from __future__ import annotations

import json
import os
import time

from ..answers import BadPromptError, Prompt, chat_prompt, completion_prompts
from ..web import Connection, Request, reason
from . import shapes
from .completion import Completion, RefusalError
from .counters import prometheus
from .dialects import MESSAGES, RESPONSES, Messages, Responses
from .log import API, Log
from .shapes import CHAT, COMPLETION, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..record import Record
    from .generation import Generator
    from .settings import Settings

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
GETS = ("/health", "/v1/models", "/version", "/metrics", "/ping", "/load")
SHAPES = {COMPLETION: Shape, CHAT: Shape, MESSAGES: Messages, RESPONSES: Responses}
TOKENIZE, DETOKENIZE, COUNT = "/tokenize", "/detokenize", "/v1/messages/count_tokens"
POSTS = (*SHAPES, TOKENIZE, DETOKENIZE, COUNT)


class Api:
    """Answers every request of an engine, and records who asked for a completion.

    While ``healthy`` is false /health is 503.
    """

    def __init__(self, settings: Settings, generator: Generator, record: Record, log: Log) -> None:
        self.settings = settings
        self.generator = generator
        self.record = record
        self.log = log
        self.healthy = True
        self._created = int(time.time())

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request; uvicorn's access line comes with the first byte of the answer."""

        def begins(status: int) -> None:
            if self.settings.access_log and request.path not in self.settings.quiet_paths:
                what = f'"{request.method} {request.target} HTTP/1.1" {status} {reason(status)}'
                self.log.plain(API, f"INFO:     {connection.peer} - {what}")

        connection.begins = begins
        self._answer(request, connection)

    def _answer(self, request: Request, connection: Connection) -> None:
        path = request.path
        if path.startswith("/v1") and not self._allowed(request):
            connection.send_json(401, {"error": "Unauthorized"})
        elif path in SHAPES and request.method == "POST":
            self.record.add(request)
            self._generate(request, connection)
        elif path in POSTS and request.method == "POST":
            self._count(request, connection)
        elif path in GETS and (request.method == "GET" or path == "/ping"):
            self._answer_get(path, connection)
        elif path in GETS or path in POSTS:
            connection.send_json(405, {"detail": "Method Not Allowed"})
        else:
            connection.send_json(404, {"detail": "Not Found"})

    def _allowed(self, request: Request) -> bool:
        keys = self.settings.api_keys
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return not keys or (scheme.lower() == "bearer" and key in keys)

    def _answer_get(self, path: str, connection: Connection) -> None:
        settings, counters = self.settings, self.generator.counters
        if path in ("/health", "/ping"):
            connection.send(200 if self.healthy else 503, b"")
        elif path == "/v1/models":
            body = shapes.models(settings.served, settings.model, self._created, settings.max_model_len)
            connection.send_json(200, body)
        elif path == "/version":
            connection.send_json(200, {"version": settings.version})
        elif path == "/load":
            connection.send_json(200, {"server_load": counters.running + counters.waiting})
        else:
            usage, ranks = self.generator.cache_usage(), settings.parallel.answers_for
            text = prometheus(counters, settings.served[0], ranks, usage, settings.release)
            connection.send(200, text.encode(), PLAIN)

    def _count(self, request: Request, connection: Connection) -> None:
        """Tokens here are words, with their number in the prompt as their id."""
        try:
            body = self._read(request)
            prompt = _prompt(body)
        except (RefusalError, BadPromptError) as refusal:
            text = str(refusal) or "there is nothing to count"
            connection.send_json(400, shapes.error(self.settings.release, 400, "BadRequestError", text))
            return
        if request.path == DETOKENIZE:
            connection.send_json(200, {"prompt": " ".join(prompt.words)})
        elif request.path == COUNT:
            connection.send_json(200, {"input_tokens": prompt.tokens})
        else:
            found = {"count": prompt.tokens, "max_model_len": self.settings.max_model_len}
            connection.send_json(200, {**found, "tokens": list(range(prompt.tokens)), "token_strs": None})

    def _generate(self, request: Request, connection: Connection) -> None:
        extra = ""
        if self.settings.request_id_headers and "x-request-id" in request.headers:
            extra = f"x-request-id: {request.headers['x-request-id']}\r\n"
        try:
            self.generator.shutdown.refuse()
            self.generator.run(self._check(request), connection, extra)
        except RefusalError as refusal:
            body = shapes.error(
                self.settings.release, refusal.status, refusal.kind, refusal.message, refusal.param
            )
            connection.send_json(refusal.status, body, extra)

    def _check(self, request: Request) -> Completion:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusalError(
                415, "Unsupported Media Type: Only 'application/json' is allowed", "Bad Request"
            )
        body = self._read(request)
        model = body.get("model") or self.settings.served[0]
        if model not in self.settings.served:
            raise RefusalError(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
        request_id = request.headers.get("x-request-id") or os.urandom(16).hex()
        shape = SHAPES[request.path](request.path, request_id, str(model))
        return Completion(body, shape, self.settings.max_model_len)

    def _read(self, request: Request) -> dict[str, object]:
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError) as fault:
            text = f"[{{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error: {fault}'}}]"
            raise RefusalError(400, text, "Bad Request") from None
        if not isinstance(body, dict):
            text = "[{'type': 'dict_type', 'loc': ('body',), 'msg': 'Input should be a valid dictionary'}]"
            raise RefusalError(400, text, "Bad Request")
        return body


def _prompt(body: dict[str, object]) -> Prompt:
    """What is to be counted: a chat, a text, or token ids."""
    if "messages" in body:
        return chat_prompt(body["messages"])
    (prompt, *_) = completion_prompts(body.get("prompt", body.get("tokens")))
    return prompt
