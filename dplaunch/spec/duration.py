"""``1h30m``, ``40m``, ``90s``, ``90``: durations as people write them, in seconds."""

from __future__ import annotations

import re

from dplaunch.errors import UsageError

HINT = "write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s"

_DURATION = re.compile(r"(?=[0-9])(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s?)?")


def parse(text: str) -> float | None:
    """Seconds, or ``None`` when the text is no duration."""
    match = _DURATION.fullmatch(text)
    if not match:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def seconds(text: str) -> float:
    """Seconds of a command line's duration. Raises ``UsageError``."""
    found = parse(text)
    if found is None:
        raise UsageError(f"'{text}' is no duration", hint=HINT)
    return found
