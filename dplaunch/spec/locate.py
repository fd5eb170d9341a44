"""Where a key path of another room's problem stands in the file.

Other rooms see resolved values, not the text of the file: a node by its name where the file has a range,
a role's flag where the file has it under ``defaults``.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from dplaunch.errors import Problem
from dplaunch.ranges import RangeError
from dplaunch.spec.document import Document
from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.flags import flag
from dplaunch.spec.resolve import selected


def locate(document: Document, problem: Problem) -> Problem:
    """The problem at the place of its ``key``, or of the nearest key above it that the file has."""
    parts = tuple(problem.key.split(".")) if problem.key else ()
    path, rest = _walk(document.data, parts)
    if rest and parts[0] in _UNDER_DEFAULTS and len(parts) > _ENTRY:
        general, missing = _walk(document.data, ("defaults", *parts[2:]))
        path, rest = (path, rest) if missing else (general, missing)
    found = document.problem(Finding(path, problem.text, at_key=bool(rest) or problem.at_key))
    return replace(
        problem, file=found.file, line=found.line, column=found.column, source_line=found.source_line
    )


_UNDER_DEFAULTS = ("roles", "nodes", "overrides")
"""Sections whose env and args may come from ``defaults``."""

_ENTRY = 3
"""Parts before the entry itself: ``roles.decode.args``."""


def _walk(data: Any, parts: KeyPath) -> tuple[KeyPath, KeyPath]:
    """As much of ``parts`` as the file has, in the file's own spelling, and what it has not."""
    path: KeyPath = ()
    left = parts
    while left:
        step, used = _step(data, left)
        if step is None:
            break
        data, path, left = data[step], (*path, step), left[used:]
    return path, left


def _step(data: Any, left: KeyPath) -> tuple[str | int | None, int]:
    """The key or index of ``data`` that comes next, and how many parts it takes: keys may hold dots."""
    if isinstance(data, dict):
        for used in range(len(left), 0, -1):
            wanted = ".".join(map(str, left[:used]))
            for key in data:
                if wanted in (key, flag(key)) or _stands_for(key, wanted):
                    return key, used
    if isinstance(data, list) and str(left[0]).isdigit() and int(left[0]) < len(data):
        return int(left[0]), 1
    if isinstance(data, list):
        for index, item in enumerate(data):
            if isinstance(item, dict) and _stands_for(str(item.get("name")), str(left[0])):
                return index, 1
    return None, 0


def _stands_for(written: str, name: str) -> bool:
    """Whether a range (``n[1-4]``, ``node:n[1-4]``) includes the name."""
    try:
        return name in selected(written)
    except RangeError:
        return False
