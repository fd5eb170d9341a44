"""One try of a request, as a flow sees it: engines to pick, to count and to ask, and the client."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus

from .callbacks import Callbacks
from .client import Client
from .engines import Answer, EngineFaultError, Reply, asked
from .link import Pool
from .metrics import Metrics
from .request import Request
from .state import Lease, Member, State

MOST_HELD = 8 << 20
"""Bytes of a JSON answer that are held before it begins."""


class Unserved(Exception):  # noqa: N818 - a state of the cluster
    """No group of a needed role serves."""


@dataclass(frozen=True)
class Shared:
    """What all tries share."""

    state: State
    pool: Pool
    metrics: Metrics
    callbacks: Callbacks


class Attempt:
    """One try. It has an id of its own, because the KV of a request can be fetched once only."""

    def __init__(self, shared: Shared, request: Request, client: Client, avoid: AbstractSet[str]) -> None:
        self.request = request
        self.client = client
        self.callbacks = shared.callbacks
        self._shared = shared
        self._avoid = avoid
        self._tag = f"{request.id}-{os.urandom(4).hex()}"

    @property
    def answering(self) -> str:
        """The role whose engines write answers."""
        return self._shared.state.needed[-1]

    @property
    def reading(self) -> str:
        """The role whose engines read prompts."""
        return self._shared.state.needed[0]

    def pick(self, role: str) -> Member:
        """Return the engine of ``role`` that the client named, or the best one. Raises ``Unserved``."""
        member = self.request.pair.get(role) or self._shared.state.choose(role, self._avoid)
        if member is None:
            raise Unserved
        return member

    def lease_prefill(self, member: Member) -> AbstractContextManager[Lease]:
        """Count the prompt on ``member``."""
        return self._shared.state.lease(member, self.request.body.prompt_tokens)

    def lease_answer(self, member: Member) -> AbstractContextManager[Lease]:
        """Count the prompt and its expected answer on ``member``."""
        body = self.request.body
        return self._shared.state.lease(member, body.prompt_tokens + body.output_tokens)

    def excuse(self, member: Member) -> AbstractContextManager[None]:
        """While the block runs ``member`` waits for another engine."""
        return self._shared.state.excuse(member)

    def ask(self, member: Member, content: bytes) -> AbstractAsyncContextManager[Answer]:
        """Send the request with ``content`` as its body; see ``engines.asked``."""
        return asked(self._shared.pool, member, self.request.ask(content, self._tag))

    async def prefill(self, member: Member, content: bytes) -> Reply:
        """Return the whole answer of a prefill engine."""
        async with self.ask(member, content) as answer:
            return await answer.whole()

    def count_without_kv(self) -> None:
        """Note that the engine which writes the answer has to compute the prompt too."""
        self._shared.metrics.count("dprouter_prefill_without_kv_total")

    async def give(self, reply: Reply) -> None:
        """Give the client a whole answer."""
        await self._begin(reply.status, self.request.headers(reply.headers), len(reply.body))
        if reply.body:
            await self.client.write(reply.body)
        await self.client.end()

    async def relay(self, answer: Answer, first_byte: Callable[[], None]) -> None:
        """Give the client an engine's answer as it comes; ``first_byte`` is called when it begins.

        A JSON answer is held until it is complete, because until then it can still be tried elsewhere; one
        that is very long is passed on as it comes.
        """
        if answer.head.kind == "application/json":
            first_byte()
            piece, complete = await answer.beginning(MOST_HELD)
            if complete:
                self._check_kept(answer.member, piece)
                await self.give(Reply(answer.head.status, piece, answer.passed_back()))
                return
        else:
            piece = await answer.read()
            first_byte()
        self._check_kept(answer.member, piece)
        await self._begin(answer.head.status, self.request.headers(answer.passed_back()), answer.head.length)
        write_now = self.client.write_now

        def sink(piece: bytes) -> bool:
            return b'"recomputed"' not in piece and write_now(piece)

        while piece:
            self._check_kept(answer.member, piece)
            await self.client.write(piece)
            await answer.pour(sink)
            piece = await answer.read()
        await self.client.end()

    async def _begin(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self._shared.metrics.first_byte(time.monotonic() - self.request.started)
        await self.client.begin(status, headers, length)

    def _check_kept(self, member: Member, piece: bytes) -> None:
        if self.request.recomputed(piece):
            self._shared.metrics.count("dprouter_recomputed_total")
            reply = Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"")
            raise EngineFaultError(member, "it ran out of KV memory and gave the request up", reply)
