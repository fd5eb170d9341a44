"""The few styles of the screen. Meaning never hangs on colour alone."""

from __future__ import annotations

import re

from rich.text import Text

GOOD = "green"
BAD = "bold red"
WARN = "yellow"
NAME = "cyan"
HEAD = "bold"
DIM = "dim"

_UNSEEN = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""C0 but tab and newline, DEL, C1, and what turns the direction of text or breaks lines."""
HIDDEN = re.compile(rf"[{_UNSEEN}\ud800-\udfff]")
"""A character that a terminal obeys or hides instead of printing it, or cannot print: half a character."""
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|\x9b[0-?]*[ -/]*[@-~]"
    rf"|[\x9d\x90][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|[{_UNSEEN}]"
)


def plain(text: str) -> str:
    """Text from a node, fit for a terminal: no escape sequences, of a progress bar its last state."""
    return _CONTROL.sub("", text.rstrip("\r\n").rsplit("\r", 1)[-1])


def lines(*parts: str | Text) -> Text:
    """One Text, a line per part."""
    return Text("\n").join(part if isinstance(part, Text) else Text(part) for part in parts)
