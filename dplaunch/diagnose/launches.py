"""Separates the launches that one log holds: of a script that appends, or a container that restarted."""

from __future__ import annotations

import re

from dplaunch.engines import facts, kinds

_SPEAKER = re.compile(r"\(([\w./-]+)[^()]*? pid=(\d+)")
_BANNERS = tuple({banner for kind in kinds() for banner in facts(kind).banners})


class Launches:
    """Finds the lines at which launches begin, by the process ids and the banner of the engine.

    Several engines may share a log: a launch begins only where no process logs on both sides of the line.
    """

    def __init__(self) -> None:
        self._began = [1]
        self._names: dict[str, str] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        """Process id → the number of the first and of the last line that names it."""
        self._banners: set[str] = set()
        self.earlier = 0
        """The number of launches before ``began``, which are certainly over."""

    def take(self, line: str, number: int) -> bool:
        """Read the next line. Return whether a launch may begin with it."""
        found = _SPEAKER.match(line) if line[:1] == "(" else None
        name, pid = found.groups() if found else ("", "")
        begins = self._repeats_banner(line, pid, number)
        if pid and pid not in self._first:
            begins = begins or self._names.get(name, pid) != pid
            self._first[pid] = number
        if begins and number != self._began[-1]:
            self._began.append(number)
            self._names.clear()
        if pid:
            self._names[name] = pid
            self._last[pid] = number
        return begins

    def _repeats_banner(self, line: str, pid: str, number: int) -> bool:
        """Return whether the same process id announces a launch again; what came before is over then."""
        if not any(banner in line for banner in _BANNERS):
            return False
        repeats = pid in self._banners
        if repeats:
            self.earlier += len(self._began)
            self._began = [number]
            self._first.clear()
            self._last.clear()
            self._names.clear()
            self._banners.clear()
        self._banners.add(pid)
        return repeats

    def last(self) -> tuple[int, int]:
        """Return the line at which the last launch begins, and how many launches came before it."""
        cuts = [
            (began, self.earlier + index)
            for index, began in enumerate(self._began)
            if all(self._last[pid] < began or first >= began for pid, first in self._first.items())
        ]
        return cuts[-1] if cuts else (self._began[0], self.earlier)
