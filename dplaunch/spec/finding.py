"""A finding: what is wrong (or suspicious) at a key path, before its place in the text is looked up."""

from __future__ import annotations

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


def counted(number: int, noun: str) -> str:
    """``1 device``, ``16 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
