"""A log file that a process writes itself, as a cursor reads it: plain offsets, rotation noticed."""

from __future__ import annotations

import glob
import os
import stat

from .log import LINE, find_tail, read_at, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shapes import Source


class OwnFile:
    """The newest file that matches ``pattern``, an absolute path that may be a glob.

    It stays with the file it has chosen, however many others grow, until that one is replaced or
    another one appears. While nothing matches it has no bytes.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._path = ""
        self._path_before = ""
        self._inode = 0
        self._known: set[str] = set()

    def run(self) -> int:
        """The file's inode; 0 while there is none. A call looks whether another file takes its place."""
        found = self._find()
        new = found.keys() - self._known
        self._known = set(found)
        if not found:
            return 0
        here = found.get(self._path)
        replaced = here is None or here.st_ino != self._inode
        if replaced or new:
            candidates = found if replaced else {*new, self._path}
            path = max(candidates, key=lambda one: (found[one].st_mtime_ns, one == self._path))
            self._path_before, self._path, self._inode = self._path, path, found[path].st_ino
        return self._inode

    def _find(self) -> dict[str, os.stat_result]:
        found = {}
        for path in glob.glob(self._pattern, recursive=True):
            try:
                status = os.stat(path)
            except OSError:
                continue  # removed meanwhile
            if stat.S_ISREG(status.st_mode):
                found[path] = status
        return found

    def size(self) -> int:
        """The offset after the last byte."""
        return size_of(self._path)

    def read(self, offset: int, count: int = LINE) -> tuple[int, bytes]:
        """``offset``, and up to ``count`` bytes from there."""
        return offset, read_at(self._path, offset, count)

    def before(self, run: int) -> Source | None:
        """The file with this inode: rotation gives it another name in its folder."""
        for folder in {os.path.dirname(self._path), os.path.dirname(self._path_before)}:
            try:
                with os.scandir(folder or "/") as entries:
                    paths = [entry.path for entry in entries if entry.inode() == run]
            except OSError:
                continue
            if paths:
                return OwnFile(glob.escape(paths[0]))
        return None

    def tail(self, lines: int) -> int:
        """The offset where the last ``lines`` lines begin."""
        return find_tail(self, lines)

    def since(self, epoch: float) -> int:
        """The beginning, or the end where nothing was written after ``epoch``: these files have no index."""
        try:
            return 0 if os.stat(self._path).st_mtime >= epoch else self.size()
        except OSError:
            return 0
