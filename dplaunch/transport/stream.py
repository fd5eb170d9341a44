"""Lines over a pipe: a guard session's stream, the same for a local process and an SSH channel."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from dplaunch.errors import HostError
from dplaunch.transport.failures import STILL_RUNS, lost_link

CHUNK = 65536
SLICE = 1.0
"""Longest single wait, seconds: how late silence or a full pipe is noticed."""


class Pipe(Protocol):
    """The three streams of one running command."""

    def read(self, timeout: float) -> bytes | None:
        """Up to 64 KiB of stdout; None when nothing came in ``timeout`` seconds, b"" at its end."""

    def write(self, data: memoryview) -> int:
        """How much was taken; 0 when it takes nothing now (after at most SLICE). OSError when it is gone."""

    def stderr(self) -> str:
        """The last 8 KiB of stderr."""

    def wait(self, timeout: float) -> int | None:
        """Exit code (negative: a signal); None when still running or lost."""

    def lost(self) -> bool:
        """The link broke before the command's end was heard of."""

    def close(self) -> None:
        """Ends the streams."""


class Stream:
    """One running command, a guard session, over a ``Pipe``.

    Whoever holds ``_reading`` moves bytes from the pipe to ``_lines``: usually the thread in
    ``lines``, but also ``send`` when the other side takes nothing before its own output is read.
    """

    def __init__(
        self, node: str, label: str, pipe: Pipe, *, silence: float, explain: Callable[[int, str], HostError]
    ) -> None:
        self._node, self._label, self._pipe = node, label, pipe
        self._silence, self._explain = silence, explain
        self._sending, self._reading = threading.Lock(), threading.Lock()
        self._lines: deque[bytes] = deque()
        self._tail: list[bytes] = []
        self._ended = self._closed = False
        self._heard = time.monotonic()

    def send(self, data: bytes) -> None:
        """Sends all of ``data``; HostError when the link is gone or nothing is taken for ``silence`` s."""
        with self._sending:
            rest, moved = memoryview(data), time.monotonic()
            while rest:
                taken = self._write(rest[:CHUNK])
                rest = rest[taken:]
                if taken:
                    moved = time.monotonic()
                elif time.monotonic() - moved > self._silence:
                    raise self._gone(f"has taken no input for {self._silence:g} s")
                elif self._reading.acquire(blocking=False):
                    try:
                        self._pump(0.0)
                    finally:
                        self._reading.release()

    def _write(self, data: memoryview) -> int:
        try:
            return self._pipe.write(data)
        except OSError as error:
            code = self._pipe.wait(SLICE)
            if code:
                raise self._explain(code, self._pipe.stderr()) from error
            raise self._gone("ended the session") from error

    def lines(self, meanwhile: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        """Lines until the command ended well or ``close`` was called; HostError when it ended otherwise.

        ``meanwhile`` is called about once a second, or more often while much is read.
        """
        while not self._closed:
            while self._lines:
                yield self._lines.popleft()
            if self._ended:
                return self._finish()
            with self._reading:
                if not self._lines and not self._ended:
                    self._pump(min(SLICE, self._silence))
            meanwhile()
            if time.monotonic() - self._heard > self._silence and not self._closed:
                raise self._gone(f"has been silent for {self._silence:g} s")
        return None

    def _pump(self, timeout: float) -> None:
        chunk = self._pipe.read(timeout)
        if chunk is None:
            return
        self._heard = time.monotonic()
        if chunk == b"":
            self._ended = True
            if any(self._tail):
                self._lines.append(b"".join(self._tail))
            return
        first, *others = chunk.split(b"\n")
        self._tail.append(first)
        if others:
            self._lines.append(b"".join(self._tail))
            self._lines.extend(others[:-1])
            self._tail = [others[-1]]

    def _finish(self) -> None:
        """The verdict after the last line."""
        code = None if self._pipe.lost() else self._pipe.wait(5.0)
        if self._closed or code == 0:
            return
        if code is None:
            raise self._gone("closed the connection")
        raise self._explain(code, self._pipe.stderr())

    def _gone(self, what: str) -> HostError:
        if self._pipe.lost():
            return lost_link(self._node, self._label)
        return HostError(self._node, f"{self._label} {what}", hint=STILL_RUNS)

    def stderr_tail(self) -> str:
        """The last 8 KiB of stderr."""
        return self._pipe.stderr()

    def close(self) -> None:
        """Ends the streams; a reader in ``lines`` ends without an error."""
        self._closed = True
        self._pipe.close()


class Tail:
    """The last ``limit`` bytes of a stream, as text."""

    def __init__(self, limit: int = 8192) -> None:
        self._limit = limit
        self._data = b""

    def add(self, data: bytes) -> None:
        """Appends, dropping the oldest."""
        self._data = (self._data + data)[-self._limit :]

    def text(self) -> str:
        """What is kept, undecodable bytes replaced."""
        return self._data.decode("utf-8", "replace")
