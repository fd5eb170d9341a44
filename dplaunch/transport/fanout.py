"""The same work on many hosts at once: everything is gathered, nobody waits for the dead."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dplaunch.errors import HostError

Item = TypeVar("Item", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What one item came to: a value or an error, after ``seconds``."""

    value: T | None = None
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """There is a value."""
        return self.error is None


def fan_out(
    items: Iterable[Item], work: Callable[[Item], T], *, workers: int = 64, deadline: float
) -> dict[Item, Outcome[T]]:
    """Runs ``work(item)`` for all items, at most ``workers`` at a time; outcomes in the items' order.

    An item that takes longer than ``deadline`` seconds becomes a HostError named after it; its
    thread is left behind (a daemon: it holds up neither the others nor the exit).
    """
    waiting = deque(dict.fromkeys(items))
    order = tuple(waiting)
    done: dict[Item, Outcome[T]] = {}
    running: dict[Item, float] = {}
    answers: queue.SimpleQueue[tuple[Item, Outcome[T]]] = queue.SimpleQueue()
    while waiting or running:
        while waiting and len(running) < workers:
            item = waiting.popleft()
            running[item] = time.monotonic()
            threading.Thread(target=_one, args=(item, work, answers), daemon=True).start()
        try:
            item, outcome = answers.get(timeout=max(0.0, min(running.values()) + deadline - time.monotonic()))
        except queue.Empty:
            done.update(_overdue(running, deadline))
        else:
            if running.pop(item, None) is not None:
                done[item] = outcome
    return {item: done[item] for item in order}


def _one(item: Item, work: Callable[[Item], T], answers: queue.SimpleQueue[tuple[Item, Outcome[T]]]) -> None:
    began = time.monotonic()
    value: T | None = None
    problem: Exception | None = None
    try:
        value = work(item)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is this item's outcome
        problem = error
    answers.put((item, Outcome(value, problem, time.monotonic() - began)))


def _overdue(running: dict[Item, float], deadline: float) -> dict[Item, Outcome[T]]:
    """Takes the items out of ``running`` whose time is up."""
    now = time.monotonic()
    late = [item for item, began in running.items() if now - began >= deadline]
    return {item: Outcome(error=_late(item, deadline), seconds=now - running.pop(item)) for item in late}


def _late(item: object, deadline: float) -> HostError:
    name = str(getattr(item, "node", item))
    return HostError(
        name,
        f"{name} did not finish within {deadline:g} s",
        hint=f"look what keeps it busy: `dplaunch exec node:{name} -- uptime`",
    )
