"""Log lines of many engines: an aligned name with its own colour, then the line.

Every line of every log passes here, so it is written for speed.
"""

from __future__ import annotations

import zlib
from datetime import datetime, tzinfo
from typing import Any

from dplaunch.model.log import FoldedLine, LogLine
from dplaunch.ranges import fold
from dplaunch.view import style

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""Terminal colours that differ on dark and light; none of them is the red of errors."""
_MANY = 1
"""Bold: a line of several processes."""


class LogPrinter:
    """``line(folded)`` → text to write, with its newline.

    ``names``: every process whose lines may come, for the margin. ``prefix`` False: lines without names.
    ``times``: put the arrival before each line, in ``zone`` (default: local).
    """

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        color: bool = False,
        prefix: bool = True,
        times: bool = False,
        zone: tzinfo | None = None,
    ) -> None:
        self._margin = max(map(len, names), default=0)
        self._color = color
        self._prefix = prefix
        self._times = times
        self._zone = zone

    def line(self, folded: FoldedLine) -> str:
        """One line under its name; names of several processes are folded: ``decode-[0-31] | …``."""
        return f"{self._time(folded.at)}{self._name(folded.processes)}{style.plain(folded.text)}\n"

    def _name(self, processes: tuple[str, ...]) -> str:
        if not self._prefix:
            return ""
        name = style.plain(processes[0] if len(processes) == 1 else fold(processes))
        self._margin = max(self._margin, min(len(name), 40))
        padded = f"{name:<{self._margin}}"
        if not self._color:
            return f"{padded} | "
        code = str(_MANY) if len(processes) > 1 else str(color_of(name))
        return f"\x1b[{code}m{padded} |\x1b[0m "

    def _time(self, at: float) -> str:
        if not self._times:
            return ""
        if not at:
            return " " * 13
        moment = datetime.fromtimestamp(at, self._zone).astimezone(self._zone)
        return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03} "


def color_of(name: str) -> int:
    """The same colour for a name in every run."""
    return _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]


def to_json(line: LogLine) -> dict[str, Any]:
    """One line as JSON: ``{process, node, offset, at, text}``. JSON lines are never folded."""
    return {
        "process": line.process,
        "node": line.node,
        "offset": line.offset,
        "at": line.at or None,
        "text": line.text,
    }
