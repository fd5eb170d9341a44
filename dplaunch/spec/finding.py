"""A finding: what is wrong (or suspicious) at a key path, before its place in the text is looked up."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import NamedTuple

from msgspec import Struct

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the file: ``("roles", "decode", "dp")``."""


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


class Finding(Struct, frozen=True):
    """Something about the value at ``path``; about the key itself with ``at_key``.

    ``place`` is given only where the path does not lead there: the second of two equal keys.
    ``source`` is where it is known from.
    ``meant`` is the key the user probably wanted: rules that read it keep quiet.
    """

    path: KeyPath
    text: str
    hint: str = ""
    at_key: bool = False
    warning: bool = False
    place: Place | None = None
    meant: KeyPath = ()
    source: str = ""


def dotted(path: KeyPath) -> str:
    """``nodes[0].env.HOME``."""
    words = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(words).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word the user may have meant; empty when none is close."""
    word = word.lower()
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word, by_lower, cutoff=0.65)
    best = max(
        close, key=lambda name: (SequenceMatcher(None, name, word).ratio(), name[0] == word[0]), default=""
    )
    return by_lower.get(best, "")


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A hint: the close word if there is one, else ``otherwise``."""
    guess = nearest(word, known)
    return f"did you mean '{guess}'?" if guess else otherwise


def counted(number: int, noun: str) -> str:
    """``1 device``, ``16 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
