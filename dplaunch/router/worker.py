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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from . import metrics
from .attempt import Shared
from .callbacks import Callbacks
from .door import listening
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


@dataclass(frozen=True)
class Place:
    """Where a worker stands: its socket, its number, the folder it shares, its parent's pipe."""

    socket: socket.socket
    index: int = 0
    folder: str = ""
    """For metrics of several workers; empty with one."""
    parent: int | None = None
    """File descriptor that reads end of file when the parent is gone."""
    beat: Callable[[], None] = lambda: None
    """Called each second: shows the parent that the event loop runs."""


def run(settings: Settings, place: Place) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent is gone; then finish streams, up to the grace."""
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if place.parent is not None:
        loop.add_reader(place.parent, _parent_gone, place.parent, stop)
    async with serving(settings, place):
        await stop.wait()
        log.info("stopping: no new requests, %g s for those that run", settings.grace)


def _parent_gone(pipe: int, stop: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(pipe)
    os.close(pipe)
    stop.set()


@contextlib.asynccontextmanager
async def serving(settings: Settings, place: Place) -> AsyncIterator[State]:
    """The whole worker, as long as the block runs; at its end streams get their grace."""
    state = State(settings.policy, patience=settings.stuck_after)
    counters = metrics.Metrics()
    exchange = metrics.Exchange(place.folder, place.index)
    pool, asking = Pool(settings.connect_timeout), Pool(settings.connect_timeout)
    health = Health(state, asking, pool, interval=settings.health_interval, timeout=settings.health_timeout)
    callbacks = Callbacks(place.socket.getsockname()[:2], pool, place.index, place.folder)
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
        async with listening(settings, front.handle, place.socket, callbacks.socket):
            yield state
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, health.close(), return_exceptions=True)
        pool.close()
        asking.close()


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
        await asyncio.sleep(1)
