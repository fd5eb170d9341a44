"""How versions of engines compare."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

FINAL = 1_000
"""A release in a version's last place: after its candidates, and before what mends it (0.10.1.1)."""

Version = tuple[int, int, int, int]
"""(major, minor, patch, last): n for rcn, FINAL for the release, FINAL + n for its n-th mend."""

_SHAPE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:\.?(?:rc|RC)(\d+)|\.(\d+))?(?:\.?post\d+)?(?:\+\S*)?")


@cache
def parse(text: str) -> Version | None:
    """``"0.11.0rc2"`` → (0, 11, 0, 2); ``"0.10.1.1"`` → (0, 10, 1, FINAL + 1); None: not a version."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch, candidate, mend = match.groups()
    last = FINAL + int(mend or 0) if candidate is None else int(candidate)
    return int(major), int(minor), int(patch or 0), last


def at_least(text: str, least: str) -> bool:
    """``text`` is ``least`` or later. What is not a version counts as the newest there could be."""
    version, bound = parse(text), parse(least)
    return version is None or bound is None or version >= bound


def neighbours(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The last known version before ``text`` and the first after it, as far as they exist."""
    version = parse(text)
    ordered = [(parsed, name) for name in known if (parsed := parse(name)) is not None]
    if version is None:
        return (ordered[-1][1],) if ordered else ()
    before = [name for parsed, name in ordered if parsed < version][-1:]
    after = [name for parsed, name in ordered if parsed > version][:1]
    return (*before, *after)
