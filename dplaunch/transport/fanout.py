"""The same work on many hosts at once: everything is gathered, and dead hosts hold up nothing."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct

from dplaunch.errors import HostError

Item = TypeVar("Item", bound=Hashable)
T = TypeVar("T")


class Gathered(Struct, Generic[T], frozen=True):
    """What the work returned or raised for one item."""

    value: T | None = None
    error: Exception | None = None


def fan_out(
    items: Iterable[Item], work: Callable[[Item], T], *, workers: int = 64, deadline: float
) -> dict[Item, Gathered[T]]:
    """Runs ``work(item)`` for all items, at most ``workers`` at a time; what it came to, in the items' order.

    An item that takes longer than ``deadline`` seconds becomes a HostError named after it; its
    thread is left behind (a daemon: it holds up neither the others nor the exit).
    """
    waiting = deque(dict.fromkeys(items))
    order = tuple(waiting)
    done: dict[Item, Gathered[T]] = {}
    running: dict[Item, float] = {}
    answers: queue.SimpleQueue[tuple[Item, Gathered[T]]] = queue.SimpleQueue()
    while waiting or running:
        while waiting and len(running) < workers:
            item = waiting.popleft()
            running[item] = time.monotonic()
            threading.Thread(target=_one, args=(item, work, answers), daemon=True).start()
        try:
            item, gathered = answers.get(
                timeout=max(0.0, min(running.values()) + deadline - time.monotonic())
            )
        except queue.Empty:
            done.update(_overdue(running, deadline))
        else:
            if running.pop(item, None) is not None:
                done[item] = gathered
    return {item: done[item] for item in order}


def _one(item: Item, work: Callable[[Item], T], answers: queue.SimpleQueue[tuple[Item, Gathered[T]]]) -> None:
    try:
        gathered = Gathered(work(item))
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what this item came to
        gathered = Gathered(error=error)
    answers.put((item, gathered))


def _overdue(running: dict[Item, float], deadline: float) -> dict[Item, Gathered[T]]:
    """Takes the items out of ``running`` whose time is up."""
    now = time.monotonic()
    late = [item for item, began in running.items() if now - began >= deadline]
    for item in late:
        del running[item]
    return {item: Gathered(error=_late(item, deadline)) for item in late}


def _late(item: object, deadline: float) -> HostError:
    name = str(getattr(item, "node", item))
    return HostError(
        name,
        f"{name} did not finish within {deadline:g} s",
        hint=f"look what keeps it busy: `dplaunch exec node:{name} -- uptime`",
    )
