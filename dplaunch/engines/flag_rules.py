"""Flags that an engine's parser does not have, or does not take so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from msgspec import Struct, field

from dplaunch.engines.flagtable import Flag, Flags, broken_json, faults
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue


class Parser(Struct, frozen=True, kw_only=True):
    """Whose command line is judged, and by which table."""

    engine: str
    """``vllm 0.23.0``."""
    known: Flags | None
    """None: only texts that begin as JSON are judged."""
    source: str
    listing: str
    """How to list the flags where none is close: a sentence without its full stop."""
    dotted: bool = False
    """``--config.key`` sets one key of a flag that takes JSON."""
    plugged: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Values that something else adds to a flag's own."""


def judge(parser: Parser, name: str, value: ArgValue) -> Iterator[Problem]:
    """One flag: whether the engine has it, and takes this value."""
    head, _, below = name.partition(".") if parser.dotted else (name, "", "")
    flag = parser.known.find(head) if parser.known else None
    if parser.known and flag is None:
        yield _unknown(parser, parser.known, head)
        return
    for fault in _faults(parser, flag, head, below, value):
        hint = f"correct the value of {name}"
        if "JSON" in fault:
            hint = "write it as keys with values, without quotes around the whole"
        elif flag and flag.choices:
            hint = did_you_mean(str(value), flag.choices) or hint
        yield Problem(f"{name} {fault}: {parser.engine} refuses it", hint=hint, source=parser.source)


def _faults(parser: Parser, flag: Flag | None, head: str, below: str, value: ArgValue) -> Iterator[str]:
    if flag is None:
        yield from broken_json(value)
    elif below:
        if flag.kind not in ("json", "any"):
            yield f"does not exist: {head} takes a single value"
    elif value not in parser.plugged.get(head, ()):
        yield from faults(flag, value)


def _unknown(parser: Parser, known: Flags, name: str) -> Problem:
    near = known.nearest(name)
    hint = f"did you mean {near}?" if near else parser.listing
    text = f"{parser.engine} has no flag --{name}"
    return Problem(text, hint=hint, warning=not known.sure, source=parser.source, at_key=True)


def did_you_mean(value: str, choices: Collection[str]) -> str:
    """A hint that names the closest choice; empty where none is close."""
    close = [name for name in choices if name.startswith(value)] or get_close_matches(value, choices, n=1)
    return f"did you mean {close[0]}?" if close else ""
