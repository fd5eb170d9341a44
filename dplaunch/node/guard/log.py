"""A process's log: the file it writes itself, and older parts moved out of it.

``log`` is written by the process with O_APPEND, so it needs nobody. When it grows over its limit
the guard copies its oldest part to ``log.N`` (N is the offset of its first byte) and gives that
part of ``log`` back to the disk with a hole: appends go on undisturbed, and an offset means the
same byte for the whole run. What ``log`` still holds begins where the newest ``log.N`` ends.
``log.prev`` and ``log.prev.N`` are the run before. ``log.idx`` maps times to offsets.
"""

from __future__ import annotations

import os
import time

from . import linux
from .store import remove, write_all, write_atomic

LIMIT = 64 << 20
KEEP = 16 << 20
PARTS = 3
"""Parts moved out of the log that are kept."""
LINE = 64 << 10
"""Bytes; a longer line is cut into pieces of this size."""
_BLOCK = 64 << 10  # holes are whole blocks on every file system and page size
_INDEX_EVERY = 5.0
_INDEX_LIMIT = 256 << 10


class Log:
    """One run's log, by offset. ``stem`` is ``log`` or ``log.prev``."""

    def __init__(self, folder: str, stem: str = "log") -> None:
        self.folder = folder
        self.stem = stem
        self.path = os.path.join(folder, stem)

    def parts(self) -> list[tuple[int, int]]:
        """First offset and end of each part moved out, oldest first."""
        found = []
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        for name in names:
            start = name[len(self.stem) + 1 :]
            if name.startswith(self.stem + ".") and start.isdigit():
                try:
                    found.append((int(start), int(start) + os.stat(os.path.join(self.folder, name)).st_size))
                except OSError:
                    continue
        return sorted(found)

    def part(self, start: int) -> str:
        """Path of the part that begins at an offset."""
        return f"{self.path}.{start}"

    def base(self) -> int:
        """The offset from which on ``log`` itself holds the bytes."""
        parts = self.parts()
        return parts[-1][1] if parts else 0

    def size(self) -> int:
        """The offset after the last byte."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0

    def run(self) -> int:
        """Which run's log this is: changes when a new run begins; 0 when there is none."""
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return 0

    def read(self, offset: int, count: int = LINE) -> tuple[int, bytes]:
        """Up to ``count`` bytes from ``offset``, or from the next offset that still exists."""
        for _ in range(16):  # the guard may move a part out while we read: look again
            parts = self.parts()
            base = parts[-1][1] if parts else 0
            if offset >= base:
                data = _read(self.path, offset, count)
                if self.base() <= offset:
                    return offset, data
                continue
            home = next(((start, end) for start, end in parts if start <= offset < end), None)
            if home is None:
                offset = min([start for start, _ in parts if start > offset] + [base])
                continue
            data = _read(self.part(home[0]), offset - home[0], count)
            if data:
                return offset, data + self._beyond(offset + len(data), count - len(data))
        return offset, b""

    def _beyond(self, offset: int, count: int) -> bytes:
        """What follows a part, if nothing is lost in between: a line may cross the border."""
        found, data = self.read(offset, count) if count else (offset, b"")
        return data if found == offset else b""

    def tail(self, lines: int) -> int:
        """The offset where the last ``lines`` lines begin."""
        position = self.size()
        if lines <= 0:
            return position
        first = min((start for start, _ in self.parts()), default=0)
        ended = self.read(max(position - 1, 0), 1)[1] == b"\n"
        needed = lines + 1 if ended else lines  # the newline at the very end begins no line
        while position > first:
            start = max(first, position - LINE)
            found, data = self.read(start, position - start)
            newlines = data.count(b"\n")
            if newlines >= needed:
                cut = len(data)
                for _ in range(needed):
                    cut = data.rfind(b"\n", 0, cut)
                return found + cut + 1
            needed -= newlines
            position = start
        return first

    def since(self, epoch: float) -> int:
        """An offset before the first byte written after ``epoch`` (at most 5 s of lines too early)."""
        offset = 0
        for at, position in _lines(self.path + ".idx"):
            if at > epoch:
                break
            offset = position
        return offset


def _read(path: str, offset: int, count: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.pread(fd, count, offset)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _lines(path: str) -> list[tuple[float, int]]:
    try:
        with open(path) as file:
            words = [line.split() for line in file]
        return [(float(at), int(offset)) for at, offset in words]
    except (OSError, ValueError):
        return []


def begin_run(folder: str) -> None:
    """The log of the run before becomes ``log.prev``; what that was is gone. Raises OSError."""
    for name in os.listdir(folder):
        if name == "log.prev" or name.startswith("log.prev."):
            os.unlink(os.path.join(folder, name))
    for name in os.listdir(folder):
        if name == "log" or name.startswith("log."):
            os.rename(os.path.join(folder, name), os.path.join(folder, "log.prev" + name[3:]))


class Bound:
    """The guard's side: keeps the size within ``limit`` and the index of times."""

    def __init__(self, folder: str, limit: int = LIMIT, keep: int = KEEP) -> None:
        self.log = Log(folder)
        self.limit = limit
        self.keep = min(keep, limit // 2)
        self.unbounded = ""
        """Why the log cannot be bounded here; empty while it can."""
        self._base = self.log.base()
        self._indexed = -1
        self._indexed_at = 0.0
        self._size = 0

    def tend(self) -> bool:
        """Look once; True when it grows so fast that the next look must come soon."""
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
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                write_all(fd, f"{now:.1f} {size}\n".encode())
                self._indexed, self._indexed_at = size, now
                large = os.fstat(fd).st_size > _INDEX_LIMIT
            finally:
                os.close(fd)
            if large:
                thinned = "".join(f"{at:.1f} {offset}\n" for at, offset in _lines(path)[::2])
                write_atomic(path, thinned.encode())
        except OSError:
            return  # a full disk: the index comes back with the next look

    def _move_out(self, size: int) -> None:
        cut = (size - self.keep) // _BLOCK * _BLOCK
        if cut <= self._base:
            return
        copied = self._copy(cut)
        try:
            fd = os.open(self.log.path, os.O_WRONLY)
            try:
                linux.punch(fd, self._base, cut - self._base)
            finally:
                os.close(fd)
        except OSError as error:
            remove(self.log.part(self._base))
            self.unbounded = f"the log grows without bound: its file system cannot punch holes ({error})"
            return
        if not copied:  # no room for a copy: the bytes are gone, an empty part says up to where
            remove(self.log.part(cut))
            os.close(os.open(self.log.part(cut), os.O_WRONLY | os.O_CREAT, 0o600))
        self._base = cut
        for start, _ in self.log.parts()[:-PARTS]:
            remove(self.log.part(start))

    def _copy(self, cut: int) -> bool:
        part = self.log.part(self._base)
        temporary = part + ".tmp"
        try:
            source = os.open(self.log.path, os.O_RDONLY)
            target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _send(source, target, self._base, cut)
            finally:
                os.close(source)
                os.close(target)
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
