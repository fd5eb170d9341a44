"""Many names as few, and back: ``fold`` writes ``decode-[0-15]``, ``expand`` reads it.

Beside them ``ranges`` of numbers and values ``grouped`` by key.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import product
from typing import TypeVar

from dplaunch.errors import UsageError

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


MOST = 4096
"""Names one range may stand for: more is a slip of the keyboard, not a cluster."""

_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_SPAN = re.compile(r"([0-9]+)(?:-([0-9]+))?")


class RangeError(UsageError):
    """A range that cannot be read; the text says why."""


def expand(text: str) -> tuple[str, ...]:
    """Every name ``text`` stands for, in the order written.

    ``n[1-3,5]`` is n1 n2 n3 n5; ``[01-16]`` keeps its zeros; ``a[1-2],b`` is a1 a2 b; two
    brackets in a word count like digits, the right one fastest. Raises ``RangeError``.
    """
    names: list[str] = []
    for word in _words(text):
        names += _word(word, MOST - len(names))
    return tuple(names)


def _words(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    words = [word.strip() for word in re.split(r",(?![^\[]*\])", text)]
    if not all(words):
        raise RangeError(f"'{text}' has a name missing" if text.strip() else "a name is empty")
    return words


def _word(word: str, room: int) -> Iterator[str]:
    if "".join(match.group() for match in _PIECE.finditer(word)) != word:
        raise RangeError(f"'{word}' has a bracket without its partner")
    choices = [
        [plain] if inside is None else _numbers(inside, word)
        for inside, plain in (match.group(1, 2) for match in _PIECE.finditer(word))
    ]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > room:
        raise RangeError(f"'{word}' stands for more than {MOST} names")
    return ("".join(parts) for parts in product(*choices))


def _numbers(inside: str, word: str) -> list[str]:
    numbers: list[str] = []
    for span in inside.split(","):
        match = _SPAN.fullmatch(span.strip())
        if not match:
            raise RangeError(f"'{word}' needs numbers in its brackets, as in n[1-4] or n[1-3,5]")
        numbers += _counted(match.group(1), match.group(2) or match.group(1), word)
    return numbers


def _counted(low: str, high: str, word: str) -> list[str]:
    padded = low[0] == "0" and len(low) > 1
    if high[0] == "0" and len(high) != len(low):
        raise RangeError(f"'{word}' counts from {low} to {high}: write both with equally many digits")
    if int(high) < int(low):
        raise RangeError(f"'{word}' counts backwards, from {low} to {high}")
    if int(high) - int(low) >= MOST:
        raise RangeError(f"'{word}' stands for more than {MOST} names")
    return [str(number).zfill(len(low) if padded else 1) for number in range(int(low), int(high) + 1)]
