"""A file that is read again whenever it changed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("dprouter")

_Value = TypeVar("_Value")


class WatchedFile(Generic[_Value]):
    """Hands on what ``parse`` makes of the file's text, or why it cannot (its ``ValueError``, in words)."""

    def __init__(
        self,
        what: str,
        path: str,
        parse: Callable[[str], _Value],
        on_good: Callable[[_Value], None],
        on_bad: Callable[[str], None],
    ) -> None:
        self._what = what
        self._path = path
        self._parse = parse
        self._on_good = on_good
        self._on_bad = on_bad
        self._seen: object = None

    def look(self) -> None:
        """One look: does nothing while inode, size and time of the file stay the same."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - one syscall each half second
            stamp: object = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError as error:
            stamp = error.strerror
        if stamp != self._seen:
            self._seen = stamp
            self._read()

    def _read(self) -> None:
        try:
            with open(self._path, encoding="utf-8") as file:  # noqa: PTH123 - as above
                value = self._parse(file.read())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            text = f"{self._what} {self._path} cannot be used: {reason}"
            log.warning("%s; the last good one stays in force, write it again", text)
            self._on_bad(text)
        else:
            self._on_good(value)

    async def watch(self, interval: float = 0.5) -> None:
        """Look for ever, each ``interval`` seconds."""
        while True:
            self.look()
            await asyncio.sleep(interval)
