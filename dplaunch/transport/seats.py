"""How sessions are dealt to connections that they share. Pure but for its lock."""

from __future__ import annotations

import threading
from collections import Counter

SESSIONS = 8
"""Over one connection; sshd's usual limit is 10."""


class Seats:
    """The numbers of connections, each with seats for a few sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[int] = Counter()

    def take(self) -> int:
        """The first connection that has a seat, which is taken."""
        with self._lock:
            number = next(n for n in range(len(self._taken) + 1) if self._taken[n] < SESSIONS)
            self._taken[number] += 1
            return number

    def leave(self, number: int) -> None:
        """Give a seat of this connection back."""
        with self._lock:
            self._taken[number] -= 1
