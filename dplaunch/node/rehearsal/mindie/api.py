"""The daemon's HTTP server: health, models, metrics, and OpenAI's completions as vLLM has them."""

from __future__ import annotations

import json
import os
import threading
import time

from ..answers import answer
from ..histogram import Histogram
from ..vllm import shapes
from ..vllm.completion import Completion, RefusalError
from ..vllm.shapes import CHAT, COMPLETION, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..record import Record
    from ..web import Connection, Request

PLAIN = "text/plain; charset=utf-8"


class Api:
    """Answers every request of the group."""

    def __init__(self, name: str, longest: int, token_seconds: float, record: Record) -> None:
        self.name = name
        self.longest = longest
        self.record = record
        self._token_seconds = token_seconds
        self._running = 0
        self._received = 0
        self._succeeded = 0
        self._first_token = Histogram()
        self._between_tokens = Histogram()
        self._lock = threading.Lock()

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        gets = {"/health": "", "/v2/health/live": "", "/v2/health/ready": "", "/metrics": self._metrics()}
        if request.method == "GET" and request.path in gets:
            connection.send(200, gets[request.path].encode(), PLAIN)
        elif request.method == "GET" and request.path == "/v1/models":
            connection.send_json(200, shapes.models([self.name], self.name, int(time.time()), self.longest))
        elif request.method == "POST" and request.path in (COMPLETION, CHAT):
            self.record.add(request)
            self._complete(request, connection)
        else:
            connection.send_json(404, {"error": "Not Found", "error_type": "Not Found"})

    def _complete(self, request: Request, connection: Connection) -> None:
        try:
            completion = self._read(request)
        except (ValueError, RecursionError) as fault:
            connection.send_json(400, {"error": str(fault), "error_type": "Input Validation Error"})
            return
        except RefusalError as refusal:
            connection.send_json(refusal.status, {"error": refusal.message, "error_type": refusal.kind})
            return
        self._count(1)
        try:
            self._answer(completion, connection)
            self._succeeded += 1
        finally:
            self._count(-1)

    def _read(self, request: Request) -> Completion:
        body = json.loads(request.body)
        if not isinstance(body, dict) or body.get("model") != self.name:
            raise RefusalError(404, "Model does not exist.")
        shape = Shape(request.path, os.urandom(8).hex(), self.name)
        return Completion(body, shape, self.longest)

    def _answer(self, completion: Completion, connection: Connection) -> None:
        words = answer(completion.words[0], completion.tokens)
        counts = shapes.usage(completion.prompt_tokens, completion.tokens)
        self._first_token.observe(time.monotonic() - completion.arrived + self._token_seconds)
        self._between_tokens.observe(self._token_seconds, max(0, completion.tokens - 1))
        if not completion.stream:
            time.sleep(self._token_seconds * completion.tokens)
            connection.send_json(
                200, completion.shape.whole(["".join(words)], completion.reason, counts, None)
            )
            return
        connection.start_stream()
        for number, word in enumerate(words):
            time.sleep(self._token_seconds)
            last = completion.reason if number == len(words) - 1 else None
            for chunk in completion.shape.chunk(0, word, last):
                connection.event(json.dumps(chunk))
        if completion.usage:
            connection.event(json.dumps(completion.shape.closing(counts)))
        connection.end_stream()

    def _count(self, change: int) -> None:
        with self._lock:
            self._running += change
            self._received += max(0, change)

    def _metrics(self) -> str:
        label = f'{{model_name="{self.name}"}}'
        rows = (
            ("request_received_total", "counter", self._received),
            ("num_requests_running", "gauge", self._running),
            ("num_requests_waiting", "gauge", 0),
            ("request_success_total", "counter", self._succeeded),
            ("npu_cache_usage_perc", "gauge", 0),
            ("npu_prefix_cache_hit_rate", "gauge", 0),
        )
        lines = [f"# TYPE {name} {kind}\n{name}{label} {value}" for name, kind, value in rows]
        for name, histogram in (
            ("time_to_first_token_seconds", self._first_token),
            ("time_per_output_token_seconds", self._between_tokens),
        ):
            lines += [f"# TYPE {name} histogram", *histogram.lines(name, label.strip("{}"))]
        return "\n".join(lines) + "\n"
