"""As much of the shell's reading as it takes to see where its lines belong together."""

from __future__ import annotations

from typing import NamedTuple

_QUOTES = "'\"`"


class Line(NamedTuple):
    """A line of a script; ``inside``: it begins within quotes or in a list in brackets."""

    number: int
    text: str
    inside: bool

    @property
    def continues(self) -> bool:
        """It ends with a backslash: the shell takes the next line for more of this one."""
        return (len(self.text) - len(self.text.rstrip("\\"))) % 2 == 1


class _Reader:
    """Quotes and brackets that are open, character by character."""

    def __init__(self) -> None:
        self.quote = ""
        self.opened = 0
        self.depth = 0

    def line(self, text: str, number: int) -> None:
        """Read one line."""
        escaped, before = False, " "
        for char in text:
            if char == "#" and not self.quote and before.isspace():
                return
            before = char
            if escaped:
                escaped = False
            elif char == "\\" and self.quote != "'":
                escaped = True
            elif self.quote:
                self.quote = "" if char == self.quote else self.quote
            elif char in _QUOTES:
                self.quote, self.opened = char, number
            else:
                # a pattern of `case` closes a bracket that was never opened
                self.depth = max(0, self.depth + (char == "(") - (char == ")"))


def read(text: str) -> tuple[tuple[Line, ...], tuple[str, int] | None]:
    """Every line that is not empty, or stands within quotes; the quote open at the end, and its line."""
    reader, found = _Reader(), []
    for number, line in enumerate(text.split("\n"), 1):
        inside = bool(reader.quote) or reader.depth > 0
        if line.strip() or inside:
            found.append(Line(number, line, inside))
        reader.line(line, number)
    return tuple(found), (reader.quote, reader.opened) if reader.quote else None
