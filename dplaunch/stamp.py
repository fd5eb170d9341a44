"""The prefix of a log line: which process wrote it, and when by the clock of its node.

Formats: vLLM (``09-24 20:59:57``; newer versions with year and fraction), CANN (``[PID: 7]
2025-12-29-03:16:15.787.356``) and glog (``E20260106 06:43:02.966156``, ``E1210 03:24:54.778028``). None of
them names a time zone.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import NamedTuple

_SPEAKER = re.compile(r"^(?:\([\w./-]+(?: [\w./=-]+)* pid=\d+[^()]*\) ?)+")
_TIME = r"[ T-](\d\d):(\d\d):(\d\d(?:[.,]\d+)?)"
_DATE = r"(?:(\d{4})-)?(\d\d)-(\d\d)"
_CLOCK = re.compile(rf"\b{_DATE}{_TIME}\s?")
_PRINTED = re.compile(
    r"(?:\x1b\[[0-9;]*m|\([^()]*\)|\[(?!\d{4}-)[^\[\]]*\]|[A-Z]\w*(?!\w)|[\s:\[])*" + _DATE + _TIME
)
"""A time after process names, level and brackets only; a time after other words belongs to the message."""
_GLOG = re.compile(rf"\b[EWIF](\d{{4}})?(\d?\d)(\d\d){_TIME}")
_NATIVE = re.compile(r"PID: ?\d+\] ")
_HEAD = 200
"""The times of CANN and glog are within so many characters of the start of a line."""
_YEAR = 12 * 31 * 86400.0
"""Seconds of twelve months of 31 days, which is enough to order lines by."""


class Stamp(NamedTuple):
    """The time that a line carries. ``year`` is None if the line has none."""

    year: int | None
    month: int
    day: int
    hour: int
    minute: int
    second: float
    fine: bool
    """The second has a fraction."""

    def epoch(self, near: float) -> float | None:
        """Return epoch seconds as if the time were UTC, or None if there is no such time.

        A missing year is taken as the one that brings the time nearest to ``near`` (epoch seconds).
        """
        about = datetime.fromtimestamp(near, timezone.utc).year
        years = [self.year] if self.year else [about - 1, about, about + 1]
        times = [at for at in map(self._epoch_in, years) if at is not None]
        return min(times, key=lambda at: abs(at - near), default=None)

    def _epoch_in(self, year: int) -> float | None:
        whole = int(self.second)
        try:
            at = datetime(year, self.month, self.day, self.hour, self.minute, whole, tzinfo=timezone.utc)
        except ValueError:  # 29 February in a common year, or not a time at all
            return None
        return at.timestamp() + self.second - whole


def split_speaker(line: str) -> tuple[str, str]:
    """Return the names of the processes that logged the line, and what they logged."""
    found = _SPEAKER.match(line)
    return (line[: found.end()], line[found.end() :]) if found else ("", line)


def normalise(line: str) -> str:
    """Return the line without what differs between ranks that log the same: process names, pids and time."""
    return _CLOCK.sub("", _SPEAKER.sub("", line), count=1)


@lru_cache(maxsize=16)
def parse_stamp(line: str) -> Stamp | None:
    """Return when the line was logged; None if it carries no time.

    CANN's own time wins: vLLM may have logged CANN's error later.
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
    """Orders lines in time although most carry no year: each gets the year that brings it nearest the first.

    So 31 December comes before 1 January if both appear, as in logs that span less than half a year.
    """

    def __init__(self) -> None:
        self._near: float | None = None

    def place(self, line: str) -> float:
        """Return the line's place on a scale that only orders; 0 for a line without a time."""
        found = parse_stamp(line)
        if found is None:
            return 0.0
        days = found.month * 31 + found.day
        at = ((days * 24 + found.hour) * 60 + found.minute) * 60 + found.second
        if self._near is None:
            self._near = at
        return at - _YEAR * round((at - self._near) / _YEAR)
