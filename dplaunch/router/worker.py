"""One worker: an event loop that serves a socket until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from . import metrics
from .attempt import Shared
from .callbacks import Callbacks
from .door import Door, listening
from .front import Front
from .health import Health
from .keys import Keys, parse
from .link import Pool
from .members import MembersFile, Membership
from .proof import Prover
from .settings import Settings
from .state import State
from .tries import Tries
from .watched import WatchedFile

log = logging.getLogger("dprouter")

LEAVING = signal.SIGUSR1
"""Finish what runs and end, however long that takes: another router has taken over."""
SETTLE_LOOK = 0.02


class StoppedEarly(Exception):  # noqa: N818 - as it was asked to
    """A worker was stopped before it accepted connections."""


@dataclass(frozen=True)
class Place:
    """Where a worker stands: its sockets, its number, the folder it shares, its parent's pipe."""

    sockets: tuple[socket.socket, ...]
    index: int = 0
    folder: str = ""
    """For metrics and callbacks of several workers; empty: it is alone."""
    parent: int | None = None
    """File descriptor that reads end of file when the parent is gone."""
    beat: Callable[[], None] = lambda: None
    """Called each second: shows the parent that the event loop runs."""
    accepting: Callable[[], None] = lambda: None
    """Called when it begins to accept connections."""
    settle: float = 0.0
    """Seconds that it may take to learn about its engines before that."""


def run(settings: Settings, place: Place) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent is gone; then finish streams, up to the grace.

    After SIGUSR1 finish all that is open, without a limit, and end.
    """
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_until_stopped(settings, place))
    finally:
        loop.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


async def _until_stopped(settings: Settings, place: Place) -> None:
    stop, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(LEAVING, leave.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [LEAVING])
    if place.parent is not None:
        loop.add_reader(place.parent, _parent_gone, place.parent, stop)
    with contextlib.suppress(StoppedEarly):
        async with serving(settings, place, stop) as worker:
            await _first(stop.wait(), leave.wait())
            if not stop.is_set():
                log.info("another router has taken over: those connections that are open are finished")
                await _first(stop.wait(), worker.door.leave())
            if stop.is_set():
                log.info("stopping: no new requests, %g s for those that run", settings.grace)


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for one of these, and give the others up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _parent_gone(pipe: int, stop: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(pipe)
    os.close(pipe)
    stop.set()


@dataclass(frozen=True)
class Worker:
    """A worker that serves: what it knows about engines, and where its clients come in."""

    state: State
    door: Door


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, place: Place, stop: asyncio.Event | None = None
) -> AsyncIterator[Worker]:
    """The whole worker, as long as the block runs; at its end streams get their grace.

    Raises ``StoppedEarly`` where ``stop`` is set before it has accepted anything.
    """
    state = State(settings.policy, patience=settings.stuck_after)
    counters = metrics.Metrics()
    exchange = metrics.Exchange(place.folder, place.index)
    pool, asking = Pool(settings.connect_timeout), Pool(settings.connect_timeout)
    health = Health(state, asking, pool, interval=settings.health_interval, timeout=settings.health_timeout)
    callbacks = Callbacks(place.sockets[0].getsockname()[:2], pool, place.index, place.folder)
    shared = Shared(state, pool, counters, callbacks)
    keys = Keys(settings.api_key, guarded=bool(settings.keys))
    front = Front(settings, keys, shared, Tries(shared, health), exchange)
    prover = Prover(settings, state, Tries(replace(shared, metrics=metrics.Metrics()), health))
    tasks = [
        asyncio.create_task(_watch(settings, state, health)),
        asyncio.create_task(_watch_keys(settings, keys)),
        asyncio.create_task(_exchange(place, exchange, counters, state)),
        asyncio.create_task(prover.run()),
    ]
    try:
        await _settle(state, place.settle, stop or asyncio.Event())
        async with listening(settings, front.handle, place.sockets, callbacks.socket) as door:
            place.accepting()
            yield Worker(state, door)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, health.close(), return_exceptions=True)
        pool.close()
        asking.close()


async def _settle(state: State, patience: float, stop: asyncio.Event) -> None:
    """Wait until it is known which engines serve. Clients wait meanwhile, or another router has them."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not (stop.is_set() or state.settled()):  # noqa: ASYNC110 - health, proofs and the file all change it
        await asyncio.sleep(SETTLE_LOOK)
    if stop.is_set():
        raise StoppedEarly


async def _watch(settings: Settings, state: State, health: Health) -> None:
    def good(membership: Membership) -> None:
        state.apply(membership)
        health.follow()

    await MembersFile(settings.members, good, state.complain).watch()


async def _watch_keys(settings: Settings, keys: Keys) -> None:
    if settings.keys:
        await WatchedFile("file of keys", settings.keys, parse, keys.replace, lambda _: None).watch()


async def _exchange(
    place: Place, exchange: metrics.Exchange, counters: metrics.Metrics, state: State
) -> None:
    while True:
        place.beat()
        exchange.put(metrics.shared(counters, state))
        metrics.hear(state, exchange.others())
        await asyncio.sleep(1)
