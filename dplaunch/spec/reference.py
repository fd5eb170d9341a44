"""The documented reference file as data: each key with its comment, its lines and its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_KEY = re.compile(r"(?P<indent> *)(?P<off>#)?(?P<item>- )?(?P<key>[A-Za-z0-9_-]+):(?: .*)?")
_PROSE = re.compile(r" *#(?: .*)?")


class Entry(Struct, frozen=True):
    """One key of the reference. ``lines`` are its comment and all below it, as in the file."""

    path: tuple[str, ...]
    comment: str
    lines: tuple[str, ...]


def reference() -> str:
    """The reference file: every key of a cluster file, documented. It is itself a valid cluster file."""
    return Path(__file__).with_name("reference.yaml").read_text(encoding="utf-8")


def entries() -> tuple[Entry, ...]:
    """Every key in the order of the file, those that are switched off too."""
    return tuple(_entries(reference().split("\n")))


def _entries(lines: list[str]) -> Iterator[Entry]:
    parents: list[tuple[int, str]] = []
    prose = 0
    for number, line in enumerate(lines):
        match = _KEY.fullmatch(line)
        if match:
            depth = len(match["indent"]) + len(match["item"] or "")
            while parents and parents[-1][0] >= depth:
                parents.pop()
            parents.append((depth, match["key"]))
            path = tuple(name for _, name in parents)
            yield Entry(path, _comment(lines[number - prose : number]), _part(lines, number, prose, depth))
        prose = prose + 1 if _PROSE.fullmatch(line) and not match else 0


def _comment(lines: list[str]) -> str:
    return " ".join(line.strip().removeprefix("#").strip() for line in lines)


def _part(lines: list[str], start: int, prose: int, depth: int) -> tuple[str, ...]:
    """From the comment to the last line that is indented deeper than the key."""
    end = start + 1
    while end < len(lines) and (len(lines[end]) - len(lines[end].lstrip())) > depth:
        end += 1
    indent = len(lines[start]) - len(lines[start].lstrip())
    return tuple(line[indent:].rstrip() for line in lines[start - prose : end])
