"""The catalogue of signatures, read from ``catalogue.yaml`` when it is first needed."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from dplaunch.model.diagnosis import LineKind, Signature
from dplaunch.ranges import grouped

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REMEMBERED = 8192
"""Number of lines whose signature is remembered: ranks log the same lines."""
_CODE = re.compile(r"(?:0x)?[\dA-Fa-f]*\d[\dA-Fa-f]*|E[A-Z\d]\d+|[A-Za-z_]*ERR_\w+|nccl[A-Z]\w+|cuda[A-Z]\w+")


@cache
def catalogue() -> tuple[Signature, ...]:
    """Return every signature, the most telling first."""
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    usual, entries = yaml.load_all(text, _LOADER)
    return tuple(_make_signature({**usual, **entry}) for entry in entries)


def _make_signature(entry: dict[str, Any]) -> Signature:
    lists: dict[str, tuple[str, ...]] = {
        name: tuple(entry[name]) for name in ("words", "engines", "excerpt", "explains") if name in entry
    }
    lists.setdefault("words", tuple(entry["pattern"].replace(r"\b", "").split("|")))
    return Signature(**{**entry, **lists, "kind": LineKind[entry.get("kind", "cause").upper()]})


def find_place(signature: Signature | None) -> int:
    """Return the signature's place in the catalogue, from 0; an unknown error comes last."""
    return _places()[signature.id] if signature else len(_places())


@cache
def _places() -> dict[str, int]:
    return {signature.id: place for place, signature in enumerate(catalogue())}


def is_code(word: str) -> bool:
    """Return whether a word is an error code: a neighbour of it is another error, and no guess."""
    return bool(_CODE.fullmatch(word.strip()))


def explain(word: str) -> Signature | None:
    """Return the signature with this id (in any case), else the one that matches the word as a log line."""
    wanted = word.strip().lower()
    return next((s for s in catalogue() if s.id.lower() == wanted), None) or recognise(word)


@lru_cache(maxsize=_REMEMBERED)
def recognise(line: str) -> Signature | None:
    """Return the first signature that matches the line.

    Plain words are looked for first: most lines contain none of them, which is quick to find out.
    """
    places = {place for word, those in _places_by_word().items() if word in line for place in those}
    return next((catalogue()[place] for place in sorted(places) if _compile(place).search(line)), None)


@cache
def _places_by_word() -> dict[str, list[int]]:
    """Return word → the places of the signatures that have it."""
    return grouped((word, place) for place, signature in enumerate(catalogue()) for word in signature.words)


@cache
def _compile(place: int) -> re.Pattern[str]:
    return re.compile(catalogue()[place].pattern)
