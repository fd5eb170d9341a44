"""A request tried on other engines until the first byte of its answer; blame for the engines that failed.

Once a byte has reached the client nothing is tried again: a failure then closes the client's connection in
the middle of the body, which no client takes for a whole answer. Where its API has an event for that, it
comes first.
"""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from http import HTTPStatus

from . import errors, flows
from .attempt import Attempt, Shared, Unserved
from .client import Client
from .engines import EngineError, EngineFaultError, EngineLateError, EngineLostError
from .health import Health
from .request import PROMPTS, Request

log = logging.getLogger("dprouter")

TRIES = 3
DEATHS = 1
"""Engines that a request may have ended: the next try would take another group out if it is the reason."""


class _Tried:
    """What the tries of one request have cost so far."""

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.with_request = 0
        """Engines that ended or stopped when they had the whole request."""

    def add(self, error: EngineError) -> None:
        self.groups.add(error.member.entry.group)
        self.with_request += error.had_request


class Tries:
    """Brings requests to engines."""

    def __init__(self, shared: Shared, health: Health) -> None:
        self._shared = shared
        self._health = health

    async def answer(self, request: Request, client: Client) -> None:
        """Give ``client`` the engines' answer; raises ``Unserved``, or ``EngineError`` when every try failed.

        Where the client named the engines there is one try: another pair's answer would say nothing.
        """
        if self._skips_prefill(request):
            self._shared.metrics.count("dprouter_skipped_prefill_total", path=request.kind)
        tried = _Tried()
        for left in reversed(range(1 if request.pair else TRIES)):
            if await self._try(request, client, tried, last=left == 0):
                return
            if not self._shared.state.ready():  # a prefill without a decode engine is for nothing
                raise Unserved

    def _skips_prefill(self, request: Request) -> bool:
        """An engine that writes answers has to compute what it is sent here itself."""
        flow = self._shared.state.membership.flow
        if flow == "alone" or request.kind == "tokens" or request.message.method != "POST":
            return False
        return not flows.hands_over(flow, request.kind)

    async def _try(self, request: Request, client: Client, tried: _Tried, *, last: bool) -> bool:
        """Try once. False when it failed in a way that another try may not, which ``tried`` is for."""
        try:
            await self.once(request, client, tried.groups)
        except EngineError as error:
            await self._blame(request, error, cut=client.status > 0)
            if client.status:
                client.cut(_last_words(request, error))
                return True
            tried.add(error)
            if last or isinstance(error, EngineLateError) or tried.with_request > DEATHS:
                raise
            self._shared.metrics.count("dprouter_retries_total", role=error.member.entry.role)
            return False
        return True

    async def once(self, request: Request, client: Client, avoid: AbstractSet[str] = frozenset()) -> None:
        """Run the request's flow once. An answer through engines that were named is a proof of them."""
        state = self._shared.state
        asked_at = state.clock()
        flow = flows.choose(state.membership.flow, request.kind)
        await flow(Attempt(self._shared, request, client, avoid))
        if request.pair and request.kind in PROMPTS.values() and client.status == HTTPStatus.OK:
            state.prove(request.pair.values(), asked_at)

    async def _blame(self, request: Request, error: EngineError, *, cut: bool) -> None:
        """Note what failed; a lost engine is asked at once, so that the next try knows."""
        member = error.member
        what = "its answer is cut" if cut else "nothing of its answer was sent"
        log.warning("request %s: %s failed (%s); %s", request.id, member.entry.name, error, what)
        if cut:
            self._shared.metrics.count("dprouter_cut_streams_total")
        if isinstance(error, EngineFaultError):
            self._shared.state.erred(member)
        if isinstance(error, EngineLostError):
            self._health.lost(member, str(error))
            if not cut:
                await self._health.check(member)


def _last_words(request: Request, error: EngineError) -> bytes:
    """What a stream of ``request`` ends with; nothing where its answer is one document."""
    if not request.body.fields.get("stream"):
        return b""
    path = request.message.target.partition("?")[0]
    return errors.last_event(path, f"{error.member.entry.name} failed in mid-answer: {error}", request.id)
