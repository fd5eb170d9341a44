"""What stands before a line's message: who speaks, and when by its own clock.

vLLM (``09-24 20:59:57``, newer with year and fraction), CANN (``[PID: 7] 2025-12-29-03:16:15.787.356``) and
glog (``E20260106 06:43:02.966156``, ``E1210 03:24:54.778028``).
"""

from __future__ import annotations

import re

_SPEAKER = re.compile(r"^(?:\([\w./-]+(?: [\w./-]+)* pid=\d+\) ?)+")
_TIME = r"[ T-](\d\d):(\d\d):(\d\d(?:[.,]\d+)?)"
_CLOCK = re.compile(rf"\b(?:\d{{4}}-)?(\d\d)-(\d\d){_TIME}\s?")
_GLOG = re.compile(rf"\b[EWIF](?:\d{{4}})?(\d\d)(\d\d){_TIME}")
_NATIVE = re.compile(r"PID: ?\d+\] ")
_HEAD = 200
"""Characters among which the clock stands."""


def common(text: str) -> str:
    """The line without what differs between ranks that say the same: speaker's pid and clock."""
    return _CLOCK.sub("", _SPEAKER.sub("", text), count=1)


def clock(text: str) -> float:
    """Seconds on a scale that only orders: the lines name no year; 0 for a line without a clock.

    CANN's own clock is the truer one where vLLM logged the error later.
    """
    native = _NATIVE.search(text, 0, _HEAD)
    found = native and _CLOCK.match(text, native.end())
    found = found or _CLOCK.search(text, 0, _HEAD) or _GLOG.match(text)
    if not found:
        return 0.0
    month, day, hour, minute, second = (float(figure.replace(",", ".")) for figure in found.groups())
    return (((month * 31 + day) * 24 + hour) * 60 + minute) * 60 + second
