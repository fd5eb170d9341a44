"""Sentences that differ in names and numbers only, as one: ``h[1-16] (192.0.2.[1-16]) refused``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dplaunch.ranges import fold

_NAME = re.compile(r"([^\s:,'\"\[\]{}]+)")
_LONGEST = 60
"""Characters of the names of one word; of more only the first and their number are printed."""


def mask(text: str, own: str = "") -> str:
    """Return the text without numbers and the words of ``own``: equal for sentences of one shape."""
    names = set(_NAME.findall(own))

    def masked(match: re.Match[str]) -> str:
        return "#" if match[0] in names else re.sub(r"\d+", "#", match[0])

    return _NAME.sub(masked, text)


def join(texts: Sequence[str]) -> str:
    """Return texts of one shape as one, word by word."""
    words = zip(*(_NAME.split(text) for text in texts), strict=True)
    return "".join(_names(dict.fromkeys(column)) for column in words)


def _names(words: Iterable[str]) -> str:
    several = tuple(words)
    folded = fold(several)
    return (
        folded if len(several) == 1 or len(folded) <= _LONGEST else f"{several[0]} … ({len(several)} in all)"
    )
