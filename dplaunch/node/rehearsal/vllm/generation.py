"""One request from its body to its last token, with the KV hand-over in between."""

from __future__ import annotations

import json
import time

from ..answers import BadPromptError, Prompt, answer, chat_prompt, completion_prompts
from . import shapes
from .counters import EXTERNAL, LOCAL, Counters
from .kv import Consumer, FetchError, Prefilled, Producer
from .log import API, CORE, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..web import Connection
    from .group import Group
    from .knobs import Knobs
    from .shapes import Shape

BEAT = 0.25
"""Seconds between two looks at the group while a request takes its time."""
KV_TOKENS = 262144
"""Tokens the KV cache of one rank holds."""


class RefusalError(Exception):
    """An error answer in vLLM's form."""

    def __init__(
        self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param


class EngineDeadError(RefusalError):
    """The core is gone; the server answers this and ends."""

    def __init__(self) -> None:
        text = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        super().__init__(500, text, "InternalServerError")


class ClientGoneError(Exception):
    """The client left."""


class Job:
    """A checked request body. ``tokens`` is how many to generate for each choice, ``reason`` why it stops."""

    def __init__(self, body: dict[str, object], shape: Shape, max_model_len: int) -> None:
        self.shape = shape
        self.stream = body.get("stream") is True
        self.prompts = self._prompts(body)
        self.choices = _natural(body, "n") or 1
        asked = _natural(body, "max_completion_tokens") if shape.chat else None
        asked = _natural(body, "max_tokens") if asked is None else asked
        longest = max(prompt.tokens for prompt in self.prompts)
        self.reason = "stop" if asked is None and shape.chat else "length"
        self.tokens = asked or (len(self.prompts[0].words) if shape.chat else 16)
        self.params = _table(body, "kv_transfer_params")
        options = body.get("stream_options")
        if options and not self.stream:
            raise RefusalError(400, "Stream options can only be defined when `stream=True`.")
        self.usage = isinstance(options, dict) and options.get("include_usage") is True
        if longest + self.tokens > max_model_len:
            raise RefusalError(
                400,
                f"This model's maximum context length is {max_model_len} tokens. However, you requested "
                f"{longest + self.tokens} tokens ({longest} in the messages, {self.tokens} in the "
                "completion). Please reduce the length of the messages or completion.",
            )

    def _prompts(self, body: dict[str, object]) -> list[Prompt]:
        try:
            if self.shape.chat:
                return [chat_prompt(body.get("messages"))]
            return completion_prompts(body.get("prompt"))
        except BadPromptError as fault:
            raise RefusalError(400, str(fault)) from None

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts together."""
        return sum(prompt.tokens for prompt in self.prompts)


class Generator:
    """Runs jobs: a seat, a step with the group, the prompt computed or fetched, then token by token."""

    def __init__(
        self, knobs: Knobs, group: Group, counters: Counters, log: Log, stream_interval: int = 1
    ) -> None:
        self.knobs = knobs
        self.stream_interval = stream_interval
        self.group = group
        self.counters = counters
        self.log = log
        self.producer: Producer | None = None
        self.consumer: Consumer | None = None
        self.on_dead: Callable[[], None] = lambda: None
        self.last_request = 0.0

    def cache_usage(self) -> float:
        """Part of the KV cache in use."""
        shelved = self.producer.shelf.tokens() if self.producer else 0
        return self.counters.cache_usage(KV_TOKENS, shelved)

    def run(self, job: Job, connection: Connection, extra: str) -> None:
        """Answer the job; raises RefusalError before the first byte."""
        self.last_request = time.monotonic()
        self._check_alive()
        if not self.counters.enter(connection.gone):
            return
        reason = "abort"
        try:
            self._compute(job, connection, extra)
            reason = job.reason
        except RefusalError:
            reason = "error"
            raise
        except ClientGoneError:
            self.log.info(API, "async_llm.py:480", f"Aborted request {job.shape.id}.")
        finally:
            self.last_request = time.monotonic()
            self.counters.leave(reason)

    def _compute(self, job: Job, connection: Connection, extra: str) -> None:
        self._pace(connection, self.knobs.slow)
        if not self.group.step(connection.gone):
            raise ClientGoneError
        self._check_alive()
        seeds = self._prefill(job)
        try:
            if job.stream:
                self._stream(job, seeds, connection, extra)
            else:
                self._whole(job, seeds, connection, extra)
        finally:
            self.counters.release(job.prompt_tokens)

    def _prefill(self, job: Job) -> list[list[str]]:
        """The words each prompt's answer is made of: fetched from the prefill engine, or its own."""
        fetched = self._fetched(job) if job.params and job.params.get("do_remote_prefill") else None
        if fetched is None:
            self.counters.prompt(LOCAL, job.prompt_tokens)
            return [prompt.words for prompt in job.prompts]
        self.counters.prompt(EXTERNAL, job.prompt_tokens)
        return [fetched.words] * len(job.prompts)

    def _fetched(self, job: Job) -> Prefilled | None:
        if self.consumer is None:
            text = "Got KVTransferParams, but no KVConnector found. Disabling KVTransfer for this request."
            self.log.warning(CORE, "scheduler.py:110", text)
            return None
        try:
            return self.consumer.fetch(job.params or {})
        except FetchError as fault:
            failed = str(fault)
        self.log.error(CORE, "mooncake_connector.py:505", failed)
        if self.consumer.transfer.recomputes:
            return None
        text = f"Request {job.shape.id} failed: KV load failure (kv_load_failure_policy=fail)"
        self.log.error(CORE, "scheduler.py:1620", text)
        raise RefusalError(500, "Internal server error", "InternalServerError")

    def _whole(self, job: Job, seeds: list[list[str]], connection: Connection, extra: str) -> None:
        for _ in range(job.tokens):
            self._compute_tokens(connection, 1, len(seeds) * job.choices)
        texts = [
            "".join(answer(seed, job.tokens, self.knobs.answer)) for seed in seeds for _ in range(job.choices)
        ]
        counts = shapes.usage(job.prompt_tokens, job.tokens * len(texts))
        body = job.shape.whole(texts, job.reason, counts, self._handle(job, seeds))
        connection.send_json(200, body, extra)

    def _handle(self, job: Job, seeds: list[list[str]]) -> dict[str, object] | None:
        """What a decode engine needs to fetch this prompt; a producer gives it when asked."""
        wanted = bool(job.params and job.params.get("do_remote_decode")) and job.reason == "length"
        if self.producer is None or not wanted:
            return None
        prefilled = Prefilled(seeds[0], job.prompt_tokens)
        return self.producer.offer(f"{job.shape.id}-0", prefilled)

    def _stream(self, job: Job, seeds: list[list[str]], connection: Connection, extra: str) -> None:
        texts = [answer(seed, job.tokens, self.knobs.answer) for seed in seeds for _ in range(job.choices)]
        self._compute_tokens(connection, 1, len(texts))
        connection.start_stream(extra)
        try:
            self._events(job, texts, connection)
        except EngineDeadError as dead:
            body = shapes.error((999,), dead.status, dead.kind, dead.message)
            connection.event(json.dumps(body))
        connection.event("[DONE]")
        connection.end_stream()

    def _events(self, job: Job, texts: list[list[str]], connection: Connection) -> None:
        shape = job.shape
        if shape.chat:
            for index in range(len(texts)):
                connection.event(_dump(shape.opening(index)))
        start, end = 0, 1  # the first token is sent at once, as vLLM does
        while start < job.tokens:
            if start:
                self._compute_tokens(connection, end - start, len(texts))
            reason = job.reason if end == job.tokens else None
            for index, words in enumerate(texts):
                connection.event(_dump(shape.chunk(index, "".join(words[start:end]), reason)))
            start, end = end, min(end + self.stream_interval, job.tokens)
        if job.usage:
            counts = shapes.usage(job.prompt_tokens, job.tokens * len(texts))
            connection.event(_dump(shape.closing(counts)))

    def _compute_tokens(self, connection: Connection, tokens: int, sequences: int) -> None:
        """Let the time of so many tokens pass; notices a dead group and a client that left."""
        self._pace(connection, tokens * self.knobs.token_ms / 1000)
        self.counters.token(tokens * sequences)

    def _pace(self, connection: Connection, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._check_alive()
            left = end - time.monotonic()
            if left <= 0:
                return
            if connection.gone(min(left, BEAT)):
                raise ClientGoneError

    def _check_alive(self) -> None:
        if self.group.dead.is_set():
            self.on_dead()
            raise EngineDeadError


def _dump(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _table(body: dict[str, object], name: str) -> dict[str, object] | None:
    value = body.get(name)
    return value if isinstance(value, dict) else None


def _natural(body: dict[str, object], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RefusalError(400, f"{name} must be at least 1, got {value}.", param=name)
    return value
