"""The flags ``vllm serve`` knows, by release: ``flags.txt`` lists them.

A flag of one era is an error in another, exactly as in the engine: ``--data-parallel-rank`` does not exist
before 0.10.1, ``--disable-log-requests`` is gone from 0.18 on.
"""

from __future__ import annotations

import os

TABLE = os.path.join(os.path.dirname(__file__), "flags.txt")


def version(text: str) -> tuple[int, ...]:
    """``0.23.0rc1`` → (0, 23, 0)."""
    parts = []
    for part in text.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        parts.append(int(digits or 0))
    return tuple(parts)


def known(release: tuple[int, ...]) -> dict[str, list[str]]:
    """Every flag that this release takes: its name → its kind as in the table, and its short form if any."""
    flags = {}
    with open(TABLE, encoding="utf-8") as table:
        rows = [line.split() for line in table if not line.startswith("#")]
    for name, kind, since, gone, *alias in rows:
        if version(since) <= release and (gone == "-" or release < version(gone)):
            flags[name] = [kind, *alias]
    return flags
