"""Memory for large bodies: so many bytes at a time, and who finds no room waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .within import timeout

LARGE = 1 << 20
"""Bytes of a body from which on it is counted."""


class FullError(Exception):
    """There was no room in time."""


class Room:
    """``most`` bytes. One larger body than that has all of them."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int, within: float) -> AsyncIterator[None]:
        """Have ``size`` bytes while the block runs. Raises ``FullError`` after ``within`` seconds."""
        size = min(size, self._most)
        async with self._freed:
            try:
                async with timeout(within):
                    await self._freed.wait_for(lambda: self._left >= size)
            except asyncio.TimeoutError:
                raise FullError from None
            self._left -= size
        try:
            yield
        finally:
            self._left += size
            async with self._freed:
                self._freed.notify_all()
