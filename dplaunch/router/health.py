"""Asks every engine each second whether it serves, and how long its queue is."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from http import HTTPStatus

from .engines import EngineError, EngineFaultError, EngineLateError, Message, Reply, asked
from .link import ExhaustedError, Pool, StuckError
from .state import SLOW_ANSWERS, Member, State
from .within import timeout

log = logging.getLogger("dprouter")

_FAMILY = re.compile(r"[a-zA-Z0-9]+[:_]")


def gauge(text: bytes, name: bytes) -> int:
    """Return the sum of gauge ``name`` over its label sets in a Prometheus text; 0 when it is missing.

    Found by search: an engine's page is 100 KB, and 64 of them are read each second.
    """
    total = 0.0
    at = text.find(name) if name else -1
    while at >= 0:
        starts_line = at == 0 or text[at - 1 : at] == b"\n"
        at += len(name)
        # A longer name is another gauge.
        if starts_line and text[at : at + 1] in (b"{", b" "):
            end = text.find(b"\n", at)
            total += _value(text[at : end if end >= 0 else len(text)])
        at = text.find(name, at)
    return int(total)


def counters(text: bytes, gauge_name: str) -> int | None:
    """Return a hash of the engine's own figures in a Prometheus text; None when it has none of them.

    They begin as the name of its gauges does; those of its web server and its process move by themselves.
    """
    family = _FAMILY.match(gauge_name)
    if family is None:
        return None
    own = family.group().encode()
    lines = [line for line in text.split(b"\n") if line.startswith(own)]
    return hash(b"\n".join(lines)) if lines else None


def _value(line: bytes) -> float:
    try:
        value = float(line.rpartition(b"}")[2].split()[0])
    except (ValueError, IndexError):
        return 0.0
    return value if math.isfinite(value) else 0.0


class Health:
    """One task per engine, so that a silent one delays no other.

    ``pool`` is for its own questions. ``traffic`` has the connections of requests, which are given up when
    their engine falls silent or is stuck.
    """

    def __init__(self, state: State, pool: Pool, traffic: Pool, *, interval: float, timeout: float) -> None:
        self._state = state
        self._pool = pool
        self._traffic = traffic
        self._interval = interval
        self._timeout = timeout
        self._tasks: dict[Member, asyncio.Task[None]] = {}
        self._hurry: dict[Member, asyncio.Event] = {}

    def follow(self) -> None:
        """Start asking new members, stop asking those that are gone."""
        wanted = set(self._state.members.values())
        for member in set(self._tasks) - wanted:
            self._tasks.pop(member).cancel()
            del self._hurry[member]
        for member in wanted - set(self._tasks):
            self._hurry[member] = asyncio.Event()
            self._tasks[member] = asyncio.create_task(self._ask_for_ever(member, self._hurry[member]))

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        self._hurry.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def lost(self, member: Member, reason: str) -> None:
        """A request's connection to ``member`` failed: out at once, and asked at once."""
        if self._state.lost(member, reason):
            log.warning(
                "%s is out, and its group %s with it: %s", member.entry.name, member.entry.group, reason
            )
        if member in self._hurry:
            self._hurry[member].set()

    async def check(self, member: Member) -> None:
        """Ask once whether it serves, and note the answer."""
        asked_at, path = self._state.clock(), member.entry.api.health
        try:
            reply = await self._get(member, path)
        except EngineLateError:
            self._silent(member, f"{path} does not answer")
        except EngineFaultError as error:
            self._fail(member, f"{path} answers {error.reply.status}")
        except EngineError as error:
            self._fail(member, f"{path} cannot be asked ({error})")
        except ExhaustedError as error:
            log.error("no engine can be asked: %s", error)  # noqa: TRY400 - the sentence is complete
        else:
            if reply.status != HTTPStatus.OK:
                self._fail(member, f"{path} answers {reply.status}")
            elif self._state.well(member, asked_at):
                log.info("%s is healthy (%s)", member.entry.name, member.state)

    def _silent(self, member: Member, reason: str) -> None:
        """An engine that is silent for long will not answer the requests that wait for it either."""
        if self._state.slow(member, reason):
            log.warning("%s is out: %s", member.entry.name, reason)
        if member.slow >= SLOW_ANSWERS:
            self._traffic.fail(member.address, f"it is silent: {reason}")

    def _fail(self, member: Member, reason: str) -> None:
        if self._state.failed(member, reason):
            log.warning("%s is out: %s", member.entry.name, reason)

    async def _get(self, member: Member, path: str) -> Reply:
        message = Message("GET", path, deadline=time.monotonic() + self._timeout)
        async with asked(self._pool, member, message) as answer:
            return await answer.whole()

    async def _ask_for_ever(self, member: Member, hurry: asyncio.Event) -> None:
        while self._hurry.get(member) is hurry:
            hurry.clear()
            await self.check(member)
            if member.alive:
                await self._measure(member)
            try:
                async with timeout(self._interval):
                    await hurry.wait()
            except asyncio.TimeoutError:
                continue

    async def _measure(self, member: Member) -> None:
        own, api = member.working, member.entry.api
        if not (api.running or api.waiting):
            return
        try:
            text = (await self._get(member, api.metrics)).body
        except (EngineError, ExhaustedError) as error:
            # Health decides who is out; without figures our own counts are enough to balance.
            log.debug("%s: no queue figures (%s)", member.entry.name, error)
            self._look_for_motion(member, None)
            return
        running, waiting = (gauge(text, name.encode()) for name in (api.running, api.waiting))
        self._state.figures(member, running, waiting, own)
        self._look_for_motion(member, counters(text, api.running or api.waiting))

    def _look_for_motion(self, member: Member, figures: int | None) -> None:
        """Find an engine that takes requests and does nothing with them, and give its requests up."""
        self._state.moved(member, figures, heard=self._traffic.heard(member.address))
        requests = self._traffic.waiting(member.address)
        member.largest = requests.size if requests else 0
        if requests is None:
            return
        seconds = self._state.stands_still(member, *requests)
        if not seconds:
            return
        reason = (
            f"{member.entry.api.health} is good, but nothing moved for {seconds:.0f} s while requests wait"
        )
        if self._state.stick(member, reason):
            log.warning(
                "%s is stuck, and its group %s out: %s", member.entry.name, member.entry.group, reason
            )
        self._traffic.fail(member.address, f"it is stuck: {reason}", StuckError)
