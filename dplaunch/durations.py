"""Durations as people write and read them: ``1h30m``, ``40m``, ``90s`` in; ``2 min 05 s`` out."""

from __future__ import annotations

import re

from dplaunch.errors import UsageError

HINT = "write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s"

_MINUTE = 60
_HOUR = 3600
_DAY = 86400
_DURATION = re.compile(r"(?=[0-9])(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s?)?")


def match(text: str) -> float | None:
    """Seconds, or ``None`` when ``text`` cannot be read as a duration."""
    found = _DURATION.fullmatch(text)
    if not found:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * _HOUR + minutes * _MINUTE + seconds


def parse(text: str) -> float:
    """Seconds of a duration given on the command line. Raises ``UsageError``."""
    found = match(text)
    if found is None:
        raise UsageError(f"cannot read '{text}' as a duration", hint=HINT)
    return found


def describe(value: float) -> str:
    """``0.4 s``, ``21 s``, ``2 min 05 s``, ``3 h 12 min``, ``4 d 3 h``."""
    whole = int(value)
    if value < 9.95:  # noqa: PLR2004 - below ten seconds, a tenth tells
        return f"{max(0.0, value):.1f} s"
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
