"""Counts, sizes and lists as people write them."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_TENTHS_BELOW = 10
GIB = 1 << 30


def plural(count: int, noun: str) -> str:
    """Return ``1 engine``, ``72 engines`` or ``2 processes``."""
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{count} {noun}{'' if count == 1 else ending}"


def format_bytes(amount: float) -> str:
    """Return bytes as ``64 MiB``, ``1.5 GiB`` or ``503 GiB``."""
    value = amount / _STEP
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.1f} {unit}" if 0 < value < _TENTHS_BELOW else f"{value:.0f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"


def shorten(text: str, most: int) -> str:
    """Return at most ``most`` characters of the text; the last one is ``…`` if some were left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def join_words(words: list[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
