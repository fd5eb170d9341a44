"""Many as few: ``decode-0 … decode-15`` is ``decode-[0-15]``; what is alike goes together. No rules."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
_DIGITS = re.compile(r"([0-9]+)")


def fold(names: Iterable[str]) -> str:
    """The names as one word list, families in order of first appearance: ``n[1-4,7],router``."""
    return ",".join(families(names))


def families(names: Iterable[str]) -> tuple[str, ...]:
    """As ``fold``, one string per family. The last number that varies is the one folded."""
    first = {name: place for place, name in enumerate(dict.fromkeys(names))}
    left = list(first)
    words: list[tuple[int, str]] = []
    depth = max((len(_DIGITS.findall(name)) for name in left), default=0)
    for number in range(1, depth + 1):
        for (head, tail, width), members in _alike(left, number).items():
            if len(members) > 1:
                words.append((first[members[0][0]], f"{head}[{_spans(members, width)}]{tail}"))
                folded = {name for name, _ in members}
                left = [name for name in left if name not in folded]
    words += [(first[name], name) for name in left]
    return tuple(word for _, word in sorted(words))


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,8``: ascending, each number once."""
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in _runs(numbers))


def grouped(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, list[_Value]]:
    """The values of each key, all in order of appearance."""
    found: dict[_Key, list[_Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


_Family = tuple[str, str, int]
"""Text before the number, text after it, and its width when zeros pad it (else 0)."""


def _alike(names: Sequence[str], number: int) -> dict[_Family, list[tuple[str, int]]]:
    """Names that differ only in their ``number``-th number from the end, with that number."""
    cuts = [(name, *cut) for name in names if (cut := _cut(name, number))]
    padded = {(head, tail) for _, head, digits, tail in cuts if digits[0] == "0" and len(digits) > 1}
    found: dict[_Family, list[tuple[str, int]]] = {}
    for name, head, digits, tail in cuts:
        width = len(digits) if (head, tail) in padded else 0
        found.setdefault((head, tail, width), []).append((name, int(digits)))
    return found


def _cut(name: str, number: int) -> tuple[str, str, str] | None:
    parts = _DIGITS.split(name)
    at = len(parts) - 2 * number
    return ("".join(parts[:at]), parts[at], "".join(parts[at + 1 :])) if at > 0 else None


def _spans(members: Sequence[tuple[str, int]], width: int) -> str:
    runs = _runs(value for _, value in members)
    return ",".join(f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for a, b in runs)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
