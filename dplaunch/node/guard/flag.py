"""Something that comes true once, and may be waited for: ``threading.Event`` without ``threading``.

Loading that takes half as long as starting a session, and most sessions answer one question and end.
"""

from __future__ import annotations

from _thread import allocate_lock


class Flag:
    """Not set at first; ``set`` wakes all who wait."""

    def __init__(self) -> None:
        self._first = allocate_lock()
        self._closed = allocate_lock()
        self._closed.acquire()
        self._set = False

    def set(self) -> None:
        """It is true from now on; to say so again changes nothing."""
        if self._first.acquire(blocking=False):
            self._set = True
            self._closed.release()

    def is_set(self) -> bool:
        """Whether somebody set it."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait that long at most; whether it is set."""
        if self._closed.acquire(timeout=max(0.0, seconds)):
            self._closed.release()  # the next who waits comes through as well
        return self._set
