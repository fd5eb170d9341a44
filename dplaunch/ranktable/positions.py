"""JSON text → values that know their line and column. Knows JSON, not what a rank table is."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from dplaunch.errors import Problem
from dplaunch.words import shorten

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]:,"]+')
_QUOTED = 60
"""Characters of a value that a message quotes."""


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


Scalar = str | int | float | bool | None


class Node(Struct, frozen=True):
    """A value of the file: a scalar, a tuple of nodes (an array) or ``Members`` (an object)."""

    value: Scalar | tuple[Node, ...] | Members
    place: Place

    def describe(self) -> str:
        """Return what it is, for a message: ``the number 3``, ``an array``."""
        if isinstance(self.value, Members):
            return "an object"
        if isinstance(self.value, tuple):
            return "an array"
        if self.value is None or isinstance(self.value, bool):
            return json.dumps(self.value)
        kind = "text" if isinstance(self.value, str) else "number"
        return f"the {kind} {shorten(json.dumps(self.value), _QUOTED)}"


class Members(Struct, frozen=True):
    """The members of an object. Of equal keys the last one counts, as for every reader of JSON."""

    nodes: dict[str, Node]
    repeated: tuple[tuple[str, Place], ...]
    """Keys that the object has already, and where they are again."""


def read_json(text: str) -> Node | Problem:
    """Return the value of a whole file, or the one reason why it is not JSON."""
    try:
        json.loads(text)
        return _read(_Tokens(text))
    except json.JSONDecodeError as error:
        return Problem(f"not JSON: {error.msg}", line=error.lineno, column=error.colno, hint=_hint(error))
    except (RecursionError, ValueError):  # beyond what any reader takes: nested too deep, a number too long
        return Problem("not a rank table: values nest too deep, or a number is too long", line=1, column=1)


def _hint(error: json.JSONDecodeError) -> str:
    """Return how to repair what people break most often."""
    before, here = error.doc[: error.pos].rstrip(), error.doc[error.pos : error.pos + 2]
    if here in ("//", "/*") or here.startswith("#"):
        return "remove the comment: JSON has none"
    if before.endswith(",") and here[:1] in ("}", "]"):
        return "remove the comma before the closing bracket"
    if not error.doc.strip():
        return "the file is empty; dplaunch ranktable --save FILE writes a table"
    if not error.doc[error.pos :].strip():
        return "the file ends here: copy it again, or look for a closing bracket"
    if error.doc.startswith("\ufeff"):
        return "save the file as UTF-8 without a byte order mark"
    return "look at the commas, brackets and quotes here"


class _Tokens:
    """The tokens of a text that is JSON, one after another, each with its place."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def take(self) -> tuple[str, Place]:
        match = next(self._tokens)
        line = bisect_right(self._starts, match.start())
        return match[0], Place(line, match.start() - self._starts[line - 1] + 1)


def _read(tokens: _Tokens) -> Node:
    return _read_value(tokens, *tokens.take())


def _read_value(tokens: _Tokens, word: str, place: Place) -> Node:
    if word == "{":
        return Node(_read_members(tokens), place)
    if word == "[":
        return Node(tuple(_read_items(tokens)), place)
    return Node(json.loads(word), place)


def _read_items(tokens: _Tokens) -> Iterator[Node]:
    while True:
        word, place = tokens.take()
        if word == "]":
            return
        yield _read_value(tokens, word, place)


def _read_members(tokens: _Tokens) -> Members:
    nodes: dict[str, Node] = {}
    repeated: list[tuple[str, Place]] = []
    while True:
        word, place = tokens.take()
        if word == "}":
            return Members(nodes, tuple(repeated))
        key = json.loads(word)
        if key in nodes:
            repeated.append((key, place))
        nodes[key] = _read(tokens)
