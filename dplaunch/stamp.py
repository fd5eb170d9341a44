"""What stands before a log line's message: who speaks, and when by its own node's clock. Text, no rules.

vLLM (``09-24 20:59:57``, newer with year and fraction), CANN (``[PID: 7] 2025-12-29-03:16:15.787.356``) and
glog (``E20260106 06:43:02.966156``, ``E1210 03:24:54.778028``). None names a zone.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

_SPEAKER = re.compile(r"^(?:\([\w./-]+(?: [\w./-]+)* pid=\d+\) ?)+")
_TIME = r"[ T-](\d\d):(\d\d):(\d\d(?:[.,]\d+)?)"
_DATE = r"(?:(\d{4})-)?(\d\d)-(\d\d)"
_CLOCK = re.compile(rf"\b{_DATE}{_TIME}\s?")
_PRINTED = re.compile(
    r"(?:\x1b\[[0-9;]*m|\([^()]*\)|\[(?!\d{4}-)[^\[\]]*\]|[A-Z]\w*(?!\w)|[\s:\[])*" + _DATE + _TIME
)
"""After speakers, level and the like; a time after other words is one that the message tells of."""
_GLOG = re.compile(rf"\b[EWIF](\d{{4}})?(\d\d)(\d\d){_TIME}")
_NATIVE = re.compile(r"PID: ?\d+\] ")
_HEAD = 200
"""Characters among which the times of CANN and glog stand."""
_YEAR = 12 * 31 * 86400.0
"""Seconds of twelve months of 31 days: enough to order by."""


class Stamp(NamedTuple):
    """A time as a line has it. ``year`` None: the line names none."""

    year: int | None
    month: int
    day: int
    hour: int
    minute: int
    second: float
    fine: bool
    """The second has a fraction."""

    def epoch(self, near: float) -> float | None:
        """Epoch seconds, were it UTC; a year left out is the one that brings it nearest ``near``.

        None where there is no such time.
        """
        about = datetime.fromtimestamp(near, timezone.utc).year
        years = [self.year] if self.year else [about - 1, about, about + 1]
        times = [at for at in map(self._in, years) if at is not None]
        return min(times, key=lambda at: abs(at - near), default=None)

    def _in(self, year: int) -> float | None:
        whole = int(self.second)
        try:
            at = datetime(year, self.month, self.day, self.hour, self.minute, whole, tzinfo=timezone.utc)
        except ValueError:  # 29 February of another year, or no time at all
            return None
        return at.timestamp() + self.second - whole


def common(line: str) -> str:
    """The line without what differs between ranks that say the same: speaker's pid and time."""
    return _CLOCK.sub("", _SPEAKER.sub("", line), count=1)


def stamp(line: str) -> Stamp | None:
    """When it was said; None for a line that does not tell.

    CANN's own time is the truer one where vLLM logged the error later.
    """
    native = _NATIVE.search(line, 0, _HEAD)
    found = native and _CLOCK.match(line, native.end())
    found = found or _PRINTED.match(line) or _GLOG.search(line, 0, _HEAD)
    if not found:
        return None
    year, month, day, hour, minute, second = found.groups()
    return Stamp(
        year=int(year) if year else None,
        month=int(month),
        day=int(day),
        hour=int(hour),
        minute=int(minute),
        second=float(second.replace(",", ".")),
        fine=len(second) > len("57"),
    )


class Calendar:
    """Puts lines in order although most name no year: each is of the year that brings it nearest the first.

    So 31 December comes before 1 January where both appear, as in logs that span less than half a year.
    """

    def __init__(self) -> None:
        self._near: float | None = None

    def place(self, line: str) -> float:
        """Its place in time on a scale that only orders; 0 for a line that does not tell."""
        found = stamp(line)
        if found is None:
            return 0.0
        days = found.month * 31 + found.day
        at = ((days * 24 + found.hour) * 60 + found.minute) * 60 + found.second
        if self._near is None:
            self._near = at
        return at - _YEAR * round((at - self._near) / _YEAR)
