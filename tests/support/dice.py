"""Seeded chance for what is tried at random: texts, values and damage that careless readers fall over."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any

TEXTS = (
    *("", " ", "-", "--help", "..", "../../etc/passwd", "/", "~root", "null", "a b", "a\tb", "a\nb", "a\r\nX-Injected: yes"),
    *("$(touch canary)", "`touch canary`", "$HOME", "${HOME:?}", "; touch canary #", "&& touch canary", "| touch canary"),
    *("> canary", "'", '"', "'; touch canary; '", '"; touch canary; "', "\\", "\\$(touch canary)", "a\\\nb", "!!", "*"),
    *("{a,b}", "%s %d %n", "{{ 7 * 7 }}", "{% raw %}", "<script>alert(1)</script>", "é 中文 😀", "\x1b[31mred\x1b]0;title\x07"),
    *("\x9b2J", "\u202egnp.exe", "\ud800", "x" * 5000),
)  # fmt: skip
NUMBERS = (0, -1, 1, 0.5, 65536, 1 << 31, 1 << 63, 10**30, -(10**30), 1e308, float("nan"), float("inf"))
LINES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b"x" * 100_000,
    b"[" * 100_000,
    b'{"event": 1}',
    b'{"id": 0}',
)
"""In place of a whole line of JSON."""
Path = tuple[Any, ...]


class Dice(random.Random):
    """``pids``: processes that nothing may touch, which damaged messages name as if they were their own."""

    def __init__(self, seed: int | str, pids: tuple[int, ...] = ()) -> None:
        super().__init__(seed)
        self.pids = (*pids, 1, os.getpid())

    def value(self) -> Any:
        """Any value of JSON, and some that are none."""
        make: Callable[[], Any] = self.choice(
            (
                lambda: self.choice(TEXTS),
                lambda: self.choice(NUMBERS),
                lambda: self.choice(self.pids),
                lambda: self.choice((None, True, False, [], {}, [[]], [None], {"": None})),
                lambda: [self.choice(self.pids), 0],
            )
        )
        return make()

    def spoil(self, message: Any) -> Path:
        """Damage one place of a message, any level of it; where that was."""
        path = self.choice([path for path in paths(message) if path] or [()])
        if path:
            parent = find(message, path[:-1])
            action = self.randrange(4)
            if action == 0:
                del parent[path[-1]]
            elif action == 1 and isinstance(parent, list):
                parent.extend(parent[:] * 3)
            else:
                parent[path[-1]] = self.value()
        return path

    def spoil_line(self, line: bytes) -> bytes:
        """A line of JSON with one place damaged, or something else in its place."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return self.choice(LINES) + b"\n"
        if self.random() < 0.05:
            return self.choice(LINES) + b"\n"
        self.spoil(message)
        return json.dumps(message).encode() + b"\n"


def paths(value: Any, above: Path = ()) -> list[Path]:
    """Every place in a value of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, one in inner for path in paths(one, (*above, key)))]


def find(value: Any, path: Path) -> Any:
    """What is at that place."""
    for key in path:
        value = value[key]
    return value
