"""The flags of an engine by version, from tables that were read out of its own parser (scripts/).

A version without a table lies between two: what both lack it is thought to lack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from dplaunch.engines.versions import neighbours, parse
from dplaunch.model.cluster import ArgValue

_SIZE = re.compile(r"-1|auto|\d+(?:\.\d+)?[kKmMgGtT]?i?")
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBERS = ("int", "size", "float")
_CLOSE = 0.7


class Flag(Struct, frozen=True):
    """What one flag takes. ``kind``: flag, bool, int, size (``8K``), float, json, choice, text, list, any.

    Of the two kinds without a value only ``bool`` has a ``--no-`` form.
    """

    kind: str
    choices: tuple[str, ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()
    """``("ge", 1)``, by the names that pydantic gives them."""


class Flags(Struct, frozen=True):
    """All flags of one version. ``sure``: the table is of this very version."""

    version: str
    known: Mapping[str, Flag]
    sure: bool

    def find(self, name: str) -> Flag | None:
        """The flag of that name, of its ``no-`` form, or the only one that begins so (argparse takes it)."""
        if name in self.known:
            return self.known[name]
        positive = self.known.get(name.removeprefix("no-"))
        if positive and positive.kind in ("bool", "any"):
            return Flag("flag")
        begun = [flag for flag in self.known if flag.startswith(name)]
        return self.known[begun[0]] if len(begun) == 1 else None

    def negatable(self, name: str) -> bool:
        """Whether the flag has a ``--no-`` form."""
        flag = self.known.get(name)
        return flag is not None and flag.kind == "bool"

    def nearest(self, name: str) -> str:
        """The flag that was probably meant; empty where none is close."""
        negated = "no-" if name.startswith("no-") else ""
        close = get_close_matches(name.removeprefix("no-"), self.known, n=1, cutoff=_CLOSE)
        return negated + close[0] if close else ""


@cache
def read(version: str, folder: Path) -> Flags | None:
    """The flags of a version by the tables in ``folder``; None for a version that lies before all of them."""
    names = sorted((path.stem for path in folder.glob("*.json")), key=lambda name: parse(name) or ())
    exact = [name for name in names if parse(name) == parse(version)]
    chosen = exact or neighbours(version, names)
    if not chosen:
        return None
    known: dict[str, Flag] = {}
    for name in chosen:
        table = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for flag, entry in table.items():
            known[flag] = _merged(known.get(flag), _flag(entry))
    return Flags(version, known, bool(exact))


def _flag(entry: Mapping[str, Any]) -> Flag:
    bounds = tuple((name, value) for name, value in entry.items() if name not in ("kind", "choices"))
    return Flag(entry["kind"], tuple(entry.get("choices", ())), bounds)


def _merged(one: Flag | None, other: Flag) -> Flag:
    """What both versions around an unknown one agree on; anything where they do not."""
    if one is None or one == other:
        return other
    if one.kind == other.kind == "choice":
        return Flag("choice", tuple(sorted({*one.choices, *other.choices})))
    return Flag(one.kind) if one.kind == other.kind else Flag("any")


def faults(flag: Flag, value: ArgValue) -> Iterator[str]:
    """Yield what is wrong with a flag's value: ``takes a whole number, not 'xxx'``."""
    if value is None or value is False:
        return
    if flag.kind in ("bool", "flag"):
        if value is not True:
            yield f"takes true or false, not {_written(value)}"
    elif value is True and flag.kind != "any":
        yield "takes a value, not true"
    elif flag.kind in _NUMBERS:
        yield from _number(flag, value)
    elif flag.kind == "choice" and not _chosen(flag, value):
        yield f"takes one of {', '.join(flag.choices)}, not {_written(value)}"
    elif flag.kind in ("json", "any"):
        yield from broken_json(value)
    elif flag.kind == "text" and isinstance(value, Mapping):
        yield "takes text, not keys with values"


def broken_json(value: ArgValue) -> Iterator[str]:
    """Yield why a text that begins as JSON is none."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except ValueError as error:
            yield f"is not JSON ({error})"


def _number(flag: Flag, value: ArgValue) -> Iterator[str]:
    text = str(value).strip()
    if flag.kind == "size" and _SIZE.fullmatch(text) and not text.isdecimal():
        return
    whole = flag.kind != "float"
    try:
        number = float(text)
    except ValueError:
        number = None
    if number is None or isinstance(value, Mapping | tuple) or (whole and not _WHOLE.fullmatch(text)):
        yield f"takes a {'whole ' if whole else ''}number, not {_written(value)}"
        return
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    holds = {
        "ge": number.__ge__,
        "gt": number.__gt__,
        "le": number.__le__,
        "lt": number.__lt__,
    }
    if not all(holds[name](bound) for name, bound in flag.bounds):
        limits = " and ".join(f"{words[name]} {bound:g}" for name, bound in flag.bounds)
        yield f"takes a number of {limits}, not {text}"


def _chosen(flag: Flag, value: ArgValue) -> bool:
    """Whether a choice is there; some parsers take ``Deep-GEMM`` for ``deep_gemm``."""
    text = str(value)
    return text in flag.choices or text.lower().replace("-", "_") in flag.choices or text.lower() == "none"


def _written(value: ArgValue) -> str:
    if isinstance(value, Mapping):
        return "keys with values"
    if isinstance(value, tuple):
        return "a list"
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"
