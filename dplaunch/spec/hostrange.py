"""``n[1-8]``: names and addresses written as ranges, and unfolded again. The inverse is ``dplaunch.fold``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from dplaunch.errors import UsageError

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
        numbers += _span(match.group(1), match.group(2) or match.group(1), word)
    return numbers


def _span(low: str, high: str, word: str) -> list[str]:
    padded = low[0] == "0" and len(low) > 1
    if high[0] == "0" and len(high) != len(low):
        raise RangeError(f"'{word}' counts from {low} to {high}: write both with equally many digits")
    if int(high) < int(low):
        raise RangeError(f"'{word}' counts backwards, from {low} to {high}")
    if int(high) - int(low) >= MOST:
        raise RangeError(f"'{word}' stands for more than {MOST} names")
    return [str(number).zfill(len(low) if padded else 1) for number in range(int(low), int(high) + 1)]
