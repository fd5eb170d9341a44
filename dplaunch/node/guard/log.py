"""A process's log: the file it writes itself, and older parts moved out of it.

The process appends to ``log`` itself (O_APPEND), without the guard. When ``log`` grows over its limit, the
guard copies its oldest part to ``log.N`` (N is the offset of its first byte) and gives that part of
``log`` back to the disk with a hole: appends are not disturbed, and an offset means the same byte for
the whole run. What ``log`` still holds begins where the newest ``log.N`` ends.
``log.prev`` and ``log.prev.N`` are the run before. ``log.idx`` maps times to offsets.
"""

from __future__ import annotations

import os

from .store import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shapes import Source

LINE = 64 << 10
"""Bytes; a longer line is cut into pieces of this size."""


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
                found.append((int(start), int(start) + size_of(os.path.join(self.folder, name))))
        return sorted(found)

    def part(self, start: int) -> str:
        """Path of the part that begins at an offset."""
        return f"{self.path}.{start}"

    def base(self) -> int:
        """The first offset whose bytes are in ``log`` itself."""
        parts = self.parts()
        return parts[-1][1] if parts else 0

    def size(self) -> int:
        """The offset after the last byte."""
        return size_of(self.path)

    def run(self) -> int:
        """The number of the run this log belongs to: it changes with each run; 0 when there is none."""
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return 0

    def read(self, offset: int, count: int = LINE) -> tuple[int, bytes]:
        """Up to ``count`` bytes from ``offset``, or from the next offset that still exists."""
        for _ in range(16):  # the guard may move a part out meanwhile: look again
            parts = self.parts()
            base = parts[-1][1] if parts else 0
            if offset >= base:
                data = read_at(self.path, offset, count)
                if self.base() <= offset:
                    return offset, data
                continue
            home = next(((start, end) for start, end in parts if start <= offset < end), None)
            if home is None:
                offset = min([start for start, _ in parts if start > offset] + [base])
                continue
            data = read_at(self.part(home[0]), offset - home[0], count)
            if data:
                return offset, data + self._beyond(offset + len(data), count - len(data))
        return offset, b""

    def _beyond(self, offset: int, count: int) -> bytes:
        """What follows a part, if nothing is lost in between: a line may cross its end."""
        found, data = self.read(offset, count) if count else (offset, b"")
        return data if found == offset else b""

    def before(self, run: int) -> Log | None:
        """The log of the run before, if it has this number."""
        log = Log(self.folder, "log.prev")
        return log if self.stem == "log" and log.run() == run else None

    def tail(self, lines: int) -> int:
        """The offset where the last ``lines`` lines begin."""
        return find_tail(self, lines, min((start for start, _ in self.parts()), default=0))

    def since(self, epoch: float) -> int:
        """An offset before the first byte written after ``epoch`` (at most 5 s of lines too early)."""
        offset = 0
        for at, position in read_index(self.path + ".idx"):
            if at > epoch:
                break
            offset = position
        return offset


def find_tail(source: Source, lines: int, first: int = 0) -> int:
    """The offset where the last ``lines`` lines begin; ``first`` is the oldest offset that still exists."""
    position = source.size()
    if lines <= 0:
        return position
    ended = source.read(max(position - 1, 0), 1)[1] == b"\n"
    needed = lines + 1 if ended else lines  # the newline at the very end does not begin a line
    while position > first:
        start = max(first, position - LINE)
        found, data = source.read(start, position - start)
        newlines = data.count(b"\n")
        if newlines >= needed:
            cut = len(data)
            for _ in range(needed):
                cut = data.rfind(b"\n", 0, cut)
            return found + cut + 1
        needed -= newlines
        position = start
    return first


def size_of(path: str) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read_at(path: str, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes of a file from ``offset``; none where it cannot be read."""
    try:
        with opened(path, os.O_RDONLY) as fd:
            return os.pread(fd, count, offset)
    except OSError:
        return b""


def read_index(path: str) -> list[tuple[float, int]]:
    """Times and offsets of a ``log.idx``; none where it is missing or broken."""
    try:
        with open(path) as file:
            words = [line.split() for line in file]
        return [(float(at), int(offset)) for at, offset in words]
    except (OSError, ValueError):
        return []


def begin_run(folder: str) -> None:
    """Rename the log of the run before to ``log.prev``, in place of an older one. Raises OSError.

    Without a ``log`` the run before is ``log.prev`` already: its state was forgotten, its log kept.
    """
    if not os.path.exists(os.path.join(folder, "log")):
        return
    for name in os.listdir(folder):
        if name == "log.prev" or name.startswith("log.prev."):
            os.unlink(os.path.join(folder, name))
    for name in os.listdir(folder):
        if name == "log" or name.startswith("log."):
            os.rename(os.path.join(folder, name), os.path.join(folder, "log.prev" + name[3:]))
