"""Figures as people say them."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_TENTHS_BELOW = 10
GIB = 1 << 30


def plural(count: int, noun: str) -> str:
    """``1 engine``, ``72 engines``, ``2 processes``."""
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{count} {noun}{'' if count == 1 else ending}"


def size(amount: float) -> str:
    """``64 MiB``, ``1.5 GiB``, ``503 GiB``: of bytes."""
    value = amount / _STEP
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.1f} {unit}" if 0 < value < _TENTHS_BELOW else f"{value:.0f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last one ``…`` where some are left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
