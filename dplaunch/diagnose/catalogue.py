"""The catalogue of signatures, read from ``catalogue.yaml`` when something is to be explained, not before."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from dplaunch.model.diagnosis import Kind, Signature

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REMEMBERED = 8192
"""Lines whose signature is remembered: ranks repeat each other."""


@cache
def catalogue() -> tuple[Signature, ...]:
    """Every signature, the most telling first."""
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    usual, entries = yaml.load_all(text, _LOADER)
    return tuple(_signature({**usual, **entry}) for entry in entries)


def _signature(entry: dict[str, Any]) -> Signature:
    lists: dict[str, tuple[str, ...]] = {
        name: tuple(entry[name]) for name in ("words", "engines", "excerpt") if name in entry
    }
    lists.setdefault("words", tuple(entry["pattern"].replace(r"\b", "").split("|")))
    return Signature(**{**entry, **lists, "kind": Kind[entry.get("kind", "cause").upper()]})


def place_of(signature: Signature | None) -> int:
    """How far up it stands in the catalogue; what is not in it comes last."""
    return _places()[signature.id] if signature else len(_places())


@cache
def _places() -> dict[str, int]:
    return {signature.id: place for place, signature in enumerate(catalogue())}


def explained(word: str) -> Signature | None:
    """The signature of that id, in any case; else the one whose line the word is or could be."""
    wanted = word.strip().lower()
    return next((s for s in catalogue() if s.id.lower() == wanted), None) or recognise(word)


@lru_cache(maxsize=_REMEMBERED)
def recognise(line: str) -> Signature | None:
    """The first signature that knows the line; of most lines plain words tell quickly that none does."""
    places = {place for word, those in _by_word() if word in line for place in those}
    return next((catalogue()[place] for place in sorted(places) if _pattern(place).search(line)), None)


@cache
def _by_word() -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Each word, with the places of the signatures that it may lead to."""
    found: dict[str, list[int]] = {}
    for place, signature in enumerate(catalogue()):
        for word in signature.words:
            found.setdefault(word, []).append(place)
    return tuple((word, tuple(places)) for word, places in found.items())


@cache
def _pattern(place: int) -> re.Pattern[str]:
    return re.compile(catalogue()[place].pattern)
