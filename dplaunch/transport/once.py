"""Things that several connections share (a jump host's connection, a loaded key), made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Once:
    """key → value, made by the first who asks while the others wait for the same outcome.

    A failure is shared with those who wait, then forgotten: the next one tries again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T], *, valid: Callable[[T], bool] = lambda _: True) -> T:
        """The value of ``key``; made again when it is missing or it is no longer ``valid``."""
        with self._lock:
            future = self._made.get(key)
            mine = future is None or (future.done() and not valid(future.result()))
            if mine:
                future = self._made[key] = Future()
        assert future is not None  # noqa: S101 - for the type checker: made above when it was None
        if mine:
            self._fill(key, future, make)
        return cast("T", future.result())

    def _fill(self, key: Hashable, future: Future[Any], make: Callable[[], object]) -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - handed to everybody who waits
            with self._lock:
                self._made.pop(key, None)
            future.set_exception(error)

    def close(self) -> None:
        """Closes what can be closed and forgets everything."""
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for future in made:
            close = (
                getattr(future.result(), "close", None) if future.done() and not future.exception() else None
            )
            if close is not None:
                close()
