"""The known word that somebody meant who wrote another."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_CLOSE = 0.65
"""How much of two words must agree, from 0 to 1."""


def nearest(word: str, known: Iterable[str], close_from: float = _CLOSE) -> str:
    """The known word the user may have meant; empty when none is close."""
    word = word.lower()
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word, by_lower, cutoff=close_from)
    best = max(
        close, key=lambda name: (SequenceMatcher(None, name, word).ratio(), name[0] == word[0]), default=""
    )
    return by_lower.get(best, "")


def did_you_mean(word: str, known: Iterable[str], otherwise: str, close_from: float = _CLOSE) -> str:
    """A hint: the close word if there is one, else ``otherwise``."""
    guess = nearest(word, known, close_from)
    return f"did you mean '{guess}'?" if guess else otherwise
