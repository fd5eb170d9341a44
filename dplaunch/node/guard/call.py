"""One request being answered: what a verb sees of its session.

``threading`` is left to the verbs that answer in threads: loading it costs a session 4 ms, and where it is
loaded each fork of a guard costs 0.7 ms more, because it makes its locks again in every child.
"""

from __future__ import annotations

import _thread

from .lock import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .store import Folder


class Flag:
    """Something that happens once, and that threads wait for."""

    def __init__(self) -> None:
        self._closed = _thread.allocate_lock()
        self._closed.acquire()
        self._once = _thread.allocate_lock()

    def set(self) -> None:
        """It has happened."""
        if self._once.acquire(blocking=False):
            self._closed.release()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._once.locked()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for it; whether it has happened."""
        if self._closed.acquire(timeout=max(0.0, seconds)):
            self._closed.release()
        return self.is_set()


class Shared:
    """What all calls of one session share. ``send`` writes one message to the launcher."""

    def __init__(self, folder: Folder, send: Callable[[dict[str, Any]], None]) -> None:
        self.folder = folder
        self.send = send
        self.lock = Lock(folder)
        self.ended = Flag()
        self.calls: dict[Any, Call] = {}
        """Requests that are being answered in threads of their own, by id."""
        self.guards: list[int] = []
        """Guards that this session forked."""


class Call:
    """One request. Its fields are read with ``get``; its events go out with ``emit``."""

    def __init__(self, request: dict[str, Any], shared: Shared) -> None:
        self.request = request
        self.id = request.get("id")
        self.cancelled = Flag()
        self.folder = shared.folder
        self.lock = shared.lock
        self.calls = shared.calls
        self.guards = shared.guards
        self._send = shared.send
        self._ended = shared.ended

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the request; null counts as missing."""
        value = self.request.get(key)
        return default if value is None else value

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """Stream one event of this request."""
        self._send({"id": self.id, "event": event, **fields})

    def over(self) -> bool:
        """Whether the request was cancelled or its session has ended."""
        return self.cancelled.is_set() or self._ended.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True when the request is over."""
        return self.cancelled.wait(seconds) or self._ended.is_set()
