"""The guard's part of a log: it bounds its size and keeps its index of times."""

from __future__ import annotations

import os
import time

from .kernel import punch
from .log import Log, read_index
from .store import opened, remove, write_all, write_atomic

LIMIT = 64 << 20
KEEP = 16 << 20
PARTS = 3
"""Parts moved out of the log that are kept."""
_BLOCK = 64 << 10  # holes are whole blocks on every file system and page size
_INDEX_EVERY = 5.0
_INDEX_LIMIT = 256 << 10


class Bound:
    """Keeps the log of a run that begins now within ``limit``, and its index of times."""

    def __init__(self, folder: str, limit: int = LIMIT, keep: int = KEEP) -> None:
        self.log = Log(folder)
        self.limit = limit
        self.keep = min(keep, limit // 2)
        self.unbounded = ""
        """Why the log cannot be bounded here; empty while it can."""
        self._base = 0
        self._indexed = 0
        self._indexed_at = 0.0
        self._size = 0

    def tend(self) -> bool:
        """Look once; True when the log grows so fast that the next look must come soon."""
        size = self.log.size()
        grown, self._size = size - self._size, size
        now = time.time()
        if size > self._indexed and now - self._indexed_at >= _INDEX_EVERY:
            self._index(now, size)
        if size - self._base > self.limit and not self.unbounded:
            self._move_out(size)
        return grown > self.limit // 16

    def _index(self, now: float, size: int) -> None:
        path = self.log.path + ".idx"
        try:
            with opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
                write_all(fd, f"{now:.1f} {size}\n".encode())
                self._indexed, self._indexed_at = size, now
                large = os.fstat(fd).st_size > _INDEX_LIMIT
            if large:
                thinned = "".join(f"{at:.1f} {offset}\n" for at, offset in read_index(path)[::2])
                write_atomic(path, thinned.encode())
        except OSError:
            return  # a full disk: the next look tries again

    def _move_out(self, size: int) -> None:
        cut = (size - self.keep) // _BLOCK * _BLOCK
        if cut <= self._base:
            return
        copied = self._copy(cut)
        try:
            with opened(self.log.path, os.O_WRONLY) as fd:
                punch(fd, self._base, cut - self._base)
        except OSError as error:
            remove(self.log.part(self._base))
            self.unbounded = f"the log grows without bound: its file system cannot punch holes ({error})"
            return
        if not copied:  # no room for a copy: the bytes are lost, and an empty part marks up to where
            remove(self.log.part(cut))
            os.close(os.open(self.log.part(cut), os.O_WRONLY | os.O_CREAT, 0o600))
        self._base = cut
        for start, _ in self.log.parts()[:-PARTS]:
            remove(self.log.part(start))

    def _copy(self, cut: int) -> bool:
        part = self.log.part(self._base)
        temporary = part + ".tmp"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with opened(self.log.path, os.O_RDONLY) as source, opened(temporary, flags) as target:
                _send(source, target, self._base, cut)
            os.rename(temporary, part)
        except OSError:
            remove(temporary)
            return False
        return True


def _send(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        sent = os.sendfile(target, source, start, min(end - start, 8 << 20))
        if sent == 0:
            return
        start += sent
