"""One request from its checked body to its last token, with the KV hand-over in between."""

from __future__ import annotations

import itertools
import json
import math
import time

from ..answers import GARBAGE, Prompt, answer, token_id
from ..web import dump
from . import shapes
from .completion import EngineDeadError, GenerationError, RefusalError
from .counters import CACHED, EXTERNAL, LOCAL, Counters, Ticket
from .group import closed_by_peer
from .kv import BEAT, Consumer, Producer
from .kv_failure import PullError, last_line, report_failure
from .log import API, CORE, Log
from .push import push
from .transfer import CRASH, HANG, RECOMPUTE
from .transfer import GARBAGE as ANSWERS_GARBAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..web import Connection
    from .blocks import Blocks
    from .completion import Completion
    from .group import Group
    from .knobs import Knobs
    from .push import Receiver
    from .settings import Settings
    from .shutdown import Shutdown

KV_TOKENS = 262144
"""Tokens the KV cache of one rank holds."""


class ClientGoneError(Exception):
    """The client left."""


class AbortedError(Exception):
    """The engine shuts down and does not finish what it computes."""


class Generator:
    """Computes completions: KV pulled or computed, a seat, a step with the group, then token by token."""

    def __init__(self, settings: Settings, knobs: Knobs, group: Group, shutdown: Shutdown, log: Log) -> None:
        self.settings = settings
        self.knobs = knobs
        self.group = group
        self.shutdown = shutdown
        self.log = log
        self.counters = Counters(settings.seats, connected=bool(settings.given.get("kv_transfer_config")))
        self.producer: Producer | None = None
        self.consumer: Consumer | None = None
        self.receiver: Receiver | None = None
        self.blocks: Blocks | None = None
        self.on_dead: Callable[[str], None] = lambda _cause: None
        self.last_request = 0.0
        self._stuck = False

    def cache_usage(self) -> float:
        """Part of the KV cache in use, 0…1."""
        shelved = self.producer.shelf.tokens() if self.producer else 0
        return min(1.0, (self.counters.held_tokens + shelved) / KV_TOKENS)

    def run(self, completion: Completion, connection: Connection, extra: str) -> None:
        """Answer the completion; raises RefusalError before the first byte."""
        self.last_request = time.monotonic()
        self._check_alive()
        if any(self.knobs.stuck_by in words for words in completion.words):
            self._stuck = True
        if self.producer:
            self.producer.shelf.step()
        ticket = Ticket(self.counters)
        reason = "abort"
        try:
            words = self._prefill(completion, connection, ticket)
            reason = self._answer(completion, words, connection, extra)
        except RefusalError as refusal:
            reason = "error"
            if not (completion.stream and isinstance(refusal, GenerationError)):
                raise
            self._stream_failure(completion, refusal, connection, extra)
        except ClientGoneError:
            self.log.info(API, "async_llm.py:480", f"Aborted request {completion.shape.id}.")
        finally:
            self.last_request = time.monotonic()
            ticket.leave(reason)

    def _prefill(self, completion: Completion, connection: Connection, ticket: Ticket) -> list[list[str]]:
        """The words each prompt's answer is made of: pulled from the prefill engine, or its own."""
        tokens, words = completion.prompt_tokens, completion.words

        def check() -> None:
            self._check(connection)

        try:
            pulled = self._pull(completion, connection, ticket)
            ticket.sit(check)
            self._pass_time(connection, self.knobs.slow)
            self.group.step(check)
        except AbortedError:
            return words
        ticket.hold(tokens)
        if pulled is None:
            words = [self._compute_prompt(completion.shape.id, prompt) for prompt in completion.prompts]
            self._push(completion)
            return words
        self.counters.prompt(EXTERNAL, tokens)
        return [pulled.words] * len(words)

    def _compute_prompt(self, request: str, prompt: Prompt) -> list[str]:
        """Compute what neither the engine has kept nor the pool; the words that answers are made of."""
        if self.blocks is None:
            self.counters.prompt(LOCAL, prompt.tokens)
            return prompt.words
        hit = self.blocks.load(request, prompt.whole)
        self.blocks.save(prompt.whole, hit)
        self.counters.prompt(CACHED, hit.own)
        self.counters.prompt(EXTERNAL, hit.pooled)
        self.counters.prompt(LOCAL, prompt.tokens - hit.own - hit.pooled)
        return prompt.words if hit.sound else list(GARBAGE)

    def _pull(self, completion: Completion, connection: Connection, ticket: Ticket) -> Prompt | None:
        """What the prefill engine computed; None when this one has to compute it."""
        params = completion.params
        if not params.get("do_remote_prefill"):
            return None
        if self.receiver is not None:
            ticket.hold(completion.prompt_tokens)
            return self.receiver.wait(completion.shape.id, params, lambda: self._check(connection))
        if self.consumer is None:
            text = "Got KVTransferParams, but no KVConnector found. Disabling KVTransfer for this request."
            self.log.warning(CORE, "scheduler.py:110", text)
            return None
        ticket.hold(completion.prompt_tokens)
        try:
            return self.consumer.pull(params, lambda: self._check(connection))
        except PullError as fault:
            failure = fault
        report_failure(self.log, self.consumer.transfer, failure, f"{completion.shape.id}-0", params)
        return self._recover(self.consumer, completion, connection, failure)

    def _push(self, completion: Completion) -> None:
        """Send a prompt that was computed for a decode engine there, where this connector pushes."""
        transfer, params = self.settings.transfer, completion.params
        if transfer and transfer.pushed and params.get("do_remote_decode") and params.get("remote_host"):
            prefilled = Prompt(completion.words[0], completion.prompt_tokens)
            push(self.log, transfer, completion.shape.id, params, prefilled)

    def _recover(
        self, consumer: Consumer, completion: Completion, connection: Connection, failure: PullError
    ) -> Prompt | None:
        """What becomes of a request whose KV could not be pulled, by connector, policy and release."""
        outcome, request, tokens = consumer.transfer.on_failure, completion.shape.id, completion.prompt_tokens
        if outcome == HANG:
            self._pass_time(connection, math.inf)
        if outcome == ANSWERS_GARBAGE:
            return Prompt(list(GARBAGE), tokens)
        if outcome == CRASH:
            self.on_dead(last_line(consumer.transfer, failure))
            raise EngineDeadError
        if outcome == RECOMPUTE:
            text = f"Recovered from KV load failure: 1 request(s) rescheduled ({tokens} tokens affected)."
            self.log.warning(CORE, "scheduler.py:3424", text)
            return None
        how = f"(failure_policy=fail, {tokens} tokens affected). Request IDs: {{'{request}-0'}}"
        self.log.error(CORE, "scheduler.py:3417", f"Failing 1 request(s) due to KV load failure {how}")
        text = f"Request {request} failed with an internal error during generation"
        self.log.error(API, "serving.py:203", text)
        raise GenerationError

    def _answer(
        self, completion: Completion, words: list[list[str]], connection: Connection, extra: str
    ) -> str:
        """Send the answer while it is computed; returns the finish reason."""
        manner = self.knobs.answer or ("noise" if self.settings.random_weights else "")
        texts = [answer(one, completion.tokens, manner) for one in words for _ in range(completion.choices)]
        chunks = self._compute(completion, connection, len(texts))
        if completion.stream:
            return self._stream(completion, texts, chunks, connection, extra)
        end, reason = 0, ""
        for _, end, reason in chunks:  # noqa: B007 - the last one counts
            pass
        counts = shapes.usage(completion.prompt_tokens, end * len(texts))
        joined = ["".join(text[:end]) for text in texts]
        body = completion.shape.whole(joined, reason, counts, self._offer(completion, words, reason))
        if completion.token_ids:
            shapes.add_token_ids(body, [[token_id(piece) for piece in text[:end]] for text in texts])
        connection.send_json(200, body, extra)
        return reason

    def _compute(
        self, completion: Completion, connection: Connection, sequences: int
    ) -> Iterator[tuple[int, int, str]]:
        """(start, end, finish reason or "") of each chunk, when its tokens are computed."""
        start, end, before = 0, 1, completion.arrived  # the first token comes at once, as in vLLM
        while start < completion.tokens:
            try:
                self._pass_time(connection, (end - start) * self.knobs.token_ms / 1000)
            except AbortedError:
                yield start, start, "abort"
                return
            now = time.monotonic()
            self.counters.token((end - start) * sequences)
            times = self.counters.between_tokens if start else self.counters.first_token
            times.observe((now - before) / (end - start), (end - start) * sequences)
            before = now
            yield start, end, completion.reason if end == completion.tokens else ""
            start, end = end, min(end + self.settings.stream_interval, completion.tokens)

    def _offer(self, completion: Completion, words: list[list[str]], reason: str) -> dict[str, object] | None:
        """What a decode engine needs to pull this prompt's KV; a producer gives it when asked."""
        if self.producer is None or reason != "length" or not completion.params.get("do_remote_decode"):
            return None
        prefilled = Prompt(words[0], completion.prompt_tokens)
        return self.producer.offer(f"{completion.shape.id}-0", prefilled)

    def _stream(
        self,
        completion: Completion,
        texts: list[list[str]],
        chunks: Iterator[tuple[int, int, str]],
        connection: Connection,
        extra: str,
    ) -> str:
        shape, first = completion.shape, next(chunks)
        self._open_stream(completion, connection, extra, len(texts))
        end, reason = 0, "error"
        try:
            for start, end, reason in itertools.chain([first], chunks):
                for index, words in enumerate(texts):
                    events = shape.chunk(index, "".join(words[start:end]), reason or None)
                    if completion.token_ids:
                        shapes.add_token_ids(events[0], [[token_id(piece) for piece in words[start:end]]])
                    _send(connection, events)
            if completion.usage:
                counts = shapes.usage(completion.prompt_tokens, end * len(texts))
                connection.event(dump(shape.closing(counts)))
        except EngineDeadError as dead:
            connection.event(self._dump_error(dead))
        connection.end_stream()
        return reason

    def _stream_failure(
        self, completion: Completion, failure: RefusalError, connection: Connection, extra: str
    ) -> None:
        """What a stream looks like whose request failed before its first token: status 200 all the same."""
        self._open_stream(completion, connection, extra, len(completion.prompts) * completion.choices)
        connection.event(self._dump_error(failure))
        connection.end_stream()

    def _open_stream(self, completion: Completion, connection: Connection, extra: str, choices: int) -> None:
        connection.start_stream(extra)
        if completion.shape.chat:
            for index in range(choices):
                _send(connection, completion.shape.opening(index))

    def _dump_error(self, error: RefusalError) -> str:
        release = self.settings.release
        return json.dumps(shapes.error(release, error.status, error.kind, error.message))

    def _pass_time(self, connection: Connection, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._check(connection)
            left = end - time.monotonic()
            if left <= 0:
                return
            connection.gone(min(left, BEAT))

    def _check(self, connection: Connection) -> None:
        """Raise what ends a request early: a dead group, a shutdown, a client that left."""
        self._check_alive()
        if self.shutdown.aborting.is_set():
            raise AbortedError
        if self._stuck:
            while not connection.gone(BEAT):
                self._check_alive()
            raise ClientGoneError
        if connection.gone(math.inf if self.shutdown.core_gone.is_set() else 0.0):
            raise ClientGoneError

    def _check_alive(self) -> None:
        if self.group.dead.is_set():
            self.on_dead(closed_by_peer(self.settings.parallel))
            raise EngineDeadError


def _send(connection: Connection, events: list[dict[str, object]]) -> None:
    for event in events:
        connection.event(dump(event), str(event.get("type", "")))
