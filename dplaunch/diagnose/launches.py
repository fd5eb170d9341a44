"""Tells the launches apart that one log holds: a script that appends, a container that restarted."""

from __future__ import annotations

import re

_SPEAKER = re.compile(r"\((?P<name>[\w./-]+)[^()]*? pid=(?P<pid>\d+)")
_BANNER = re.compile(r"vLLM API server version|data parallel engine\(s\) in headless mode")
"""What vLLM logs once for each launch."""


class Launches:
    """Finds the lines at which launches begin, by the process ids and the banner of the engine.

    Several engines may share a log: a launch begins only where no process logs on both sides of the line.
    """

    def __init__(self) -> None:
        self._began = [1]
        self._names: dict[str, str] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._banners: set[str] = set()
        self.earlier = 0
        """The number of launches before ``began``, which are certainly over."""

    def take(self, line: str, number: int) -> bool:
        """Read the next line. Return whether a launch may begin with it."""
        found = _SPEAKER.match(line)
        name, pid = (found["name"], found["pid"]) if found else ("", "")
        begins = self._repeats_banner(line, pid, number) or (
            bool(pid) and pid not in self._spans and self._names.get(name, pid) != pid
        )
        if begins and number != self._began[-1]:
            self._began.append(number)
            self._names.clear()
        if pid:
            self._names[name] = pid
            self._spans[pid] = self._spans.get(pid, (number, number))[0], number
        return begins

    def _repeats_banner(self, line: str, pid: str, number: int) -> bool:
        """Return whether the same process id announces a launch again; what came before is over then."""
        if not _BANNER.search(line):
            return False
        repeats = pid in self._banners
        if repeats:
            self.earlier += len(self._began)
            self._began = [number]
            self._spans.clear()
            self._names.clear()
            self._banners.clear()
        self._banners.add(pid)
        return repeats

    def last(self) -> tuple[int, int]:
        """Return the line at which the last launch begins, and how many launches came before it."""
        cuts = [
            (began, self.earlier + index)
            for index, began in enumerate(self._began)
            if all(last < began or first >= began for first, last in self._spans.values())
        ]
        return cuts[-1] if cuts else (self._began[0], self.earlier)
