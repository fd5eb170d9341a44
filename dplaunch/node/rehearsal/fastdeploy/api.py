"""The OpenAI server of one rank."""

from __future__ import annotations

import json
import os
import threading
import time

from ..answers import answer, token_id
from ..histogram import Histogram
from ..vllm import shapes
from ..vllm.completion import Completion, RefusalError
from ..vllm.shapes import CHAT, COMPLETION, Shape
from ..web import Connection, Request, dump, reason
from .resp import RedisError
from .scheduler import ExpiredError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..knobs import Knobs
    from ..record import Record
    from .handover import Handover
    from .log import Log
    from .scheduler import Scheduler
    from .settings import Settings

NESTED_ERRORS = (0, 11)
"""The release of vLLM with errors of the same shape."""
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


class Api:
    """Answers requests. While ``healthy`` is false /health is 404, as of an engine that is not there."""

    def __init__(
        self, settings: Settings, knobs: Knobs, record: Record, handover: Handover | None, log: Log
    ) -> None:
        self.healthy = False
        self.scheduler: Scheduler | None = None
        self._settings = settings
        self._knobs = knobs
        self._record = record
        self._handover = handover
        self._log = log
        self._created = int(time.time())
        self._lock = threading.Lock()
        self._running = 0
        self._done = 0
        self._first_token = Histogram()
        self._between_tokens = Histogram()

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request; uvicorn's access line comes with the first byte of the answer."""

        def begins(status: int) -> None:
            what = f'"{request.method} {request.target} HTTP/1.1" {status} {reason(status)}'
            self._log.plain(f"INFO:     {connection.peer} - {what}")

        connection.begins = begins
        path = request.path
        if path.startswith("/v1") and not self._allowed(request):
            connection.send_json(401, {"error": "Unauthorized"})
        elif path in (COMPLETION, CHAT) and request.method == "POST":
            self._record.add(request)
            self._generate(request, connection)
        elif path in ("/health", "/ping"):
            connection.send(200 if self.healthy else 404, b"")
        elif path == "/v1/models":
            connection.send_json(200, self._models())
        elif path == "/metrics" and self._settings.metrics_port <= 0:
            self.handle_metrics(request, connection)
        else:
            connection.send_json(404, {"detail": "Not Found"})

    def handle_metrics(self, request: Request, connection: Connection) -> None:
        """Answer on the port for metrics."""
        if request.path != "/metrics":
            connection.send_json(404, {"detail": "Not Found"})
            return
        figures = {
            "num_requests_running": self._running,
            "num_requests_waiting": 0,
            "gpu_cache_usage_perc": 0.0,
            "hit_token_rate": 0.0,
        }
        lines = [
            f"# TYPE fastdeploy:{name} gauge\nfastdeploy:{name} {value}" for name, value in figures.items()
        ]
        lines.append(
            f"# TYPE fastdeploy:request_success_total counter\nfastdeploy:request_success_total {self._done}"
        )
        for name, histogram in (
            ("fastdeploy:time_to_first_token_seconds", self._first_token),
            ("fastdeploy:time_per_output_token_seconds", self._between_tokens),
        ):
            lines += [f"# TYPE {name} histogram", *histogram.lines(name)]
        connection.send(200, ("\n".join(lines) + "\n").encode(), PLAIN)

    def _models(self) -> dict[str, object]:
        found = shapes.models(
            [self._settings.served], self._settings.model, self._created, self._settings.max_model_len
        )
        return json.loads(dump(found).replace('"vllm"', '"FastDeploy"'))  # type: ignore[no-any-return]

    def _allowed(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return not self._settings.keys or (scheme.lower() == "bearer" and key in self._settings.keys)

    def _generate(self, request: Request, connection: Connection) -> None:
        try:
            body = json.loads(request.body)
            shape = Shape(request.path, os.urandom(8).hex(), self._settings.served)
            completion = Completion(body, shape, self._settings.max_model_len)
            with self._lock:
                self._running += 1
            try:
                self._answer(body, completion, connection)
            finally:
                with self._lock:
                    self._running -= 1
                    self._done += 1
        except (ValueError, RefusalError) as fault:
            status = fault.status if isinstance(fault, RefusalError) else 400
            connection.send_json(status, shapes.error(NESTED_ERRORS, status, "BadRequestError", str(fault)))

    def _answer(self, body: dict[str, Any], completion: Completion, connection: Connection) -> None:
        words = self._prefilled(body, completion)
        token = self._knobs.token_ms / 1000
        time.sleep(self._knobs.slow + token)
        self._first_token.observe(time.monotonic() - completion.arrived)
        others = max(0, completion.tokens - 1)
        time.sleep(others * token)
        self._between_tokens.observe(token, others)
        texts = [answer(one, completion.tokens, self._knobs.answer) for one in words]
        counts = shapes.usage(completion.prompt_tokens, completion.tokens * len(texts))
        if completion.stream:
            self._stream(completion, texts, counts, connection)
            return
        whole = completion.shape.whole(["".join(text) for text in texts], completion.reason, counts, None)
        if completion.token_ids:
            shapes.add_token_ids(whole, [[token_id(piece) for piece in text] for text in texts])
        connection.send_json(200, whole)

    def _prefilled(self, body: dict[str, Any], completion: Completion) -> list[list[str]]:
        """The words that the answer is made of: its own, or those that prefill handed over."""
        if self.scheduler is not None:
            try:
                return [self.scheduler.compute(words) for words in completion.words]
            except (ExpiredError, RedisError) as fault:
                raise RefusalError(500, str(fault), "InternalServerError") from None
        role, info = self._settings.role, body.get("disaggregate_info")
        if role == "mixed" or self._handover is None:
            return completion.words
        if not info:
            raise RefusalError(
                500, f"a {role} engine needs disaggregate_info, which the router gives", "InternalServerError"
            )
        request = str(body["request_id"])
        if role == "prefill":
            address, port = info["decode_ip"], int(info["decode_connector_port"])
            try:
                self._handover.send(address, port, request, completion.words[0])
            except OSError as fault:
                self._log.file(
                    "splitwise_connector.log",
                    "splitwise_connector.py[line:121]",
                    f"Connection to {address}:{port} failed: {fault}",
                    "ERROR",
                )
                raise RefusalError(
                    500, f"Connection to {address}:{port} failed", "InternalServerError"
                ) from None
            return completion.words
        came = self._handover.wait(request)
        if came is None:
            raise RefusalError(500, "Receive_decode_allocated error: timeout", "InternalServerError")
        return [came]

    def _stream(
        self,
        completion: Completion,
        texts: list[list[str]],
        counts: dict[str, object],
        connection: Connection,
    ) -> None:
        connection.start_stream()
        for index, words in enumerate(texts):
            for place, word in enumerate(words):
                last = completion.reason if place == len(words) - 1 else None
                for event in completion.shape.chunk(index, word, last):
                    connection.event(dump(event))
        if completion.usage:
            connection.event(dump(completion.shape.closing(counts)))
        connection.end_stream()
